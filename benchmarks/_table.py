"""What the benchmarks share: CPU time on one thread, and a table with JSON beside it."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from threadpoolctl import threadpool_limits

from kexue import runtime

torch.set_num_threads(1)
threadpool_limits(1)  # NumPy's and scikit-learn's
RESULTS = Path(__file__).with_name("results")
ARTIFACTS = RESULTS.parent.parent / "book" / "artifacts"
BEGIN = time.perf_counter()


@dataclass
class Row:
    """One comparison. ``ratio`` is theirs / ours; ``bar`` is what it must reach, None if nothing.

    Without a peer ``theirs`` is None and ``bar`` is the largest ``ours`` that will do.
    """

    path: str
    peer: str
    metric: str
    theirs: float | None
    ours: float
    bar: float | None = None

    @property
    def ratio(self) -> float | None:
        """theirs / ours: how many times better we are, where less is better."""
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def met(self) -> bool:
        """Whether the bar is reached; True where there is none."""
        if self.bar is None:
            return True
        return self.ours <= self.bar if self.ratio is None else self.ratio >= self.bar


def cpu_seconds(fn: Callable[[], Any], repeats: int = 5) -> tuple[Any, list[float]]:
    """Call ``fn`` ``repeats`` times; its last result and the CPU seconds of each call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = fn()
        times.append(time.process_time() - start)
    return result, times


def report(name: str, rows: list[Row], artifact: str = "", **about: Any) -> int:
    """Print the table, write results/<name>.json; return how many bars were missed.

    ``artifact``: where a page of the book shows the table, it goes to this folder of
    book/artifacts too, with a run card.
    """
    print(f"{'path':35}{'peer':34}{'metric':10}{'theirs':>10}{'ours':>10}{'ratio':>9}{'bar':>8}")
    for row in rows:
        theirs, ratio, bar = (
            "-" if value is None else f"{value:.4g}" for value in (row.theirs, row.ratio, row.bar)
        )
        print(f"{row.path:35}{row.peer:34}{row.metric:10}{theirs:>10}{row.ours:10.4g}", end="")
        print(f"{ratio:>9}{bar:>8}", "" if row.met else " MISSED")
    about |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    table = [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows]
    text = json.dumps({"about": about, "rows": table}, indent=1) + "\n"
    if artifact:
        with tempfile.TemporaryDirectory() as folder:  # the card is made before the tree changes
            shown = Path(folder) / f"{name}.json"
            shown.write_text(text)
            how = dict(seed=0, preset="full", precision="float64", files=[shown])
            card = runtime.run_card(seconds=time.perf_counter() - BEGIN, **how)
        (ARTIFACTS / artifact).mkdir(exist_ok=True)
        (ARTIFACTS / artifact / f"{name}.json").write_text(text)
        card.to_json(ARTIFACTS / artifact / "card.json")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
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
