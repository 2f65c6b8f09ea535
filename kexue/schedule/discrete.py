"""Schedules of an integer time t in 0..T, where index t means time t."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.schedule.base import Schedule

__all__ = ["DiscreteSchedule", "cosine", "discrete", "ho_linear", "su"]


@dataclass(frozen=True, eq=False, repr=False)
class DiscreteSchedule(Schedule):
    """T steps; ``log_alpha_table[t]`` is log alpha at the integer time t in 0..T, zero at t = 0.

    Times are integers or integer tensors of any shape. Build one with ``su``, ``ho_linear``,
    ``cosine``, ``discrete(name)`` or ``DiscreteSchedule.from_alpha_bar``.

    Raises:
        ValueError: the table does not start at 0 or does not decrease strictly.
    """

    log_alpha_table: Tensor
    name: str = "custom"

    def __post_init__(self) -> None:
        table = torch.as_tensor(self.log_alpha_table, dtype=torch.float64).detach().clone()
        if table.ndim != 1 or len(table) < 2 or table.isnan().any():
            raise ValueError(
                f"log_alpha_table: got shape {tuple(table.shape)}, needs T + 1 >= 2 numbers"
            )
        if table[0] != 0 or (table.diff() >= 0).any() or table[:-1].isinf().any():
            raise ValueError(
                "log_alpha_table: needs log alpha = 0 at t = 0 and a strict decrease from there"
            )
        object.__setattr__(self, "log_alpha_table", table)

    @classmethod
    def from_alpha_bar(cls, alpha_bar: Any, name: str = "custom") -> DiscreteSchedule:
        """From alpha(t)^2 at t = 1..T, for instance diffusers' ``alphas_cumprod`` (length T).

        >>> DiscreteSchedule.from_alpha_bar([0.9, 0.5]).alpha_bar_table
        tensor([1.0000, 0.9000, 0.5000], dtype=torch.float64)
        """
        alpha_bar = _check.tensor("alpha_bar", alpha_bar, dtype=torch.float64)
        if alpha_bar.ndim != 1:
            raise ValueError(f"alpha_bar: got shape {tuple(alpha_bar.shape)}, needs (T,)")
        full = torch.cat([alpha_bar.new_ones(1), alpha_bar])
        if (full.diff() >= 0).any() or full[-1] < 0:
            raise ValueError("alpha_bar: needs values that decrease strictly within (1, 0]")
        return cls(full.log() / 2, name)

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.log_alpha_table) - 1

    @property
    def alpha_bar_table(self) -> Tensor:
        """alpha(t)^2 for t = 0..T, shape (T + 1,); entries 1..T are diffusers' alphas_cumprod."""
        return (2 * self.log_alpha_table).exp()

    def timesteps(self, n: int, stop: int = 0) -> Tensor:
        """``n + 1`` integer times from T down to ``stop``, equally spaced up to rounding.

        >>> su().timesteps(4).tolist()
        [1000, 750, 500, 250, 0]
        >>> su().timesteps(3, stop=1).tolist()
        [1000, 667, 334, 1]
        """
        stop = _check.integer("stop", stop, 0, self.T - 1)
        n = _check.integer("n", n, 1, self.T - stop)
        return torch.linspace(self.T, stop, n + 1, dtype=torch.float64).round().long()

    def _time(self, name: str, t: Any) -> Tensor:
        t = _check.tensor(name, t, floating=False)
        if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
            raise TypeError(f"{name}: got dtype {t.dtype}, needs integer times")
        t = t.long()
        if (t < 0).any() or (t > self.T).any():
            raise ValueError(
                f"{name}: got times from {t.min().item()} to {t.max().item()}, needs 0..{self.T}"
            )
        return t

    def _log_alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha_table.to(t.device)[t]

    def __repr__(self) -> str:
        return f"DiscreteSchedule({self.name!r}, T={self.T})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DiscreteSchedule):
            return NotImplemented
        return torch.equal(self.log_alpha_table, other.log_alpha_table)

    def __hash__(self) -> int:
        return hash((self.T, self.log_alpha_table[-1].item()))


def _from_step_noise(step_noise: Tensor, name: str) -> DiscreteSchedule:
    """From the variances b_t^2 of the steps t = 1..T: log alpha(t) = sum log(1 - b_i^2) / 2."""
    log_alpha = torch.log1p(-step_noise).cumsum(0) / 2
    return DiscreteSchedule(torch.cat([log_alpha.new_zeros(1), log_alpha]), name)


def su(T: int = 1000) -> DiscreteSchedule:
    """Su's schedule: the step to time t has signal power 1 - 0.02 t / T.

    Ends at alpha = 0.00648 for T = 1000; the total noise grows with T, so a small T ends far from
    pure noise. Source: kexue.fm/archives/9119, Keras-DDPM.

    >>> f"{su().alpha(1000):.5f}"
    '0.00648'
    """
    T = _check.integer("T", T, low=1)
    return _from_step_noise(0.02 * torch.arange(1, T + 1, dtype=torch.float64) / T, "su")


def ho_linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> DiscreteSchedule:
    """Ho's schedule: step noise powers equally spaced from ``beta_start`` to ``beta_end``.

    Source: Ho et al. 2020 (arXiv:2006.11239), section 4; "linear" in diffusers.

    >>> f"{ho_linear().alpha(1000):.5f}"
    '0.00635'
    """
    T = _check.integer("T", T, low=1)
    for name, beta in (("beta_start", beta_start), ("beta_end", beta_end)):
        if not 0 < _check.real(name, beta) < 1:
            raise ValueError(f"{name}: got {beta}, needs a variance strictly between 0 and 1")
    return _from_step_noise(
        torch.linspace(beta_start, beta_end, T, dtype=torch.float64), "ho_linear"
    )


def cosine(T: int = 1000) -> DiscreteSchedule:
    """Nichol and Dhariwal's: alpha(t)^2 = f(t) / f(0), f(t) = cos^2(pi/2 (t/T + s) / (1 + s)).

    s = 0.008, and the noise power of one step is capped at 0.999, which changes the last step only
    (f(T) = 0). Source: arXiv:2102.09672, equation 17; "squaredcos_cap_v2" in diffusers.

    >>> f"{cosine().alpha(500):.4f}"
    '0.7027'
    """
    T, s = _check.integer("T", T, low=1), 0.008
    f = torch.cos(math.pi / 2 * (torch.linspace(0, 1, T + 1, dtype=torch.float64) + s) / (1 + s))
    return _from_step_noise((1 - (f[1:] / f[:-1]) ** 2).clamp(max=0.999), "cosine")


_DISCRETE = {"su": su, "ho_linear": ho_linear, "cosine": cosine}


def discrete(name: str, T: int = 1000) -> DiscreteSchedule:
    """The discrete schedule of this name: "su", "ho_linear" or "cosine".

    >>> discrete("cosine", T=50)
    DiscreteSchedule('cosine', T=50)
    """
    return _DISCRETE[_check.one_of("name", name, _DISCRETE)](T)
