"""Exact laws: against quadrature, Bessel functions, moments and one another."""

import math

import numpy as np
import pytest
import scipy.special
import torch

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    DoubleWell,
    DoubleWellLaw,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    Rotation,
    VariancePreserving,
)
from kexue.schedule import Cosine, Linear, Su

F64 = torch.float64
SCHEDULES = [Cosine(), Linear(), Linear(0.0, 4.0), Su()]


def t64(values):
    return torch.tensor(values, dtype=F64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


LINE = GaussianMixture(t64([0.3, 0.7]), t64([-1.0, 1.5]), t64([0.1, 0.4]))
FORMS = [t64([0.5, 0.2]), t64([[0.5, 0.3], [0.2, 0.6]]), t64([[[0.5, 0.2], [0.2, 0.3]]] * 2)]
PLANES = [GaussianMixture(t64([0.6, 0.4]), t64([[-1.0, 0.5], [1.0, 0.0]]), v) for v in FORMS]


# Ornstein-Uhlenbeck ------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [-0.5, 0.0, 1e-9, 0.7])
@pytest.mark.parametrize("start", [LINE, *PLANES])
def test_ou_moments_solve_their_equations(theta, start):
    """dm/dt = -theta (m - mean) and dV/dt = -2 theta V + sigma^2, by central differences."""
    ou, t, h = OrnsteinUhlenbeck(theta, 0.9, mean=0.4), 0.8, 1e-4
    low, law, high = (ou.law(s, start) for s in (t - h, t, t + h))
    slope = (high.mean - low.mean) / (2 * h)
    torch.testing.assert_close(slope, -theta * (law.mean - 0.4), atol=1e-7, rtol=0)
    slope = (high.covariance - low.covariance) / (2 * h)
    noise = 0.81 * torch.eye(2, dtype=F64) if start.event_shape else t64(0.81)
    torch.testing.assert_close(slope, noise - 2 * theta * law.covariance, atol=1e-7, rtol=0)
    beginning = ou.law(0.0, start)
    torch.testing.assert_close(beginning.mean, start.mean)
    torch.testing.assert_close(beginning.covariance, start.covariance)


def test_ou_is_a_markov_process_that_forgets():
    ou, x = OrnsteinUhlenbeck(0.7, 0.9, 0.4), torch.linspace(-3, 3, 13, dtype=F64)
    twice = ou.law(0.5, ou.law(0.3, LINE))
    torch.testing.assert_close(twice.log_prob(x), ou.law(0.8, LINE).log_prob(x))
    last = ou.stationary()
    torch.testing.assert_close(ou.law(60.0, LINE).log_prob(x), last.log_prob(x))
    torch.testing.assert_close(ou.law(0.3, last).log_prob(x), last.log_prob(x))


# Geometric Brownian motion -----------------------------------------------------------------


def test_price_moments():
    """E x^k = x_0^k exp(k mu t + k (k - 1) sigma^2 t / 2), from d/dt E x^k = E L x^k."""
    law, x0, t = GeometricBrownian(0.4, 0.6).law(0.7, t64([1.0, 2.0])), t64([1.0, 2.0]), 0.7
    torch.testing.assert_close(law.mean, x0 * math.exp(0.4 * t))
    second = law.variance + law.mean**2
    torch.testing.assert_close(second, x0**2 * math.exp((2 * 0.4 + 0.36) * t))


def test_stratonovich_drift_belongs_to_the_midpoint():
    """Heun's step, which takes g halfway, with the drift f - g g' / 2 has the generator of the Itô
    SDE with the drift f: a step differs from x^2 + dt L x^2 by O(dt^2). With f itself, by O(dt)."""
    price, x = GeometricBrownian(0.4, 0.6), t64([1.3])
    z, w = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(12))

    def gap(drift, dt):
        kick = math.sqrt(dt) * z
        ahead = x + drift(x, 0.0) * dt + price.diffusion(x, 0.0) * kick
        after = x + (drift(x, 0.0) + drift(ahead, dt)) / 2 * dt
        after = after + (price.diffusion(x, 0.0) + price.diffusion(ahead, dt)) / 2 * kick
        mean = (w / w.sum()) @ after**2
        return (mean - x**2 * (1 + (2 * 0.4 + 0.36) * dt)).abs().item()

    for drift, order in ((price.stratonovich_drift, 2), (price.drift, 1)):
        assert math.log(gap(drift, 4e-3) / gap(drift, 1e-3), 4) == pytest.approx(order, abs=0.05)


# Variance preserving -----------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_rate_is_the_slope_of_log_alpha(schedule):
    vp = VariancePreserving(schedule)
    for t in (0.0, 0.2, 0.5, 0.9):
        time = t64(t).requires_grad_()
        (slope,) = torch.autograd.grad(schedule.log_alpha(time), time)
        assert vp.rate(t) == pytest.approx(-slope.item(), rel=1e-12, abs=1e-15)
        assert isinstance(vp.rate(t), float)
        torch.testing.assert_close(vp.rate(t64(t)), -slope)
        x = torch.ones(2)
        assert vp.diffusion(x, t) ** 2 == pytest.approx(-2 * slope.item(), rel=1e-12, abs=1e-15)
        assert vp.drift(x, t)[0].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("start", [LINE, *PLANES])
def test_score_is_that_of_the_law(schedule, start):
    vp = VariancePreserving(schedule)
    score = vp.score(start)
    x = 2 * torch.randn((5, 3, *start.event_shape), generator=rng(), dtype=F64)
    for t in (0.0, 0.1, 0.7, 1.0):
        law = vp.law(t, start)
        torch.testing.assert_close(score(x, t), law.score(x), rtol=1e-9, atol=1e-9)
        y = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(law.log_prob(y).sum(), y)
        torch.testing.assert_close(score(x, t), slope, rtol=1e-9, atol=1e-9)
        if t < 1:
            torch.testing.assert_close(score(x, t64(t)), score(x, t), rtol=1e-9, atol=1e-9)
        assert score(x.float(), t).dtype == torch.float32


def test_score_far_out_and_of_a_component_without_weight():
    law = GaussianMixture(t64([0.0, 1.0]), t64([5.0, -1.0]), t64([0.1, 0.2]))
    vp = VariancePreserving(Linear())
    x = t64([-1e4, 5.0, 1e4])
    torch.testing.assert_close(vp.score(law)(x, 0.2), vp.law(0.2, law).score(x))


def test_cosine_ends_in_noise_where_the_sde_has_no_rate():
    vp = VariancePreserving(Cosine())
    assert vp.law(1.0, LINE).mean == 0.0 and vp.law(1.0, LINE).variance == 1.0
    assert 1e5 < vp.rate(1 - 1e-6) < 1e7
    with pytest.raises(ValueError, match="infinite"):
        vp.rate(1.0)


def test_points_of_data_have_no_score_at_the_start():
    score = VariancePreserving(Linear()).score(GaussianMixture([1.0], [2.0], [0.0]))
    assert torch.isfinite(score(torch.ones(2), 1e-3)).all()
    with pytest.raises(ValueError, match="no density"):
        score(torch.ones(2), 0.0)
    with pytest.raises(ValueError, match="x:"):
        VariancePreserving(Linear()).score(PLANES[0])(torch.ones(4, 3), 0.1)
    with pytest.raises(ValueError, match="t:"):
        score(torch.ones(2), 1.5)


# Rotation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", PLANES)
def test_rotation_turns_the_law(start):
    law, quarter = Rotation(2.0).law(math.pi / 4, start), t64([[0.0, -1.0], [1.0, 0.0]])
    torch.testing.assert_close(law.mean, quarter @ start.mean)
    torch.testing.assert_close(law.covariance, quarter @ start.covariance @ quarter.mT)
    x = torch.randn(7, 2, generator=rng(), dtype=F64)
    torch.testing.assert_close(law.log_prob(x @ quarter.mT), start.log_prob(x))
    whole = Rotation(2.0).law(math.pi, start)
    torch.testing.assert_close(whole.log_prob(x), start.log_prob(x))


# Double well -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.005, 0.1, 0.4, 0.8, 2.0, 30.0])
def test_double_well_normalizer_and_second_moment(noise):
    """int exp(-(x^2 - 1)^2 / (2 g^2)) dx = pi/2 e^{-z} (I_{-1/4}(z) + I_{1/4}(z)), z = 1/(4 g^2);
    the second moment from integrating d(x p) to 0: E[1 + x 2 (x - x^3) / g^2] = 0."""
    law, z = DoubleWell(noise).stationary(), 1 / (4 * noise**2)
    exact = math.pi / 2 * (scipy.special.ive(-0.25, z) + scipy.special.ive(0.25, z))
    assert math.exp(law.log_z) == pytest.approx(exact, rel=1e-12)
    second, fourth = law.expect(torch.square), law.expect(lambda x: x**4)
    assert second - fourth == pytest.approx(-(noise**2) / 2, rel=1e-8)
    assert law.expect(lambda x: x) == pytest.approx(0, abs=1e-12)


def test_double_well_law_is_stationary():
    """The current f p - 1/2 g^2 p' vanishes everywhere."""
    sde, x = DoubleWell(0.8), torch.linspace(-2, 2, 41, dtype=F64)
    law = sde.stationary()
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(law.log_prob(y).sum(), y)
    torch.testing.assert_close(law.score(x), slope)
    torch.testing.assert_close(sde.drift(x, 0.0), 0.5 * 0.64 * slope)


@pytest.mark.parametrize("noise", [0.1, 0.8, 5.0])
def test_double_well_samples(noise):
    law, n = DoubleWellLaw(noise), 20_000
    x = law.sample((n // 2, 2), generator=rng())
    assert x.shape == (n // 2, 2) and torch.equal(x, law.sample((n // 2, 2), generator=rng()))
    for phi in (torch.square, torch.tanh, torch.cos, lambda x: (x > 0).double()):
        value = phi(x)
        assert abs(value.mean() - law.expect(phi)) < 4 * value.std() / math.sqrt(n)
    assert (
        law.sample().shape == () and law.sample(3).shape == (3,) and law.sample((1,)).shape == (1,)
    )


@pytest.mark.parametrize(
    "error, match, call",
    [
        (ValueError, "noise", lambda: DoubleWell(-1.0)),
        (ValueError, "noise", lambda: DoubleWell(0.0).stationary()),
        (ValueError, "noise", lambda: DoubleWellLaw(math.nan)),
        (ValueError, "value", lambda: DoubleWellLaw(1.0).log_prob(t64([math.nan]))),
        (ValueError, "x:", lambda: DoubleWellLaw(1.0).score(t64([math.inf]))),
        (ValueError, "sample_shape", lambda: DoubleWellLaw(1.0).sample((0,))),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
