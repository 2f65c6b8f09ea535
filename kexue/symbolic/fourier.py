"""Finite Fourier sums with symbolic coefficients, and the autocorrelation that makes squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from kexue.symbolic.names import expression

Coefficients = Mapping[int, Any] | Sequence[Any]


def fourier_sum(coefficients: Coefficients, x: Any, frequency: Any = sp.pi) -> sp.Expr:
    r"""$\sum_n c_n e^{i\omega n x}$, with $\omega=\pi$ (period 2, the interval [-1, 1]) by default.

    Parameters
    ----------
    coefficients
        ``{n: c_n}``, or a sequence $c_0, c_1, \dots$
    x
        Where to evaluate.
    frequency
        $\omega$; a negative one gives $\sum_n c_n e^{-i|\omega|nx}$.

    Raises
    ------
    TypeError, ValueError
        An index is not an integer, or there are no coefficients.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x = symbols("x", real=True)
    >>> fourier_sum({-1: sp.Rational(1, 2), 1: sp.Rational(1, 2)}, x).rewrite(sp.cos)
    cos(pi*x)
    """
    c, x, w = _coefficients(coefficients), expression("x", x), expression("frequency", frequency)
    return sp.Add(*(value * sp.exp(sp.I * w * n * x) for n, value in c.items()))


def fourier_coefficients(expr: Any, x: sp.Symbol, frequency: Any = sp.pi) -> dict[int, sp.Expr]:
    r"""Read $\{n: c_n\}$ off a finite Fourier sum $\sum_n c_n e^{i\omega nx}$; products expanded.

    Raises
    ------
    ValueError
        ``expr`` is not a finite Fourier sum of this frequency.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x = symbols("x", real=True)
    >>> fourier_coefficients(sp.cos(sp.pi * x) ** 2, x)
    {-2: 1/4, 0: 1/2, 2: 1/4}
    """
    w, total = expression("frequency", frequency), {}
    for term in sp.Add.make_args(sp.expand(expression("expr", expr).rewrite(sp.exp))):
        factor, wave = term.as_independent(x, as_Add=False)
        n = sp.cancel(sp.log(wave).expand(force=True) / (sp.I * w * x)) if wave != 1 else 0
        n = sp.sympify(n)
        if not n.is_Integer:
            raise ValueError(f"expr: got the term {term}, needs c*exp(i*n*{w}*{x})")
        total[int(n)] = total.get(int(n), 0) + factor
    return {n: c for n, c in sorted(total.items()) if c != 0}


def autocorrelation(a: Coefficients) -> dict[int, sp.Expr]:
    r"""$c_n = \sum_k a_k\,\overline{a_{k+n}}$: the Fourier coefficients of a square.

    With $A(x) = \sum_k a_k e^{-i\pi kx}$, $|A(x)|^2 = \sum_n c_n e^{i\pi nx} \ge 0$, and
    $c_{-n} = \overline{c_n}$, $c_0 = \sum_k |a_k|^2$.

    Parameters
    ----------
    a
        ``{k: a_k}``, or a sequence $a_0, a_1, \dots$

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> a0, a1 = symbols("a_0 a_1", real=True)
    >>> autocorrelation([a0, a1])
    {-1: a_0*a_1, 0: a_0**2 + a_1**2, 1: a_0*a_1}
    """
    a = _coefficients(a, "a")
    c: dict[int, sp.Expr] = {}
    for k, left in a.items():
        for m, right in a.items():
            c[m - k] = c.get(m - k, 0) + left * sp.conjugate(right)
    return dict(sorted(c.items()))


def _coefficients(value: Coefficients, name: str = "coefficients") -> dict[int, sp.Expr]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    out = {}
    for n, c in items:
        if isinstance(n, bool) or not isinstance(n, int | sp.Integer):
            raise TypeError(f"{name}: got the index {n!r}, needs integers")
        out[int(n)] = expression(f"{name}[{n}]", c)
    if not out:
        raise ValueError(f"{name}: got none, needs at least one coefficient")
    return out
