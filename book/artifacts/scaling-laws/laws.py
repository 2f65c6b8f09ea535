"""Hold the measured exponents against what infinitely many and what K tasks predict.

Every exponent is the slope of a power law fitted by ``fit_power_law`` to the points in a window; a
prediction is fitted in the same window at the same points. The truncated law has one constant a
direction (c, tau or T), which is calibrated at one exponent alpha and then kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kexue.scaling import QuantaModel, exponent, fit_power_law

DIRECTIONS = ("parameters", "steps", "data")
LOW = 0.3  # "low alpha" means: up to here
RESAMPLES = 1000


@dataclass(frozen=True)
class Curve:
    """Losses ``y`` (seeds, points) at the resources ``x``; windows are said in terms of ``at``."""

    alpha: float
    n_tasks: int
    direction: str
    x: Tensor
    at: Tensor
    y: Tensor

    def window(self, low: float = 0, high: float = np.inf, loss: float = np.inf) -> Curve:
        """The points with ``low <= at <= high`` from the first with a mean below ``loss`` on."""
        under = (self.y.mean(0) < loss).cummax(0).values
        keep = (self.at >= low) & (self.at <= high) & under
        return Curve(
            self.alpha, self.n_tasks, self.direction, self.x[keep], self.at[keep], self.y[:, keep]
        )


def curve(arrays: dict, alpha: float, n_tasks: int, direction: str) -> Curve:
    """A direction's curve from the arrays of a stage (`runs`)."""
    x, at, y = {
        "parameters": lambda a: (a["parameters"], a["widths"], a["losses"][-1].T),
        "steps": lambda a: (a["steps"], a["steps"], a["losses"][:, -1].T),
        "data": lambda a: (a["sizes"], a["sizes"], a["data_losses"].min(0).T),
    }[direction](arrays)
    return Curve(
        alpha, n_tasks, direction, *(torch.tensor(v, dtype=torch.float64) for v in (x, at, y))
    )


def before(arrays: dict) -> dict:
    """What is kept of a stage that is trained again: the losses of its curves, and S_k."""
    losses = {
        f"before_{direction}": curve(arrays, 1.0, 1, direction).y.float().numpy()
        for direction in DIRECTIONS
    }
    return losses | {"before_learned_at": arrays["learned_at"]}


def power_law(x: Tensor, y: Tensor, resamples: int = 20):
    return fit_power_law(x, y, resamples=resamples, generator=torch.Generator().manual_seed(0))


def predicted(curve: Curve, scale: float | Tensor, rho: float, n_tasks: int | None) -> Tensor:
    """The model's losses at ``x``; only x / scale matters, so that scales (B, 1) give (B, points).

    ``rho`` of data is meant as that of steps: D_k = tau / p_k^rho.
    """
    model, direction = QuantaModel(curve.alpha, n_tasks), curve.direction if rho == 1 else "steps"
    return model.predicted_loss(curve.x / scale, direction=direction, scale=1.0, rho=rho)


def calibrated(curve: Curve, rho: float, n_tasks: int | None, by: str) -> float:
    """The constant at which the model has the losses of ``curve``: least squares in the logarithm
    over all of its points (``by="loss"``), or the loss of the last one (``by="last"``)."""
    want = curve.y.log().mean(0)
    some = slice(-1, None) if by == "last" else slice(None)
    top = float(curve.x.max().log())
    ends = top - 16, top  # of the logarithm; at the upper end nothing, at the lower all is learned
    for _ in range(4):
        grid = torch.linspace(*ends, 161, dtype=torch.float64)
        got = predicted(curve, grid.exp()[:, None], rho, n_tasks).clamp(min=1e-12).log()
        best = int((got - want)[:, some].square().sum(1).argmin())
        ends = grid[max(best - 1, 0)].item(), grid[min(best + 1, 160)].item()
    return grid[best].exp().item()


def measured(curves: list[Curve], resamples: int) -> list[dict]:
    """The exponents of the curves, with bootstrap intervals."""
    rows = []
    for c in curves:
        fit = power_law(c.x, c.y, resamples)
        row = dict(alpha=c.alpha, points=len(c.x), x=[float(c.x[0]), float(c.x[-1])])
        rows.append(row | dict(measured=fit.exponent, interval=list(fit.interval)))
    return rows


def compare(
    curves: list[Curve], rows: list[dict], main: float, rho: float, by: str, scale: float | None
) -> dict:
    """One way of asking: what was ``measured`` of all curves beside what is predicted.

    ``infinite``   alpha, alpha / (alpha + 1) or alpha / (rho (alpha + 1)): needs no constant
    ``local``      infinitely many tasks, not only their leading term; its constant calibrated too
    ``truncated``  K tasks, constant calibrated at alpha = ``main`` (or given, as ``scale``)
    """
    at = next(c for c in curves if c.alpha == main)
    constants = {
        name: (scale or calibrated(at, rho, K, by), K)
        for name, K in (("local", None), ("truncated", at.n_tasks))
    }
    found = []
    for c, row in zip(curves, rows, strict=True):
        direction = c.direction if rho == 1 else "steps"
        row = row | dict(infinite=exponent(c.alpha, direction, rho))
        for name, (constant, K) in constants.items():
            losses = predicted(c, constant, rho, K)
            some = losses > 0  # from K quanta on nothing is left to lose
            row[name] = power_law(c.x[some], losses[some]).exponent
            row[f"{name}_points"] = int(some.sum())
        found.append(row)
    laws = ("infinite", *constants)
    errors = {name: np.array([abs(r[name] - r["measured"]) for r in found]) for name in laws}
    low = np.array([r["alpha"] <= LOW for r in found])
    closer = errors["truncated"] < errors["infinite"]
    return dict(
        rho=rho, calibrated_by=by, rows=found,
        scale={name: constant for name, (constant, _) in constants.items()},
        mean_error={name: float(e.mean()) for name, e in errors.items()},
        mean_error_low={name: float(e[low].mean()) for name, e in errors.items()},
        closer=closer.tolist(), closer_at_low=bool(closer[low].all()),
    )  # fmt: skip


def jumps(times: Tensor, p: Tensor) -> dict:
    """rho of S_k = T p_k^-rho (or D_k), over the ranks up to which nine in ten tasks were learned.

    Further on only the lucky tasks are there, which would make rho too small (``rho_all``).

    Parameters
    ----------
    times : (..., K), infinity where a task was never learned. p : (K,), frequencies.
    """
    times = times.reshape(-1, len(p)).double()
    done = times.isfinite()
    share = done.double().mean(0).cumsum(0) / torch.arange(1, len(p) + 1)
    ranks = int((share >= 0.9).nonzero().max()) + 1 if (share >= 0.9).any() else 0
    found = dict(ranks=ranks, learned=done.sum(1).tolist())
    for name, some in (("rho", done & (torch.arange(len(p)) < ranks)), ("rho_all", done)):
        if some.sum() < 4:
            continue
        x, y = p.expand_as(times)[some], times[some]
        order = x.argsort()
        fit = power_law(x[order], y[order], RESAMPLES)
        found |= {name: fit.exponent, f"{name}_interval": list(fit.interval)}
        if name == "rho":
            found["scale"] = {
                "1": float((y * x).log().mean().exp()),
                "rho": float((y * x**fit.exponent).log().mean().exp()),
            }
    return found
