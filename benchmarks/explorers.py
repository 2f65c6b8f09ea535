"""What an explorer costs: its author CPU time for the frames; a reader bytes and waiting.

``python benchmarks/explorers.py`` computes all frames of four explorers beforehand, against

1. ``savefig`` in a loop: the function called for each frame, its figure saved as PNG at two pixels
   a point, cut to its ink, which is what a notebook does with a figure;
2. the loop tuned: the layout is found once and not for each frame, nothing is cut.

Ours packs, compresses and writes the page's HTML besides. The limit of a row is calling the
function alone, figures made and closed but never drawn. CPU seconds on one thread, taken in turns.
``--only frames`` or ``reader`` does one half and stores nothing.

For the reader it builds a page for each explorer, serves it from localhost and opens it in a
headless Chromium. A move is measured from the key press (the event's own time stamp) to the first
task after the frame that shows the new picture.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import http.server
import io
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import nbformat
import numpy as np
from _explorers import CASES
from _table import Median, Row, cpu_seconds, report, show

from kexue import plot
from kexue.explore import frames, interact

LIMITS = {"curves": 60_000, "frames": 300_000}  # bytes
MEDIAN, P95, FIRST = 0.02, 0.05, 1.0  # seconds
PRESSES, REPEATS = 60, 3
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

MEASURE = """
async ({ presses, index }) => {
  const figure = document.querySelector("figure.kx-explorer");
  const slider = figure.querySelector("input[type=range]");
  const times = [];
  let pressed = 0, done;
  slider.addEventListener("keydown", (event) => { pressed = event.timeStamp; });
  new MutationObserver(() => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { times.push(performance.now() - pressed); };
    channel.port2.postMessage(0);
  })).observe(figure, { attributes: true, attributeFilter: ["data-kx-frame"] });
  slider.focus();
  window.moves = times;
}
"""


def explorer_of(fn: Callable, options: dict[str, Any]) -> Any:
    """The explorer with all its frames."""
    with contextlib.redirect_stdout(io.StringIO()):
        return interact(fn, caption="Moved.", **options).explorer


def alone(fn: Callable, where: list[dict[str, Any]]) -> None:
    """Call the function for every frame; draw nothing."""
    for arguments in where:
        fn(**arguments)
        plt.close()


def saved(fn: Callable, where: list[dict[str, Any]], tuned: bool = False) -> list[bytes]:
    """The loop over ``savefig``."""
    layout, cut, pictures = frames.Layout(), None if tuned else "tight", []
    for arguments in where:
        fn(**arguments)
        if tuned:
            layout.apply(plt.gcf())
        out = io.BytesIO()
        plt.savefig(out, format="png", dpi=frames.DOTS, bbox_inches=cut)
        plt.close()
        pictures.append(out.getvalue())
    return pictures


def check(fn: Callable, arguments: dict[str, Any]) -> None:
    """What is recorded of a figure has the extent of its ink on paper, to three points."""
    drawing, frame = frames.draw(fn, arguments, frames.Layout())
    ink, height = drawing.figure.get_tightbbox(), drawing.figure.get_size_inches()[1]
    paper = 72 * np.array([ink.x0, height - ink.y1, ink.x1, height - ink.y0])
    assert np.abs(paper - frame.scene.box).max() < 3, f"{fn.__name__}: other ink than on paper"


def frames_rows() -> list[Row]:
    """CPU seconds of all frames: ours, the loop, the loop tuned, the function alone."""
    grids = [frames.grid(explorer_of(*case).controls) for case in CASES]  # and all are warm
    names = ("ours", "savefig in a loop", "the loop tuned", "alone")
    took = {name: np.zeros((REPEATS, len(CASES))) for name in names}
    for k, ((fn, options), where) in enumerate(zip(CASES, grids, strict=True)):
        check(fn, where[0])
        runs = (
            lambda fn=fn, options=options: explorer_of(fn, options),
            lambda fn=fn, where=where: saved(fn, where),
            lambda fn=fn, where=where: saved(fn, where, tuned=True),
            lambda fn=fn, where=where: alone(fn, where),
        )
        for repeat in range(REPEATS):
            for name, run in zip(names, runs, strict=True):
                made, took[name][repeat, k : k + 1] = cpu_seconds(run, 1)
                assert name in ("ours", "alone") or len(made) == len(where)
    rows, counts = [], [len(where) for where in grids]
    parts = [(f"{sum(counts)} frames of {len(CASES)} explorers", slice(None))]
    parts += [
        (f"  {fn.__name__}, {n} frames", slice(k, k + 1))
        for k, ((fn, _), n) in enumerate(zip(CASES, counts, strict=True))
    ]
    for path, part in parts:
        of = {name: Median(seconds[:, part].sum(1)) for name, seconds in took.items()}
        goals = () if path.startswith(" ") else (3, 10)
        goals = dict(zip(("bar", "aim"), goals, strict=False)) | {"limit": of["alone"]}
        rows.append(Row(path, names[1], "CPU s", of[names[1]], of["ours"], **goals))
        rows.append(Row("", names[2], "CPU s", of[names[2]], of["ours"], limit=of["alone"]))
    return rows


def page_for(explorer: Any, folder: Path) -> None:
    """Build a page with one explorer."""
    from sphinx.application import Sphinx

    output = nbformat.v4.new_output("display_data", data=explorer.bundle()[0])
    cells = [
        nbformat.v4.new_markdown_cell("# One explorer"),
        nbformat.v4.new_code_cell("interact(...)", outputs=[output], execution_count=1),
    ]
    source = folder / "source"
    source.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "index.ipynb")
    config = {
        "extensions": ["myst_nb", "kexue.site"],
        "nb_execution_mode": "off",
        "html_theme": "sphinx_book_theme",
        "suppress_warnings": ["myst-nb.lexer"],
    }
    site = folder / "site"
    Sphinx(source, None, site, folder / "trees", "html", config, status=None, warning=None).build()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder from localhost; yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


def measure(chromium: Any, address: str) -> tuple[float, float, float]:
    """Return seconds: median and 95th percentile of a move, first slider usable."""
    first = []
    for _ in range(5):  # each in a fresh context: nothing cached
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        page = context.new_page()
        page.add_init_script(
            "new MutationObserver(() => { if (!window.usable && document.querySelector("
            "'figure[data-kx=ready]')) window.usable = performance.now() }).observe(document, "
            "{ subtree: true, attributes: true, childList: true })"
        )
        page.goto(address)
        page.wait_for_function("window.usable")
        first.append(page.evaluate("window.usable"))
        if len(first) < 5:
            context.close()
    page.evaluate(MEASURE, {"presses": PRESSES, "index": 0})
    steps = int(page.evaluate("+document.querySelector('figure input[type=range]').max"))
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    page.evaluate("window.moves.length = 0")
    for k in range(PRESSES):
        page.keyboard.press("ArrowRight" if k % (2 * steps) < steps else "ArrowLeft")
        page.wait_for_function(f"window.moves.length >= {k + 1}")
        page.wait_for_timeout(37)  # not in step with the screen
    moves = page.evaluate("window.moves")
    context.close()
    milliseconds = statistics.median(moves), np.percentile(moves, 95), statistics.median(first)
    return tuple(float(value) / 1000 for value in milliseconds)


def reader_rows(about: dict[str, Any]) -> list[Row]:
    """Bytes and waiting of each explorer; what its page and its scripts weigh goes into about."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("KEXUE_CHROMIUM") or next(filter(None, map(shutil.which, names)))
    rows = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for fn, options in CASES:
            explorer = explorer_of(fn, options)
            with tempfile.TemporaryDirectory() as scratch:
                page_for(explorer, Path(scratch))
                site = Path(scratch) / "site"
                files = [site / "_static" / f"explore{s}" for s in ("-draw.js", ".js", ".css")]
                weights = {"page": [site / "index.html"], "scripts": files}
                about[f"{fn.__name__}, bytes after gzip"] = {
                    name: sum(len(gzip.compress(f.read_bytes(), 6)) for f in parts)
                    for name, parts in weights.items()
                }
                with serve(site) as address:
                    median, p95, first = measure(chromium, address)
            label = f"{fn.__name__}, stored as {explorer.mode}"
            limit = LIMITS[explorer.mode]
            rows.append(Row(label, "-", "bytes", None, explorer.bytes, limit))
            rows.append(Row("  a move, median", "", "s", None, median, MEDIAN))
            rows.append(Row("  a move, 95 %", "", "s", None, p95, P95))
            rows.append(Row("  first slider usable", "", "s", None, first, FIRST))
        chromium.close()
    return rows


def main() -> int:
    """Print the table; return the number of limits that were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["frames", "reader"])
    only = parser.parse_args().only
    plot.setup()
    rows, about = [], {"load": os.getloadavg()[0]}
    rows += frames_rows() if only != "reader" else []
    rows += reader_rows(about) if only != "frames" else []
    if only:
        show(row.stored() for row in rows)
        return sum(not row.met for row in rows)
    return report("explorers", rows, **about)


if __name__ == "__main__":
    sys.exit(main())
