"""Stochastic differential equations, and what else has their marginals: flow, family, reversal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kexue import _check

__all__ = ["SDE", "probability_flow", "reverse", "same_marginals"]

Field = Callable[[Tensor, Any], Tensor]


class SDE:
    r"""dx = f(x, t) dt + g(x, t) dw, read in the sense of Itô.

    Args:
        drift: f, a function of (x, t) that returns a tensor in the shape of ``x``.
        diffusion: g, a number, a tensor, or a function of (x, t) that returns one of these. It
            multiplies the noise of each coordinate, so it broadcasts against ``x``. With
            ``matrix`` it is a matrix (..., d, k) for states (..., d) and k noises.
        matrix: g is a matrix, and the noise has k entries where the state has d.
        additive: g does not depend on x. Known for a number or a tensor; a function has to be
            declared. What rests on it: ``same_marginals``, ``reverse``, ``platen_step``.
        steady: neither f nor g depends on t. Not needed for particles; it lets finite volumes
            factor their matrix once.

    States ``x`` of a law of numbers have shape (n,), those of a law in d dimensions (n, d); ``t``
    is one time for all of them, a float or a 0-d tensor.

    Raises:
        TypeError, ValueError: at once for a diffusion that is not finite; when called, for a drift
            or a diffusion of the wrong shape.

    >>> sde = SDE(lambda x, t: -x, 0.5)
    >>> sde.drift(torch.tensor([1.0, 2.0]), 0.0), sde.diffusion(torch.ones(2), 0.0)
    (tensor([-1., -2.]), 0.5)
    >>> sde.additive, SDE(lambda x, t: -x, lambda x, t: x).additive
    (True, False)
    """

    def __init__(
        self,
        drift: Field,
        diffusion: Any,
        matrix: bool = False,
        additive: bool | None = None,
        steady: bool = False,
    ) -> None:
        if not callable(drift):
            raise TypeError(f"drift: got {type(drift).__name__}, needs a function of (x, t)")
        if not callable(diffusion):
            if additive is False:
                raise ValueError("additive: got False for a constant diffusion, which is additive")
            diffusion = _constant(diffusion, matrix)
        self.matrix, self.steady = bool(matrix), bool(steady)
        self.additive = bool(additive) or not callable(diffusion)
        self._drift, self._diffusion = drift, diffusion

    def __repr__(self) -> str:
        kind = "matrix noise" if self.matrix else "one noise a coordinate"
        return f"{type(self).__name__}({kind}, {'' if self.additive else 'not '}additive)"

    @property
    def deterministic(self) -> bool:
        """g is the number 0: an ordinary differential equation, for which no noise is drawn."""
        return isinstance(self._diffusion, float) and self._diffusion == 0

    def drift(self, x: Tensor, t: Any) -> Tensor:
        """f(x, t), in the shape and dtype of ``x``."""
        return _like("drift(x, t)", self._drift(x, t), x)

    def diffusion(self, x: Tensor, t: Any) -> Any:
        """g(x, t), a number or a tensor that broadcasts against ``x``; (..., d, k) for a matrix."""
        g = self._diffusion(x, t) if callable(self._diffusion) else self._diffusion
        shape = tuple(getattr(g, "shape", ()))
        fits = _broadcasts(shape[:-1] if self.matrix else shape, x.shape)
        if self.matrix and not (fits and shape[-2:-1] == x.shape[-1:]):
            raise ValueError(
                f"diffusion(x, t): got shape {shape}, needs (..., {x.shape[-1]}, k) for a state of "
                f"shape {tuple(x.shape)}"
            )
        if not fits:
            raise ValueError(
                f"diffusion(x, t): got shape {shape}, needs one that broadcasts to the "
                f"{tuple(x.shape)} of x"
            )
        return g.to(x.dtype) if isinstance(g, Tensor) else g

    def spread(self, g: Any, eps: Tensor | None) -> Tensor | float:
        """g eps, coordinate by coordinate or a matrix times a vector; 0 without noise (None)."""
        if eps is None:
            return 0.0
        return torch.einsum("...ik,...k->...i", g, eps) if self.matrix else g * eps


def same_marginals(sde: SDE, score: Field, noise: float = 0.0) -> SDE:
    r"""Another SDE with the marginal laws of ``sde``   (eq-fp-family).

    dx = [f - 1/2 (1 - lambda^2) g g^T score] dt + lambda g dw

    The noise keeps lambda^2 of the diffusion. The drift does the rest: it carries p along
    -1/2 (1 - lambda^2) g g^T grad log p, and p grad log p = grad p.

    Args:
        score: grad log p_t(x), a function of (x, t), where p_t is the law that ``sde`` has from
            its own start.
        noise: lambda >= 0. 0 is the probability-flow ODE, 1 is ``sde`` itself.

    Raises:
        ValueError: g depends on x (then the drift needs div(g g^T) too, which is not done here), a
            negative ``noise``; when called, a score of another shape than ``x``.

    Source, for lambda = 0: Song et al. 2021 (arXiv:2011.13456), appendix D.1.

    >>> stationary = SDE(lambda x, t: -x, 2**0.5)  # keeps N(0, 1)
    >>> flow = same_marginals(stationary, lambda x, t: -x)
    >>> flow.drift(torch.tensor([1.0, 2.0]), 0.0).abs() < 1e-6  # nothing has to move
    tensor([True, True])
    """
    noise = _known_score(sde, score, noise)

    def drift(x: Tensor, t: Any) -> Tensor:
        return sde.drift(x, t) - 0.5 * (1 - noise**2) * _pull(sde, score, x, t)

    return SDE(drift, _scaled(sde, noise), sde.matrix and noise > 0, additive=True)


def probability_flow(sde: SDE, score: Field) -> SDE:
    """The ODE dx = [f - 1/2 g g^T score] dt, with the marginals of ``sde``   (eq-fp-flow).

    Arguments and errors as in ``same_marginals``, of which it is the member without noise.

    >>> heat = SDE(lambda x, t: 0 * x, 1.0)  # N(0, 1) becomes N(0, 1 + t)
    >>> probability_flow(heat, lambda x, t: -x / (1 + t)).drift(torch.tensor([2.0]), 0.0)
    tensor([1.])
    """
    return same_marginals(sde, score, noise=0.0)


def reverse(sde: SDE, score: Field, stop: float, noise: float = 1.0) -> SDE:
    r"""``sde`` run backwards, in the time tau = stop - t from 0 to ``stop``   (eq-fp-reverse).

    dx = [-f + 1/2 (1 + lambda^2) g g^T score] dtau + lambda g dw

    with f, g and the score at t = stop - tau. Started from p_stop, its law at tau is p_{stop-tau}.

    Args:
        score: grad log p_t(x), a function of (x, t) in the time t of ``sde``.
        stop: the time of ``sde`` at which the way back starts, > 0.
        noise: lambda >= 0. 1 is Anderson's reverse SDE, 0 the probability-flow ODE backwards.

    Raises:
        ValueError: as in ``same_marginals``; when called with a float, tau outside [0, stop].

    Source: Anderson 1982; Song et al. 2021 (arXiv:2011.13456), equation 6.

    >>> heat = SDE(lambda x, t: 0 * x, 1.0)
    >>> reverse(heat, lambda x, t: -x / (1 + t), stop=1.0).drift(torch.tensor([2.0]), 0.0)
    tensor([-1.])
    """
    noise = _known_score(sde, score, noise)
    stop = _check.real("stop", stop, low=0)
    if stop == 0:
        raise ValueError("stop: got 0, needs a time > 0")

    def time(tau: Any) -> Any:
        t = stop - tau
        if isinstance(t, Tensor):  # maybe on a GPU, where looking at it would wait
            return t
        if not -1e-9 * stop <= t <= stop:
            raise ValueError(f"t: got tau = {tau:g}, needs [0, {stop:g}]")
        return max(t, 0.0)  # the last of many steps may overshoot by rounding

    def drift(x: Tensor, tau: Any) -> Tensor:
        t = time(tau)
        return 0.5 * (1 + noise**2) * _pull(sde, score, x, t) - sde.drift(x, t)

    return SDE(drift, _scaled(sde, noise, time), sde.matrix and noise > 0, additive=True)


def _pull(sde: SDE, score: Field, x: Tensor, t: Any) -> Tensor:
    """g g^T score."""
    s, g = _like("score(x, t)", score(x, t), x), sde.diffusion(x, t)
    return torch.einsum("...ik,...jk,...j->...i", g, g, s) if sde.matrix else g**2 * s


def _scaled(sde: SDE, noise: float, time: Callable = lambda t: t) -> Any:
    """The diffusion lambda g, at the time ``time(t)``; a number stays a number."""
    if noise == 0:
        return 0.0
    if not callable(sde._diffusion):
        return noise * sde._diffusion
    return lambda x, t: noise * sde.diffusion(x, time(t))


def check_sde(sde: Any) -> None:
    """Refuse what is no SDE."""
    if not isinstance(sde, SDE):
        raise TypeError(f"sde: got {type(sde).__name__}, needs an SDE")


def _known_score(sde: SDE, score: Any, noise: Any) -> float:
    """Check what flow, family and reversal share."""
    check_sde(sde)
    if not callable(score):
        raise TypeError(f"score: got {type(score).__name__}, needs a function of (x, t)")
    if not sde.additive:
        raise ValueError(
            "sde: got a diffusion that depends on x, needs one that does not (additive=True); "
            "otherwise the drift has one more term, 1/2 (1 - lambda^2) div(g g^T)"
        )
    return _check.real("noise", noise, low=0)


def _constant(diffusion: Any, matrix: bool) -> float | Tensor:
    """Check a constant diffusion."""
    if not isinstance(diffusion, Tensor):
        diffusion = _check.real("diffusion", diffusion)
        if matrix:
            raise ValueError(f"diffusion: got {diffusion:g}, needs a matrix of shape (..., d, k)")
        return diffusion
    diffusion = _check.tensor("diffusion", diffusion)
    if matrix and diffusion.ndim < 2:
        raise ValueError(f"diffusion: got shape {tuple(diffusion.shape)}, needs (..., d, k)")
    return diffusion


def _broadcasts(shape: tuple, target: torch.Size) -> bool:
    """A tensor of this shape may multiply one of the shape ``target`` without making it larger."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(size in (1, full) for size, full in pairs)


def _like(name: str, value: Any, x: Tensor) -> Tensor:
    """Check that a function of (x, t) returned a tensor in the shape of ``x``; in its dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got {type(value).__name__}, needs a tensor like x")
    _check.same_shape(name, value, "x", x)
    return value.to(x.dtype)
