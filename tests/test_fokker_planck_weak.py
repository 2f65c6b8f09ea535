"""The generator against derivatives by hand, the weak residual against sums that are exact."""

import math

import pytest
import torch

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    SDE,
    TEST_FUNCTIONS,
    DoubleWell,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    Rotation,
    generator,
    platen_step,
    residual,
)

F64 = torch.float64
X = torch.linspace(-2.5, 2.5, 11, dtype=F64)
PLANE = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
OU = OrnsteinUhlenbeck(0.7, 0.9, mean=0.4)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def bump_derivatives(x):
    """phi = exp(1 - 1/u), u = 1 - x^2/9: phi' = phi u'/u^2, phi'' = phi (u'^2/u^4 + u''/u^2 -
    2 u'^2/u^3)."""
    u, du, ddu = 1 - x**2 / 9, -2 * x / 9, -2 / 9
    phi = torch.exp(1 - 1 / u)
    return phi * du / u**2, phi * (du**2 / u**4 + ddu / u**2 - 2 * du**2 / u**3)


DERIVATIVES = {
    "bump": bump_derivatives,
    "tanh": lambda x: (1 / x.cosh() ** 2, -2 * x.tanh() / x.cosh() ** 2),
    "cos": lambda x: (-x.sin(), -x.cos()),
    "gauss": lambda x: (
        -2 * (x - 0.5) * torch.exp(-((x - 0.5) ** 2)),
        (4 * (x - 0.5) ** 2 - 2) * torch.exp(-((x - 0.5) ** 2)),
    ),
}


@pytest.mark.parametrize("name", TEST_FUNCTIONS)
@pytest.mark.parametrize(
    "sde",
    [
        OU,
        DoubleWell(0.8),
        GeometricBrownian(0.3, 0.5),
        SDE(lambda x, t: x * t, lambda x, t: t * torch.cos(x)),
    ],
)
def test_generator_of_numbers(sde, name):
    first, second = DERIVATIVES[name](X)
    g = sde.diffusion(X, 0.3)
    expected = sde.drift(X, 0.3) * first + 0.5 * g**2 * second
    torch.testing.assert_close(generator(sde, TEST_FUNCTIONS[name])(X, 0.3), expected)


PAIR = SDE(
    lambda x, t: torch.stack([x[:, 1] ** 2, t - x[:, 0]], -1),
    lambda x, t: torch.stack([1 + x[:, 1] ** 2, x[:, 0]], -1),
)
WIDE = SDE(
    lambda x, t: -x,
    lambda x, t: torch.stack([torch.cos(x), x, 0 * x + t], -1),
    matrix=True,
)


def test_generator_in_the_plane():
    """phi = x^2 y + sin(x y): gradient and Hessian by hand."""

    def phi(x):
        return x[..., 0] ** 2 * x[..., 1] + torch.sin(x[..., 0] * x[..., 1])

    x, y = PLANE.unbind(-1)
    s, c = torch.sin(x * y), torch.cos(x * y)
    gradient = torch.stack([2 * x * y + y * c, x**2 + x * c], -1)
    mixed = 2 * x + c - x * y * s
    hessian = torch.stack(
        [torch.stack([2 * y - y**2 * s, mixed], -1), torch.stack([mixed, -(x**2) * s], -1)], -1
    )
    for sde in (
        PAIR,
        WIDE,
        SDE(lambda x, t: x, 0.7),
        SDE(lambda x, t: x, torch.tensor([1.0, 2.0])),
    ):
        g = sde.diffusion(PLANE, 0.3)
        if not sde.matrix:
            g = torch.diag_embed(torch.as_tensor(g, dtype=F64).expand(9, 2))
        d = g @ g.mT
        expected = (sde.drift(PLANE, 0.3) * gradient).sum(-1) + 0.5 * (d * hessian).sum((-1, -2))
        torch.testing.assert_close(generator(sde, phi)(PLANE, 0.3), expected)
    expected = (Rotation(1.3).drift(PLANE, 0.0) * gradient).sum(-1)
    torch.testing.assert_close(generator(Rotation(1.3), phi)(PLANE, 0.0), expected)


def test_linear_and_constant_functions():
    assert torch.equal(generator(OU, lambda x: x)(X, 0.0), OU.drift(X, 0.0))
    assert torch.equal(generator(OU, torch.ones_like)(X, 0.0), torch.zeros_like(X))


def test_generator_can_be_applied_again():
    """L^2 x^2 for geometric Brownian motion: L x^k = (k mu + k (k-1) sigma^2 / 2) x^k, where the
    noise depends on x, and must not be derived in the inner application."""
    price, rate = GeometricBrownian(0.3, 0.5), 2 * 0.3 + 0.25
    first = generator(price, torch.square)
    torch.testing.assert_close(first(X, 0.0), rate * X**2)
    twice = generator(price, lambda x: first(x, 0.0))(X, 0.0)
    torch.testing.assert_close(twice, rate**2 * X**2)
    assert not twice.requires_grad
    y = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(first(y, 0.0).sum(), y)
    torch.testing.assert_close(slope, 2 * rate * X)


def test_the_generator_is_the_adjoint_of_the_fokker_planck_operator():
    """d/dt E phi = E L phi, both by quadrature over the exact law (eq-fp-dynkin)."""
    start = GaussianMixture(
        *(torch.tensor(v, dtype=F64) for v in ([0.3, 0.7], [-1, 1], [0.1, 0.4]))
    )
    x, t, h = torch.linspace(-9, 9, 4001, dtype=F64), 0.5, 1e-4
    for phi in TEST_FUNCTIONS.values():
        after, before = (
            torch.trapezoid(OU.law(s, start).log_prob(x).exp() * phi(x), x) for s in (t + h, t - h)
        )
        now = torch.trapezoid(OU.law(t, start).log_prob(x).exp() * generator(OU, phi)(x, t), x)
        torch.testing.assert_close((after - before) / (2 * h), now, rtol=1e-6, atol=1e-8)


def test_the_stationary_law_is_one_on_which_every_generator_averages_to_zero():
    sde, x = DoubleWell(0.8), torch.linspace(-4, 4, 4001, dtype=F64)
    p = sde.stationary().log_prob(x).exp()
    for phi in TEST_FUNCTIONS.values():
        assert abs(torch.trapezoid(p * generator(sde, phi)(x, 0.0), x)) < 1e-10


def test_bump_has_compact_support_and_every_derivative_there():
    bump = TEST_FUNCTIONS["bump"]
    edge = torch.tensor([-50.0, -3.0, -2.999999, 2.999999, 3.0, 50.0], dtype=F64)
    values = generator(SDE(lambda x, t: 1 + 0 * x, 1.0), bump)(edge, 0.0)
    assert torch.equal(values, torch.zeros_like(edge)) and (bump(edge) == 0).all()


# Residual ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.1, 0.01])
def test_residual_is_exact_where_it_can_be(dt):
    """dx = -x dt + dw, phi = x^2, coin flips and their opposites: ((1 - dt)^2 x^2 + dt - x^2) / dt
    minus 1 - 2 x^2 is dt x^2 for each particle."""
    sde = SDE(lambda x, t: -x, 1.0)
    r = residual(sde, torch.square, X, 0.0, dt, noise="two-point", antithetic=True)
    assert r.estimate == pytest.approx(dt * X.square().mean().item(), rel=1e-9)
    assert r.error == pytest.approx(dt * X.square().std().item() / math.sqrt(len(X)), rel=1e-9)
    ode = residual(SDE(lambda x, t: -x, 0.0), torch.square, X, 0.0, dt)
    assert ode.estimate == pytest.approx(r.estimate, rel=1e-9)


@pytest.mark.parametrize("name", TEST_FUNCTIONS)
def test_residual_falls_like_dt_and_its_error_like_the_root_of_n(name):
    """Coin flips and their opposites are all the noise there is: only the particles are random."""
    sde, phi = DoubleWell(0.8), TEST_FUNCTIONS[name]
    x = 2.5 * torch.rand(40_000, generator=rng(), dtype=F64) - 1

    def run(x, dt):
        return residual(sde, phi, x, 0.0, dt, noise="two-point", antithetic=True)

    large, small = run(x, 0.02), run(x, 0.005)
    assert math.log(large.estimate / small.estimate, 4) == pytest.approx(1, abs=0.1)
    assert run(x[:2500], 0.005).error / small.error == pytest.approx(4, rel=0.1)


def test_the_standard_error_covers_the_truth():
    """Of 200 independent estimates, those farther than two standard errors from the exact value
    (dt m_2 - see above - with m_2 = 1/2 for the stationary law) are about 5 %."""
    sde, dt, misses = SDE(lambda x, t: -x, 1.0), 0.05, 0
    g = rng()
    for _ in range(200):
        x = torch.randn(500, generator=g, dtype=F64) / math.sqrt(2)
        r = residual(sde, torch.square, x, 0.0, dt, generator=g)
        misses += abs(r.estimate - dt / 2) > 2 * r.error
    assert 2 <= misses <= 22


def test_opposite_noise_takes_away_most_of_the_error():
    plain, paired = (
        residual(OU, torch.tanh, X.repeat(100), 0.0, 1e-4, generator=rng(), antithetic=a)
        for a in (False, True)
    )
    assert paired.error < plain.error / 20


def test_residual_in_the_plane_and_with_other_steps():
    def phi(x):
        return torch.cos(x[..., 0] - x[..., 1])

    for sde in (PAIR, WIDE):
        many = PLANE.repeat(2000, 1)
        r = residual(sde, phi, many, 0.3, 1e-3, generator=rng(), antithetic=True)
        assert abs(r.estimate) < 4 * r.error + 0.02
    r = residual(OU, torch.tanh, X, 0.0, 0.01, platen_step, "three-point", rng(), True)
    assert math.isfinite(r.estimate)


@pytest.mark.parametrize(
    "error, match, call",
    [
        (TypeError, "sde", lambda: generator(None, torch.cos)),
        (TypeError, "phi", lambda: generator(OU, 1.0)),
        (ValueError, "phi", lambda: generator(OU, lambda x: x.sum())(X, 0.0)),
        (ValueError, "phi", lambda: generator(OU, lambda x: 1.0)(X, 0.0)),
        (ValueError, "phi", lambda: generator(OU, lambda x: x[..., None])(PLANE, 0.0)),
        (ValueError, "x:", lambda: generator(OU, torch.cos)(X * math.nan, 0.0)),
        (TypeError, "x:", lambda: generator(OU, torch.cos)(torch.arange(3), 0.0)),
        (ValueError, "x:", lambda: residual(OU, torch.cos, X[:1], 0.0, 0.1)),
        (ValueError, "dt", lambda: residual(OU, torch.cos, X, 0.0, 0.0)),
        (ValueError, "noise", lambda: residual(OU, torch.cos, X, 0.0, 0.1, noise="no")),
        (TypeError, "phi", lambda: residual(OU, None, X, 0.0, 0.1)),
        (TypeError, "sde", lambda: residual(None, torch.cos, X, 0.0, 0.1)),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
