"""The deep factorized prior: a distribution function that is a small monotone network.

Of Balle et al. 2018 (arXiv:1802.01436, appendix 6.1): the entropy model of learned image
compression, and the yardstick for Fourier densities at equal parameter count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

from kexue import _check

__all__ = ["FactorizedPrior"]


class FactorizedPrior(Distribution):
    r"""P(Y <= y) = sigmoid(f_K o ... o f_1 (u)), u = (y - loc) / scale: a law on all of R.

    f_k(l) = g(H l + b) with H > 0, and g(v) = v + c tanh(v) with -1 < c < 1 in every layer but the
    last, where g(v) = v. Each step increases, so their composition does: it is a distribution
    function, and its derivative, by the chain rule, the density. Tails fall like exp(-rate |y|).

    Args:
        theta: (..., P) free real parameters, layer by layer softplus^{-1}(H), b, artanh(c).
        filters: widths of the hidden layers: (3, 3) has P = 28, (3,) * 5 has P = 73; each further
            layer of 3 adds 15 (``FactorizedPrior.count``).
        loc, scale: numbers or tensors; scale > 0. They only place u; the law can move by itself.

    Points have the shape ``sample_shape + batch_shape``, or any shape that broadcasts against the
    batch shape. Results are differentiable in the points and in ``theta``.

    Raises:
        TypeError, ValueError: naming the argument that has a wrong dtype, shape or value.

    >>> logistic = FactorizedPrior(torch.tensor([math.log(math.e - 1), 0.0]), filters=())
    >>> logistic
    FactorizedPrior(filters=(), parameters=2, batch_shape=())
    >>> f"{logistic.cdf(torch.tensor(1.0)):.4f}"  # 1 / (1 + 1/e)
    '0.7311'
    """

    arg_constraints = {  # noqa: RUF012  (the name and form that torch.distributions prescribes)
        "theta": constraints.real_vector,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = False

    def __init__(
        self, theta: Any, filters: Sequence[int] = (3, 3), loc: Any = 0.0, scale: Any = 1.0
    ) -> None:
        theta, filters = _check.tensor("theta", theta), _widths(filters)
        if theta.ndim == 0 or theta.shape[-1] != self.count(filters):
            raise ValueError(
                f"theta: got shape {tuple(theta.shape)}, needs (..., {self.count(filters)}) for "
                f"filters {filters}"
            )
        loc, scale, batch = _check.location_scale("theta", theta.shape[:-1], theta, loc, scale)
        self.theta, self.filters, self.loc, self.scale = theta, filters, loc, scale
        super().__init__(batch, torch.Size(), validate_args=False)

    def __repr__(self) -> str:
        return (
            f"FactorizedPrior(filters={self.filters}, parameters={self.parameters}, "
            f"batch_shape={tuple(self.batch_shape)})"
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> FactorizedPrior:
        """The same laws with a larger batch shape (no copy)."""
        theta = self.theta.expand((*batch_shape, -1))
        loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return FactorizedPrior(theta, self.filters, loc, scale)

    @staticmethod
    def count(filters: Sequence[int]) -> int:
        """P, the number of real parameters of one density with these hidden widths.

        >>> [FactorizedPrior.count((3,) * depth) for depth in (1, 2, 3, 4, 5)]
        [13, 28, 43, 58, 73]
        """
        widths = (1, *_widths(filters), 1)
        weights = sum(m * (n + 1) for n, m in pairwise(widths))
        return weights + sum(widths[1:-1])

    @property
    def parameters(self) -> int:
        """P, the number of real parameters of one density (``loc`` and ``scale`` not counted)."""
        return self.theta.shape[-1]

    # The law -------------------------------------------------------------------------------

    def cdf(self, value: Any) -> Tensor:
        """P(Y <= value)."""
        return self._logit("value", value)[0].sigmoid()

    def log_prob(self, value: Any) -> Tensor:
        """log density: with l = logit P(Y <= y), p = l'(y) sigmoid(l) sigmoid(-l)."""
        logit, slope = self._logit("value", value)
        return slope.log() + logsigmoid(logit) + logsigmoid(-logit)

    def bin_log_prob(self, low: Any, high: Any) -> Tensor:
        """log P(low < Y < high) in nats, accurate in both tails; the ends may be infinite.

        A bin so narrow that the two logits agree in their leading digits loses those digits.

        Raises:
            ValueError: a bin with low >= high.
        """
        (low_logit, _), (high_logit, _) = self._logit("low", low), self._logit("high", high)
        if not (torch.as_tensor(low) < torch.as_tensor(high)).all():
            raise ValueError("low: got a bin with low >= high, needs low < high")
        return _log_mass(low_logit, high_logit)

    def _logit(self, name: str, value: Any) -> tuple[Tensor, Tensor]:
        """logit P(Y <= y) and its derivative in y, in the broadcast shape."""
        y = torch.as_tensor(value, dtype=self.theta.dtype, device=self.theta.device)
        if y.isnan().any():
            raise ValueError(f"{name}: got NaN, needs numbers")
        try:
            shape = torch.broadcast_shapes(y.shape, self.batch_shape)
        except RuntimeError as error:
            raise ValueError(
                f"{name}: got shape {tuple(y.shape)}, needs one that broadcasts against the batch "
                f"shape {tuple(self.batch_shape)}"
            ) from error
        laws = self.batch_shape.numel()
        u = ((y - self.loc) / self.scale).expand(shape).reshape(-1, laws).T[:, None]
        theta = self.theta.expand((*self.batch_shape, -1)).reshape(laws, -1)
        logit, slope = _network(theta, self.filters, u, torch.ones_like(u))
        return logit[:, 0].T.reshape(shape), slope[:, 0].T.reshape(shape) / self.scale

    # Fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(cls, x: Any, filters: Sequence[int] = (3, 3), bins: int = 1024, **options: Any) -> Any:
        """Maximum likelihood by Adam on the whole histogram: one density a leading index of ``x``.

        Args:
            x: (..., n) numbers, not all equal, counted in ``bins`` equal bins of their range.
            filters: as in the class.
            options: ``steps``, ``lr`` and ``generator``, as in ``fit_counts``.

        >>> x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
        >>> law = FactorizedPrior.fit(x, steps=300)
        >>> bool((law.cdf(x.sort().values) - torch.linspace(0, 1, 1000)).abs().max() < 0.03)
        True
        """
        x, bins = _check.tensor("x", x), _check.integer("bins", bins, low=2)
        if x.ndim == 0 or (x.amax(-1) <= x.amin(-1)).any():
            raise ValueError(
                f"x: got shape {tuple(x.shape)} or equal values, needs (..., n) spread"
            )
        loc, scale = (x.amax(-1) + x.amin(-1)) / 2, (x.amax(-1) - x.amin(-1)) / 2
        cell = ((x - loc[..., None]) / scale[..., None] + 1) * (bins / 2)
        counts = torch.zeros(*x.shape[:-1], bins, dtype=x.dtype, device=x.device)
        counts.scatter_add_(-1, cell.long().clamp(0, bins - 1), torch.ones_like(x))
        return cls.fit_counts(counts, filters, loc, scale, **options)

    @classmethod
    def fit_counts(
        cls,
        counts: Any,
        filters: Sequence[int] = (3, 3),
        loc: Any = 0.0,
        scale: Any = 1.0,
        *,
        steps: int = 1500,
        lr: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> FactorizedPrior:
        """Maximum likelihood of counts (..., M) in M equal bins of [loc - scale, loc + scale].

        Minimizes -sum_j h_j log P(bin j) over exact bin masses with ``steps`` full-batch steps of
        Adam, whose learning rate falls from ``lr`` to 0 as a cosine; all densities at once. The
        optimum it finds is a local one and depends on the start, which ``generator`` draws.
        """
        counts = _check.positive("counts", torch.as_tensor(counts).float(), zero=True).double()
        steps, lr = _check.integer("steps", steps, low=1), _check.real("lr", lr, low=0)
        if counts.ndim == 0 or counts.shape[-1] < 2 or (counts.sum(-1) == 0).any():
            raise ValueError(
                f"counts: got shape {tuple(counts.shape)} or an empty histogram, needs (..., M), "
                "M >= 2, each with a positive sum"
            )
        batch, filters = counts.shape[:-1], _widths(filters)
        share = (counts / counts.sum(-1, keepdim=True)).reshape(-1, counts.shape[-1])
        # The network sees standardized numbers: mean 0 and standard deviation 1.
        edges = torch.linspace(-1, 1, share.shape[-1] + 1, dtype=share.dtype, device=share.device)
        centers = (edges[1:] + edges[:-1]) / 2
        mean = share @ centers
        spread = (share @ centers**2 - mean**2).clamp(min=0).sqrt() + edges[1] - edges[0]
        u = (edges - mean[:, None]) / spread[:, None]
        theta = _start(filters, len(share), generator).to(share).requires_grad_()
        adam = torch.optim.Adam([theta], lr=lr)
        for step in range(steps):
            adam.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
            logit, _ = _network(theta, filters, u[:, None])
            loss = -(share * _log_mass(logit[:, 0, :-1], logit[:, 0, 1:])).sum()
            (theta.grad,) = torch.autograd.grad(loss, theta)
            adam.step()
        loc, scale = (torch.as_tensor(v).to(share).expand(batch) for v in (loc, scale))
        mean, spread = mean.reshape(batch), spread.reshape(batch)
        theta = theta.detach().reshape(*batch, -1)
        return cls(theta, filters, loc + scale * mean, scale * spread)


def _widths(filters: Sequence[int]) -> tuple[int, ...]:
    if isinstance(filters, int):
        raise TypeError(f"filters: got {filters!r}, needs a sequence of widths, such as (3, 3)")
    return tuple(_check.integer("filters", width, low=1) for width in filters)


def _network(
    theta: Tensor, filters: tuple[int, ...], value: Tensor, slope: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Logits of points (B, 1, n) for ``theta`` (B, P); ``slope`` is carried through the layers."""
    widths, start = (1, *filters, 1), 0
    for layer, (n, m) in enumerate(pairwise(widths), 1):
        gated = layer < len(widths) - 1
        parts = theta[:, start : start + m * (n + 1 + gated)].split(
            [m * n, m] + [m] * gated, dim=-1
        )
        start += m * (n + 1 + gated)
        weight = softplus(parts[0]).reshape(-1, m, n)
        value = torch.baddbmm(parts[1][..., None], weight, value)
        slope = None if slope is None else weight @ slope
        if gated:
            gate, bend = parts[2].tanh()[..., None], value.tanh()
            value = torch.addcmul(value, gate, bend)
            slope = None if slope is None else slope * (1 + gate * (1 - bend**2))
    return value, slope


def _log_mass(low: Tensor, high: Tensor) -> Tensor:
    """log(sigmoid(high) - sigmoid(low)) = log sigmoid(high) + log sigmoid(-low)
    + log(1 - exp(low - high)): no two numbers near 1 are subtracted."""
    return logsigmoid(high) + logsigmoid(-low) + (-torch.expm1(low - high)).log()


def _start(filters: tuple[int, ...], laws: int, generator: torch.Generator | None) -> Tensor:
    """(B, P): H so that the logit starts near u, b uniform in (-1/2, 1/2), no gates."""
    widths, parts = (1, *filters, 1), []
    for n, m in pairwise(widths):
        parts.append(torch.full((laws, m * n), math.log(math.expm1(1 / n))))
        parts.append(torch.rand(laws, m, generator=generator) - 0.5)
        parts.append(torch.zeros(laws, m))
    return torch.cat(parts[:-1], -1)  # the last layer has no gate
