"""The line below a title and the figures that one can save, in a browser."""

import io
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image
from pybtex.database import parse_string
from waiting import READY, awaiting

from tools.book import documents, source

pytestmark = pytest.mark.browser

CHAPTERS = [name for name in documents() if source(name).suffix == ".ipynb"]
PAGES = [name for name in documents() if name != documents()[0]]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_cited_and_reported(name, site):
    """Read from the file: a browser adds nothing here."""
    text = (site / f"{name}.html").read_text("utf-8")
    head = re.search(r'<div class="kx-head.*?</div></div></div></details>.*?</div>', text, re.S)[0]
    assert "/issues/new?title=" in head
    assert ("Open in Colab" in head) == ("Download .ipynb" in head) == (name in CHAPTERS)
    (entry,) = parse_string(
        re.search(r"<pre>(.*?)</pre>", head, re.S)[1], "bibtex"
    ).entries.values()
    assert entry.type == ("incollection" if name in CHAPTERS else "book")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_citation_opens_without_a_script_and_is_copied_with_one(
    width, chromium, address, visit
):
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    page.goto(f"{address}{CHAPTERS[0]}.html")
    entry, button = page.locator(".kx-cite pre"), page.locator(".kx-cite summary")
    assert not entry.is_visible()
    before = button.bounding_box()
    button.focus()
    page.keyboard.press("Enter")
    assert "@incollection" in entry.inner_text() and button.bounding_box() == before
    assert all(box.bounding_box()["height"] >= 24 for box in page.locator(".kx-head > a").all())
    context.close()

    options = {"permissions": ["clipboard-read", "clipboard-write"]}
    seen = visit(f"{CHAPTERS[0]}.html", width=width, **options)
    seen.page.locator(".kx-cite summary").click()
    seen.page.locator(".kx-cite .copybtn").click()
    seen.page.locator(".kx-cite .copybtn.success").wait_for()
    assert parse_string(seen.page.evaluate("navigator.clipboard.readText()"), "bibtex").entries
    seen.clean()


def saved(page, figure):
    """The two files of a figure, as bytes."""
    for button in figure.locator(".kx-save button").all():
        with page.expect_download() as download:
            button.click()
        yield download.value.suggested_filename, download.value.path().read_bytes()


def test_figures_are_saved_black_on_white_from_a_dark_page_as_they_stand(visit):
    seen = visit(f"{CHAPTERS[0]}.html", scheme="dark")
    page = seen.page
    page.evaluate(READY)
    drawn = page.locator("figure:has(svg.kx-figure):has(.kx-save)").first
    explorer = page.locator("figure.kx-explorer:has(.kx-save)").first
    for figure in drawn, explorer:
        (vector, svg), (raster, png) = saved(page, figure)
        name = figure.get_attribute("id")
        assert (vector, raster) == (f"{name}.svg", f"{name}.png")
        root = ET.fromstring(svg)
        assert root[0].get("fill") == "#fff"
        assert root[0].get("width") == root.get("viewBox").split()[2]
        assert not re.search(rb"currentColor|var\(|blob:|https?://(?!www\.w3\.org)", svg)
        picture = Image.open(io.BytesIO(png)).convert("L")
        width, height = picture.size
        assert {picture.getpixel((x, y)) for x in (0, width - 1) for y in (0, height - 1)} == {255}
        assert width >= 1000 and picture.getextrema()[0] < 60  # sharp, and drawn on
    explorer.locator("input[type=range]").first.press("End")
    explorer.evaluate(awaiting("await settled(figure);", "figure"))
    (_, moved), _ = saved(page, explorer)
    drawn = [re.sub(rb' aria-label="[^"]*"', b"", file) for file in (svg, moved)]
    assert drawn[0] != drawn[1]
    seen.clean()


def test_a_stranger_has_everything_on_the_first_screen_and_one_click_away(visit, address):
    """A moved explorer, a proved equation, a stored result, a deck and Colab."""
    seen = visit("book/index.html")
    page = seen.page
    page.evaluate(READY)
    assert page.locator(".kx-front figure").count() == 2
    for part in page.locator(".kx-front :is(input, summary, figure), .kx-entrances a").all():
        assert part.bounding_box()["y"] < 800
    for words in page.locator(".kx-front-2 svg.kx-figure g[id*='-text_']").all():
        assert words.bounding_box()["height"] > 8  # of letters alone: 11 pixels with what is around

    drawn = page.locator(".kx-front .kx-drawn").first
    before, slider = drawn.inner_html(), page.locator(".kx-front input[type=range]").first
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] - 9, "y": box["height"] / 2})
    assert drawn.inner_html() != before
    page.locator(".kx-front .kx-mark > summary").click()
    assert page.locator(".kx-front .kx-how").inner_text().startswith("Proved")

    page.locator(".kx-entrances a", has_text="slides").click()
    page.wait_for_selector("html.kxd-ready")
    assert page.evaluate("Reveal.getTotalSlides()") >= 20
    page.go_back()
    seen.clean()
    page.locator(".kx-entrances a", has_text="Colab").click()
    (asked,) = seen.foreign  # the network is cut
    assert asked.startswith("https://colab.research.google.com/github/")
    assert asked.endswith("/blob/colab/diffusion/fokker-planck.ipynb")
