"""The marks beside equations in a browser: keyboard, no script, nothing jumps, paper, a phone."""

import pytest

pytestmark = pytest.mark.browser

PAGE = "book/how-checked.html"
MARKS = ".kx-mark > summary"
TOPS = "marks => marks.map(m => m.getBoundingClientRect().top + scrollY)"
# What is far from the window, too, so that places can be compared.
LAID_OUT = """() => {
  for (const node of document.querySelectorAll("section, div.math, div.cell, section > p"))
    node.style.contentVisibility = "visible";
}"""
SEEN = "marks => marks.filter(m => m.getBoundingClientRect().width > 0).length"


@pytest.fixture(params=["light 1200", "dark 1200", "light 390"])
def page(request, visit):
    """The page on a screen and on a phone, in light and dark."""
    scheme, width = request.param.split()
    page = visit(PAGE, width=int(width), scheme=scheme).page
    page.evaluate(LAID_OUT)
    return page


def test_a_mark_opens_by_keyboard_and_stays_where_it_is(page):
    marks = page.locator(MARKS)
    assert marks.count() == page.locator(".kx-eq .eqno").count() >= 5
    before = page.eval_on_selector_all(MARKS, TOPS)
    mark = page.locator(".kx-proved > summary").first
    how = page.locator(".kx-proved > .kx-how").first
    assert not how.is_visible()
    mark.focus()
    page.keyboard.press("Enter")
    assert how.is_visible() and "Proved" in how.inner_text()
    number = page.eval_on_selector_all(MARKS, "marks => marks.indexOf(document.activeElement)")
    after = page.eval_on_selector_all(MARKS, TOPS)
    assert after[: number + 1] == pytest.approx(before[: number + 1], abs=0.5)
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0
    page.keyboard.press("Enter")
    assert page.eval_on_selector_all(MARKS, TOPS) == pytest.approx(before, abs=0.5)


def test_a_mark_is_large_enough_named_and_readable(page):
    for mark in page.locator(MARKS).all():
        box = mark.bounding_box()
        assert min(box["width"], box["height"]) >= 24
        assert "was checked" in mark.inner_text()
    ratios = page.eval_on_selector_all(
        MARKS,
        """marks => marks.map(mark => {
            const light = color => {
                const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => {
                    v /= 255;
                    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const style = getComputedStyle(mark);
            const [a, b] = [light(style.color), light(style.backgroundColor)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        })""",
    )
    assert min(ratios) >= 4.5


def test_paper_hides_the_closed_marks_and_shows_the_open_ones(page):
    page.emulate_media(media="print")
    assert page.eval_on_selector_all(MARKS, SEEN) == 0
    page.eval_on_selector_all(".kx-mark", "marks => { marks[2].open = true }")
    assert page.eval_on_selector_all(MARKS, SEEN) == 1
    assert page.locator(".kx-how").nth(2).is_visible()


def test_a_mark_opens_without_a_script(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + PAGE)
    page.locator(MARKS).first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".kx-how").first.is_visible()
    context.close()


def test_the_ledger_fits_a_phone_and_its_links_lead_to_equations(visit):
    page = visit("book/ledger.html", width=390).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    rows = page.locator("table.kx-ledger tbody tr")
    assert page.locator(".kx-totals").inner_text().startswith(f"{rows.count()} numbered equations")
    page.locator("table.kx-ledger tbody a").first.click()
    page.wait_for_load_state()
    target = page.evaluate("decodeURIComponent(location.hash.slice(1))")
    assert target.startswith("equation-eq-")
    assert page.locator(f"[id='{target}']").count() == 1
