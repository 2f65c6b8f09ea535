r"""Power laws and the law of quanta fitted to losses, with intervals for their exponents.

All fits are of ln y by Huber's loss; intervals are from data sets resampled (see ``_robust``).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.scaling import _robust
from kexue.scaling._sums import F64, power_sum
from kexue.scaling.exponents import DIRECTIONS, learned_power
from kexue.scaling.quanta import LOWEST, QuantaModel

__all__ = [
    "JointLaw",
    "PowerLaw",
    "QuantaFit",
    "fit_joint",
    "fit_power_law",
    "fit_quanta",
    "local_slopes",
]


@dataclass(frozen=True)
class PowerLaw:
    """y = floor + constant x^{-exponent}, with an interval for the exponent."""

    exponent: float
    constant: float
    floor: float
    interval: tuple[float, float]

    def predict(self, x: Any) -> Tensor:
        """y at x."""
        x = _check.positive("x", _check.tensor("x", x, dtype=F64))
        return self.floor + self.constant * x**-self.exponent


@dataclass(frozen=True)
class QuantaFit:
    """The law of a ``QuantaModel`` fitted to losses, with an interval for alpha."""

    model: QuantaModel
    scale: float
    interval: tuple[float, float]
    direction: str
    rho: float

    @property
    def alpha(self) -> float:
        """The model's."""
        return self.model.alpha

    def predict(self, x: Any) -> Tensor:
        """The loss at resources x."""
        how = {"direction": self.direction, "scale": self.scale, "rho": self.rho}
        return self.model.predicted_loss(x, **how)


@dataclass(frozen=True, eq=False)
class JointLaw:
    """L = floor + A N^{-alpha_n} + B D^{-alpha_d}; ``draws`` (R, 2): resampled alpha_n, alpha_d."""

    alpha_n: float
    alpha_d: float
    a: float
    b: float
    floor: float
    intervals: tuple[tuple[float, float], tuple[float, float]]
    draws: Tensor

    def predict(self, parameters: Any, data: Any) -> Tensor:
        """L at N and D, which broadcast."""
        n = _check.positive("parameters", _check.tensor("parameters", parameters, dtype=F64))
        d = _check.positive("data", _check.tensor("data", data, dtype=F64))
        return self.floor + self.a * n**-self.alpha_n + self.b * d**-self.alpha_d


def fit_power_law(
    x: Any,
    y: Any,
    *,
    floor: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> PowerLaw:
    r"""Fit y = constant x^{-exponent}, or with ``floor`` y = floor + constant x^{-exponent}.

    The interval takes the law to be true and the points to be independent: along one training
    curve they are not, and it comes out too short. With seeds, (S, M), only seeds need to be
    independent of one another.

    Args:
        x: (M,) positive numbers in any order, three or more different (four with ``floor``).
        y: (M,) positive numbers, or (S, M) from S seeds.
        floor: whether to fit a level >= 0 that x cannot go below.
        resamples: data sets that the interval is made of; 0 for none, an interval of NaN.
        level: of the interval.

    Raises:
        TypeError, ValueError: numbers that are not positive and finite, too few points, shapes.

    >>> x = torch.tensor([10.0, 100.0, 1000.0, 10_000.0])
    >>> law = fit_power_law(x, 0.1 + 3 * x**-0.5, floor=True)
    >>> f"{law.exponent:.4f}, {law.constant:.3f}, {law.floor:.4f}"
    '0.5000, 3.000, 0.1000'
    """
    how = _robust.resampling(resamples, level, generator)
    x, y = _robust.points(x, y, least=3 + bool(floor))
    u, middle = _centered(x)
    logs = y.log()
    lowest, mean = y.min().item(), logs.mean(0)

    def curve(theta: Tensor) -> Tensor:
        power = theta[:, :1] - theta[:, 1:2] * u
        return torch.logaddexp(power, theta[:, 2:]) if floor else power

    starts = []
    for level_start in [0.01, 0.3, 0.6, 0.9, 0.97] if floor else [0.0]:
        rest = (mean.exp() - level_start * lowest).log()
        slope = -((rest - rest.mean()) * u).sum() / u.square().sum()
        bottom = [torch.tensor(level_start * lowest, dtype=F64).log()] if floor else []
        starts.append(torch.stack([rest.mean(), slope, *bottom]))
    found = _robust.estimate(curve, logs, torch.stack(starts), how)
    exponent = found.theta[1].item()
    return PowerLaw(
        exponent=exponent,
        constant=(found.theta[0] + exponent * middle).exp().item(),
        floor=found.theta[2].exp().item() if floor else 0.0,
        interval=_robust.interval(found.draws[:, 1], level),
    )


def fit_quanta(
    x: Any,
    losses: Any,
    *,
    n_tasks: int | None,
    direction: str,
    before: float = 1.0,
    after: float = 0.0,
    rho: float = 1.0,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> QuantaFit:
    r"""Fit alpha and the scale of ``QuantaModel.predicted_loss`` (eq-scale-truncated, exactly).

    Where a power law takes the steepening near the last quantum for a larger exponent, this knows
    of the K = ``n_tasks`` quanta. Intervals as in ``fit_power_law``. Where less than one quantum is
    learned the tail's continuation to n < 1 is fitted, which has no jump; ``predict`` has one.

    Args:
        x: (M,) resources N, D or S, three or more different. losses: (M,) or (S, M), positive,
            near those between ``after`` and ``before``. n_tasks: K >= 2, or None.
        before, after: of the ``QuantaModel``. direction, rho: as in its ``learned``.

    >>> model, x = QuantaModel(0.2, n_tasks=500), torch.logspace(1, 4, 8)
    >>> losses = model.predicted_loss(x, direction="data", scale=4.0)
    >>> fit = fit_quanta(x, losses, n_tasks=500, direction="data", resamples=20)
    >>> f"alpha {fit.alpha:.4f}, scale {fit.scale:.3f}"
    'alpha 0.2000, scale 4.000'
    >>> law = fit_power_law(x, losses, resamples=20)
    >>> f"a power law has exponent {law.exponent:.3f}; without a last quantum {0.2 / 1.2:.3f}"
    'a power law has exponent 0.353; without a last quantum 0.167'
    """
    how = _robust.resampling(resamples, level, generator)
    _check.one_of("direction", direction, DIRECTIONS)
    learned_power(1.0, direction, rho)
    rho = _check.positive_real("rho", rho)
    like = QuantaModel(1.0, n_tasks, before, after)  # of which alpha is not yet known
    if like.last == 1:
        raise ValueError("n_tasks: got 1, needs 2 or more: one quantum leaves no exponent to fit")
    lowest = 0.0 if n_tasks is None else -1.0
    x, losses = _robust.points(x, losses, least=3, name="losses")
    u, middle = _centered(x)

    def curve(theta: Tensor) -> Tensor:
        alpha, log_n = theta[:, :1], theta[:, 1:]  # the number learned at the middle of ln x
        allowed = (alpha > lowest) & (alpha <= 10)
        s = torch.where(allowed, alpha, 1.0) + 1
        power = 1.0 if direction == "parameters" else 1 / (rho * s)
        n = torch.exp(log_n + power * u)
        allowed = allowed & (n < like.last)
        n = torch.where(allowed, n, 1.0)
        tail = power_sum(s, n, like.last) / power_sum(s, torch.zeros_like(s), like.last)
        log_loss = (like.after + (like.before - like.after) * tail).log()
        return torch.where(allowed, log_loss, torch.nan)

    alphas = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    numbers = torch.linspace(0.1, torch.tensor(min(like.last, 1e6)).log().item(), 24)
    starts = torch.tensor([*itertools.product(alphas, numbers.tolist())], dtype=F64)
    found = _robust.estimate(curve, losses.log(), starts, how, name="losses")
    alpha, log_n = found.theta.tolist()
    power = 1.0 if direction == "parameters" else rho * (alpha + 1)
    if n_tasks is None and alpha < LOWEST:
        raise ValueError(f"losses: got numbers of alpha = {alpha:.3g}, needs {LOWEST:g} or more")
    per_quantum = _robust.exp("losses", middle - power * log_n)  # x / n there, or x / n^power
    model = QuantaModel(alpha, n_tasks, before, after)
    if direction != "parameters":  # the frequency p_n decides
        per_quantum /= model.normalizer**rho
    return QuantaFit(
        model=model,
        scale=per_quantum,
        interval=_robust.interval(found.draws[:, 0], level),
        direction=direction,
        rho=rho,
    )


def fit_joint(
    parameters: Any,
    data: Any,
    losses: Any,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> JointLaw:
    r"""Fit L = floor + A N^{-alpha_n} + B D^{-alpha_d} to M losses, as Hoffmann et al. (2022) do.

    Here points are resampled, so that some may be noisier than others. ``draws`` are alpha_n and
    alpha_d of the resampled sets, for the interval of any function of the two.

    Args:
        parameters, data: N and D, (M,) positive numbers, three or more different of each.
        losses: (M,), positive; M >= 8.

    >>> n, d = torch.logspace(6, 9, 5).repeat_interleave(5), torch.logspace(8, 11, 5).repeat(5)
    >>> law = fit_joint(n, d, 1.7 + 400 * n**-0.34 + 410 * d**-0.28)
    >>> f"{law.alpha_n:.3f} {law.alpha_d:.3f} {law.floor:.2f}"
    '0.340 0.280 1.70'
    """
    how = _robust.resampling(resamples, level, generator)
    n = _check.positive("parameters", _check.tensor("parameters", parameters, dtype=F64))
    d = _check.positive("data", _check.tensor("data", data, dtype=F64))
    losses = _check.positive("losses", _check.tensor("losses", losses, dtype=F64))
    if n.ndim != 1 or len(n) < 8:
        raise ValueError(f"parameters: got shape {tuple(n.shape)}, needs (M,) with M >= 8")
    _check.same_shape("data", d, "parameters", n)
    _check.same_shape("losses", losses, "parameters", n)
    for name, value in (("parameters", n), ("data", d)):
        if (many := len(value.unique())) < 3:
            raise ValueError(f"{name}: got {many} different, needs 3 or more")
    (u, middle_n), (v, middle_d) = _centered(n), _centered(d)

    def curve(theta: Tensor) -> Tensor:
        log_a, alpha_n, log_b, alpha_d, log_floor = theta[:, None].unbind(-1)
        terms = torch.broadcast_tensors(log_a - alpha_n * u, log_b - alpha_d * v, log_floor)
        return torch.stack(terms).logsumexp(0)

    starts = []
    for alpha_n, alpha_d, part in itertools.product((0.2, 0.5, 1), (0.2, 0.5, 1), (0.3, 0.6, 0.9)):
        floor = part * losses.min().item()
        half = math.log((losses.median().item() - floor) / 2)
        starts.append([half, alpha_n, half, alpha_d, math.log(floor)])
    starts = torch.tensor(starts, dtype=F64)
    found = _robust.estimate(curve, losses.log()[None], starts, how, cases=True, name="losses")
    log_a, alpha_n, log_b, alpha_d, log_floor = found.theta.tolist()
    draws = found.draws[:, [1, 3]]
    return JointLaw(
        alpha_n=alpha_n,
        alpha_d=alpha_d,
        a=_robust.exp("losses", log_a + alpha_n * middle_n),
        b=_robust.exp("losses", log_b + alpha_d * middle_d),
        floor=math.exp(log_floor),
        intervals=tuple(_robust.interval(column, level) for column in draws.T),
        draws=draws,
    )


def local_slopes(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    r"""-d ln y / d ln x between neighbors in x, and where: the geometric means of the two.

    Args:
        x: (M,), two or more different positive numbers in any order. y: (M,) or (S, M), positive.

    >>> x = torch.tensor([1.0, 10.0, 100.0])
    >>> local_slopes(x, x**-0.5 + 0.1)[1]
    tensor([0.4221, 0.3183], dtype=torch.float64)
    """
    y = _check.tensor("y", y, dtype=F64)
    seeds = y.ndim == 2
    x, y = _robust.points(x, y, least=2)
    if len(x.unique()) < len(x):
        raise ValueError("x: got the same point twice, needs different ones")
    slopes = -y.log().diff() / x.log().diff()
    return (x[1:] * x[:-1]).sqrt(), slopes if seeds else slopes[0]


def _centered(x: Tensor) -> tuple[Tensor, float]:
    """ln x less its mean, and the mean."""
    middle = x.log().mean()
    return x.log() - middle, middle.item()
