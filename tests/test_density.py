"""Gaussian mixtures against autograd, quadrature and torch; distances against closed forms."""

import math
import re

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import functional
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from kexue.density import GaussianMixture, frechet_distance, kl_on_grid, wasserstein2_on_grid

F64 = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def covariances(k, d, seed=1):
    root = torch.randn(k, d, d, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return root @ root.mT + 0.05 * torch.eye(d, dtype=F64)


W = tensor(0.2, 0.5, 0.3)
M2 = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.3, -2.0]], dtype=F64)
LAWS = {
    "number": GaussianMixture(W, tensor(-1.0, 0.4, 2.0), tensor(0.04, 0.5, 0.2)),
    "isotropic": GaussianMixture(W, M2, tensor(0.04, 0.5, 0.2)),
    "diagonal": GaussianMixture(W, M2, torch.rand(3, 2, dtype=F64) + 0.1),
    "full": GaussianMixture(W, M2, covariances(3, 2)),
}
LINE = torch.linspace(-12, 12, 4801, dtype=F64)
all_laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
noise_levels = pytest.mark.parametrize("alpha, sigma", [(0.95, 0.1), (0.6, 0.8), (0.05, 0.9987)])


def points(law, n=40, scale=2.0):
    return scale * torch.randn(n, *law.event_shape, dtype=F64)


def grad(f, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


# The law -----------------------------------------------------------------------------------


def test_density_is_that_of_torch():
    x = points(LAWS["full"])
    theirs = MixtureSameFamily(Categorical(W), MultivariateNormal(M2, covariances(3, 2)))
    ours = LAWS["full"]
    assert isinstance(ours, Distribution) and ours.batch_shape == () and ours.event_shape == (2,)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    line = LAWS["number"]
    theirs = MixtureSameFamily(Categorical(W), Normal(line.means, line.variances.sqrt()))
    torch.testing.assert_close(line.log_prob(LINE), theirs.log_prob(LINE))
    assert line.support is torch.distributions.constraints.real
    assert ours.support.check(torch.zeros(4, 2)).shape == (4,)


def test_isotropic_diagonal_and_full_agree():
    v = tensor(0.04, 0.5, 0.2)
    diagonal = v[:, None].expand(3, 2)
    laws = [GaussianMixture(W, M2, s) for s in (v, diagonal, torch.diag_embed(diagonal))]
    x = points(laws[0])
    for law in laws[1:]:
        torch.testing.assert_close(law.log_prob(x), laws[0].log_prob(x))
        torch.testing.assert_close(law.score(x), laws[0].score(x))
        torch.testing.assert_close(law.covariance, laws[0].covariance)
        for method in ("posterior_mean", "posterior_variance"):
            one, two = (getattr(each, method)(x, 0.6, 0.8) for each in (law, laws[0]))
            torch.testing.assert_close(one, two)


def test_density_integrates_to_one_and_moments_follow():
    law = LAWS["number"]
    p = law.log_prob(LINE).exp()
    mean = torch.trapezoid(p * LINE, LINE)
    assert torch.trapezoid(p, LINE).item() == pytest.approx(1, abs=1e-12)
    assert mean.item() == pytest.approx(law.mean.item(), abs=1e-12)
    second = torch.trapezoid(p * (LINE - mean) ** 2, LINE)
    assert second.item() == pytest.approx(law.variance.item(), rel=1e-12)


@all_laws
def test_score_is_the_gradient_of_log_prob(law):
    x = points(law)
    torch.testing.assert_close(law.score(x), grad(law.log_prob, x))
    assert law.score(x[0]).shape == law.event_shape and law.log_prob(x[0]).shape == ()
    grid = x.reshape(8, 5, *law.event_shape)
    torch.testing.assert_close(law.score(grid).reshape(x.shape), law.score(x))


@all_laws
@pytest.mark.parametrize("far", [1e3, -1e5])
def test_the_far_tails_are_finite_and_belong_to_one_component(law, far):
    x = torch.full((1, *law.event_shape), far, dtype=F64)
    assert law.log_prob(x).isfinite().all() and law.log_prob(x) < -1e4
    torch.testing.assert_close(law.score(x), grad(law.log_prob, x))
    mean = law.posterior_mean(x, 0.6, 0.8)
    assert mean.isfinite().all() and law.posterior_variance(x, 0.6, 0.8).isfinite().all()


@all_laws
def test_samples_have_the_moments_within_their_error_bars(law):
    n = 40_000
    x = law.sample((n,), generator=torch.Generator().manual_seed(3))
    assert x.shape == (n, *law.event_shape) and not x.requires_grad
    for f in (lambda y: y, lambda y: (y - law.mean) ** 2):
        values, exact = f(x), law.mean if f(law.mean).any() else law.variance
        assert ((values.mean(0) - exact).abs() < 5 * values.std(0) / n**0.5).all()
    if law.event_shape:
        torch.testing.assert_close(torch.cov(x.T), law.covariance, atol=0.05, rtol=0)


def test_samples_follow_the_distribution_function():
    """Kolmogorov-Smirnov: sup |F_n - F| stays below 1.95 / sqrt(n) with probability 0.999."""
    law, n = LAWS["number"], 20_000
    x = law.sample((n,)).sort().values
    cdf = sum(
        w * Normal(m, v.sqrt()).cdf(x)
        for w, m, v in zip(law.weights, law.means, law.variances, strict=True)
    )
    assert (cdf - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / n**0.5


def test_sampling_is_repeatable_and_shaped():
    law = LAWS["diagonal"]
    one, two = (law.sample((2, 3), generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (2, 3, 2) and law.sample().shape == (2,)
    assert GaussianMixture([1.0], [0.0], [1.0]).sample((4,)).dtype == torch.float32
    never = GaussianMixture(tensor(0.0, 1.0), tensor(-9.0, 9.0), tensor(1.0, 1.0))
    assert (never.sample((1000,)) > 0).all() and never.log_prob(tensor(-9.0)).isfinite()


def test_what_a_mixture_does_not_do():
    with pytest.raises(NotImplementedError, match="batch_shape"):
        LAWS["number"].expand((3,))
    with pytest.raises(NotImplementedError):
        LAWS["number"].rsample()


# Noise and denoising -----------------------------------------------------------------------


@noise_levels
def test_noised_is_the_convolution(alpha, sigma):
    law, x = LAWS["number"], torch.linspace(-4, 4, 33, dtype=F64)
    p0 = law.log_prob(LINE).exp()
    kernel = Normal(alpha * LINE, sigma).log_prob(x[:, None]).exp()
    expected = torch.trapezoid(kernel * p0, LINE)
    torch.testing.assert_close(law.noised(alpha, sigma).log_prob(x).exp(), expected)


@all_laws
@settings(max_examples=15)
@given(a=st.floats(0.1, 1), b=st.floats(0, 1), c=st.floats(0.1, 1), d=st.floats(0, 1))
def test_noise_composes(law, a, b, c, d):
    x = torch.linspace(-2, 2, 6, dtype=F64).reshape(-1, *law.event_shape)
    twice = law.noised(a, b).noised(c, d)
    once = law.noised(a * c, math.hypot(c * b, d))
    torch.testing.assert_close(twice.log_prob(x), once.log_prob(x))
    torch.testing.assert_close(twice.variances, once.variances)
    torch.testing.assert_close(law.noised(a, b).mean, a * law.mean)


@all_laws
@noise_levels
def test_posterior_mean_is_tweedies_formula(law, alpha, sigma):
    """E[x_0 | x_t] = (x_t + sigma^2 d log p_t) / alpha, with the gradient from autograd."""
    x_t = points(law)
    score = grad(law.noised(alpha, sigma).log_prob, x_t)
    tweedie = (x_t + sigma**2 * score) / alpha
    torch.testing.assert_close(law.posterior_mean(x_t, alpha, sigma), tweedie)


@all_laws
@noise_levels
def test_posterior_variance_is_the_second_order_formula(law, alpha, sigma):
    """Cov[x_0 | x_t] = sigma^2 / alpha^2 (I + sigma^2 Hessian of log p_t), and
    = sigma^2 / alpha times the Jacobian of the posterior mean."""
    noised = law.noised(alpha, sigma)
    for x_t in points(law, 6):
        d = max(1, x_t.numel())
        hessian = functional.hessian(noised.log_prob, x_t).reshape(d, d)
        expected = (sigma / alpha) ** 2 * (torch.eye(d, dtype=F64) + sigma**2 * hessian)
        ours = law.posterior_variance(x_t, alpha, sigma).reshape(d, d)
        torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-6)
        jacobian = functional.jacobian(lambda y: law.posterior_mean(y, alpha, sigma), x_t)
        torch.testing.assert_close(ours, sigma**2 / alpha * jacobian.reshape(d, d))


@noise_levels
def test_posterior_moments_by_quadrature(alpha, sigma):
    law, x_t = LAWS["number"], torch.linspace(-3, 3, 13, dtype=F64)
    joint = law.log_prob(LINE).exp() * Normal(alpha * LINE, sigma).log_prob(x_t[:, None]).exp()
    joint = joint / torch.trapezoid(joint, LINE)[:, None]
    mean = torch.trapezoid(joint * LINE, LINE)
    variance = torch.trapezoid(joint * (LINE - mean[:, None]) ** 2, LINE)
    torch.testing.assert_close(law.posterior_mean(x_t, alpha, sigma), mean)
    torch.testing.assert_close(law.posterior_variance(x_t, alpha, sigma), variance)


@all_laws
def test_one_noise_level_a_sample(law):
    x_t = points(law, 3)
    alpha, sigma = tensor(0.9, 0.6, 0.0), tensor(0.1, 0.8, 1.0)
    for method in (law.posterior_mean, law.posterior_variance):
        together = method(x_t, alpha, sigma)
        for i in range(3):
            torch.testing.assert_close(together[i], method(x_t[i], alpha[i], sigma[i]))
    torch.testing.assert_close(law.posterior_mean(x_t, alpha, sigma)[2], law.mean)  # no signal
    torch.testing.assert_close(law.posterior_mean(x_t, 0.5, 0.0), x_t / 0.5)  # no noise


def test_one_noise_level_a_point_of_a_table():
    """Levels over two leading axes of the points, for numbers and for vectors."""
    alpha, sigma = torch.rand(2, 3, 4, dtype=F64)
    for law in LAWS.values():
        x_t = torch.randn(3, 4, *law.event_shape, dtype=F64)
        mean, variance = (
            f(x_t, alpha, sigma) for f in (law.posterior_mean, law.posterior_variance)
        )
        for i in range(3):
            for j in range(4):
                one = x_t[i, j], alpha[i, j], sigma[i, j]
                torch.testing.assert_close(mean[i, j], law.posterior_mean(*one))
                torch.testing.assert_close(variance[i, j], law.posterior_variance(*one))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_covariances_may_be_singular_and_not_negative(scale):
    """Rounding is forgiven in proportion to the matrix; a negative variance at any scale is not."""
    direction = torch.randn(20, 3, 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    flat = scale * direction @ direction.mT
    assert (torch.linalg.eigvalsh(flat) < 0).any()  # by rounding
    law = GaussianMixture(torch.full((20,), 0.05, dtype=F64), torch.zeros(20, 3, dtype=F64), flat)
    torch.testing.assert_close(law.covariance, flat.mean(0), rtol=1e-12, atol=0)
    for exact in (torch.diag(tensor(scale, 0.0)), torch.zeros(2, 2, dtype=F64)):
        law = GaussianMixture(tensor(1.0), torch.zeros(1, 2, dtype=F64), exact[None])
        assert torch.equal(law.covariance, exact)
    with pytest.raises(ValueError, match=r"^variances: got an eigenvalue of -"):
        negative = torch.diag(tensor(scale, -1e-8 * scale))
        GaussianMixture(tensor(1.0), torch.zeros(1, 2, dtype=F64), negative[None])


@pytest.mark.parametrize(
    "means, needs",
    [(torch.zeros(2), "(2,)"), (torch.zeros(2, 3), "(2,), (2, 3) or (2, 3, 3)")],
)
def test_the_shapes_that_variances_may_have_are_named(means, needs):
    with pytest.raises(ValueError, match=rf"needs {re.escape(needs)}$"):
        GaussianMixture([0.5, 0.5], means, torch.ones(5))


def test_points_of_data_become_a_softmax():
    """Zero variances: E[x_0 | x_t] is attention from x_t to the data."""
    data = torch.randn(7, 3, dtype=F64)
    law = GaussianMixture(torch.full((7,), 1 / 7, dtype=F64), data, torch.zeros(7, dtype=F64))
    x_t = torch.randn(5, 3, dtype=F64)
    weights = (-(torch.cdist(x_t, 0.6 * data) ** 2) / (2 * 0.8**2)).softmax(-1)
    torch.testing.assert_close(law.posterior_mean(x_t, 0.6, 0.8), weights @ data)
    assert law.noised(0.6, 0.8).log_prob(x_t).isfinite().all()
    for degenerate in (law.log_prob, law.score, lambda x: law.posterior_mean(x, 0.6, 0.0)):
        with pytest.raises(ValueError, match=r"^variances: got a zero"):
            degenerate(x_t)


def test_high_dimension():
    law = GaussianMixture(tensor(0.5, 0.5), torch.randn(2, 300, dtype=F64), tensor(1e-3, 2.0))
    x = law.sample((2,))
    assert law.log_prob(x).isfinite().all() and law.noised(0.1, 0.995).score(x).shape == (2, 300)


# Bad input to a mixture --------------------------------------------------------------------

NAN = math.nan


@pytest.mark.parametrize(
    "weights, means, variances, argument",
    [
        ([0.5, 0.6], [0.0, 1.0], [1.0, 1.0], "weights"),
        ([-0.5, 1.5], [0.0, 1.0], [1.0, 1.0], "weights"),
        ([1.0], [0.0, 1.0], [1.0, 1.0], "weights"),
        ([NAN, 1.0], [0.0, 1.0], [1.0, 1.0], "weights"),
        ([0.5, 0.5], [0.0, NAN], [1.0, 1.0], "means"),
        ([0.5, 0.5], [0, 1], [1.0, 1.0], "means"),
        ([1.0], 0.0, [1.0], "means"),
        ([], [], [], "means"),
        ("ab", [0.0], [1.0], "weights"),
        ([0.5, 0.5], [0.0, 1.0], [1.0, -1.0], "variances"),
        ([0.5, 0.5], [0.0, 1.0], [1.0], "variances"),
        ([0.5, 0.5], [0.0, 1.0], [1.0, math.inf], "variances"),
        ([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.4, 1.0]]], "variances"),
        ([1.0], [[0.0, 1.0]], [[[1.0, 2.0], [2.0, 1.0]]], "variances"),
        ([1.0], [[0.0, 1.0]], [[[1.0]]], "variances"),
    ],
)
def test_bad_parameters_are_named(weights, means, variances, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: "):
        GaussianMixture(weights, means, variances)


BAD_POINTS = st.sampled_from(
    [
        torch.zeros(0, 2),
        torch.zeros(4, 3),
        torch.zeros(2, dtype=torch.int64),
        torch.tensor([NAN, 0.0]),
        torch.tensor([0.0, math.inf]),
        torch.tensor(0.0),
        None,
        "x",
    ]
)
METHODS = {
    "value": lambda law, x: law.log_prob(x),
    "x": lambda law, x: law.score(x),
    "x_t": lambda law, x: law.posterior_mean(x, 0.6, 0.8),
}


@pytest.mark.parametrize("name", [*METHODS])
@settings(max_examples=15)
@given(bad=BAD_POINTS)
def test_bad_points_are_named(name, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got "):
        METHODS[name](LAWS["full"], bad)


@settings(max_examples=25)
@given(
    bad=st.floats(max_value=-1e-6) | st.sampled_from([NAN, math.inf, "1", None]),
    name=st.sampled_from(["alpha", "sigma"]),
)
def test_bad_amplitudes_are_named(bad, name):
    good = {"alpha": 0.6, "sigma": 0.8} | {name: bad}
    law, x = LAWS["diagonal"], torch.zeros(3, 2, dtype=F64)
    for method in (law.noised, lambda **k: law.posterior_mean(x, **k)):
        with pytest.raises((TypeError, ValueError), match=f"^{name}: got "):
            method(**good)


def test_more_bad_amplitudes():
    law, x = LAWS["diagonal"], torch.zeros(3, 2, dtype=F64)
    with pytest.raises(ValueError, match=r"^sigma: got 0 with alpha = 0"):
        law.noised(0, 0)
    with pytest.raises(ValueError, match=r"^alpha: got shape"):
        law.posterior_mean(x, tensor(0.1, 0.2), 0.5)
    for bad in ((0,), (-1,), (2.5,), "a"):
        with pytest.raises((TypeError, ValueError), match=r"^sample_shape: got "):
            law.sample(bad)


# Distances on a grid -----------------------------------------------------------------------


def normal(mean, std, x=LINE):
    return Normal(tensor(mean), tensor(std)).log_prob(x).exp()


@settings(max_examples=15)
@given(
    m=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    s=st.tuples(st.floats(0.1, 1.2), st.floats(0.1, 1.2)),
)
def test_distances_of_gaussians(m, s):
    p, q = (normal(mean, std) for mean, std in zip(m, s, strict=True))
    kl = math.log(s[1] / s[0]) + (s[0] ** 2 + (m[0] - m[1]) ** 2) / (2 * s[1] ** 2) - 0.5
    if 7.5 * s[0] + abs(m[0] - m[1]) < 37 * s[1]:  # beyond, q underflows where p does not
        assert kl_on_grid(p, q, LINE) == pytest.approx(kl, abs=2e-9, rel=1e-9)
    w2 = math.hypot(m[0] - m[1], s[0] - s[1])
    assert wasserstein2_on_grid(p, q, LINE) == pytest.approx(w2, abs=2e-5)
    back = wasserstein2_on_grid(q, p, LINE)
    assert back == pytest.approx(wasserstein2_on_grid(p, q, LINE), abs=1e-12)


def test_wasserstein_converges_at_second_order():
    """The laws differ in one variance; W2 of a mixture by fine quantiles is the reference."""
    errors = []
    for n in (101, 201, 401):
        x = torch.linspace(-8, 8, n, dtype=F64)
        w2 = wasserstein2_on_grid(normal(0, 1.0, x), normal(0, 0.5, x), x)
        errors.append(abs(w2 - 0.5))
    assert errors[0] / errors[1] > 3.5 and errors[1] / errors[2] > 3.5 and errors[2] < 1e-3


def test_wasserstein_across_a_gap():
    """Each half moves outwards by 1; between the halves neither law has mass."""
    p = (normal(-3, 0.05) + normal(3, 0.05)) / 2
    q = (normal(-4, 0.05) + normal(4, 0.05)) / 2
    assert wasserstein2_on_grid(p, q, LINE) == pytest.approx(1, rel=1e-9)
    assert wasserstein2_on_grid(p, p, LINE) == 0
    wide = torch.linspace(-60, 60, 24001, dtype=F64)  # both densities underflow to 0 on most of it
    w2 = wasserstein2_on_grid(normal(-1, 0.5, wide), normal(2, 1.0, wide), wide)
    assert w2 == pytest.approx(math.hypot(3, 0.5), rel=1e-5)


def test_wasserstein_with_mass_at_the_ends():
    """Against the quantile functions themselves, on a fine grid of u."""
    x, u = torch.linspace(0, 1, 6, dtype=F64), (np.arange(400_000) + 0.5) / 400_000
    edges = np.array([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
    p, q = torch.rand(2, 6, dtype=F64) + 0.2
    p, q = p / torch.trapezoid(p, x), q / torch.trapezoid(q, x)
    cdfs = (np.concatenate([[0], np.cumsum(d)]) / d.sum() for d in (p.numpy(), q.numpy()))
    f, g = (np.interp(u, cdf, edges) for cdf in cdfs)
    expected = math.sqrt(((f - g) ** 2).mean())
    assert wasserstein2_on_grid(p, q, x) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_kl_leaves_out_where_p_is_small_beside_its_maximum(scale):
    """There q = 0 may be an underflow; the units of x do not matter."""
    p = normal(0, 1) / scale
    underflow = torch.where(p > 1.01e-12 * p.max(), p, 0.0)
    assert kl_on_grid(p, underflow, LINE * scale) == 0
    hole = torch.where(p > 1e-11 * p.max(), p, 0.0)
    assert kl_on_grid(p, hole, LINE * scale) == math.inf


def test_kl_is_zero_infinite_and_asymmetric_where_it_should_be():
    p, q = normal(0, 1), normal(0, 0.5)
    assert kl_on_grid(p, p, LINE) == 0
    assert kl_on_grid(p, q, LINE) > kl_on_grid(q, p, LINE) > 0
    hole = torch.where(LINE.abs() < 0.5, 0.0, p)
    hole = hole / torch.trapezoid(hole, LINE)
    assert kl_on_grid(p, hole, LINE) == math.inf
    assert kl_on_grid(hole, p, LINE) == pytest.approx(
        -math.log(2 * Normal(0, 1).cdf(torch.tensor(-0.5)).item()), rel=0.01
    )
    assert kl_on_grid(p.numpy(), q.numpy(), LINE.numpy()) == kl_on_grid(p, q, LINE)


@pytest.mark.parametrize("distance", [kl_on_grid, wasserstein2_on_grid])
@pytest.mark.parametrize(
    "change, argument",
    [
        ({"p": normal(0, 1)[:-1]}, "p"),
        ({"q": -normal(0, 1)}, "q"),
        ({"q": 1.01 * normal(0, 1)}, "q"),
        ({"p": normal(11.5, 1)}, "p"),
        ({"p": normal(0.0025, 1e-3)}, "p"),
        ({"p": torch.full_like(LINE, NAN)}, "p"),
        ({"x": LINE.flip(0)}, "x"),
        ({"x": LINE**3}, "x"),
        ({"x": LINE[:2]}, "x"),
        ({"x": "grid"}, "x"),
    ],
)
def test_bad_densities_are_named(distance, change, argument):
    good = {"p": normal(0, 1), "q": normal(0, 1), "x": LINE}
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: "):
        distance(**(good | change))


# Frechet distance --------------------------------------------------------------------------


def cloud(mean, covariance, n=50):
    """Points whose sample mean and unbiased covariance are exactly these."""
    d = len(mean)
    z = torch.randn(n, d, dtype=F64)
    z = z - z.mean(0)
    z = torch.linalg.qr(z).Q * math.sqrt(n - 1)
    return mean + z @ torch.linalg.cholesky(covariance).mT


def closed_form(m1, c1, m2, c2):
    root = scipy.linalg.sqrtm((c1 @ c2).numpy())
    return ((m1 - m2).square().sum() + c1.trace() + c2.trace()).item() - 2 * np.trace(root).real


@pytest.mark.parametrize("d", [1, 2, 6])
def test_frechet_of_gaussian_clouds(d):
    (c1, c2), (m1, m2) = covariances(2, d, seed=d), torch.randn(2, d, dtype=F64)
    a, b = cloud(m1, c1), cloud(m2, c2, 70)
    expected = closed_form(m1, c1, m2, c2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=F64)).Q
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_commuting_covariances():
    m1, m2, s1, s2 = tensor(0, 1), tensor(2, 2), tensor(1, 3), tensor(0.5, 1)
    a, b = cloud(m1, torch.diag(s1**2)), cloud(m2, torch.diag(s2**2))
    expected = ((m1 - m2) ** 2 + (s1 - s2) ** 2).sum().item()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_two_points_each():
    a = tensor(-1.0, 1.0)[:, None]
    assert frechet_distance(a, 3 * a + 4) == pytest.approx(4**2 + (18**0.5 - 2**0.5) ** 2)


def test_frechet_with_fewer_samples_than_dimensions():
    a = torch.randn(10, 64, dtype=F64)
    assert 0 <= frechet_distance(a, a) < 1e-9
    assert frechet_distance(a, a + 1) == pytest.approx(64, rel=1e-6)
    assert frechet_distance(a, 3 * a) == pytest.approx(
        4 * a.var(0).sum().item() + 4 * a.mean(0).square().sum().item(), rel=1e-9
    )


@pytest.mark.parametrize(
    "a, b, argument",
    [
        (torch.randn(1, 3), torch.randn(5, 3), "a"),
        (torch.randn(5, 3), torch.randn(5), "b"),
        (torch.randn(5, 3), torch.randn(5, 4), "b"),
        (torch.full((4, 2), NAN), torch.randn(5, 2), "a"),
        (None, torch.randn(5, 2), "a"),
        (torch.randn(4, 2), torch.zeros(0, 2), "b"),
    ],
)
def test_bad_features_are_named(a, b, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: got "):
        frechet_distance(a, b)
