"""The DDPM chain as densities: the published table, two ways to compute it, and Monte Carlo."""

import itertools
import math
import time

import pytest
import torch

from kexue.density import GaussianMixture, kl_on_grid, wasserstein2_on_grid
from kexue.diffusion import (
    chain_on_grid,
    ddpm,
    exact_eps,
    reverse_kernel_on_grid,
    reverse_variance,
)
from kexue.schedule import su

F64 = torch.float64
S = su()
LAW = GaussianMixture(
    torch.tensor([0.5, 0.5], dtype=F64),
    torch.tensor([-1.0, 1.0], dtype=F64),
    torch.tensor([0.04, 0.04], dtype=F64),
)
GRID = torch.linspace(-6, 6, 3001, dtype=F64)
# K: (KL, KL, W2, W2) for the variances "posterior" and "forward", compared at t = 1.
TABLE = {
    10: (0.612, 0.279, 0.1216, 0.187),
    20: (0.159, 0.0871, 0.0611, 0.0830),
    50: (0.0428, 0.0170, 0.0356, 0.0305),
    100: (0.0151, 0.00449, 0.0226, 0.0146),
}


def last(states):
    *_, (_, q) = states
    return q


def distances(K, variance, x=GRID):
    q = last(chain_on_grid(LAW, S, S.timesteps(K, stop=1), x, variance))
    p = LAW.noised(*S(1)).log_prob(x).exp()
    return kl_on_grid(p, q, x), wasserstein2_on_grid(p, q, x)


@pytest.mark.parametrize("K", TABLE)
def test_the_table_of_k_steps(K):
    kl, kl_forward, w2, w2_forward = TABLE[K]
    assert distances(K, "posterior") == pytest.approx((kl, w2), rel=4e-3)
    assert distances(K, "forward") == pytest.approx((kl_forward, w2_forward), rel=4e-3)


def test_kl_falls_with_the_number_of_steps_and_prefers_the_forward_variance():
    columns = list(zip(*TABLE.values(), strict=True))
    for column in columns:
        assert list(column) == sorted(column, reverse=True)
    assert all(forward < posterior for posterior, forward in zip(*columns[:2], strict=True))


def test_one_jump_returns_the_mean():
    """E[x_0 | x_T] is almost constant: the law collapses to a point at the mean of the data."""
    x = torch.linspace(-6, 6, 6001, dtype=F64)
    q = last(chain_on_grid(LAW, S, [1000, 0], x))
    std = torch.trapezoid(q * x**2, x).sqrt().item()
    assert f"{std:.3f}" == "0.007"
    w2 = wasserstein2_on_grid(LAW.log_prob(x).exp(), q, x)
    assert f"{w2:.2f}" == "1.01"


def test_a_chain_of_100_steps_takes_under_two_seconds():
    before = time.process_time()
    last(chain_on_grid(LAW, S, S.timesteps(100, stop=1), torch.linspace(-6, 6, 2401)))
    assert time.process_time() - before < 2 * torch.get_num_threads()


@pytest.mark.parametrize("variance", ["posterior", "forward", 0.05, lambda t, s: 0.1 + t / 1e4])
def test_skipping_points_changes_nothing(variance):
    """The chain, which skips points where the integrand is smooth, is the product of matrices."""
    x, times = torch.linspace(-6, 6, 1201, dtype=F64), [1000, 850, 700, 500, 300, 150, 80]
    q = (-(x**2) / 2).exp() / math.sqrt(2 * math.pi)
    weight = (x[1] - x[0]).expand(len(x)).clone()
    weight[[0, -1]] /= 2  # the trapezoid rule
    states = chain_on_grid(LAW, S, times, x, variance)
    next(states)
    for t, s in itertools.pairwise(times):
        q = reverse_kernel_on_grid(LAW, S, t, s, x, variance) @ (weight * q)
        at, ours = next(states)
        assert at == s
        torch.testing.assert_close(ours, q, rtol=1e-6, atol=1e-8)  # tails of the cut grid: 1e-8
    given_start = chain_on_grid(LAW, S, times, x, variance, start=(-(x**2) / 2).exp() / 2.5066283)
    torch.testing.assert_close(last(given_start), q, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", [None, 0.03], ids=["standard normal start", "narrow start"])
def test_skipping_points_costs_nothing_where_no_tail_is_cut(width):
    """To rounding: points are skipped as far as the start is known to be smooth, and no further."""
    x = torch.linspace(-9, 9, 1801, dtype=F64)
    q = torch.exp(-((x / (width or 1)) ** 2) / 2) / math.sqrt(2 * math.pi) / (width or 1)
    _, ours = (q for _, q in chain_on_grid(LAW, S, [1000, 600], x, start=q if width else None))
    every = reverse_kernel_on_grid(LAW, S, 1000, 600, x) @ q * (x[1] - x[0])
    torch.testing.assert_close(ours, every, rtol=0, atol=1e-13)


def test_kernel_columns_are_the_reverse_step():
    kernel = reverse_kernel_on_grid(LAW, S, 500, 400, GRID)
    mass = torch.trapezoid(kernel, GRID, dim=0)
    inside = GRID.abs() < 3
    assert (mass - 1)[inside].abs().max() < 1e-7
    mean = torch.trapezoid(kernel * GRID[:, None], GRID, dim=0)
    model = exact_eps(LAW, S)
    steps = [x for _, x in ddpm(model, GRID, S, [500, 400], noise=[torch.zeros_like(GRID)])]
    torch.testing.assert_close(mean[inside], steps[-1][inside], rtol=1e-7, atol=1e-7)
    second = torch.trapezoid(kernel * (GRID[:, None] - mean) ** 2, GRID, dim=0)
    expected = reverse_variance(S, 500, 400, 0.0)
    torch.testing.assert_close(second[inside], expected.expand(inside.sum()), rtol=1e-5, atol=0)


def test_gaussian_data_have_an_exact_chain():
    """For N(0, d) the right variance makes every state exact, but for the start N(0, 1)."""
    for d in (1.0, 0.3):
        law = GaussianMixture(*(torch.tensor([v], dtype=F64) for v in (1.0, 0.0, d)))
        start = law.noised(*S(1000)).log_prob(GRID).exp()
        chain = chain_on_grid(
            law,
            S,
            [1000, 600, 200, 40],
            GRID,
            lambda t, s, d=d: reverse_variance(S, t, s, d),
            start,
        )
        for t, q in chain:
            p = law.noised(*S(t)).log_prob(GRID).exp()
            assert kl_on_grid(p, q, GRID) < 1e-8, t


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_the_deterministic_last_step_moves_the_mass(variance):
    """x_0 = E[x_0 | x_1] moves each x_1 a little: its moments by change of variables."""
    x = torch.linspace(-6, 6, 4801, dtype=F64)
    states = dict(chain_on_grid(LAW, S, [1000, 700, 400, 200, 0], x, variance))
    moved = LAW.posterior_mean(x, *S(200))
    for power in (1, 2, 4):
        expected = torch.trapezoid(states[200] * moved**power, x)
        got = torch.trapezoid(states[0] * x**power, x)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variance", ["posterior", "forward"])
def test_the_chain_is_the_law_of_the_sampler(variance):
    n, times = 100_000, S.timesteps(10, stop=1)
    x_T = torch.randn(n, dtype=F64)
    *_, (_, x) = ddpm(exact_eps(LAW, S), x_T, S, times, variance)
    q = last(chain_on_grid(LAW, S, times, GRID, variance))
    for f in (lambda y: y**2, lambda y: y**4, lambda y: torch.exp(-20 * y**2), torch.cos):
        values, exact = f(x), torch.trapezoid(q * f(GRID), GRID)
        assert (values.mean() - exact).abs() < 5 * values.std() / n**0.5


PLANE = GaussianMixture([1.0], [[0.0, 0.0]], [1.0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: chain_on_grid(PLANE, S, [5, 1], GRID), "law: got event shape"),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID.flip(0)), "x: "),
        (lambda: chain_on_grid(LAW, S, [1, 5], GRID), "timesteps: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, "learned"), "variance: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, -1.0), "variance: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, torch.ones(2)), "variance: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, start=GRID), "start: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, start=GRID**2), "start: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID, start=torch.ones(3)), "start: "),
        (lambda: chain_on_grid(LAW, S, [5, 1], GRID / 4), "x: got a density"),
        (lambda: reverse_kernel_on_grid(LAW, S, 5, 0, GRID), "s: "),
        (lambda: reverse_kernel_on_grid(LAW, S, 5, 1, GRID, 0.0), "variance: "),
        (lambda: reverse_kernel_on_grid(LAW, S, 1, 5, GRID), "s: "),
        (lambda: reverse_kernel_on_grid(PLANE, S, 5, 1, GRID), "law: "),
        (lambda: reverse_kernel_on_grid(LAW, S, 5, 1, GRID**3), "x: "),
    ],
)
def test_bad_arguments_are_named_at_once(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        call()


def test_a_grid_too_narrow_or_too_coarse_is_refused_on_the_way():
    for x in (torch.linspace(-4, 4, 1601), torch.linspace(-6, 6, 301)):
        with pytest.raises(ValueError, match=r"^x: at the step from t = .* widen .* refine"):
            list(chain_on_grid(LAW, S, S.timesteps(100, stop=1), x))
