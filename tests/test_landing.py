"""The landing page: everything on it comes from the chapters."""

import json

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import defined, listening

CONF = """
extensions = ["myst_nb", "kexue.site"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
numfig = math_numfig = True
html_theme = "sphinx_book_theme"
kexue_artifacts = "artifacts"
kexue_colab = {"branch": "colab", "root": ""}
html_theme_options = {"repository_url": "https://github.com/a/b",
                      "launch_buttons": {"colab_url": "https://colab.example"}}
exclude_patterns = ["_build", "jupyter_execute"]
"""
SHOW = """# Book

```{{showcase}} one
:explorer: fig-one-a
:equation: {equation}
:result: fig-one-b
:card: run
```

```{{chapter-map}}
{leans}
```

```{{toctree}}
:numbered:
one
two
```
"""
HEAD = """# Chapter {0}

| | |
|---|---|
| Mirrors | 题目{0} ("Title {0}"), Su, [kexue.fm/{0}](https://kexue.fm/{0}) |
| You need | sums of {0} |
"""
CARD = {"device": "CPU (x), 1 thread", "seconds": 12.0, "peak_memory_mb": 500.0, "preset": "full",
        "seed": 3, "date": "2026-01-02T03:04:05Z"}  # fmt: skip


def write(folder, name, *cells):
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=[new_markdown_cell(HEAD.format(name)), *cells], metadata=meta)
    (folder / f"{name}.ipynb").write_text(writes(notebook), encoding="utf-8")


def drawing(name):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0"/></svg>'
    meta = {"mystnb": {"figure": {"name": name, "caption": "A caption."}, "image": {"alt": name}}}
    output = new_output("display_data", data={"image/svg+xml": svg})
    return new_code_cell("draw()", outputs=[output], metadata=meta, execution_count=1)


def build(folder, equation="eq-one-a", leans="two on one: a reason"):
    """Build a book of two chapters; return the first page and the warnings."""
    with listening() as heard:
        defined("eq-one-a", 1)
    html = "".join(outcome.record._repr_html_() for outcome in heard)
    output = new_output("display_data", data={"text/html": html})
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    (folder / "index.md").write_text(SHOW.format(equation=equation, leans=leans), encoding="utf-8")
    check = new_code_cell("check()", outputs=[output], execution_count=2)
    text = new_markdown_cell("$$a$$ (eq-one-a)")
    write(folder, "one", text, check, drawing("fig-one-a"), drawing("fig-one-b"))
    write(folder, "two")
    (folder / "artifacts/run").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts/run/card.json").write_text(json.dumps(CARD), encoding="utf-8")
    app = SphinxTestApp("html", srcdir=folder, freshenv=True)
    app.build()
    warnings = app.warning.getvalue()
    app.cleanup()
    page = BeautifulSoup((folder / "_build/html/index.html").read_text("utf-8"), "html.parser")
    return page.article, warnings


def test_the_showcase_is_cut_out_of_the_chapter_with_its_run_card(tmp_path):
    page, warnings = build(tmp_path)
    assert warnings == ""
    figures = page.select(".kx-front figure")
    assert [f.svg["aria-label"] for f in figures] == ["fig-one-a", "fig-one-b"]
    links = [f.select_one("figcaption a")["href"] for f in figures]
    assert links == ["one.html#fig-one-a", "one.html#fig-one-b"]
    assert "A caption." not in page.text
    assert page.select_one(".kx-front .kx-eq .kx-mark.kx-defined summary")
    assert page.select_one(".kx-front-1 a[href='one.html#equation-eq-one-a']")
    made = "Computed by a CPU (x), 1 thread in 12 s with 0.50 GB, full preset, seed 3, 2026-01-02."
    assert made in page.text
    doors = [(a.text, a["href"]) for a in page.select(".kx-entrances a")]
    assert doors == [
        ("Read: Chapter one", "one.html"),
        ("Run it in Colab", "https://colab.example/github/a/b/blob/colab/one.ipynb"),
    ]


def test_the_map_has_every_chapter_and_says_on_what_it_leans(tmp_path):
    page, _ = build(tmp_path)
    cards = page.select(".kx-map > li")
    assert [c.select_one("[lang=zh]").text for c in cards] == ["题目one", "题目two"]
    assert [c.select_one("[lang=zh]").parent["href"] for c in cards] == [
        "https://kexue.fm/one",
        "https://kexue.fm/two",
    ]
    assert "1 Chapter one" in cards[0].text and "Title one" in cards[0].text
    assert "Needs sums of one." in cards[0].text and "leans on" not in cards[0].text
    assert "leans on Chapter one: a reason." in cards[1].text
    assert ["Stands on its own." in card.text for card in cards] == [True, False]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"equation": "eq-one-b"}, "showcase: one has no"),
        ({"leans": "two on three: a reason"}, "chapter map: two on three"),
        ({"leans": "two leans on one"}, "needs two chapters"),
    ],
)
def test_what_no_chapter_has_is_refused(wrong, complaint, tmp_path):
    _, warnings = build(tmp_path, **wrong)
    assert complaint in warnings
