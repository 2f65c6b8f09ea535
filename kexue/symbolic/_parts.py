"""Two sides taken apart: matching shapes, premises put in, undefined functions made unknowns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from kexue.symbolic.gaussian import Gaussian
from kexue.symbolic.names import expression


def match(left: Any, right: Any) -> list[tuple[str, sp.Expr, sp.Expr]]:
    """Pairs of scalars with the name of their part; both sides must have one shape."""
    a, b = _flatten("left", left), _flatten("right", right)
    if list(a) != list(b):
        raise ValueError(
            f"left and right: got {_shape(left)} against {_shape(right)}, need one shape"
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
        value = expression(name, value)
        floats = sorted(map(str, value.atoms(sp.Float)))
        if floats:
            raise ValueError(
                f"{name}: got the floating-point number {floats[0]}, needs exact numbers "
                "such as Rational(1, 10)"
            )
        return {part: value}
    out: dict[str, sp.Expr] = {}
    for key, item in inside.items():
        dot = "." if part and not key.startswith("[") else ""
        out |= _flatten(name, item, part + dot + key)
    return out


def _shape(value: Any) -> str:
    """A side's shape in words, for the error message."""
    if isinstance(value, Gaussian):
        return "a Gaussian (mean, var)"
    if isinstance(value, sp.MatrixBase):
        return f"a {value.rows} x {value.cols} matrix"
    if isinstance(value, Mapping):
        return f"a dict with keys {sorted(map(str, value))}"
    if isinstance(value, tuple | list | sp.Tuple):
        return f"a sequence of {len(value)} ({'; '.join(map(_shape, value))})"
    return "a scalar"


def apply_given(given: Mapping[Any, Any] | None, *sides: sp.Expr) -> tuple[sp.Expr, ...]:
    """Put the premises into every side, again while their right sides hold further keys."""
    if not given:
        return sides
    if not isinstance(given, Mapping):
        raise TypeError(f"given: got {type(given).__name__}, needs a dict symbol -> expression")
    rules = {}
    for key, value in given.items():
        if not isinstance(key, sp.Symbol | AppliedUndef):
            raise TypeError(f"given: got the key {key!r}, needs a symbol or a function phi(x)")
        rules[key] = expression(f"given[{key}]", value)
    for _ in range(len(rules) + 1):
        if not any(side.has(*rules) for side in sides):
            return sides
        sides = tuple(_replace(side, rules) for side in sides)
    raise ValueError(f"given: got {rules}, which is circular, needs right sides that end")


def _replace(e: sp.Expr, rules: Mapping[sp.Expr, sp.Expr]) -> sp.Expr:
    for key, value in rules.items():
        if isinstance(key, AppliedUndef):  # everywhere, whatever the argument: phi(x), phi(2*y)
            e = e.replace(key.func, sp.Lambda(key.args, value)).doit()
    return e.subs({k: v for k, v in rules.items() if isinstance(k, sp.Symbol)}, simultaneous=True)


def atomize(lhs: sp.Expr, rhs: sp.Expr) -> tuple[sp.Expr, sp.Expr, dict[sp.Dummy, sp.Expr]]:
    """Evaluate what can be, and put an unknown in place of each undefined function's value.

    An identity between values and derivatives of arbitrary functions holds for all functions
    exactly if it holds with those values independent.
    """
    lhs, rhs = lhs.doit(), rhs.doit()
    unknown: dict[sp.Expr, sp.Dummy] = {}

    def replace(e: sp.Expr) -> sp.Expr:
        if isinstance(e, AppliedUndef | sp.Derivative | sp.Subs | sp.Integral | sp.Sum) and (
            e.has(AppliedUndef)
        ):
            key = _canonical(e)
            if key not in unknown:
                unknown[key] = sp.Dummy(str(e), real=True if _real(e) else None)
            return unknown[key]
        if not e.args or not e.has(AppliedUndef):
            return e
        return e.func(*map(replace, e.args))

    lhs, rhs = replace(lhs), replace(rhs)
    return lhs, rhs, {dummy: e for e, dummy in unknown.items()}


def _canonical(e: sp.Expr) -> sp.Expr:
    """phi(a*(b + c)) and phi(a*b + a*c) are one unknown."""
    if isinstance(e, AppliedUndef):
        return e.func(*(sp.cancel(sp.together(sp.expand(arg))) for arg in e.args))
    return e.expand() if isinstance(e, sp.Integral | sp.Sum) else e


def _real(e: sp.Expr) -> bool:
    """Values of functions declared real, and their derivatives along real variables."""
    functions = e.atoms(AppliedUndef)
    return all(f.is_real for f in functions) and all(s.is_real for s in e.free_symbols)
