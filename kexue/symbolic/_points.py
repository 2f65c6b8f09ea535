"""Random points that respect assumptions, and comparison of values to 40 digits."""

from __future__ import annotations

import random
from collections.abc import Iterator

import sympy as sp

DIGITS = 40
WORKING = 60  # digits carried, so that 40 remain
TRIES = 12  # points drawn afresh for one that is undefined

Point = dict[sp.Symbol, sp.Expr]


def draw(s: sp.Symbol, rng: random.Random) -> sp.Expr:
    """A random exact number that has the assumptions of ``s``."""
    if s.is_zero:
        return sp.Integer(0)
    if s.is_integer:
        value = sp.Integer(rng.randint(1, 9))
        if s.is_even:
            value = 2 * value
        elif s.is_odd:
            value = 2 * value - 1
        elif s.is_prime:
            value = sp.prime(value)
        free = sp.Integer(rng.randint(-9, 9)) if s.is_even is None and s.is_odd is None else None
    else:
        value = sp.Rational(rng.randint(2, 97), rng.randint(11, 53))
        if s.is_rational is False:
            value = sp.sqrt(value**2 + 1) if not sp.sqrt(value**2 + 1).is_rational else sp.pi
        free = None
    if s.is_positive or s.is_nonnegative:
        return value
    if s.is_negative or s.is_nonpositive:
        return -value
    if s.is_imaginary:
        return sp.I * value * rng.choice([-1, 1])
    if free is not None and not (s.is_nonzero and free == 0):
        return free
    value = value * rng.choice([-1, 1])
    if s.is_extended_real or rng.random() < 0.5:
        return value
    return value + sp.I * sp.Rational(rng.randint(-97, 97), rng.randint(11, 53))


def sampled(lhs: sp.Expr, rhs: sp.Expr, which: range) -> Iterator[tuple[Point, sp.Expr, sp.Expr]]:
    """Points number ``which`` at which both sides are defined, with the values there.

    The symbols are those of both sides together: in their difference some may cancel.

    Raises
    ------
    ValueError
        Neither these points nor their replacements gave a value on both sides.
    """
    free = sorted(lhs.free_symbols | rhs.free_symbols, key=lambda s: (s.name, str(s.assumptions0)))
    found = False
    for number in which if free else which[:1]:
        for attempt in range(TRIES):
            rng = random.Random(f"{number} {attempt}")
            point = {s: draw(s, rng) for s in free}
            left, right = value(lhs, point), value(rhs, point)
            if left is not None and right is not None:
                found = True
                yield point, left, right
                break
    if not found:
        raise ValueError(
            f"left, right: got {lhs} and {rhs}, which have no value at any of "
            f"{len(which) * TRIES} random points, need sides that can be evaluated"
        )


def value(e: sp.Expr, point: Point, digits: int = WORKING) -> sp.Expr | None:
    """The value of ``e`` at an exact point; None where it is undefined."""
    try:
        e = e.xreplace(point)
        if e.has(sp.Sum, sp.Product, sp.Integral):
            e = e.doit()
        number = e if e.is_Rational else e.evalf(digits, maxn=10 * digits)
    except (ZeroDivisionError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    known = all(part.is_Rational or part.is_Float for part in number.as_real_imag())
    return number if known and number.is_finite else None


def agree(lhs: sp.Expr, rhs: sp.Expr, point: Point, left: sp.Expr, right: sp.Expr) -> bool:
    """Do the values agree to 40 digits, relative to the larger one?

    A gap may be rounding alone (both sides zero after cancellation, or a hidden singularity):
    it counts only if it is the same when twice the digits are carried.
    """
    if left == right:
        return True
    gap = abs(left - right).evalf(WORKING)
    if gap <= sp.Float(10, WORKING) ** -DIGITS * max(abs(left), abs(right)).evalf(WORKING):
        return True
    if left.is_Rational and right.is_Rational:
        return False
    again_lhs, again_rhs = value(lhs, point, 3 * WORKING), value(rhs, point, 3 * WORKING)
    if again_lhs is None or again_rhs is None:
        return True
    again = abs(again_lhs - again_rhs).evalf(WORKING)
    return bool(abs(again - gap) > gap / 1000)
