"""SDEs whose law is known at every time, to test against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.integrate import quad
from torch import Tensor

from kexue import _check
from kexue.density import GaussianMixture
from kexue.fokker_planck.sde import SDE, Field
from kexue.schedule import Cosine, DiscreteSchedule, Linear, Schedule, Su

__all__ = [
    "DoubleWell",
    "OrnsteinUhlenbeck",
    "VariancePreserving",
]


class OrnsteinUhlenbeck(SDE):
    r"""dx = -theta (x - mean) dt + sigma dw: a spring in a bath.

    >>> ou = OrnsteinUhlenbeck(theta=1.0, sigma=2**0.5)
    >>> start = GaussianMixture([1.0], [3.0], [0.0])
    >>> law = ou.law(0.5, start)
    >>> f"{law.mean:.4f} {law.variance:.4f}"  # 3 exp(-1/2), 1 - exp(-1)
    '1.8196 0.6321'
    """

    def __init__(self, theta: float, sigma: float, mean: float = 0.0) -> None:
        self.theta = _check.real("theta", theta)
        self.sigma = _check.real("sigma", sigma, low=0)
        self.mean = _check.real("mean", mean)
        super().__init__(lambda x, t: -self.theta * (x - self.mean), self.sigma, steady=True)

    def law(self, t: float, start: GaussianMixture) -> GaussianMixture:
        """Law at time ``t`` of the process that starts with the law ``start``."""
        t, start = _check.real("t", t, low=0), _mixture(start)
        if t == 0:
            return start
        decay = math.exp(-self.theta * t)
        # sigma^2 (1 - exp(-2 theta t)) / (2 theta), whose limit at theta = 0 is sigma^2 t
        rate = 2 * self.theta
        variance = self.sigma**2 * (-math.expm1(-rate * t) / rate if rate else t)
        law = start.noised(decay, math.sqrt(variance))
        return GaussianMixture(law.weights, law.means + (1 - decay) * self.mean, law.variances)

    def stationary(self) -> GaussianMixture:
        """N(mean, sigma^2 / (2 theta)), the law that stays."""
        if self.theta <= 0 or self.sigma == 0:
            raise ValueError("theta: got no pull or no noise, needs both for a stationary density")
        mean = torch.tensor([self.mean], dtype=torch.float64)
        variance = torch.full_like(mean, self.sigma**2 / (2 * self.theta))
        return GaussianMixture(torch.ones_like(mean), mean, variance)


class VariancePreserving(SDE):
    r"""dx = -b(t) x dt + sqrt(2 b(t)) dw, with b = -d log alpha / dt of a noise schedule.

    Its law at t is that of alpha(t) x_0 + sigma(t) eps: diffusion models, forward.

    >>> vp = VariancePreserving(Linear())
    >>> vp.law(1.0, GaussianMixture([1.0], [3.0], [0.0]))
    GaussianMixture(K=1, event_shape=())
    """

    def __init__(self, schedule: Schedule) -> None:
        if isinstance(schedule, DiscreteSchedule):
            raise TypeError("schedule: got a DiscreteSchedule, needs one of real times")
        if not isinstance(schedule, Schedule):
            raise TypeError(f"schedule: got {type(schedule).__name__}, needs a Schedule")
        self.schedule = schedule
        super().__init__(
            lambda x, t: -self.rate(t).to(x.dtype) * x,
            lambda x, t: (2 * self.rate(t)).sqrt().to(x.dtype),
            additive=True,
        )

    def rate(self, t: Any) -> Tensor:
        """b(t) = -d log alpha / dt, a 0-d tensor."""
        t = torch.as_tensor(t, dtype=torch.float64)
        s = self.schedule
        if isinstance(s, Cosine):
            return math.pi / 2 * torch.tan(math.pi / 2 * t)
        if isinstance(s, Linear):
            return (s.beta_min + (s.beta_max - s.beta_min) * t) / 2
        if isinstance(s, Su):
            return 10 * t
        raise NotImplementedError

    def law(self, t: float, start: GaussianMixture) -> GaussianMixture:
        """Law at time ``t`` of the process that starts with the law ``start``."""
        alpha, sigma = self.schedule(_check.real("t", t, 0, 1))
        return _mixture(start).noised(alpha, sigma)

    def score(self, start: GaussianMixture) -> Field:
        """grad log p_t(x) for the start ``start``, a function of (x, t)."""
        return lambda x, t: self.law(t, start).score(x)


class DoubleWell(SDE):
    r"""dx = (x - x^3) dt + noise dw: two valleys at -1 and 1 of U = x^4 / 4 - x^2 / 2.

    >>> DoubleWell(0.8).drift(torch.tensor([-1.0, 0.5]), 0.0)
    tensor([0.0000, 0.3750])
    """

    def __init__(self, noise: float) -> None:
        self.noise = _check.real("noise", noise, low=0)
        super().__init__(lambda x, t: x - x**3, self.noise, steady=True)

    def stationary(self) -> Stationary:
        """The law that stays, exp(-2 U / noise^2) / Z."""
        if self.noise == 0:
            raise ValueError("noise: got 0, needs a positive one for a stationary density")
        return Stationary(self.noise)


class Stationary:
    """exp(-2 U(x) / noise^2) / Z with U = x^4 / 4 - x^2 / 2   (eq-fp-langevin)."""

    def __init__(self, noise: float) -> None:
        self.noise = noise
        self.log_z = 0.0
        self.log_z = math.log(self.expect(lambda x: 1.0))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), in the shape of ``x``."""
        return (x**2 - x**4 / 2) / self.noise**2 - self.log_z

    def expect(self, phi: Callable[[float], float]) -> float:
        """E phi(x) by quadrature, for a function of one number."""
        reach = math.sqrt(1 + 9 * self.noise)

        def integrand(x: float) -> float:
            return phi(x) * math.exp((x**2 - x**4 / 2) / self.noise**2 - self.log_z)

        return quad(integrand, -reach, reach, points=[-1.0, 0.0, 1.0], limit=200)[0]


def _mixture(start: Any) -> GaussianMixture:
    if not isinstance(start, GaussianMixture):
        raise TypeError(f"start: got {type(start).__name__}, needs a GaussianMixture")
    return start
