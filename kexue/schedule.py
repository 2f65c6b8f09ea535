"""Noise schedules: how much signal and how much noise is in x_t.

Every schedule is two amplitudes of time,

    x_t = alpha(t) x_0 + sigma(t) eps,        eps ~ N(0, I),

with data at t = 0 (alpha = 1, sigma = 0). All of them here preserve the variance,
``alpha(t)**2 + sigma(t)**2 = 1``, and are therefore defined by one function, ``log_alpha``.
The step from an earlier time s to a later t is x_t = a x_s + b eps with (a, b) = ``step(t, s)``.

Dictionary (amplitude here, power in most of the literature)::

    kexue            Su Jianlin (9119, 9164)      Ho et al. 2020, diffusers
    alpha(t)         \\bar\\alpha_t                 sqrt(\\bar\\alpha_t)
    sigma(t)         \\bar\\beta_t                  sqrt(1 - \\bar\\alpha_t)
    alpha_bar(t)     \\bar\\alpha_t^2               \\bar\\alpha_t = alphas_cumprod[t - 1]
    step(t, t-1)[0]  \\alpha_t                     sqrt(\\alpha_t)
    step(t, t-1)[1]  \\beta_t                      sqrt(\\beta_t)

Continuous schedules (``Cosine``, ``Linear``, ``Su``) take real t in [0, 1]. A ``DiscreteSchedule``
takes integers t in 0..T, and **index t means time t**: there is no off-by-one to remember, while
array libraries store time t at index t - 1. All amplitudes are float64.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue import _check

__all__ = [
    "Cosine",
    "DiscreteSchedule",
    "Linear",
    "Schedule",
    "Su",
    "cosine",
    "discrete",
    "expand_like",
    "ho_linear",
    "su",
]


def expand_like(coefficient: Any, x: Tensor, name: str = "coefficient") -> Tensor:
    """Give ``coefficient`` trailing axes so that it multiplies ``x`` sample by sample.

    A number, or a tensor whose shape is a prefix of ``x.shape`` (for instance one value a sample,
    shape (B,), against images (B, C, H, W)), in the dtype and on the device of ``x``.

    Raises:
        ValueError: the shape is not a prefix of ``x.shape``.

    >>> expand_like(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    coefficient = torch.as_tensor(coefficient, dtype=x.dtype, device=x.device)
    shape = coefficient.shape
    if shape != x.shape[: len(shape)]:
        raise ValueError(
            f"{name}: got shape {tuple(shape)}, needs one number or a leading part of the "
            f"shape {tuple(x.shape)}"
        )
    return coefficient.reshape(shape + (1,) * (x.ndim - len(shape)))


class Schedule(ABC):
    """A variance-preserving schedule, given by log alpha(t).

    Everything follows from ``log_alpha``; sigma(t)^2 = 1 - alpha(t)^2 is computed as
    ``-expm1(2 log_alpha)``, which stays accurate where alpha is within rounding of 1.
    """

    @abstractmethod
    def _time(self, name: str, t: Any) -> Tensor:
        """Check the time ``t`` and return it as a tensor."""

    @abstractmethod
    def _log_alpha(self, t: Tensor) -> Tensor:
        """log alpha(t) for a time that was checked."""

    @abstractmethod
    def timesteps(self, n: int, stop: float = 0) -> Tensor:
        """``n + 1`` equally spaced times, descending from pure noise to ``stop``."""

    def log_alpha(self, t: Any) -> Tensor:
        """log alpha(t), float64, in the shape of ``t``."""
        return self._log_alpha(self._time("t", t))

    def alpha(self, t: Any) -> Tensor:
        """Amplitude of the signal (Su's barred alpha), float64, in the shape of ``t``."""
        return self.log_alpha(t).exp()

    def sigma(self, t: Any) -> Tensor:
        """Amplitude of the noise (Su's barred beta), float64, in the shape of ``t``."""
        return (-torch.expm1(2 * self.log_alpha(t))).sqrt()

    def alpha_bar(self, t: Any) -> Tensor:
        """alpha(t)^2: the barred alpha of Ho et al., ``alphas_cumprod`` of diffusers."""
        return (2 * self.log_alpha(t)).exp()

    def log_snr(self, t: Any) -> Tensor:
        """log(alpha(t)^2 / sigma(t)^2); infinite at t = 0."""
        log_alpha_bar = 2 * self.log_alpha(t)
        return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))

    def snr(self, t: Any) -> Tensor:
        """Signal-to-noise ratio alpha(t)^2 / sigma(t)^2, a ratio of powers."""
        return self.log_snr(t).exp()

    def __call__(self, t: Any) -> tuple[Tensor, Tensor]:
        """The pair (alpha(t), sigma(t))."""
        return self.alpha(t), self.sigma(t)

    def step(self, t: Any, s: Any) -> tuple[Tensor, Tensor]:
        """Amplitudes (a, b) of the step x_t = a x_s + b eps from s to a later t (eq-ddpm-step).

        a = alpha(t) / alpha(s) and b^2 = sigma(t)^2 - a^2 sigma(s)^2 = 1 - a^2. Times may be
        tensors that broadcast. Steps compose: a(t, r) = a(t, s) a(s, r) and
        b(t, r)^2 = a(t, s)^2 b(s, r)^2 + b(t, s)^2.

        Raises:
            ValueError: a time is out of range, or not s < t.
        """
        t, s = self._pair(t, s)
        log_a = self._log_alpha(t) - self._log_alpha(s)
        return log_a.exp(), (-torch.expm1(2 * log_a)).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Any) -> Tensor:
        """x_t = alpha(t) x_0 + sigma(t) noise (eq-ddpm-marginal), in the shape and dtype of ``x0``.

        ``t`` is one time, or one for each sample, shape (B,) against x0 of shape (B, ...).

        >>> x_t = su().add_noise(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1000]))
        >>> x_t[:, 0]
        tensor([0.0000, 1.0000])
        """
        x0, noise = _check.tensor("x0", x0), _check.tensor("noise", noise)
        _check.same_shape("noise", noise, "x0", x0)
        alpha, sigma = self(t)
        return expand_like(alpha, x0, "t") * x0 + expand_like(sigma, x0, "t") * noise

    def _pair(self, t: Any, s: Any) -> tuple[Tensor, Tensor]:
        """Check two times with s < t."""
        t, s = self._time("t", t), self._time("s", s)
        if (s >= t).any():
            raise ValueError(f"s: got {s.tolist()} for t = {t.tolist()}, needs s < t")
        return t, s


class _Continuous(Schedule):
    """A schedule of real times in [0, 1]."""

    def _time(self, name: str, t: Any) -> Tensor:
        if isinstance(t, bool):
            raise TypeError(f"{name}: got {t!r} of type bool, needs a real time in [0, 1]")
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
        table = torch.as_tensor(self.log_alpha_table, dtype=torch.float64)
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
        if not isinstance(t, Tensor):
            try:
                t = torch.as_tensor(t if isinstance(t, list | tuple) else operator.index(t))
            except TypeError as error:
                raise TypeError(f"{name}: got {t!r}, needs an integer time") from error
        if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
            raise TypeError(f"{name}: got dtype {t.dtype}, needs integer times")
        if t.numel() == 0:
            raise ValueError(f"{name}: got no times, shape {tuple(t.shape)}")
        if (t < 0).any() or (t > self.T).any():
            raise ValueError(
                f"{name}: got times from {t.min().item()} to {t.max().item()}, needs 0..{self.T}"
            )
        return t.long()

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
