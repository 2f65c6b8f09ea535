"""The claims of book/scaling/scaling-laws, guarded through kexue and the stored records."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from kexue import scaling
from kexue.scaling import QuantaModel

NOTEBOOK = Path(__file__).parents[2] / "book" / "scaling" / "scaling-laws.ipynb"
F64 = torch.float64
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PAPER = (0.275, 0.274, 0.297, 0.308, 0.335, 0.357, 0.373, 0.404)  # direction of data


def evaluate(record: dict, part: int = 0, **values: float) -> float:
    """A stated expression of a record, symbols given by their TeX names."""
    expression = sp.sympify(record["srepr"][part])
    point = {s: values[s.name] for s in expression.free_symbols if s.name in values}
    return float(expression.subs(point))


def test_every_numbered_equation_has_one_record_and_most_are_checked(records, labels):
    assert sorted(labels) == sorted(records)
    kinds = [record["kind"] for record in records.values()]
    assert kinds.count("proved") >= 22
    assert kinds.count("measured") >= 1


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.3])
def test_the_checked_formulas_are_the_code(records, alpha):
    model = QuantaModel(alpha)
    at = {r"\alpha": alpha, "Z": model.normalizer, "n": 12.0, "k": 7.0}
    assert evaluate(records["eq-scale-zipf"], **at) == pytest.approx(model.frequency(7).item())
    for label, shift in (("eq-scale-tail", 0.0), ("eq-scale-half", 0.5)):
        wanted = model.asymptotic_loss(12.0, shift).item()
        assert evaluate(records[label], **at) == pytest.approx(wanted, rel=1e-3)
    assert evaluate(records["eq-scale-half"], **at) == pytest.approx(
        model.tail(12).item(), rel=1e-5
    )
    at |= {"D": 5e4, r"\tau": 20.0}
    learned = model.learned(5e4, direction="data", scale=20.0).item()
    assert evaluate(records["eq-scale-seen"], **at) == pytest.approx(learned)
    for direction in ("parameters", "data", "steps"):
        stated = evaluate(records[f"eq-scale-{direction}"], **at)
        assert stated == pytest.approx(scaling.exponent(alpha, direction))
    stated = evaluate(records["eq-scale-rho"], **at, **{r"\rho": 0.8})
    assert stated == pytest.approx(scaling.exponent(alpha, "steps", 0.8))


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8])
def test_with_finitely_many_tasks(records, alpha):
    """The local slope of the code is the page's once the half in n + 1/2 does not matter."""
    K, n = 10**6, 10**4
    model = QuantaModel(alpha, K)
    at = {r"\alpha": alpha, "Z": model.normalizer, "n": n, "K": K}
    stated = evaluate(records["eq-scale-slope"], **at)
    assert stated == pytest.approx(model.slope(n).item(), rel=1e-3)
    assert stated > alpha
    assert evaluate(records["eq-scale-truncated"], **at) == pytest.approx(
        model.tail(n).item(), rel=1e-3
    )
    few = QuantaModel(1e-6, K).slope(n).item()
    assert evaluate(records["eq-scale-slope-zero"], **at) == pytest.approx(few, rel=1e-3)


def test_every_course_has_the_same_exponent_and_its_own_constant(records):
    """eq-scale-any with the constants of the page, against sums over quanta."""
    alpha, model, S = 0.5, QuantaModel(0.5), 1e4
    p, far = model.frequency(torch.arange(1, 1_000_001)), model.tail(1_000_000)
    at = {r"\alpha": alpha, "Z": model.normalizer, "S": S, "T": 3.0}
    courses = {
        "eq-scale-jump": lambda y: (y < 3).double(),
        "eq-scale-decay": lambda y: torch.exp(-y),
    }
    for label, course in courses.items():
        loss = (p * course(p * S)).sum() + far
        law = evaluate(records["eq-scale-any"], **at, M_f=evaluate(records[label], **at))
        assert law == pytest.approx(loss.item(), rel=5e-3)
    # a plateau: Euler's beta function for the constant
    s = alpha / (alpha + 1)
    constant = float(mpmath.quad(lambda y: y ** (s - 1) / (1 + y) ** 2, [0, 1, mpmath.inf]))
    assert constant == pytest.approx(math.gamma(s) * math.gamma(2 - s), rel=1e-6)
    loss = (p * (1 + p * S) ** -2).sum() + far
    law = evaluate(records["eq-scale-any"], **at, M_f=constant)
    assert law == pytest.approx(loss.item(), rel=5e-3)


def test_counting_examples_is_a_course(records):
    """eq-scale-count at tau = 3 against quadrature of the Poisson probability."""
    alpha = 0.6
    stated = evaluate(records["eq-scale-count"], **{r"\alpha": alpha, r"\tau": 3})

    def below(y):
        return mpmath.exp(-y) * (1 + y + y**2 / 2)

    power = -1 / (alpha + 1)
    found = mpmath.quad(lambda y: y**power * below(y), [0, 0.01, 1, 10, mpmath.inf])
    assert stated == pytest.approx(float(found), rel=1e-6)


def test_losses_of_rare_things(records):
    """Case 1 against a sum with its tail, case 2's entropy against the sum, alpha = 1/2."""
    alpha, n = 0.5, 1000
    model = QuantaModel(alpha)
    s = alpha + 1
    z, slope = float(mpmath.zeta(s)), float(mpmath.zeta(s, derivative=1))
    tail, bent = (float(mpmath.zeta(s, n + 1, d)) for d in (0, 1))
    exact = (math.log(z) * tail - s * bent) / z
    at = {r"\alpha": alpha, "Z": model.normalizer, "n": n, "Z'": slope}
    assert evaluate(records["eq-scale-case-one"], **at) == pytest.approx(exact, rel=1e-3)
    p = model.frequency(torch.arange(1, 10**6 + 1))
    far = 10**6
    rest = (
        math.log(z) * float(mpmath.zeta(s, far + 1)) - s * float(mpmath.zeta(s, far + 1, 1))
    ) / z
    entropy = -(p * p.log()).sum().item() + rest
    assert math.log(z) - s * slope / z == pytest.approx(entropy, rel=1e-9)
    assert evaluate(records["eq-scale-entropy"], **at) == pytest.approx(entropy, rel=1e-9)


def test_compute_is_spent_as_the_page_says(records):
    compute = torch.tensor([1e8, 1e10], dtype=F64)
    for alpha in (0.34, 1.0):
        split = scaling.optimal_split(compute, alpha, parameters=3.0, steps=2.0)
        powers = [
            math.log(x[1] / x[0]) / math.log(100)
            for x in (split.parameters, split.steps, 1 / split.loss)
        ]
        stated = [evaluate(records["eq-scale-compute"], i, **{r"\alpha": alpha}) for i in range(3)]
        assert powers == pytest.approx(stated, rel=1e-9)
        ratio = 3 * split.parameters**-alpha / (2 * split.steps ** (-alpha / (alpha + 1)))
        assert ratio.tolist() == pytest.approx([1 / (alpha + 1)] * 2)  # exercise 8


def test_five_hundred_tasks_explain_the_exponents_of_the_paper():
    """Up to 0.3 the finite theory is at least five times closer, with one number for all eight."""
    sizes = torch.logspace(4, math.log10(5e6), 25, dtype=F64)

    def forecast(alpha, tasks):
        model = QuantaModel(alpha, tasks)
        number = model.learned(sizes, direction="data", scale=20_000).floor()
        losses = model.loss(number)
        use = losses < 0.95
        return scaling.fit_power_law(sizes[use], losses[use], resamples=0).exponent

    finite = np.array([forecast(alpha, 500) for alpha in ALPHAS])
    endless = np.array([forecast(alpha, None) for alpha in ALPHAS])
    asymptotic = np.array(ALPHAS) / (1 + np.array(ALPHAS))
    miss = [np.abs(x - PAPER)[:3].mean() for x in (finite, endless, asymptotic)]
    assert miss[0] < 0.025
    assert miss[0] * 5 < min(miss[1:])
    assert np.abs(finite - PAPER).max() < 0.04


def test_the_speed_that_the_page_tells_is_the_benchmark_s():
    stored = Path(__file__).parents[2] / "benchmarks" / "results" / "sparse_parity_cuda.json"
    first, tuned, *_ = json.loads(stored.read_text())["rows"]
    text = NOTEBOOK.read_text(encoding="utf-8")
    steps = 16 / first["ours"]
    assert f"${steps / 1000:.0f}$ thousand steps a second" in text
    assert f"${round(first['ratio'], -1):,.0f}$ times the public".replace(",", "{,}") in text
    assert f"${tuned['ratio']:.0f}$ times that code tuned" in text
    assert 1 / 8 < first["share"] < 1 / 6  # the two products are a seventh


def test_a_forgotten_floor():
    """Hoffmann's 0.34 reads as less than 0.09."""
    N = torch.logspace(7, 10, 20, dtype=F64)
    loss = 1.69 + 406.4 * N**-0.34
    assert scaling.fit_power_law(N, loss, resamples=0).exponent < 0.09
    with_floor = scaling.fit_power_law(N, loss, floor=True, resamples=0)
    assert with_floor.exponent == pytest.approx(0.34, abs=1e-4)


def test_geometric_frequencies_give_exponent_one():
    """Exercise 9: R_n = q p_n / (1 - q), and D p_n = tau."""
    q = 0.7
    p = (1 - q) * q ** np.arange(200)
    sizes = np.array([1e3, 1e6, 1e9])
    rest = [p[size * p < 20].sum() for size in sizes]
    slopes = -np.diff(np.log(rest)) / np.diff(np.log(sizes))
    assert slopes == pytest.approx([1, 1], abs=0.06)
