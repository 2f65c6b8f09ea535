r"""Maximum likelihood for Fourier densities, by Newton's method on a histogram.

The mass of a bin is linear in the coefficients c_n of p and known exactly (eq-fourier-bin), so the
negative log-likelihood is convex in c, and c is quadratic in the amplitudes a. The start is the
minimum-phase square root of a smoothed histogram: of all A with one |A|^2 it has its weight at the
lowest k, where the N + 1 amplitudes are. From there 5 to 10 steps do, each a few FFTs and one
Cholesky factor of 2 N + 2 rows.

Inside this module 2 |a|^2 = 1, and amplitudes are turned so that the center of the first of M bins
is the origin: p at the center of bin j is sum_n c_n exp(2 pi i j n / M), n = -N..N.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from kexue.density._fourier import autocorrelation, unit


def maximize(
    counts: Tensor,
    terms: int,
    penalty: float = 0.0,
    tol: float = 0.01,
    max_iter: int = 200,
    start: Tensor | None = None,
) -> Tensor:
    r"""Amplitudes a, (..., N + 1), that minimize -sum_j h_j log P_j + penalty * int p'^2.

    h are the counts over their sum and P_j the mean of p over bin j, exactly, however wide it is.
    Stops where a Newton step promises no density more than ``tol`` nats (in all: one parameter's
    own noise costs half a nat).

    Args:
        counts: (..., M) >= 0, in equal bins of [-1, 1].
        terms: N. From M < 2 N + 1 on several densities may be best; one of them is found.
        penalty: gamma >= 0.
        start: amplitudes (..., N + 1) to begin with, if something good is known; zeros where not.

    A density that has not come to rest within ``max_iter`` steps is reported by a RuntimeWarning.
    """
    flat = counts.double().reshape(-1, counts.shape[-1])
    bins, size = flat.shape[-1], terms + 1
    turn = _turn(size, bins, flat.device)
    total = flat.sum(-1, keepdim=True)
    h = flat / total
    tol = tol / total[:, 0].clamp(min=100)  # "counts" may be frequencies, with a sum of 1
    if start is None:
        a = _start(h, terms, penalty)
    else:
        a = unit(start.reshape(-1, size) * turn)
        unknown = (start == 0).all(-1).flatten()
        if unknown.any():
            a[unknown] = _start(h[unknown], terms, penalty)
    room = max(1, (2**25 if h.is_cuda else 2**19) // max(bins, 4 * size**2))  # memory
    parts = [
        _newton(*part, penalty, max_iter)
        for part in zip(a.split(room), h.split(room), tol.split(room), strict=True)
    ]
    moving = sum(part[1] for part in parts)
    if moving:
        warnings.warn(
            f"maximize: {moving} of {len(flat)} densities could still gain likelihood "
            f"after {max_iter} steps; fewer terms or a penalty make the optimum sharper",
            RuntimeWarning,
            stacklevel=2,
        )
    a = torch.cat([part[0] for part in parts])
    return (a * turn.conj()).reshape(*counts.shape[:-1], size)


def _newton(a: Tensor, h: Tensor, tol: Tensor, penalty: float, max_iter: int) -> tuple[Tensor, int]:
    """Levenberg-Marquardt steps on the sphere 2 |a|^2 = 1; also how many still move."""
    box = _box(a.shape[-1], h.shape[-1], h.device)
    result, index = a.clone(), torch.arange(len(a), device=a.device)
    state = (a, *_loss(a, h, box, penalty))
    damping = h.new_full((len(h),), 0.03)  # of 8, the curvature of a well-fitted likelihood
    for _ in range(max_iter):
        gradient, hessian = _derivatives(*state[:3], h, box, penalty)
        hessian.diagonal(dim1=-2, dim2=-1).add_(8 * damping[:, None])
        factor, indefinite = torch.linalg.cholesky_ex(hessian)
        step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        new = state[0] - torch.complex(*step.chunk(2, -1))
        new = new / (math.sqrt(2) * torch.linalg.vector_norm(new, dim=-1, keepdim=True))
        new = (new, *_loss(new, h, box, penalty))
        convex = indefinite == 0
        better = convex & (new[3] <= state[3])
        if better.all():
            state = new
        else:
            state = tuple(
                torch.where(better.reshape(-1, *[1] * (n.ndim - 1)), n, o)
                for n, o in zip(new, state, strict=True)
            )
        promise = (gradient * step).sum(-1) / 2
        going = ~(convex & (promise <= tol) & (damping <= 0.1)) & (damping <= 1e8)  # else no help
        damping = torch.where(better, (damping / 10).clamp(min=1e-6), damping * 8)
        if not going.all():
            result[index] = state[0]
            index, h, tol, damping = index[going], h[going], tol[going], damping[going]
            state = tuple(part[going] for part in state)
            if not len(index):
                break
    result[index] = state[0]
    return result, len(index)


def _turn(size: int, bins: int, device: torch.device) -> Tensor:
    """exp(i pi k (1 - 1/M)), k = 0..N, which turns amplitudes to the first bin's center."""
    k = torch.arange(size, dtype=torch.float64, device=device)
    return torch.polar(torch.ones_like(k), math.pi * (1 - 1 / bins) * k)


def _box(size: int, bins: int, device: torch.device) -> Tensor:
    """What averaging over a bin leaves of exp(i pi n x), n = 0..N."""
    return torch.sinc(torch.arange(size, dtype=torch.float64, device=device) / bins)


def _loss(a: Tensor, h: Tensor, box: Tensor, penalty: float) -> tuple[Tensor, Tensor, Tensor]:
    """The coefficients c (B, N + 1), the means P (B, M) of p over the bins, the loss (B,)."""
    c, bins = autocorrelation(a), h.shape[-1]
    fine = _fine(box, bins)
    mean = torch.fft.irfft(c * box, n=fine * bins, norm="forward")[:, ::fine].clamp(min=1e-30)
    loss = -(h * mean.log()).sum(-1)
    if penalty:
        loss = loss + penalty * (_rough(len(box), h.device) * c.abs().square()).sum(-1)
    return c, mean, loss


def _fine(box: Tensor, bins: int) -> int:
    """Points a bin, so that the grid holds the products of two waves, frequencies up to 2 N."""
    return -(-(4 * len(box) - 3) // bins)


def _rough(size: int, device: torch.device) -> Tensor:
    """int p'^2 = sum_{n>=1} rough_n |c_n|^2 where 2 c_0 = 1 (eq-fourier-roughness)."""
    return 4 * math.pi**2 * torch.arange(size, dtype=torch.float64, device=device) ** 2


def _derivatives(
    a: Tensor, c: Tensor, mean: Tensor, h: Tensor, box: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Gradient (B, 2 N + 2) and Hessian (its lower half) of the loss on the sphere 2 |a|^2 = 1,
    by (Re a, Im a).

    With t_n the derivative of the loss by c_n, the loss is a* T a to first order, T the Toeplitz
    matrix of t (t_0 holds the multiplier of the constraint too). The Hessian is 2 T and, through
    dc = D da, D^T G D with G the Hessian in c: of cosines and sines of n and m with weights
    h / P^2, so made of sums over n + m and n - m.
    """
    size, fine = len(box), _fine(box, h.shape[-1])
    w = h / mean
    waves = torch.stack([w, w / mean])
    if fine > 1:
        waves = torch.nn.functional.pad(waves[..., None], (0, fine - 1)).flatten(-2)
    waves = torch.fft.rfft(waves)[..., : 2 * size - 1]
    half = waves[..., :size].clone()
    half[0] *= -box
    if penalty:
        half[0] += penalty * _rough(size, a.device) * c
    # No gain from the length of a: t_0 c_0 + 2 Re sum_{n>=1} conj(t_n) c_n is 0, and c_0 is 1/2.
    half[0, :, 0] = -4 * (half[0, :, 1:].conj() * c[:, 1:]).real.sum(-1)
    both = _hankel(torch.cat([half[..., 1:].flip(-1).conj(), half], -1), size).flip(-1)
    toeplitz, ahead = both[0].conj(), _hankel(waves[1], size)
    weight = torch.cat([box[:1], 2 * box[1:]]).repeat(2)
    g = _real(both[1], ahead).mul_(weight[:, None] * weight / 2)
    if penalty:
        g.diagonal(dim1=-2, dim2=-1).add_(2 * penalty * _rough(size, a.device).repeat(2))
    padded = torch.nn.functional.pad(a, (size - 1, size - 1))
    right = _hankel(padded[:, size - 1 :], size).conj()  # a_{k+n}*, zero beyond the ends
    left = _hankel(padded[:, : 2 * size - 1], size).flip(-2)  # a_{k-n}
    chain = _real(right, left)
    hessian = chain.mT @ (g @ chain)
    # a itself, its length and phase, is no direction: a high curvature keeps steps out of it.
    own = torch.baddbmm(toeplitz, a[:, :, None], a[:, None, :].conj(), beta=2, alpha=1e3)
    for rows in (slice(size), slice(size, None)):
        hessian[:, rows, rows].add_(own.real)
    hessian[:, size:, :size].add_(own.imag)
    pull = 2 * (toeplitz @ a[..., None])[..., 0]
    return torch.cat([pull.real, pull.imag], -1), hessian


def _hankel(v: Tensor, size: int) -> Tensor:
    """The matrix v_{j+k} from v (..., 2 size - 1), without a copy."""
    return v.unfold(-1, size, 1)


def _real(p: Tensor, q: Tensor) -> Tensor:
    """The real matrix, on (Re, Im), of the map z -> p z + q conj(z)."""
    size = p.shape[-1]
    out = torch.empty(len(p), 2 * size, 2 * size, dtype=torch.float64, device=p.device)
    torch.add(p.real, q.real, out=out[:, :size, :size])
    torch.sub(q.imag, p.imag, out=out[:, :size, size:])
    torch.add(p.imag, q.imag, out=out[:, size:, :size])
    torch.sub(p.real, q.real, out=out[:, size:, size:])
    return out


def _start(h: Tensor, terms: int, penalty: float) -> Tensor:
    """The minimum-phase square root of the histogram, smoothed to the resolution of N terms and
    by what the penalty would do about p = 1/2.

    log p = 2 Re log A, and A has its zeros on one side of the circle if log A has frequencies of
    one sign only: half of the series of log p is the series of log A.
    """
    wave = torch.fft.rfft(h)[:, : 2 * terms + 1] / 2  # beyond 2 N the filter leaves nothing
    n, size = torch.arange(wave.shape[-1], device=h.device), max(16, 8 * terms)
    smooth = (
        wave * torch.exp(-((n / (0.6 * terms + 0.4)) ** 2)) / (1 + penalty * (math.pi * n) ** 2)
    )
    half = torch.fft.rfft(torch.fft.irfft(smooth, n=size, norm="forward").clamp(min=1e-3).log())
    half[:, 0] /= 2
    root = torch.fft.fft(half.conj() / size, n=size).exp()
    return unit(torch.fft.ifft(root)[:, : terms + 1])


def score(a: Tensor, counts: Tensor) -> Tensor:
    """Mean -log P of counts (B, M) under amplitudes (B, N + 1): a loss on other data."""
    size, bins = a.shape[-1], counts.shape[-1]
    share = counts / counts.sum(-1, keepdim=True)
    return _loss(a * _turn(size, bins, a.device), share, _box(size, bins, a.device), 0.0)[2]
