"""The notation page out of the chapters' tables; symbols and terms that say what they are."""

import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

CONF = """
extensions = ["myst_nb", "kexue.site"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
html_theme = "sphinx_book_theme"
exclude_patterns = ["_build"]
"""
CHAPTER = """# A chapter

## Names

| what it is | this page | the article |
|---|---|---|
| size of a step | $h$ | $x$ |
| {meaning} | ${symbol}$, $k$ | – |

## More

The step $h$ and $h^2$. A **score** (得分) twice: **score**.
"""
PAGES = {
    "index": "# Book\n\n```{toctree}\none\nnotation\nglossary\n```\n",
    "glossary": "# Glossary\n\n```{glossary}\nscore (得分)\n  A gradient.\n```\n",
}
GATHER = """# Notation

```{{notation-table}} {slug}
| what it is | this page |
|---|---|
| further on | ${more}$ |
```
"""


def build(folder, *, symbol="a", meaning="amplitude", more="q", slug="one"):
    """Build the little book; return its pages and the warnings."""
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    texts = {
        **PAGES,
        "one": CHAPTER.format(meaning=meaning, symbol=symbol),
        "notation": GATHER.format(slug=slug, more=more),
    }
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    app = SphinxTestApp("html", srcdir=folder, freshenv=True)
    app.build()
    warnings = app.warning.getvalue()
    app.cleanup()
    pages = (folder / "_build/html").glob("*.html")
    read = {p.stem: BeautifulSoup(p.read_text("utf-8"), "html.parser") for p in pages}
    return {name: page.article for name, page in read.items()}, warnings


def test_the_page_has_the_chapters_rows_and_those_of_its_own(tmp_path):
    pages, warnings = build(tmp_path)
    assert warnings == ""
    first = [row.td.text.strip() for row in pages["notation"].select("tbody tr")]
    assert first == ["size of a step", "amplitude", "further on"]
    assert pages["notation"].select_one("a[href='one.html']").text == "A chapter"


def test_a_symbol_that_stands_alone_says_what_it_is(tmp_path):
    pages, _ = build(tmp_path)
    titled = pages["one"].select(".math[title]")
    assert [(m.annotation.text, m["title"]) for m in titled] == [("h", "size of a step")]


def test_a_formula_in_a_meaning_is_said_without_tex(tmp_path):
    pages, _ = build(tmp_path, meaning=r"share of $x_{t-1}$ in $\nabla p$", symbol="h^2")
    assert pages["one"].find(class_="math", title="share of x_(t−1) in ∇p").annotation.text == "h^2"


def test_the_first_use_of_a_term_is_a_link(tmp_path):
    pages, _ = build(tmp_path)
    links = pages["one"].select("strong a")
    assert [a["href"] for a in links] == ["glossary.html#term-score"]
    assert pages["glossary"].select_one("#term-score")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"symbol": "h"}, "symbol h in two meanings: size of a step; amplitude"),
        ({"more": "h"}, "symbol h in two meanings: size of a step; further on"),
        ({"slug": "two"}, "its names are not on the notation page"),
        ({"slug": "two"}, "no chapter two has a table of names"),
    ],
)
def test_two_meanings_and_what_is_left_out_are_refused(wrong, complaint, tmp_path):
    _, warnings = build(tmp_path, **wrong)
    assert complaint in warnings
