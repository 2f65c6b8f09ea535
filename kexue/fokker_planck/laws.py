"""SDEs whose law is known at every time, or in the end: what everything else is tested against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import LogNormal

from kexue import _check
from kexue.density import GaussianMixture
from kexue.fokker_planck.sde import SDE

__all__ = [
    "DoubleWell",
    "DoubleWellLaw",
    "GeometricBrownian",
    "OrnsteinUhlenbeck",
    "Rotation",
]


class OrnsteinUhlenbeck(SDE):
    r"""dx = -theta (x - mean) dt + sigma dw: a spring in a bath, on every coordinate.

    x_t = mean + e^{-theta t} (x_0 - mean) + N(0, sigma^2 (1 - e^{-2 theta t}) / (2 theta)).

    Args:
        theta: the pull, per time; 0 is Brownian motion, a negative one pushes away.
        sigma: noise >= 0. mean: the center, one number.

    >>> ou = OrnsteinUhlenbeck(theta=1.0, sigma=2**0.5)
    >>> law = ou.law(0.5, GaussianMixture([1.0], [3.0], [0.0]))
    >>> f"{law.mean:.4f} {law.variance:.4f}"  # 3 exp(-1/2) and 1 - exp(-1)
    '1.8196 0.6321'
    """

    def __init__(self, theta: float, sigma: float, mean: float = 0.0) -> None:
        theta, mean = _check.real("theta", theta), _check.real("mean", mean)
        self.theta, self.sigma, self.mean = theta, _check.real("sigma", sigma, low=0), mean
        super().__init__(lambda x, t: -theta * (x - mean), self.sigma, steady=True)

    def law(self, t: float, start: GaussianMixture) -> GaussianMixture:
        """Exact law at time ``t`` >= 0 of the process that has the law ``start`` at time 0."""
        t, start = _check.real("t", t, low=0), mixture("start", start)
        decay, rate = math.exp(-self.theta * t), 2 * self.theta
        variance = self.sigma**2 * (-math.expm1(-rate * t) / rate if rate else t)
        law = start.noised(decay, math.sqrt(variance))
        return GaussianMixture(law.weights, law.means + (1 - decay) * self.mean, law.variances)

    def stationary(self) -> GaussianMixture:
        """N(mean, sigma^2 / (2 theta)), float64: the law that stays   (eq-fp-langevin).

        >>> OrnsteinUhlenbeck(1.0, 2.0).stationary().variance
        tensor(2., dtype=torch.float64)
        """
        if self.theta <= 0 or self.sigma == 0:
            raise ValueError(
                f"theta, sigma: got {self.theta:g} and {self.sigma:g}, needs both positive for a "
                "stationary density"
            )
        mean = torch.tensor([self.mean], dtype=torch.float64)
        variance = torch.full_like(mean, self.sigma**2 / (2 * self.theta))
        return GaussianMixture(torch.ones_like(mean), mean, variance)


class GeometricBrownian(SDE):
    r"""dx = mu x dt + sigma x dw, a price: the noise depends on the state.

    log x_t = log x_0 + (mu - sigma^2 / 2) t + sigma w_t, so x_t is log-normal.

    Args:
        mu: growth of the mean, per time. sigma: noise >= 0.

    >>> law = GeometricBrownian(mu=1.0, sigma=0.5).law(1.0, x0=1.0)
    >>> f"{law.mean:.4f}"
    '2.7183'
    """

    def __init__(self, mu: float, sigma: float) -> None:
        mu, sigma = _check.real("mu", mu), _check.real("sigma", sigma, low=0)
        self.mu, self.sigma = mu, sigma
        super().__init__(lambda x, t: mu * x, lambda x, t: sigma * x, steady=True)

    def law(self, t: float, x0: Any) -> LogNormal:
        """Exact law at ``t`` > 0 of the process that is at ``x0`` > 0, a number, at time 0."""
        x0 = _check.positive("x0", _check.tensor("x0", x0, dtype=torch.float64))
        scale = self.sigma * math.sqrt(_check.real("t", t, low=0))
        if scale == 0:
            raise ValueError(f"t: got {t:g} with sigma = {self.sigma:g}, needs noise for a density")
        return LogNormal(x0.log() + (self.mu - self.sigma**2 / 2) * t, scale)

    def stratonovich_drift(self, x: Tensor, t: Any) -> Tensor:
        """f - 1/2 g g' = (mu - sigma^2 / 2) x: the drift with which the same process is written
        dx = f_S dt + g o dw in the sense of Stratonovich   (eq-fp-stratonovich).

        >>> GeometricBrownian(mu=1.0, sigma=1.0).stratonovich_drift(torch.tensor([2.0]), 0.0)
        tensor([1.])
        """
        return (self.mu - self.sigma**2 / 2) * x


class Rotation(SDE):
    """dx = omega (-x_2, x_1) dt in the plane, without noise: the continuity equation alone.

    >>> Rotation(2.0).drift(torch.tensor([[1.0, 0.0]]), 0.0)
    tensor([[-0., 2.]])
    """

    def __init__(self, omega: float) -> None:
        omega = self.omega = _check.real("omega", omega)
        super().__init__(
            lambda x, t: omega * torch.stack([-x[..., 1], x[..., 0]], -1), 0.0, steady=True
        )

    def law(self, t: float, start: GaussianMixture) -> GaussianMixture:
        """Exact law at time ``t``: ``start``, of event shape (2,), turned by omega t."""
        start = mixture("start", start)
        if start.event_shape != (2,):
            raise ValueError(f"start: got event shape {tuple(start.event_shape)}, needs (2,)")
        angle = self.omega * _check.real("t", t)
        c, s = math.cos(angle), math.sin(angle)
        turn = start.means.new_tensor([[c, -s], [s, c]])
        v = start.variances
        if v.ndim == 1:  # the same in all directions
            return GaussianMixture(start.weights, start.means @ turn.mT, v)
        v = torch.diag_embed(v) if v.ndim == 2 else v
        return GaussianMixture(start.weights, start.means @ turn.mT, turn @ v @ turn.mT)


class DoubleWell(SDE):
    r"""dx = (x - x^3) dt + noise dw: two valleys, at -1 and 1, of U(x) = x^4 / 4 - x^2 / 2.

    The law at a time is not known in closed form, the last one is (``stationary``).

    Args:
        noise: >= 0. The barrier between the valleys is 1/4, to be held against noise^2 / 2.

    >>> DoubleWell(0.8).drift(torch.tensor([-1.0, 0.5]), 0.0)
    tensor([0.0000, 0.3750])
    """

    def __init__(self, noise: float) -> None:
        self.noise = _check.real("noise", noise, low=0)
        super().__init__(lambda x, t: x - x**3, self.noise, steady=True)

    def stationary(self) -> DoubleWellLaw:
        """The law that stays, exp(-2 U / noise^2) / Z   (eq-fp-langevin)."""
        return DoubleWellLaw(self.noise)


class DoubleWellLaw:
    r"""p(x) = exp(-(x^2 - 1)^2 / (2 noise^2)) / Z: exp(-2 U / noise^2), a factor apart.

    Z and expectations by adaptive quadrature (SciPy's QUADPACK), float64.

    >>> law = DoubleWell(0.8).stationary()
    >>> f"{law.expect(torch.square):.6f}"
    '0.844691'
    """

    def __init__(self, noise: float) -> None:
        self.noise = _check.real("noise", noise, low=0)
        if self.noise == 0:
            raise ValueError("noise: got 0, needs a positive one for a stationary density")
        self.log_z = 0.0
        self.log_z = math.log(self.expect(torch.ones_like))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x), in the shape of ``value``."""
        x = _check.tensor("value", value)
        return -((x**2 - 1) ** 2) / (2 * self.noise**2) - self.log_z

    def score(self, x: Tensor) -> Tensor:
        """d log p / dx = 2 (x - x^3) / noise^2, in the shape of ``x``."""
        x = _check.tensor("x", x)
        return 2 * (x - x**3) / self.noise**2

    def expect(self, phi: Callable[[Tensor], Any]) -> float:
        """E phi(x) = int phi p dx, for a function of one number given as a float64 tensor."""

        def integrand(x: float) -> float:
            x = torch.tensor(x, dtype=torch.float64)
            return float(phi(x) * self.log_prob(x).exp())

        # exp(-(x^2 - 1)^2 / (2 noise^2)) is below 1e-323 beyond the last of these; the others keep
        # narrow peaks from being overlooked.
        ends = [math.sqrt(max(0.0, 1 + k * self.noise)) for k in (-6.0, -1.0, 0.0, 1.0, 6.0, 39.0)]
        ends = sorted({0.0, *ends, *(-end for end in ends)})
        return sum(
            quad(integrand, a, b, epsabs=1e-14, epsrel=1e-12)[0]
            for a, b in itertools.pairwise(ends)
        )

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        """Independent draws, float64, by rejection from |x| ~ N(1, noise^2).

        (x^2 - 1)^2 = (|x| - 1)^2 (|x| + 1)^2 is at least (|x| - 1)^2, the exponent of that law.
        """
        shape = _check.sample_shape(sample_shape)
        like = {"generator": generator, "dtype": torch.float64}
        if generator is not None:
            like["device"] = generator.device
        x = torch.empty(0, dtype=torch.float64, device=like.get("device"))
        while len(x) < shape.numel():
            r = 1 + self.noise * torch.randn(2 * shape.numel() + 16, **like)
            chance = torch.exp(((r - 1) ** 2 - (r**2 - 1) ** 2) / (2 * self.noise**2))
            u, side = torch.rand(2, len(r), **like)
            x = torch.cat([x, torch.where(side < 0.5, -r, r)[(r > 0) & (u < chance)]])
        return x[: shape.numel()].reshape(shape)


def mixture(name: str, law: Any) -> GaussianMixture:
    """Check that ``law`` is a Gaussian mixture."""
    if not isinstance(law, GaussianMixture):
        raise TypeError(f"{name}: got {type(law).__name__}, needs a GaussianMixture")
    return law
