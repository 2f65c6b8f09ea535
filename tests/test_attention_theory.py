"""Random logits: against quadrature, draws, limits and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammaln, ive

from kexue.attention import (
    entropy,
    entropy_floor,
    entropy_gap,
    entropy_scale,
    mean_entropy,
    participation,
    participation_limit,
    sphere_entropy,
)

F64 = torch.float64
INF, NAN = math.inf, math.nan


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# Normal logits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1e-3, 0.3, 1.0, 4.0, 10.0])
def test_two_keys_by_quadrature(spread):
    """p = 1 / (1 + e^z) with z ~ N(0, 2 spread^2)."""

    def mean(f):
        scale = math.sqrt(2) * spread
        grid = np.linspace(-13, 13, 200_001)
        z = np.abs(grid) * scale
        p = 1 / (1 + np.exp(-z))
        weights = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
        return np.trapezoid(f(p, z) * weights, grid)

    squares = mean(lambda p, z: p**2 + (1 - p) ** 2)
    assert participation(2, spread) == pytest.approx(squares, rel=1e-11)
    h = mean(lambda p, z: -np.log(p) + (1 - p) * z)  # ln(1 - p) = ln p - z
    assert mean_entropy(2, spread) == pytest.approx(h, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17, 10**6, 10**12])
def test_one_key_and_even_logits(n):
    assert participation(n, 0.0) == 1 / n and mean_entropy(n, 0.0) == math.log(n)
    assert n * participation(n, 1e-4) == pytest.approx(1 + 1e-8 * (1 - 1 / n), rel=1e-11)
    for spread in (0.05, 1.0, 10.0):
        assert participation(1, spread) == pytest.approx(1, rel=1e-12)
        assert mean_entropy(1, spread) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("n, spread", [(3, 2.0), (30, 1.0), (300, 3.0), (300, 8.0)])
def test_against_draws(n, spread):
    s = spread * torch.randn(20_000, n, dtype=F64, generator=rng())
    for values, exact in (
        (s.softmax(-1).square().sum(-1), participation(n, spread)),
        (entropy(s), mean_entropy(n, spread)),
    ):
        assert abs(values.mean().item() - exact) < 4 * values.std().item() / math.sqrt(len(s))


@pytest.mark.parametrize("n", [5, 10**4, 10**12])
@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_entropy_falls_as_the_mean_of_its_derivative(n, spread):
    """dH/d(spread) by differences; and E ln Z' = spread (1 - E sum p^2), by integration by parts
    of E s_i p_i: the two integrals know of one another through nothing else."""
    h = 1e-4

    def log_z(x):
        return mean_entropy(n, x) + x**2 * (1 - participation(n, x))

    slope = (log_z(spread + h) - log_z(spread - h)) / (2 * h)
    assert slope == pytest.approx(spread * (1 - participation(n, spread)), rel=2e-6)


def test_weak_logits():
    """n participation -> e^{s^2} and H -> ln n - s^2 / 2, both from below in n."""
    for spread in (0.5, 1.0, 1.5):
        off = [1 - n * participation(n, spread) / math.exp(spread**2) for n in (10**4, 10**6)]
        assert 0 < off[1] < off[0] < 0.02
        assert math.log(off[0] / off[1], 100) == pytest.approx(1, abs=0.05)
        lost = math.log(10**6) - mean_entropy(10**6, spread)
        assert lost == pytest.approx(spread**2 / 2, abs=1e-3)
    for n in (10**4, 10**6):  # the fact sheet's claim
        border = math.sqrt(2 * math.log(n)) / 2
        assert abs(math.log(n) - border**2 / 2 - mean_entropy(n, border)) < 0.05


def test_limits_as_n_grows():
    """The exponents: ln E sum p^2 / ln(limit) -> 1 where spread is a fixed part of sqrt(2 ln n);
    beyond the last border the value itself."""
    for part, tolerance in ((0.2, 1e-3), (0.5, 0.01), (0.55, 0.05)):
        ratios = []
        for n in (10**3, 10**6, 10**12):
            s = part * math.sqrt(2 * math.log(n))
            ratios.append(math.log(participation(n, s)) / math.log(participation_limit(n, s)))
        off = [abs(ratio - 1) for ratio in ratios]
        assert off[2] < off[1] < off[0], (part, ratios)
        assert off[2] < tolerance
    off = []
    for n in (10, 10**3, 10**5):  # sqrt(2 ln n) / 0.5 is 9.6 for 10^5
        s = 2 * math.sqrt(2 * math.log(n))
        assert participation_limit(n, s) == 0.5
        off.append(participation(n, s) - 0.5)
    assert 0 < off[2] < off[1] < off[0] and off[2] < 0.1


def test_the_mean_row_is_not_the_typical_row():
    """Mean and median of sum p^2 over rows part, the median is smaller, as their limits say."""
    n, spread = 4096, 2.6  # 0.64 sqrt(2 ln n)
    s = spread * torch.randn(3000, n, generator=torch.Generator().manual_seed(0))
    share = s.softmax(-1).square().sum(-1)
    assert share.median() < 0.75 * share.mean()
    assert participation_limit(n, spread, typical=True) < 0.75 * participation_limit(n, spread)


def test_limits_meet_at_their_borders():
    for n in (10**3, 10**12):
        last = math.sqrt(2 * math.log(n))
        for border, typical in ((last / 2, True), (last / math.sqrt(3), False)):
            near = (border * (1 + x) for x in (-1e-9, 1e-9))
            below, above = (participation_limit(n, s, typical) for s in near)
            assert below == pytest.approx(math.exp(border**2) / n, rel=1e-6)
            assert below == pytest.approx(above, rel=1e-6)
        for typical in (False, True):  # everything at the last border, in exponents of n
            near = participation_limit(n, last * (1 - 1e-6), typical)
            assert near == pytest.approx(1, abs=1e-6)
    assert participation_limit(1, 3.0) == 1


# Bounded logits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_floor_is_below_every_choice_and_is_reached(n, tau):
    """All of a grid of logits, its corners included; then random ones."""
    levels = torch.linspace(-1 / tau, 1 / tau, 5, dtype=F64)
    grid = torch.tensor(list(itertools.product(levels.tolist(), repeat=min(n, 5))), dtype=F64)
    grid = torch.cat([grid, grid[:, :1].expand(-1, n - grid.shape[1])], 1)
    best = entropy(grid).min().item()
    assert entropy_floor(n, tau) <= best + 1e-12
    corners = [[1 / tau] * m + [-1 / tau] * (n - m) for m in range(1, n + 1)]
    reached = entropy(torch.tensor(corners, dtype=F64)).min().item()
    assert entropy_floor(n, tau) == pytest.approx(reached, rel=1e-12, abs=1e-12)
    s = (2 * torch.rand(2000, n, dtype=F64, generator=rng()) - 1) / tau
    assert entropy(s).min() >= entropy_floor(n, tau) - 1e-12


def test_floor_of_many_keys_at_every_number_at_the_top():
    n, m = 1000, np.arange(1, 1001)
    for tau in (0.07, 0.5, 1.0, 30.0):
        low = math.exp(-2 / tau)
        z = m + (n - m) * low
        h = np.log(z) + 2 / tau * (n - m) * low / z
        assert entropy_floor(n, tau) == pytest.approx(h.min(), rel=1e-13)


def test_gap_is_the_limit_and_the_articles_number():
    assert entropy_gap(1.0) == pytest.approx(0.474475, abs=5e-7)
    for tau in (0.3, 1.0, 10.0):
        off = [abs(math.log(n) - entropy_gap(tau) - entropy_floor(n, tau)) for n in (10**3, 10**9)]
        assert off[1] < 1e-7 and off[1] <= off[0]
    assert entropy_gap(1e4) == pytest.approx(1e-8 / 2, rel=1e-3)  # (2 / tau)^2 / 8
    # By the best mixture of two levels: max over q of KL(top-heavy || even)
    low, q = math.exp(-2.0), np.linspace(1e-4, 1 - 1e-4, 100_001)
    z = q + (1 - q) * low
    assert entropy_gap(1.0) == pytest.approx(np.max(-np.log(z) - 2 * (1 - q) * low / z), abs=1e-8)


# Spheres ------------------------------------------------------------------------------------------


def exact_loss(d, scale):
    """ln n - H as n grows: kappa K' - K, K = ln E e^{kappa cos} by Bessel functions."""
    kappa, nu = scale * d, d / 2 - 1
    cumulant = gammaln(d / 2) + nu * math.log(2 / kappa) + math.log(ive(nu, kappa)) + kappa
    return kappa * ive(nu + 1, kappa) / ive(nu, kappa) - cumulant


def test_the_exact_loss_is_that_of_an_integral():
    for d, scale in ((3, 0.7), (16, 0.25)):
        kappa = scale * d

        def moment(power, kappa, d=d):
            def f(a):
                return math.sin(a) ** (d - 2) * math.exp(kappa * (math.cos(a) - 1))

            return quad(lambda a: math.cos(a) ** power * f(a), 0, math.pi)[0]

        z = moment(0, kappa)
        energy = kappa * (moment(1, kappa) / z - 1)
        flat = moment(0, 0.0)
        assert exact_loss(d, scale) == pytest.approx(energy - math.log(z / flat), rel=1e-8)


@pytest.mark.parametrize("d", [4, 16, 64, 256])
def test_sphere_entropy_is_within_what_it_says(d):
    for scale in (0.5 / d, 1 / d, d**-0.5, 0.3, 1.0, 3.0):
        loss = math.log(10**6) - sphere_entropy(10**6, d, scale)
        assert abs(loss - exact_loss(d, scale)) < 0.09
        if scale <= d**-0.5 and d >= 64:
            assert loss == pytest.approx(exact_loss(d, scale), rel=1e-2)
    assert sphere_entropy(100, d, 0.0) == math.log(100)


@pytest.mark.parametrize("d, scale", [(8, 0.25), (64, 0.125), (64, 0.3)])
def test_sphere_entropy_by_sampling(d, scale):
    n = 20_000
    k = torch.randn(4, n, d, dtype=F64, generator=rng())
    k = math.sqrt(d) * k / k.norm(dim=-1, keepdim=True)
    q = math.sqrt(d) * torch.eye(d, dtype=F64)[:4]
    h = entropy(scale * torch.einsum("btd,bd->bt", k, q))
    assert h.mean().item() == pytest.approx(sphere_entropy(n, d, scale), abs=0.09)


@pytest.mark.parametrize("d", [8, 64, 512])
def test_scale_is_the_inverse_and_has_its_two_regimes(d):
    for n, scale in itertools.product((100, 10**6), (0.01, d**-0.5, 0.4)):
        h = sphere_entropy(n, d, scale)
        if 0 < h < math.log(n):
            assert entropy_scale(n, d, h) == pytest.approx(scale, rel=1e-6)
    assert entropy_scale(50, d, math.log(50)) == 0
    # weak logits: sqrt(2 (ln n - H) / d)
    n, lost = 10**6, 1e-3
    weak = math.sqrt(2 * lost / d)
    assert entropy_scale(n, d, math.log(n) - lost) == pytest.approx(weak, rel=1e-3)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, match, call",
    [
        (ValueError, "n: got 0", lambda: participation(0, 1.0)),
        (ValueError, "n", lambda: participation(10**12 + 1, 1.0)),
        (TypeError, "n", lambda: participation(10.5, 1.0)),
        (ValueError, "spread: got -1", lambda: participation(10, -1.0)),
        (ValueError, "spread: got 11", lambda: mean_entropy(10, 11.0)),
        (ValueError, "spread", lambda: participation_limit(10, NAN)),
        (ValueError, "tau: got 0", lambda: entropy_floor(10, 0.0)),
        (ValueError, "tau", lambda: entropy_gap(-1.0)),
        (ValueError, "tau", lambda: entropy_gap(INF)),
        (ValueError, "n", lambda: entropy_floor(0, 1.0)),
        (ValueError, "d: got 1", lambda: sphere_entropy(10, 1, 1.0)),
        (ValueError, "scale", lambda: sphere_entropy(10, 4, -1.0)),
        (ValueError, "d: got 1", lambda: entropy_scale(10, 1, 1.0)),
        (ValueError, "entropy: got 3", lambda: entropy_scale(10, 4, 3.0)),
        (ValueError, "entropy", lambda: entropy_scale(10, 4, -0.1)),
        (TypeError, "entropy", lambda: entropy_scale(10, 4, "1")),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
