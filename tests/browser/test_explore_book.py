"""Every explorer of every page of the built book: moved by keyboard and by mouse, network cut."""

import re

import pytest

from tools.book import documents

pytestmark = pytest.mark.browser


def explorers(site):
    """Return the pages that have explorers."""
    pages = [f"{name}.html" for name in documents()]
    return [p for p in pages if 'class="kx-explorer"' in (site / p).read_text(encoding="utf-8")]


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
        count = page.locator("figure.kx-explorer").count()
        page.wait_for_function(
            "(n) => document.querySelectorAll('figure[data-kx=ready]').length === n", arg=count
        )
        for figure in page.locator("figure.kx-explorer").all():
            figure.scroll_into_view_if_needed()
            start = shown(figure)
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
        for key in ("End", "Home"):
            control.press(key)
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
