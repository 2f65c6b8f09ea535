"""The claims of book/diffusion/fokker-planck, guarded through kexue and the stored records."""

import math
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.integrate import quad
from torch.distributions import Normal

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    SDE,
    TEST_FUNCTIONS,
    DoubleWell,
    FiniteVolumes,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    advance,
    euler_step,
    platen_step,
    probability_flow,
    reverse,
    same_marginals,
    simulate,
)

NOTEBOOK = Path(__file__).parents[2] / "book" / "diffusion" / "fokker-planck.ipynb"
F64 = torch.float64
WELL = DoubleWell(0.8)


def evaluate(record: dict, part: int = 0, **values: float) -> float:
    """A stated expression of a record, symbols and functions given by their TeX names."""
    expression = sp.sympify(record["srepr"][part])
    point = {}
    for atom in expression.atoms(sp.Symbol, sp.core.function.AppliedUndef):
        name = str(getattr(atom, "name", atom.func))
        if name in values:
            point[atom] = values[name]
    return float(expression.doit().subs(point))


def normal(mean: float, deviation: float) -> Normal:
    return Normal(torch.tensor(mean, dtype=F64), deviation)


def test_the_checked_formulas_are_the_code(records):
    """Formula = code: what was proved, evaluated, against what kexue.fokker_planck does."""
    ou = OrnsteinUhlenbeck(theta=1.3, sigma=0.7)
    one = torch.ones(1, dtype=F64)
    law = ou.law(0.4, GaussianMixture(one, 2 * one, 0.3 * one))
    at = {r"\theta": 1.3, r"\sigma": 0.7, "t": 0.4, "m_0": 2.0, "v_0": 0.3}
    assert evaluate(records["eq-fp-ou-law"], 0, **at) == pytest.approx(law.mean.item())
    assert evaluate(records["eq-fp-ou-law"], 1, **at) == pytest.approx(law.variance.item())
    gbm = GeometricBrownian(mu=0.2, sigma=0.5).law(0.7, 1.4)
    for y in (0.5, 1.1, 3.0):
        at = {r"\mu": 0.2, r"\sigma": 0.5, "t": 0.7, "y_0": 1.4, "y": y}
        density = gbm.log_prob(torch.tensor(y, dtype=F64)).exp().item()
        assert evaluate(records["eq-fp-lognormal"], **at) == pytest.approx(density, rel=1e-9)
    f, g, width = 1.7, 0.6, 0.1
    cells = FiniteVolumes(SDE(lambda x, t: torch.full_like(x, f), g), [(0, 1, 10)])
    Q = cells.rates(0.0).toarray()
    at = {"f": f, "D": g**2, r"\delta": width}
    for left, right in ((1.0, 0.0), (0.0, 1.0), (0.3, 0.8)):
        ends = {r"\rho_l": left, r"\rho_r": right}
        stated = evaluate(records["eq-fp-cells"], **at, **ends)
        assert stated == pytest.approx(width * (Q[5, 4] * left - Q[4, 5] * right), rel=1e-9)


def test_every_numbered_equation_has_one_record_and_most_are_checked(records, labels):
    assert sorted(labels) == sorted(records)
    kinds = [record["kind"] for record in records.values()]
    assert kinds.count("proved") >= 18
    assert kinds.count("measured") >= 3


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 1.5])
def test_the_dial_moves_paths_and_not_the_law(noise):
    start = GaussianMixture(
        torch.tensor([0.6, 0.4], dtype=F64),
        torch.tensor([-1.5, 1.0], dtype=F64),
        torch.tensor([0.05, 0.05], dtype=F64),
    )
    ou = OrnsteinUhlenbeck(1.0, math.sqrt(2))
    generator = torch.Generator().manual_seed(0)
    x = start.sample((20_000,), generator=generator)
    sde = same_marginals(ou, lambda x, t: ou.law(t, start).score(x), noise=noise)
    x = advance(sde, x, 0.0, 0.5, 100, platen_step, generator=generator)
    law = ou.law(0.5, start)
    for phi in TEST_FUNCTIONS.values():
        grid = torch.linspace(-8, 8, 4001, dtype=F64)
        exact = torch.trapezoid(phi(grid) * law.log_prob(grid).exp(), grid).item()
        value = phi(x)
        assert abs(value.mean().item() - exact) < 4 * value.std().item() / math.sqrt(len(x)) + 1e-3


def test_flow_and_reversal_have_the_factors_one_half_and_one():
    heat = SDE(lambda x, t: 0 * x, 2.0)
    score = lambda x, t: -x / (1 + 4 * t)  # noqa: E731  (of N(0, 1 + 4 t))
    x = torch.tensor([1.5], dtype=F64)
    assert probability_flow(heat, score).drift(x, 0.5).item() == pytest.approx(2 * 1.5 / 3)
    assert reverse(heat, score, 0.5).drift(x, 0.0).item() == pytest.approx(-4 * 1.5 / 3)
    half = reverse(heat, score, 0.5, noise=0.5).drift(x, 0.0).item()
    assert half == pytest.approx(-(1 + 0.25) / 2 * 4 * 1.5 / 3)


def test_particles_and_cells_agree_and_give_the_numbers_of_the_page():
    begin = normal(-1.0, 0.2)
    cells = FiniteVolumes(WELL, [(-3, 3, 480)])
    p0 = cells.project(begin)
    *_, p1 = cells.evolve(p0, [0.0, 1.0], substeps=200)
    assert abs(cells.mass(p1) - cells.mass(p0)) < 1e-12 and p1.min() > 0
    generator = torch.Generator().manual_seed(1)
    x = -1 + 0.2 * torch.randn(200_000, generator=generator, dtype=F64)
    x = advance(WELL, x, 0.0, 1.0, 100, platen_step, generator=generator)
    known = {"tanh": -0.5770, "cos": 0.5998, "x^2": 0.9002}
    for name, value in known.items():
        phi = TEST_FUNCTIONS.get(name, torch.square)
        assert cells.expect(p1, phi) == pytest.approx(value, abs=2e-4)
        error = phi(x).std().item() / math.sqrt(len(x))
        assert abs(phi(x).mean().item() - cells.expect(p1, phi)) < 4 * error


def test_without_the_second_order_term_the_rate_is_off_by_half_g_squared_times_the_bend():
    """At rest E x^2 does not move, and the drift alone gives -g^2: what is missing is the noise."""
    law = WELL.stationary()
    density = lambda x: math.exp(law.log_prob(torch.tensor(x, dtype=F64)).item())  # noqa: E731
    drift = quad(lambda x: density(x) * (x - x**3) * 2 * x, -5, 5)[0]
    assert drift == pytest.approx(-(0.8**2), rel=1e-6)  # the noise term gives +g^2: at rest


def test_coins_and_bells_have_one_limit_and_one_rate():
    """Euler on the OU process: the variance after n steps is the same for any unit noise."""
    ou, n = OrnsteinUhlenbeck(1.0, 1.0), 50
    variances = []
    for noise in ("normal", "two-point"):
        generator = torch.Generator().manual_seed(2)
        x = advance(
            ou, torch.ones(200_000, dtype=F64), 0.0, 1.0, n, noise=noise, generator=generator
        )
        variances.append(x.var().item())
    h = 1 / n
    exact = (1 - (1 - h) ** (2 * n)) / (2 - h)
    assert variances == pytest.approx([exact, exact], rel=0.015)


def test_the_boundary_term_of_the_cauchy_law_is_the_whole_rate():
    """E arctan rises at rate one while the density stands still; a bump sees no difference."""
    p = lambda x: 1 / (math.pi * (1 + x**2))  # noqa: E731
    rate = quad(lambda x: p(x) * (1 + x**2) / (1 + x**2), -np.inf, np.inf)[0]
    assert rate == pytest.approx(1)
    bump = lambda x: math.exp(-1 / (1 - x**2)) if abs(x) < 1 else 0.0  # noqa: E731
    slope = lambda x: bump(x) * -2 * x / (1 - x**2) ** 2 if abs(x) < 1 else 0.0  # noqa: E731
    assert quad(lambda x: p(x) * (1 + x**2) * slope(x), -1, 1)[0] == pytest.approx(0, abs=1e-12)


def test_a_kink_costs_platens_method_its_second_order():
    """A quarter of the step divides the error by less than sixteen where the drift has a kink."""
    begin, generator = normal(0.3, 0.3), torch.Generator()
    ratios = {}
    for name, f in {"sign": torch.sign, "tanh": lambda x: torch.tanh(2 * x)}.items():
        sde = SDE(lambda x, t, f=f: -f(x), 1.0)
        cells = FiniteVolumes(sde, [(-6, 6, 1200)], steady=True)
        *_, p = cells.evolve(cells.project(begin), [0.0, 1.0], substeps=200)
        errors = []
        for n in (2, 8):
            x = 0.3 + 0.3 * torch.randn(2**20, generator=generator.manual_seed(3))
            x = advance(sde, x, 0.0, 1.0, n, platen_step, generator=generator)
            errors.append(x.double().square().mean().item() - cells.expect(p, torch.square))
        ratios[name] = errors
    assert 4 < ratios["sign"][0] / ratios["sign"][1] < 13  # 16 if the order were two
    assert max(map(abs, ratios["tanh"])) < 0.004 < ratios["sign"][1] + 0.001


def test_the_naive_flux_goes_negative_and_the_exponential_one_does_not():
    calm = OrnsteinUhlenbeck(1.0, 0.2)
    lowest = {}
    for flux in ("central", "exponential"):
        cells = FiniteVolumes(calm, [(-3, 3, 60)], flux=flux)
        p0 = cells.project(normal(1.5, 0.2))
        *_, p = cells.evolve(p0, [0.0, 2.0], substeps=40, method="implicit-euler")
        lowest[flux] = p.min().item()
    assert lowest["central"] < -0.01 and lowest["exponential"] >= 0


def test_the_steps_of_the_text_leave_the_well():
    x = torch.tensor([9.0], dtype=F64)
    eps = torch.zeros(1, dtype=F64)
    first = euler_step(WELL, x, 0.0, 0.25, eps)
    second = euler_step(WELL, first, 0.25, 0.25, eps)
    assert first.item() == pytest.approx(-171) and second.item() > 1e6


# -- exercises -----------------------------------------------------------------------------------


def test_exercise_1_the_fourth_moment():
    generator = torch.Generator().manual_seed(4)
    free = SDE(lambda x, t: 0 * x, 0.6)
    x = advance(free, torch.zeros(400_000, dtype=F64), 0.0, 2.0, 8, generator=generator)
    assert x.pow(4).mean().item() == pytest.approx(3 * 0.6**4 * 4, rel=0.02)


def test_exercise_2_the_tent():
    g = 0.7
    tent = FiniteVolumes(SDE(lambda x, t: -torch.sign(x), g), [(-6, 6, 4001)])
    p = tent.stationary()
    assert p.max().item() == pytest.approx(1 / g**2, rel=0.01)
    assert tent.expect(p, torch.square) == pytest.approx(g**4 / 2, rel=0.01)


def test_exercise_5_the_variance_that_a_step_leaves():
    theta, sigma, h = 1.5, 0.8, 0.4
    v = w = 0.0
    for _ in range(200):
        v = (1 - theta * h) ** 2 * v + sigma**2 * h
        w = (w + sigma**2 * h) / (1 + theta * h) ** 2
    assert v == pytest.approx(sigma**2 / (2 * theta - theta**2 * h))
    assert w == pytest.approx(sigma**2 / (2 * theta + theta**2 * h))


def test_exercise_8_rest_that_is_not_still():
    """The rotating drift keeps the Gaussian, and its probability flow only rotates."""
    omega, g = 2.0, 1.2
    turn = torch.tensor([[0.0, omega], [-omega, 0.0]], dtype=F64)
    sde = SDE(lambda x, t: -x + x @ turn, g)
    flow = probability_flow(sde, lambda x, t: -2 * x / g**2)
    x = torch.randn(50, 2, dtype=F64)
    torch.testing.assert_close(flow.drift(x, 0.0), x @ turn)


def test_exercise_9_the_time_to_cross_in_two_ways(cells):
    potential = lambda x: x**4 / 4 - x**2 / 2  # noqa: E731
    g = 0.8

    def inner(y):
        return quad(lambda z: math.exp(-2 * potential(z) / g**2), -6, y)[0]

    outer = quad(lambda y: math.exp(2 * potential(y) / g**2) * inner(y), -1, 0)[0]
    exact = 2 / g**2 * outer
    grid = FiniteVolumes(WELL, [(-4, 4, 1601)])
    centers = np.asarray(grid.centers)
    left = centers < -1e-9
    R = grid.rates(0.0).toarray().T[np.ix_(left, left)]
    chain = np.interp(-1, centers[left], np.linalg.solve(R, -np.ones(left.sum())))
    assert chain == pytest.approx(exact, rel=1e-4)
    text = "".join("".join(c["source"]) for c in cells)
    assert "4.175" in text and exact == pytest.approx(4.175, abs=5e-4)


def test_simulate_yields_every_state_of_the_page():
    states = list(simulate(WELL, torch.zeros(3, dtype=F64), [0.0, 0.5, 1.0]))
    assert len(states) == 3 and torch.equal(states[0], torch.zeros(3, dtype=F64))
