"""Random points that respect assumptions, and comparison of values to 40 digits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import lru_cache

import sympy as sp

DIGITS = 40
WORKING = 60  # digits carried, so that 40 remain
TRIES = 12  # points drawn afresh for one at which a side is undefined

Point = dict[sp.Symbol, sp.Expr]


def _rational(rng: random.Random) -> sp.Expr:
    return sp.Rational(rng.randint(2, 97), rng.randint(11, 53)) * rng.choice([-1, 1])


KINDS: tuple[Callable[[random.Random], sp.Expr], ...] = (
    _rational,
    lambda rng: _rational(rng) + sp.I * _rational(rng),
    lambda rng: sp.Integer(rng.randint(-9, 9)),
    lambda rng: sp.I * _rational(rng),
    lambda rng: _rational(rng) * sp.sqrt(rng.choice([2, 3, 5, 7])),
    lambda rng: sp.Integer(0),
)


def draw(s: sp.Symbol, rng: random.Random) -> sp.Expr:
    """A random exact number that has every assumption of ``s``; generic kinds come first.

    Raises
    ------
    ValueError
        No candidate has the assumptions.
    """
    kinds = list(KINDS)
    if s.is_real is None and rng.random() < 0.5:  # without assumptions: complex half of the time
        kinds[:2] = reversed(kinds[:2])
    for kind in kinds:
        for _ in range(40):
            value = kind(rng)
            if all(getattr(value, f"is_{k}") in (v, None) for k, v in s.assumptions0.items()):
                return value
    raise ValueError(f"{s}: got assumptions {s.assumptions0}, needs some that a number can have")


def sampled(
    lhs: sp.Expr, rhs: sp.Expr, which: range
) -> Iterator[tuple[Point, sp.Expr, sp.Expr, bool]]:
    """Points number ``which`` with both values and whether they agree.

    A point at which a side is undefined is drawn again: singularities that cancel must not look
    like a difference. The symbols are those of both sides together, since in the difference of
    the sides some may cancel.
    """
    free = sorted(lhs.free_symbols | rhs.free_symbols, key=lambda s: s.sort_key())
    for number in which if free else which[:1]:
        for attempt in range(TRIES):
            rng = random.Random(f"point {number}, attempt {attempt}")
            point = {s: draw(s, rng) for s in free}
            left, right = value(lhs, point), value(rhs, point)
            same = None if left is None or right is None else agree(lhs, rhs, point, left, right)
            if same is not None:
                yield point, left, right, same
                break


def value(e: sp.Expr, point: Point, digits: int = WORKING) -> sp.Expr | None:
    """The value of ``e`` at an exact point; None where it is undefined.

    An ``e`` that *is* infinity (a limit, say) is a value of its own, equal to itself only.
    """
    return _value(e, tuple(point.items()), digits)


@lru_cache(maxsize=1024)  # the points are the same on every call, and often so is a side
def _value(e: sp.Expr, point: tuple[tuple[sp.Symbol, sp.Expr], ...], digits: int) -> sp.Expr | None:
    if e in (sp.oo, -sp.oo):
        return e
    try:
        e = e.xreplace(dict(point))
        if e.has(sp.Sum, sp.Product, sp.Integral):
            e = e.doit()
        number = e if e.is_Rational else e.evalf(digits, maxn=2 * digits)
        parts = number.as_real_imag()
    except (ArithmeticError, ValueError, TypeError, NotImplementedError, RecursionError):
        return None
    known = all(part.is_Rational or part.is_Float for part in parts)
    return number if known and number.is_finite else None


def agree(lhs: sp.Expr, rhs: sp.Expr, point: Point, left: sp.Expr, right: sp.Expr) -> bool | None:
    """Do the values agree to 40 digits, relative to the larger? None if rounding hides it.

    A gap between two inexact values is believed only if it is the same with three times the
    digits; a gap that shrinks with them is rounding around equal values (zero after
    cancellation, say); one that does neither comes from a hidden singularity.
    """
    if left == right:
        return True
    if not (left.is_finite and right.is_finite):
        return False
    gap = abs(left - right).evalf(WORKING)
    if gap <= sp.Float(10, WORKING) ** -DIGITS * max(abs(left), abs(right)).evalf(WORKING):
        return True
    if left.is_Rational and right.is_Rational:
        return False
    left, right = value(lhs, point, 3 * WORKING), value(rhs, point, 3 * WORKING)
    if left is None or right is None:
        return None
    again = abs(left - right).evalf(WORKING)
    if again <= gap * sp.Float(10, WORKING) ** -DIGITS:
        return True
    return False if abs(again - gap) < gap / 1000 else None
