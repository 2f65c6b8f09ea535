"""Two sides taken apart: matching shapes, premises put in, undefined functions made unknowns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from kexue.symbolic.gaussian import Gaussian
from kexue.symbolic.names import expression

UNEVALUATED = (AppliedUndef, sp.Derivative, sp.Subs, sp.Integral, sp.Sum)


def match(left: Any, right: Any) -> list[tuple[str, sp.Expr, sp.Expr]]:
    """Pairs of scalars with the name of their part; both sides must have one shape."""
    a, b = _flatten("left", left), _flatten("right", right)
    if _shape(left) != _shape(right) or list(a) != list(b):
        raise ValueError(
            f"left, right: got {_shape(left)} against {_shape(right)}, needs one shape"
        )
    if not a:
        raise ValueError(f"left: got {left!r}, which is empty, needs something to compare")
    return [(part, a[part], b[part]) for part in a]


def _flatten(name: str, value: Any, part: str = "") -> dict[str, sp.Expr]:
    if isinstance(value, Gaussian):
        inside = {"mean": value.mean, "var": value.var}
    elif isinstance(value, Mapping):
        inside = {f"[{key}]": value[key] for key in sorted(value, key=str)}
    elif isinstance(value, tuple | list | sp.Tuple):
        inside = {f"[{i}]": item for i, item in enumerate(value)}
    elif isinstance(value, sp.MatrixBase):
        rows, columns = value.shape
        inside = {f"[{i}, {j}]": value[i, j] for i in range(rows) for j in range(columns)}
    else:
        return {part: exact(name, expression(name, value))}
    out: dict[str, sp.Expr] = {}
    for key, item in inside.items():
        dot = "." if part and not key.startswith("[") else ""
        out |= _flatten(name, item, part + dot + key)
    return out


def _shape(value: Any) -> str:
    """A side's shape in words, for comparison and for the error message."""
    if isinstance(value, Gaussian):
        return "a Gaussian (mean, var)"
    if isinstance(value, sp.MatrixBase):
        return f"a {value.rows} x {value.cols} matrix"
    if isinstance(value, Mapping):
        return f"a dict with keys {sorted(map(str, value))}"
    if isinstance(value, tuple | list | sp.Tuple):
        return f"a sequence of {len(value)} ({', '.join(map(_shape, value))})"
    return "a scalar"


def exact(name: str, value: sp.Expr) -> sp.Expr:
    """Refuse floating-point numbers: they agree to 16 digits at best and prove nothing."""
    floats = sorted(map(str, value.atoms(sp.Float)))
    if floats:
        raise ValueError(
            f"{name}: got the floating-point number {floats[0]}, needs exact numbers "
            "such as Rational(1, 10)"
        )
    return value


def apply_given(given: Mapping[Any, Any] | None, sides: Iterable[sp.Expr]) -> list[sp.Expr]:
    """Put the premises into every side, again while their right sides hold further keys."""
    sides, rules = list(sides), {}
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"given: got {type(given).__name__}, needs a dict symbol -> expression")
    for key, value in (given or {}).items():
        plain = isinstance(key, sp.Symbol) or (
            isinstance(key, AppliedUndef) and all(isinstance(a, sp.Symbol) for a in key.args)
        )
        if not plain:
            raise TypeError(f"given: got the key {key!r}, needs a symbol or a function phi(x)")
        rules[key] = exact(f"given[{key}]", expression(f"given[{key}]", value))
    _one_symbol_a_name([*sides, *rules, *rules.values()])
    keys = [key if isinstance(key, sp.Symbol) else key.func for key in rules]
    for _ in range(len(rules) + 1):
        if not any(side.has(*keys) for side in sides if keys):
            return sides
        sides = [_replace(side, tuple(rules.items())) for side in sides]
    raise ValueError(f"given: got {rules}, which is circular, needs right sides that end")


def _one_symbol_a_name(expressions: Iterable[sp.Expr]) -> None:
    """Two symbols of one name but different assumptions are a slip that nobody sees in print."""
    seen: dict[str, sp.Symbol] = {}
    for s in sorted(set().union(*(e.free_symbols for e in expressions)), key=str):
        if not isinstance(s, sp.Dummy) and seen.setdefault(s.name, s) != s:
            raise ValueError(
                f"left, right, given: got two different symbols named {s.name}, with assumptions "
                f"{s._assumptions_orig} and {seen[s.name]._assumptions_orig}, needs one"
            )


@lru_cache(maxsize=256)  # many statements are compared with one derivation, under one premise
def _replace(e: sp.Expr, rules: tuple[tuple[sp.Expr, sp.Expr], ...]) -> sp.Expr:
    for key, value in rules:
        if isinstance(key, AppliedUndef):  # everywhere, whatever the argument: phi(x), phi(2*y)
            e = e.replace(key.func, sp.Lambda(key.args, value)).doit()
    return e.subs({k: v for k, v in rules if isinstance(k, sp.Symbol)}, simultaneous=True)


def atomize(lhs: sp.Expr, rhs: sp.Expr) -> tuple[sp.Expr, sp.Expr, dict[sp.Dummy, sp.Expr]]:
    """Evaluate what can be, and put an unknown in place of each undefined function's value.

    Values and derivatives of an arbitrary smooth function at a point are independent of each
    other, so that an identity between them holds for all functions only if it holds so.
    """
    unknown: dict[sp.Expr, sp.Dummy] = {}

    def replace(e: sp.Expr) -> sp.Expr:
        if not e.has(AppliedUndef):
            return e
        if isinstance(e, sp.Integral | sp.Sum):
            factor, e = _pull_out(e)
            if isinstance(e, sp.Add) or factor != 1:
                return replace(factor) * replace(e)
        if isinstance(e, UNEVALUATED):
            key = _canonical(e)
            if key not in unknown:
                unknown[key] = sp.Dummy(str(e), **_assumptions(e))
            return unknown[key]
        return e.func(*map(replace, e.args))

    lhs, rhs = replace(_evaluate(lhs)), replace(_evaluate(rhs))
    return lhs, rhs, {dummy: e for e, dummy in unknown.items()}


@lru_cache(maxsize=256)
def _evaluate(e: sp.Expr) -> sp.Expr:
    """``doit``, but without looking for antiderivatives of undefined functions: that is slow."""
    if not any(integral.has(AppliedUndef) for integral in e.atoms(sp.Integral)):
        return e.doit()
    if isinstance(e, sp.Integral):
        return e.func(_evaluate(e.function), *e.limits)
    if isinstance(e, sp.Derivative):
        return sp.diff(_evaluate(e.expr), *e.variables)
    return e.func(*map(_evaluate, e.args))


def _pull_out(e: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Linearity: a sum of integrals, or (constant factor, integral of the rest)."""
    inner, limits = sp.expand(e.function), e.limits
    if isinstance(inner, sp.Add):
        return sp.Integer(1), sp.Add(*(e.func(term, *limits) for term in inner.args))
    factor, inner = inner.as_independent(*e.variables, as_Add=False)
    return factor, e.func(inner, *limits)


def _canonical(e: sp.Expr) -> sp.Expr:
    """phi(a*(b + c)) and phi(a*b + a*c) are one unknown; so are integrals over x and over y."""
    if isinstance(e, AppliedUndef):
        return e.func(*(sp.cancel(sp.together(sp.expand(arg))) for arg in e.args))
    return e.as_dummy() if isinstance(e, sp.Integral | sp.Sum) else e


def _assumptions(e: sp.Expr) -> dict[str, bool]:
    """What is known of an unknown: a function's own assumptions; derivatives stay real."""
    if isinstance(e, AppliedUndef):
        names = ("real", "positive", "negative", "nonnegative", "nonzero", "integer")
        return {k: v for k in names if (v := getattr(e, f"is_{k}")) is not None}
    functions = e.atoms(AppliedUndef)
    real = all(f.is_real for f in functions) and all(s.is_real for s in e.free_symbols)
    return {"real": True} if real else {}
