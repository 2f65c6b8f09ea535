"""Every explorer of every page of the built book: moved, referred to, printed; network cut."""

import re

import pytest
from waiting import READY, awaiting

from tools.book import documents

pytestmark = pytest.mark.browser
DRAWN = awaiting(
    "await settled(figure); return figure.querySelector('.kx-drawn').innerHTML;", "figure"
)


def explorers(site):
    """Return the pages that have explorers."""
    pages = [f"{name}.html" for name in documents()]
    return [p for p in pages if 'class="kx-data"' in (site / p).read_text(encoding="utf-8")]


def ready(page):
    """Return the page's explorers once their scripts have run.

    They and all below are handles: a locator looks through the 60 000 elements of a chapter anew
    each time it is used.
    """
    page.evaluate(READY)
    return page.query_selector_all("figure.kx-explorer")


def shown(figure) -> tuple[str, str]:
    """What is drawn and what is said of it, once the last move has been followed."""
    markup = figure.evaluate(DRAWN)
    said = "".join(re.findall(r' aria-label="[^"]*"', markup))
    return re.sub(r' (?:style|tabindex|aria-label)="[^"]*"', "", markup), said


def test_every_explorer_moves_and_returns_and_prints_its_default(site, visit):
    pages = explorers(site)
    assert "book/how-explorers-work.html" in pages
    for path in pages:
        seen = visit(path, scheme="dark")
        page = seen.page
        figures = ready(page)
        alts = [f.eval_on_selector("svg.kx-picture", "p => p.ariaLabel") for f in figures]
        for figure in figures:
            figure.scroll_into_view_if_needed()
            start = shown(figure)
            for name in figure.query_selector_all(".kx-row .kx-name"):
                assert name.is_visible(), (path, name.inner_text())
            drawn = []
            for control in figure.query_selector_all(".kx-row input, .kx-row select"):
                where = (path, control.get_attribute("name"))
                drawn.append(move(page, figure, control, start, where))
            assert any(drawn), path  # of a phase, say, a density knows nothing: that is said alone
            for slider in figure.query_selector_all(".kx-row input[type=range]"):
                slider.press("End")
        prints(page, figures, alts, path)
        seen.clean()
        page.close()


def prints(page, figures, alts, path) -> None:
    """Whatever was moved: the still picture, its caption, what can be moved, and no controls."""
    page.emulate_media(media="print")
    for figure, alt in zip(figures, alts, strict=True):
        assert not figure.query_selector(".kx-controls").is_visible()
        assert not figure.query_selector(".kx-drawn").is_visible()
        (hint,) = figure.query_selector_all(".kx-hint")
        assert hint.inner_text().startswith("On the page these can be moved:"), path
        parts = figure.query_selector_all(".kx-stage > :is(img, .kx-part)")
        assert parts and all(part.is_visible() for part in parts), path
        for picture in figure.query_selector_all(".kx-stage > img"):
            assert picture.evaluate("i => i.complete && i.naturalWidth") > 200
            assert picture.get_attribute("alt") == alt
            assert picture.evaluate("i => getComputedStyle(i).filter") == "none"  # not dimmed


def move(page, figure, control, start, where) -> bool:
    """Move one control by keyboard and by mouse; what is shown changes and comes back.

    Returns whether it is drawn otherwise, too.
    """
    kind = control.evaluate("c => c.type")
    if kind == "checkbox":
        control.click()
        ends = [start, shown(figure)]
        assert ends[0] != ends[1], where
        control.press("Space")
    elif kind == "select-one":
        first = control.evaluate("c => c.selectedIndex")
        ends = []
        for key in ("End", "Home"):
            control.press(key)
            ends.append(shown(figure))
        assert ends[0] != ends[1], where
        control.select_option(index=0 if first else 1)
        assert shown(figure) != start, where
        control.select_option(index=first)
    else:
        first, text = control.input_value(), control.get_attribute("aria-valuetext")
        ends = []
        for key in ("Home", "End"):
            control.press(key)
            ends.append(shown(figure))
        assert ends[0] != ends[1], where
        box = control.bounding_box()
        page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
        assert shown(figure) == ends[0], where
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2, steps=3)
        page.mouse.up()
        assert shown(figure) == ends[1], where
        control.evaluate("(c, v) => { c.value = v; c.dispatchEvent(new Event('input')) }", first)
        assert control.get_attribute("aria-valuetext") == text
        there, back = ("ArrowLeft", "ArrowRight")
        if first == control.get_attribute("min"):
            there, back = back, there
        control.press(there)
        assert control.input_value() != first, where
        control.press(back)
    assert shown(figure) == start, where
    return ends[0][0] != ends[1][0]


def test_explorers_are_numbered_with_the_other_figures(site):
    """One caption each; the numbers of a page run from 1, whatever moves and whatever does not."""
    for path in explorers(site):
        text = (site / path).read_text(encoding="utf-8")
        figures = re.findall(r"<figure\b.*?</figure>", text, flags=re.DOTALL)
        moving = [figure for figure in figures if "kx-data" in figure]
        assert moving and all(figure.count("<figcaption") == 1 for figure in moving), path
        numbers = re.findall(r'class="caption-number">\D*(?:\d+\.)?(\d+) <', text)
        assert [int(n) for n in numbers] == list(range(1, len(numbers) + 1)), path
        for figure in moving:
            assert ("caption-text" in figure) == ("caption-number" in figure) == (" id=" in figure)
