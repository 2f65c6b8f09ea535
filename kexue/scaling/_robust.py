r"""Curves fitted to logarithms by Huber's loss, many data sets at a time, and bootstrap intervals.

What is minimized is sum_i h(r_i / sigma) over residuals r of ln y, h(r) = r^2 / 2 up to |r| = C and
linear beyond it (Huber 1964), so that a point far off pulls no harder than one at C sigma. The
method of Levenberg and Marquardt takes all resampled data sets in one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from kexue import _check

C = 1.345  # 95 % as efficient as least squares where the residuals are normal
KEPT = 8  # starts that are followed, the best
SMALLEST = 1e-6  # of sigma, for data without noise
Curve = Callable[[Tensor], Tensor]  # theta (B, P) to ln y (B, M); not finite where not allowed


class Estimate(NamedTuple):
    """A fit: parameters (P,), and the same from each resampled data set, (R, P)."""

    theta: Tensor
    draws: Tensor


class Resampling(NamedTuple):
    """How many data sets to draw, from which generator, for an interval of which level."""

    number: int
    level: float
    generator: torch.Generator | None


def resampling(number: Any, level: Any, generator: torch.Generator | None) -> Resampling:
    """Check the arguments ``resamples`` and ``level``."""
    number, level = _check.integer("resamples", number, low=0), _check.real("level", level)
    if 0 < number < 20:
        raise ValueError(f"resamples: got {number}, needs 0 or at least 20")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level:g}, needs a number between 0 and 1")
    return Resampling(number, level, generator)


def estimate(
    curve: Curve,
    logs: Tensor,
    starts: Tensor,
    how: Resampling,
    cases: bool = False,
    name: str = "y",
) -> Estimate:
    """Fit ``logs``, shape (S, M), from each of ``starts`` (B, P); then resampled data sets.

    Errors call the numbers ``name``.

    With S > 1 seeds these are S seeds drawn with replacement; with one, the curve plus residuals
    drawn with replacement, which is for residuals that are independent and of one law, or with
    ``cases`` points drawn with replacement, which lets that law differ from point to point and
    needs many of them. The draws are moved away from the estimate for the freedom that the fit has
    used up, and by Student's quantile over the normal one, so that few seeds or points give the
    wide interval they should.
    """
    (seeds, points), count = logs.shape, starts.shape[1]
    sigma = 0.01 * (logs - logs.mean()).abs().mean().item() + SMALLEST  # at first nearly |r|
    starts = starts[_cost(curve, logs, starts, sigma).argsort()[:KEPT]]
    for tolerance in (1e-3, 1e-3, 1e-3, 1e-9):  # sigma first
        starts, cost = _minimize(curve, logs, starts, sigma, tolerance)
        if not torch.isfinite(cost).any():
            raise ValueError(f"{name}: got numbers that no curve comes near, needs others")
        theta = starts[cost.argmin()][None]
        residuals = logs - curve(theta)
        freedom = residuals.numel() - count
        spread = residuals.abs().median().item() / 0.6745 * math.sqrt(residuals.numel() / freedom)
        sigma = max(spread, SMALLEST)
    if not how.number:
        return Estimate(theta[0], theta[:0])
    data, times = logs, torch.ones(how.number, 1, 1, dtype=logs.dtype)
    if seeds > 1:
        chosen = torch.randint(seeds, (how.number, seeds), generator=how.generator)
        data, freedom, used = logs[chosen], seeds - 1, seeds / (seeds - 1)
    else:
        chosen = torch.randint(points, (how.number, 1, points), generator=how.generator)
        used = points / freedom
        if cases:
            times = functional.one_hot(chosen, points).sum(-2).to(logs)
        else:
            data = curve(theta) + (residuals[0] - residuals.mean())[chosen]
    found, cost = _minimize(curve, data, theta.expand(how.number, -1), sigma, 1e-6, times)
    wider = stats.t(freedom).ppf((1 + how.level) / 2) / stats.norm.ppf((1 + how.level) / 2)
    draws = theta + (found - theta) * wider * math.sqrt(used)
    return Estimate(theta[0], draws[torch.isfinite(cost)])


def interval(draws: Tensor, level: float) -> tuple[float, float]:
    """The range that leaves out (1 - level) / 2 of the draws (R,) on either side; NaN of none."""
    if not len(draws):
        return math.nan, math.nan
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)
    low, high = torch.quantile(draws, ends).tolist()
    return low, high


def exp(name: str, power: float) -> float:
    """e^power, a constant of the curve nearest to the numbers ``name``."""
    try:
        return math.exp(power)
    except OverflowError as error:
        raise ValueError(
            f"{name}: got numbers nearest to a curve with a constant of e^{power:.0f}, needs "
            "numbers near one of this kind"
        ) from error


def points(x: Any, y: Any, least: int, name: str = "y") -> tuple[Tensor, Tensor]:
    """Positive ``x`` (M,) in increasing order, and ``y`` (M,) or (S, M) as (S, M) in that order."""
    x = _check.positive("x", _check.tensor("x", x, dtype=torch.float64))
    y = _check.positive(name, _check.tensor(name, y, dtype=torch.float64))
    if x.ndim != 1 or len(x.unique()) < least:
        distinct = len(x.unique())
        raise ValueError(f"x: got {distinct} different points, needs (M,) with {least} or more")
    if y.ndim not in (1, 2) or y.shape[-1] != len(x):
        shape, size = tuple(y.shape), len(x)
        raise ValueError(f"{name}: got shape {shape}, needs ({size},) or (S, {size}) like x")
    order = x.argsort()
    return x[order], torch.atleast_2d(y)[:, order]


def _minimize(
    curve: Curve,
    data: Tensor,
    theta: Tensor,
    sigma: float,
    tolerance: float,
    times: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """theta (B, P) at the minima for data (B, S, M), or for one data set (S, M); costs (B,).

    ``tolerance``: the relative gain below which a row is settled. ``times`` (B, 1, M or 1): how
    many times each point counts.
    """
    data = data.expand(len(theta), *data.shape[-2:])
    times = torch.ones(len(theta), 1, 1, dtype=data.dtype) if times is None else times
    cost = _cost(curve, data, theta, sigma, times)
    best, lowest, damping = theta.clone(), cost.clone(), torch.full_like(cost, 1e-3)
    live = torch.isfinite(cost).nonzero()[:, 0]  # the rows that still move
    for _ in range(50):
        if not len(live):
            break
        theta, cost = best[live], lowest[live]
        slope, residuals = _jacobian(curve, theta), data[live] - curve(theta)[:, None]
        weights = times[live] * (C * sigma / residuals.abs().clamp(min=1e-300)).clamp(max=1)
        curvature = torch.einsum("bmp,bm,bmq->bpq", slope, weights.sum(1), slope)
        pull = torch.einsum("bmp,bm->bp", slope, (weights * residuals).sum(1))
        ridge = damping[live, None] * curvature.diagonal(dim1=1, dim2=2) + 1e-12
        step = torch.linalg.solve_ex(curvature + torch.diag_embed(ridge), pull)[0].nan_to_num()
        found = _cost(curve, data[live], theta + step, sigma, times[live])
        better = found < cost
        # Settled: nothing to gain even by a short step, or nothing that would show.
        shows = (found < cost * (1 - tolerance)) & (found > 1e-6 * sigma**2)
        settled = torch.where(better, ~shows, damping[live] > 1e3)
        best[live] = torch.where(better[:, None], theta + step, theta)
        lowest[live] = torch.where(better, found, cost)
        damping[live] *= torch.where(better, 0.1, 10.0)
        live = live[~settled]
    return best, lowest


def _cost(
    curve: Curve, data: Tensor, theta: Tensor, sigma: float, times: Tensor | float = 1.0
) -> Tensor:
    """Huber's loss of each data set, (B,)."""
    size, bend = (data - curve(theta)[:, None]).abs(), C * sigma
    losses = torch.where(size <= bend, size.square() / 2, bend * (size - bend / 2)) * times
    losses = losses.sum((1, 2))
    return torch.where(torch.isfinite(losses), losses, math.inf)


def _jacobian(curve: Curve, theta: Tensor, h: float = 1e-5) -> Tensor:
    """Central differences of the curve by its parameters, (B, M, P)."""
    steps = h * torch.eye(theta.shape[1], dtype=theta.dtype)
    columns = [(curve(theta + step) - curve(theta - step)) / (2 * h) for step in steps]
    return torch.stack(columns, -1).nan_to_num(0, 0, 0)
