"""The line below a title: it links what there is, cites what CITATION.cff says, reports by name."""

import re
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
import sympy as sp
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pybtex.database import parse_string
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import defined, listening
from kexue.site import citation

CONF = """
extensions = ["myst_nb", "kexue.site"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
html_theme = "sphinx_book_theme"
html_sourcelink_suffix = ""
html_theme_options = {
    "repository_url": "https://github.com/you/book/", "use_issues_button": True,
    "launch_buttons": {"colab_url": "https://colab.example"}, "path_to_docs": "",
}
kexue_colab = {"branch": "plain"}
exclude_patterns = ["_build", "jupyter_execute"]
"""
CFF = """
title: The Book, and more
version: 1.2.0
authors: [{name: The Authors}]
preferred-citation:
  title: The Book, and more
  authors: [{family-names: Noether, given-names: Emmy}, {name: "Bits & Co"}]
  year: 2026
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A book of one chapter with a checked equation, and a page."""
    tmp_path = tmp_path_factory.mktemp("book")
    with listening() as heard:
        defined("eq-one-line", sp.Symbol("x"))
    output = new_output("display_data", data={"text/html": heard[0].record._repr_html_()})
    text = new_markdown_cell("# Bits & $x$ < 50 %\n\n$$y = x$$ (eq-one-line)")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    kernel["language_info"] = {"name": "python"}
    cells = [text, new_code_cell("check()", outputs=[output], execution_count=1)]
    (tmp_path / "part").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "part/one.ipynb")
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "CITATION.cff").write_text(CFF)
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\npart/one\nmore\n```\n")
    (tmp_path / "more.md").write_text("# More\n")
    return tmp_path


def build(source):
    """Build without warnings; return the page of the chapter and the page ``more``."""
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue()).strip() == ""
    finally:
        app.cleanup()
    pages = (source / "_build/html" / f"{name}.html" for name in ("part/one", "more"))
    return [BeautifulSoup(page.read_text("utf-8"), "html.parser") for page in pages]


def links(page):
    return {link.text: link["href"] for link in page.select("h1 + .kx-head > a")}


def issue(link):
    """Title and body of the issue that a link opens."""
    url = urlsplit(link)
    assert url._replace(query="").geturl() == "https://github.com/you/book/issues/new"
    query = parse_qs(url.query, strict_parsing=True)
    return query["title"][0], query["body"][0]


@pytest.fixture(scope="module")
def built(source):
    return build(source)


def test_the_line_links_what_there_is(built, source):
    chapter, page = built
    assert list(links(chapter)) == ["Open in Colab", "Download .ipynb", "Report a problem"]
    assert links(chapter)["Open in Colab"].endswith("/github/you/book/blob/plain/part/one.ipynb")
    assert links(chapter)["Download .ipynb"] == "../_sources/part/one.ipynb"
    assert (source / "_build/html/_sources/part/one.ipynb").is_file()
    assert list(links(page)) == ["Report a problem"]
    assert not chapter.select(".dropdown-launch-buttons, .dropdown-download-buttons")


def test_a_chapter_is_cited_with_its_title_and_a_page_as_the_book(built):
    chapter, page = built
    ((key, entry),) = parse_string(
        chapter.select_one(".kx-cite pre").text, "bibtex"
    ).entries.items()
    assert (key, entry.type) == ("thebook-one", "incollection")
    assert entry.fields["title"] == r"{Bits \& x < 50 \%}"
    assert entry.fields["booktitle"] == "{The Book, and more}"
    assert entry.fields["year"] == "2026" and entry.fields["note"] == "Version 1.2.0"
    assert entry.fields["url"] == "https://github.com/you/book/blob/main/part/one.ipynb"
    assert [str(person) for person in entry.persons["author"]] == ["Noether, Emmy", r"{Bits \& Co}"]
    (entry,) = parse_string(page.select_one(".kx-cite pre").text, "bibtex").entries.values()
    assert entry.type == "book" and entry.fields["title"] == "{The Book, and more}"


def test_a_report_names_the_page_and_the_equation(built):
    chapter, _ = built
    title, body = issue(links(chapter)["Report a problem"])
    assert title.startswith("Bits & ") and "/part/one.ipynb" in body and "1.2.0" in body
    assert "Equation" not in body
    title, body = issue(chapter.select_one(".kx-mark .kx-how a.external")["href"])
    assert title.startswith("eq-one-line") and "Equation: eq-one-line\n" in body


def test_what_comes_or_goes_between_two_builds_is_noticed(built, source):
    """A PDF comes; the repository takes no issues any more, and nothing says how to cite."""
    pdf = source / "_build/html/pdf/one.pdf"
    pdf.parent.mkdir()
    pdf.write_text("paper")
    chapter, page = build(source)
    assert links(chapter)["PDF"] == "../pdf/one.pdf" and "PDF" not in links(page)

    pdf.unlink()
    (source / "CITATION.cff").unlink()
    (source / "conf.py").write_text(CONF.replace('issues_button": True', 'issues_button": False'))
    chapter, page = build(source)
    assert list(links(chapter)) == ["Open in Colab", "Download .ipynb"]
    assert chapter.select(".kx-mark a.external") == chapter.select(".kx-cite") == []
    assert page.select(".kx-head") == []


@pytest.mark.parametrize("text", ["a & b", "50 %", "x_1 # $", "{a}~^\\"])
def test_tex_keeps_its_braces_paired_and_escapes_the_rest(text):
    made = citation.tex(text)
    assert re.search(r"(?<!\\)[&%$#_]", made) is None
    assert len(re.findall(r"(?<!\\)\{", made)) == len(re.findall(r"(?<!\\)\}", made))
