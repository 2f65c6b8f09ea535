r"""Error and bias of attention under noise, by drawing it: for any law, and to check ``exact``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kexue import _check
from kexue.attention.measures import checked_noise, rows_and_values
from kexue.attention.noise import Noise
from kexue.attention.softmax import restored

__all__ = ["Measured", "error"]

BLOCK = 2**22  # numbers of noise at a time


class Measured(NamedTuple):
    """Averages over draws, with their standard errors."""

    mse: Tensor  # E |o~ - o|^2, shape (..., T)
    mse_error: Tensor
    bias: Tensor  # E o~ - o, shape (..., T, D)
    bias_error: Tensor


def error(
    logits: Tensor,
    v: Tensor,
    noise: Noise,
    draws: int,
    generator: torch.Generator | None = None,
) -> Measured:
    r"""E |o~ - o|^2 and E o~ - o with standard errors, from independent draws of the noise.

    The bias is a small difference of large fluctuations: the mean of o~ - o less its first order,
    sum_i p_i (eta_i - 1)(v_i - o), whose mean is zero exactly. (Not where V_eta is infinite: there
    first order has no finite variance and is left in.)

    Args:
        logits: (..., T, n), -inf where a key is hidden; or one row, (n,). v: (..., n, D).
        noise: any law, also one that differs from key to key.
        draws: how many, at least 2. generator: torch's own by default.

    >>> from kexue.attention import Common, Normal
    >>> s, v = torch.zeros(50), torch.eye(50)
    >>> measured = error(s, v, Common(Normal(2.0)), 10)
    >>> bool(measured.mse < 1e-12)
    True
    """
    s, v, single = rows_and_values(logits, v)
    draws = _check.integer("draws", draws, low=2)
    log_mean, ratio = checked_noise(noise, s)
    p = (s + log_mean).softmax(-1) if log_mean.isfinite().all() else s.softmax(-1)
    o, center = s.softmax(-1) @ v, p @ v
    square, moved = _Mean(), _Mean()
    for count in _blocks(draws, max(1, BLOCK // s.numel())):
        eps = noise.sample((count, *s.shape), generator=generator, dtype=s.dtype, device=s.device)
        off = restored(s, s + eps).softmax(-1) @ v - o
        square.add(off.square().sum(-1))
        if ratio.isfinite().all():
            weights = p * torch.exp(eps - log_mean)
            off = off - (weights @ v - weights.sum(-1, keepdim=True) * center)
        moved.add(off)
    found = Measured(*square.result(), *moved.result())
    return Measured(*(x.squeeze(0) for x in found)) if single else found


class _Mean:
    """Mean and standard error over the first axis of what is added, in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, x: Tensor) -> None:
        """Merge a block of draws (Chan, Golub and LeVeque 1983)."""
        x, n = x.double(), len(x)
        mean = x.mean(0)
        step, total = mean - self.mean, self.count + n
        self.squares = self.squares + (x - mean).square().sum(0) + step**2 * self.count * n / total
        self.mean, self.count = self.mean + step * n / total, total

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean, standard error."""
        return self.mean, (self.squares / (self.count - 1) / self.count).sqrt()


def _blocks(total: int, size: int) -> list[int]:
    """``total`` in parts of ``size`` and a rest."""
    return [size] * (total // size) + ([total % size] if total % size else [])
