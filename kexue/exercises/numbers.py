"""Answers that are numbers: within a tolerance, or what is wrong with them."""

from __future__ import annotations

import math
import re

import mpmath
import sympy as sp

from kexue.exercises.values import NoValue, named, shown, value


def compare_numbers(expected: sp.Expr, typed: sp.Expr, text: str, within: float) -> tuple[str, str]:
    """(kind, sentence) for a typed number; the kind is ``"right"`` within the tolerance.

    ``text`` is what was typed: ``0.33`` for 1/3 is right as far as it goes.
    """
    e, within = value(expected, {}), max(within, 1e-30)
    try:
        a = value(typed, {})
    except NoValue:
        return "undefined", "it has no value, or a very large one"
    if a == e or abs(a - e) <= within * (abs(e) if e != 0 else 1):
        near = "" if abs(a - e) <= 1e-9 * abs(e) else f"within {100 * within:g} percent"
        return "right", near
    if e == 0 or a == 0:
        return "differs", f"yours is {shown(a)}, which is not it"
    if abs(a + e) <= within * abs(e):
        return "sign", "right up to the sign"
    if digits := _rounded(e, text):
        return "rounding", f"right as far as it goes, to {digits}; more digits are wanted"
    ratio = a / e
    if not ratio.imag and ratio.real > 0:
        power = int(mpmath.nint(mpmath.log10(ratio.real)))
        if power and abs(ratio / mpmath.mpf(10) ** power - 1) <= within:
            if abs(power) == 2:
                way = "a percentage for a fraction" if power > 0 else "a fraction for a percentage"
                return "percent", f"off by a factor 100: {way}?"
            size = f"10^{abs(power)}" if abs(power) > 1 else "ten"
            return "power of ten", f"too {'large' if power > 0 else 'small'} by a factor {size}"
    if abs(a * e - 1) <= within:
        return "reciprocal", "this is one over the answer"
    if abs(a - e * e) <= within * abs(a):
        return "square", "this is the square of the answer: a variance for a standard deviation?"
    if abs(a * a - e) <= within * abs(e):
        return "root", "this is the square root of the answer: a standard deviation for a variance?"
    for factor in (2, 0.5, 4, 0.25, 3, 1 / 3, math.pi, 1 / math.pi, math.sqrt(2), math.sqrt(0.5)):
        if abs(ratio / factor - 1) <= within:
            words = named(ratio)
            words = shown(factor, 4) if words.startswith("about") else words
            return "factor", f"right up to a factor: yours is {words} times the answer"
    if abs(a - e) <= 0.1 * abs(e):
        return (
            "close",
            f"within {math.ceil(100 * float(abs(a - e) / abs(e)) - 1e-9)} percent, not closer",
        )
    return "differs", f"yours is {shown(a)}; too {_way(a, e)}"


def _way(a: sp.Expr, e: sp.Expr) -> str:
    if getattr(a, "imag", 0) or getattr(e, "imag", 0):
        return "far away"
    return "large" if a.real > e.real else "small"


def _rounded(e: object, text: str) -> str:
    """In words, to how many digits ``text`` is the number ``e`` rounded; empty if it is not."""
    match = re.fullmatch(r"\s*[+-]?0*(\d*)\.?(\d*)\s*", text)
    if not match or getattr(e, "imag", 0):
        return ""
    places = len(match[2])
    if abs(float(text) - float(e)) > 0.5000001 * 10.0**-places:  # type: ignore[arg-type]
        return ""
    digits = len((match[1] + match[2]).lstrip("0"))
    if digits == 0:
        return ""
    return f"{digits} digit{'s' if digits > 1 else ''}"
