"""SDEs and their laws: the Fokker-Planck equation itself, by automatic differentiation.

The densities below are written out once more, as functions of x and t that can be differentiated,
and put into dp/dt = -div(f p) + 1/2 sum_ij d_i d_j (D_ij p) at random points.
"""

import math

import pytest
import torch

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    SDE,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    Rotation,
    VariancePreserving,
    probability_flow,
    reverse,
    same_marginals,
)
from kexue.schedule import Cosine, Linear, Schedule, Su, su

F64 = torch.float64
NAN = math.nan
LINE = GaussianMixture(*(torch.tensor(v, dtype=F64) for v in ([0.3, 0.7], [-1, 1.5], [0.1, 0.4])))
PLANE = GaussianMixture(
    torch.tensor([0.6, 0.4], dtype=F64),
    torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=F64),
    torch.tensor([[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.6]]], dtype=F64),
)


class Half(Schedule):
    """A schedule that the package does not know: alpha = exp(-t^3 / 2)."""

    def _time(self, name, t):
        return torch.as_tensor(t, dtype=F64)

    def _log_alpha(self, t):
        return -(t**3) / 2

    def timesteps(self, n, stop=0.0):
        raise NotImplementedError


def grad(function):
    """The gradient of a function of one tensor, which can be differentiated again."""

    def gradient(x):
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x, create_graph=True, materialize_grads=True)[0]

    return gradient


def gauss(x, mean, covariance):
    """Density of N(mean, covariance) at one point x, (d,)."""
    z = x - mean
    quadratic = z @ torch.linalg.solve(covariance, z)
    return torch.exp(-0.5 * quadratic) / (2 * math.pi * covariance).det().sqrt()


def mixture(start, x, a, b, s):
    """Density at x, (d,), of a x_0 + b + N(0, s), where x_0 has the law ``start``."""
    d = len(x)
    means, v = start.means.reshape(-1, d), start.variances.reshape(len(start.means), -1)
    v = [c.reshape(d, d) if c.numel() == d * d else c.diag() for c in v]
    return sum(
        w * gauss(x, a @ m + b, a @ c @ a.mT + s)
        for w, m, c in zip(start.weights, means, v, strict=True)
    )


def eye(d):
    return torch.eye(d, dtype=F64)


def ou_density(theta, sigma, mean, start, d):
    """As mixtures do not know of time, that of an Ornstein-Uhlenbeck process; sigma (d, k)."""

    def p(x, t):
        a = torch.exp(-theta * t) * eye(d)
        s = (1 - torch.exp(-2 * theta * t)) / (2 * theta) * sigma @ sigma.mT
        return mixture(start, x, a, mean - a @ (mean * torch.ones(d, dtype=F64)), s)

    return p


def vp_density(schedule, start, d):
    def p(x, t):
        alpha = schedule.log_alpha(t).exp()
        return mixture(start, x, alpha * eye(d), 0.0, (1 - alpha**2) * eye(d))

    return p


def coefficients(sde, x, t):
    """f, (d,), and D = g g^T, (d, d), at one point x, (d,): numbers as d = 1, (1,) particles."""
    batch = x if len(x) == 1 else x[None]
    f, g = sde.drift(batch, t).reshape(-1), sde.diffusion(batch, t)
    if sde.matrix:
        g = g.reshape(len(x), -1)
        return f, g @ g.mT
    return f, torch.diag((torch.as_tensor(g, dtype=F64) * torch.ones_like(batch)).reshape(-1) ** 2)


def fokker_planck_gap(sde, p, x, t):
    """dp/dt + div(f p) - 1/2 sum_ij d_i d_j (D_ij p) at the point x, (d,)."""
    now = torch.tensor(t, dtype=F64)
    gap = grad(lambda time: p(x, time))(now)
    for i in range(len(x)):
        gap = gap + grad(lambda y, i=i: coefficients(sde, y, t)[0][i] * p(y, now))(x)[i]
        for j in range(len(x)):
            slope = grad(lambda y, i=i, j=j: coefficients(sde, y, t)[1][i, j] * p(y, now))
            gap = gap - 0.5 * grad(lambda y, i=i, s=slope: s(y)[i])(x)[j]
    return gap.detach().abs().item()


def score_of(p):
    """grad log p, a function of (x, t) for particles (n,) or (n, d)."""

    def score(x, t):
        points = x[:, None] if x.ndim == 1 else x
        each = [grad(lambda y: p(y, torch.as_tensor(t, dtype=F64)).log())(y) for y in points]
        return torch.stack(each).reshape(x.shape)

    return score


def points(d, seed=0, count=4, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, d, generator=g, dtype=F64)


MATRIX = torch.tensor([[0.8, 0.0, 0.3], [-0.5, 0.6, 0.2]], dtype=F64)
TILTED = SDE(lambda x, t: -0.7 * x, MATRIX, matrix=True)
OU_LINE = OrnsteinUhlenbeck(0.7, 0.9, mean=0.4)
PROCESSES = {
    "ou": (OU_LINE, ou_density(0.7, 0.9 * eye(1), 0.4, LINE, 1), 1),
    "ou-plane": (OrnsteinUhlenbeck(0.7, 0.9), ou_density(0.7, 0.9 * eye(2), 0.0, PLANE, 2), 2),
    "matrix": (TILTED, ou_density(0.7, MATRIX, 0.0, PLANE, 2), 2),
    "cosine": (VariancePreserving(Cosine()), vp_density(Cosine(), LINE, 1), 1),
    "linear": (VariancePreserving(Linear()), vp_density(Linear(), PLANE, 2), 2),
    "su": (VariancePreserving(Su()), vp_density(Su(), LINE, 1), 1),
    "own": (VariancePreserving(Half()), vp_density(Half(), LINE, 1), 1),
}
processes = pytest.mark.parametrize("name", PROCESSES)
TIMES = [0.3, 0.6]


# The equation ------------------------------------------------------------------------------


@processes
def test_forward(name):
    sde, p, d = PROCESSES[name]
    for x, t in zip(points(d), TIMES * 2, strict=True):
        assert fokker_planck_gap(sde, p, x, t) < 1e-10


@processes
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.7])
def test_the_family_keeps_the_marginals(name, noise):
    sde, p, d = PROCESSES[name]
    other = same_marginals(sde, score_of(p), noise)
    assert other.deterministic == (noise == 0)
    for x, t in zip(points(d, 1, 2), TIMES, strict=True):
        assert fokker_planck_gap(other, p, x, t) < 1e-9


@processes
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 1.7])
def test_reversed_marginals(name, noise):
    sde, p, d = PROCESSES[name]
    stop = 0.8
    back = reverse(sde, score_of(p), stop, noise)
    for x, tau in zip(points(d, 2, 2), TIMES, strict=True):
        assert fokker_planck_gap(back, lambda y, s: p(y, stop - s), x, tau) < 1e-9


def test_the_flow_is_the_member_without_noise_and_one_is_the_sde_itself():
    sde, p, _ = PROCESSES["ou"]
    x, score = points(1)[:, 0], score_of(p)
    flow, zero = probability_flow(sde, score), same_marginals(sde, score)
    assert flow.deterministic and torch.equal(flow.drift(x, 0.3), zero.drift(x, 0.3))
    one = same_marginals(sde, score, 1.0)
    torch.testing.assert_close(one.drift(x, 0.3), sde.drift(x, 0.3))
    assert one.diffusion(x, 0.3) == sde.diffusion(x, 0.3) and one.additive


def test_a_wrong_family_is_seen():
    """The test above can fail: with the coefficient 1 instead of 1/2 the gap is not small."""
    sde, p, _ = PROCESSES["ou"]
    score = score_of(p)
    wrong = SDE(lambda x, t: sde.drift(x, t) - sde.sigma**2 * score(x, t), 0.0)
    assert fokker_planck_gap(wrong, p, points(1)[0], 0.3) > 1e-2


def test_state_dependent_noise_has_its_coefficient_inside():
    """Geometric Brownian motion, and two of them with correlated noise: log x is Gaussian."""
    mu, sigma, x0 = 0.3, 0.5, 1.2

    def line(x, t):
        z = (x / x0).log() - (mu - sigma**2 / 2) * t
        return (gauss(z, 0.0, (sigma**2 * t).reshape(1, 1)) / x).squeeze()

    price = GeometricBrownian(mu, sigma)
    s = torch.tensor([[0.5, 0.1], [-0.2, 0.4]], dtype=F64)
    pair = SDE(lambda x, t: mu * x, lambda x, t: x[..., None] * s, matrix=True)

    def plane(x, t):
        z = (x / x0).log() - (mu - (s**2).sum(1) / 2) * t
        return gauss(z, 0.0, s @ s.mT * t) / x.prod()

    for t in TIMES:
        for x in points(1, 3).exp():
            assert fokker_planck_gap(price, line, x, t) < 1e-9
            law = price.law(t, x0).log_prob(x).exp().squeeze()
            torch.testing.assert_close(law, line(x, torch.tensor(t, dtype=F64)))
        for x in points(2, 3, scale=0.3).exp():
            assert fokker_planck_gap(pair, plane, x, t) < 1e-8


def test_rotation_carries_the_density_along():
    sde = Rotation(1.3)

    def p(x, t):
        c, s = torch.cos(1.3 * t), torch.sin(1.3 * t)
        turn = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
        return mixture(PLANE, x, turn, 0.0, torch.zeros(2, 2, dtype=F64))

    for x, t in zip(points(2), TIMES * 2, strict=True):
        assert fokker_planck_gap(sde, p, x, t) < 1e-10
        law = sde.law(t, PLANE)
        torch.testing.assert_close(law.log_prob(x).exp(), p(x, torch.tensor(t, dtype=F64)))


# What an SDE is given ------------------------------------------------------------------------


def test_diffusion_is_a_number_a_tensor_or_a_function():
    x = torch.ones(4, 2)
    assert SDE(lambda x, t: x, 2).diffusion(x, 0.0) == 2.0
    column = torch.tensor([1.0, 3.0])
    sde = SDE(lambda x, t: x, column)
    assert sde.additive and not sde.deterministic
    assert torch.equal(sde.spread(sde.diffusion(x, 0.0), x), torch.tensor([[1.0, 3.0]] * 4))
    assert not SDE(lambda x, t: x, lambda x, t: x).additive
    assert SDE(lambda x, t: x, lambda x, t: t, additive=True).additive
    assert SDE(lambda x, t: x, 0).deterministic
    assert repr(sde) == "SDE(one noise a coordinate, additive)"
    assert "matrix noise" in repr(TILTED)


def test_coefficients_come_in_the_dtype_of_the_state():
    """A score in double precision must not turn the particles into doubles."""
    vp = VariancePreserving(Linear())
    back = reverse(vp, vp.score(LINE), 0.9)
    x = torch.zeros(3)
    assert back.drift(x, 0.1).dtype == torch.float32
    wide = SDE(lambda x, t: x.double(), lambda x, t: torch.ones(3, dtype=F64))
    assert wide.drift(x, 0.0).dtype == wide.diffusion(x, 0.0).dtype == torch.float32


def test_a_matrix_multiplies_each_particle():
    x, eps = points(2, 0, 5), points(3, 1, 5)
    g = torch.randn(5, 2, 3, dtype=F64)
    sde = SDE(lambda x, t: x, lambda x, t: g, matrix=True)
    got = sde.spread(sde.diffusion(x, 0.0), eps)
    torch.testing.assert_close(got, torch.stack([a @ b for a, b in zip(g, eps, strict=True)]))


def test_reversed_time_may_overshoot_by_rounding_and_not_by_more():
    seen = []
    sde = SDE(lambda x, t: seen.append(t) or x, 1.0)
    back = reverse(sde, lambda x, t: -x, stop=0.3)
    x = torch.ones(1)
    back.drift(x, 0.1 + 0.2)  # is 0.30000000000000004
    assert seen == [0.0]
    back.drift(x, torch.tensor(0.1))
    torch.testing.assert_close(seen[1], torch.tensor(0.2))
    for tau in (-0.01, 0.31):
        with pytest.raises(ValueError, match="tau"):
            back.drift(x, tau)


X = torch.ones(3)
ROWS = SDE(lambda x, t: x, torch.ones(5, 2, 3), matrix=True)


def constant(value):
    return lambda x, t: value


@pytest.mark.parametrize(
    "error, match, call",
    [
        (TypeError, "drift", lambda: SDE(1.0, 1.0)),
        (TypeError, "diffusion", lambda: SDE(constant(X), "1")),
        (ValueError, "diffusion", lambda: SDE(constant(X), NAN)),
        (ValueError, "diffusion", lambda: SDE(constant(X), torch.tensor([1.0, NAN]))),
        (ValueError, "diffusion.*matrix", lambda: SDE(constant(X), 1.0, matrix=True)),
        (ValueError, "diffusion", lambda: SDE(constant(X), torch.ones(2), matrix=True)),
        (ValueError, "additive", lambda: SDE(constant(X), 1.0, additive=False)),
        (ValueError, "drift", lambda: SDE(constant(torch.ones(3, 1)), 1.0).drift(X, 0.0)),
        (TypeError, "drift", lambda: SDE(constant(0.0), 1.0).drift(X, 0.0)),
        (
            ValueError,
            "diffusion",
            lambda: SDE(constant(X), constant(torch.ones(3, 1))).diffusion(X, 0.0),
        ),
        (
            ValueError,
            "diffusion",
            lambda: SDE(constant(X), constant(torch.ones(2))).diffusion(X, 0.0),
        ),
        (ValueError, "diffusion", lambda: TILTED.diffusion(torch.ones(4, 3), 0.0)),
        (ValueError, "diffusion", lambda: ROWS.diffusion(torch.ones(4, 2), 0.0)),
        (ValueError, "diffusion", lambda: SDE(constant(X), torch.ones(1, 2), True).diffusion(X, 0)),
        (ValueError, "noise", lambda: same_marginals(OU_LINE, constant(X), -0.1)),
        (ValueError, "noise", lambda: same_marginals(OU_LINE, constant(X), NAN)),
        (
            ValueError,
            "score",
            lambda: same_marginals(OU_LINE, constant(torch.ones(3, 1))).drift(X, 0.0),
        ),
        (TypeError, "score", lambda: same_marginals(OU_LINE, constant(1.0)).drift(X, 0.0)),
        (
            ValueError,
            r"div\(g g\^T\)",
            lambda: same_marginals(GeometricBrownian(1, 1), constant(X)),
        ),
        (ValueError, r"div\(g g\^T\)", lambda: reverse(GeometricBrownian(1, 1), constant(X), 1.0)),
        (TypeError, "sde", lambda: probability_flow(constant(X), constant(X))),
        (TypeError, "score", lambda: probability_flow(OU_LINE, 1.0)),
        (ValueError, "stop", lambda: reverse(OU_LINE, constant(X), 0.0)),
        (ValueError, "stop", lambda: reverse(OU_LINE, constant(X), math.inf)),
        (ValueError, "theta", lambda: OrnsteinUhlenbeck(NAN, 1.0)),
        (ValueError, "sigma", lambda: OrnsteinUhlenbeck(1.0, -1.0)),
        (ValueError, "t:", lambda: OU_LINE.law(-0.1, LINE)),
        (TypeError, "start", lambda: OU_LINE.law(0.1, torch.distributions.Normal(0.0, 1.0))),
        (ValueError, "theta", lambda: OrnsteinUhlenbeck(-1.0, 1.0).stationary()),
        (ValueError, "theta, sigma", lambda: OrnsteinUhlenbeck(1.0, 0.0).stationary()),
        (ValueError, "sigma", lambda: GeometricBrownian(1.0, -1.0)),
        (ValueError, "x0", lambda: GeometricBrownian(1.0, 1.0).law(1.0, 0.0)),
        (ValueError, "t:", lambda: GeometricBrownian(1.0, 1.0).law(0.0, 1.0)),
        (TypeError, "schedule.*derivative", lambda: VariancePreserving(su())),
        (TypeError, "schedule", lambda: VariancePreserving("cosine")),
        (ValueError, "infinite", lambda: VariancePreserving(Cosine()).drift(X, 1.0)),
        (ValueError, "t:", lambda: VariancePreserving(Cosine()).drift(X, 1.1)),
        (ValueError, "t:", lambda: VariancePreserving(Su()).law(-0.1, LINE)),
        (TypeError, "start", lambda: VariancePreserving(Su()).score(None)),
        (ValueError, "omega", lambda: Rotation(math.inf)),
        (ValueError, "start", lambda: Rotation(1.0).law(1.0, LINE)),
        (ValueError, "drift", lambda: Rotation(1.0).drift(X, 0.0)),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
