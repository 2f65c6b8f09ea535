"""Algebra that tries to reduce left - right to zero, cheapest first."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp


def zero_by(lhs: sp.Expr, rhs: sp.Expr) -> str | None:
    """The name of the first method that shows lhs - rhs = 0, or None."""
    d = lhs - rhs
    if lhs == rhs or d == 0:
        return "evaluation of both sides"
    for name, method in METHODS:
        try:
            if method(d) == 0:
                return name
        except (NotImplementedError, sp.PolynomialError, RecursionError, AttributeError):
            continue
    return None


def numerator(d: sp.Expr) -> sp.Expr:
    """The expanded numerator over a common denominator: 0 exactly if a rational d is 0."""
    return sp.expand(sp.fraction(sp.together(sp.expand(d)))[0])


def logs_and_roots(d: sp.Expr) -> sp.Expr:
    """Arguments of logarithms and roots factored, products taken apart where signs allow."""

    def fraction(u: sp.Expr) -> sp.Expr:
        return sp.factor(sp.together(u))

    d = d.replace(
        lambda e: e.is_Pow and e.exp.is_Rational and not e.exp.is_Integer,
        lambda e: sp.expand_power_base(fraction(e.base) ** e.exp),
    )
    d = d.replace(sp.atanh, lambda u: (sp.log(1 + u) - sp.log(1 - u)) / 2)
    d = d.replace(sp.log, lambda u: sp.log(fraction(u)))
    return numerator(sp.expand_log(d, deep=True))


def exponentials(d: sp.Expr) -> sp.Expr:
    """Everything through exp, exponents expanded."""
    d = sp.powsimp(sp.expand(d.rewrite(sp.exp), complex=False))
    d = d.replace(sp.exp, lambda u: sp.exp(sp.expand(sp.together(u))))
    return numerator(sp.powsimp(sp.expand(d)))


def conjugates(d: sp.Expr) -> sp.Expr:
    """Even powers of absolute values, real and imaginary parts through the conjugate.

    SymPy splits Re e^{ix} into a cosine at once, so that all waves are made exponentials again.
    """
    if not d.has(sp.Abs, sp.re, sp.im):
        return d
    d = d.replace(sp.re, lambda z: (z + sp.conjugate(z)) / 2)
    d = d.replace(sp.im, lambda z: (z - sp.conjugate(z)) / (2 * sp.I))
    d = d.replace(
        lambda e: e.is_Pow and isinstance(e.base, sp.Abs) and e.exp.is_even,
        lambda e: (e.base.args[0] * sp.conjugate(e.base.args[0])) ** (e.exp / 2),
    )
    return numerator(d.rewrite([sp.sin, sp.cos], sp.exp))


def powers(d: sp.Expr) -> sp.Expr:
    """Exponents collected, roots denested and rationalized."""
    d = sp.powsimp(sp.powdenest(sp.expand(d)))
    return sp.simplify(sp.radsimp(sp.sqrtdenest(d)))


def by_cases(d: sp.Expr) -> sp.Expr:
    """0 if every branch of a piecewise difference is 0.

    A branch at one value of a symbol (the ratio 1 of a geometric sum) is looked at there; if a
    side is undefined at that value, as in 0/0, there is nothing to compare.
    """
    d = sp.piecewise_fold(d)
    if not isinstance(d, sp.Piecewise):
        return d
    for branch, condition in d.args:
        if isinstance(condition, sp.Eq) and isinstance(condition.lhs, sp.Symbol):
            branch = branch.subs(condition.lhs, condition.rhs)
            if branch.has(sp.nan, sp.zoo):
                continue
        if sp.simplify(numerator(branch)) != 0:
            return d
    return sp.Integer(0)


def algebraic_constant(d: sp.Expr) -> sp.Expr:
    """A number such as cos(2*pi/7) is 0 exactly if its minimal polynomial is that of 0."""
    if d.free_symbols or not d.is_algebraic:
        return d
    x = sp.Dummy("x")
    return sp.minimal_polynomial(d, x) - x


METHODS: tuple[tuple[str, Callable[[sp.Expr], sp.Expr]], ...] = (
    ("expansion over a common denominator", numerator),
    ("complex conjugates", conjugates),
    ("logarithms and roots of factored arguments", logs_and_roots),
    ("simplify", sp.simplify),
    ("exponentials", exponentials),
    ("powers and roots", powers),
    ("trigonometric identities", lambda d: sp.trigsimp(sp.expand_trig(d))),
    ("gamma functions", lambda d: sp.simplify(sp.gammasimp(sp.expand_func(d.rewrite(sp.gamma))))),
    ("hypergeometric and special functions", lambda d: sp.simplify(sp.expand_func(d))),
    ("cases", by_cases),
    ("minimal polynomial", algebraic_constant),
    ("simplify after expansion", lambda d: sp.simplify(sp.expand(d, complex=False))),
)
