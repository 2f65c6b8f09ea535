"""What an explorer costs a reader: bytes on the wire, time to the first slider, time of a move.

``python benchmarks/explorers.py`` builds one page for each explorer, serves it from localhost,
opens it in a headless Chromium and prints a table; it fails where a limit is missed. A move is
measured from the key press (the event's own time stamp) to the first task after the frame that
shows the new picture.
"""

from __future__ import annotations

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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import torch

from kexue import data, diffusion, plot
from kexue.density import GaussianMixture
from kexue.explore import interact
from kexue.schedule import su

LIMITS = {"curves": 60_000, "frames": 300_000}  # bytes
MEDIAN, P95, FIRST = 20, 50, 1000  # milliseconds
PRESSES = 60
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

schedule = su()
modes = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.04, 0.04])


def bayes(t=400, jump=100, x_t=1.0):
    """What x_0 = -1 says of x_s, what x_t says of it, and the product"""
    s, y = max(t - jump, 1), np.linspace(-3, 3, 241)
    (alpha, sigma), (a, b) = map(float, schedule(s)), map(float, schedule.step(t, s))
    mean, var = diffusion.posterior(torch.tensor(x_t), torch.tensor(-1.0), schedule, t, s)
    _, (left, right) = plt.subplots(1, 2, width_ratios=[4, 1])
    for m, v, c, name in [
        (-alpha, sigma**2, plot.BLUE, r"$p(x_s|x_0)$"),
        (x_t / a, (b / a) ** 2, plot.RED, r"$p(x_t|x_s)$"),
        (float(mean), float(var), plot.GREEN, r"$p(x_s|x_t,x_0)$"),
    ]:
        left.plot(y, np.exp(-((y - m) ** 2) / (2 * v)), color=c, label=name)
    left.set(xlim=(-3, 3), ylim=(0, 1.1), xlabel="$x_s$", ylabel="density / its maximum")
    left.legend(loc="upper left", ncols=3)
    share = float(var) / sigma**2
    right.bar([0], [share], color=plot.BLUE)
    right.bar([0], [1 - share], bottom=[share], color=plot.RED)
    right.set(xticks=[], ylim=(0, 1), ylabel="share of the precision")


def jumps(K=10, variance="posterior"):
    """Law of the chain after K jumps of the exact denoiser, and the data's law"""
    x = torch.linspace(-6, 6, 3001, dtype=torch.float64)
    *_, (_, q) = diffusion.chain_on_grid(modes, schedule, schedule.timesteps(K, 1), x, variance)
    p = modes.noised(*schedule(1)).log_prob(x).exp()
    near = (x.abs() < 2.2).nonzero()[::5, 0]
    plt.fill_between(x[near], p[near], color=plot.GRAY, alpha=0.35, label="data")
    plt.plot(x[near], q[near], color=plot.RED, label="generated")
    plt.gca().set(xlim=(-2.2, 2.2), ylim=(0, 2.5), xlabel="$x$", ylabel="density")
    plt.legend(loc="upper right")


def noising(t=300):
    """Sixteen digits with the noise of time t"""
    x0 = data.load("digits").x[:16]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    x = schedule.add_noise(x0, noise, torch.full((16,), t))
    plot.strip(plt.gca(), x.clamp(-1, 1), 8)


def contours(a=0.5):
    """A density with two modes, filled contours"""
    x = np.linspace(-3, 3, 90)
    x, y = np.meshgrid(x, x)
    z = np.exp(-((x - a) ** 2) - y**2) + np.exp(-((x + a) ** 2) - 2 * y**2)
    plt.contourf(x, y, z, 12)


JUMPS = [1, 2, 3, 5, 10, 20, 50]
CASES: list[tuple[Callable, dict[str, Any]]] = [
    (
        bayes,
        {"t": (2, 1000), "jump": [1, 10, 100], "x_t": (-2.0, 2.0), "frames": {"t": 9, "x_t": 5}},
    ),
    (jumps, {"K": (1, 50), "variance": ["posterior", "forward"], "frames": {"K": JUMPS}}),
    (noising, {"t": (0, 1000), "frames": 21}),
    (contours, {"a": (0.0, 1.5), "frames": 16, "mode": "frames"}),
]

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


def page_for(fn: Callable, options: dict[str, Any], folder: Path) -> tuple[Any, float]:
    """Build a page with one explorer; return the explorer and the seconds its frames took."""
    from sphinx.application import Sphinx

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        explorer = interact(fn, caption="Moved.", **options).explorer
    seconds = time.perf_counter() - start
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
    return explorer, seconds


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
    """Return milliseconds: median and 95th percentile of a move, first slider usable."""
    first = []
    for _ in range(5):  # each in a fresh context: nothing cached
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
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
    return statistics.median(moves), float(np.percentile(moves, 95)), statistics.median(first)


def main() -> int:
    """Print the table; return the number of limits that were missed."""
    from playwright.sync_api import sync_playwright

    plot.setup()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("KEXUE_CHROMIUM") or next(filter(None, map(shutil.which, names)))
    print(
        f"{'explorer':10}{'stored as':>10}{'frames':>8}{'bytes':>10}{'page':>10}{'scripts':>9}",
        end="",
    )
    print(f"{'median':>9}{'p95':>9}{'first':>9}{'computed':>10}")
    missed = 0
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for fn, options in CASES:
            with tempfile.TemporaryDirectory() as scratch:
                explorer, seconds = page_for(fn, options, Path(scratch))
                site = Path(scratch) / "site"
                sent = len(gzip.compress((site / "index.html").read_bytes(), 6))
                files = [site / "_static" / f"explore{s}" for s in ("-draw.js", ".js", ".css")]
                scripts = sum(len(gzip.compress(f.read_bytes(), 6)) for f in files)
                with serve(site) as address:
                    median, p95, first = measure(chromium, address)
            count = int(np.prod([len(c.values) for c in explorer.controls]))
            fits = explorer.bytes <= LIMITS[explorer.mode]
            good = fits and median < MEDIAN and p95 < P95 and first < FIRST
            missed += not good
            print(
                f"{fn.__name__:10}{explorer.mode:>10}{count:8}{explorer.bytes:10,}{sent:10,}",
                end="",
            )
            print(
                f"{scripts:9,}{median:6.1f} ms{p95:6.1f} ms{first:6.0f} ms{seconds:8.1f} s", end=""
            )
            print("" if good else "  MISSED")
        chromium.close()
    print(f"limits: {LIMITS} bytes; median {MEDIAN} ms, p95 {P95} ms, first {FIRST} ms")
    print("bytes: the explorer, gzip; page: its whole HTML, gzip; scripts: explore*.js and .css")
    return missed


if __name__ == "__main__":
    sys.exit(main())
