"""Decks: a slide shows what is the chapter's own and the words of its note, nothing else."""

import copy
import json
import re

import jupytext
import nbformat
import pytest
import sympy as sp
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import defined, listening, proved
from kexue.site.slides import defining, slides
from tools import notebooks
from tools import slides as tool

CONF = """
extensions = ["myst_nb", "kexue.site"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
numfig = math_numfig = True
html_theme = "sphinx_book_theme"
html_theme_options = {"repository_url": "https://github.com/a/b", "extra_footer": "<p>Free.</p>"}
exclude_patterns = ["_build", "jupyter_execute"]
kexue_slips = "kexue.ledger.slips.slips"
"""
a, b, x = sp.symbols("a b x", positive=True)
TEXT = r"""# Lines & squares

A line:

$$y = a x + b$$ (eq-one-line)

without a number,

$$z = 1$$

and squared

$$y^2 = a^2x^2 + 2abx + b^2$$ (eq-one-square)

| what | of whom | where |
|---|---|---|
| $a$ | the *first* | here |
| $b$ | the second | there |

- one
- two
- three
"""
EXERCISE = r"""## Exercises

(ex-one-1)=
### 1. How steep? (easy)

Differentiate {eq}`eq-one-line`.

<details><summary>Hint</summary>

Look closely.

</details>
<details><summary>Solution</summary>

The slope is $a$, a secret.

</details>
"""
CODE = '''import math


def f(x):
    """A line"""
    return x


k, m = f(1), 2
print("said", k)
'''
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1" id="p"/></svg>'
SLIDES = [
    (0, {
        "title": "A *start*", "minutes": 1.5, "notes": "**Ask** for $y$ of {eq}`eq-one-line`.",
        "show": ["Words with $x^2$.", "eq-one-line", "+ eq-one-square", "+ display"],
    }),
    (0, {"title": "Cut", "show": ["table 1 3 / 2", "list 1 3"], "beside": True}),
    (1, {"title": "Code", "show": ["code m f"]}),
    (1, {"title": "All of it", "show": ["code", "output"]}),
    (2, {"title": "Seen", "show": ["fig-one-path"]}),
    (3, {"title": "For the room", "notes": "A minute.", "show": ["ex-one-1"]}),
    (3, {"title": "Find it", "show": ["error 1"]}),
]  # fmt: skip


def notebook():
    """A chapter with everything that a slide can show, and slides that show it."""

    def check(b=b):
        defined("eq-one-line", a * x + b)
        square = a**2 * x**2 + 2 * a * b * x + b**2
        proved("eq-one-square", (a * x + b) ** 2, square, by="by hand", given=["eq-one-line"])

    with listening() as heard:
        check()
    records = [{"text/html": outcome.record._repr_html_()} for outcome in heard]
    outputs = [new_output("display_data", data=data) for data in records]
    said = [*outputs, new_output("stream", name="stdout", text="said 1\n")]
    figure = {
        "figure": {"name": "fig-one-path", "caption": "Long caption."},
        "image": {"alt": "Up"},
    }
    drawn = [new_output("display_data", data={"image/svg+xml": SVG, "text/plain": "<Figure>"})]
    cells = [
        new_markdown_cell(TEXT),
        new_code_cell(CODE, outputs=said, execution_count=1),
        new_code_cell("draw()", outputs=drawn, execution_count=2, metadata={"mystnb": figure}),
        new_markdown_cell(EXERCISE),
    ]
    for place, noted in SLIDES:
        cells[place].metadata.setdefault("slides", []).append(copy.deepcopy(noted))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    kernel["language_info"] = {"name": "python"}
    return new_notebook(cells=cells, metadata=kernel)


def build(source, nb):
    """Build the book of one chapter in a folder; return the warnings."""
    (source / "part").mkdir(exist_ok=True)
    nbformat.write(nb, source / "part/one.ipynb")
    (source / "conf.py").write_text(CONF)
    (source / "index.md").write_text("# Book\n\n```{toctree}\n:numbered:\npart/one\nmore\n```\n")
    (source / "more.md").write_text("# More\n")
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        return re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue()).strip()
    finally:
        app.cleanup()


def soup(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the built book."""
    source = tmp_path_factory.mktemp("book")
    assert build(source, notebook()) == ""
    return source / "_build/html"


@pytest.fixture(scope="module")
def deck(built):
    """The deck, its formulas as their TeX."""
    made = soup(built / "slides/one.html")
    for formula in made.select(".katex"):
        formula.replace_with(rf"\({formula.annotation.text}\)")
    return made


@pytest.fixture(scope="module")
def found(deck):
    """The slides without their notes."""
    some = copy.copy(deck).select(".slides > section")
    for slide in some:
        slide.aside.extract()
    return some


def test_a_chapter_with_slides_links_its_deck_and_no_other_page_does(built):
    (link,) = [n for n in soup(built / "part/one.html").select(".kx-head a") if n.text == "Slides"]
    assert link["href"] == "../slides/one.html"
    assert {path.name for path in (built / "slides").iterdir()} == {"one.html"}
    assert "slides/" not in (built / "more.html").read_text("utf-8")


def test_every_file_that_a_deck_asks_for_is_in_the_site(built, deck):
    asked = [n["src"] for n in deck.select("script[src]")] + [
        n["href"] for n in deck.select("link")
    ]
    assert len(asked) > 8
    for name in asked:
        assert (built / "slides" / name).is_file(), name
    assert all(script.get("src") for script in deck.select("script:not([type])"))  # none inline
    assert deck.select("[onclick], [onload]") == []


def test_headlines_words_and_minutes_are_those_of_the_notes(deck, found):
    assert [s.find(["h1", "h2"]).text for s in found] == [
        re.sub(r"\*", "", noted["title"]) for _, noted in SLIDES
    ]
    assert [s.find(["h1", "h2"]).name for s in found] == ["h1"] + ["h2"] * 6
    assert [float(s["data-minutes"]) for s in found] == [1.5, 1, 1, 1, 1, 1, 1]
    ids = [n["id"] for n in deck.select("[id]")]
    assert len(ids) == len(set(ids)) and found[0]["id"] == "1-a-start"
    words = found[0].select_one(".kxd-is-words")
    assert words.text.strip() == r"Words with \(x^2\)." and words.select_one("span.math")
    assert "Free." in found[0].select_one(".kx-foot").text


def test_equations_have_the_number_and_the_mark_of_the_page(built, found):
    printed = soup(built / "part/one.html").select(".eqno")
    numbers = [node.text.rstrip("#¶").strip() for node in printed]
    assert numbers == ["(1.1)", "(1.2)"]
    line, square = found[0].select(".kxd-eq")
    assert r"y = a x + b" in line.text and "y^2" in square.text
    assert [e.select_one(".kxd-number").text for e in (line, square)] == [
        "(1.1) ≔ defined", "(1.2) ✓ proved",
    ]  # fmt: skip
    assert line.a["href"] == "../part/one.html#equation-eq-one-line"
    steps = found[0].select(".fragment")
    assert [step["class"][1] for step in steps] == ["kxd-is-eq", "kxd-is-display"]
    assert "z = 1" in steps[1].text and not steps[1].select(".kxd-number")


def test_tables_and_lists_are_cut(found):
    cells = [[c.text.strip() for c in row.select("th, td")] for row in found[1].select("tr")]
    assert cells == [["what", "where"], [r"\(b\)", "there"]]
    assert [item.text.strip() for item in found[1].select(".kxd-is-list li")] == ["one", "three"]
    body = found[1].select_one(".kxd-beside > .kxd-body")
    first, right = body.find_all(recursive=False)
    assert first.select("table") and right["class"] == ["kxd-right"] and right.select("li")


def test_code_is_the_cell_s(found):
    assert (
        found[2].pre.text.strip() == 'k, m = f(1), 2\n\ndef f(x):\n    """A line"""\n    return x'
    )
    code, output = found[3].select(".kxd-part")
    assert code.text.strip() == CODE.strip()
    assert "said 1" in output.text and "import" not in output.text


def test_a_figure_comes_as_a_drawing_with_its_number_and_no_caption(found):
    (figure,) = found[4].select("figure")
    assert figure.select_one("svg")["aria-label"] == "Up" and figure.find("figcaption") is None
    (link,) = found[4].select(".kxd-number a")
    assert (link.text, link["href"]) == ("Fig. 1.1", "../part/one.html#fig-one-path")


def test_the_solution_is_in_the_notes_alone(deck, found):
    assert "Differentiate" in found[5].text and "secret" not in found[5].text
    assert "Look closely." in found[5].select_one(".fragment").text
    notes = [aside.text.strip() for aside in deck.select("aside.notes")]
    assert notes[5].startswith("A minute.") and "a secret" in notes[5]
    assert notes[0] == r"Ask for \(y\) of (1.1)."


def test_an_error_shows_its_answer_on_a_key(found):
    hidden = found[6].select_one(".fragment").extract()
    assert "The error:" in hidden.text and "(1.2) ✓ proved" in hidden.text
    assert "y^2" in found[6].text and "(1.2)" not in found[6].text


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({"title": "T", "show": ["eq-one-lin"]}, "there is no eq-one-lin"),
        ({"title": "T", "show": ["fig-two"]}, "there is no fig-two"),
        ({"title": "T", "show": ["code nothing"]}, "there is no code nothing"),
        ({"title": "T", "show": ["table 4"]}, "there is no table 4"),
        ({"title": "T", "show": ["error 9"]}, "there is no error 9"),
        ({"show": ["Words."]}, "needs title"),
        ({"title": "T", "show": [{"one": "two"}]}, "slide 'T': show: needs texts"),
        ({"title": "T", "shows": ["Words."]}, "nothing but beside, minutes"),
        ({"title": "T {eq}`eq-one-lin`"}, "eq-one-lin"),
    ],
)
def test_what_is_not_there_is_a_warning(tmp_path, noted, said):
    nb = notebook()
    for cell in nb.cells:
        cell.metadata.pop("slides", None)
    nb.cells[0].metadata["slides"] = [noted]
    assert said in build(tmp_path, nb)


def test_names_of_statements():
    source = 'proved("eq-a", 1)\n@cache\ndef f():\n    pass\nclass A: pass\nx = {\n    1: 2}\n'
    assert defining(source, ["eq-a"]) == 'proved("eq-a", 1)'
    assert defining(source, ["f"]) == "@cache\ndef f():\n    pass"
    assert defining(source, ["x", "A", "x"]) == "x = {\n    1: 2}\n\nclass A: pass"
    with pytest.raises(KeyError):
        defining(source, ["pass"])


def test_slides_survive_what_is_done_to_a_notebook(tmp_path):
    """Normal form, the way through text and back, and the tool's own way."""
    nb = notebook()
    noted = tool.taken(notebooks.normalize(nb))
    assert [dict(n) for n in noted] == [
        {"cell": nb.cells[place].id, **slide} for place, slide in SLIDES
    ]
    text = jupytext.writes(nb, fmt="md:myst")
    again = jupytext.reads(text, fmt="md:myst")
    kept = [slide for cell in again.cells for slide in cell.metadata.get("slides", [])]
    assert kept == [slide for _, slide in SLIDES]

    before = notebooks.text_of(nb)
    stored = tool.stored(nb, yaml.safe_load(tool.as_yaml(noted)))
    assert notebooks.text_of(stored) == before
    with pytest.raises(ValueError, match="in order"):
        tool.stored(nb, noted[::-1])
    with pytest.raises(ValueError, match="'T'"):
        tool.stored(nb, [{"cell": "nowhere", "title": "T"}])
    with pytest.raises(ValueError, match="quotes around a colon"):
        tool.stored(nb, [{"cell": nb.cells[0].id, "title": "T", "show": [{"a": "b"}]}])
    assert notebooks.text_of(nb) == before
    nbformat.write(nb, tmp_path / "one.ipynb")
    assert [slide.cell for slide in slides(tmp_path / "one.ipynb")] == [
        place for place, _ in SLIDES
    ]


def test_slides_are_told_from_json_alone(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [{"metadata": {}}, {"metadata": {"slides": []}}]}))
    assert slides(path) == []
