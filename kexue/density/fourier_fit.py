"""From points to a Fourier density: where it sits, its histogram, how many terms it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.density._fourier_newton import maximize, score

__all__ = ["fit", "fit_counts", "maximize"]


def fit(
    x: Any, terms: Any, penalty: Any, loc: Any, scale: Any, line: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes, loc and scale for ``FourierDensity.fit``, which says what the arguments are."""
    x = _check.tensor("x", x).detach()
    if x.ndim == 0 or x.shape[-1] < 2:
        raise ValueError(f"x: got shape {tuple(x.shape)}, needs (..., n) with n >= 2")
    penalty = _check.real("penalty", penalty, low=0)
    several = isinstance(terms, Iterable) and getattr(terms, "ndim", 1)  # no 0-d tensor
    choices = list(terms) if several else [terms]
    choices = sorted({_check.integer("terms", n, low=0) for n in choices})
    if not choices:
        raise ValueError("terms: got none, needs at least one")
    inner, loc, scale = place(x, loc, scale, line)
    a = fit_points(inner.reshape(-1, x.shape[-1]), choices, penalty)
    a = a.to(torch.complex64 if x.dtype == torch.float32 else torch.complex128)
    return a.reshape(*x.shape[:-1], -1), loc, scale


def fit_counts(counts: Any, terms: Any, penalty: Any) -> Tensor:
    """Amplitudes for ``FourierDensity.fit_counts``."""
    counts = _check.tensor("counts", counts, dtype=torch.float64).detach()
    counts = _check.positive("counts", counts, zero=True)
    terms = _check.integer("terms", terms, low=0)
    if counts.ndim == 0:
        raise ValueError("counts: got shape (), needs (..., M)")
    if (counts.sum(-1) == 0).any():
        raise ValueError("counts: got a density without data, needs a positive sum")
    return maximize(counts, terms, _check.real("penalty", penalty, low=0))


def fit_points(x: Tensor, choices: Sequence[int], penalty: float) -> Tensor:
    """Amplitudes for points x (B, n) in [-1, 1]; with several ``choices`` of N, in rising order,
    each density takes the one of the highest likelihood where each fifth of its points is held out
    from a fit of the others.

    A larger N is not tried where the last two were no better, or the last one was clearly worse,
    and the data show no frequency above.
    """
    if len(choices) == 1:
        return maximize(histogram(x, choices[0])[:, 0], choices[0], penalty)
    parts = [_choose(part, choices, penalty) for part in x.split(2**12)]  # memory
    a, best = (torch.cat(part) for part in zip(*parts, strict=True))
    return a[:, : int(best.max()) + 1]


def _choose(x: Tensor, choices: Sequence[int], penalty: float) -> tuple[Tensor, Tensor]:
    """Amplitudes (B, N + 1) for the last N, zero beyond the N chosen; that (B)."""
    n, device = x.shape[-1], x.device
    folds = min(5, n)
    fold = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(device) % folds
    test = histogram(x, choices[-1], fold, folds)
    whole = test.sum(1)
    rest = whole[:, None] - test
    loud = torch.fft.rfft(whole).abs().square() > 20 * n
    reach = (loud * torch.arange(loud.shape[-1], device=device)).amax(-1)
    last = x.new_zeros((len(x), folds, choices[-1] + 1), dtype=torch.complex128)
    a, best, failures = last[:, 0].clone(), torch.zeros_like(reach), torch.zeros_like(reach)
    least = x.new_full((len(x),), math.inf)
    for terms, following in zip(choices, [*choices[1:], math.inf], strict=True):
        here = ((failures < 2) & (reach < following)).nonzero()[:, 0]
        if not len(here):
            continue
        counts, start = _coarse(rest[here], terms), last[here, :, : terms + 1]
        new = maximize(counts, terms, penalty, tol=5, start=start)  # near enough to compare
        last[here, :, : terms + 1] = new
        loss = score(new.flatten(0, 1), test[here].flatten(0, 1)).reshape(-1, folds).mean(-1)
        won = loss < least[here]
        # Each further wave is expected to cost 1/n; half of that for each is a clear failure.
        clear = (loss - least[here]) * n > (terms - best[here]) / 2
        failures[here] = torch.where(won | (reach[here] > terms), 0, failures[here] + 1 + clear)
        here = here[won]
        a[here, : terms + 1], best[here], least[here] = new[won, 0], terms, loss[won]
    for terms in best.unique().tolist():  # below a tenth of a nat steps gain little
        mine = best == terms
        counts, start = _coarse(whole[mine], terms), a[mine, : terms + 1]
        a[mine, : terms + 1] = maximize(counts, terms, penalty, tol=0.1, start=start)
    return a, best


def _bins(terms: int) -> int:
    """A power of two with 16 bins a period of the highest frequency, or more."""
    return max(64, 2 ** math.ceil(math.log2(16 * max(terms, 1))))


def _coarse(counts: Tensor, terms: int) -> Tensor:
    return counts.unflatten(-1, (_bins(terms), -1)).sum(-1)


def histogram(x: Tensor, terms: int, part: Tensor | int = 0, parts: int = 1) -> Tensor:
    """Counts (B, parts, M) of x (B, n) in [-1, 1], in bins that hide nothing N terms could show,
    apart for each ``part`` (n) of the points."""
    bins = _bins(terms)
    index = ((x + 1) * (bins / 2)).long().clamp(0, bins - 1)  # x = 1 falls into the last bin
    row = parts * torch.arange(len(x), device=x.device)[:, None] + part
    counts = torch.bincount((index + bins * row).reshape(-1), minlength=bins * parts * len(x))
    return counts.reshape(-1, parts, bins).double()


def place(x: Tensor, loc: Any, scale: Any, line: bool) -> tuple[Tensor, Tensor, Tensor]:
    """x moved into [-1, 1]; loc and scale in the batch shape, from the data where not given."""
    if line:
        ranks = (math.ceil(q * x.shape[-1]) for q in (0.25, 0.5, 0.75))
        low, middle, high = (x.kthvalue(rank).values for rank in ranks)
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
        scale = _check.tensor("scale", scale, dtype=x.dtype).to(x.device)
        scale = _check.positive("scale", scale)
    batch = x.shape[:-1]
    try:
        loc, scale = loc.expand(batch), scale.expand(batch)
    except RuntimeError as error:
        shapes = f"{tuple(loc.shape)} and {tuple(scale.shape)}"
        raise ValueError(
            f"loc, scale: got shapes {shapes}, needs shapes that expand to {tuple(batch)}"
        ) from error
    inner = (x.double() - loc.double()[..., None]) / scale.double()[..., None]
    if line:
        return inner.tanh(), loc, scale
    if inner.abs().max() > 1:  # or, by rounding, at an end
        excess = torch.maximum(x - (loc + scale)[..., None], (loc - scale)[..., None] - x).max()
        if excess > 0:
            raise ValueError(
                f"x: got a point {excess.item():.3g} outside the interval, needs "
                "loc - scale <= x <= loc + scale (or line=True)"
            )
    return inner, loc, scale
