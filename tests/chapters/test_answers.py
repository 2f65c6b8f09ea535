"""The declared answers of every chapter are those of its folded solutions, and can be asked for."""

import re
from functools import cache

import nbformat
import pytest
import sympy as sp

from kexue.exercises import answers, check_answer, letters
from kexue.ledger.reader import scalar
from kexue.ledger.tex import Unread, spelling, tree
from kexue.symbolic import equal
from tools import notebooks as nbs

FORM = re.compile(
    r"### (\d+)\. [^\n]+ \((?:warm-up|easy|medium|hard|project)(?:; [^)\n]+)?\)\n\n"
    r"(.+?)\n\n<details><summary>Hint</summary>\n\n(.+?)\n\n</details>\n"
    r"<details><summary>Solution</summary>\n\n(.+?)\n\n</details>",
    re.DOTALL,
)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$", re.DOTALL)


@cache
def chapter(path):
    """(declared answers by label, text of each exercise by label) of a notebook.

    The cells tagged ``answers`` run alone, as on a fresh machine with the package installed.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = [c.source for c in cells if "answers" in c.metadata.get("tags", [])]
    kept, answers._declared = answers._declared, {}
    try:
        exec("\n".join(code), {})
        declared = answers._declared
    finally:
        answers._declared = kept
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    found = re.split(r"^\((ex-[a-z0-9-]+)\)=$", text, flags=re.MULTILINE)
    last = found[-1].split("\n## ")[0]  # what follows the exercises
    return declared, dict(zip(found[1::2], [*found[2:-1:2], last], strict=True))


def solution(path, label):
    """The text of the folded solution of a declared answer's exercise."""
    return FORM.fullmatch(chapter(path)[1][label.partition(":")[0]].strip())[4]


BOOK = [p for p in nbs.notebooks() if "<summary>Solution</summary>" in p.read_text("utf-8")]
ANSWERS = [pytest.param(path, label, id=label) for path in BOOK for label in chapter(path)[0]]


def sides(text):
    """The sides of every formula in a text: what stands between =, approximations and commas."""
    for display, inline in FORMULA.findall(text):
        yield from re.split(r"=|\\approx|\\propto|,(?!\s*\\)|\\qquad|\\quad", display or inline)


def is_answer(side, expected):
    """Whether a side is the expected answer, read by the ledger's reader and not by ours."""
    table = {spelling(letters.tex(name)): s for name, s in expected.letters.items()}
    table |= {r"\varepsilon": table[r"\epsilon"]} if r"\epsilon" in table else {}
    question = expected.question
    try:
        e = scalar(tree(side), table)
    except Unread:
        return False
    if not e.free_symbols and not question.answer.free_symbols:
        return abs(sp.N(e - question.answer)) <= expected.within * abs(sp.N(question.answer))
    return equal(e, question.answer, dict(question.where)).status != "differs"


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_a_chapter_has_at_least_three_exercises_with_an_answer_to_check(path):
    declared, exercises = chapter(path)
    asked = {label.partition(":")[0] for label in declared}
    assert asked <= set(exercises)
    assert len(asked) >= 3


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_exercises_have_one_form(path):
    """Number, title, difficulty; statement, folded hint, folded solution; six of them at least."""
    exercises = chapter(path)[1]
    forms = {label: FORM.fullmatch(text.strip()) for label, text in exercises.items()}
    assert [label for label, form in forms.items() if not form] == []
    numbers = [int(form[1]) for form in forms.values()]
    assert numbers == list(range(1, len(forms) + 1)) and len(forms) >= 6
    assert [int(label.rpartition("-")[2]) for label in forms] == numbers


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_the_answers_cell_is_folded_and_the_line_is_stored(path):
    declared, _ = chapter(path)
    cells = nbformat.read(path, as_version=4).cells
    cell, *examples = [c for c in cells if "answers" in c.metadata.get("tags", [])]
    assert "hide-input" in cell.metadata.tags and "expect(" in cell.source
    assert cell.metadata["mystnb"]["code_prompt_show"] == "Show the answers"  # a warning
    line = repr(answers.Answers({label: () for label in declared}))
    assert [o["data"]["text/plain"] for o in cell.outputs] == [line]
    assert examples, "one visible example"
    for example in examples:
        assert "check_answer(" in example.source and "hide-input" not in example.metadata.tags


@pytest.mark.parametrize(("path", "label"), ANSWERS)
def test_the_solution_holds_the_declared_answer(path, label):
    found = list(sides(solution(path, label)))
    assert any(is_answer(side, chapter(path)[0][label]) for side in found), found


@pytest.mark.parametrize(("path", "label"), ANSWERS)
def test_another_answer_would_not_be_found_in_the_solution(path, label):
    """The comparison can fail: three times the answer and a seventh is in no solution."""
    expected = chapter(path)[0][label]
    wrong = answers.Question(
        3 * expected.question.answer + sp.Rational(1, 7),
        *list(vars(expected.question).values())[1:],
    )
    wrong = answers.Expected(label, "", expected.letters, expected.within, wrong)
    assert not any(is_answer(s, wrong) for s in sides(solution(path, label)))


@pytest.mark.parametrize(("path", "label"), ANSWERS)
def test_the_declared_answer_is_called_right(path, label, monkeypatch):
    monkeypatch.setattr(answers, "_declared", chapter(path)[0])
    assert check_answer(label, answers._declared[label].text)
    assert not check_answer(label, "7/3")
