"""The arithmetic of Fourier densities on [-1, 1], as functions of the amplitudes (..., N + 1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**14  # points at a time: what is made of them then stays in a core's cache


def amplitudes(value: Any) -> Tensor:
    """Check the amplitudes and return them as a complex tensor (..., N + 1)."""
    try:
        a = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"a: got {type(value).__name__}, needs numbers ({error})") from error
    if not a.is_complex():
        if not a.is_floating_point():
            raise TypeError(f"a: got dtype {a.dtype}, needs a complex or floating-point dtype")
        a = torch.complex(a, torch.zeros_like(a))
    if a.ndim == 0 or a.numel() == 0:
        raise ValueError(f"a: got shape {tuple(a.shape)}, needs (..., N + 1)")
    if not torch.isfinite(torch.view_as_real(a)).all():
        raise ValueError("a: got NaN or infinite values, needs finite ones")
    if (a == 0).all(-1).any():
        raise ValueError("a: got amplitudes that are all zero, needs a density")
    return a


def unit(a: Tensor) -> Tensor:
    """a / sqrt(2 |a|^2), so that |A|^2 itself is the density; no square over- or underflows."""
    a = a / torch.view_as_real(a.detach()).abs().amax((-2, -1))[..., None]
    return a / (math.sqrt(2) * torch.linalg.vector_norm(a, dim=-1, keepdim=True))


def autocorrelation(a: Tensor) -> Tensor:
    """c_n = sum_k a_k conj(a_{k+n}), n = 0..N, shape (..., N + 1) (eq-fourier-autocorrelation)."""
    size = a.shape[-1]
    wave = torch.fft.fft(a, n=2 * size)
    p = wave.real.square() + wave.imag.square()
    return torch.fft.rfft(p, norm="forward")[..., :size]


def power(a: Tensor, z: Tensor) -> Tensor:
    """sum_k a_k z^k by Horner's rule; z broadcasts against the batch shape of ``a``."""
    total = a[..., -1] + torch.zeros_like(z)
    for k in range(a.shape[-1] - 2, -1, -1):
        total = torch.addcmul(a[..., k], total, z)
    return total


def turn(x: Tensor) -> Tensor:
    """exp(i pi x), in the dtype that fits x."""
    angle = math.pi * x
    return torch.complex(angle.cos(), angle.sin())


def log_density(a: Tensor, x: Tensor) -> Tensor:
    """log(|A(x)|^2 / (2 sum |a_k|^2)); at a zero of A -inf, with a gradient of 0."""
    wave = power(unit(a), turn(-x))
    square = wave.real.square() + wave.imag.square()
    if not square.requires_grad:
        return square.log()
    zero = square == 0
    return torch.where(zero, -math.inf, torch.where(zero, 1, square).log())


def cdf(a: Tensor, x: Tensor) -> Tensor:
    r"""(x + 1)/2 + Re sum_{n>=1} (c_n / c_0) (e^{i pi n x} - (-1)^n) / (i pi n)."""
    n = torch.arange(1, a.shape[-1], dtype=a.real.dtype, device=a.device)  # 1j * int is complex64
    if not len(n):
        return (x + 1) / 2 + 0 * a[..., 0].real
    b = 2 * autocorrelation(unit(a))[..., 1:] / (1j * math.pi * n)  # 2 c_0 is 1
    start = (b * (-1.0) ** n).sum(-1).real  # the value at x = -1
    z = turn(x)
    return ((x + 1) / 2 + (z * power(b, z)).real - start).clamp(0, 1)


def quantile(a: Tensor, u: Tensor) -> Tensor:
    """x with cdf(a, x) = u: a bracket from a table of the cdf, then Newton steps kept inside it.

    In double precision throughout: a density near zero leaves the quantile few digits to spare.
    """
    a, u = a.to(torch.complex128), u.double()
    batch = a.shape[:-1]
    u = u.expand(torch.broadcast_shapes(u.shape, batch))
    table = torch.linspace(-1, 1, 64 * a.shape[-1] + 1, dtype=u.dtype, device=u.device)
    values = cdf(a[..., None, :], table)  # (*batch, grid)
    flat = u.reshape(-1, *batch).movedim(0, -1).contiguous()
    index = torch.searchsorted(values, flat).clamp(1, len(table) - 1)
    row = index.reshape(*batch, -1)
    below, above = (values.gather(-1, at).reshape(index.shape) for at in (row - 1, row))
    index, below, above = (v.movedim(-1, 0).reshape(u.shape) for v in (index, below, above))
    low, high = table[index - 1], table[index]
    x = low + (high - low) * ((u - below) / (above - below).clamp(min=1e-300)).clamp(0, 1)
    for _ in range(60):
        error = cdf(a, x) - u
        low, high = torch.where(error < 0, x, low), torch.where(error > 0, x, high)
        new = x - error / log_density(a, x).exp()
        newton = (new >= low) & (new <= high)
        new = torch.where(newton, new, (low + high) / 2)
        # The cdf's own rounding, or a last step after which only its square is left.
        done = (error.abs() <= 2**-46) | (newton & ((new - x).abs() <= 2**-27))
        x = new.where(error != 0, x)
        if (done | (high - low <= 2**-50)).all():
            break
    return torch.where(u <= 0, -torch.ones_like(x), torch.where(u >= 1, torch.ones_like(x), x))


def log_mean_density(a: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r"""log of the mean of p over [low, high]: 1/2 + Re sum (c_n / c_0) e^{i pi n m} sinc(n w / 2),
    m the middle and w the width; where that sum nearly cancels, quadrature of the square."""
    a = unit(a)
    n = torch.arange(a.shape[-1], device=a.device)
    middle, width = ((low + high) / 2)[..., None], (high - low)[..., None]
    waves = turn(n * middle) * torch.special.sinc(n * width / 2)
    mean = 2 * (autocorrelation(a) * waves).real.sum(-1) - 0.5  # 2 c_0 is 1
    floor = 1e-6 if mean.dtype == torch.float64 else 1e-2
    small = mean < floor
    log_mean = mean.clamp(min=floor).log()
    if not small.any():
        return log_mean
    node, weight = (
        torch.as_tensor(v, dtype=mean.dtype, device=mean.device)
        for v in np.polynomial.legendre.leggauss(2 * a.shape[-1] + 8)
    )
    middle, width = (v[..., 0].expand_as(mean)[small][:, None] for v in (middle, width))
    a = a.expand(*mean.shape, -1)[small][:, None]
    log_p = log_density(a, middle + width / 2 * node) + (weight / 2).log()
    return log_mean.masked_scatter(small, log_p.logsumexp(-1))


def gauss(panels: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss's rule with 8 points in each of some panels of [-1, 1]."""
    node, weight = np.polynomial.legendre.leggauss(8)
    x = (2 * np.arange(panels)[:, None] + 1 + node) / panels - 1
    return torch.tensor(x).reshape(-1), torch.tensor(weight / panels).repeat(panels)


def log_cosh(u: Tensor) -> Tensor:
    """log cosh u without overflow."""
    return u.abs() + torch.nn.functional.softplus(-2 * u.abs()) - math.log(2)


def log_sinh(u: Tensor) -> Tensor:
    """log sinh u for u > 0, without overflow and without cancellation for small u."""
    return u + (-torch.expm1(-2 * u)).log() - math.log(2)
