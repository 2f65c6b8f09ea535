"""The ledger on the site: marks, the ledger page, and the builds that must fail."""

import html
import re

import nbformat
import pytest
import sympy as sp
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.testing.util import SphinxTestApp

from kexue.ledger import assumed, cited, defined, listening, measured, proved
from kexue.site.ledger import records

CONF = """
extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinxcontrib.bibtex", "kexue.site.ledger"]
bibtex_bibfiles = ["refs.bib"]
bibtex_reference_style = "author_year"
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence"]
html_theme = "basic"
exclude_patterns = ["_build", "jupyter_execute"]
mathjax_path = "none.js"
copyright = "none"
"""
BIB = """@misc{ho2020, author = {Ho, Jonathan}, title = {Denoising}, year = {2020}}
@misc{su2022, author = {Su, Jianlin}, title = {Building}, year = {2022}}"""
a, b = sp.symbols(r"\alpha_t \beta_t", positive=True)
FIRST = [
    "$$p = \\alpha_t^2$$ (eq-one-step)\n\n- in a list\n\n  $$q = \\beta_t$$ (eq-one-other)",
    "```{math}\n:label: eq-one-sum\n(\\alpha_t + \\beta_t)^2 = \\alpha_t^2 + \\dots\n```",
    "> $$\\mathrm{said}$$ (eq-one-said)\n\nUnnumbered\n\n$$z = 1$$\n\nBy {eq}`eq-one-sum`, this.",
]


def check_all():
    """One of each kind."""
    defined("eq-one-step", a**2, note="amplitude <squared>")
    assumed("eq-one-other", "smoothness")
    proved("eq-one-sum", (a + b) ** 2, a**2 + 2 * a * b + b**2, by="by expanding",
           given=["eq-one-step", "eq-one-other"], at={"N": 3, "n": range(2)})  # fmt: skip
    measured("eq-one-said", [1.0, 2.0], [1.0, 2.0], tolerance=1e-10, by="two ways")


def stored(check):
    """The outputs that a notebook cell with these checks stores."""
    with listening() as heard:
        check()
    return [
        new_output(
            "display_data",
            data={"text/plain": o.record.line(), "text/html": o.record._repr_html_()},
        )
        for o in heard
    ]


def write(path, texts, check=lambda: None):
    cells = [new_markdown_cell("# A chapter"), *map(new_markdown_cell, texts)]
    cells.append(new_code_cell("check()", outputs=stored(check), execution_count=1))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"},
                "language_info": {"name": "python"}}  # fmt: skip
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture
def book(tmp_path):
    """A book of two chapters and a ledger, and a function that builds it."""
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\nsub/one\ntwo\nledger\n```\n")
    (tmp_path / "refs.bib").write_text(BIB)
    (tmp_path / "refs.md").write_text(
        "---\norphan: true\n---\n# R\n\n```{bibliography}\n:all:\n```\n"
    )
    (tmp_path / "ledger.md").write_text("# Ledger\n\n```{ledger-table}\n```\n")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "one.ipynb", FIRST, check_all)
    write(tmp_path / "two.ipynb", ["$$u$$ (eq-two-u)"], lambda: cited("eq-two-u", "Ho 2020"))
    return tmp_path


def build(source, builder="html", processes=0):
    """Build; return (warnings, changed pages)."""
    app = SphinxTestApp(builder, srcdir=source, parallel=processes)
    changed = []
    app.connect("doctree-resolved", lambda app, doctree, page: changed.append(page))
    try:
        app.build()
        lines = re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue()).splitlines()
        return [line for line in lines if line.strip()], changed
    finally:
        app.cleanup()


def page(source, name):
    text = (source / "_build" / "html" / f"{name}.html").read_text("utf-8")
    return BeautifulSoup(text, "html.parser")


# -- a good book -------------------------------------------------------------------------------


def test_every_numbered_equation_gets_a_mark_that_opens_without_script(book):
    warnings, _ = build(book)
    assert warnings == []
    soup = page(book, "sub/one")
    boxes = soup.select(".kx-eq")
    assert len(boxes) == 4 == len(soup.select("details.kx-mark"))
    assert len(soup.select("div.math")) == 5  # the unnumbered one has none
    for box in boxes:
        assert box.select_one("div.math")["id"].startswith("equation-eq-one-")
        assert box.details.summary.select_one(".kx-unseen").text.strip()
        assert "script" not in str(box.details)
    kinds = [box.details["class"][1] for box in boxes]
    assert kinds == ["kx-defined", "kx-assumed", "kx-proved", "kx-measured"]

    proof = boxes[2].details
    text = " ".join(proof.text.split())
    assert "Proved by expanding." in text
    assert "Given (1), (2)." in text
    assert "Checked at N = 3 and n = 0, 1, not in general." in text
    assert [a["href"] for a in proof.select("a")] == [
        "#equation-eq-one-step", "#equation-eq-one-other",
    ]  # fmt: skip
    stated = html.unescape(proof.select_one(".math").text)
    assert stated == rf"\({sp.latex(a**2 + 2 * a * b + b**2)}\)"
    assert "amplitude <squared>" in boxes[0].details.text
    assert "Agrees within 1e-10 at 2 points." in boxes[3].details.text

    # numbers, anchors and references keep working
    assert [n.text.strip("¶") for n in soup.select(".eqno")] == ["(1)", "(2)", "(3)", "(4)"]
    assert soup.find("a", href="#equation-eq-one-sum", string="(3)")

    # the ledger page
    ledger = page(book, "ledger")
    assert ledger.select_one(".kx-totals").text == (
        "5 numbered equations in 2 chapters: 1 proved, 1 measured, 1 cited, 1 defined, 1 assumed."
    )
    tables = ledger.select("table.kx-ledger")
    assert [len(t.select("tbody tr")) for t in tables] == [4, 1]
    assert all(len(row.find_all("td")) == 3 for t in tables for row in t.select("tbody tr"))
    assert tables[0].caption.a["href"] == "sub/one.html"
    assert tables[0].select_one("tbody a")["href"] == "sub/one.html#equation-eq-one-step"
    assert "Cited: Ho 2020." in tables[1].text
    assert any("none.js" in (s.get("src") or "") for s in ledger.select("script"))


def test_a_citation_links_to_its_entry_from_the_mark_and_from_the_ledger(book):
    write(book / "two.ipynb", ["$$u$$ (eq-two-u)"],
          lambda: cited("eq-two-u", "the paper, equation 7", key="ho2020"))  # fmt: skip
    assert build(book)[0] == []
    entries = {c["id"] for c in page(book, "refs").select(".citation")}
    assert len(entries) == 2
    for name in ("two", "ledger"):
        (link,) = page(book, name).select('a[href^="refs.html#"]')
        assert link.text == "Ho, 2020" and link["href"].partition("#")[2] in entries
        assert "Cited: the paper, equation 7 [Ho, 2020]." in " ".join(
            link.find_parent("p").text.split()
        )
    entry = page(book, "refs").find(id=link["href"].partition("#")[2])
    assert "Denoising" in entry.text


def test_a_book_without_bibliography_cannot_cite_a_key(book):
    (book / "conf.py").write_text(CONF.replace('"sphinxcontrib.bibtex", ', ""))
    (book / "refs.md").unlink()
    assert build(book)[0] == []
    write(book / "two.ipynb", ["$$u$$ (eq-two-u)"], lambda: cited("eq-two-u", "Ho", key="ho2020"))
    (warning,) = build(book)[0]
    assert "equation eq-two-u cites ho2020, which is not in the bibliography" in warning


def test_building_again_and_changing_a_chapter_keep_the_ledger_right(book):
    assert build(book)[0] == []
    assert not {"sub/one", "two"} & set(build(book)[1])
    write(book / "two.ipynb", ["$$u$$ (eq-two-u)\n\n$$v$$ (eq-two-v)"],
          lambda: (cited("eq-two-u", "Ho 2020"), assumed("eq-two-v", "a guess")))  # fmt: skip
    warnings, changed = build(book)
    assert warnings == [] and {"two", "ledger"} <= set(changed) and "sub/one" not in changed
    assert page(book, "ledger").select_one(".kx-totals").text.startswith("6 numbered equations")

    write(book / "two.ipynb", ["$$u$$ (eq-two-u)"])
    assert any("eq-two-u has no record" in w for w in build(book)[0])
    assert page(book, "ledger").select_one(".kx-totals").text.startswith("4 numbered equations")
    write(book / "two.ipynb", ["$$u$$ (eq-two-u)"], lambda: cited("eq-two-u", "Ho 2020"))
    assert build(book)[0] == []

    (book / "two.ipynb").unlink()
    (book / "index.md").write_text("# Book\n\n```{toctree}\nsub/one\nledger\n```\n")
    assert build(book)[0] == []
    text = page(book, "ledger").select_one(".kx-totals").text
    assert text.startswith("4 numbered equations in 1 chapter:")


def test_reading_in_parallel_gathers_all_rows(book):
    pages = [f"page{i}" for i in range(8)]
    for name in pages:
        write(book / f"{name}.ipynb", [f"$$u$$ (eq-{name}-u)"],
              lambda name=name: cited(f"eq-{name}-u", "Ho 2020"))  # fmt: skip
    (book / "index.md").write_text(
        "# Book\n\n```{toctree}\nledger\n" + "\n".join(pages) + "\n```\n"
    )
    (book / "two.ipynb").unlink()
    (book / "sub" / "one.ipynb").unlink()
    warnings, _ = build(book, processes=2)
    assert [w for w in warnings if "not safe for parallel" in w] == []
    ledger = page(book, "ledger")
    assert ledger.select_one(".kx-totals").text == "8 numbered equations in 8 chapters: 8 cited."
    found = [code.text for code in ledger.select("tbody td:first-child code")]
    assert found == [f"eq-{name}-u" for name in pages]


@pytest.mark.parametrize("builder", ["latex", "text", "gettext"])
def test_other_builders_leave_the_marks_out(book, builder):
    warnings, _ = build(book, builder)
    assert [w for w in warnings if "kx" in w or "ledger_" in w or "unknown node" in w] == []
    made = [
        p for p in (book / "_build" / builder).rglob("*") if p.suffix in (".tex", ".txt", ".pot")
    ]
    assert made
    for path in made:
        assert "As the machine has it" not in path.read_text("utf-8")


# -- books that must not build -----------------------------------------------------------------


@pytest.mark.parametrize(
    "texts, check, complaint",
    [
        (["$$u$$ (eq-two-u)"], lambda: None, "equation eq-two-u has no record"),
        (
            ["$$u$$ (eq-two-u)"],
            lambda: (cited("eq-two-u", "Ho"), cited("eq-two-gone", "Ho")),
            "record eq-two-gone has no numbered equation",
        ),
        (
            ["$$u$$ (eq-two-u)"],
            lambda: (cited("eq-two-u", "Ho"), cited("eq-two-u", "Su")),
            "two records for equation eq-two-u",
        ),
        (
            ["$$u$$ (eq-two-u)"],
            lambda: proved("eq-two-u", a, a, given=["eq-nowhere"]),
            "equation not found: eq-nowhere",
        ),
        (
            ["$$u$$ (eq-two-u)"],
            lambda: cited("eq-two-u", "Ho", key="ho2021"),
            "equation eq-two-u cites ho2021, which is not in the bibliography",
        ),
        (["$$u$$ (two-u)"], lambda: None, "a number without a label eq-...: u"),
        (
            ["\\begin{align}\nu &= v \\label{eq-two-inner}\n\\end{align}"],
            lambda: None,
            "a number without a label eq-",
        ),
    ],
    ids=[
        "no record",
        "no equation",
        "two records",
        "unknown premise",
        "unknown key",
        "label",
        "amsmath",
    ],
)
def test_what_is_not_accounted_for_is_a_warning(book, texts, check, complaint):
    write(book / "two.ipynb", texts, check)
    warnings, _ = build(book)
    assert [w for w in warnings if complaint in w], warnings


def test_a_page_without_a_notebook_may_have_unlabeled_math(book):
    (book / "index.md").write_text(
        "# Book\n\n$$a = b$$\n\n\\begin{align*}\nc &= d\n\\end{align*}\n\n"
        "```{toctree}\nsub/one\ntwo\nledger\n```\n"
    )
    assert build(book)[0] == []
    (book / "index.md").write_text(
        "# Book\n\n$$a$$ (eq-x)\n\n```{toctree}\nsub/one\ntwo\nledger\n```"
    )
    assert any("eq-x has no record" in w for w in build(book)[0])


def test_an_unknown_kind_is_refused(book):
    path = book / "two.ipynb"
    path.write_text(path.read_text("utf-8").replace("&quot;cited&quot;", "&quot;trusted&quot;"))
    assert any("of an unknown kind: trusted" in w for w in build(book)[0])


def test_records_are_read_as_written(book):
    assert [r["label"] for r in records(book / "sub" / "one.ipynb")] == [
        "eq-one-step", "eq-one-other", "eq-one-sum", "eq-one-said",
    ]  # fmt: skip
    assert records(book / "index.md") == []
