"""The whole book on two cores: seconds of ``make book``, cold and warm, and of ``make test``, cold.

``python benchmarks/whole_book.py`` (a quarter of an hour); ``--parts book`` leaves the tests out
and stores nothing. The revision that is checked out is cloned into an empty folder, with a virtual
environment of its own; what is not committed is not measured.

- *install*: ``pip`` fetches and unpacks all packages, from its cache if it has them. It has a row
  of its own and is part of none of the others: it measures the network.
- *cold*: the first call after that. Nothing is built, and no program has kept anything for later:
  the folders where matplotlib, IPython and others do so are new and empty. Python has compiled the
  packages while they were installed, and the system may still hold their files in memory.
- *warm*: the same call again, nothing changed; the median of three.

Wall seconds, since ``make test`` runs several things at a time, and pinned to two cores.
The load of the machine before each part is in the JSON: with other work on it the seconds say
little. The figure of pbdl-book, a book of similar size with the same tools, was measured on another
day (its build without executing anything, two cores) and is cited, not compared in one process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from _table import Median, Row, report, show

ROOT = Path(__file__).resolve().parent.parent
PBDL_BOOK = 38.5  # seconds
CACHES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_DATA_DIR")
ASIDE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS")
COLD = "fresh clone, fresh environment, packages installed, nothing built, empty cache folders"


@dataclass
class Clone:
    """A clone of what is committed, and what its parts took."""

    scratch: Path
    load: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.scratch / "kexue"
        subprocess.run(["git", "clone", "--quiet", ROOT, self.folder], check=True)
        self.env = {name: v for name, v in os.environ.items() if name not in ASIDE}

    def forget(self) -> None:
        """Remove what was built; new empty folders for what programs keep."""
        subprocess.run(["make", "clean"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        kept = tempfile.mkdtemp(dir=self.scratch)
        for name in CACHES:
            (Path(kept) / name).mkdir()
            self.env[name] = str(Path(kept) / name)

    def make(self, name: str, *arguments: str, text: str = "") -> float:
        """Wall seconds of ``make``; its output is shown where it fails."""
        self.load[name] = round(os.getloadavg()[0], 2)
        start = time.perf_counter()
        done = subprocess.run(
            ["make", *arguments], cwd=self.folder, env=self.env, input=text, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"{done.stdout}\n{name}: make failed after {seconds:.0f} s")
        print(f"{name}: {seconds:.1f} s, load before {self.load[name]}", file=sys.stderr)
        return seconds


def main() -> int:
    """Clone, install, build, test; return the number of bars missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=["book", "test"], default=["book", "test"])
    parts = parser.parse_args().parts
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    print(f"cold: {COLD}", file=sys.stderr)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        clone = Clone(Path(scratch))
        only = "-f", "Makefile", "-f", "-", "installed"
        install = clone.make("install", *only, text="installed: $(STAMP)\n")
        if "book" in parts:
            clone.forget()
            cold = clone.make("book, cold", "book")
            pages = len(list((clone.folder / "_build" / "html").rglob("*.html")))
            assert pages > 10, f"a book of {pages} pages"
            warm = Median(clone.make("book, warm", "book") for _ in range(3))
            rows.append(Row("make book, cold", "-", "s", None, cold, 60, 30))
            rows.append(Row("", "pbdl-book, not executed (cited)", "s", PBDL_BOOK, cold))
            rows.append(Row("make book, warm", "-", "s", None, warm, 10, 3))
        if "test" in parts:
            clone.forget()
            rows.append(
                Row("make test, cold", "-", "s", None, clone.make("test, cold", "test"), 480, 240)
            )
        rows.append(Row("installation, empty environment", "-", "s", None, install))
    if len(parts) < 2:
        show(row.stored() for row in rows)
        return sum(not row.met for row in rows)
    torch.set_num_threads(len(cores))  # for the card to tell
    about = {"cores": len(cores), "load": clone.load, "cold": COLD}
    return report("whole_book", rows, precision="none", **about)


if __name__ == "__main__":
    sys.exit(main())
