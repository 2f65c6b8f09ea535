"""What a second build writes: nothing if nothing changed, else whatever shows what changed."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import assumed, listening
from kexue.site import assets

CONF = """
extensions = ["myst_nb", "kexue.site"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
html_theme = "basic"
numfig = math_numfig = True
exclude_patterns = ["_build", "jupyter_execute"]
suppress_warnings = ["myst-nb.lexer"]
"""
EXERCISE = "(ex-one-1)=\n## 1. Ask\n\n<details><summary>Solution</summary>\n\nYes.\n\n</details>"
SLIDE = {"title": "One", "show": ["eq-one-a"], "notes": "Say it.", "minutes": 1}
PAGES = ["more", "one", "two", "gather", "sheets/one-exercises", "slides/one"]


def write(path, *labels, exercise="", slides=()):
    """A chapter with equations that are assumed."""
    with listening() as heard:
        for label in labels:
            assumed(label, "a guess")
    data = [{"text/html": outcome.record._repr_html_()} for outcome in heard]
    outputs = [new_output("display_data", data=one) for one in data]
    text = "\n\n".join(["# A chapter", *(f"$$a$$ ({label})" for label in labels), exercise])
    cells = [new_markdown_cell(text), new_code_cell("1", outputs=outputs, execution_count=1)]
    cells[0].metadata["slides"] = list(slides)
    nbformat.write(new_notebook(cells=cells), path)


@pytest.fixture
def book(tmp_path):
    """Two chapters, the first with a sheet and a deck; a page that gathers; a page that refers."""
    (tmp_path / "conf.py").write_text(CONF)
    toc = "```{toctree}\n:numbered:\none\ntwo\ngather\nmore\n```"
    (tmp_path / "index.md").write_text(f"# Book\n\n{toc}\n")
    (tmp_path / "more.md").write_text("# More\n\nBy {eq}`eq-two-b`.\n")
    (tmp_path / "gather.md").write_text("# Ledger\n\n```{ledger-table}\n```\n")
    write(tmp_path / "one.ipynb", "eq-one-a", exercise=EXERCISE, slides=[SLIDE])
    write(tmp_path / "two.ipynb", "eq-two-a", "eq-two-b")
    return tmp_path


def built(source):
    """Build; return what was written."""
    out = source / "_build" / "html"
    stamps = [(out / f"{name}.html") for name in PAGES]
    before = [path.stat().st_mtime_ns if path.exists() else 0 for path in stamps]
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert app.warning.getvalue() == ""
    finally:
        app.cleanup()
    after = [path.stat().st_mtime_ns for path in stamps]
    return [name for name, a, b in zip(PAGES, before, after, strict=True) if a != b]


def test_what_shows_a_change_is_written_again_and_nothing_else(book, monkeypatch, tmp_path_factory):
    assert built(book) == PAGES
    assert built(book) == []

    write(book / "one.ipynb", "eq-one-a", exercise=EXERCISE + " Why?", slides=[SLIDE])
    assert built(book) == ["one", "sheets/one-exercises", "slides/one"]
    write(book / "one.ipynb", "eq-one-a", "eq-one-b", exercise=EXERCISE, slides=[SLIDE])
    assert built(book) == ["one", "gather", "sheets/one-exercises", "slides/one"]
    (book / "_build/html/slides/one.html").unlink()
    (book / "two.ipynb").touch()
    assert built(book) == ["two", "slides/one"]

    write(book / "two.ipynb", "eq-two-a", "eq-two-new", "eq-two-b")  # what others call (2.2)
    assert "(2.2)" in (book / "_build/html/more.html").read_text("utf-8")
    assert built(book) == PAGES
    assert "(2.3)" in (book / "_build/html/more.html").read_text("utf-8")

    (book / "CITATION.cff").write_text("title: The Book\nauthors: [{name: Us}]\n")
    assert built(book) == PAGES
    assert built(book) == []
    other = tmp_path_factory.mktemp("assets")
    (other / "page.js").write_text("// another by now\n")
    monkeypatch.setattr(assets, "ASSETS", other)
    assert built(book) == PAGES
