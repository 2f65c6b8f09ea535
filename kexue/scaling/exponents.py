r"""Exponents of the loss in parameters, data and steps, and the best division of compute."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from kexue import _check

__all__ = ["DIRECTIONS", "Split", "exponent", "optimal_split"]

DIRECTIONS = ("parameters", "data", "steps")


class Split(NamedTuple):
    """A division of compute, and the loss that it reaches."""

    parameters: Tensor
    steps: Tensor
    loss: Tensor


def exponent(alpha: float, direction: str, rho: float = 1.0) -> float:
    r"""By what power the loss falls as one resource grows, with infinitely many quanta: alpha for
    parameters, alpha / (alpha + 1) for data, alpha / (rho (alpha + 1)) for steps
    (eq-scale-parameters, eq-scale-data, eq-scale-rho).

    >>> [exponent(0.5, direction) for direction in DIRECTIONS]
    [0.5, 0.3333333333333333, 0.3333333333333333]
    """
    alpha = _check.positive_real("alpha", alpha)
    return alpha * learned_power(alpha, direction, rho)


def optimal_split(
    compute: Any, alpha: float, *, parameters: float = 1.0, steps: float = 1.0, cost: float = 1.0
) -> Split:
    r"""Where A N^{-alpha} + E S^{-alpha / (alpha + 1)} is smallest at a given C = cost N S:
    N^{alpha (alpha + 2) / (alpha + 1)} = (alpha + 1) (A / E) (C / cost)^{alpha / (alpha + 1)}.

    So N ~ C^{1 / (alpha + 2)}, S ~ C^{(alpha + 1) / (alpha + 2)}, S ~ N^{alpha + 1}, and the loss
    falls as C^{-alpha / (alpha + 2)}   (eq-scale-compute).

    Args:
        compute: C, numbers > 0. parameters, steps: A and E, > 0. cost: of one step a parameter.

    >>> [f"{float(x):.1f}" for x in optimal_split(1e6, 0.5)]
    ['408.6', '2447.3', '0.1']
    """
    compute = _check.positive("compute", _check.tensor("compute", compute, dtype=torch.float64))
    alpha, beta = _check.positive_real("alpha", alpha), exponent(alpha, "steps")
    weights = _check.positive_real("parameters", parameters), _check.positive_real("steps", steps)
    total = compute / _check.positive_real("cost", cost)
    n = ((alpha + 1) * weights[0] / weights[1] * total**beta) ** (1 / (alpha + beta))
    s = total / n
    return Split(n, s, weights[0] * n**-alpha + weights[1] * s**-beta)


def learned_power(alpha: float, direction: str, rho: float = 1.0) -> float:
    """The power of a resource with which n, the number of quanta learned, grows."""
    _check.one_of("direction", direction, DIRECTIONS)
    rho = _check.positive_real("rho", rho)
    if direction != "steps" and rho != 1:
        raise ValueError(f"rho: got {rho:g} for {direction}, needs 1: it is the power of steps")
    return 1.0 if direction == "parameters" else 1 / (rho * (alpha + 1))
