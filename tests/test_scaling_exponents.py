"""What resources teach, and smooth decay: against the equations, minima, sums and quadrature."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from kexue.scaling import DIRECTIONS, QuantaModel, exponent, optimal_split

F64 = torch.float64


# What resources teach -----------------------------------------------------------------------------


@pytest.mark.parametrize("K", [None, 10**6])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_learned_solves_its_equation(alpha, K):
    model = QuantaModel(alpha, K)
    n = torch.tensor([1.5, 10.0, 1e3, 2.5e5], dtype=F64)
    p = model.frequency(n)
    for direction, rho, resource in (
        ("parameters", 1.0, 7.0 * n),
        ("data", 1.0, 7.0 / p),
        ("steps", 1.0, 7.0 / p),
        ("steps", 0.8, 7.0 / p**0.8),
    ):
        how = {"direction": direction, "scale": 7.0, "rho": rho}
        torch.testing.assert_close(model.learned(resource, **how), n, rtol=1e-12, atol=0)
        torch.testing.assert_close(model.predicted_loss(resource, **how), model.loss(n))
        if K is None:  # and its power law, at last
            far = 1e12 * resource[-1]
            one, two = model.predicted_loss(torch.stack([far, far * math.e]), **how).log()
            assert (one - two).item() == pytest.approx(exponent(alpha, direction, rho), rel=1e-5)


def test_learned_at_the_ends():
    model = QuantaModel(0.5, 20)
    for direction in DIRECTIONS:
        first = 7.0 if direction == "parameters" else 7.0 / model.frequency(1).item()
        resource = torch.tensor([0.0, first * (1 - 1e-12), first * (1 + 1e-12), 1e300], dtype=F64)
        n = model.learned(resource, direction=direction, scale=7.0)
        torch.testing.assert_close(n, torch.tensor([0.0, 0.0, 1.0, 20.0], dtype=F64))
        loss = model.predicted_loss(resource, direction=direction, scale=7.0)
        assert loss[1] == 1 and loss[3] == 0


def test_exponents_and_how_they_are_bound():
    for alpha in (0.05, 0.5, 2.0):
        n, d = exponent(alpha, "parameters"), exponent(alpha, "data")
        assert d == pytest.approx(n / (n + 1)) and d < n and d < 1
        assert exponent(alpha, "steps") == d
        assert exponent(alpha, "steps", rho=0.5) == pytest.approx(2 * d)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 2.0])
def test_optimal_split_is_the_minimum(alpha):
    weights = {"parameters": 3.0, "steps": 5.0, "cost": 6.0}
    compute = torch.tensor([1e6, 1e9, 1e12], dtype=F64)
    best = optimal_split(compute, alpha, **weights)
    torch.testing.assert_close(6 * best.parameters * best.steps, compute)

    def loss(log_n, c):
        n = math.exp(log_n)
        return 3 * n**-alpha + 5 * (c / (6 * n)) ** -(alpha / (alpha + 1))

    for c, n, lowest in zip(compute.tolist(), best.parameters, best.loss, strict=True):
        found = minimize_scalar(loss, (0, 5), args=(c,), tol=1e-12)
        assert lowest.item() == pytest.approx(found.fun, rel=1e-12)
        assert math.log(n) == pytest.approx(found.x, abs=1e-4)
    for values, power in zip(best, (1, alpha + 1, -alpha), strict=True):
        slopes = values.log().diff() / compute.log().diff()
        torch.testing.assert_close(slopes, torch.full_like(slopes, power / (alpha + 2)))


# Smooth decay -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.4])
def test_decay_of_finitely_many_by_brute_force(alpha):
    K = 300
    p = np.arange(1, K + 1.0) ** -(alpha + 1)
    p /= p.sum()
    steps = [0.0, 1.0, 50.0, 1e4]
    exact = [2 + 3 * math.fsum(p * np.exp(-x * p)) for x in steps]
    loss = QuantaModel(alpha, K, before=5.0, after=2.0).decay_loss(steps)
    torch.testing.assert_close(loss, torch.tensor(exact, dtype=F64), rtol=1e-14, atol=0)


def test_decay_of_infinitely_many():
    """A million terms as they are, and the rest by another formula than ours: since S p_K is small,
    sum_{k>K} p_k (1 - S p_k + ...), term by term a zeta."""
    K = 10**6
    k = torch.arange(1, K + 1, dtype=F64)
    steps = [0.0, 3e-7, 0.02, 5.0, 3e4, 2e6]
    for alpha in (0.2, 0.5, 1.0):
        s, z = alpha + 1, float(mpmath.zeta(alpha + 1))
        p = k**-s / z
        direct = []
        for x in steps:
            terms = range(1, 12)
            rest = math.fsum(
                (-x) ** (j - 1) / math.factorial(j - 1) * z**-j * float(mpmath.zeta(j * s, K + 1))
                for j in terms
            )
            direct.append((p * torch.exp(-x * p)).sum().item() + rest)
        got = QuantaModel(alpha).decay_loss(steps)
        torch.testing.assert_close(got, torch.tensor(direct, dtype=F64), rtol=2e-12, atol=0)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
def test_decay_has_the_constant_of_its_power_law(alpha):
    beta, z = alpha / (alpha + 1), float(mpmath.zeta(alpha + 1))
    constant = math.gamma(beta) / (alpha + 1) * z ** (-1 / (alpha + 1))
    steps = torch.tensor([1e2, 1e3, 1e9], dtype=F64)
    ratio = QuantaModel(alpha).decay_loss(steps) / (constant * steps**-beta)
    off = (ratio - 1).abs().tolist()
    assert off[0] < 1e-5 and off[1] < 1e-11 and off[2] < 1e-12
    # That constant is an integral: of p e^{-S p} over all x > 0.
    integral, _ = quad(
        lambda t: math.exp(t * (1 - alpha - 1) - math.exp(-t * (alpha + 1))), -8, 400
    )
    assert constant == pytest.approx(integral * z**-1 * z**beta, rel=1e-8)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: exponent(0.5, "data", rho=0.5), r"rho: got 0.5 for data, needs 1"),
        (lambda: exponent(0.0, "data"), r"alpha: got 0"),
        (lambda: optimal_split(0.0, 0.5), r"compute: got a smallest value of 0"),
        (lambda: optimal_split(1.0, 0.5, cost=-1), r"cost: got -1"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()
