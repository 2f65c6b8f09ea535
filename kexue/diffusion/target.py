"""What a model predicts: eps, x0, v or score, and the best possible prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.schedule import Schedule, expand_like

__all__ = ["TARGETS", "Model", "convert", "exact_eps"]

Model = Callable[[Tensor, Tensor], Tensor]
TARGETS = ("eps", "x0", "v", "score")


def convert(
    value: Tensor, x_t: Tensor, alpha: Any, sigma: Any, *, source: str, target: str
) -> Tensor:
    """Turn one prediction about x_t = alpha x_0 + sigma eps into another.

    =====  ======================  ==========================  ===========================
    name   meaning                 from it, x0                 from it, eps
    =====  ======================  ==========================  ===========================
    eps    the noise               (x_t - sigma eps) / alpha   eps
    x0     the data                x0                          (x_t - alpha x0) / sigma
    v      alpha eps - sigma x0    (alpha x_t - sigma v) / n   (sigma x_t + alpha v) / n
    score  -eps / sigma            by way of eps               -sigma score (eq-ddpm-score)
    =====  ======================  ==========================  ===========================

    with n = alpha^2 + sigma^2. v is that of Salimans & Ho 2022 (arXiv:2202.00512), not a flow's
    velocity. ``alpha``, ``sigma``: numbers, or one for each sample, shape (B,).

    Raises:
        ValueError: a division by zero. At alpha = 0, x_t is pure noise: eps says nothing about x_0.
            At sigma = 0, x_t = x_0: there is no noise to find, and no score. Also unknown names.

    >>> x_t = torch.tensor([0.6 * 2 + 0.8 * 1])  # x0 = 2, eps = 1
    >>> convert(torch.tensor([1.0]), x_t, 0.6, 0.8, source="eps", target="x0")
    tensor([2.])
    """
    value, x_t = _check.tensor("value", value), _check.tensor("x_t", x_t)
    _check.same_shape("value", value, "x_t", x_t)
    _check.one_of("source", source, TARGETS)
    _check.one_of("target", target, TARGETS)
    alpha, sigma = (
        expand_like(_check.tensor(name, number, dtype=torch.float64), x_t, name)
        for name, number in (("alpha", alpha), ("sigma", sigma))
    )
    if source == target:
        return value

    def divide(numerator: Tensor, name: str, amplitude: Tensor) -> Tensor:
        if (amplitude == 0).any():
            raise ValueError(f"{name}: got 0, needs a nonzero {name} to get {target} from {source}")
        return numerator / amplitude

    # To the pair (x0, eps), of which only what the target needs is computed.
    norm = alpha**2 + sigma**2
    if source == "score":
        eps = -sigma * value
    elif source == "eps":
        eps = value
    elif source == "v":
        eps = divide(sigma * x_t + alpha * value, "sigma", norm)
    elif target != "x0":
        eps = divide(x_t - alpha * value, "sigma", sigma)
    if target == "eps":
        return eps
    if target == "score":
        return divide(-eps, "sigma", sigma)
    if source == "x0":
        x0 = value
    elif source == "v":
        x0 = (alpha * x_t - sigma * value) / norm
    else:
        x0 = divide(x_t - sigma * eps, "alpha", alpha)
    return x0 if target == "x0" else alpha * eps - sigma * x0


def exact_eps(law: Any, schedule: Schedule) -> Model:
    """The best model for a law whose denoiser is known: eps*(x_t, t) = E[eps | x_t].

    ``law`` has ``posterior_mean(x_t, alpha, sigma)``, for instance a
    ``kexue.density.GaussianMixture``. By linearity eps* = (x_t - alpha E[x_0 | x_t]) / sigma,
    which is -sigma times the score (eq-ddpm-score). Undefined at t = 0.

    >>> from kexue.density import GaussianMixture
    >>> from kexue.schedule import Cosine
    >>> model = exact_eps(GaussianMixture([1.0], [0.0], [1.0]), Cosine())
    >>> model(torch.tensor([2.0]), torch.tensor([0.5]))  # sigma x_t
    tensor([1.4142])
    """

    def model(x_t: Tensor, t: Any) -> Tensor:
        alpha, sigma = schedule(t)
        x0 = law.posterior_mean(x_t, alpha, sigma).to(x_t.dtype)
        return convert(x0, x_t, alpha, sigma, source="x0", target="eps")

    return model
