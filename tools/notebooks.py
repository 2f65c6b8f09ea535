"""Run the book's notebooks from a fresh kernel and store them in one normal form.

``python tools/notebooks.py`` runs those whose code changed since their outputs were stored;
``--all`` runs every one, ``--check`` runs nothing and fails if any would change. Running it twice
changes nothing: no random ids and no widget state are stored. What the execution took (CPU seconds,
memory, date, versions) goes into ``metadata.kexue.run``, from which a chapter's run line and the
status page are written; where nothing else changed the stored record stays (``--measure``: it is
taken anew).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# What a kernel sees whenever outputs are stored or compared. The last three keep the arithmetic
# of torch's CPU kernels the same on every x86 machine of the last ten years.
KERNEL_ENV = {
    "KEXUE_DEVICE": "cpu",
    "KEXUE_PRESET": "quick",
    "KEXUE_QUIET": "1",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "1577836800",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}

SETUP_CELL = """\
try:
    from kexue import plot, runtime
except ImportError:  # on Colab, say: install the book's package, once
    %pip install -q "git+{repository}"
    from kexue import plot, runtime

plot.setup()
rng = runtime.seed_everything(0)"""

# Run last, in the notebook's kernel. VmHWM, because what getrusage calls the peak of a process may
# be that of the one that started it.
TAKEN = """\
import json, os, platform, sys
used = os.times()
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
except OSError:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
torch = sys.modules.get("torch")
threads = torch.get_num_threads() if torch else int(os.environ["OMP_NUM_THREADS"])
print(json.dumps({
    "cpu_seconds": round(used.user + used.system + used.children_user + used.children_system, 1),
    "device": f"CPU ({platform.machine()}), {threads} thread" + "s" * (threads != 1),
    "peak_memory_mb": round(peak / 1e6, 1),
    "preset": os.environ["KEXUE_PRESET"],
    "python": platform.python_version(),
    "torch": torch and torch.__version__,
}))
"""


def repository() -> str:
    """Return the repository's URL, which ``_config.yml`` names."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"]


def setup_cell() -> str:
    """Return the source of the setup cell, the same in every notebook."""
    return SETUP_CELL.format(repository=repository())


def notebooks() -> list[Path]:
    """Return every notebook of the book, sorted."""
    found = (ROOT / "book").rglob("*.ipynb")
    return sorted(p for p in found if not any(part[0] in "._" for part in p.parts[-4:]))


def is_setup(cell: NotebookNode) -> bool:
    """Return whether a cell is the setup cell."""
    return "setup" in cell.metadata.get("tags", [])


def code_hash(nb: NotebookNode) -> str:
    """Return a digest of the code that the stored outputs come from.

    The setup cell is left out, so that naming another repository does not make outputs stale.
    """
    code = [cell.source for cell in nb.cells if cell.cell_type == "code" and not is_setup(cell)]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def is_stale(nb: NotebookNode) -> bool:
    """Return whether the code changed since the outputs were stored."""
    return nb.metadata.get("kexue", {}).get("code") != code_hash(nb)


def normalize(nb: NotebookNode) -> NotebookNode:
    """Bring a notebook into the stored form, in place, and return it."""
    stored = nb.metadata.get("kexue", {})
    nb.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    if stored:
        nb.metadata["kexue"] = stored
    nb.nbformat, nb.nbformat_minor = 4, 5
    seen: set[str] = set()
    count = 0
    for index, cell in enumerate(nb.cells):
        for key in ("execution", "collapsed", "ExecuteTime", "colab", "id", "outputId"):
            cell.metadata.pop(key, None)
        if not cell.get("id") or cell.id in seen:
            cell.id = hashlib.sha256(f"{index}\0{cell.source}".encode()).hexdigest()[:8]
        seen.add(cell.id)
        if cell.cell_type == "code":
            if is_setup(cell):
                cell.source = setup_cell()
                cell.metadata["tags"] = sorted({*cell.metadata["tags"], "hide-input"})
            count += 1
            if cell.execution_count is not None:
                cell.execution_count = count
            cell.outputs = list(normal_outputs(cell.outputs, count))
    return nb


def normal_outputs(outputs: Iterable[NotebookNode], count: int) -> Iterable[NotebookNode]:
    """Yield a cell's outputs without widget views, with streams joined and counts set."""
    last = None
    for output in outputs:
        if output.output_type == "stream":
            if last is not None and last.output_type == "stream" and last.name == output.name:
                last.text += output.text
                continue
        elif "data" in output:
            output.data.pop(WIDGET_VIEW, None)
            if not output.data:
                continue
            if "image/svg+xml" in output.data:
                output.data["image/svg+xml"] = slim_svg(output.data["image/svg+xml"])
            if output.output_type == "execute_result":
                output.execution_count = count
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def slim_svg(svg: str) -> str:
    """Return an SVG without metadata and indentation, its places to a hundredth of a point."""
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"[ \t]*\n\s*", "\n", svg)
    places = r'(?<= )(?:d|x|y|x1|y1|x2|y2|cx|cy)="[^"]*"'
    return re.sub(places, lambda m: re.sub(r"-?\d+\.\d{3,}", _hundredth, m[0]), svg)


def _hundredth(number: re.Match) -> str:
    text = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def execute(nb: NotebookNode, folder: Path) -> NotebookNode:
    """Run every cell in a fresh kernel whose working directory is ``folder``; record what it took.

    Raises ``nbclient.exceptions.CellExecutionError`` at the first cell that fails.
    """
    from nbclient import NotebookClient

    environment = {**os.environ, **KERNEL_ENV}
    client = NotebookClient(
        nb,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    nb.cells.append(nbformat.v4.new_code_cell(TAKEN))
    start = time.monotonic()
    client.execute(env=environment)
    seconds = round(time.monotonic() - start, 1)
    printed = "".join(o.text for o in nb.cells.pop().outputs if o.get("name") == "stdout")
    date = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    run = {**json.loads(printed), "seconds": seconds, "date": date}
    nb.metadata["kexue"] = {"code": code_hash(nb), "run": run}
    return nb


def state_run(nb: NotebookNode, path: Path) -> NotebookNode:
    """Write the run line of a chapter from its records, in place, and return the notebook."""
    from kexue.site import status

    gpu = status.tried(ROOT / "tools" / "gpu_room.json", path.with_suffix("").as_posix())
    status.state_run(nb, path.stem, ROOT / "book" / "artifacts", gpu)
    return nb


def text_of(nb: NotebookNode) -> str:
    """Return the notebook's file content: JSON, one space of indent, sorted keys."""
    return nbformat.writes(nb).rstrip("\n") + "\n"


def settled(nb: NotebookNode, path: Path, stored: dict, before: str) -> NotebookNode:
    """Return the notebook with its stored record, if that leaves it as it was ``before``."""
    again = nbformat.from_dict(nb)
    again.metadata["kexue"] = {**nb.metadata["kexue"], "run": stored}
    again = state_run(again, path)
    return again if text_of(again) == before else nb


def main(arguments: list[str] | None = None) -> int:
    """Bring notebooks up to date; return 1 if ``--check`` finds one that is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all of the book)")
    parser.add_argument("--all", action="store_true", help="run them even if unchanged")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if one would")
    parser.add_argument("--measure", action="store_true", help="run them all, take the times anew")
    options = parser.parse_args(arguments)
    wrong = 0
    for path in options.paths or notebooks():
        before = path.read_text(encoding="utf-8")
        nb = normalize(nbformat.v4.reads(before))  # unlike nbformat.reads, changes no ids
        nb = state_run(nb, path)
        stale = is_stale(nb)
        if options.check:
            state = "code changed: run it" if stale else "not in normal form"
            if stale or text_of(nb) != before:
                print(f"{path}: {state} (make notebooks)")
                wrong += 1
            continue
        start = time.monotonic()
        run = stale or options.all or options.measure
        if run:
            stored = nb.metadata.get("kexue", {}).get("run")
            nb = state_run(normalize(execute(nb, path.parent)), path)
            if stored and not options.measure:
                nb = settled(nb, path, stored, before)
        after = text_of(nb)
        if after != before:
            path.write_text(after, encoding="utf-8")
        done = f"ran in {time.monotonic() - start:.0f} s" if run else "not run"
        print(f"{path}: {done}, {'changed' if after != before else 'unchanged'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
