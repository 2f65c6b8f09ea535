"""Fits of Fourier densities against independent minimizers, known truths and degenerate data."""

import math
import warnings

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.density import FourierDensity
from kexue.density.fourier_fit import maximize

F64, C128 = torch.float64, torch.complex128
GRID = torch.linspace(-1, 1, 2001, dtype=F64)
NAN = math.nan


def truth(n=4, seed=0):
    a = torch.randn(n + 1, generator=torch.Generator().manual_seed(seed), dtype=C128)
    a[0] += 2
    return FourierDensity(a)


def draw(law, *shape, seed=1):
    return law.sample(shape, generator=torch.Generator().manual_seed(seed))


def bumps(n, count=10, width=0.04, reach=0.6, seed=5):
    """Points of ``count`` equal Gaussian bumps, evenly spaced in [-reach, reach]."""
    dice = torch.Generator().manual_seed(seed)
    middle = torch.linspace(-reach, reach, count, dtype=F64)
    k = torch.randint(count, (n,), generator=dice)
    return middle[k] + width * torch.randn(n, generator=dice, dtype=F64)


def kl(p, q, x=GRID):
    return torch.trapezoid(p.prob(x) * (p.log_prob(x) - q.log_prob(x)), x).item()


def fit(x, terms, penalty=0.0):
    return FourierDensity.fit(x, terms, penalty, loc=0.0, scale=1.0)


def loss(law, counts, penalty=0.0):
    """-sum h log P + penalty * int p'^2, from the class's own methods."""
    edge = torch.linspace(-1, 1, counts.shape[-1] + 1, dtype=F64)
    log_mass = law.bin_log_prob(edge[:-1], edge[1:])
    h = counts / counts.sum(-1, keepdim=True)
    log_mean = log_mass - math.log(2 / counts.shape[-1])
    return (-(h * log_mean).sum(-1) + penalty * law.roughness).item()


def independent(counts, terms, penalty=0.0, starts=4):
    """The least loss that BFGS finds from several starts; its P come from bin-by-bin integrals."""
    h = counts.numpy() / counts.sum().item()
    edge = np.linspace(-1, 1, len(h) + 1)
    n = np.arange(1, terms + 1)
    wave = np.diff(np.exp(1j * np.pi * np.outer(edge, n)), axis=0) / (1j * np.pi * n)

    def objective(v):
        a = v[: terms + 1] + 1j * v[terms + 1 :]
        c = np.array([np.vdot(a[k:], a[: terms + 1 - k]) for k in range(terms + 1)])
        c = c[1:] / c[0].real
        mean = 0.5 + (wave @ c).real * len(h) / 2
        rough = np.pi**2 * np.sum(n**2 * np.abs(c) ** 2)
        return -np.sum(h * np.log(np.maximum(mean, 1e-30))) + penalty * rough

    dice = np.random.default_rng(0)
    least = math.inf
    for _ in range(starts):
        start = 0.3 * dice.normal(size=2 * terms + 2)
        start[0] += 1
        least = min(least, scipy.optimize.minimize(objective, start, options={"gtol": 1e-8}).fun)
    return least


# Right answers -----------------------------------------------------------------------------


def test_a_law_it_can_represent_is_recovered_as_the_data_grow():
    """2 N parameters cost N / n of divergence: 100 times the data, a hundredth of it."""
    law, n = truth(), 1_000
    few, many = (
        sum(kl(law, fit(draw(law, size, seed=seed), 4)) for seed in range(6)) / 6
        for size in (n, 100 * n)
    )
    assert 0.4 * 4 / n < few < 2.5 * 4 / n
    assert 0.4 * 4 / n < 100 * many < 2.5 * 4 / n


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("terms, bins", [(0, 1), (2, 5), (3, 7), (3, 12), (4, 40)])
def test_counts_find_the_least_loss_of_exact_bin_masses(terms, bins, penalty):
    """The bins may be as coarse as one frequency more than there are unknowns."""
    dice = torch.Generator().manual_seed(bins)
    counts = torch.randint(0, 60, (bins,), generator=dice).double() + 1
    law = FourierDensity.fit_counts(counts, terms, penalty)
    ours, theirs = loss(law, counts, penalty), independent(counts, terms, penalty)
    assert ours <= theirs + 0.05 / counts.sum().item()


def test_points_find_the_least_loss_too():
    x = draw(truth(6, seed=2), 3000)
    counts = torch.histc(x, 512, -1, 1)
    law = fit(x, 3)
    assert loss(law, counts) <= independent(counts, 3) + 0.1 / len(x)


def test_a_penalty_trades_likelihood_for_smoothness():
    x = draw(truth(6, seed=2), 500)
    laws = [fit(x, 16, penalty) for penalty in (0.0, 1e-4, 1e-2, 1.0, 10.0)]
    rough = [law.roughness.item() for law in laws]
    likelihood = [law.log_prob(x).mean().item() for law in laws]
    assert rough == sorted(rough, reverse=True) and rough[0] > 100 * rough[-1]
    assert likelihood == sorted(likelihood, reverse=True)


def test_frequencies_count_as_well_as_counts():
    counts = torch.histc(draw(truth(), 5000), 20, -1, 1)
    share = FourierDensity.fit_counts(counts / counts.sum(), 4)
    assert loss(share, counts) <= loss(FourierDensity.fit_counts(counts, 4), counts) + 1e-4


def test_more_terms_than_bins_can_show_still_reach_the_histogram():
    """N > (M - 1) / 2: every mass can be had exactly, here nearly all of it in one bin of ten."""
    counts = torch.tensor([1, 1, 1, 91, 1, 1, 1, 1, 1, 1], dtype=F64)
    law = FourierDensity(maximize(counts, 30))
    h = counts / counts.sum()
    assert loss(law, counts) == pytest.approx(-(h * (h * 5).log()).sum().item(), abs=1e-3)


def test_wide_bins_do_not_blur_the_density():
    """Twelve bins of a law with a narrow bump: counted exactly, the law itself is the optimum."""
    law = FourierDensity(torch.ones(5, dtype=C128))
    edge = torch.linspace(-1, 1, 13, dtype=F64)
    counts = 1e6 * law.bin_log_prob(edge[:-1], edge[1:]).exp()
    assert kl(law, FourierDensity.fit_counts(counts, 4)) < 1e-6


def test_loc_and_scale_move_the_fit_along():
    x = draw(truth(), 2000)
    base, moved = fit(x, 4), FourierDensity.fit(5 + 3 * x, 4, loc=5.0, scale=3.0)
    torch.testing.assert_close(moved.prob(5 + 3 * GRID), base.prob(GRID) / 3, atol=1e-6, rtol=1e-4)
    one, two = (FourierDensity.fit(y, 4) for y in (x, 5 + 3 * x))
    torch.testing.assert_close(two.prob(5 + 3 * x), one.prob(x) / 3, atol=1e-4, rtol=1e-3)
    counts = torch.histc(x, 64, -1, 1)
    law = FourierDensity.fit_counts(counts, 4, loc=31.5, scale=32.0)
    assert law.support.check(torch.tensor([-0.5, 63.5])).all()


def test_the_line_takes_points_of_any_size():
    dice = torch.Generator().manual_seed(0)
    x = 100 + 5 * torch.randn(5000, generator=dice, dtype=F64)
    law = FourierDensity.fit(x, 4, line=True)
    assert law.line and law.mean.item() == pytest.approx(100, abs=0.5)
    assert law.variance.item() == pytest.approx(25, rel=0.1)
    heavy = torch.randn(5000, generator=dice) / torch.randn(5000, generator=dice).abs()
    assert FourierDensity.fit(heavy, 4, line=True).log_prob(heavy).isfinite().all()


# How many terms ----------------------------------------------------------------------------


def test_held_out_likelihood_chooses_what_the_data_can_show():
    smooth = FourierDensity.fit(torch.randn(2000, generator=torch.Generator().manual_seed(0)))
    assert smooth.terms <= 8
    assert FourierDensity.fit(bumps(20_000)).terms in (16, 20, 24, 32)
    # A comb: no gain at all until N reaches its frequency, which must not end the search.
    comb = fit(bumps(20_000, count=40, width=0.005, reach=0.975), (4, 8, 16, 32, 64))
    assert comb.terms == 64


def test_the_choice_is_nearly_the_best_and_repeatable():
    data, fresh = bumps(5000), bumps(200_000, seed=6)
    chosen = fit(data, (2, 4, 8, 16, 32, 64))
    score = [fit(data, n).log_prob(fresh).mean().item() for n in (2, 4, 8, 16, 32, 64)]
    assert chosen.log_prob(fresh).mean().item() > max(score) - 0.01
    assert torch.equal(fit(data, [64, 2, 8, 4, 16, 32]).a, chosen.a)


def test_a_batch_chooses_for_each_density():
    smooth = draw(truth(2), 5000)
    both = fit(torch.stack([smooth, bumps(5000)]), (2, 8, 32))
    for i, x in enumerate((smooth, bumps(5000))):
        alone = fit(x, (2, 8, 32))
        size = alone.terms + 1
        assert (both.a[i, size:] == 0).all()
        torch.testing.assert_close(both.prob(GRID[:, None])[:, i], alone.prob(GRID))
    assert both.terms == 32 and (both.a[0, 9:] == 0).all()


def test_the_choice_costs_little_from_sample_to_sample():
    """Within a fifth of the divergence that the best N of all has; one fifth held out: 1.6."""
    law, choices, ratio = truth(5, seed=3), (2, 4, 6, 8, 12, 16), 0.0
    for seed in range(20):
        x = draw(law, 2000, seed=seed)
        ratio += kl(law, fit(x, choices)) / min(kl(law, fit(x, n)) for n in choices)
    assert ratio / 20 < 1.2


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_few_points_choose_too(n):
    law = fit(X[:n], (0, 1, 2, 4))
    assert law.terms <= 4 and law.log_prob(X[:n]).isfinite().all()


def test_a_start_may_be_known_for_some_only():
    counts = torch.stack([torch.histc(bumps(5000, seed=seed), 512, -1, 1) for seed in (1, 2)])
    cold = maximize(counts, 16)
    start = torch.stack([torch.zeros(17, dtype=C128), cold[1]])
    mixed = maximize(counts, 16, start=start)
    torch.testing.assert_close(mixed[0], cold[0])
    assert loss(FourierDensity(mixed[1]), counts[1]) <= loss(FourierDensity(cold[1]), counts[1])


# Shapes and dtypes -------------------------------------------------------------------------


def test_a_batch_is_fitted_as_one_at_a_time():
    x = torch.stack([draw(truth(4, seed), 300, seed=seed) for seed in range(6)]).reshape(2, 3, 300)
    law = FourierDensity.fit(x, 8)
    assert law.batch_shape == (2, 3) and law.a.dtype == C128
    counts = torch.stack([torch.histc(row, 24, -1, 1) for row in x.reshape(6, -1)])
    counted = FourierDensity.fit_counts(counts.reshape(2, 3, 24), 8, 1e-3)
    for i in range(2):
        for j in range(3):
            one = FourierDensity.fit(x[i, j], 8)
            y = x[i, j]
            torch.testing.assert_close(
                law.log_prob(y[:, None, None])[:, i, j], one.log_prob(y), atol=1e-6, rtol=1e-6
            )
            alone = FourierDensity.fit_counts(counts[3 * i + j], 8, 1e-3)
            torch.testing.assert_close(
                counted.prob(y[:, None, None])[:, i, j], alone.prob(y), atol=1e-6, rtol=1e-6
            )


def test_the_dtype_is_that_of_the_data_and_gradients_stay_out():
    x = draw(truth(), 500)
    single = fit(x.float().requires_grad_(), 4)
    assert single.a.dtype == torch.complex64 and not single.loc.requires_grad
    torch.testing.assert_close(
        single.prob(GRID).double(), fit(x, 4).prob(GRID), atol=1e-4, rtol=1e-3
    )
    for counts in ([3, 5, 9, 4, 1], np.array([1, 4, 9, 5, 3])[::-1], torch.tensor([3, 5, 9, 4, 1])):
        law = FourierDensity.fit_counts(counts, 2)
        assert law.a.dtype == C128 and law.a.shape == (3,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_fits_the_same_and_ten_thousand_at_once():
    x = torch.stack([draw(truth(4, seed), 500, seed=seed) for seed in range(6)])
    here, there = FourierDensity.fit(x), FourierDensity.fit(x.cuda())
    assert there.a.is_cuda
    y = GRID[:, None]
    torch.testing.assert_close(there.prob(y).cpu(), here.prob(y), atol=1e-5, rtol=1e-4)
    counts = torch.poisson(20 * torch.rand(10_240, 64, dtype=F64))
    torch.cuda.reset_peak_memory_stats()
    law = FourierDensity.fit_counts(counts.cuda(), 16)
    assert torch.cuda.max_memory_allocated() < 2e9
    few = FourierDensity.fit_counts(counts[:10], 16)
    torch.testing.assert_close(law.prob(y)[:, :10].cpu(), few.prob(y), atol=1e-4, rtol=1e-3)


# Robustness --------------------------------------------------------------------------------

HARD = {
    "one bin": torch.full((100,), 0.3, dtype=F64) + 1e-9 * torch.arange(100),
    "two points": torch.tensor([-0.5, 0.7], dtype=F64),
    "three spikes": torch.tensor([-0.5, 0.1, 0.7], dtype=F64).repeat(50),
    "uniform": torch.linspace(-1, 1, 2000, dtype=F64),
    "at the ends": torch.tensor([-1.0, 1.0], dtype=F64).repeat(100),
    "one end": torch.cat([torch.full((500,), 1.0, dtype=F64), torch.zeros(1, dtype=F64)]),
    "half empty": torch.linspace(0.5, 1, 1000, dtype=F64),
    "integers": (torch.arange(1000) % 7).double() / 7,
    "sparse": draw(truth(6, seed=2), 500),
}


@pytest.mark.parametrize("penalty", [0.0, 1e-4, 10.0])
@pytest.mark.parametrize("terms", [0, 1, 5, 64])
@pytest.mark.parametrize("name", HARD)
def test_no_data_break_the_iteration(name, terms, penalty):
    """No NaN, no warning (pytest makes it an error), and never worse than the uniform law."""
    x = HARD[name]
    law = fit(x, terms, penalty)
    assert torch.view_as_real(law.a).isfinite().all()
    total = -law.log_prob(x).mean().item() + penalty * law.roughness.item()
    assert total <= math.log(2) + 1e-2  # the histogram's bins are not points


def test_many_terms_and_the_largest_peak():
    law = fit(HARD["one bin"], 128)
    assert law.log_prob(HARD["one bin"]).mean().item() > math.log(129 / 2) - 0.02
    assert fit(HARD["sparse"], 128).log_prob(HARD["sparse"]).isfinite().all()


@settings(max_examples=30)
@given(
    counts=st.lists(st.integers(0, 1000), min_size=3, max_size=40).filter(any),
    terms=st.integers(0, 19),
    penalty=st.sampled_from([0.0, 1e-3, 10.0]),
)
def test_any_counts_can_be_fitted(counts, terms, penalty):
    counts = torch.tensor(counts, dtype=F64)
    terms = min(terms, (len(counts) - 1) // 2)
    law = FourierDensity.fit_counts(counts, terms, penalty)
    assert loss(law, counts, penalty) <= math.log(2) + 1e-9


def test_what_has_not_converged_is_said():
    counts = torch.histc(bumps(5000), 256, -1, 1)
    with pytest.warns(RuntimeWarning, match="1 of 1 densities could still gain"):
        maximize(counts, 16, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maximize(counts, 16)


def test_every_step_gains():
    """However early the iteration is stopped, the loss is no higher than earlier still."""
    counts = torch.histc(HARD["sparse"], 512, -1, 1)
    losses = []
    for steps in range(1, 8):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses.append(loss(FourierDensity(maximize(counts, 40, max_iter=steps)), counts))
    assert losses == sorted(losses, reverse=True)


# Bad input ---------------------------------------------------------------------------------

X = draw(truth(), 50)


@pytest.mark.parametrize(
    "change, error, argument",
    [
        ({"x": X[:1]}, ValueError, "x"),
        ({"x": X[0]}, ValueError, "x"),
        ({"x": []}, ValueError, "x"),
        ({"x": "data"}, TypeError, "x"),
        ({"x": torch.arange(9)}, TypeError, "x"),
        ({"x": torch.where(X > 0, X, NAN)}, ValueError, "x"),
        ({"x": torch.ones(9)}, ValueError, "x"),
        ({"x": torch.ones(9), "line": True}, ValueError, "x"),
        ({"loc": 0.0, "scale": 0.5}, ValueError, "x"),
        ({"terms": -1}, ValueError, "terms"),
        ({"terms": []}, ValueError, "terms"),
        ({"terms": 2.5}, TypeError, "terms"),
        ({"terms": None}, TypeError, "terms"),
        ({"terms": True}, TypeError, "terms"),
        ({"terms": "many"}, TypeError, "terms"),
        ({"terms": [4, 8.5]}, TypeError, "terms"),
        ({"penalty": -1.0}, ValueError, "penalty"),
        ({"penalty": NAN}, ValueError, "penalty"),
        ({"penalty": "big"}, TypeError, "penalty"),
        ({"loc": NAN}, ValueError, "loc"),
        ({"loc": "here"}, TypeError, "loc"),
        ({"scale": 0.0}, ValueError, "scale"),
        ({"scale": "wide"}, TypeError, "scale"),
        ({"scale": torch.ones(3)}, ValueError, "loc, scale"),
        ({"line": "yes"}, TypeError, "line"),
    ],
)
def test_bad_points_are_named(change, error, argument):
    with pytest.raises(error, match=f"^{argument}: got .*needs "):
        FourierDensity.fit(**({"x": X, "terms": 4} | change))


@pytest.mark.parametrize(
    "change, error, argument",
    [
        ({"counts": torch.tensor(3.0)}, ValueError, "counts"),
        ({"counts": -torch.ones(9)}, ValueError, "counts"),
        ({"counts": torch.zeros(9)}, ValueError, "counts"),
        ({"counts": torch.eye(9)[:, None] * torch.tensor([[1.0], [0.0]])}, ValueError, "counts"),
        ({"counts": [NAN] * 9}, ValueError, "counts"),
        ({"counts": "data"}, TypeError, "counts"),
        ({"terms": -1}, ValueError, "terms"),
        ({"terms": (2, 3)}, TypeError, "terms"),
        ({"penalty": -1.0}, ValueError, "penalty"),
        ({"scale": -1.0}, ValueError, "scale"),
        ({"loc": NAN}, ValueError, "loc"),
    ],
)
def test_bad_counts_are_named(change, error, argument):
    with pytest.raises(error, match=f"^{argument}: got .*needs "):
        FourierDensity.fit_counts(**({"counts": torch.ones(9), "terms": 4} | change))


def test_a_few_bins_may_be_met_exactly_by_many_terms():
    counts = torch.tensor([50.0, 3.0, 1.0, 20.0], dtype=torch.float64)
    law = FourierDensity.fit_counts(counts, 12, penalty=1e-9)
    edges = torch.linspace(-1, 1, 5, dtype=torch.float64)
    mass = law.bin_log_prob(edges[:-1], edges[1:]).exp()
    torch.testing.assert_close(mass, counts / counts.sum(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("terms", [np.int64(3), torch.tensor(3), (3,), np.array([3]), range(3, 4)])
def test_terms_may_be_any_integer_or_several(terms):
    assert fit(X, terms).terms == 3


def test_points_at_rounded_ends_are_inside():
    for loc, scale in ((0.3, 0.7), (1000.1, 0.1), (-7.7, 1e-3)):
        for dtype in (torch.float32, F64):
            loc_t, scale_t = (torch.tensor(v, dtype=dtype) for v in (loc, scale))
            x = torch.stack([loc_t - scale_t, loc_t, loc_t + scale_t])
            law = FourierDensity.fit(x, 1, loc=loc, scale=scale)
            assert law.log_prob(x).isfinite().all()
