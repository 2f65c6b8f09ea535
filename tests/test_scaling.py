"""Quanta: against brute-force sums, Hurwitz's zeta elsewhere, differences and draws."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from kexue.scaling import QuantaModel

F64 = torch.float64
INF, NAN = math.inf, math.nan


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def hurwitz(s, n, last=None):
    """sum_{k>n}^{last} k^-s in 60 digits, by other code."""
    with mpmath.workdps(60):
        s, n = mpmath.mpf(s), mpmath.mpf(n)
        if s == 1:
            return mpmath.digamma(mpmath.mpf(last) + 1) - mpmath.digamma(n + 1)
        rest = 0 if last is None else mpmath.zeta(s, mpmath.mpf(last) + 1)
        return mpmath.zeta(s, n + 1) - rest


# Sums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-4, 0.1, 0.5, 1.0, 3.0, 10.0])
def test_tail_is_hurwitz(alpha):
    n = torch.tensor([0, 0.25, 1, 2, 7.5, 40, 1e4, 1e9, 1e15], dtype=F64)
    tail = QuantaModel(alpha).tail(n)
    assert tail[0] == 1
    with mpmath.workdps(60):
        exact = [float(hurwitz(alpha + 1, x) / hurwitz(alpha + 1, 0)) for x in n.tolist()]
    torch.testing.assert_close(tail, torch.tensor(exact, dtype=F64), rtol=2e-14, atol=0)
    theirs = torch.special.zeta(torch.tensor(alpha + 1, dtype=F64), n + 1)
    torch.testing.assert_close(tail * QuantaModel(alpha).normalizer, theirs, rtol=2e-14, atol=0)


@pytest.mark.parametrize("alpha", [-0.99, -0.5, -1e-9, 0.0, 1e-9, 0.4, 2.0])
@pytest.mark.parametrize("K", [1, 2, 20, 500, 10**7, 10**15])
def test_truncated_tail_to_the_last_digit(alpha, K):
    """Also one quantum before the last, where a difference of two zetas would have no digits."""
    model = QuantaModel(alpha, K)
    for n in {0, 0.5, 1, K // 2, K - 1, K - 0.5}:
        with mpmath.workdps(60):
            exact = float(hurwitz(alpha + 1, n, K) / hurwitz(alpha + 1, 0, K))
        assert model.tail(n).item() == pytest.approx(exact, rel=2e-14)
    assert model.tail(K) == 0


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.1, 0.8])
def test_truncated_sums_by_brute_force(alpha):
    K = 3000
    weights = [k ** -(alpha + 1.0) for k in range(1, K + 1)]
    model = QuantaModel(alpha, K, before=6.0, after=0.5)
    assert model.normalizer == pytest.approx(math.fsum(weights), rel=1e-14)
    p = model.frequency(torch.arange(1, K + 1))
    assert p.sum().item() == pytest.approx(1, rel=1e-13)
    for n in (0, 1, 17, 2999, 3000):
        tail = math.fsum(weights[n:]) / math.fsum(weights)
        assert model.tail(n).item() == pytest.approx(tail, rel=1e-14)
        assert model.loss(n).item() == pytest.approx(0.5 + 5.5 * tail, rel=1e-14)
        assert model.loss(n).item() == pytest.approx(
            (0.5 * p[:n].sum() + 6 * p[n:].sum()).item(), rel=1e-12
        )


def test_infinitely_many_are_the_limit_of_many():
    n = torch.tensor([0.0, 3.0, 100.0])
    off = [
        (QuantaModel(0.5, K).tail(n) - QuantaModel(0.5).tail(n)).abs().max().item()
        for K in (10**4, 10**6, 10**8)
    ]
    # What is missing is the mass beyond K, ~ K^-alpha: ten times less for K a hundred times larger.
    assert off[0] / off[1] == pytest.approx(10, rel=0.01)
    assert off[1] / off[2] == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("K", [None, 50, 10**6])
@pytest.mark.parametrize("alpha", [0.1, 0.4, 2.0])
def test_slope_is_the_derivative(alpha, K):
    model = QuantaModel(alpha, K, before=3.0, after=1.0)
    for n in (0.0, 0.5, 1.0, 7.0, 49.0):
        h = 1e-4 * max(n, 1)

        def log_loss(x, h=h):
            return math.log(model.loss(x).item() - 1)

        ends = (log_loss(n + k * h) for k in (1, -1, 2, -2)) if n else (0, 0, 0, 0)
        right, left, right2, left2 = ends
        derivative = (8 * (right - left) - (right2 - left2)) / (12 * h)
        assert model.slope(n).item() == pytest.approx(-n * derivative, rel=1e-8)


def test_slope_far_out():
    """Tends to alpha; to alpha / (1 - (n/K)^alpha) with a last quantum; infinite there."""
    assert QuantaModel(0.3).slope(1e12).item() == pytest.approx(0.3, rel=1e-12)
    K = 10**7
    for alpha in (0.1, 0.4, 0.8):
        model = QuantaModel(alpha, K)
        for n in (1e4, 1e6, 9e6):
            stated = alpha / (1 - (n / K) ** alpha)
            assert model.slope(n).item() == pytest.approx(stated, rel=2 / n + 1e-6)
        assert model.slope(K) == INF
        # the shift by 1/2 lowers it: below alpha at first, as the facts say for K = 500
        assert QuantaModel(alpha, 500).slope(1.0) < stated


def test_slopes_of_five_hundred_tasks():
    """End to end from n = 2 to 40: the effect of the last quantum, far below it."""
    for alpha, slope in ((0.1, 0.30), (0.2, 0.35), (0.4, 0.48), (0.8, 0.78)):
        start, end = QuantaModel(alpha, 500).loss([2, 40]).log().tolist()
        assert (start - end) / math.log(20) == pytest.approx(slope, abs=0.005)


def test_asymptotic_loss():
    """The error is of order 1/n without the shift and 1/n^2 with it; 2.5 % and 0.03 % at 10."""
    model = QuantaModel(0.5, before=2.0, after=1.0)
    off = {
        shift: [
            abs((model.asymptotic_loss(n, shift) - 1) / (model.loss(n) - 1) - 1).item()
            for n in (10, 100, 1000)
        ]
        for shift in (0, 0.5)
    }
    assert off[0][0] == pytest.approx(0.0250, abs=5e-5)
    assert off[0.5][0] == pytest.approx(0.0003, abs=5e-5)
    for shift, order in ((0, 1), (0.5, 2)):
        a, b, c = off[shift]
        assert math.log10(a / b) == pytest.approx(order, abs=0.05)
        assert math.log10(b / c) == pytest.approx(order, abs=0.01)
    # The leading term as it is printed, and the truncated one.
    n, a = 50.0, 0.5
    leading = n**-a / (a * float(mpmath.zeta(1.5)))
    assert QuantaModel(a).asymptotic_loss(n, 0).item() == pytest.approx(leading, rel=1e-13)
    K = 400
    truncated = (n**-a - K**-a) / (a * float(hurwitz(1.5, 0, K)))
    assert QuantaModel(a, K).asymptotic_loss(n, 0).item() == pytest.approx(truncated, rel=1e-13)
    for alpha in (-0.5, 0.0, 0.3):
        finite = QuantaModel(alpha, 1000)
        assert finite.asymptotic_loss(100.0).item() == pytest.approx(
            finite.loss(100.0).item(), rel=1e-4
        )
        assert finite.asymptotic_loss(1000.0) == 0


# Draws --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alpha, K", [(0.1, None), (0.5, None), (2.0, None), (10.0, None),
                 (-0.9, 7), (0.0, 1000), (0.1, 500), (0.8, 500), (1.0, 1)],
)  # fmt: skip
def test_samples_follow_the_frequencies(alpha, K):
    model, count = QuantaModel(alpha, K), 200_000
    k = model.sample((2, count // 2), rng()).flatten()
    assert k.dtype == torch.int64 and k.min() >= 1 and k.max() <= (K or 2**53)
    edges = [
        x for x in (0, 1, 2, 3, 4, 6, 10, 20, 50, 100, 300, 1000, 10**4, 10**6) if x < model.last
    ]
    edges = torch.tensor(edges, dtype=F64)
    share = model.tail(edges)
    share = torch.cat([share[:-1] - share[1:], share[-1:]])
    number = torch.bincount(torch.bucketize(k.double(), edges) - 1, minlength=len(edges))
    big = share * count > 10
    assert number[~big].sum() <= 10 * len(edges)
    if big.sum() > 1:
        observed, expected = (number[big].numpy(), (share[big] * count).numpy())
        expected *= observed.sum() / expected.sum()
        assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert torch.equal(k, model.sample((2, count // 2), rng()).flatten())  # same seed, same draws


def test_samples_agree_with_numpys():
    """Two independent samplers of the infinite law."""
    ours = QuantaModel(0.7).sample(100_000, rng(1)).clamp(max=50).numpy()
    theirs = np.random.default_rng(2).zipf(1.7, 100_000).clip(max=50)
    counts = np.stack([np.bincount(x, minlength=51)[1:] for x in (ours, theirs)])
    assert stats.chi2_contingency(counts).pvalue > 1e-3


def test_far_quanta_are_censored_as_documented():
    k = QuantaModel(0.1).sample(200_000, rng())
    share = (k == 2**53).double().mean().item()
    exact = QuantaModel(0.1).tail(2.0**53 - 1).item()
    assert 1 / exact == pytest.approx(41.7, rel=0.01)
    assert abs(share - exact) < 4 * math.sqrt(exact / 200_000)
    assert QuantaModel(0.5).sample(0).shape == (0,) and QuantaModel(0.5).sample(()).shape == ()


def test_threshold_losses_average_to_binomial_tails():
    """E loss = sum_k p_k P(count_k < tau), the counts being binomial one by one."""
    model, tau = QuantaModel(0.5, 2000, before=4.0, after=1.0), 5
    sizes = torch.tensor([[30, 1000], [20_000, 300_000]])
    draw = rng()
    losses = torch.stack([model.threshold_losses(sizes, tau, generator=draw) for _ in range(60)])
    p = model.frequency(torch.arange(1, 2001)).numpy()
    for i in (0, 1):
        for j in (0, 1):
            exact = 1 + 3 * (p * stats.binom.cdf(tau - 1, sizes[i, j].item(), p)).sum()
            seen = losses[:, i, j]
            assert abs(seen.mean().item() - exact) < 4 * seen.std().item() / math.sqrt(60) + 1e-12
    assert model.threshold_losses([4], tau).item() == pytest.approx(4, rel=1e-14)


def test_threshold_exponents():
    """A million quanta, tau = 20, alpha = 0.6: data and the two other directions, as the facts."""
    model, tau = QuantaModel(0.6, 10**6), 20

    def slope(x, losses):
        return -np.polyfit(np.log(x), losses.log().numpy(), 1)[0]

    sizes = np.logspace(4, 6.5, 6).astype(int)
    d = slope(sizes, model.threshold_losses(sizes, tau, generator=rng()))
    n = np.logspace(1, 3, 9).round()
    whole = model.loss(n)
    steps = 10 / model.frequency(n).numpy()
    assert slope(n, whole) == pytest.approx(0.6, abs=0.02)
    assert d == pytest.approx(0.375, abs=0.02)
    assert slope(steps, whole) == pytest.approx(0.375, abs=0.02)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: QuantaModel(0.0), r"alpha: got 0, needs a number >= 0.0001 for infinitely"),
        (lambda: QuantaModel(9e-5), r"alpha: got 9e-05"),
        (lambda: QuantaModel(-1.0, 5), r"alpha: got -1, needs a number > -1"),
        (lambda: QuantaModel(NAN), r"alpha: got nan"),
        (lambda: QuantaModel(11.0), r"alpha: got 11, needs a finite number in \[-inf, 10\]"),
        (lambda: QuantaModel(0.5, 0), r"n_tasks: got 0"),
        (lambda: QuantaModel(0.5, before=1.0, after=1.0), r"before: got 1, needs a number > after"),
        (lambda: QuantaModel(0.5).frequency([0, 1]), r"k: got numbers in \[0, 1\]"),
        (lambda: QuantaModel(0.5, 9).frequency(10), r"k: got .*needs \[1, 9\]"),
        (lambda: QuantaModel(0.5, 9).tail(9.5), r"n: got .*needs \[0, 9\]"),
        (lambda: QuantaModel(0.5).tail(-1), r"n: got .*needs \[0, inf\]"),
        (lambda: QuantaModel(0.5).tail([NAN]), r"n: got NaN"),
        (lambda: QuantaModel(0.5).tail([]), r"n: got an empty tensor"),
        (lambda: QuantaModel(0.5).asymptotic_loss([0, 1], shift=0), r"n, shift: got"),
        (lambda: QuantaModel(0.5).decay_loss(-1), r"steps: got -1"),
        (lambda: QuantaModel(0.5).learned(-1, direction="data", scale=1), r"resource: got -1"),
        (lambda: QuantaModel(0.5).learned(1, direction="data", scale=0), r"scale: got 0"),
        (lambda: QuantaModel(0.5).learned(1, direction="up", scale=1), r"direction: got 'up'"),
        (lambda: QuantaModel(0.5).learned(1, direction="steps", scale=1, rho=0), r"rho: got 0"),
        (lambda: QuantaModel(0.5).threshold_losses([10], 2), r"n_tasks: got None"),
        (lambda: QuantaModel(0.5, 9).threshold_losses([0], 2), r"sizes: got 0"),
        (lambda: QuantaModel(0.5, 9).threshold_losses([5], 0), r"examples: got 0"),
    ],
)  # fmt: skip
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: QuantaModel("0.5"),
        lambda: QuantaModel(0.5, 10.0),
        lambda: QuantaModel(0.5).tail("a"),
        lambda: QuantaModel(0.5, 9).threshold_losses([5.5], 1),
        lambda: QuantaModel(0.5).sample(2.5),
    ],
)
def test_bad_types(make):
    with pytest.raises(TypeError):
        make()
