"""Explorers on a built page without a kernel: from http and from a file, network cut.

A small page is built with Sphinx, MyST-NB and ``kexue.site``. Every control is moved by keyboard
and by mouse; each time the picture must change, and be the same as before on the way back.
"""

import contextlib
import io
import re

import matplotlib
import nbformat
import numpy as np
import pytest
from PIL import Image

matplotlib.use("agg")
import matplotlib.pyplot as plt
from waiting import READY, awaiting

from kexue.explore import interact

pytestmark = pytest.mark.browser
X = np.linspace(0, 1, 60)
LONG = "height of the hill at its left end"
SETTLE = awaiting("await new Promise(requestAnimationFrame); await settled(figure);", "figure")


def curves(f=2.0, shape=None, grow=False):
    _, axes = plt.subplots(figsize=(5, 2.5))
    axes.plot(X, (shape or np.sin)(2 * np.pi * f * X) * (X if grow else 1), "o-")
    axes.set(xlim=(0, 1), ylim=(-1.2, 1.2), xlabel=r"$\bar\alpha_t$", title=f"f = {f:g}")


def blended(a=0.3, b=0.5):
    _, axes = plt.subplots(figsize=(5, 2.5))
    axes.fill_between(X, a + b * X, color="#3a7fc1", alpha=0.5)
    axes.set(xlim=(0, 1), ylim=(0, 2))


def pixels(k=1):
    _, axes = plt.subplots(figsize=(3, 3))
    axes.imshow(np.random.default_rng(k).normal(size=(8, 8)), interpolation="none")


def pictures(k=2):
    _, axes = plt.subplots(figsize=(4, 2.5))
    axes.bar(range(4), np.arange(4) * k, hatch="//")
    axes.set_ylim(0, 12)


def words(n=2):
    print("n =", n)
    return 10**n


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a built page with five explorers."""
    from sphinx.application import Sphinx

    shapes = {"sine": np.sin, "cosine": np.cos}
    calls = [
        (
            curves,
            dict(
                f=(1.0, 3.0, 0.25), shape=shapes, grow=False, frames=5, play="f", units={"f": "Hz"}
            ),
        ),
        (
            blended,
            dict(a=(0.0, 1.0), b=(0.0, 1.0), frames=3, interpolate=True, labels={"a": LONG}),
        ),
        (pixels, dict(k=(0, 4))),
        (pictures, dict(k=(0, 3))),
        (words, dict(n=(1, 3), alt="A power of ten")),
    ]
    cells = [nbformat.v4.new_markdown_cell("# Explorers\n\n$x^2$")]
    for fn, options in calls:
        with contextlib.redirect_stdout(io.StringIO()):
            bundle, _ = interact(fn, caption="Below $x$.", **options).explorer.bundle()
        output = nbformat.v4.new_output("display_data", data=bundle)
        cells.append(
            nbformat.v4.new_code_cell("interact(...)", outputs=[output], execution_count=1)
        )
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "index.ipynb")
    options = {
        "extensions": ["myst_nb", "kexue.site"],
        "nb_execution_mode": "off",
        "html_theme": "sphinx_book_theme",
        "suppress_warnings": ["myst-nb.lexer"],
        "myst_enable_extensions": ["dollarmath"],
    }
    Sphinx(source, None, out, source / ".doctrees", "html", options, status=None).build()
    return out


@pytest.fixture(params=["http", "file"])
def opened(request, built, chromium, serving):
    """The page in a browser that refuses every other host, and what went wrong so far."""
    address = serving(built) if request.param == "http" else built.as_uri() + "/"
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    wrong: list[str] = []

    def gate(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(route.request.url)
            route.abort()

    context.route("**/*", gate)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.goto(address + "index.html")
    page.evaluate(READY)
    yield page, wrong
    context.close()


class Look:
    """What a figure shows once what was asked for is drawn: its markup and, from http, its pixels.

    Two looks are equal if the markup is, and all but a few pixels: Chromium paints an edge anew
    with slightly other grays when a part of the picture changes. What it paints is the same from a
    file.
    """

    def __init__(self, figure) -> None:
        figure.evaluate(SETTLE)
        drawn = figure.locator(".kx-drawn")
        self.markup = re.sub(r' (?:style|tabindex)="[^"]*"', "", drawn.inner_html())
        self.pixels = None
        if figure.page.url.startswith("http:"):
            self.pixels = np.asarray(Image.open(io.BytesIO(drawn.screenshot())).convert("L"), int)

    def apart(self, other) -> np.ndarray:
        """How far the pixels are apart, where both have some (texts keep their largest height)."""
        h, w = np.minimum(self.pixels.shape, other.pixels.shape)
        return np.abs(self.pixels[:h, :w] - other.pixels[:h, :w])

    def __eq__(self, other) -> bool:
        if self.markup != other.markup:
            return False
        if self.pixels is not None:
            assert np.mean(self.apart(other) > 64) < 2e-3, "same markup, other picture"
        return True

    def changed(self, other) -> bool:
        """Whether something else is seen."""
        seen = self.pixels is None or self.apart(other).max() > 64
        return self.markup != other.markup and seen


def test_every_control_by_keyboard_and_mouse(opened):
    page, wrong = opened
    for figure in page.locator("figure.kx-explorer").all():
        figure.scroll_into_view_if_needed()
        start = Look(figure)
        for slider in figure.locator("input[type=range]").all():
            slider.focus()
            first = slider.input_value()
            text = slider.get_attribute("aria-valuetext")
            for forth, back in (("ArrowRight", "ArrowLeft"), ("ArrowUp", "ArrowDown")):
                slider.press(forth)
                assert Look(figure).changed(start), (forth, slider.get_attribute("name"))
                assert slider.get_attribute("aria-valuetext") != text
                slider.press(back)
                assert Look(figure) == start, back
                assert slider.get_attribute("aria-valuetext") == text
            ends = []
            for key in ("Home", "End"):
                slider.press(key)
                ends.append(Look(figure))
            assert ends[0].changed(ends[1])
            slider.press("PageDown")
            assert Look(figure).changed(ends[1])
            slider.press("PageUp")
            assert Look(figure) == ends[1]
            box = slider.bounding_box()
            page.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
            assert Look(figure) == ends[0]
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=4)
            page.mouse.up()
            assert Look(figure) == ends[1]
            while slider.input_value() != first:
                slider.press("ArrowLeft")
            assert Look(figure) == start
        for select in figure.locator("select").all():
            select.focus()
            select.press("ArrowDown")
            assert Look(figure).changed(start)
            select.select_option(index=0)
            assert Look(figure) == start
        for box in figure.locator("input[type=checkbox]").all():
            box.click()
            changed = Look(figure)
            assert changed.changed(start)
            box.press("Space")
            assert Look(figure) == start
    assert wrong == []


def test_play_and_pause(opened):
    page, wrong = opened
    figure = page.locator("figure.kx-explorer").first
    button, slider = figure.locator(".kx-play"), figure.locator("input[type=range]")
    assert button.get_attribute("aria-label") == "Play f"
    before = slider.input_value()
    button.press("Enter")
    page.wait_for_function("(v) => document.querySelector('input[name=f]').value !== v", arg=before)
    assert button.get_attribute("aria-label") == "Pause f"
    button.click()
    stopped = slider.input_value()
    page.wait_for_timeout(400)  # of what must not happen there is no sign to wait for
    assert slider.input_value() == stopped
    page.emulate_media(reduced_motion="reduce")
    button.click()  # now one step a press, and no motion of its own
    stepped = slider.input_value()
    assert stepped != stopped
    page.wait_for_timeout(400)
    assert slider.input_value() == stepped
    assert wrong == []


def test_blending_is_continuous(opened):
    """Between two stored values the curve stands between the two stored curves."""
    page, _ = opened
    figure = page.locator("figure.kx-explorer").nth(1)
    slider = figure.locator("input[name=a]")

    def top():
        d = figure.locator("path[fill='#3a7fc1']").get_attribute("d")
        return min(
            float(v) for v in d.replace("M", " ").replace("L", " ").replace("Z", " ").split()[1::2]
        )

    def at(value):
        slider.evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input')) }", str(value)
        )
        return top()

    low, middle, high = at(0.0), at(0.25), at(0.5)
    assert low > middle > high
    assert middle == pytest.approx((low + high) / 2, abs=0.1)


def test_controls_speak_and_fit_a_thumb(opened):
    page, _ = opened
    page.set_viewport_size({"width": 390, "height": 844})
    for control in page.locator(".kx-row input, .kx-row select, .kx-play").all():
        box = control.locator(
            "xpath=ancestor-or-self::*[self::label or self::button][1]"
        ).bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
        name = control.evaluate(
            "c => c.getAttribute('aria-label') || c.labels[0].textContent.trim()"
        )
        assert name
    for slider in page.locator("input[type=range]").all():
        assert slider.bounding_box()["width"] > 100  # however long its label
    slider = page.locator("input[name=f]")
    assert slider.get_attribute("aria-valuetext") == "2.00\u00a0Hz"
    assert slider.evaluate("s => s.dataset.lmSuppressShortcuts") == "true"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for svg in page.locator("svg.kx-picture:not([hidden])").all():
        assert len(svg.get_attribute("aria-label")) > 5


def test_nothing_moves_when_the_controls_come(built, chromium):
    """Cumulative layout shift of the loading page, as the browser measures it, is nothing."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(
        "window.shifts = [];"
        "window.watch = new PerformanceObserver((list) => shifts.push(...list.getEntries()));"
        "watch.observe({ type: 'layout-shift', buffered: true })"
    )
    page.goto((built / "index.html").as_uri())
    page.evaluate(READY)
    shifts = page.evaluate(
        """async () => {
          for (let k = 0; k < 2; k++) await new Promise(requestAnimationFrame);  // painted
          return [...shifts, ...watch.takeRecords()].map((shift) => shift.value);
        }"""
    )
    assert sum(shifts) < 0.01
    page.close()


def test_print_shows_the_default_and_says_what_moves(built, chromium):
    page = chromium.new_page()
    page.goto((built / "index.html").as_uri())
    page.evaluate(READY)
    slider = page.locator("input[name=f]")
    slider.focus()
    slider.press("End")
    page.emulate_media(media="print")
    first = page.locator("figure.kx-explorer").first
    assert first.locator(".kx-stage > img").is_visible()
    assert not first.locator(".kx-drawn").is_visible()
    assert not first.locator(".kx-controls").is_visible()
    assert "f from 1.00 Hz to 3.00 Hz" in first.locator(".kx-hint").inner_text()
    page.close()


def test_without_scripts_there_is_a_picture(built, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((built / "index.html").as_uri())
    first = page.locator("figure.kx-explorer").first
    assert first.locator("img").is_visible() and first.locator(".kx-hint").is_visible()
    assert first.locator("img").bounding_box()["height"] > 100
    context.close()
