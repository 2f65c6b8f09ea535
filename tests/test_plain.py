"""Plain notebooks: what the book's Markdown holds has a plain form, or says that it has none."""

import json
import os
import shutil
import subprocess

import nbformat
import pytest

from kexue.site.launch import plain_url
from tools import colab, plain
from tools.book import ROOT

HERE, THERE = "book/a/here", "book/b/there"
LABELS = {
    "pages": {HERE: "Here", THERE: "There", "book/glossary": "Glossary"},
    "equations": {
        "eq-a": {"page": HERE, "anchor": "equation-eq-a", "number": "1.1"},
        "eq-b": {"page": THERE, "anchor": "equation-eq-b", "number": "2.7"},
    },
    "labels": {
        "fig-a": {"page": HERE, "anchor": "fig-a", "kind": "figure", "number": "1.2",
                  "text": "A picture.", "called": "Fig. 1.2"},
        "ex-b": {"page": THERE, "anchor": "ex-b", "kind": "section", "number": "",
                 "text": "1. Warm up", "called": ""},
    },
    "figures": {HERE: ["Fig. 1.2", "Fig. 1.3", "Fig. 1.4"]},
    "terms": {"score (得分)": {"page": "book/glossary", "anchor": "term-score"}},
    "citations": {
        "ho": {"author": "Ho et al.", "year": "2020", "url": "https://ho"},
        "su": {"author": "Su", "year": "2022", "url": ""},
    },
}  # fmt: skip
SITE = "https://you.github.io/book/"
VIEW = plain.Plain(LABELS, HERE, SITE, "https://github.com/you/book/raw/main/")
ANCHOR = '<a id="{0}" name="{0}"></a>'
EQ, FIG = ANCHOR.format("eq-a"), ANCHOR.format("fig-a")
FAR = f"{SITE}{THERE}.html"

SAME = [
    "$$x$$ with words after it, or $$y$$ before\nand below",
    "# A title\n\nA paragraph with `code`, ``a ` tick``, $a_{1}$ and **bold**.",
    "| a | b |\n|---|---|\n| $x\\mid y$ | `{eq}` |",
    "```python\n{eq}`eq-a` $$ (eq-a)\n:::{note}\n```",
    "costs \\$5 and \\{eq\\}; a set {x : x > 0}, a dict {`a`: 1}",
    "$$\nx = 1\n$$",
    "- one\n  - two\n\n> quoted\n\n<details><summary>Hint</summary>\n\nTry $n = 1$.\n\n</details>",
    "[a link](https://x.org/a_(b)?c=d#e) and <https://x.org>, ![alt](data:image/png;base64,AA==)",
    "100% of it\n\n~~~\n(label)=\n~~~",
]
TURNED = {
    "by {eq}`eq-a` and {eq}`eq-b`": f"by [(1.1)](#eq-a) and [(2.7)]({FAR}#equation-eq-b)",
    "{numref}`fig-a`, {numref}`Figure %s <fig-a>`": "[Fig. 1.2](#fig-a), [Figure 1.2](#fig-a)",
    "{ref}`ex-b` {ref}`this <ex-b>` {ref}`eq-a`": f"[1. Warm up]({FAR}#ex-b) "
    f"[this]({FAR}#ex-b) [(1.1)](#eq-a)",
    "{doc}`../b/there` {doc}`it </book/b/there>`": f"[There]({FAR}) "
    f"[it]({FAR})",
    "{term}`score (得分)`": f"[score (得分)]({SITE}book/glossary.html#term-score)",
    "{cite}`ho,su`": f"([Ho et al., 2020](https://ho); [Su, 2022]({SITE}book/references.html))",
    "{cite:t}`ho`": "[Ho et al. (2020)](https://ho)",
    "a {cite}`ho\n` b": "a ([Ho et al., 2020](https://ho)) b",
    "{math}`a^2`, x{sup}`2`, {code}`f(x)`": "$a^2$, x<sup>2</sup>, `f(x)`",
    "[part](#a-heading)": f"[part]({SITE}{HERE}.html#a-heading)",
    "[](#eq-a) [](../b/there.md) [it](../b/there.ipynb#part)": f"[(1.1)](#eq-a) "
    f"[There]({FAR}) [it]({FAR}#part)",
    "![a cat](cat.png)": "![a cat](https://github.com/you/book/raw/main/book/a/cat.png)",
    "$$\na\\\\\nb\n$$ (eq-a)": f"{EQ}\n$$\na\\\\\nb\n\\tag{{1.1}}\n$$",
    "so $x$:\n$$ a = b $$ (eq-a)\nand": f"so $x$:\n{EQ}\n$$\n a = b \n\\tag{{1.1}}"
    "\n$$\nand",
    "- item\n\n  $$\n  a\n  $$ (eq-a)": f"- item\n\n  {EQ}\n  $$\n  a\n  \\tag{{1.1}}"
    "\n  $$",
    "(ex-a)=\n### 1. First": f"{ANCHOR.format('ex-a')}\n\n### 1. First",
    ":::{note}\nSee {eq}`eq-a`.\n:::": "> **Note**\n>\n> See [(1.1)](#eq-a).",
    "```{admonition} Why $x$?\n:class: dropdown\nBecause.\n```": ""
    "<details><summary>Why $x$?</summary>\n\nBecause.\n\n</details>",
    "::::{tip} A\n:::{math}\n:label: eq-a\nx\n:::\n::::": f"> **A**\n>\n> {EQ}\n> $$"
    "\n> x\n> \\tag{1.1}\n> $$",
    "```{figure} ../cat.png\n:name: fig-a\n:alt: a cat\nSee {eq}`eq-a`.\n```": f"{FIG}"
    "\n\n![a cat](https://github.com/you/book/raw/main/book/cat.png)\n\n"
    "**Fig. 1.2.** See [(1.1)](#eq-a).",
    "```{code-block} python\nx = '{eq}`a`'\n```": "```python\nx = '{eq}`a`'\n```",
    "score\n: gradient of $\\log p$": "**score**: gradient of $\\log p$",
    "{.lead}\nA line with [a span]{.loud}.\n\n% a comment\n+++": "A line with a span.\n",
}  # fmt: skip
REFUSED = {
    "{eq}`eq-none`": "'eq-none' is not among the equations",
    "$$\na\n$$ (eq-none)": "'eq-none' is not among the equations",
    "{cite}`nobody`": "'nobody' is not among the citations",
    "{py:func}`f`": "the role 'py:func' has no plain form",
    "```{raw} html\n<b>\n```": "the directive 'raw' has no plain form",
    "::: plain\n:::": "the directive '' has no plain form",
    ":::{note}\nno end": "a fence without an end",
    "$$\nno end": "a display without an end",
    "{{ version }}": "has no plain form",
    "<project:#eq-a>": "has no plain form",
    "[x](../c/none.md)": "is no page of the book",
    "{numref}`ex-b`": "ex-b has no number",
    "> $$\n> a\n> $$ (eq-a)": "left raw",
    "> :::{note}\n> text": "left raw",
}


@pytest.mark.parametrize("source", SAME)
def test_what_every_viewer_knows_stays_as_it_is(source):
    assert VIEW.markdown(source) == source


@pytest.mark.parametrize("source", TURNED)
def test_what_only_the_build_knows_is_turned_into_what_every_viewer_knows(source):
    made = VIEW.markdown(source)
    assert made == TURNED[source]
    assert VIEW.markdown(made) == made


@pytest.mark.parametrize("source", REFUSED)
def test_what_has_no_plain_form_is_an_error_that_names_the_page(source):
    with pytest.raises(ValueError, match=REFUSED[source]) as error:
        VIEW.markdown(source)
    assert HERE in str(error.value)


def notebook() -> nbformat.NotebookNode:
    v4 = nbformat.v4
    figure = {
        "figure": {"caption": "Look at {eq}`eq-a`.", "name": "fig-a"},
        "image": {"alt": 'a "b"'},
    }
    svg = v4.new_output("display_data", data={"image/svg+xml": "<svg/>", "text/plain": "<Figure>"})
    stage = '<figure class="kx-explorer"><figcaption>Move. <span class="kx-hint"></figure>'
    moves = v4.new_output("display_data", data={"text/html": stage, "text/plain": "moves"})
    cells = [
        v4.new_markdown_cell("# Title", metadata={"mystnb": {}}),
        v4.new_code_cell("setup()", metadata={"tags": ["hide-input", "setup"]}, execution_count=1),
        v4.new_code_cell("plot()", metadata={"mystnb": figure}, outputs=[svg], execution_count=2),
        v4.new_code_cell("interact(f)", outputs=[moves], execution_count=3),
        v4.new_code_cell("1", metadata={"tags": ["nbval-ignore-output"]}, execution_count=4),
    ]
    return v4.new_notebook(cells=cells, metadata={"kexue": {"code": "x"}})


def test_a_notebook_keeps_code_and_outputs_and_gains_captions():
    nb = notebook()
    before = json.dumps(nb)
    made = colab.plain_notebook(nb, VIEW)
    nbformat.validate(made)
    assert json.dumps(nb) == before, "the source is not touched"
    code = [c for c in made.cells if c.cell_type == "code"]
    assert [c.source for c in code] == ["setup()", "plot()", "interact(f)", "1"]
    assert [c.execution_count for c in code] == [1, 2, 3, 4]
    kinds = [c.cell_type[0] for c in made.cells]
    assert "".join(kinds) == "mmccmcmc"
    assert made.cells[4].source == f"{FIG}**Fig. 1.2.** Look at [(1.1)](#eq-a)."
    assert made.cells[6].source.startswith("**Fig. 1.3** is the figure above")  # it has no name
    assert code[1].outputs[0].data["image/svg+xml"] == "<svg/>"
    assert code[1].outputs[0].data["text/html"] == (
        '<img alt="a &quot;b&quot;" src="data:image/svg+xml;base64,PHN2Zy8+">'
    )
    assert code[2].outputs == nb.cells[3].outputs


def test_metadata_is_what_colab_and_jupyterlab_know():
    made = colab.plain_notebook(notebook(), VIEW)
    assert set(made.metadata) == {"kernelspec", "language_info", "colab"}
    assert made.metadata.colab.name == "here.ipynb"
    assert "mystnb" not in json.dumps(made) and "kexue" not in made.metadata
    folded = made.cells[2].metadata
    assert folded == {
        "tags": ["hide-input", "setup"], "jupyter": {"source_hidden": True}, "cellView": "form",
    }  # fmt: skip
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_the_colab_button_opens_the_branch_of_plain_notebooks():
    url = "https://colab.research.google.com/github/you/book/blob/main/book/a/here.ipynb"
    opened = plain_url(url, HERE, "colab", "book")
    assert opened == url.replace("main/book", "colab")
    assert opened.endswith(colab.target(HERE))


def test_every_notebook_of_the_book_has_a_place():
    """Whatever the table of contents lists: nothing to register."""
    names = [colab.target(page) for page in colab.pages()]
    assert len(set(names)) == len(names) >= 4 and "how-checked.ipynb" in names


def test_publishing_makes_a_branch_of_one_commit_with_the_notebooks_alone(tmp_path):
    book, remote = tmp_path / "book", tmp_path / "remote.git"
    (book / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "publish-colab", book / ".ci")
    (book / ".gitignore").write_text("_build/\n*.ipynb\n")

    def git(*words, at=book):
        who = ("-c", "user.name=A", "-c", "user.email=a@b")
        command = ["git", "-C", str(at), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    names = {
        f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    publish = dict(cwd=tmp_path, env={**os.environ, **names}, capture_output=True, text=True)
    script = [str(book / ".ci" / "publish-colab"), str(remote)]
    refused = subprocess.run(script, **publish)
    assert refused.returncode and "run make colab" in refused.stdout
    for text in ("old", "new"):
        (book / "_build" / "colab" / "a").mkdir(parents=True, exist_ok=True)
        (book / "_build" / "colab" / "README.md").write_text("read")
        (book / "_build" / "colab" / "a" / "b.ipynb").write_text(text)
        assert subprocess.run(script, **publish).stdout == "colab: 1 notebooks\n"
    assert git("ls-tree", "-r", "--name-only", "colab", at=remote).split() == [
        "README.md",
        "a/b.ipynb",
    ]
    assert git("show", "colab:a/b.ipynb", at=remote) == "new"
    assert git("rev-list", "--count", "colab", at=remote) == "1\n"
    assert git("status", "--porcelain") == ""


def test_without_a_built_book_it_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `make book` first"):
        plain.labels_at(tmp_path)
