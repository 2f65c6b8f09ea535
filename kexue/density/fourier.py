r"""Densities from Fourier series: p(x) = |A(x)|^2 / (2 sum_k |a_k|^2) on [-1, 1].

A trigonometric polynomial is not a density by itself: it may go negative. The square of one never
does, and by Fejer and Riesz every nonnegative trigonometric polynomial is such a square. Through
x = tanh((y - loc) / scale) the same density lives on the real line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        real = a.real.dtype
        loc = _check.tensor("loc", loc, dtype=real).to(a.device)
        scale = _check.positive("scale", torch.as_tensor(scale, dtype=real)).to(a.device)
        if not isinstance(line, bool):
            raise TypeError(f"line: got {line!r}, needs True or False")
        try:
            batch = torch.broadcast_shapes(a.shape[:-1], loc.shape, scale.shape)
        except RuntimeError as error:
            shapes = f"{tuple(a.shape[:-1])}, {tuple(loc.shape)} and {tuple(scale.shape)}"
            raise ValueError(
                f"a, loc, scale: got batch shapes {shapes}, needs shapes that broadcast"
            ) from error
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
        u = self._standard("value", value)
        if self.line:  # log sech^2 u, without overflow for large |u|
            log_p = _fourier.log_density(self.a, u.tanh()) - 2 * _fourier.log_cosh(u)
            return log_p - self.scale.log()
        inside = u.abs() <= 1 + 4 * torch.finfo(u.dtype).eps  # the ends, after rounding
        x = torch.where(inside, u, torch.zeros_like(u))
        log_p = _fourier.log_density(self.a, x) - self.scale.log()
        return torch.where(inside, log_p, torch.full_like(log_p, -math.inf))

    def prob(self, value: Any) -> Tensor:
        """The density itself, 0 outside the support."""
        return self.log_prob(value).exp()

    def cdf(self, value: Any) -> Tensor:
        r"""P(Y <= value) = (x + 1)/2 + Re sum_n (c_n/c_0) (e^{i pi n x} - (-1)^n) / (i pi n)
        (eq-fourier-cdf)."""
        u = self._standard("value", value)
        return _fourier.cdf(self.a, u.tanh() if self.line else u.clamp(-1, 1))

    def icdf(self, value: Any) -> Tensor:
        """The quantile function: y with cdf(y) = ``value``, by Newton steps inside a bracket.

        Not differentiable (use ``rsample``); 0 and 1 give the ends of the support.
        """
        u = _check.tensor("value", value, dtype=self.a.real.dtype).to(self.a.device)
        if (u < 0).any() or (u > 1).any():
            got = f"[{u.min().item():g}, {u.max().item():g}]"
            raise ValueError(f"value: got {got}, needs probabilities in [0, 1]")
        return self._at_quantile(u)

    def _at_quantile(self, u: Tensor) -> Tensor:
        x = _fourier.quantile(self.a, u)
        if self.line:  # inside (0, 1) no quantile is infinite, though x may round to 1
            last = 1 - torch.finfo(x.dtype).eps / 2
            x = torch.where((u > 0) & (u < 1), x.clamp(-last, last), x).atanh()
        return self.loc + self.scale * x.to(self.scale.dtype)

    def bin_log_prob(self, low: Any, high: Any) -> Tensor:
        """log P(low < Y < high) in nats (eq-fourier-bin), also for narrow bins and far tails.

        The difference of two values of ``cdf`` loses all digits there; here the width of the bin
        is a factor. Where the mean density is below 1e-9 of the uniform one its sum would cancel,
        and Gauss-Legendre quadrature of the square takes its place (no sign to cancel).
        """
        low, high = self._standard("low", low), self._standard("high", high)
        if not (low < high).all():
            raise ValueError("low: got a bin with low >= high, needs low < high")
        if self.line:  # tanh b - tanh a = sinh(b - a) / (cosh a cosh b), each by its logarithm
            log_width = _fourier.log_sinh(high - low)
            log_width = log_width - _fourier.log_cosh(low) - _fourier.log_cosh(high)
            low, high = low.tanh(), high.tanh()
        else:
            low, high = low.clamp(-1, 1), high.clamp(-1, 1)
            log_width = (high - low).log()
        return log_width + _fourier.log_mean_density(self.a, low, high)

    # Draws ---------------------------------------------------------------------------------

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws, shape ``sample_shape + batch_shape``."""
        with torch.no_grad():
            sizes = [sample_shape] if isinstance(sample_shape, int) else list(sample_shape)
            sizes = [_check.integer("sample_shape", size, low=0) for size in sizes]
            device = self.a.device if generator is None else generator.device
            shape, double = (*sizes, *self.batch_shape), torch.float64
            u = torch.rand(shape, generator=generator, dtype=double, device=device)
            return self._at_quantile(u.to(self.a.device).clamp(min=2**-54))  # rand can be 0

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
        """-E[log p(Y)] in nats, by quadrature (the trapezoid rule of a smooth periodic, or on R
        exponentially decaying, function)."""
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
        return (weight * (y - (weight * y).sum(0)) ** 2).sum(0)

    # Fitting -------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        x: Any,
        terms: int | Sequence[int] = (4, 8, 16, 32, 64),
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
            terms: N, or several, of which the likelihood of every fifth point, held out, chooses
                (one choice for each density; the shorter ones end in zero amplitudes).
            penalty: gamma >= 0, in units of x = tanh(.) or of the interval scaled to [-1, 1].
            loc, scale: where the density sits. By default the range of the data and a tenth more
                (interval), or the median and 1.5 interquartile ranges (line), over all of ``x``'s
                last axis.
            line: as in the class.

        Raises:
            ValueError: naming the argument; also for points outside the interval.

        >>> x = torch.distributions.Beta(2.0, 5.0).sample((1000,))
        >>> FourierDensity.fit(x, terms=4)
        FourierDensity(terms=4, batch_shape=(), line=False)
        """
        x = _check.tensor("x", x)
        if x.ndim == 0 or x.shape[-1] < 2:
            raise ValueError(f"x: got shape {tuple(x.shape)}, needs (..., n) with n >= 2")
        penalty = _check.real("penalty", penalty, low=0)
        choices = [terms] if isinstance(terms, int) else list(terms)
        choices = sorted({_check.integer("terms", n, low=0) for n in choices})
        if not choices:
            raise ValueError("terms: got none, needs at least one")
        loc, scale = fourier_fit.place(x, loc, scale, line)
        inner = ((x - loc[..., None]) / scale[..., None]).double()
        inner = inner.tanh() if line else inner
        if inner.abs().max() > 1:
            raise ValueError(
                f"x: got a point {(inner.abs().max() - 1).item():.3g} scales outside the interval, "
                "needs loc - scale <= x <= loc + scale (or line=True)"
            )
        a = fourier_fit.fit_points(inner, choices, penalty)
        return cls(a.to(torch.complex(x[:0], x[:0]).dtype), loc, scale, line)

    @classmethod
    def fit_counts(
        cls, counts: Any, terms: int, penalty: float = 0.0, loc: Any = 0.0, scale: Any = 1.0
    ) -> FourierDensity:
        """Maximum likelihood of counts (..., M) in M equal bins of [loc - scale, loc + scale].

        The bins may be wide (one an integer, say): their exact masses enter the likelihood, so
        nothing is lost but what the counting itself lost. Needs M >= 2 terms + 1.
        """
        counts = _check.positive("counts", torch.as_tensor(counts).double(), zero=True)
        terms = _check.integer("terms", terms, low=0)
        if counts.ndim == 0 or counts.shape[-1] < 2 * terms + 1:
            raise ValueError(
                f"counts: got shape {tuple(counts.shape)}, needs (..., M), M >= {2 * terms + 1}"
            )
        if (counts.sum(-1) == 0).any():
            raise ValueError("counts: got a density without data, needs a positive sum")
        a = fourier_fit.maximize(counts, terms, _check.real("penalty", penalty, low=0))
        return cls(a, loc, scale)

    # Shared pieces -------------------------------------------------------------------------

    def _standard(self, name: str, value: Any) -> Tensor:
        """(value - loc) / scale, checked."""
        value = _check.tensor(name, value, dtype=self.scale.dtype).to(self.a.device)
        return (value - self.loc) / self.scale

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Points (G, *batch) and weights that sum to 1: E[f(Y)] is sum_g weight_g f(y_g)."""
        fine = 64 * (self.terms + 1)
        if self.line:  # q decays like exp(-2 |u|): beyond 20 less than 1e-17 is left
            u = torch.linspace(-20, 20, 10 * fine + 1, dtype=self.scale.dtype)
        else:
            u = (2 * torch.arange(fine, dtype=self.scale.dtype) + 1) / fine - 1
        u = u.to(self.a.device).reshape(-1, *[1] * len(self.batch_shape))
        y = self.loc + self.scale * u
        prob = self.prob(y)
        return y.expand_as(prob), prob / prob.sum(0)
