"""What the benchmarks share: CPU time on one thread, and a table with JSON and a run card beside.

``python benchmarks/_table.py`` prints one table of all stored results.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from threadpoolctl import threadpool_limits

from kexue import _run_card, runtime

torch.set_num_threads(1)
threadpool_limits(1)  # NumPy's and scikit-learn's
RESULTS = Path(__file__).with_name("results")
ARTIFACTS = RESULTS.parent.parent / "book" / "artifacts"
BEGIN = time.perf_counter()
COLUMNS = (("path", 35), ("peer", 34), ("metric", 10))
NUMBERS = ("theirs", "ours", "ratio", "bar", "aim", "share")


class Median(float):
    """The median of repeated measurements, which remembers how many and their quartiles."""

    times: tuple[float, ...]

    def __new__(cls, times: Iterable[float]) -> Median:
        """The median of ``times``."""
        times = tuple(times)
        made = super().__new__(cls, statistics.median(times))
        made.times = times
        return made

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the measurements lies below the first, a quarter above the second."""
        if len(self.times) == 1:
            return self.times * 2
        first, _, last = statistics.quantiles(self.times, n=4, method="inclusive")
        return first, last

    def __deepcopy__(self, memo: dict) -> Median:
        return self  # it does not change


@dataclass
class Row:
    """One comparison. An empty ``path`` or ``peer`` is that of the row above.

    theirs, ours : less is better; a :class:`Median` brings its repeats and spread along.
    bar, aim : the ratio theirs / ours that must be reached, and the one to aim for; None: neither.
        Without a peer ``theirs`` is None, and they are the largest ``ours`` that will do.
    limit : the smallest value that the machine allows, at its measured rates; ``share`` of it.
    """

    path: str
    peer: str
    metric: str
    theirs: float | None
    ours: float
    bar: float | None = None
    aim: float | None = None
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """theirs / ours: how many times better we are, where less is better."""
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def share(self) -> float | None:
        """limit / ours: the share of the roofline, at most 1."""
        return None if self.limit is None else self.limit / self.ours

    @property
    def met(self) -> bool:
        """Whether the bar is reached; True where there is none."""
        if self.bar is None:
            return True
        return self.ours <= self.bar if self.ratio is None else self.ratio >= self.bar

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the largest ratio of their quartiles: wider than a ratio's own."""
        if self.theirs is None or not any(isinstance(v, Median) for v in (self.theirs, self.ours)):
            return None
        low, high = (
            v.quartiles if isinstance(v, Median) else (v, v) for v in (self.theirs, self.ours)
        )
        return low[0] / high[1], low[1] / high[0]

    def stored(self) -> dict[str, Any]:
        """What the JSON says of it."""
        more = {name: getattr(self, name) for name in ("ratio", "spread", "share", "met")}
        sides = {"theirs": self.theirs, "ours": self.ours}
        sides = {name: value for name, value in sides.items() if isinstance(value, Median)}
        more["repeats"] = {name: len(value.times) for name, value in sides.items()}
        more["quartiles"] = {name: value.quartiles for name, value in sides.items()}
        return asdict(self) | more


def cpu_seconds(fn: Callable[[], Any], repeats: int = 5) -> tuple[Any, list[float]]:
    """Call ``fn`` ``repeats`` times; its last result and the CPU seconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return result, times


def show(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table of stored rows."""
    print("".join(f"{name:{width}}" for name, width in COLUMNS), end="")
    print("".join(f"{name:>10}" for name in NUMBERS))
    for row in rows:
        words = "".join(f"{row[name]:{width}}" for name, width in COLUMNS)
        numbers = "".join(
            f"{'-' if row[name] is None else format(row[name], '.4g'):>10}" for name in NUMBERS
        )
        print(words + numbers, "" if row["met"] else " MISSED")


def report(
    name: str,
    rows: list[Row],
    artifact: str = "",
    precision: torch.dtype | str = "float32",
    data: dict[str, str] | None = None,
    gpus: int = 1,
    **about: Any,
) -> int:
    """Print the table, write results/<name>.json; return how many bars were missed.

    ``artifact``: where a page of the book shows the table, it goes to this folder of
    book/artifacts too, with a run card. ``precision``: what was computed in. ``data``: names of
    data sets and their sha256. ``gpus``: how many it took. ``about``: whatever else; curves under
    the name ``curves``, ``{label: [{"seconds": 1.0, "l1": 0.1}, ...]}``, are what the book plots.
    """
    how = dict(seed=0, preset="full", precision=precision, seconds=time.perf_counter() - BEGIN)
    used = {"data_sha256": data} if data else {}
    card = runtime.run_card(**how, **used)  # made before the tree changes
    card = replace(card, device=f"{gpus} × {card.device}") if gpus > 1 else card
    if card.revision is None:
        print("no revision: this is no git checkout and KEXUE_REVISION is not set", file=sys.stderr)
    about |= {"threads": torch.get_num_threads()}
    stored = {"card": asdict(card), "about": about, "rows": [row.stored() for row in rows]}
    show(stored["rows"])
    text = json.dumps(stored, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
    if artifact:
        shown = ARTIFACTS / artifact / f"{name}.json"
        shown.parent.mkdir(exist_ok=True)
        shown.write_text(text)
        card.files[shown.name] = _run_card.sha256(shown)
        card.to_json(shown.with_name("card.json"))
    return sum(not row.met for row in rows)


def peer(module: str) -> Any:
    """Import a library that only the benchmarks need."""
    try:
        return __import__(module)
    except ImportError:
        sys.exit(
            f"{module} is not installed: it is a peer, not a requirement. Run `make bench`, which "
            "installs the peers, or: pip install 'kexue[bench]'"
        )


def needs_gpu(name: str) -> None:
    """Leave, with a sentence, where there is no GPU."""
    if runtime.device().type != "cuda":
        print(f"{name} needs a GPU, and there is none here: the stored result stays as it is.")
        sys.exit(0)


def main() -> None:
    """Print one table of all stored results."""
    missed = 0
    for path in sorted(RESULTS.glob("*.json")):
        stored = json.loads(path.read_text())
        card = stored["card"]
        made = (
            f"{card['device']}, torch {card['torch']}, {card['date'][:10]}" if card else "no card"
        )
        print(f"\n{path.stem}: {made}")
        show(stored["rows"])
        missed += sum(not row["met"] for row in stored["rows"])
    print(f"\n{missed} bars missed; the page of the book `book/how-fast.md` says why")


if __name__ == "__main__":
    main()
