"""Particles that follow an SDE: the Euler step, a better one, and the loops over them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.fokker_planck.sde import SDE

__all__ = ["advance", "euler_step", "simulate"]

Step = Callable[[SDE, Tensor, Any, Any, Tensor | None], Tensor]


def euler_step(sde: SDE, x: Tensor, t: Any, dt: Any, eps: Tensor | None) -> Tensor:
    r"""x + f(x, t) dt + g(x, t) sqrt(dt) eps   (eq-fp-euler).

    Weak order 1: the error of E phi(x_T) shrinks like dt, for any eps with the mean, the variance
    and the third moment of a standard normal. Source: Kloeden and Platen 1992, equation 14.1.1.

    >>> sde = SDE(lambda x, t: -x, 1.0)
    >>> euler_step(sde, torch.tensor([1.0]), 0.0, 0.25, torch.tensor([2.0]))
    tensor([1.7500])
    """
    x_next = x + sde.drift(x, t) * dt
    if sde.deterministic:
        return x_next
    return x_next + sde.spread(sde.diffusion(x, t), eps) * dt**0.5


def simulate(
    sde: SDE,
    x: Tensor,
    times: Any,
    step: Step = euler_step,
    noise: str = "normal",
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield the state at every time of ``times``, the start ``x`` included.

    >>> sde = SDE(lambda x, t: -x, 0.0)
    >>> [round(x.item(), 4) for x in simulate(sde, torch.ones(1), [0.0, 0.5, 1.0])]
    [1.0, 0.5, 0.25]
    """
    x = _check.tensor("x", x)
    times = _check.tensor("times", times, dtype=torch.float64)
    times = times.tolist()

    @torch.no_grad()
    def states() -> Iterator[Tensor]:
        state = x
        yield state
        for t, s in itertools.pairwise(times):
            eps = _draw(sde, state, t, generator)
            state = step(sde, state, t, s - t, eps)
            yield state

    return states()


def advance(
    sde: SDE,
    x: Tensor,
    start: float,
    stop: float,
    steps: int,
    step: Step = euler_step,
    noise: str = "normal",
    generator: torch.Generator | None = None,
    compile: bool = False,
) -> Tensor:
    """The state after ``steps`` equal steps from ``start`` to ``stop``, and only that."""
    times = torch.linspace(start, stop, steps + 1, dtype=torch.float64)
    for state in simulate(sde, x, times, step, noise, generator):
        x = state
    return x


def _draw(sde: SDE, x: Tensor, t: Any, generator: torch.Generator | None) -> Tensor | None:
    if sde.deterministic:
        return None
    shape = x.shape
    if sde.matrix:
        shape = x.shape[:-1] + sde.diffusion(x, t).shape[-1:]
    return torch.randn(shape, dtype=x.dtype, device=x.device, generator=generator)
