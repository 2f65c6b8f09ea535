r"""Densities from Fourier series: p(x) = |A(x)|^2 / (2 sum_k |a_k|^2) on [-1, 1].

A trigonometric polynomial is not a density by itself: it may go negative. The square of one never
does, and by Fejer and Riesz every nonnegative trigonometric polynomial is such a square. Through
x = tanh((y - loc) / scale) the same density lives on the real line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from kexue import _check
from kexue.density import _fourier, fourier_fit

__all__ = ["FourierDensity"]


class FourierDensity(Distribution):
    r"""p(x) = |A(x)|^2 / (2 sum_k |a_k|^2), A(x) = sum_{k=0}^N a_k exp(-i pi k x), |x| <= 1.

    A ``torch.distributions.Distribution`` of numbers (eq-fourier-density). The value is
    y = loc + scale x, or with ``line=True`` y = loc + scale artanh(x), a law on all of R
    (eq-fourier-line). 2 N + 2 real parameters, of which the length and the common phase of ``a``
    change nothing: 2 N degrees of freedom.

    Args:
        a: (..., N + 1) complex amplitudes, not all zero.
        loc, scale: numbers or tensors; scale > 0. Their shapes and ``a.shape[:-1]`` broadcast to
            the batch shape.
        line: whether the support is R instead of [loc - scale, loc + scale].

    Points have the shape ``sample_shape + batch_shape``, or any shape that broadcasts against the
    batch shape. Results are differentiable in the points, ``a``, ``loc`` and ``scale``.

    Raises:
        TypeError, ValueError: naming the argument that has a wrong dtype, shape or value.

    >>> law = FourierDensity(torch.tensor([1.0, -1.0]))  # (1 - cos(pi x)) / 2
    >>> law
    FourierDensity(terms=1, batch_shape=(), line=False)
    >>> law.prob(torch.tensor([-0.5, 0.0, 1.0]))
    tensor([0.5000, 0.0000, 1.0000])
    """

    has_rsample = True

    def __init__(self, a: Any, loc: Any = 0.0, scale: Any = 1.0, line: bool = False) -> None:
        a = _fourier.amplitudes(a)
        loc, scale, batch = _check.location_scale("a", a.shape[:-1], a.real, loc, scale)
        if not isinstance(line, bool):
            raise TypeError(f"line: got {line!r}, needs True or False")
        self.a, self.loc, self.scale, self.line = a, loc, scale, line
        super().__init__(batch, torch.Size(), validate_args=False)

    def __repr__(self) -> str:
        batch = tuple(self.batch_shape)
        return f"FourierDensity(terms={self.terms}, batch_shape={batch}, line={self.line})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> FourierDensity:
        """The same laws with a larger batch shape (no copy)."""
        shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(shape), self.scale.expand(shape)
        return FourierDensity(self.a.expand((*shape, -1)), loc, scale, self.line)

    @property
    def support(self) -> constraints.Constraint:
        """R, or the interval [loc - scale, loc + scale]."""
        if self.line:
            return constraints.real
        return constraints.interval(self.loc - self.scale, self.loc + self.scale)

    arg_constraints = {  # noqa: RUF012  (the name and form that torch.distributions prescribes)
        "loc": constraints.real,
        "scale": constraints.positive,
    }

    # What the amplitudes say ---------------------------------------------------------------

    @property
    def terms(self) -> int:
        """N, the highest frequency."""
        return self.a.shape[-1] - 1

    @property
    def coefficients(self) -> Tensor:
        r"""c_n / c_0 with c_n = sum_k a_k conj(a_{k+n}), n = 0..N (eq-fourier-autocorrelation).

        p(x) = 1/2 + Re sum_{n>=1} (c_n / c_0) exp(i pi n x); shape (..., N + 1), complex.
        """
        c = _fourier.autocorrelation(self.a)
        return c / c[..., :1].real

    @property
    def roughness(self) -> Tensor:
        r"""Integral of p'(x)^2 over [-1, 1], pi^2 sum_{n>=1} n^2 |c_n / c_0|^2 (eq-fourier-
        roughness), in the batch shape of ``a``; the map to the line plays no part."""
        n = torch.arange(self.terms + 1, device=self.a.device)
        return math.pi**2 * (n * self.coefficients.abs()).square().sum(-1)

    # Density -------------------------------------------------------------------------------

    def log_prob(self, value: Any) -> Tensor:
        """log density at ``value`` (nats per unit of y); -inf outside an interval's support."""
        return self._in_chunks(self._log_prob, self._points("value", value))

    def _log_prob(self, y: Tensor) -> Tensor:
        u = (y - self.loc) / self.scale
        if self.line:  # log sech^2 u, without overflow for large |u|
            log_p = _fourier.log_density(self.a, u.tanh()) - 2 * _fourier.log_cosh(u)
            return log_p - self.scale.log()
        log_p = _fourier.log_density(self.a, u) - self.scale.log()
        inside = (y >= self.loc - self.scale) & (
            y <= self.loc + self.scale
        )  # as ``support`` rounds
        return torch.where(inside, log_p, -math.inf)

    def prob(self, value: Any) -> Tensor:
        """The density itself, 0 outside the support."""
        return self.log_prob(value).exp()

    def cdf(self, value: Any) -> Tensor:
        r"""P(Y <= value) = (x + 1)/2 + Re sum_n (c_n/c_0) (e^{i pi n x} - (-1)^n) / (i pi n)
        (eq-fourier-cdf)."""
        return self._in_chunks(self._cdf, self._points("value", value))

    def _cdf(self, y: Tensor) -> Tensor:
        u = (y - self.loc) / self.scale
        return _fourier.cdf(self.a, u.tanh() if self.line else u.clamp(-1, 1))

    def icdf(self, value: Any) -> Tensor:
        """The quantile function: y with cdf(y) = ``value``, by Newton steps inside a bracket.

        Not differentiable (use ``rsample``); 0 and 1 give the ends of the support.
        """
        u = self._points("value", value)
        if (u < 0).any() or (u > 1).any():
            got = f"[{u.min().item():g}, {u.max().item():g}]"
            raise ValueError(f"value: got {got}, needs probabilities in [0, 1]")
        with torch.no_grad():
            return self._in_chunks(self._quantile, u)

    def _quantile(self, u: Tensor) -> Tensor:
        x = _fourier.quantile(self.a, u)
        if self.line:  # inside (0, 1) no quantile is infinite, though x may round to 1
            last = 1 - torch.finfo(x.dtype).eps / 2
            x = torch.where((u > 0) & (u < 1), x.clamp(-last, last), x).atanh()
        return self.loc + self.scale * x.to(self.scale.dtype)

    def bin_log_prob(self, low: Any, high: Any) -> Tensor:
        """log P(low < Y < high) in nats (eq-fourier-bin), also for narrow bins and far tails.

        The difference of two values of ``cdf`` loses all digits there; here the width of the bin
        is a factor. Where the mean density is below 1e-6 of the uniform one its sum would cancel,
        and Gauss-Legendre quadrature of the square takes its place (no sign to cancel).
        """
        low, high = self._points("low", low), self._points("high", high)
        if not (low < high).all():
            raise ValueError("low: got a bin with low >= high, needs low < high")
        if self.line:  # tanh b - tanh a = sinh(b - a) / (cosh a cosh b), each by its logarithm
            log_width = _fourier.log_sinh((high - low) / self.scale)
            low, high = ((edge - self.loc) / self.scale for edge in (low, high))
            log_width = log_width - _fourier.log_cosh(low) - _fourier.log_cosh(high)
            return log_width + _fourier.log_mean_density(self.a, low.tanh(), high.tanh())
        left, right = self.loc - self.scale, self.loc + self.scale
        low, high = (torch.minimum(torch.maximum(edge, left), right) for edge in (low, high))
        width = torch.where(low < high, (high - low) / self.scale, 1)  # a bin outside: below
        low, high = ((edge - self.loc) / self.scale for edge in (low, high))
        log_p = width.log() + _fourier.log_mean_density(self.a, low, high)
        return torch.where(low < high, log_p, -math.inf)

    # Draws ---------------------------------------------------------------------------------

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws, shape ``sample_shape + batch_shape``."""
        with torch.no_grad():
            sizes = _check.sample_shape(sample_shape, low=0)
            device = self.a.device if generator is None else generator.device
            shape, double = (*sizes, *self.batch_shape), torch.float64
            u = torch.rand(shape, generator=generator, dtype=double, device=device)
            u = u.to(self.a.device).clamp(min=2**-54)  # rand can be 0
            return self._in_chunks(self._quantile, u)

    def rsample(
        self, sample_shape: Any = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws that carry gradients, by implicit reparameterization.

        F(y; theta) = u stays fixed as theta moves, so dy/dtheta = -(dF/dtheta) / p(y). The term
        added to y below is zero; its gradient is that.
        """
        y = self.sample(sample_shape, generator=generator)
        cdf = self.cdf(y)
        return y - (cdf - cdf.detach()) / self.prob(y).detach()

    # Expectations --------------------------------------------------------------------------

    def entropy(self) -> Tensor:
        """-E[log p(Y)] in nats, by quadrature."""
        y, weight = self._nodes()
        log_p = self.log_prob(y)
        return -(weight * torch.where(weight > 0, log_p, torch.zeros_like(log_p))).sum(0)

    @property
    def mean(self) -> Tensor:
        """E[Y], by the same quadrature."""
        y, weight = self._nodes()
        return (weight * y).sum(0)

    @property
    def variance(self) -> Tensor:
        """Var[Y], by the same quadrature."""
        y, weight = self._nodes()
        return (weight * (y - self.mean) ** 2).sum(0)

    # Fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        x: Any,
        terms: int | Sequence[int] = (4, 8, 12, 16, 20, 24, 32, 48, 64),
        penalty: float = 0.0,
        loc: Any = None,
        scale: Any = None,
        line: bool = False,
    ) -> FourierDensity:
        r"""Maximum likelihood: minimize -mean log p(x_i) + penalty * integral of p'^2.

        One density for each leading index of ``x``, all in one batch: ``x`` becomes a histogram
        of [-1, 1] (at least 16 bins a period of the highest frequency), whose exact bin masses
        enter the likelihood; then Newton's method (``fourier_fit.maximize``).

        Args:
            x: (..., n) numbers.
            terms: N, or several, from which five-fold cross-validation chooses: each fifth of the
                points is held out from a fit of the others, and the N of the highest likelihood of
                the points held out is fitted to all. The search rises through N and ends after two
                in a row that are no better, or one clearly worse, unless the data show a higher
                frequency. (For each density; the shorter ones end in zero amplitudes.)
            penalty: gamma >= 0, in units of x = tanh(.) or of the interval scaled to [-1, 1].
            loc, scale: where the density sits. By default the range of the data and a tenth more
                (interval), or the median and 1.5 interquartile ranges (line).
            line: as in the class.

        Raises:
            ValueError: naming the argument; also for points outside the interval.

        >>> x = torch.distributions.Beta(2.0, 5.0).sample((1000,))
        >>> FourierDensity.fit(x, terms=4)
        FourierDensity(terms=4, batch_shape=(), line=False)
        """
        return cls(*fourier_fit.fit(x, terms, penalty, loc, scale, line), line)

    @classmethod
    def fit_counts(
        cls, counts: Any, terms: int, penalty: float = 0.0, loc: Any = 0.0, scale: Any = 1.0
    ) -> FourierDensity:
        """Maximum likelihood of counts (..., M) in M equal bins of [loc - scale, loc + scale].

        The bins may be wide (one an integer, say): their exact masses enter the likelihood, so
        nothing is lost but what the counting itself lost. With M < 2 terms + 1 several densities
        may be best; one is found, and a penalty says which.
        """
        return cls(fourier_fit.fit_counts(counts, terms, penalty), loc, scale)

    # Shared pieces -------------------------------------------------------------------------

    def _points(self, name: str, value: Any) -> Tensor:
        """``value``, checked, in the law's dtype and on its device."""
        return _check.tensor(name, value, dtype=self.scale.dtype).to(self.a.device)

    def _in_chunks(self, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """f(x), some points at a time where that is the same: one law and nothing to record."""
        record = any(part.requires_grad for part in (x, self.a, self.loc, self.scale))
        if self.batch_shape or x.is_cuda or (record and torch.is_grad_enabled()):
            return f(x)
        return torch.cat([f(part) for part in x.reshape(-1).split(_fourier.CHUNK)]).reshape(x.shape)

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Points (G, *batch) and weights that sum to 1: E[f(Y)] is sum_g weight_g f(y_g)."""
        panels, half = 8 * (self.terms + 1), 1.0
        if self.line:  # q decays like exp(-2 |u|): beyond 20 less than 1e-17 is left
            panels, half = 10 * panels, 20.0
        shape = (-1, *[1] * len(self.batch_shape))
        u, weight = (v.reshape(shape).to(self.scale) for v in _fourier.gauss(panels))
        y = self.loc + self.scale * half * u
        weight = weight * self.prob(y)
        return y.expand_as(weight), weight / weight.sum(0)
