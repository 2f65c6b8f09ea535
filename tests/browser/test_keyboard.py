"""A page by keyboard alone, on a screen and on a phone; and its first moment in the dark."""

import pytest
from waiting import READY, awaiting

from tools.book import documents, source

pytestmark = pytest.mark.browser

CHAPTER = next(name for name in documents() if '"(ex-' in source(name).read_text("utf-8"))
FOCUSED = """() => {
  const node = document.activeElement, look = getComputedStyle(node);
  return { what: node.outerHTML.slice(0, 100), name: node.nodeName, kind: node.type ?? "",
    text: (node.innerText ?? "").trim(), seen: node.matches(":focus-visible") &&
      (look.outlineStyle !== "none" || look.boxShadow !== "none") };
}"""
# Of the slider that has the focus: its value in words, and what its figure shows by then.
MOVED = awaiting("""
  const slider = document.activeElement, figure = slider.closest("figure");
  await settled(figure);
  const drawn = [...figure.querySelectorAll(".kx-drawn > *")].map((part) => part.innerHTML);
  return [slider.getAttribute("aria-valuetext"), drawn.join()];
""")


def tabbed(page, wanted, most=400):
    """Press Tab until what has the focus is wanted; the focus can be seen all the way."""
    for _ in range(most):
        page.keyboard.press("Tab")
        here = page.evaluate(FOCUSED)
        assert here["seen"], f"focus cannot be seen on {here['what']}"
        if wanted(here):
            return here
    raise AssertionError("the focus never got there")


def test_a_chapter_by_keyboard(visit):
    """The skip link, a mark, an explorer, a folded solution, the search."""
    seen = visit(f"{CHAPTER}.html")
    page = seen.page
    page.evaluate(READY)
    assert tabbed(page, lambda here: True)["text"] == "Skip to main content"
    page.keyboard.press("Enter")
    tabbed(page, lambda here: here["name"] == "INPUT" and here["kind"] == "range")
    said = []
    for key in ("End", "Home", "ArrowRight"):
        page.keyboard.press(key)
        said.append(page.evaluate(MOVED))
    ends, last = said[:2], said[2]
    for part in (0, 1):  # the value that is read out, the stored frame that is drawn
        assert ends[0][part] != ends[1][part] != last[part], said
    tabbed(page, lambda here: here["name"] == "SUMMARY" and "was checked" in here["text"])
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.parentElement.open")
    page.locator(".bd-article details:not([class]) > summary").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.parentElement.open")
    page.keyboard.press("Control+k")
    page.keyboard.type("posterior")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=posterior**")
    page.locator("#search-results ul.search li a").first.wait_for()
    seen.clean()


def test_menus_side_columns_and_the_color_mode(visit):
    """On a phone the columns are dialogs; Escape closes what is open and gives the focus back."""
    seen = visit(f"{CHAPTER}.html", width=390)
    page = seen.page
    for which, link in (("primary", "nav.bd-docs-nav a"), ("secondary", "#pst-page-toc-nav a")):
        button = page.locator(f".{which}-toggle").first
        button.press("Enter")
        assert page.locator(f"dialog[open] {link}").first.is_visible()
        page.keyboard.press("Escape")
        page.locator("dialog[open]").wait_for(state="detached")
        assert button.evaluate("node => node === document.activeElement")
    switch = page.locator(".theme-switch-button").first
    assert switch.inner_text() == "" and switch.get_attribute("aria-label")
    modes = []
    for _ in range(3):
        switch.press("Enter")
        modes.append(page.locator("html").get_attribute("data-mode"))
    assert sorted(modes) == ["auto", "dark", "light"] and modes[-1] == "auto"
    for button in page.locator("[data-bs-toggle=dropdown]").all():
        button.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        box = page.locator(".dropdown-menu.show").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        page.keyboard.press("Escape")
        assert button.get_attribute("aria-expanded") == "false"
    seen.clean()


def test_contents_say_where_one_is_also_far_from_any_heading(visit):
    """The middle of each long section is gone to at once; then a deep link, which lands there."""
    seen = visit(f"{CHAPTER}.html")
    page = seen.page
    contents = "#pst-page-toc-nav"
    named = f"name => document.querySelector('{contents} [aria-current]')?.textContent === name"
    links = page.locator(f"{contents} .toc-h2 > a").all()[2:12:3]
    assert len(links) == 4
    for link in links:
        section = page.locator(link.get_attribute("href"))
        section.evaluate("s => s.scrollIntoView({ block: 'start', behavior: 'instant' })")
        section.evaluate("s => scrollBy({ top: s.offsetHeight / 2, behavior: 'instant' })")
        page.wait_for_function(named, arg=link.text_content())
    target = page.locator(".bd-article div[id^=equation-]").last.get_attribute("id")
    page.goto(page.url.partition("#")[0] + "#" + target)
    place = "Math.abs(document.getElementById(id).getBoundingClientRect().y)"
    page.wait_for_function(f"id => {place} < 300", arg=target)
    seen.clean()


def test_a_dark_page_is_dark_from_the_first_line(chromium, address):
    """Before anything but the head was read: no flash of white."""
    context = chromium.new_context(color_scheme="dark")
    page = context.new_page()
    page.add_init_script(
        """new MutationObserver((_, watch) => { if (document.body) { watch.disconnect();
          window.kxFirst = document.documentElement.dataset.theme } })
          .observe(document, { childList: true, subtree: true })"""
    )
    page.goto(f"{address}{CHAPTER}.html")
    assert page.evaluate("() => window.kxFirst") == "dark"
    context.close()
