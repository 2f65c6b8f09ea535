"""Every explorer of every page of the built book: moved, referred to, printed; network cut."""

import re

import pytest

from tools.book import documents

pytestmark = pytest.mark.browser


def explorers(site):
    """Return the pages that have explorers."""
    pages = [f"{name}.html" for name in documents()]
    return [p for p in pages if 'class="kx-data"' in (site / p).read_text(encoding="utf-8")]


def ready(page):
    """Return the page's explorers once their scripts have run."""
    count = page.locator("figure.kx-explorer").count()
    page.wait_for_function(
        "(n) => document.querySelectorAll('figure[data-kx=ready]').length === n", arg=count
    )
    return page.locator("figure.kx-explorer").all()


def shown(figure) -> str:
    """What is drawn and said, once the last move has been followed."""
    figure.page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 40)))"
    )
    markup = figure.locator(".kx-drawn").inner_html()
    return re.sub(r' (?:style|tabindex)="[^"]*"', "", markup)


def test_every_explorer_moves_and_returns(site, visit):
    pages = explorers(site)
    assert "book/how-explorers-work.html" in pages
    for path in pages:
        seen = visit(path)
        page = seen.page
        for figure in ready(page):
            figure.scroll_into_view_if_needed()
            start = shown(figure)
            for row in figure.locator(".kx-row").all():
                assert row.locator(".kx-name").is_visible(), (path, row.inner_text())
            for control in figure.locator(".kx-row input, .kx-row select").all():
                where = (path, control.get_attribute("name"))
                move(page, figure, control, start, where)
        seen.clean()
        page.close()


def move(page, figure, control, start, where) -> None:
    """Move one control by keyboard and by mouse; the picture changes and comes back."""
    kind = control.evaluate("c => c.type")
    if kind == "checkbox":
        control.click()
        assert shown(figure) != start, where
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


def test_print_shows_each_explorer_once_at_its_defaults(site, visit):
    """Whatever was moved: the still picture, its caption, what can be moved, and no controls."""
    for path in explorers(site):
        page = visit(path, scheme="dark").page
        figures = ready(page)
        alts = [figure.locator("svg.kx-picture").get_attribute("aria-label") for figure in figures]
        for figure in figures:
            for slider in figure.locator(".kx-row input[type=range]").all():
                slider.press("End")
        page.emulate_media(media="print")
        for figure, alt in zip(figures, alts, strict=True):
            assert not figure.locator(".kx-controls").is_visible()
            assert not figure.locator(".kx-drawn").is_visible()
            (hint,) = figure.locator(".kx-hint").all()
            assert hint.inner_text().startswith("On the page these can be moved:"), path
            parts = figure.locator(".kx-stage > :is(img, .kx-part)").all()
            assert parts and all(part.is_visible() for part in parts), path
            for picture in figure.locator(".kx-stage > img").all():
                assert picture.evaluate("i => i.complete && i.naturalWidth") > 200
                assert picture.get_attribute("alt") == alt
                assert picture.evaluate("i => getComputedStyle(i).filter") == "none"  # not dimmed
        page.close()


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
