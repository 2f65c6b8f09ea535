r"""The Laplace transform of e^eps, by quadrature: what makes noisy softmaxes exactly solvable.

A ratio of sums is hard to average, a product is easy: 1/Z = int_0^inf e^{-t Z} dt and
1/Z^2 = int_0^inf t e^{-t Z} dt turn Z = sum_i e^{s_i + eps_i} into a product over keys of
phi(y) = E exp(-e^{y + eps}), taken at y = ln t + s_i.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kexue.attention.noise import Common, Drop, Laplace, Noise, Normal, Uniform

__all__ = ["Transform", "averaged", "nodes", "transform"]

F64 = torch.float64


class Transform(NamedTuple):
    """phi and its relatives at points y, with the e^y that each of them has taken out."""

    log_phi: Tensor  # ln E e^{-w} / e^y, where w = e^{y + eps}
    first: Tensor  # E[w e^{-w}] / phi / e^y
    variance: Tensor  # E[w^2 e^{-w}] / phi / e^{2y} - first^2


def nodes(law: Noise) -> tuple[Tensor, Tensor]:
    """Points (Q,) and weights (Q,) with E f(eps) = sum w f, float64.

    To rounding for f analytic within |Im eps| < pi/2 and at most e^{2 eps} in size; heavier weight
    on the tails is cut off where the law has less than 1e-26 of its mass beyond.

    Raises:
        ValueError: the law's parameter is a tensor, or the law has no such points (``StudentT``).
    """
    one = torch.ones(1, dtype=F64)
    if isinstance(law, Common):
        return 0 * one, one  # it cancels, whatever it is
    parameters = vars(law).values()
    if not isinstance(law, Normal | Laplace | Uniform | Drop) or any(
        isinstance(value, Tensor) for value in parameters
    ):
        raise ValueError(
            f"noise: got {law!r}, needs Normal, Laplace, Uniform, Drop or Common with a number"
        )
    size = next(iter(parameters))
    if size == 0:
        return 0 * one, one
    if isinstance(law, Drop):
        return torch.tensor([-math.inf, 0.0], dtype=F64), torch.tensor([size, 1 - size], dtype=F64)
    if isinstance(law, Normal):  # the trapezoid rule: no other is as good here
        step = min(0.5, 0.2 / size)
        z = torch.arange(-math.ceil(14 / step), math.ceil(14 / step) + 1, dtype=F64) * step
        weights = torch.exp(-(z**2) / 2)
        return size * z, weights / weights.sum()
    edge = size / 2 if isinstance(law, Uniform) else 60 * size
    x, w = _panels(edge, min(2.0, edge, 4 * size))
    weights = w if isinstance(law, Uniform) else w * torch.exp(-x / size)
    weights = torch.cat([weights.flip(0), weights])
    return torch.cat([-x.flip(0), x]), weights / weights.sum()


def transform(law: Noise, y: Tensor) -> Transform:
    """``Transform`` of the law at points ``y`` in float64, in the shape of ``y``."""
    return averaged(*(part.to(y.device) for part in nodes(law)), y)


def averaged(eps: Tensor, weights: Tensor, y: Tensor) -> Transform:
    """``Transform`` of a law with points and weights (Q,) at any ``y``, or of K laws with (K, Q),
    each at its own ``y`` (K, Y)."""
    w = torch.exp(y[..., None] + eps[..., None, :])

    def mean(value: Tensor) -> Tensor:
        return (value @ weights[..., None]).reshape(y.shape)

    kept, lost = mean(torch.exp(-w)), mean(-torch.expm1(-w))
    log_phi = torch.where(lost < 0.5, torch.log1p(-lost), kept.log())
    first, second = (mean(torch.exp(power * eps[..., None, :] - w)) / kept for power in (1, 2))
    return Transform(log_phi * torch.exp(-y), first, second - first**2)


def _panels(edge: float, width: float) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points on (0, edge), 20 in each panel of at most ``width``."""
    count = math.ceil(edge / width)
    x, w = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(20))
    half = edge / count / 2
    left = 2 * half * torch.arange(count, dtype=F64)
    return (left[:, None] + half * (1 + x)).flatten(), (half * w).repeat(count)
