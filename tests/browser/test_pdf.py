"""One chapter as PDF: bookmarks, numbers, links, fonts, size; and nothing is cut."""

import io
import re

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from tools import pdf
from tools.book import chapters
from tools.paper import SOLUTIONS, document

pytestmark = pytest.mark.browser
CHAPTER = chapters()[0]


WIDE = """width => [...document.querySelectorAll(".katex, table, svg, img, pre")]
  .filter(node => node.getBoundingClientRect().right > width + 1 || node.scrollWidth > width + 1)
  .map(node => node.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def opened(chromium, site):
    page = pdf.open_page(chromium, site, document(site, [CHAPTER], pdf.said()))
    yield page
    page.close()


@pytest.fixture(scope="module")
def made(opened):
    return pdf.printed(opened, "of these pages")


@pytest.fixture(scope="module")
def reader(made):
    return PdfReader(io.BytesIO(made))


@pytest.fixture(scope="module")
def texts(reader):
    return [page.extract_text() for page in reader.pages]


@pytest.fixture(scope="module")
def page(site):
    """The chapter's page as built."""
    return BeautifulSoup((site / f"{CHAPTER}.html").read_text("utf-8"), "html.parser")


def bookmarks(reader, nodes=None, level=1):
    for node in reader.outline if nodes is None else nodes:
        if isinstance(node, list):
            yield from bookmarks(reader, node, level + 1)
        else:
            yield level, node.title, reader.get_destination_page_number(node)


def test_it_is_small_and_on_a4(made, reader):
    assert 10 < len(reader.pages) < 60 and len(made) < 5_000_000
    assert reader.metadata[pdf.SOURCE] == "of these pages"
    for page in reader.pages:
        assert (page.mediabox.width, page.mediabox.height) == pytest.approx((595, 842), abs=1.5)


def test_bookmarks_are_the_headings(reader, page):
    found = list(bookmarks(reader))
    headings = [
        re.sub(r"\s+", " ", heading.get_text().rstrip("#")).strip()
        for heading in page.select("article h1, article h2")
    ]
    assert [t for level, t, _ in found if level <= 2 and "math" not in t][
        : len(headings)
    ] == headings
    assert found[-1][2] == len(reader.pages) - 1 and SOLUTIONS in [title for _, title, _ in found]
    assert [number for *_, number in found] == sorted(number for *_, number in found)


def test_contents_say_on_which_page_a_section_stands(reader, texts):
    for level, title, number in bookmarks(reader):
        if level == 2 and re.match(r"[\d.]+ ", title) and number < len(texts) - 3:
            words = re.escape(title).replace(r"\ ", r"\s+").replace("fi", "(?:fi|ﬁ)")
            if listed := re.search(words + r"\s*(\d+)\b", texts[0]):
                assert int(listed[1]) == number + 1
    assert len(re.findall(r"^1?\d\.\d+\. .*?\d+$", texts[0], re.M)) > 10


def test_every_numbered_equation_and_figure_is_there(texts, page):
    text = "\n".join(texts)
    equations = [node.get_text().rstrip("#") for node in page.select(".eqno")]
    assert len(equations) > 20 and [number for number in equations if number not in text] == []
    figures = [node.get_text().strip() for node in page.select(".caption-number")]
    assert len(figures) > 5 and [number for number in figures if number not in text] == []


def test_solutions_stand_at_the_end_and_nothing_of_the_screen_is_left(texts):
    text = "\n".join(texts)
    start = next(k for k, part in enumerate(texts) if part.lstrip().find(SOLUTIONS) in range(200))
    assert not any(re.search(r"^Solution$", part, re.M) for part in texts[:start])
    assert re.search(r"^Solution$", "\n".join(texts[start:]), re.M)
    pages = [int(number) for number in re.findall(r"Solution on page (\d+)", text)]
    assert len(pages) >= 5 and all(start < number <= len(texts) for number in pages)
    for word in ("Open in Colab", "Report a problem", "Show code", r"\(", "SVG PNG"):
        assert word not in text


def test_links_lead_somewhere_and_fonts_are_embedded(reader):
    targets, inside = reader.named_destinations, 0
    for page in reader.pages:
        for note in page.get("/Annots", []):
            note = note.get_object()
            if uri := note.get("/A", {}).get("/URI"):
                assert re.match(r"https?://(?!book\.invalid)", uri)
            elif "/Dest" in note:
                assert note["/Dest"] in targets or isinstance(note["/Dest"], list)
                inside += 1
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object()
            if font["/Subtype"] == "/Type0":
                font = font["/DescendantFonts"][0].get_object()
            files = [key for key in font.get("/FontDescriptor", {}) if key.startswith("/FontFile")]
            assert font["/Subtype"] == "/Type3" or files, font.get("/BaseFont")
    assert inside > 50


def test_chinese_can_be_read_out_of_the_file(texts, page):
    """As letters, not as pictures of them: what the head of the page says in Chinese is found."""
    said = re.findall(r"[\u4e00-\u9fff]{4,}", page.select_one("article table").get_text())
    text = re.sub(r"\s", "", "".join(texts))
    assert said and [words for words in said if words not in text] == []


def test_nothing_is_wider_than_the_paper(opened):
    assert opened.evaluate(WIDE, pdf.WIDTH) == []
