r"""Maximum likelihood for Fourier densities, by Newton's method on a histogram.

In p the negative log-likelihood is convex and the Fisher metric of A is flat, so a start whose
phase is right is near the optimum. The start is the minimum-phase square root of a smoothed
histogram: of all A with one |A|^2 it has its weight at the lowest k, where the N + 1 amplitudes
are. From there 5 to 15 steps do, each a few FFTs and one solve with 2 N + 2 unknowns.

Inside this module grid points are the centers x_j = -1 + (2 j + 1) / M of M bins, and amplitudes
are turned so that A(x_j) = sum_k a_k exp(-2 pi i j k / M) is one FFT.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.density._fourier import autocorrelation


def maximize(
    counts: Tensor,
    terms: int,
    penalty: float = 0.0,
    tol: float = 0.01,
    max_iter: int = 200,
    split: int = 1,
) -> Tensor:
    r"""Amplitudes a, (..., N + 1), that minimize -sum_j h_j log P_j + penalty * int p'^2.

    h are the counts over their sum and P_j the mean of p over bin j, taken at ``split`` points.
    Stops where no density gains more than ``tol`` nats in a step (in all: one parameter's own
    noise costs half a nat).

    Args:
        counts: (..., M) >= 0, in equal bins of [-1, 1]; M >= 2 N + 1.
        terms: N.
        penalty: gamma >= 0.

    A density that has not come to rest within ``max_iter`` steps is reported by a RuntimeWarning.
    """
    flat = counts.double().reshape(-1, counts.shape[-1])
    total = flat.sum(-1, keepdim=True)
    work = max(split * flat.shape[-1], 4 * (terms + 1) ** 2)  # numbers a density
    room = max(1, (2**28 if flat.is_cuda else 2**18) // work)  # 2 MB fit a core's cache
    parts = [
        _newton(h, terms, penalty, tol / n.squeeze(-1), max_iter, split)
        for h, n in zip((flat / total).split(room), total.split(room), strict=True)
    ]
    moving = sum(part[1] for part in parts)
    if moving:
        warnings.warn(
            f"maximize: {moving} of {len(flat)} densities still gain more than {tol:g} nats a "
            f"step after {max_iter} steps; fewer terms or a penalty make the optimum sharper",
            RuntimeWarning,
            stacklevel=2,
        )
    a = torch.cat([part[0] for part in parts])
    k = torch.arange(terms + 1, device=a.device)
    turn = torch.exp(-1j * math.pi * k * (1 - 1 / (split * flat.shape[-1])))  # back to A(x)
    return (a * turn).reshape(*counts.shape[:-1], terms + 1)


def fit_points(x: Tensor, choices: Sequence[int], penalty: float) -> Tensor:
    """Amplitudes for points x (..., n) in [-1, 1]; with several ``choices`` of N, in rising order,
    each density takes the one that gives every fifth point, held out, the highest likelihood.

    Stops early: a larger N is not tried once the last one was best for no density.
    """
    best = torch.full(x.shape[:-1], choices[0], device=x.device)
    if len(choices) > 1:
        held = torch.arange(x.shape[-1], device=x.device) % 5 == 4
        order = torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(0))
        x = x[..., order.to(x.device)]
        least = _held_out(x[..., ~held], x[..., held], choices[0], penalty)
        for terms in choices[1:]:
            loss = _held_out(x[..., ~held], x[..., held], terms, penalty)
            if not (loss < least).any():
                break
            best = torch.where(loss < least, terms, best)
            least = torch.minimum(loss, least)
    out = x.new_zeros((*x.shape[:-1], int(best.max()) + 1), dtype=torch.complex128)
    for terms in best.unique().tolist():
        mine = best == terms
        out[mine, : terms + 1] = maximize(histogram(x[mine], terms), terms, penalty)
    return out


def _held_out(rest: Tensor, test: Tensor, terms: int, penalty: float) -> Tensor:
    """Mean -log p of the test points' bins; loosely fitted, since only the order matters."""
    counts, share = histogram(rest, terms), histogram(test, terms) / test.shape[-1]
    a = maximize(counts, terms, penalty, tol=0.2)
    k = torch.arange(terms + 1, device=a.device)
    a = a * torch.exp(1j * math.pi * k * (1 - 1 / counts.shape[-1]))
    return -torch.special.xlogy(share, _masses(_unit(a), counts.shape[-1], 1)[1]).sum(-1)


def place(x: Tensor, loc: Any, scale: Any, line: bool) -> tuple[Tensor, Tensor]:
    """loc and scale as tensors of the batch shape, from the data where they are not given."""
    if line:
        low, middle, high = torch.quantile(x, x.new_tensor([0.25, 0.5, 0.75]), dim=-1)
        own = middle, 1.5 * (high - low)
    else:
        low, high = x.amin(-1), x.amax(-1)
        own = (low + high) / 2, 1.1 * (high - low) / 2
    loc = own[0] if loc is None else _check.tensor("loc", loc, dtype=x.dtype).to(x.device)
    if scale is None:
        scale = own[1]
        if (scale <= 0).any():
            raise ValueError("x: got data without spread, needs an explicit scale > 0")
    else:
        scale = _check.positive("scale", torch.as_tensor(scale, dtype=x.dtype)).to(x.device)
    return loc.expand(x.shape[:-1]), scale.expand(x.shape[:-1])


def histogram(x: Tensor, terms: int) -> Tensor:
    """Counts (..., M) of x (..., n) in [-1, 1], M a power of two with 32 bins a period or more."""
    bins = max(64, 2 ** math.ceil(math.log2(32 * max(terms, 1))))
    index = ((x + 1) * (bins / 2)).long().clamp(0, bins - 1)  # x = 1 falls into the last bin
    flat = index.reshape(-1, index.shape[-1])
    flat = flat + bins * torch.arange(len(flat), device=x.device)[:, None]
    counts = torch.bincount(flat.reshape(-1), minlength=bins * len(flat))
    return counts.reshape(*x.shape[:-1], bins).double()


def _newton(
    h: Tensor, terms: int, penalty: float, tol: Tensor, max_iter: int, split: int
) -> tuple[Tensor, int]:
    """Levenberg-Marquardt steps on the sphere 2 |a|^2 = 1; also how many still move."""
    a = _start(h, terms, split)
    loss, damping = _loss(a, h, penalty, split), h.new_full((len(h),), 1e-3)
    eye = torch.eye(2 * terms + 2, dtype=h.dtype, device=h.device)
    moving = torch.arange(len(h), device=h.device)
    for _ in range(max_iter):
        old, data, tried = a[moving], h[moving], damping[moving]
        gradient, hessian = _derivatives(old, data, penalty, split)
        # 8 is the curvature of a well-fitted likelihood: damping is relative to it.
        damped = hessian + (8 * tried)[:, None, None] * eye
        step = torch.linalg.solve_ex(damped, gradient).result  # singular: not finite, not better
        new = _unit(old - torch.complex(step[:, : terms + 1], step[:, terms + 1 :]))
        gain = loss[moving] - _loss(new, data, penalty, split)
        better = gain >= 0
        a[moving] = torch.where(better[:, None], new, old)
        loss[moving] -= torch.where(better, gain, torch.zeros_like(gain))
        damping[moving] = torch.where(better, (tried / 3).clamp(min=1e-3), tried * 8)
        moving = moving[(~better | (gain > tol[moving])) & (tried < 1e8)]  # there no step helps
        if not len(moving):
            break
    return a, len(moving)


def _start(h: Tensor, terms: int, split: int) -> Tensor:
    """The minimum-phase square root of the histogram, smoothed to the resolution of N terms.

    log p = 2 Re log A, and A has its zeros on one side of the circle if log A has frequencies of
    one sign only: half of the series of log p is the series of log A.
    """
    h = h.repeat_interleave(split, -1) / split
    size = h.shape[-1]
    wave = torch.fft.rfft(h * size / 2)
    n = torch.arange(wave.shape[-1], device=h.device)
    smooth = torch.fft.irfft(wave * torch.exp(-((n / (0.6 * terms + 0.4)) ** 2)), n=size)
    half = torch.fft.ifft(smooth.clamp(min=1e-3).log())
    half[:, 0] /= 2
    half[:, (size + 1) // 2 :] = 0
    return _unit(torch.fft.ifft(torch.fft.fft(half).exp())[:, : terms + 1])


def _masses(a: Tensor, bins: int, split: int) -> tuple[Tensor, Tensor]:
    """A at the fine grid, and the mean of |A|^2 over each bin of ``split`` points."""
    amplitude = torch.fft.fft(a, n=bins * split)
    p = amplitude.real**2 + amplitude.imag**2
    return amplitude, (p.unflatten(-1, (bins, split)).mean(-1) if split > 1 else p)


def _loss(a: Tensor, h: Tensor, penalty: float, split: int) -> Tensor:
    loss = -torch.special.xlogy(h, _masses(a, h.shape[-1], split)[1]).sum(-1)
    if penalty:
        n = torch.arange(a.shape[-1], device=a.device)
        loss = loss + 4 * math.pi**2 * penalty * (n * autocorrelation(a).abs()).square().sum(-1)
    return loss


def _derivatives(a: Tensor, h: Tensor, penalty: float, split: int) -> tuple[Tensor, Tensor]:
    """Gradient (B, 2 N + 2) and Hessian of loss + mu (2 |a|^2 - 1) in (Re a, Im a), where
    2 |a|^2 = 1 and mu makes the gradient tangent to the sphere.

    The gradient of the likelihood is 4 (a - T), T = P[w A] / 2, where w = h / p and P keeps the
    frequencies 0..N (eq-fourier-fixed-point); its Hessian is 4 (1 + K conj), with the Hankel
    matrix K of the Fourier coefficients of w A / conj(A), half of them.
    """
    amplitude, mean = _masses(a, h.shape[-1], split)
    size, bins = a.shape[-1], amplitude.shape[-1]
    k = torch.arange(size, device=a.device)
    w = h / mean
    w = torch.where(h > 0, w, torch.zeros_like(w)).repeat_interleave(split, -1) / split
    target = torch.fft.ifft(amplitude * w)[:, :size] * (bins / 2)
    phase = amplitude * (amplitude / (amplitude.real**2 + amplitude.imag**2).clamp(min=1e-300))
    hankel = torch.fft.ifft(w * phase)[:, (k[:, None] + k) % bins].conj() * (2 * bins)
    hessian = _real(hankel, -hankel)  # K acts on conj(da)
    parts = torch.cat([a.real, a.imag], -1)
    gradient = -4 * torch.cat([target.real, target.imag], -1)
    if penalty:
        rough = 4 * math.pi**2 * penalty * torch.arange(1 - size, size, device=a.device) ** 2
        q = autocorrelation(a)
        q = rough * torch.cat([q[:, 1:].flip(-1).conj(), q], -1)
        toeplitz = 2 * q[:, size - 1 + k[None, :] - k[:, None]]
        second = _real(toeplitz, toeplitz)
        jacobian = _dc_da(a)
        hessian = hessian + second + (jacobian.mH @ (rough[:, None] * jacobian)).real
        gradient = gradient + torch.einsum("bij,bj->bi", second, parts)
    mu = -(parts * gradient).sum(-1, keepdim=True) / 2
    hessian = hessian + torch.diag_embed((4 * mu).expand_as(parts))
    return gradient + 4 * mu * parts, hessian


def _real(top: Tensor, bottom: Tensor) -> Tensor:
    """[[Re top, -Im top], [Im bottom, Re bottom]]: a complex matrix acting on (Re, Im)."""
    upper, lower = torch.cat([top.real, -top.imag], -1), torch.cat([bottom.imag, bottom.real], -1)
    return torch.cat([upper, lower], -2)


def _dc_da(a: Tensor) -> Tensor:
    """Derivatives of c_n = sum_k a_k conj(a_{k+n}), n = -N..N, by Re a_k and Im a_k."""
    last = a.shape[-1] - 1
    k, n = torch.arange(last + 1, device=a.device), torch.arange(-last, last + 1, device=a.device)
    padded = torch.nn.functional.pad(a, (last, last))
    right = padded[:, last + k + n[:, None]].conj()  # conj(a_{k+n}), zero beyond the ends
    left = padded[:, last + k - n[:, None]]  # a_{k-n}
    return torch.cat([right + left, 1j * (right - left)], -1)


def _unit(a: Tensor) -> Tensor:
    return a / (2 * a.abs().square().sum(-1, keepdim=True)).sqrt()
