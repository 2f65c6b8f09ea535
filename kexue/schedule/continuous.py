"""Schedules of a real time t in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.schedule.base import Schedule

__all__ = ["Cosine", "Linear", "Su"]


class _Continuous(Schedule):
    """A schedule of real times in [0, 1]."""

    def _time(self, name: str, t: Any) -> Tensor:
        if isinstance(t, bool) or getattr(t, "dtype", None) in (torch.bool, bool):
            raise TypeError(f"{name}: got truth values, needs real times in [0, 1]")
        t = _check.tensor(name, t, dtype=torch.float64)
        if (t < 0).any() or (t > 1).any():
            raise ValueError(
                f"{name}: got times from {t.min().item():g} to {t.max().item():g}, needs [0, 1]"
            )
        return t

    def timesteps(self, n: int, stop: float = 0.0) -> Tensor:
        """``n + 1`` equally spaced real times from 1 down to ``stop``.

        >>> Cosine().timesteps(4).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0]
        """
        n, stop = _check.integer("n", n, low=1), _check.real("stop", stop, 0, 1)
        if stop == 1:
            raise ValueError("stop: got 1, needs a time below 1")
        return torch.linspace(1, stop, n + 1, dtype=torch.float64)


@dataclass(frozen=True)
class Cosine(_Continuous):
    """alpha(t) = cos(pi t / 2), sigma(t) = sin(pi t / 2); the offset-free cosine schedule.

    At t = 1 alpha is exactly 0: x_1 is pure noise, and x_0 cannot be recovered from eps there.
    Source: Nichol & Dhariwal 2021 (arXiv:2102.09672), with their offset s = 0.

    >>> alpha, sigma = Cosine()(0.5)
    >>> f"{alpha:.4f} {sigma:.4f}"
    '0.7071 0.7071'
    """

    def _log_alpha(self, t: Tensor) -> Tensor:
        # Two forms of log cos, each accurate at its own end of the interval.
        sin = torch.sin(math.pi / 2 * t.clamp(max=0.5))
        near_noise = torch.log(torch.sin(math.pi / 2 * (1 - t)))
        return torch.where(t <= 0.5, 0.5 * torch.log1p(-(sin**2)), near_noise)


@dataclass(frozen=True)
class Linear(_Continuous):
    """VP-SDE, the limit of Ho's linear schedule: d log alpha / dt = -beta(t) / 2 with linear beta.

    alpha(t) = exp(-(beta_max - beta_min) t^2 / 4 - beta_min t / 2). Ho's discrete steps with
    T = 1000 run from 1e-4 to 0.02, which is beta / T for the defaults.
    Source: Song et al. 2021 (arXiv:2011.13456), appendix B.

    >>> f"{Linear().alpha(1):.5f}"
    '0.00657'
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        low = _check.real("beta_min", self.beta_min, low=0)
        if _check.real("beta_max", self.beta_max, low=low) == 0:
            raise ValueError("beta_max: got 0, needs a positive rate of noise")

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -(self.beta_max - self.beta_min) * t**2 / 4 - self.beta_min * t / 2


@dataclass(frozen=True)
class Su(_Continuous):
    """alpha(t) = exp(-5 t^2), the limit of Su's steps alpha_step^2 = 1 - 0.02 i / T at T = 1000.

    With t = i / T a step is 1 - 20 t dt, dt = 1 / 1000, so d log alpha / dt = -10 t: the VP-SDE
    whose rate starts at zero. The discrete ``su(1000)`` ends at alpha = 0.00648, this limit at
    exp(-5) = 0.00674. Source: kexue.fm/archives/9119 and the code of Keras-DDPM.

    >>> f"{Su().alpha(1):.5f}"
    '0.00674'
    """

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -5 * t**2
