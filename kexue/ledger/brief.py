r"""Expressions in TeX as one writes them: p for p(x, t), brackets around what is differentiated."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter


class Brief(LatexPrinter):
    r"""Prints a function by its name alone where ``whole`` applies it to one list of symbols only.

    >>> x, t = sp.symbols("x t")
    >>> f, p = sp.Function("f")(x), sp.Function("p")(x, t)
    >>> Brief(f * p).doprint(sp.Derivative(f * p, x))
    '\\frac{\\partial}{\\partial x} \\left(f p\\right)'
    >>> Brief(p + p.subs(x, 0)).doprint(p)
    'p{\\left(x,t \\right)}'
    """

    def __init__(self, whole: sp.Expr) -> None:
        super().__init__()
        uses: dict[Any, set[tuple]] = {}
        for f in whole.atoms(AppliedUndef):
            uses.setdefault(f.func, set()).add(f.args)
        self.bare = {
            name
            for name, some in uses.items()
            if len(some) == 1 and all(isinstance(x, sp.Symbol) for args in some for x in args)
        }

    def _print_Function(self, expr: sp.Expr, exp: Any = None) -> str:
        if expr.func not in self.bare:
            return super()._print_Function(expr, exp)
        name = self._print(sp.Symbol(expr.func.__name__))
        return name if exp is None else f"{name}^{{{exp}}}"

    def _print_Derivative(self, expr: sp.Derivative) -> str:
        whole, inner = super()._print_Derivative(expr), self._print(expr.expr)
        if expr.expr.is_Mul and whole.endswith(inner):
            return rf"{whole.removesuffix(inner)}\left({inner}\right)"
        return whole


def brief(e: sp.Expr, whole: sp.Expr) -> str:
    """A part of ``whole``, or what became of it, in TeX."""
    return Brief(whole).doprint(e)
