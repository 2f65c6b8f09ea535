"""The forward SDE of diffusion models: its law, and the score of that law, for any mixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.density import GaussianMixture
from kexue.fokker_planck.laws import mixture
from kexue.fokker_planck.sde import SDE, Field
from kexue.schedule import Cosine, DiscreteSchedule, Linear, Schedule, Su

__all__ = ["VariancePreserving"]


class VariancePreserving(SDE):
    r"""dx = -b(t) x dt + sqrt(2 b(t)) dw, where b = -d log alpha / dt: diffusion models, forward.

    Its law at t is that of alpha(t) x_0 + sigma(t) eps with the schedule's alpha and sigma.

    Args:
        schedule: of real times, t in [0, 1]: ``Cosine``, ``Linear``, ``Su`` or your own.

    ``Cosine`` has alpha = 0 at t = 1 and reaches it by an infinite rate b; its law at 1 is N(0, 1),
    but the SDE has to stop (a reversal: to start) a little earlier.

    Raises:
        TypeError: a discrete schedule. ValueError: when called with a float, a time outside
            [0, 1], or one at which the rate is infinite. Times that are tensors are not looked at.

    Source: Song et al. 2021 (arXiv:2011.13456), equation 11, where beta(t) is 2 b(t).

    >>> vp = VariancePreserving(Cosine())
    >>> vp.law(1.0, GaussianMixture([1.0], [3.0], [0.0])).variance
    tensor(1.)
    >>> f"{vp.rate(0.5):.4f}"  # pi/2 tan(pi/4)
    '1.5708'
    """

    def __init__(self, schedule: Schedule) -> None:
        if isinstance(schedule, DiscreteSchedule) or not isinstance(schedule, Schedule):
            raise TypeError(
                f"schedule: got {schedule!r}, needs a schedule of real times such as Cosine(); "
                "integer times have no derivative"
            )
        self.schedule = schedule
        super().__init__(
            lambda x, t: -self.rate(t) * x, lambda x, t: (2 * self.rate(t)) ** 0.5, additive=True
        )

    def rate(self, t: Any) -> Any:
        """b(t) = -d log alpha / dt, a float for a float and a tensor for a tensor."""
        if isinstance(t, Tensor):
            return _rate(self.schedule, t, torch.tan)
        rate = _rate(self.schedule, _check.real("t", t, 0, 1), math.tan)
        if not rate < 1e15:  # tan(pi / 2) is 1.6e16 in double precision
            raise ValueError(f"t: got {t:g}, where alpha = 0 and the rate is infinite; needs less")
        return rate

    def law(self, t: float, start: GaussianMixture) -> GaussianMixture:
        """Exact law at time ``t`` in [0, 1] of the process that has the law ``start`` at time 0."""
        return mixture("start", start).noised(*self.schedule(_check.real("t", t, 0, 1)))

    def score(self, start: GaussianMixture) -> Field:
        """grad log p_t(x), a function of (x, t), where p_0 is ``start``.

        It equals ``law(t, start).score(x)`` but for rounding and is several times faster.

        Raises:
            TypeError: ``start`` is no mixture. ValueError: when called, points of another shape;
                for a float, t = 0 where the start has no density, or t outside [0, 1].

        >>> score = VariancePreserving(Linear()).score(GaussianMixture([1.0], [0.0], [1.0]))
        >>> score(torch.tensor([2.0]), 0.3)  # N(0, 1) stays N(0, 1)
        tensor([-2.])
        """
        start = mixture("start", start)

        def score(x: Tensor, t: Any) -> Tensor:
            if isinstance(t, Tensor):
                log_alpha = self.schedule._log_alpha(t)
            else:
                log_alpha = self.schedule.log_alpha(_check.real("t", t, 0, 1))
                if log_alpha == 0 and (start._l == 0).any():
                    raise ValueError(f"t: got {t:g}, where the start has no density; needs more")
            return _noised_score(start, x, log_alpha.to(x))

        return score


def _noised_score(start: GaussianMixture, x: Tensor, log_alpha: Tensor) -> Tensor:
    """Score of the law of alpha x_0 + sigma eps: sum_k r_k(x) S_k^{-1} (alpha m_k - x), where
    S_k = Q_k diag(v_k) Q_k^T with v_k = alpha^2 l_k + sigma^2.

    The axis of the components comes first and coordinates are kept apart: every operation then runs
    along the particles, and a compiler can fuse them all.
    """
    d = start._m.shape[1]
    if start.event_shape and x.shape[-1:] != start.event_shape:
        raise ValueError(f"x: got shape {tuple(x.shape)}, needs (..., {d})")
    points = x.unbind(-1) if start.event_shape else [x]

    def column(value: Tensor) -> Tensor:  # (K,), to stand before the particles
        return value.to(x).reshape(-1, *[1] * points[0].ndim)

    alpha, noise = log_alpha.exp(), -torch.expm1(2 * log_alpha)
    v = [column(start._l[:, i]) * alpha**2 + noise for i in range(d)]
    z = [alpha * column(start._m[:, i]) - points[i] for i in range(d)]
    q = start._q
    if q is not None:  # Q^T z
        z = [sum(column(q[:, j, i]) * z[j] for j in range(d)) for i in range(d)]
    pull = [z[i] / v[i] for i in range(d)]
    energy = sum(z[i] * pull[i] + v[i].log() for i in range(d)) / 2
    r = torch.softmax(column(start.weights).log() - energy, 0)
    pull = [r * p for p in pull]
    if q is not None:  # Q pull
        pull = [sum(column(q[:, j, i]) * pull[i] for i in range(d)) for j in range(d)]
    score = [p.sum(0) for p in pull]
    return torch.stack(score, -1) if start.event_shape else score[0]


def _rate(schedule: Schedule, t: Any, tan: Callable) -> Any:
    """-d log alpha / dt at a float or a tensor, by hand where the schedule is one of ours."""
    if isinstance(schedule, Cosine):
        return math.pi / 2 * tan(math.pi / 2 * t)
    if isinstance(schedule, Linear):
        return (schedule.beta_min + (schedule.beta_max - schedule.beta_min) * t) / 2
    if isinstance(schedule, Su):
        return 10 * t
    with torch.enable_grad():
        time = torch.as_tensor(t, dtype=torch.float64).detach().requires_grad_()
        (slope,) = torch.autograd.grad(schedule.log_alpha(time), time)
    return -slope if isinstance(t, Tensor) else -slope.item()
