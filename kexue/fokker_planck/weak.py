"""Weak form: what an SDE does to the expectation of a test function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kexue import _check
from kexue.fokker_planck.sde import SDE, Field, check_sde
from kexue.fokker_planck.simulate import Step, euler_step, particles, source

__all__ = ["TEST_FUNCTIONS", "Residual", "generator", "residual"]

TestFunction = Callable[[Tensor], Tensor]


def bump(x: Tensor) -> Tensor:
    """exp(1 - 1 / (1 - x^2 / 9)) for |x| < 3, else 0: smooth, with compact support.

    >>> bump(torch.tensor([0.0, 1.5, 3.0]))
    tensor([1.0000, 0.7165, 0.0000])
    """
    inside = x.abs() < 3
    # The outer side is never evaluated where it divides by zero: its derivatives would be NaN.
    room = torch.where(inside, 1 - (x / 3) ** 2, 1.0)
    return torch.where(inside, torch.exp(1 - 1 / room), 0.0)


# For laws of numbers. Only the bump has compact support, which the derivation asks for; the others
# are bounded with all their derivatives, which is enough for any density.
TEST_FUNCTIONS: dict[str, TestFunction] = {
    "bump": bump,
    "tanh": torch.tanh,
    "cos": torch.cos,
    "gauss": lambda x: torch.exp(-((x - 0.5) ** 2)),
}


def generator(sde: SDE, phi: TestFunction) -> Field:
    r"""L phi = f . grad phi + 1/2 sum_ij D_ij d_i d_j phi with D = g g^T   (eq-fp-generator).

    As d/dt E phi(x_t) = E (L phi)(x_t)   (eq-fp-dynkin), it is all that the law of x_t knows of f
    and g. The second term is 1/2 sum_k g_k^T H g_k over the columns g_k of g, with H g_k as the
    gradient of g_k . grad phi: the Hessian H itself is never formed.

    Args:
        phi: of numbers, elementwise: (n,) to (n,); or of vectors: (n, d) to (n,). Smooth, made of
            torch functions; every particle by itself.

    Returns:
        A function of (x, t), in the shape of ``phi(x)``.

    Raises:
        TypeError, ValueError: when called, for values of ``phi`` of another shape, x not finite.

    >>> sde = SDE(lambda x, t: -x, 1.0)
    >>> generator(sde, torch.square)(torch.tensor([0.0, 2.0]), 0.0)  # 1 - 2 x^2
    tensor([ 1., -7.])
    """
    _check_pair(sde, phi)

    @torch.enable_grad()
    def applied(x: Tensor, t: Any) -> Tensor:
        x = _check.tensor("x", x)
        # What is derived by is y alone: f and g are of x, so that L may be applied to an L phi.
        y = x.clone() if x.requires_grad else x.detach().requires_grad_()
        f, g, value = sde.drift(x, t), sde.diffusion(x, t), phi(y)
        numbers = _is_of_numbers(value, x)
        slope = _gradient(value, y)
        total = f * slope
        for column in [] if sde.deterministic else _columns(sde, g, x, numbers):
            total = total + 0.5 * column * _gradient(slope * column, y)
        total = total if numbers else total.sum(-1)
        return total if x.requires_grad else total.detach()

    return applied


def _is_of_numbers(value: Any, x: Tensor) -> bool:
    """Whether ``value`` has one entry a number of ``x``, (n,), or one a vector of ``x``, (n, d)."""
    shape = getattr(value, "shape", None)
    if shape != x.shape and (x.ndim < 2 or shape != x.shape[:-1]):
        got = type(value).__name__ if shape is None else f"shape {tuple(shape)}"
        or_vectors = f" (numbers) or {tuple(x.shape[:-1])} (vectors)" if x.ndim > 1 else ""
        raise ValueError(f"phi(x): got {got}, needs shape {tuple(x.shape)}{or_vectors}")
    return shape == x.shape


def _gradient(values: Tensor, x: Tensor) -> Tensor:
    """Gradient of each particle's values in the particle: of their sum, as none depends on another.

    It can be differentiated again. Where ``values`` do not depend on ``x`` it is 0.
    """
    if not values.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(values.sum(), x, create_graph=True, materialize_grads=True)[0]


def _columns(sde: SDE, g: Any, x: Tensor, numbers: bool) -> list[Tensor]:
    """The columns of g, each in the shape of ``x``: D = g g^T is the sum of their squares."""
    if sde.matrix:
        return [column.expand_as(x) for column in g.unbind(-1)]
    g = torch.as_tensor(g, dtype=x.dtype, device=x.device).expand_as(x)
    if numbers:
        return [g]
    unit = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return [g * e for e in unit]


class Residual(NamedTuple):
    """An average over particles and its standard error."""

    estimate: float
    error: float


@torch.no_grad()
def residual(
    sde: SDE,
    phi: TestFunction,
    x: Tensor,
    t: Any,
    dt: float,
    step: Step = euler_step,
    noise: str = "normal",
    generator: torch.Generator | None = None,
    antithetic: bool = False,
) -> Residual:
    """E[(phi(x_{t+dt}) - phi(x_t)) / dt] - E[L phi(x_t)], which goes to 0 like dt   (eq-fp-dynkin).

    Each particle is compared with itself before and after the step, so that the spread of phi over
    the law drops out; what is left of it is phi' g eps / sqrt(dt).

    Args:
        x: particles that follow the law at ``t``, (n,) or (n, d), n >= 2; float64 for a small dt.
        antithetic: take the mean of the steps with eps and -eps, in which that last term cancels:
            the error no longer grows as dt shrinks.

    Other arguments and errors as in ``simulate`` and ``generator``.

    >>> sde, x = SDE(lambda x, t: -x, 1.0), torch.linspace(-2, 2, 401, dtype=torch.float64)
    >>> r = residual(sde, torch.square, x, 0.0, 0.01, noise="two-point", antithetic=True)
    >>> f"{r.estimate:.4f}"  # dt E x^2
    '0.0134'
    """
    x, applied = particles(sde, x, step, noise), _apply(sde, phi)
    if len(x) < 2:
        raise ValueError(f"x: got {len(x)} particle, needs two or more for a standard error")
    eps = source(sde, x, t, noise, generator)()
    after = phi(step(sde, x, t, dt, eps))
    if antithetic and eps is not None:
        after = (after + phi(step(sde, x, t, dt, -eps))) / 2
    gap = (after - phi(x)) / dt - applied(x, t)
    return Residual(gap.mean().item(), gap.std().item() / math.sqrt(len(gap)))


_apply = generator  # under a name that ``residual`` does not use for its source of noise


def _check_pair(sde: Any, phi: Any) -> None:
    check_sde(sde)
    if not callable(phi):
        raise TypeError(f"phi: got {type(phi).__name__}, needs a function of x")
