"""Explorers in JupyterLab and Notebook 7: live with a kernel, a picture without one.

One server shows both. The sliders are moved by keyboard and by mouse, over the full range.
"""

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]

# How JupyterLab and Notebook 7 say that the kernel is there; what is run before that is lost.
IDLE = "#jp-main-statusbar :text('| Idle'), .jp-NotebookKernelStatus-fade"
LIVE = """
import matplotlib.pyplot as plt
from kexue.explore import interact

calls = []

@interact(k=(1, 500), double=False, frames=[1, 499], caption="To $k$.", alt=lambda k: f"Height {k}")
def line(k=100, double=False):
    calls.append(k)
    if k == 500:
        raise ValueError("k: got 500, needs less")
    plt.plot([0, 1], [0, k], lw=4 if double else 1)
    plt.title(f"k is {k}")

_ = interact(line, k=(1, 9), frames=2)
"""
STORED = """
@interact(k=(1, 3))
def line(k=2):
    plt.plot([0, 1], [0, k])
"""


def stored_notebook() -> nbformat.NotebookNode:
    """A notebook as the book stores it: no widget view, no widget state."""
    import matplotlib.pyplot as plt

    from kexue.explore import interact

    def line(k=2):
        plt.plot([0, 1], [0, k])

    with contextlib.redirect_stdout(io.StringIO()):
        bundle, _ = interact(line, k=(1, 3), alt="A rising line").explorer.bundle()
    output = nbformat.v4.new_output("display_data", data=bundle)
    cell = nbformat.v4.new_code_cell(STORED, outputs=[output], execution_count=1)
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Jupyter server with JupyterLab and Notebook 7 over two notebooks."""
    for command in ("jupyter-lab", "jupyter-notebook"):
        if shutil.which(command, path=os.path.dirname(sys.executable)) is None:
            complaint = f"{command} is not installed: pip install jupyterlab notebook"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(complaint)
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(LIVE)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "live.ipynb")
    nbformat.write(stored_notebook(), folder / "stored.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    options = f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0"
    options += " --IdentityProvider.token= --LabApp.news_url= --LabApp.check_for_updates_class="
    options += "jupyterlab.NeverCheckForUpdate --ServerApp.log_level=ERROR"
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options.split(), f"--ServerApp.root_dir={folder}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address + "api", timeout=1).close()
                break
            assert process.poll() is None, "Jupyter did not start"
            time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # it waits for kernels on a busy machine
            process.kill()
            process.wait()


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(180_000)  # Jupyter is slow to load on a busy machine
    yield context.new_page()
    context.close()


@pytest.fixture(params=["lab/tree", "notebooks"], ids=["lab", "notebook7"])
def folder(request, server):
    """Where a notebook is opened in JupyterLab, and in Notebook 7."""
    return f"{server}{request.param}/"


def run(page, folder):
    """Open the notebook, run it and return its live explorer."""
    page.goto(folder + "live.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    page.locator(IDLE).first.wait_for(state="attached")
    page.locator("li.lm-MenuBar-item:has-text('Run')").click()
    page.locator("li.lm-Menu-item[data-command='runmenu:run-all']").click()
    live = page.locator("figure.kx-kernel[data-kx=live]")
    live.nth(1).wait_for()
    return live.first


def test_sliders_are_live_with_a_kernel_and_errors_shown_in_place(folder, page):
    figure = run(page, folder)
    assert page.locator("figure.kx-explorer").count() == 2  # the widgets, no stored figures
    assert figure.locator("figcaption").inner_text() == "To k."
    assert page.evaluate(
        "() => { const ids = [...document.querySelectorAll('figure [id]')].map((n) => n.id);"
        " return ids.length > 0 && new Set(ids).size === ids.length }"
    )
    slider, svg = figure.locator("input[name=k]"), figure.locator("svg.kx-picture")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("1", "500")

    def moved_to(k, double=0):
        page.wait_for_function(
            "(f) => document.querySelector('figure.kx-kernel').dataset.kxFrame === f",
            arg=f"{k} {double}",
        )
        return svg.inner_html()

    slider.focus()
    slider.press("ArrowRight")  # Jupyter must leave the arrow keys to the slider
    first = moved_to(101)
    assert svg.get_attribute("aria-label") == "Height 101"
    for _ in range(12):  # faster than Python draws: the last request wins
        slider.press("ArrowRight")
    last = moved_to(113)
    assert last != first and svg.get_attribute("aria-label") == "Height 113"
    for _ in range(12):
        slider.press("ArrowLeft")
    assert moved_to(101) == first
    figure.locator("input[type=checkbox]").click()
    assert moved_to(101, 1) != first
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
    moved_to(1, 1)

    error = figure.locator(".kx-error")
    slider.press("End")
    error.wait_for(state="visible")
    assert error.inner_text() == "ValueError: k: got 500, needs less"
    slider.press("ArrowLeft")
    error.wait_for(state="hidden")
    assert figure.locator("svg.kx-picture").get_attribute("aria-label") == "Height 499"


def test_without_a_kernel_the_picture_shows(folder, page):
    page.goto(folder + "stored.ipynb")
    image = page.locator("figure img[alt*='A rising line']")
    image.wait_for()
    assert image.evaluate("i => i.complete && i.naturalWidth") > 100
    assert "can be moved: k from 1 to 3" in re.sub(
        r"\s+", " ", page.locator("figcaption").inner_text()
    )
