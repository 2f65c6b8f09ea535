"""Every slide of every deck at 1280 by 720: nothing cut off, nothing from elsewhere, all alive.

Decks are opened from the file, as a lecturer without a network does.
"""

import re

import pytest

from kexue.site.ledger import SIGNS
from kexue.site.slides import DECK, slides
from tools.book import documents, source

pytestmark = pytest.mark.browser

CHAPTERS = [name for name in documents() if source(name).suffix == ".ipynb"]
DECKS = [name for name in CHAPTERS if slides(source(name))]
MOST_WORDS = {"words": 45, "slide": 80}  # of the parts that are words; of everything but formulas
# What lies outside of its slide, is not typeset, or was drawn too small to be read at the back.
FAULTS = r"""
() => {
  const slide = Reveal.getCurrentSlide().querySelector(".kxd-slide"), faults = [];
  const body = slide.querySelector(".kxd-body"), frame = slide.getBoundingClientRect();
  const all = (selector, root = slide) => [...root.querySelectorAll(selector)];
  const named = (node) => `${node.tagName} ${node.className.baseVal ?? node.className}`;
  if (frame.width !== 1280 || frame.height !== 720) faults.push(`${frame.width}, ${frame.height}`);
  for (const box of [slide, ...all(".kxd-body, pre, figure, .kx-stage")])
    if (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1)
      faults.push(`overflows: ${named(box)}`);
  for (const node of all(".katex-html, svg, img, p, li, h1, h2, td, th, pre, input, select")) {
    const at = node.getBoundingClientRect();
    const unseen = ".katex-mathml, .katex svg, .kx-news, .kx-unseen, svg svg";
    if (!at.width || node.closest(unseen)) continue;
    const beside = at.left < frame.left + 20 || at.right > frame.right - 20;
    if (beside || at.top < frame.top || at.bottom > frame.bottom) faults.push(`out ${named(node)}`);
  }
  const heading = slide.querySelector("h1, h2").getBoundingClientRect();
  for (const part of all(".kxd-part"))
    if (part.getBoundingClientRect().top < heading.bottom - 1) faults.push("over the headline");
  for (const box of [body, ...all(".kxd-eq, div.math", body)])
    if (parseFloat(box.style.fontSize || 1) < 0.65) faults.push(`small: ${box.style.fontSize}`);
  for (const node of all(".math"))
    if (!node.querySelector(".katex-html")) faults.push("not typeset: " + node.textContent);
  for (const node of all(".katex-error")) faults.push("TeX: " + node.textContent);
  for (const picture of all("svg.kx-figure, svg.kx-picture")) {
    const at = picture.getBoundingClientRect();
    if (at.width < 350 || at.height < 150) faults.push(`small picture: ${at.width} x ${at.height}`);
  }
  const plain = slide.cloneNode(true);
  const counted = ".katex, svg, pre, table, figure, .kx-foot, .kxd-number";
  for (const node of all(counted, plain)) node.remove();
  const text = (nodes) => nodes.map((n) => n.textContent).join(" ");
  const count = (nodes) => text(nodes).split(/\s+/).filter((w) => /\w/.test(w)).length;
  return { faults, slide: count([plain]), words: count(all(".kxd-is-words", plain)) };
}
"""
SHOW = "(k) => { Reveal.slide(k, 0, 99); }"
HERE = "(k) => Reveal.getIndices().h === k"
THEME = "(name) => document.documentElement.dataset.theme === name"
NOTE = "() => Reveal.getCurrentSlide().querySelector('aside.notes').textContent.trim()"


@pytest.fixture(scope="module", params=DECKS, ids=lambda name: name.rpartition("/")[2])
def chapter(request):
    return request.param


@pytest.fixture(scope="module")
def deck(chapter, chromium, site):
    """A page with the deck, opened from the file; what it asked for and complained about."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark")
    context.set_default_timeout(60_000)
    page, asked, wrong = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: wrong.append(f"missing: {request.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    folder = site.resolve().as_uri()
    page.goto(f"{folder}/{DECK.format(chapter.rpartition('/')[2])}")
    page.wait_for_selector("html.kxd-ready")
    yield page
    context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith((folder, "data:", "blob:"))] == []


def test_every_chapter_has_a_deck():
    for name in CHAPTERS:
        if '"(ex-' in source(name).read_text("utf-8"):
            assert name in DECKS, name


def test_no_slide_is_cut_off_or_a_wall_of_text(deck):
    count = deck.evaluate("Reveal.getTotalSlides()")
    assert 20 <= count <= 35
    wrong = []
    for place in range(count):
        deck.evaluate(SHOW, place)
        found = deck.evaluate(FAULTS)
        if found["faults"] or any(found[kind] > most for kind, most in MOST_WORDS.items()):
            wrong.append((place + 1, found))
    assert wrong == []


def test_minutes_and_notes(deck):
    minutes = deck.eval_on_selector_all(".slides > section", "s => s.map(n => +n.dataset.minutes)")
    assert 45 <= sum(minutes) <= 52 and min(minutes) >= 0.5
    notes = deck.eval_on_selector_all("aside.notes", "s => s.map(n => n.textContent)")
    assert len(notes) == len(minutes)
    assert all(len(note.split()) >= 15 for note in notes)


def test_equations_have_the_numbers_and_marks_of_the_page(chapter, deck, site):
    text = (site / f"{chapter}.html").read_text("utf-8")
    page = {}
    for box in text.split('<div class="kx-eq')[1:]:
        number = re.search(r'class="eqno">(\([\d.]+\))', box)[1]
        kind = re.search(r'class="kx-mark kx-(\w+)"', box)[1]
        page[re.search(r'id="equation-([\w-]+)"', box)[1]] = f"{number} {SIGNS[kind]} {kind}"
    read = "n => n.map(p => [p.querySelector('a').href.split('#equation-')[1], p.textContent])"
    shown = deck.eval_on_selector_all(".kxd-eq .kxd-number", read)
    assert len(shown) > 10
    for label, words in shown:
        assert words == page[label]


def test_steps_appear_one_by_one(deck):
    many = "Reveal.getSlides().findIndex(s => s.querySelectorAll('.fragment').length > 1)"
    place = deck.evaluate(many)
    deck.evaluate("(k) => Reveal.slide(k, 0, -1)", place)
    steps = deck.locator("section.present .fragment").count()
    for shown in range(steps + 1):
        assert deck.locator("section.present .fragment.visible").count() == shown
        assert deck.evaluate(HERE, place)
        deck.keyboard.press("ArrowRight")
    assert deck.evaluate(HERE, place + 1)


def test_explorers_move_and_a_presenter_s_remote_leaves_them(deck):
    with_one = "Reveal.getSlides().flatMap((s, k) => s.querySelector('.kx-explorer') ? [k] : [])"
    places = deck.evaluate(with_one)
    assert places
    for place in places:
        deck.evaluate(SHOW, place)
        figure = deck.locator("section.present figure[data-kx=ready]")
        control = figure.locator(".kx-row input, .kx-row select").first
        drawn = figure.locator(".kx-drawn")
        before = drawn.inner_html()
        control.focus()
        for key in ("End", "Home"):  # one of them is another value than the first
            control.press(key)
            deck.wait_for_function("figure => !figure.ariaBusy", arg=figure.element_handle())
            if drawn.inner_html() != before:
                break
        assert drawn.inner_html() != before
        assert deck.evaluate(HERE, place)
        deck.keyboard.press("PageDown")
        assert deck.evaluate("document.activeElement === document.body")


def test_a_speaker_has_a_window_that_follows(deck):
    deck.evaluate(SHOW, 3)
    with deck.context.expect_page() as opened:
        deck.keyboard.press("s")
    speaker = opened.value
    speaker.wait_for_selector("html.kxd-ready")
    speaker.wait_for_function(HERE, arg=3)
    deck.evaluate(SHOW, 5)
    speaker.wait_for_function(HERE, arg=5)
    assert speaker.locator(".kxd-said").evaluate("n => n.textContent.trim()") == deck.evaluate(NOTE)
    speaker.evaluate(SHOW, 2)
    deck.wait_for_function(HERE, arg=2)
    speaker.keyboard.press("c")
    clock = speaker.locator(".kxd-panel .kxd-clock")
    said = r"\d+:\d\d · this slide [\d.]+ min · planned [\d.]+ of [\d.]+ min"
    assert re.fullmatch(said, clock.inner_text())
    deck.keyboard.press("c")
    assert deck.locator(".reveal > .kxd-clock").is_visible()
    moved = (
        "c => { c.value = c.value === c.min ? c.max : c.min; c.dispatchEvent(new Event('input')) }"
    )
    first = ".kx-row input[type=range]"
    if deck.locator(first).count():
        speaker.locator(first).first.evaluate(moved)
        value = speaker.locator(first).first.input_value()
        deck.wait_for_function(f"v => document.querySelector('{first}').value === v", arg=value)
    speaker.close()


def test_paper_has_a_page_for_every_slide_that_all_can_read(chapter, deck, tmp_path, violations):
    """On paper every slide is there at once: what axe-core says of all of them."""
    count, paper = deck.evaluate("Reveal.getTotalSlides()"), deck.context.new_page()
    paper.goto(deck.url.partition("#")[0] + "?print-pdf")
    paper.wait_for_selector("html.kxd-ready")
    assert paper.locator(".pdf-page").count() == count
    assert paper.evaluate(THEME, "light")
    file = tmp_path / "deck.pdf"
    paper.pdf(path=file, prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", file.read_bytes())) == count
    assert file.stat().st_size < 8e6
    assert violations(paper) == []
    if chapter == DECKS[0]:  # it has everything that has a color
        paper.goto(paper.url.partition("#")[0] + "&theme=dark")
        paper.wait_for_selector("html.kxd-ready")
        assert paper.evaluate(THEME, "dark")
        assert violations(paper, colors=True) == []
    paper.close()


def test_colors_follow_the_system_and_the_key(deck):
    assert deck.evaluate(THEME, "dark")
    deck.emulate_media(color_scheme="light")
    deck.wait_for_function(THEME, arg="light")
    deck.keyboard.press("d")
    assert deck.evaluate(THEME, "dark")
