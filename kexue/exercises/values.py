"""Values of formulas at random points, with limits on every step: this decides what is right.

Fifty digits are carried and thirty compared. A value that grows above 10^150, or that is not
defined, is no value: the point is passed over. So the time is bounded, whatever was typed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp

DIGITS, AGREE = 50, 30
LARGEST = 1e150
POINTS = 24
_mp = mpmath.MPContext()  # its own precision, so that nothing of the reader's changes
_mp.dps = DIGITS
_EXACT, _ZERO = mpmath.mpf(10) ** -AGREE, mpmath.mpf(10) ** -42

Point = dict[sp.Symbol, Any]
Values = list[Any]  # one number a point, None where there is none


class NoValue(ArithmeticError):
    """A formula that has no finite value of moderate size at a point."""


_NAMES = """exp log sin cos tan cot sec csc sinh cosh tanh coth sech csch asin acos atan asinh acosh
    atanh erf erfc gamma factorial re im sign"""
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    **{name: getattr(_mp, name) for name in _NAMES.split()}, "Abs": abs, "conjugate": _mp.conj
}  # fmt: skip
_SMALL = {
    "exp": 300,
    "sinh": 300,
    "cosh": 300,
    "gamma": 100,
    "factorial": 100,
    "erf": 20,
    "erfc": 20,
}
_CONSTANTS = {"Pi": _mp.pi, "Exp1": _mp.e, "ImaginaryUnit": _mp.j, "EulerGamma": _mp.euler,
              "Catalan": _mp.catalan, "GoldenRatio": _mp.phi}  # fmt: skip


def value(e: sp.Expr, point: Point) -> Any:
    """The value of ``e`` at a point; raises ``NoValue`` where there is none."""
    try:
        return _value(e, point)
    except (ZeroDivisionError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise NoValue(str(error)) from None


def _value(e: sp.Expr, point: Point) -> Any:
    if e.is_Symbol:
        return point[e]
    if e.is_Rational:
        return _mp.mpf(e.p) / e.q
    name = type(e).__name__
    if name in _CONSTANTS:
        return +_CONSTANTS[name]
    parts = [_value(part, point) for part in e.args]
    if e.is_Add:
        result = _mp.fsum(parts)
    elif e.is_Mul:
        result = _mp.fprod(parts)
    elif e.is_Pow:
        base, power = parts
        if base != 0 and abs(power) * abs(_mp.log(abs(base))) > 345:  # 10^150
            raise NoValue("too large")
        result = base**power
    else:
        if abs(parts[0]) > _SMALL.get(name, LARGEST):
            raise NoValue("too large")
        result = _FUNCTIONS[name](parts[0])
    if not abs(result) < LARGEST:  # NaN too
        raise NoValue("too large")
    return result


def values(e: sp.Expr, points: Sequence[Point]) -> Values:
    """The values of ``e`` at the points, None where it has none."""
    out: Values = []
    for point in points:
        try:
            out.append(value(e, point))
        except NoValue:
            out.append(None)
    return out


def agrees(a: Values, b: Values, within: float | None = None) -> bool:
    """Whether two lists of values agree, at three quarters of b's points at least.

    ``within`` is the largest relative difference; by default thirty digits.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(pairs) < max(1, 0.75 * sum(y is not None for y in b)):
        return False
    return all(_close(x, y, _EXACT if within is None else within) for x, y in pairs)


def _close(x: Any, y: Any, within: Any) -> bool:
    gap = abs(x - y)  # the second test: zero, and zero after cancellation
    return gap <= within * max(abs(x), abs(y)) or gap <= _ZERO


def constant(a: Values) -> Any:
    """The value that all have (at three quarters of the points at least), or None."""
    known = [x for x in a if x is not None]
    if len(known) < max(1, 0.75 * len(a)) or not all(_close(x, known[0], _EXACT) for x in known):
        return None
    return known[0]


def points(
    kinds: Mapping[sp.Symbol, str], where: Mapping[sp.Symbol, sp.Expr], count: int = POINTS
) -> list[Point]:
    """Random points, the same on every call; letters in ``where`` follow from the others."""
    rng, found = random.Random("kexue.exercises"), []
    for _ in range(40 * count):
        if len(found) == count:
            break
        free = {s: _draw(kind, rng) for s, kind in kinds.items() if s not in where}
        if (point := complete(free, kinds, where)) is not None:
            found.append(point)
    return found


def complete(
    free: Point, kinds: Mapping[sp.Symbol, str], where: Mapping[sp.Symbol, sp.Expr]
) -> Point | None:
    """A point with the dependent letters, or None if one of them is not of its kind there."""
    point = dict(free)
    for s, e in where.items():
        try:
            point[s] = value(e, point)
        except NoValue:
            return None
        if _mp.im(point[s]) != 0 or (kinds[s] != "real" and not point[s] > 0):
            return None
        if kinds[s] == "unit" and not point[s] < 1:
            return None
    return point


def _draw(kind: str, rng: random.Random) -> Any:
    if kind == "natural":
        return _mp.mpf(rng.randint(1, 9))
    if kind == "unit":
        return _mp.mpf(rng.randint(2, 95)) / 97
    size = _mp.mpf(rng.choice([n for n in range(10, 400) if n % 101])) / 101  # no integer
    return -size if kind == "real" and rng.random() < 0.5 else size


_NICE: Mapping[str, Sequence[str]] = {
    "positive": ("2", "3", "1/2", "5", "3/2", "1"),
    "unit": ("3/5", "1/2", "1/3", "4/5", "1/4"),
    "real": ("2", "-1", "3", "1/2", "1", "-2"),
    "natural": ("3", "2", "4", "5", "1", "6"),
}


def nice_points(
    kinds: Mapping[sp.Symbol, str], where: Mapping[sp.Symbol, sp.Expr]
) -> Iterator[tuple[dict[sp.Symbol, str], Point]]:
    """Points of small numbers, as (letter -> what to print, point)."""
    rng = random.Random("nice")
    for _ in range(60):
        words = {s: rng.choice(_NICE[kind]) for s, kind in kinds.items() if s not in where}
        exact = {s: _mp.mpf(sp.Rational(w).p) / sp.Rational(w).q for s, w in words.items()}
        if (point := complete(exact, kinds, where)) is not None:
            yield words, point


_UNITS: Sequence[tuple[str, Any]] = (
    ("", _mp.mpf(1)), ("pi", +_mp.pi), ("sqrt(2)", _mp.sqrt(2)), ("sqrt(pi)", _mp.sqrt(_mp.pi)),
    ("sqrt(2 pi)", _mp.sqrt(2 * _mp.pi)), ("e", +_mp.e), ("log(2)", _mp.log(2)),
    ("pi^2", _mp.pi**2), ("1/pi", 1 / _mp.pi),
    ("1/sqrt(2 pi)", 1 / _mp.sqrt(2 * _mp.pi)), ("1/sqrt(pi)", 1 / _mp.sqrt(_mp.pi)),
    ("sqrt(3)", _mp.sqrt(3)), ("i", _mp.j),
)  # fmt: skip


def named(c: Any) -> str:
    """A constant in words if it is simple: ``2``, ``-1/2``, ``3 pi``; else in decimals."""
    for unit, size in _UNITS:
        q = c / size
        if abs(_mp.im(q)) > _EXACT * abs(q):
            continue
        q = _mp.re(q)
        fraction = sp.Rational(str(_mp.nstr(q, 30))).limit_denominator(64)
        if abs(fraction.p) < 1000 and _close(_mp.mpf(fraction.p) / fraction.q, q, _EXACT):
            if not unit or fraction == 1:
                return unit or str(fraction)
            return {-1: f"-{unit}"}.get(fraction, f"{fraction} {unit}")
    return "about " + shown(c)


def shown(x: Any, digits: int = 5) -> str:
    """A number for print."""
    x = _mp.chop(x, tol=_EXACT)
    if _mp.im(x) == 0:
        return str(_mp.nstr(_mp.re(x), digits, strip_zeros=True)).removesuffix(".0")
    re, im = _mp.re(x), _mp.im(x)
    sign = "-" if im < 0 else "+"
    imaginary = "i" if abs(im) == 1 else f"{shown(abs(im), digits)} i"
    return f"{shown(re, digits)} {sign} {imaginary}" if re != 0 else ("-" * (im < 0)) + imaginary
