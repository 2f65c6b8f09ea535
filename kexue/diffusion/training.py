"""The simple loss of a noise-predicting model, and the weights that make it a likelihood bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.diffusion.sample import at_times, draw_noise, predict
from kexue.diffusion.target import Model
from kexue.schedule import DiscreteSchedule, Schedule, expand_like

__all__ = ["elbo_weight", "loss"]


def loss(
    model: Model,
    x0: Tensor,
    schedule: Schedule,
    t: Any = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    weight: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """L_simple: the mean of |eps - model(alpha_t x_0 + sigma_t eps, t)|^2, a scalar.

    Averaged over samples and coordinates (equation 14). Its minimum over all functions
    is E[eps | x_t] at every t, whatever positive ``weight`` (a function of the times (B,), for
    instance ``elbo_weight``) multiplies the samples.

    Args:
        x0: data, shape (B, ...). t: times (B,), or one; drawn uniformly if not given, from 1..T for
            a discrete schedule and from (0, 1] for a continuous one. noise: like ``x0``; drawn from
            N(0, I) if not given. generator: source of what is drawn. weight: values >= 0, one for
            each time.

    Source: Ho et al. 2020 (arXiv:2006.11239); kexue.fm/archives/9164.

    Raises:
        ValueError: shapes differ (also of the model's answer), or values are not finite.

    >>> from kexue.schedule import su
    >>> zero = lambda x_t, t: torch.zeros_like(x_t)
    >>> f"{loss(zero, torch.zeros(2, 3), su(), noise=torch.full((2, 3), 2.0)):.1f}"
    '4.0'
    """
    x0 = _check.tensor("x0", x0)
    if x0.ndim == 0:
        raise ValueError("x0: got a single number, needs a batch of shape (B, ...)")
    noise = draw_noise(x0, generator) if noise is None else noise
    t = _draw_times(schedule, x0, generator) if t is None else at_times(t, x0)
    x_t = schedule.add_noise(x0, noise, t)
    error = (noise - predict(model, x_t, t)).square()
    if weight is not None:
        factor = _check.tensor("weight(t)", weight(t), dtype=torch.float64)
        error = expand_like(_check.positive("weight(t)", factor, zero=True), error) * error
    return error.mean()


def elbo_weight(schedule: Schedule, t: Any, s: Any, of: str = "eps") -> Tensor:
    """Weight of the error at t in the variational bound, for the step t to s (eq-ddpm-elbo-weight).

    KL(p(x_s | x_t, x_0) || model step), both with the variance sigma_s^2 b^2 / sigma_t^2, is

        b^2 / (2 a^2 sigma_s^2) |eps - eps_theta|^2 = (SNR_s - SNR_t) / 2 |x_0 - x0_theta|^2.

    ``of`` ("eps" or "x0") chooses the factor; in nats, for the sum over coordinates. The simple
    loss sets the first to 1. Both are singular at s = 0, where the posterior is a point: that term
    of the bound is the decoder -log p(x_0 | x_1), which is no KL of Gaussians.
    Source: Ho et al., equation 12; Kingma et al. 2021 (arXiv:2107.00630).

    Raises:
        ValueError: s = 0, not s < t, or an unknown ``of``.

    >>> from kexue.schedule import su
    >>> [f"{elbo_weight(su(), t, t - 1):.4f}" for t in (2, 10, 1000)]
    ['1.0000', '0.1112', '0.0102']
    """
    _check.one_of("of", of, ("eps", "x0"))
    a, b = schedule.step(t, s)
    (_, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    if (sigma_s == 0).any():
        raise ValueError("s: got 0, needs s > 0; there the bound has the decoder, not a KL")
    weight = (b / (a * sigma_s)) ** 2 / 2
    return weight if of == "eps" else weight * (alpha_t / sigma_t) ** 2


def _draw_times(schedule: Schedule, x: Tensor, generator: torch.Generator | None) -> Tensor:
    device = x.device if generator is None else generator.device
    if isinstance(schedule, DiscreteSchedule):
        t = torch.randint(1, schedule.T + 1, x.shape[:1], generator=generator, device=device)
        return t.to(x.device)
    uniform = torch.rand(x.shape[:1], generator=generator, device=device, dtype=x.dtype)
    return 1 - uniform.to(x.device)  # in (0, 1]: t = 0 has no noise to predict
