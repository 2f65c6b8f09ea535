"""The checks are checked: wrong statements and wrong premises are noticed, tautologies found."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch

from kexue.ledger import Refuted, defined, listening, mutating, proved
from kexue.ledger.premises import faults
from kexue.ledger.runner import ledger_cells, remembering, run, run_honest, statements
from kexue.ledger.stated import mutants, neighbors, score_stated
from kexue.ledger.sweep import Sweep
from kexue.symbolic import Gaussian, symbols
from tools import mutate, mutate_core

ROOT = Path(__file__).parent.parent

START = r"""
import sympy as sp
from kexue.ledger import assumed, cited, defined, proved
from kexue.symbolic import Gaussian, complete_square, marginal, symbols

a, b, A, A1, B, B1 = symbols(
    r"\alpha_t \beta_t \bar\alpha_t \bar\alpha_{t-1} \bar\beta_t \bar\beta_{t-1}", positive=True
)
x, y, x0 = symbols("x_t x_{t-1} x_0", real=True)
step = defined("eq-step", Gaussian(a * y, b**2))
bars = defined("eq-bars", {A: a * A1, B: sp.sqrt(a**2 * B1**2 + b**2)})
bayes = assumed("eq-bayes", "Bayes' rule", lambda step, prior, now: step + prior - now)
before, now = Gaussian(A1 * x0, B1**2), Gaussian(A * x0, B**2)
"""
HONEST = r"""
posterior = complete_square(bayes(step.log(x), before.log(y), now.log(x)), y)
proved("eq-mean", posterior.mean, a * B1**2 / B**2 * x + A1 * b**2 / B**2 * x0,
       given=["eq-step", "eq-bayes", "eq-bars"], where=bars)
proved("eq-variance", posterior.var, B1**2 * b**2 / B**2,
       given=["eq-step", "eq-bayes", "eq-bars"], where=bars)
"""
VARIANCE = "B1**2 * b**2 / B**2"
TAUTOLOGIES = {
    "the same object": f"v = {VARIANCE}\nproved('eq-t', v, v, given=['eq-bars'], where=bars)",
    "retyped": f"proved('eq-t', {VARIANCE}, (b * B1 / B)**2, given=['eq-bars'], where=bars)",
    "disguised": f"v = {VARIANCE}\n"
    "proved('eq-t', sp.expand(v * (1 + a)) / (1 + a), v, given=['eq-bars'], where=bars)",
    "laundered through a helper": f"v = {VARIANCE}\n"
    "law = complete_square(Gaussian(0, v).log(y), y)\n"
    "proved('eq-t', law.var, v, given=['eq-bars'], where=bars)",
    "true without premises": "proved('eq-t', (a + b)**2, a**2 + 2*a*b + b**2, given=['eq-bars'])",
}


def sweep(*cells):
    return Sweep(statements(list(cells)))


def report(*cells):
    return {r.label: r for r in sweep(*cells).report()}


# -- premises ----------------------------------------------------------------------------------


def test_an_honest_derivation_falls_with_each_premise_it_declares():
    for rests in report(START, HONEST).values():
        assert rests.sound and rests.undeclared == []
        assert {p for p, _ in rests.killed_by} == {"eq-step", "eq-bars", "eq-bayes"}


@pytest.mark.parametrize("name", TAUTOLOGIES)
def test_a_planted_tautology_is_found(name):
    rests = report(START, HONEST, TAUTOLOGIES[name])["eq-t"]
    assert not rests.sound and rests.killed_by == [] and rests.idle == ["eq-bars"]


def test_a_declared_premise_that_does_not_matter_is_found():
    extra = "other = defined('eq-other', a * x)\n"
    cell = HONEST.replace('given=["eq-step",', 'given=["eq-other", "eq-step",')
    for rests in report(START, extra, cell).values():
        assert rests.idle == ["eq-other"] and rests.killed_by and not rests.sound


def test_an_undeclared_premise_is_reported():
    cell = HONEST.replace('"eq-step", ', "")
    for rests in report(START, cell).values():
        assert rests.undeclared == ["eq-step"] and rests.sound


def test_a_premise_that_is_itself_proved_kills_through_what_both_rest_on():
    cell = "proved('eq-precision', 1 / posterior.var, B**2 / (B1**2 * b**2), "
    cell += "given=['eq-variance', 'eq-bars'], where=bars)"
    rests = report(START, HONEST, cell)["eq-precision"]
    assert rests.sound and rests.undeclared == []
    assert set(rests.through["eq-variance"]) == {"eq-step", "eq-bars", "eq-bayes"}


def test_a_premise_in_words_is_listed_and_not_counted():
    cell = "cited('eq-paper', 'a paper')\n" + HONEST.replace("given=[", "given=['eq-paper', ")
    for rests in report(START, cell).values():
        assert rests.wordless == ["eq-paper"] and rests.sound


def test_a_derivation_that_breaks_down_counts_as_refuted():
    cell = "assert step.var == b**2\nroot = sp.sqrt(step.var)\nproved('eq-t', root, b)"
    later = "if step.var != b**2:\n    raise ValueError('refused')\nproved('eq-u', step.var, b**2)"
    found = report(START, cell, later)
    assert {p for p, _ in found["eq-t"].killed_by} == {"eq-step"}
    cell = "def derive(v):\n    if v != b**2: raise ValueError('no')\n    return v\n"
    found = report(START, cell + "proved('eq-v', derive(step.var), b**2)")
    assert found["eq-v"].killed_by == [("eq-step", "var times 3/2")]


def test_what_does_not_use_the_premise_survives_it():
    base = sweep(START, HONEST, "proved('eq-t', 2 * a, a + a)")
    for k in range(2):
        assert base.fall("eq-step", k) == {"eq-mean", "eq-variance"}


def test_what_sympy_is_asked_again_of_a_wrong_premise_is_asked_anew():
    cell = "root, = sp.solve(step.var - x, x)\nproved('eq-t', root, b**2)\n"
    cell += "same, = sp.solve(a - x0, x0)\nproved('eq-u', same, a)"
    base = sweep(START, cell)
    assert all(base.fall("eq-step", k) == {"eq-t"} for k in (1, 3))  # the variance
    assert all(base.fall("eq-step", k) == set() for k in (0, 2))  # the mean


def test_an_answer_is_remembered_for_the_very_same_arguments(monkeypatch):
    x, asked, solve = sp.Symbol("x"), [], sp.solve
    monkeypatch.setattr(sp, "solve", lambda *a, **o: asked.append(a) or solve(*a, **o))
    with remembering({}):
        sp.solve(x**2 - 1, x).append("spoiled")
        assert sp.solve(x**2 - 1, x) == [-1, 1] and len(asked) == 1
        assert sp.solve(x**2 - 4, x) == [-2, 2]
        assert sp.solve(x**2 - 1, x, dict=True) == [{x: -1}, {x: 1}]
        assert sp.solve([x - 1], x) == sp.solve([x - 1], x) == {x: 1} and len(asked) == 5
    assert sp.solve(x**2 - 1, x) == [-1, 1] and len(asked) == 6


def test_the_notebook_must_hold_as_it_stands():
    with pytest.raises(AssertionError, match="eq-t: the two sides differ"):
        sweep(START, "proved('eq-t', a, b)")
    with pytest.raises(AssertionError, match=r"NameError: name 'nothing'"):
        sweep(START, "nothing + 1")
    with pytest.raises(AssertionError, match="no check ran"):
        sweep("x = 1")
    with pytest.raises(ValueError, match="'eq-step' twice"):
        sweep(START, "defined('eq-step', a)")


def test_the_context_and_the_environment_hand_out_wrong_premises(monkeypatch, capsys):
    x = sp.Symbol("x")
    with mutating("eq-slope", 1):
        assert defined("eq-slope", 2 * x) == 2 * x + 1
        assert defined("eq-other", 2 * x) == 2 * x
        with mutating("eq-other"):
            assert defined("eq-slope", 2 * x) == 2 * x
            with pytest.raises(Refuted):
                proved("eq-sum", defined("eq-other", x), x)
    assert defined("eq-slope", 2 * x) == 2 * x
    monkeypatch.setenv("KEXUE_PREMISE", "eq-slope:0")
    assert defined("eq-slope", 2 * x) == 3 * x
    assert capsys.readouterr().out.count("eq-slope · defined") == 4


@pytest.mark.parametrize(
    "value",
    [
        sp.Symbol("x"),
        sp.Integer(0),
        3,
        (sp.Symbol("x"), 2),
        {sp.Symbol("a"): sp.Symbol("b")},
        Gaussian(0, sp.Symbol("v", positive=True)),
        np.array([0.0, 1.0]),
        torch.tensor([2.0, 3.0]),
    ],
    ids=str,
)
def test_every_fault_is_a_fault(value):
    found = faults(value)
    assert found
    for name, wrong in found:
        same = wrong == value
        assert not (same.all() if hasattr(same, "all") else same), name


def test_faults_of_a_function_change_its_result_or_an_argument():
    wrong = dict(faults(lambda mean, var: sp.Rational(mean, var)))
    assert [f(4, 2) for f in wrong.values()] == [3, 3, 3, sp.Rational(4, 3)]
    assert list(wrong) == ["result times 3/2", "result plus 1", "mean times 3/2", "var times 3/2"]
    arrays = dict(faults(lambda t: t**2))
    assert [float(f(torch.tensor(2.0))) for f in arrays.values()] == [6, 5, 9]


# -- stated expressions ------------------------------------------------------------------------


def outcome(derived, stated, where=None):
    with listening() as heard:
        proved("eq-x", derived, stated, where=where)
    return heard[0]


def test_all_mutants_of_a_true_statement_are_killed():
    outcomes = run_honest(statements([START, HONEST])).outcomes
    for label, least in (("eq-mean", 50), ("eq-variance", 20)):
        score = score_stated(outcomes[label])
        assert score.killed == score.total >= least
        assert score.survived == score.equivalent == []


def test_every_kind_of_mutant_is_made():
    t = sp.Symbol("n", integer=True, positive=True)
    beta, x = symbols(r"\beta_t x", real=True)
    names = " / ".join(name for name, _ in mutants(sp.sqrt(beta) * x**t - t * x + 1))
    for kind in ("sign of", "dropped", "doubled", "factor", "to the power", "negated", "halved",
                 "swapped", "shifted to", "one more", "squared"):  # fmt: skip
        assert kind in names


def test_derivatives_have_mutants_of_their_own():
    x, t = sp.symbols("x t", real=True)
    p, f = sp.Function("p")(x, t), sp.Function("f")(x)
    stated = sp.diff(p, x, 2) + sp.diff(f * p, x)
    found = {name: mutant for name, mutant in mutants(stated)}
    assert sp.diff(p, x) + sp.diff(f * p, x) in found.values()
    assert sp.diff(p, x, 3) + sp.diff(f * p, x) in found.values()
    assert not any("squared" in name for name in found)  # p(x^2, t) is no slip in print
    score = score_stated(outcome(stated, stated))
    assert score.killed == score.total > 20
    inside = sp.Function("p")(sp.tanh(x))
    assert sp.Function("p")(sp.tanh(x**2)) in [mutant for _, mutant in mutants(inside)]


def test_index_shift_prefers_the_chapters_own_symbol():
    beta = sp.Symbol(r"\bar{\beta}_{t}", positive=True)
    before = sp.Symbol(r"\bar\beta_{t - 1}", positive=True)
    from kexue.ledger.tex import spelling

    assert neighbors(beta, {spelling(before.name): before}) == [before]
    assert neighbors(before, {spelling(beta.name): beta}) == [beta]
    assert neighbors(sp.Symbol("x_s"))[0].name == "x_{s-1}"


def test_equal_under_the_premises_is_reported_with_the_reason():
    """x (A^2 + B^2) with B^2 = 1 - A^2: the bracket may be dropped, and the report says why."""
    A, B, x = sp.symbols("A B x", positive=True)
    found = outcome(x, x * (A**2 + B**2), {B: sp.sqrt(1 - A**2)})
    score = score_stated(found)
    assert score.survived == []
    reasons = dict(score.equivalent)
    assert reasons["factor A**2 + B**2 dropped"] == "equal once B = sqrt(1 - A**2)"


def test_a_statement_that_vanishes_under_the_premises_is_called_bad():
    A, B = sp.symbols("A B", positive=True)
    found = outcome(sp.Integer(0), A - B, {B: A})
    assert score_stated(found).flat == ["A - B"]


def test_a_comparison_that_cannot_fail_is_noticed(monkeypatch):
    """Make the check accept whatever it is shown: every mutant survives and is listed."""
    import kexue.ledger.stated as stated

    x = sp.Symbol("x", positive=True)
    found = outcome((x + 1) ** 2, x**2 + 2 * x + 1)
    honest = stated._refused
    monkeypatch.setattr(
        stated, "_refused", lambda a, b, w: a is not found.derived and honest(a, b, w)
    )
    score = score_stated(found)
    assert score.killed == 0 and len(score.survived) == score.total > 10


def test_a_sample_is_a_part_of_all_and_the_same_each_time():
    whole = outcome((sp.Symbol("x") + 1) ** 3, sp.expand((sp.Symbol("x") + 1) ** 3))
    one, two = score_stated(whole, sample=10), score_stated(whole, sample=10)
    assert one == two
    assert one.total <= 10 < score_stated(whole).total


# -- the tool ----------------------------------------------------------------------------------


def notebook(path, *sources, tags=("ledger",)):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {"tags": list(tags)}, "source": source,
         "outputs": [], "execution_count": None}
        for i, source in enumerate(sources)
    ]  # fmt: skip
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    )
    return path


def test_the_tool_passes_an_honest_notebook(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", START, HONEST)
    assert mutate.main([str(path), "--sample", "10"]) == 0
    text = capsys.readouterr().out
    assert "total 20 / 20 killed, 100.0 %" in text
    assert "2 of 2 proved equations fall with a wrong premise" in text


def test_the_tool_fails_a_tautology_and_says_so(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", START, HONEST, TAUTOLOGIES["retyped"])
    assert mutate.main([str(path), "--stated", "--sample", "5"]) == 0
    assert mutate.main([str(path), "--premises"]) == 1
    text = capsys.readouterr().out
    assert "FAILED eq-t: no wrong premise refutes it" in text
    assert "FAILED eq-t: declares eq-bars, which does not matter" in text


def test_the_tool_fails_a_notebook_without_tagged_cells(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", START, HONEST, tags=())
    assert ledger_cells(path) == []
    assert mutate.main([str(path)]) == 1
    assert "no cell is tagged" in capsys.readouterr().out


def test_tagged_cells_run_without_torch():
    """What carries the tag needs SymPy alone, so that mutation is quick."""
    code = (
        "import sys\nfrom kexue.ledger.runner import run, statements\n"
        f"result = run(statements([{START!r}, {HONEST!r}]))\n"
        "assert not result.raised and len(result.outcomes) == 5, result\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_shows_nothing(capsys):
    run(statements([START, "print('loud')"]))
    assert capsys.readouterr().out == ""


def test_the_five_lines_of_contributing_hold_and_are_no_tautology():
    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("in five lines")[1]
    code = section.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 5
    (rests,) = report(
        "from kexue.ledger import defined, proved\n"
        "from kexue.symbolic import Gaussian, complete_square, symbols",
        code,
    ).values()
    assert rests.sound and rests.undeclared == []


# -- the numerical core ------------------------------------------------------------------------


def test_the_score_of_a_room_is_read_from_mutmuts_files(tmp_path, capsys):
    codes = {"a": 1, "b": 1, "c": 0, "d": 33, "e": None, "f": -24}
    (tmp_path / "mutants" / "kexue").mkdir(parents=True)
    meta = tmp_path / "mutants" / "kexue" / "schedule.py.meta"
    meta.write_text(json.dumps({"exit_code_by_key": codes}))
    fates = mutate_core.read(tmp_path)
    assert list(fates.values()) == [
        "killed", "killed", "survived", "not reached", "not run", "timed out or crashed",
    ]  # fmt: skip
    assert mutate_core.summary("schedule", fates) == (
        "schedule: 2 of 3 mutants killed (67 %); 1 timed out or crashed; 1 not reached; 1 not run"
    )
    origin = "def x_f__mutmut_orig(a, t='t'):\n    return a + 2 * a\n"
    source = origin
    for number, change in enumerate([("+", "-"), ("2", "3"), ("'t'", "'T'"), ("a + 2", "None")]):
        source += origin.replace(*change).replace("orig", str(number))
    (tmp_path / "mutants" / "kexue" / "schedule.py").write_text(source)
    assert mutate_core.differences(tmp_path) == {
        "kexue.schedule.x_f__mutmut_0": (True, "return a + 2 * a  ->  return a - 2 * a"),
        "kexue.schedule.x_f__mutmut_1": (True, "return a + 2 * a  ->  return a + 3 * a"),
        "kexue.schedule.x_f__mutmut_2": (False, "def f(a, t='t'):  ->  def f(a, t='T'):"),
        "kexue.schedule.x_f__mutmut_3": (False, "return a + 2 * a  ->  return None * a"),
    }
    with pytest.raises(SystemExit):
        mutate_core.main(["ledger.tex"])
    assert "needs one of schedule" in capsys.readouterr().err


def test_equivalent_mutants_have_a_reason_and_a_function_that_exists(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# words\n\nkexue.a.f\na + 1  ->  a - 1\nbecause\n")
    assert mutate_core.equivalents(path) == {("kexue.a.f", "a + 1  ->  a - 1"): "because"}
    path.write_text("kexue.a.f\na + 1  ->  a - 1\n")
    with pytest.raises(ValueError, match="three an entry"):
        mutate_core.equivalents(path)
    for where, change in mutate_core.equivalents():
        module, _, name = where.rpartition(".")
        while not (ROOT / f"{module.replace('.', '/')}.py").exists():
            module = module.rpartition(".")[0]
        old, arrow, new = change.partition("  ->  ")
        assert arrow and old != new and mutate_core.compare(old, new)[0]
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
        assert f"def {name}(" in source, where
