"""Exercise sheets in a browser: screen and phone, light and dark, keyboard, A4 and Letter."""

import re

import pytest

from tools.book import documents, source

pytestmark = pytest.mark.browser

# The pages that must have sheets, found in another way than the site finds them.
CHAPTERS = [
    name.rpartition("/")[2]
    for name in documents()
    if source(name).suffix == ".ipynb" and '"(ex-' in source(name).read_text("utf-8")
]
SHEETS = [f"book/sheets/{name}-{k}" for name in CHAPTERS for k in ("exercises", "solutions")]
SHEETS += [f"book/sheets/{name}-errors" for name in CHAPTERS]
FAULTS = r"""
() => {
  const faults = [];
  for (const node of document.querySelectorAll(".math"))
    if (!node.querySelector(".katex-html")) faults.push("not typeset: " + node.textContent);
  for (const node of document.querySelectorAll(".katex-error"))
    faults.push("mathematics in error: " + node.textContent);
  if (/\\\(|\\\[|\$\$|\{(eq|ref)\}`/.test(document.querySelector("article").innerText))
    faults.push("raw markup");
  if (document.querySelectorAll("article h1").length !== 1) faults.push("not one h1");
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth)
    faults.push("scrolls sideways");
  return faults;
}
"""
HIDDEN = "nodes => nodes.filter(n => n.getBoundingClientRect().height > 0).map(n => n.className)"
FURNITURE = ".bd-sidebar-primary, .bd-header-article, .bd-footer, #jb-print-docs-body, .kx-sheets"
# Exercises that paper would cut, or that no page could hold: A4 is 261 mm between its margins.
CUT = r"""boxes => boxes.filter(box => getComputedStyle(box).breakInside !== "avoid"
  || box.getBoundingClientRect().height > 261 * 96 / 25.4).map(box => box.id)"""


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_on_a_phone_on_a_screen_and_on_paper(name, visit, violations):
    seen = visit(f"{name}.html", width=390, scheme="dark")
    page = seen.page
    folds = page.locator(".kx-sheet details:not([class])")
    assert page.evaluate(FAULTS) == []
    if "solutions" in name:
        assert folds.count() == 0
    else:
        inside = folds.first.locator("p").first
        assert not inside.is_visible()
        folds.first.locator("summary").focus()
        page.keyboard.press("Enter")
        assert inside.is_visible()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.locator("html[data-theme=light]").wait_for(state="attached")
    for fold in folds.all():
        fold.evaluate("fold => { fold.open = true }")
    assert page.evaluate(FAULTS) == []
    numbers = page.locator(".kx-sheet a[href*='#equation-eq-']").all_text_contents()
    assert numbers and all(re.fullmatch(r"\(\d+(\.\d+)*\)", number) for number in numbers)

    page.emulate_media(media="print")  # the folds are still open: paper must hide them
    page.set_viewport_size({"width": 680, "height": 990})  # A4 between its margins
    assert page.eval_on_selector_all(FURNITURE, HIDDEN) == []
    assert page.locator(".kx-sheet > h1").is_visible()
    assert "CC BY 4.0" in page.locator(".kx-foot").inner_text()
    assert page.eval_on_selector_all(".kx-exercise", CUT) == []
    rooms = page.eval_on_selector_all(".kx-room", "r => r.map(n => n.offsetHeight)")
    assert ("solutions" in name and not rooms) or min(rooms) > 60
    assert not folds.count() or not folds.first.is_visible()
    assert page.evaluate(FAULTS) == []

    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for(state="attached")
    assert violations(page, colors=True) == []
    seen.clean()
    page.close()


def test_a_sheet_prints_on_both_kinds_of_paper_with_a_line_at_the_foot(visit):
    page = visit(f"{SHEETS[0]}.html").page
    for paper, size in {"A4": (595, 842), "Letter": (612, 792)}.items():
        made = page.pdf(format=paper)
        box = re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", made)
        assert (float(box[1]), float(box[2])) == pytest.approx(size, abs=1)
        assert 2 <= len(re.findall(rb"/Type\s*/Page\b", made)) <= 6
    foot = page.evaluate(
        """() => [...document.styleSheets].filter(s => !s.href)
            .flatMap(s => [...s.cssRules]).find(rule => rule instanceof CSSPageRule)?.cssText"""
    )
    assert "counter(page)" in foot and "https://" in foot


def test_every_chapter_has_sheets(site):
    made = {p.relative_to(site).with_suffix("").as_posix() for p in site.glob("book/sheets/*")}
    assert set(SHEETS) <= made and len(CHAPTERS) >= 2


def test_an_error_can_be_found_without_a_script(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}{SHEETS[-1]}.html")
    fold = page.locator(".kx-exercise details").first
    assert page.locator(".kx-exercise").count() == 3 and not fold.locator("p").first.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator("p").first.is_visible()
    context.close()
