"""Sheets of exercises on the site: cut out of a chapter, with numbers and links, nothing stored."""

import re

import nbformat
import pytest
import sympy as sp
from bs4 import BeautifulSoup
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import defined, listening, proved
from kexue.site.exercises import raw, read

CONF = """
extensions = ["myst_nb", "sphinx.ext.mathjax", "kexue.site.ledger", "kexue.site.sheets"]
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
numfig = math_numfig = True
html_theme = "basic"
html_title = "The Book"
html_theme_options = {}
html_baseurl = "https://book.example/"
exclude_patterns = ["_build", "jupyter_execute"]
mathjax_path = "local.js"
kexue_sheets = "out/sheets"
kexue_slips = "kexue.ledger.slips.slips"
copyright = "none"
"""
TEACH = "# Teach\n\n```{sheets-table}\n```\n"
a, b, x = sp.symbols(r"\alpha_t \beta_t x", positive=True)
TEXT = r"""# A chapter on $x^2$

$$y = \alpha_t x + \beta_t$$ (eq-one-line)

$$y^2 = \alpha_t^2x^2 + 2\alpha_t\beta_tx + \beta_t^2$$ (eq-one-square)

## Exercises

(ex-one-1)=
### 1. How *steep* is $y$? (warm-up)

Differentiate {eq}`eq-one-line`; see {ref}`ex-one-2`, {doc}`two`, [it](two.ipynb).

<details><summary>Hint</summary>

Compare {eq}`eq-one-square`.

</details>
<details><summary>Solution</summary>

The slope is $\alpha_t$, a secret.

```python
print("also secret")
```

</details>

(ex-one-2)=
### 2. No brackets

<b>Raw</b> statement.

<details><summary>Solution</summary>

Nothing to do, a second secret.

</details>

## In one minute

Over.
"""


def check(b=b):
    defined("eq-one-line", a * x + b)
    square = a**2 * x**2 + 2 * a * b * x + b**2
    proved("eq-one-square", (a * x + b) ** 2, square, by="by hand", given=["eq-one-line"])


def write(path, text, *checks):
    with listening() as heard:
        for one in checks:
            one()
    html = [{"text/html": outcome.record._repr_html_()} for outcome in heard]
    outputs = [new_output("display_data", data=data) for data in html]
    code = new_code_cell("check()", outputs=outputs, execution_count=1)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    kernel["language_info"] = {"name": "python"}
    nbformat.write(new_notebook(cells=[new_markdown_cell(text), code], metadata=kernel), path)


@pytest.fixture
def book(tmp_path):
    """A book with a chapter that has exercises, one that has none, and a page for teachers."""
    (tmp_path / "conf.py").write_text(CONF)
    toc = "# Book\n\n```{toctree}\n:numbered:\nsub/one\nsub/two\nteach\n```\n"
    (tmp_path / "index.md").write_text(toc)
    (tmp_path / "teach.md").write_text(TEACH)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub/one.ipynb", TEXT, check)
    write(tmp_path / "sub/two.ipynb", "# Two\n\n## Exercises\n\nNone.")
    return tmp_path


def build(source, builder="html"):
    """Build; return the warnings."""
    app = SphinxTestApp(builder, srcdir=source)
    try:
        app.build()
        text = re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue())
        return [line for line in text.splitlines() if line.strip()]
    finally:
        app.cleanup()


def page(source, name):
    text = (source / "_build" / "html" / f"{name}.html").read_text("utf-8")
    return BeautifulSoup(text, "html.parser")


def links(soup, selector):
    return [(link.text, link["href"]) for link in soup.select(f"{selector} a:not(.headerlink)")]


def test_a_chapter_gets_its_sheets_and_links_to_them(book):
    assert build(book) == []
    assert {p.name for p in (book / "_build/html/out/sheets").iterdir()} == {
        "one-exercises.html", "one-solutions.html", "one-errors.html",
    }  # fmt: skip
    kinds = {"exercises": "exercises", "solutions": "solutions", "find the error": "errors"}
    where = [(name, f"../out/sheets/one-{kind}.html") for name, kind in kinds.items()]
    (line,) = page(book, "sub/one").select("section#exercises > .kx-sheets")
    assert [(link.text, link["href"]) for link in line.select("a")] == where
    assert page(book, "sub/two").select(".kx-sheets") == []
    (row,) = page(book, "teach").select("tbody tr")
    assert row.select_one("a")["href"] == "sub/one.html" and row.select("td")[1].text == "2"
    assert links(row, ".kx-sheets") == [(text, uri.removeprefix("../")) for text, uri in where]


def test_the_exercise_sheet_has_statements_and_room_and_no_solution(book):
    build(book)
    soup = page(book, "out/sheets/one-exercises")
    sheet = soup.select_one(".kx-sheet")
    assert sheet.h1.text.startswith(r"Exercises: A chapter on \(x^2\)")
    assert "secret" not in soup.text and "Over." not in soup.text
    first, second = sheet.select(".kx-exercise")
    assert first["id"] == "ex-one-1"
    assert first.h2.text.startswith(r"1. How steep is \(y\)? warm-up")
    assert first.h2.select_one(".kx-level").text == "warm-up" and not second.select(".kx-level")
    assert links(first, "p") == [
        ("(1.1)", "../../sub/one.html#equation-eq-one-line"),
        ("2. No brackets", "../../sub/one.html#ex-one-2"),
        ("Two", "../../sub/two.html"),
        ("it", "../../sub/two.html"),
        ("(1.2)", "../../sub/one.html#equation-eq-one-square"),
    ]
    assert "Compare (1.2)" in first.details.text and not first.details.has_attr("open")
    assert second.b.text == "Raw" and second.details is None
    assert len(sheet.select(".kx-exercise > .kx-room")) == 2
    # at its end the equation that a statement names, not the one of a hint
    (named,) = sheet.select("section#equations .kx-recalled")
    assert links(named, "p") == [("(1.1)", "../../sub/one.html#equation-eq-one-line")]
    assert named.select_one("div.math").text.strip() == r"\[y = \alpha_t x + \beta_t\]"
    foot = " ".join(sheet.select_one(".kx-foot").text.split())
    assert foot.endswith("of The Book, https://book.example/.")
    assert "https://book.example/" in soup.head.style.text and "@page" in soup.head.style.text
    assert any("local.js" in script.get("src", "") for script in soup.select("script"))


def test_the_solution_sheet_has_both_and_no_room(book):
    build(book)
    sheet = page(book, "out/sheets/one-solutions").select_one(".kx-sheet")
    assert [len(box.select(".kx-solution")) for box in sheet.select(".kx-exercise")] == [1, 1]
    assert sheet.text.count("secret") == 3 and sheet.select_one(".kx-solution pre")
    assert not sheet.select(".kx-room, details, .kx-pupil") and "Compare" not in sheet.text
    assert "Raw statement" in sheet.text


def test_the_error_is_shown_and_the_answer_folded(book):
    build(book)
    (step,) = page(book, "out/sheets/one-errors").select(".kx-exercise")
    answer = step.details.extract()
    assert not answer.has_attr("open") and answer.summary.text == "The error"
    given, wrong = (box.text.strip() for box in step.select("div.math"))
    assert given == r"\[y = \alpha_t x + \beta_t\]"
    right = r"\[y^2 = \alpha_t^2x^2 + 2\alpha_t\beta_tx + \beta_t^2\]"
    assert wrong.startswith(r"\[y^2 = ") and wrong != right
    assert "it is claimed, by hand" in step.text and "(1.2)" not in step.text
    assert answer.select_one("div.math").text.strip() == right
    assert ("(1.2)", "../../sub/one.html#equation-eq-one-square") in links(answer, "p")
    assert "with the error it is" in answer.text


def test_another_text_makes_other_sheets(book):
    build(book)
    text = TEXT.replace("a secret", "a riddle").replace(r"\alpha_t x +", r"\alpha_t x -")
    text = text.replace("(ex-one-2)=", "(other)=").replace("{ref}`ex-one-2`", "it")
    assert "gamma" not in page(book, "out/sheets/one-errors").text
    write(book / "sub/one.ipynb", text, lambda: check(sp.Symbol(r"\gamma", positive=True)))
    assert build(book) == []
    assert r"\gamma" in page(book, "out/sheets/one-errors").select("div.math")[1].text
    assert "riddle" in page(book, "out/sheets/one-solutions").text
    assert len(page(book, "out/sheets/one-solutions").select(".kx-exercise")) == 1
    assert r"\alpha_t x -" in page(book, "out/sheets/one-exercises").text
    assert page(book, "teach").select("tbody td")[1].text == "1"
    write(book / "sub/one.ipynb", TEXT.replace("(ex-one-", "(no-"), check)
    build(book)
    assert not page(book, "sub/one").select(".kx-sheets") + page(book, "teach").select("tbody tr")


def test_without_a_function_that_plants_there_is_no_error_to_find(book):
    (book / "conf.py").write_text(CONF.replace('kexue_slips = "kexue.ledger.slips.slips"', ""))
    assert build(book) == []
    assert not (book / "_build/html/out/sheets/one-errors.html").exists()
    assert [text for text, _ in links(page(book, "sub/one"), ".kx-sheets")] == [
        "exercises", "solutions",
    ]  # fmt: skip


def test_an_exercise_without_a_solution_is_a_warning(book):
    write(book / "sub/one.ipynb", TEXT.replace("<summary>Solution", "<summary>Answer", 1), check)
    (warning,) = build(book)
    assert "exercise ex-one-1 has no folded solution" in warning


@pytest.mark.parametrize("builder", ["latex", "text"])
def test_other_builders_have_no_sheets(book, builder):
    assert [w for w in build(book, builder) if "sheets" in w or "unknown node" in w] == []
    made = [p for p in (book / "_build" / builder).rglob("*") if p.suffix in (".tex", ".txt")]
    assert made and not [p for p in made if "find the error" in p.read_text("utf-8")]


def test_folds_are_found_in_one_piece_of_html_and_in_several():
    section = nodes.section("", nodes.title("", "", nodes.math("", "x")), ids=["t", "ex-1"])
    section += nodes.paragraph("", "asked")
    section += raw("<hr><details><summary>Hint</summary>inside</details><details class='k'>\n"
                   "<summary>Solution</summary>")  # fmt: skip
    section += [nodes.paragraph("", "solved"), raw("</details>"), nodes.paragraph("", "more")]
    found = read(section)
    parts = {name: [node.astext() for node in some] for name, some in found.parts.items()}
    assert parts == {
        "Statement": ["asked", "<hr>", "more"],
        "Hint": ["inside"],
        "Solution": ["solved"],
    }
    assert (found.anchor, found.level) == ("ex-1", "")
