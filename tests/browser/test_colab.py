"""The plain notebooks of the whole book against the built pages: same numbers, nothing raw."""

import html
import json
import re
from collections import Counter

import nbformat
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools import colab, plain
from tools.book import source

PAGES = colab.pages()
TEXT = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_labels=False)
RAW = re.compile(r"\{[\w:.-]+\}$|:::|^\([\w-]+\)=|\(eq-[\w-]+\)|\{\{|^\+\+\+|\]\{")
TAGS = re.compile(r"<[^>]+>")


@pytest.fixture(scope="module")
def labels(site):
    return plain.labels_at(site.parent / ".doctrees")


@pytest.fixture(params=PAGES, ids=lambda page: page.rpartition("/")[2])
def page(request):
    return request.param


@pytest.fixture
def stored(page):
    return nbformat.read(source(page), as_version=4)


@pytest.fixture
def made(page, stored, labels):
    return colab.plain_notebook(stored, colab.view(page, labels))


@pytest.fixture
def words(made):
    """All text of the plain notebook."""
    return "\n\n".join(c.source for c in made.cells if c.cell_type == "markdown")


@pytest.fixture
def built(page, site):
    """The page's HTML without the marks beside equations, which the notebook has not."""
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    return re.sub(r'<details class="kx-mark.*?</details>', "", text, flags=re.DOTALL)


def shown(found):
    """Pieces of HTML as a reader sees them."""
    return [
        html.unescape(TAGS.sub("", piece)).replace("\N{NO-BREAK SPACE}", " ") for piece in found
    ]


def test_equations_carry_the_numbers_of_the_page(words, built):
    printed = re.findall(r'<span class="eqno">\(([^<]*?)\)', built)
    numbered = re.findall(
        r'^ *<a id="(eq-[\w-]+)".*\n *\$\$\n(?:.*\n)*? *\\tag\{(.*)\}$', words, re.M
    )
    assert [number for _, number in numbered] == printed
    anchors = re.findall(r'id="equation-(eq-[\w-]+)"', built)
    assert [label for label, _ in numbered] == anchors


def test_references_say_what_the_page_says(words, built):
    said = re.findall(r'<a class="reference internal" href="[^"]*#equation-[^>]*>(.*?)</a>', built)
    assert Counter(re.findall(r"\[(\([\d.]+\))\]\([^)]*#(?:equation-)?eq-", words)) == Counter(
        shown(said)
    )
    said = re.findall(r'<span class="std std-numref">(.*?)</span>', built)
    assert Counter(re.findall(r"\[(Fig\. [\d.]+)\]", words)) == Counter(shown(said))
    said = re.findall(r'<span class="bibtex-citation"[^>]*>(.*?)</span>', built, re.DOTALL)
    cited = [text.strip("[]") for text in shown(said)]
    assert Counter(re.findall(r"\(\[([^\[\]]+, \d{4})\]\(http", words)) == Counter(cited)


def test_figures_carry_the_numbers_of_the_page(words, built):
    printed = re.findall(r'class="caption-number">(Fig\. [\d.]+) <', built)
    assert re.findall(r"^(?:<a.*</a>)?\*\*(Fig\. [\d.]*\d)", words, re.M) == printed


def test_links_inside_lead_somewhere(words):
    places = set(re.findall(r'<a id="([^"]+)"', words))
    assert set(re.findall(r"\]\(#([^)]+)\)", words)) <= places


def test_nothing_is_left_raw(made):
    for cell in made.cells:
        if cell.cell_type == "markdown":
            texts = [cell.source]
        else:
            texts = ["".join(o.get("data", {}).get("text/markdown", "")) for o in cell.outputs]
        for text in texts:
            for token in TEXT.parse(text):
                if token.type == "fence":
                    assert not token.info.startswith("{"), token.info
                for child in token.children or []:
                    if child.type == "text":
                        assert not RAW.search(child.content), child.content


def test_converting_again_changes_nothing(page, made, labels):
    view = colab.view(page, labels)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            assert view.markdown(cell.source) == cell.source


def test_code_and_outputs_are_those_of_the_book(stored, made):
    pairs = [[c for c in nb.cells if c.cell_type == "code"] for nb in (stored, made)]
    assert [c.source for c in pairs[0]] == [c.source for c in pairs[1]]
    for before, after in zip(*pairs, strict=True):
        assert len(before.outputs) == len(after.outputs)
        for old, new in zip(before.outputs, after.outputs, strict=True):
            if "image/svg+xml" in old.get("data", {}):
                assert new.data.pop("text/html").startswith('<img alt="')
            assert old == new
    assert "setup" in pairs[1][0].metadata.tags, "the setup cell comes first"
    nbformat.validate(made)
    assert len(json.dumps(made)) < 1_500_000


def test_the_button_opens_this_notebook(page, built):
    found = re.findall(r'href="(https://colab\.[^"]*)"', built)
    assert {url.partition("/blob/")[2] for url in found} == {f"colab/{colab.target(page)}"}
