"""What a check compares: an expression, or a dictionary, tuple, matrix or law of expressions."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy as sp

DIGITS = 40  # precision of the comparison at random points
POINTS = 50  # points behind "not proved, agrees at ..."


def flatten(value: Any) -> tuple[list[sp.Expr], Callable[[list], Any]]:
    """Return the scalar expressions inside ``value`` and the function that puts them back.

    A law is any dataclass whose fields are expressions, such as ``Gaussian(mean, var)``. Raises
    ``TypeError`` for what is not made of SymPy expressions and numbers.

    >>> leaves, rebuild = flatten({"m": sp.Symbol("a"), "v": (1, 2)})
    >>> leaves
    [a, 1, 2]
    >>> rebuild([0, 1, 2])
    {'m': 0, 'v': (1, 2)}
    """
    if isinstance(value, Mapping):
        keys, children = list(value), list(value.values())
        make = lambda new: dict(zip(keys, new, strict=True))  # noqa: E731
    elif isinstance(value, (tuple, list)):
        children, make = list(value), type(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [getattr(value, f.name) for f in dataclasses.fields(value)]
        make = lambda new: type(value)(*new)  # noqa: E731
    elif isinstance(value, sp.MatrixBase):
        children = list(value)
        make = lambda new: type(value)(*value.shape, new)  # noqa: E731
    elif isinstance(value, sp.core.relational.Relational):
        children, make = list(value.args), lambda new: value.func(*new)
    else:
        return [scalar(value)], lambda new: new[0]
    inner = [flatten(child) for child in children]

    def rebuild(leaves: list) -> Any:
        rest, new = list(leaves), []
        for mine, build in inner:
            new.append(build(rest[: len(mine)]))
            rest = rest[len(mine) :]
        return make(new)

    return [leaf for mine, _ in inner for leaf in mine], rebuild


def scalar(value: Any) -> sp.Expr:
    """Return ``value`` as a SymPy expression; refuses strings, arrays and everything else."""
    if not isinstance(value, str):
        try:
            value = sp.sympify(value, strict=True)
        except sp.SympifyError:
            pass
        else:
            if isinstance(value, sp.Expr):
                return value
    raise TypeError(
        f"value: got {value!r} of type {type(value).__name__}, needs a SymPy expression, "
        "a number, or a dictionary, tuple, matrix or law made of them"
    )


def substitute(expression: sp.Expr, where: Mapping) -> sp.Expr:
    """Apply ``where`` until nothing changes, so that a premise may be written through another."""
    for _ in range(len(where) + 1):
        after = expression.subs(where, simultaneous=True)
        if after == expression:
            return after
        expression = after
    raise ValueError(f"where: got a circular substitution, {dict(where)!r} never settles")


def points(symbols: set[sp.Symbol], count: int) -> Iterator[dict[sp.Symbol, sp.Expr]]:
    """Yield random points that respect what the symbols assume; the same ones every time."""
    ordered = sorted(symbols, key=sp.default_sort_key)
    for seed in range(count):
        draw = random.Random(seed)
        at = {}
        for s in ordered:
            size = sp.Rational(draw.randint(5, 97), draw.randint(31, 103))
            if s.is_integer:
                size = sp.Integer(draw.randint(2, 9))
            sign = 1 if s.is_nonnegative else -1 if s.is_nonpositive else draw.choice([-1, 1])
            at[s] = sign * size
        yield at


def _value(expression: sp.Expr, at: Mapping) -> sp.Expr:
    return sp.N(expression.subs(at).doit(), DIGITS)


def _apart(left: sp.Expr, right: sp.Expr) -> bool:
    """Whether two numbers differ by more than rounding; an undefined one equals only its like."""
    if not (left.is_finite and right.is_finite):
        return left != right
    return bool(abs(left - right) > sp.Float(10) ** (-DIGITS // 2) * (1 + abs(left)))


def differ(left: sp.Expr, right: sp.Expr, count: int) -> dict[str, str] | None:
    """Return the first random point at which two expressions differ, with both values, or None.

    A point at which a side leaves the real numbers (a root of a negative number, say) is passed
    over if another will do: branches of roots and logarithms would differ there for no reason.
    """
    # The union of both sides: symbols may cancel in a difference and would then stay free.
    symbols = left.free_symbols | right.free_symbols
    seen, doubtful = 0, None
    for at in points(symbols, 4 * count):
        a, b = _value(left, at), _value(right, at)
        real = a.is_extended_real and b.is_extended_real and a.is_finite and b.is_finite
        if _apart(a, b):
            report = {str(s): str(v) for s, v in at.items()}
            report |= {"derived": str(sp.N(a, 8)), "stated": str(sp.N(b, 8))}
            if real:
                return report
            doubtful = doubtful or report
        seen += bool(real)
        if seen >= count or not symbols:
            break
    return doubtful if seen == 0 else None


def vanishes(difference: sp.Expr) -> bool:
    """Whether algebra brings ``difference`` to zero: cancel first, simplify if that fails."""
    difference = difference.doit()
    if difference == 0 or sp.cancel(sp.together(sp.expand(difference))) == 0:
        return True
    return sp.simplify(sp.expand_log(difference)) == 0 or sp.simplify(difference) == 0


def compare(derived: Any, stated: Any, where: Mapping, *, prove: bool = True) -> tuple[str, Any]:
    """Compare two values part by part: ``("proved", None)``, ``("agrees", None)`` (at random
    points only) or ``("differs", counterexample)``.

    Random points come first: they refute nearly every wrong sign at once. With ``prove=False``
    they are the whole comparison (enough to see whether a mutant is refuted).
    """
    left, right = flatten(derived)[0], flatten(stated)[0]
    if len(left) != len(right):
        return "differs", f"derived has {len(left)} parts, stated {len(right)}"
    pairs = [(substitute(a, where), substitute(b, where)) for a, b in zip(left, right, strict=True)]
    for a, b in pairs:
        if (counterexample := differ(a, b, 4)) is not None:
            return "differs", counterexample
    if not prove:
        return "agrees", None
    if all(vanishes(a - b) for a, b in pairs):
        return "proved", None
    for a, b in pairs:
        if (counterexample := differ(a, b, POINTS)) is not None:
            return "differs", counterexample
    return "agrees", None
