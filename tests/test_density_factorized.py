"""The factorized prior: a distribution function by construction, its derivative, its masses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Distribution

from kexue.density import FactorizedPrior, GaussianMixture

F64 = torch.float64


def law(filters=(3, 3), batch=(), seed=0, spread=1.0, **place):
    generator = torch.Generator().manual_seed(seed)
    shape = (*batch, FactorizedPrior.count(filters))
    theta = spread * torch.randn(shape, generator=generator, dtype=F64)
    return FactorizedPrior(theta, filters, **place)


def reach(prior, tail=50.0):
    """Points so far out that the logit of the distribution function is beyond +-tail."""
    y = torch.tensor(1.0, dtype=F64)
    while (
        not (prior._logit("y", y)[0] > tail).all() or not (prior._logit("y", -y)[0] < -tail).all()
    ):
        y = 2 * y
    return y.item()


laws = given(
    seed=st.integers(0, 999),
    filters=st.sampled_from([(), (1,), (3, 3), (2, 4), (3,) * 5]),
    loc=st.floats(-3, 3),
    scale=st.floats(0.1, 5),
)


@settings(max_examples=30)
@laws
def test_it_is_a_distribution_function(seed, filters, loc, scale):
    prior = law(filters, seed=seed, loc=loc, scale=scale)
    end = reach(prior)
    y = torch.linspace(-end, end, 2001, dtype=F64)
    cdf = prior.cdf(y)
    assert (cdf.diff() >= 0).all() and cdf[0] < 1e-20 and cdf[-1] == 1
    # Strictly so before the rounding of the sigmoid: the logit increases everywhere.
    assert (prior._logit("y", y)[1] > 0).all() and (prior._logit("y", y)[0].diff() > 0).all()


@settings(max_examples=30)
@laws
def test_the_density_is_its_derivative(seed, filters, loc, scale):
    prior = law(filters, seed=seed, loc=loc, scale=scale)
    y = (loc + scale * torch.randn(50, dtype=F64)).requires_grad_()
    (slope,) = torch.autograd.grad(prior.cdf(y).sum(), y)
    torch.testing.assert_close(
        prior.log_prob(y).exp(), slope, rtol=1e-9, atol=1e-12
    )  # autograd: c (1 - c)


def test_the_density_integrates_to_one():
    prior = law(batch=(4,), spread=0.5)
    end = reach(prior)
    y = torch.linspace(-end, end, 400_001, dtype=F64)
    mass = torch.trapezoid(prior.log_prob(y[:, None]).exp(), y, dim=0)
    torch.testing.assert_close(mass, torch.ones(4, dtype=F64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("filters", [(3, 3), (2, 5), ()])
def test_a_batch_is_its_members_one_at_a_time(filters):
    loc, scale = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([[1.0], [2.0]])
    prior = law(filters, (2, 3), loc=loc, scale=scale)
    assert isinstance(prior, Distribution) and prior.batch_shape == (2, 3)
    y = torch.randn(7, 5, 2, 3, dtype=F64)
    for method in ("cdf", "log_prob"):
        together = getattr(prior, method)(y)
        assert together.shape == y.shape
        assert getattr(prior, method)(y[0, 0, 0, 0]).shape == (2, 3)
        assert getattr(prior, method)(y[..., :1]).shape == y.shape
        for i in range(2):
            for j in range(3):
                one = FactorizedPrior(prior.theta[i, j], filters, loc[j], scale[i, 0])
                alone = getattr(one, method)(y[:, :, i, j])
                torch.testing.assert_close(together[:, :, i, j], alone)
    wide = prior.expand((4, 2, 3))
    torch.testing.assert_close(wide.cdf(y[0, 0]), prior.cdf(y[0, 0]).expand(4, 2, 3))


def test_without_layers_it_is_the_logistic_law():
    theta = torch.tensor([math.log(math.e - 1), 0.0], dtype=F64)  # H = 1, b = 0
    prior = FactorizedPrior(theta, (), loc=2.0, scale=0.5)
    y = torch.linspace(-40, 40, 101, dtype=F64)
    u = (y - 2) / 0.5
    expected = -u.abs() - 2 * torch.log1p(torch.exp(-u.abs())) + math.log(2)
    torch.testing.assert_close(prior.log_prob(y), expected)


def test_masses_of_bins_are_accurate_in_both_tails():
    """Where both ends have distribution function 1 in floating point, symmetry still holds."""
    theta = torch.tensor([math.log(math.e - 1), 0.0], dtype=F64)
    prior = FactorizedPrior(theta, ())
    for low, high in ((50.0, 51.0), (600.0, 700.0), (1.0, 1.001)):
        right, left = prior.bin_log_prob(low, high), prior.bin_log_prob(-high, -low)
        exact = -low + math.log(-math.expm1(low - high))  # sigmoid(-low) is exp(-low)
        torch.testing.assert_close(right, left)
        if low > 40:
            assert right.item() == pytest.approx(exact, rel=1e-12)
    everything = prior.bin_log_prob(-math.inf, math.inf)
    assert everything.item() == 0 and prior.bin_log_prob(0.0, math.inf).exp().item() == 0.5


@settings(max_examples=20)
@laws
def test_bins_add_up_and_are_the_difference(seed, filters, loc, scale):
    prior = law(filters, seed=seed, loc=loc, scale=scale)
    edges = loc + scale * torch.linspace(-3, 3, 40, dtype=F64)
    edges = torch.cat([edges.new_tensor([-math.inf]), edges, edges.new_tensor([math.inf])])
    mass = prior.bin_log_prob(edges[:-1], edges[1:]).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-12)
    inner = prior.cdf(edges[1:-1])
    torch.testing.assert_close(mass[1:-1], inner.diff(), rtol=1e-6, atol=1e-14)


def test_parameter_counts():
    assert FactorizedPrior.count((3, 3)) == 28 and FactorizedPrior.count((3,) * 5) == 73
    assert law((2, 4)).parameters == FactorizedPrior.count((2, 4)) == 2 + 8 + 4 + 7 + 6


# Fitting -----------------------------------------------------------------------------------


def gaussian_pair(n, seed=0):
    mixture = GaussianMixture([0.3, 0.7], [-1.0, 1.5], [0.09, 0.25])
    return mixture, mixture.sample((n,), generator=torch.Generator().manual_seed(seed)).double()


def test_a_fit_approaches_the_law_of_the_data():
    mixture, x = gaussian_pair(20_000)
    fitted = FactorizedPrior.fit(x, steps=600, generator=torch.Generator().manual_seed(1))
    assert fitted.parameters == 28 and fitted.batch_shape == ()
    gap = mixture.log_prob(x.float()).double() - fitted.log_prob(x)
    assert gap.mean() < 0.01  # nats; gap.mean() estimates the KL divergence
    assert not fitted.theta.requires_grad


def test_fits_in_a_batch_are_fits_one_at_a_time():
    _, x = gaussian_pair(3000)
    batch = torch.stack([x, 10 - 3 * x])
    starts = [torch.Generator().manual_seed(2) for _ in range(2)]
    together = FactorizedPrior.fit(batch, steps=150, generator=starts[0])
    assert together.batch_shape == (2,)
    first = FactorizedPrior.fit(batch[:1], steps=150, generator=starts[1])
    y = torch.linspace(-3, 4, 50, dtype=F64)[:, None]
    torch.testing.assert_close(together.cdf(y)[:, :1], first.cdf(y), rtol=0, atol=0.02)


def test_a_fit_moves_and_stretches_with_its_data():
    _, x = gaussian_pair(3000)
    seeds = [torch.Generator().manual_seed(2) for _ in range(2)]
    near = FactorizedPrior.fit(x, steps=60, generator=seeds[0])
    far = FactorizedPrior.fit(100 + 8 * x, steps=60, generator=seeds[1])
    y = torch.linspace(-3, 4, 50, dtype=F64)
    torch.testing.assert_close(near.cdf(y), far.cdf(100 + 8 * y), rtol=0, atol=1e-6)


def test_counts_of_whole_numbers_are_fitted_by_their_exact_masses():
    counts = torch.tensor([5.0, 10.0, 40.0, 30.0, 15.0])  # of the numbers 0..4
    seed = torch.Generator().manual_seed(0)
    fitted = FactorizedPrior.fit_counts(counts, loc=2.0, scale=2.5, generator=seed)
    k = torch.arange(5, dtype=F64)
    masses = fitted.bin_log_prob(k - 0.5, k + 0.5).exp()
    torch.testing.assert_close(masses, counts.double() / 100, rtol=0, atol=0.02)


# Bad input ---------------------------------------------------------------------------------

THETA = torch.zeros(28)


@pytest.mark.parametrize(
    "arguments, argument",
    [
        ((torch.zeros(27),), "theta"),
        ((0.5,), "theta"),
        ((torch.full((28,), math.nan),), "theta"),
        ((torch.zeros(28, dtype=torch.int64),), "theta"),
        (("x",), "theta"),
        ((THETA, 3), "filters"),
        ((THETA, (3, 0)), "filters"),
        ((THETA, (3, 3.5)), "filters"),
        ((THETA, (3, 3), math.inf), "loc"),
        ((THETA, (3, 3), 0.0, 0.0), "scale"),
        ((THETA, (3, 3), torch.zeros(2), torch.ones(3)), "theta, loc, scale"),
    ],
)
def test_bad_parameters_are_named(arguments, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: got"):
        FactorizedPrior(*arguments)


def test_bad_points_are_named():
    prior = law(batch=(2,))
    for method in (prior.cdf, prior.log_prob):
        with pytest.raises(ValueError, match=r"^value: got NaN"):
            method(math.nan)
        with pytest.raises(ValueError, match=r"^value: got shape \(3,\), needs .* \(2,\)"):
            method(torch.zeros(3))
    for low, high in ((1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match=r"^low: got a bin with low >= high"):
            prior.bin_log_prob(low, high)


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: FactorizedPrior.fit([1.0, 1.0]), "x"),
        (lambda: FactorizedPrior.fit([1.0, math.inf]), "x"),
        (lambda: FactorizedPrior.fit(3.0), "x"),
        (lambda: FactorizedPrior.fit([1.0, 2.0], bins=1), "bins"),
        (lambda: FactorizedPrior.fit([1.0, 2.0], steps=0), "steps"),
        (lambda: FactorizedPrior.fit([1.0, 2.0], lr=-1.0), "lr"),
        (lambda: FactorizedPrior.fit_counts([0, 0, 0]), "counts"),
        (lambda: FactorizedPrior.fit_counts([3, -1]), "counts"),
        (lambda: FactorizedPrior.fit_counts(3), "counts"),
    ],
)
def test_a_bad_fit_is_named(call, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: got"):
        call()
