"""What every noise schedule can do, given log alpha(t)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from kexue import _check

__all__ = ["Schedule", "expand_like"]


def expand_like(coefficient: Any, x: Tensor, name: str = "coefficient") -> Tensor:
    """Give ``coefficient`` trailing axes so that it multiplies ``x`` sample by sample.

    A number, or a tensor whose shape is a leading part of ``x.shape`` (for instance one value a
    sample, shape (B,), against images (B, C, H, W)), in the dtype and on the device of ``x``.
    Nothing waits for a GPU: values are not looked at, and one number stays on the CPU, from where
    torch multiplies it with tensors of any device.

    Raises:
        TypeError: ``x`` is not a floating-point tensor, or the coefficient is not made of numbers.
        ValueError: the shape is not a leading part of ``x.shape``.

    >>> expand_like(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x: got {getattr(x, 'dtype', x)!r}, needs a floating-point tensor")
    try:
        coefficient = torch.as_tensor(coefficient, dtype=x.dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name}: got {type(coefficient).__name__}, needs numbers") from error
    shape = coefficient.shape
    if shape or x.device.type == "cpu":
        coefficient = coefficient.to(x.device)
    if shape != x.shape[: len(shape)]:
        raise ValueError(
            f"{name}: got shape {tuple(shape)}, needs one number or a leading part of the "
            f"shape {tuple(x.shape)}"
        )
    return coefficient.reshape(shape + (1,) * (x.ndim - len(shape))) if shape else coefficient


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

        >>> from kexue.schedule import su
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
            raise ValueError(f"s: got {_show(s)} for t = {_show(t)}, needs s < t")
        return t, s


def _show(t: Tensor) -> str:
    """A time in words; of many times the range."""
    if t.numel() == 1:
        return f"{t.item():g}"
    return f"{t.min().item():g} to {t.max().item():g}"
