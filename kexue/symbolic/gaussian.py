r"""Gaussian algebra by completing the square, exact and with every normalizer.

Nothing here assumes $\alpha^2 + \beta^2 = 1$, or any other relation between symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

from kexue.symbolic.names import expression, symbol


@dataclass(frozen=True)
class Gaussian:
    r"""The law $N(\text{mean}, \text{var})$ of one coordinate; ``var`` is a variance, not its root.

    Raises
    ------
    ValueError
        The variance is known not to be positive. (A point mass is the limit var -> 0.)

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> y, m = symbols("y m", real=True)
    >>> s = symbols("s", positive=True)
    >>> Gaussian(m, s**2).log(y)
    -log(2*pi*s**2)/2 - (-m + y)**2/(2*s**2)
    """

    mean: sp.Expr
    var: sp.Expr

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", expression("mean", self.mean))
        object.__setattr__(self, "var", expression("var", self.var))
        if self.var.is_nonpositive or self.var.is_real is False:
            raise ValueError(f"var: got {self.var}, needs a positive variance")

    def log(self, y: Any) -> sp.Expr:
        r"""$\log N(y; m, v) = -\frac{(y-m)^2}{2v} - \frac12\log(2\pi v)$, with its normalizer."""
        y = expression("y", y)
        return -((y - self.mean) ** 2) / (2 * self.var) - sp.log(2 * sp.pi * self.var) / 2

    def density(self, y: Any) -> sp.Expr:
        r"""$N(y; m, v) = (2\pi v)^{-1/2} e^{-(y-m)^2/2v}$."""
        y = expression("y", y)
        return sp.exp(-((y - self.mean) ** 2) / (2 * self.var)) / sp.sqrt(2 * sp.pi * self.var)

    def subs(self, *args: Any) -> Gaussian:
        """The same law with symbols replaced, as ``Expr.subs``."""
        return Gaussian(self.mean.subs(*args), self.var.subs(*args))

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols of the mean and of the variance."""
        return self.mean.free_symbols | self.var.free_symbols

    def _latex(self, printer: Any) -> str:
        mean, var = printer.doprint(self.mean), printer.doprint(self.var)
        return rf"\mathcal{{N}}\left({mean},\ {var}\right)"

    def _repr_latex_(self) -> str:
        return f"${sp.latex(self)}$"


def complete_square(log_expr: Any, y: sp.Symbol) -> Gaussian:
    r"""The Gaussian in y whose log density is ``log_expr`` up to a term free of y.

    With ``log_expr`` $= -\tfrac12 P y^2 + Q y + c$ it is $N(Q/P,\, 1/P)$: products of densities
    add precisions, quotients subtract them. What ``c`` holds (logarithms too) cannot change the
    law, only its mass: ``log_mass(log_expr, y)`` is that mass, and for a density that claims to
    be normalized ``equal(log_expr, complete_square(log_expr, y).log(y))`` proves the claim.

    Raises
    ------
    ValueError
        ``log_expr`` is not quadratic in y (a logarithm of y included), or its quadratic
        coefficient is known not to be negative, so that no Gaussian has this log density.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> a, b, s = symbols("a b s", positive=True)
    >>> x, y = symbols("x y", real=True)
    >>> complete_square(Gaussian(0, s**2).log(x) + Gaussian(a * x, b**2).log(y), x)
    Gaussian(mean=a*s**2*y/(a**2*s**2 + b**2), var=b**2*s**2/(a**2*s**2 + b**2))
    >>> complete_square(-(y**2) + sp.log(1 + y**2), y)
    Traceback (most recent call last):
        ...
    ValueError: log_expr: got log(y**2 + 1), a logarithm that depends on y, needs a quadratic in y
    """
    square, linear, _ = _quadratic(log_expr, y)
    return Gaussian(_tidy(-linear / (2 * square)), _tidy(-1 / (2 * square)))


def log_mass(log_expr: Any, y: sp.Symbol) -> sp.Expr:
    r"""$\log\int_{-\infty}^{\infty} e^{\text{log\_expr}}\,dy$, exact, for a quadratic ``log_expr``.

    With $-\tfrac12Py^2+Qy+c$ it is $c + \frac{Q^2}{2P} + \frac12\log\frac{2\pi}{P}$. Zero for a
    normalized density; for a product $p(x)\,p(y|x)$ integrated over x, the log marginal of y.

    Raises
    ------
    ValueError
        As for ``complete_square``.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> y = symbols("y", real=True)
    >>> log_mass(-(y**2) / 2, y)
    log(2*pi)/2
    """
    square, linear, constant = _quadratic(log_expr, y)
    return constant + _tidy(-(linear**2) / (4 * square)) + sp.log(_tidy(-sp.pi / square)) / 2


def marginal(law: Gaussian, kernel: Gaussian, x: sp.Symbol, y: sp.Symbol) -> Gaussian:
    r"""The law of y when x ~ ``law`` and y | x ~ ``kernel``: $p(y)=\int p(x)\,p(y|x)\,dx$.

    The integral is done by completing the square in x; what is left is a square in y.

    Parameters
    ----------
    law
        Law of x; mean and variance free of x and y.
    kernel
        Law of y given x: mean affine in x, variance free of x, both free of y.

    Raises
    ------
    ValueError
        A mean or variance depends on a symbol it may not, or the mean of ``kernel`` is not
        affine in x.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> a, b, A1, B1 = symbols("a b A_1 B_1", positive=True)
    >>> x, y, x0 = symbols("x y x_0", real=True)
    >>> marginal(Gaussian(A1 * x0, B1**2), Gaussian(a * x, b**2), x, y)
    Gaussian(mean=A_1*a*x_0, var=B_1**2*a**2 + b**2)
    """
    return complete_square(log_mass(_joint(law, kernel, x, y), x), y)


def condition(law: Gaussian, kernel: Gaussian, x: sp.Symbol, y: sp.Symbol) -> Gaussian:
    r"""Bayes' rule: the law of x given y, $p(x|y) = p(x)\,p(y|x)/p(y)$.

    Arguments and errors as for ``marginal``.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x, y = symbols("x y", real=True)
    >>> condition(Gaussian(0, 1), Gaussian(x, 1), x, y)
    Gaussian(mean=y/2, var=1/2)
    """
    return complete_square(_joint(law, kernel, x, y), x)


def _joint(law: Gaussian, kernel: Gaussian, x: sp.Symbol, y: sp.Symbol) -> sp.Expr:
    """The log of p(x) p(y|x), after the checks that make it quadratic in both."""
    for name, value in (("law", law), ("kernel", kernel)):
        if not isinstance(value, Gaussian):
            raise TypeError(f"{name}: got {type(value).__name__}, needs a Gaussian")
    if symbol("x", x) == symbol("y", y):
        raise ValueError(f"y: got {y}, the same symbol as x, needs another one")
    for name, value, banned in (
        ("law.mean", law.mean, (x, y)),
        ("law.var", law.var, (x, y)),
        ("kernel.mean", kernel.mean, (y,)),
        ("kernel.var", kernel.var, (x, y)),
    ):
        for s in banned:
            if value.has(s):
                raise ValueError(f"{name}: got {value}, which depends on {s}, needs it free of {s}")
    slope = sp.diff(kernel.mean, x)
    if sp.simplify(slope.diff(x)) != 0:
        raise ValueError(f"kernel.mean: got {kernel.mean}, needs an affine function of {x}")
    return law.log(x) + kernel.log(y)


def _quadratic(log_expr: Any, y: sp.Symbol) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Coefficients (of y^2, of y, of 1) of a log density; the last one may hold logarithms."""
    log_expr, y = expression("log_expr", log_expr), symbol("y", y)
    constant, rest = sp.expand(log_expr).as_independent(y, as_Add=True)
    if rest.has(sp.log):
        rest = sp.expand(_factor_logs(rest))
        more, rest = rest.as_independent(y, as_Add=True)
        constant += more
    for atom in sorted(rest.atoms(sp.log), key=str):
        if atom.has(y):
            raise ValueError(
                f"log_expr: got {atom}, a logarithm that depends on {y}, needs a quadratic in {y}"
            )
    try:
        poly = sp.Poly(rest, y)
    except sp.PolynomialError:
        rest = sp.cancel(sp.together(rest))  # y in a denominator may still cancel
        try:
            poly = sp.Poly(rest, y)
        except sp.PolynomialError:
            raise ValueError(f"log_expr: got {rest}, needs a quadratic in {y}") from None
    coefficients = {k: _tidy(poly.coeff_monomial(y**k)) for k in range(max(poly.degree(), 0) + 1)}
    degree = max((k for k, c in coefficients.items() if c != 0), default=0)
    if degree != 2:
        raise ValueError(f"log_expr: got degree {degree} in {y}, needs a quadratic in {y}")
    if coefficients[2].is_nonnegative:
        raise ValueError(
            f"log_expr: got the coefficient {coefficients[2]} of {y}**2, needs a negative one"
        )
    return coefficients[2], coefficients[1], constant + coefficients[0]


def _factor_logs(e: sp.Expr) -> sp.Expr:
    """Logarithms of products as sums of logarithms, where the signs allow it."""
    return sp.expand_log(e.replace(sp.log, lambda u: sp.log(sp.factor(sp.together(u)))), deep=True)


def _tidy(e: sp.Expr) -> sp.Expr:
    """One fraction in lowest terms."""
    return sp.cancel(sp.together(e))
