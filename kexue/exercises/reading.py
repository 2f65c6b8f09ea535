r"""An answer as SymPy: a reader of its own, so that nothing that is typed is ever executed.

==========  ==============================================================================
sum         terms with + or - between them
term        factors with * or / between them, or side by side: ``2 theta``
factor      a sign, or a power: ``^`` binds tighter than a sign on its left
atom        a number, a letter, a constant, a function of a bracket, a bracket, ``|x|``
==========  ==============================================================================

``1/2 theta`` can mean two things and is refused. Every limit is checked before the arithmetic that
it guards, so that ``9**9**9**9`` or a factorial takes no time: it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import sympy as sp

from kexue.exercises.letters import nearest
from kexue.exercises.tokens import DEEPEST, FUNCTIONS, Token, Unreadable, tokens

POWER = 100  # the largest power that is a number
BITS = 2000  # the longest integer
TERMS = 3000  # the most terms when everything is multiplied out
NODES = 400  # the most symbols, numbers and operations
CONSTANTS = {"pi": sp.pi, "e": sp.E, "E": sp.E, "i": sp.I, "I": sp.I}
APPLY: Mapping[str, Any] = {
    "exp": sp.exp, "log": sp.log, "ln": sp.log, "sqrt": sp.sqrt, "sin": sp.sin, "cos": sp.cos,
    "tan": sp.tan, "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh, "sech": sp.sech,
    "arcsin": sp.asin, "arccos": sp.acos, "arctan": sp.atan, "arsinh": sp.asinh,
    "arcosh": sp.acosh, "artanh": sp.atanh, "asin": sp.asin, "acos": sp.acos, "atan": sp.atan,
    "asinh": sp.asinh, "acosh": sp.acosh, "atanh": sp.atanh, "erf": sp.erf, "erfc": sp.erfc,
    "abs": sp.Abs, "gamma": sp.gamma, "Gamma": sp.gamma, "factorial": sp.factorial,
}  # fmt: skip
GROWING = (sp.exp, sp.sinh, sp.cosh, sp.gamma, sp.factorial)
ALLOWED = (
    sp.Symbol, sp.Rational, sp.Add, sp.Mul, sp.Pow, sp.exp, sp.log, sp.sin, sp.cos, sp.tan,
    sp.sinh, sp.cosh, sp.tanh, sp.sech, sp.asin, sp.acos, sp.atan, sp.asinh, sp.acosh, sp.atanh,
    sp.erf, sp.erfc, sp.Abs, sp.gamma, sp.factorial, sp.conjugate, sp.re, sp.im, sp.sign, sp.sec,
    sp.cot, sp.csc, sp.coth, sp.csch, type(sp.pi), type(sp.E), type(sp.I), type(sp.EulerGamma),
    type(sp.Catalan), type(sp.GoldenRatio),
)  # fmt: skip


def read_answer(text: str, letters: Mapping[str, sp.Symbol]) -> sp.Expr:
    r"""What is typed, plain or in TeX, as an exact SymPy expression in ``letters``.

    Parameters
    ----------
    text
        ``"sigma^2/(2 theta)"``, ``"σ²/(2θ)"``, ``r"\frac{\sigma^2}{2\theta}"``; ``name = ...`` in
        front is passed over. Decimals are exact: 0.5 is 1/2.
    letters
        Name as typed -> symbol.

    Raises
    ------
    Unreadable
        With a sentence that says what is not allowed.

    >>> theta = sp.Symbol("theta", positive=True)
    >>> read_answer("2θ^2 / exp(2 theta)", {"theta": theta})
    2*theta**2*exp(-2*theta)
    >>> read_answer("__import__('os')", {})
    Traceback (most recent call last):
        ...
    kexue.exercises.tokens.Unreadable: the character '_' in "__import__('os')" is not allowed; ...
    """
    reader = _Reader(tokens(text), letters)
    value = reader.sum()
    if reader.here() is not None:
        raise Unreadable(f"{reader.here()!r} after a complete formula is not allowed")
    return within_limits(value)


def read_sympy(value: sp.Basic, letters: Mapping[str, sp.Symbol]) -> sp.Expr:
    """A SymPy expression in the exercise's own letters; they are found by name."""
    for part in sp.preorder_traversal(value):
        if not isinstance(part, (*ALLOWED, sp.Float)):
            raise Unreadable(f"{type(part).__name__} is not allowed; evaluate it first")
    rules = {}
    for s in value.free_symbols:
        read = tokens(s.name)
        name = read[0].text if len(read) == 1 else s.name
        if name not in letters:
            raise Unreadable(nearest(s.name, letters))
        rules[s] = letters[name]
    exact = {f: sp.Rational(str(f)) for f in value.atoms(sp.Float) if f.is_finite}
    return within_limits(value.xreplace(rules | exact))


def within_limits(e: sp.Expr) -> sp.Expr:
    """``e``, if algebra with it takes a bounded time and it is a finite expression."""
    if e.has(sp.zoo, sp.nan, sp.oo, -sp.oo):
        raise Unreadable("the formula divides by zero or is infinite")
    for count, part in enumerate(sp.preorder_traversal(e)):
        if count > NODES:
            raise Unreadable(f"more than {NODES} numbers, letters and operations are not allowed")
        if part.is_Rational and max(abs(part.p), part.q).bit_length() > BITS:
            raise Unreadable(f"numbers of more than {BITS} bits are not allowed")
        if part.is_Pow and part.exp.is_number and abs(float(sp.re(part.exp).n(5))) > POWER:
            raise Unreadable(f"powers above {POWER} are not allowed")
    if growth(e) > 2:
        raise Unreadable("an exponential of an exponential of an exponential is not allowed")
    if terms(e) > TERMS:
        raise Unreadable(f"more than {TERMS} terms, multiplied out, are not allowed")
    return e


def growth(e: sp.Expr) -> int:
    """How many exponentials stand in exponents: 1 for exp(x), 2 for exp(exp(x))."""
    if not e.args:
        return 0
    if isinstance(e, GROWING):
        return 1 + growth(e.args[0])
    if e.is_Pow and e.exp.free_symbols:
        return max(growth(e.base), 1 + growth(e.exp))
    return max(map(growth, e.args))


def terms(e: sp.Expr) -> float:
    """At most how many terms ``e`` has when it is multiplied out."""
    inner = [terms(part) for part in e.args] or [1.0]
    if e.is_Add:
        return sum(inner)
    if e.is_Mul:
        return math.prod(inner)
    if e.is_Pow and e.exp.is_Integer:
        n = abs(int(e.exp))
        return math.exp(math.lgamma(inner[0] + n) - math.lgamma(inner[0]) - math.lgamma(n + 1))
    return max(inner)


class _Reader:
    """Recursive descent over the tokens; each method returns the value of what it passed over."""

    def __init__(self, found: list[Token], letters: Mapping[str, sp.Symbol]) -> None:
        self.tokens, self.i, self.depth, self.bars = found, 0, 0, 0
        self.letters = letters

    def here(self) -> str | None:
        return self.tokens[self.i].text if self.i < len(self.tokens) else None

    def kind(self) -> str:
        return self.tokens[self.i].kind if self.i < len(self.tokens) else "end"

    def take(self, *operations: str) -> str:
        if self.kind() == "operation" and self.here() in operations:
            self.i += 1
            return self.tokens[self.i - 1].text
        return ""

    def sum(self) -> sp.Expr:
        value = self.term()
        while sign := self.take("+", "-"):
            value = value + self.term() if sign == "+" else value - self.term()
        return value

    def term(self) -> sp.Expr:
        value, divided = self.factor(), False
        while True:
            if self.take("*"):
                value, divided = value * self.factor(), False
            elif self.take("/"):
                below = self.factor()
                if below == 0:
                    raise Unreadable("a division by zero is not allowed")
                value, divided = value / below, True
            elif self.adjacent():
                if divided:
                    raise Unreadable(
                        f"{self.here()!r} behind a division can stand above or below the line; "
                        "write 1/(2*x) or (1/2)*x"
                    )
                value = value * self.factor()
            else:
                return value

    def adjacent(self) -> bool:
        """Whether a factor follows without a sign of multiplication."""
        if self.kind() == "number":
            raise Unreadable(f"the number {self.here()} needs an operation before it")
        opening = self.here() == "(" or (self.here() == "|" and self.bars == 0)
        return opening or self.kind() in ("word", "name", "function")

    def factor(self) -> sp.Expr:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable(f"brackets or signs more than {DEEPEST} deep are not allowed")
        try:
            if sign := self.take("+", "-"):
                value = self.factor()
                return -value if sign == "-" else value
            return self.power(self.atom())
        finally:
            self.depth -= 1

    def power(self, value: sp.Expr) -> sp.Expr:
        while self.take("!"):
            value = apply("factorial", value)
        return raised(value, self.factor()) if self.take("^") else value

    def atom(self) -> sp.Expr:
        kind, text = self.kind(), self.here()
        if text is None:
            raise Unreadable("the formula is not complete")
        self.i += 1
        if kind == "number":
            return _number(text)
        if kind in ("word", "name") and text in self.letters:
            return self.letters[text]
        called = kind == "function" or (kind == "word" and text in FUNCTIONS and self.here() == "(")
        if called:
            return self.call(text, bare=kind == "function")
        if kind != "operation":
            if text in CONSTANTS:
                return CONSTANTS[text]
            if text in FUNCTIONS and kind == "word":
                raise Unreadable(f"the function {text} needs its argument in brackets, {text}(...)")
            raise Unreadable(nearest(text, self.letters))
        if text == "(":
            return self.inside(")")
        if text == "|":
            self.bars += 1
            value = self.inside("|")
            self.bars -= 1
            return sp.Abs(value)
        raise Unreadable(f"{text!r} is not allowed here; a number, a letter or a bracket is")

    def inside(self, end: str) -> sp.Expr:
        outside, self.bars = self.bars, self.bars if end == "|" else 0
        value = self.sum()
        self.bars = outside
        if not self.take(end):
            where = f" before {self.here()!r}" if self.here() else ""
            raise Unreadable(f"{end!r} is missing{where}")
        return value

    def call(self, name: str, bare: bool) -> sp.Expr:
        r"""A function of the bracket behind it; in TeX also of a product, ``\cos\pi x``."""
        power = self.factor() if bare and self.take("^") else None
        if power is not None and power.is_negative:
            raise Unreadable(f"{name}^{power} can mean two things; write 1/{name}(...) or arc...")
        if self.take("("):
            value = self.inside(")")
        else:
            value = self.factor()
            while self.kind() in ("word", "name") or self.here() == "(":
                value = value * self.factor()
        value = apply(name, value)
        return value if power is None else raised(value, power)


def _number(text: str) -> sp.Rational:
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > POWER:
        raise Unreadable(f"powers of ten above {POWER} are not allowed")
    return sp.Rational(mantissa.rstrip(".")) * sp.Integer(10) ** int(exponent or 0)


def _size(e: sp.Expr) -> float:
    """The modulus of a number, without evaluating it exactly."""
    return float(abs(sp.N(e, 5)))


def raised(base: sp.Expr, power: sp.Expr) -> sp.Expr:
    """``base**power``, if it is small enough."""
    if power.is_number and _size(power) > POWER:
        raise Unreadable(f"powers above {POWER} are not allowed")
    if base.is_Rational and power.is_number:
        bits = max(abs(base.p), base.q).bit_length()
        if bits * _size(power) > BITS:
            raise Unreadable(f"numbers of more than {BITS} bits are not allowed")
    if base == 0 and not power.is_positive:
        raise Unreadable("a division by zero is not allowed")
    if base == sp.E:
        return apply("exp", power)
    return base**power


def apply(name: str, argument: sp.Expr) -> sp.Expr:
    """The function ``name`` of ``argument``, if that is small enough."""
    if argument.is_number and name in ("exp", "sinh", "cosh", "gamma", "Gamma", "factorial"):
        largest = 50 if name in ("gamma", "Gamma", "factorial") else 500
        if _size(argument) > largest:
            raise Unreadable(f"{name} of a number above {largest} is not allowed")
    value = APPLY[name](argument)
    if value.has(sp.zoo, sp.nan, sp.oo):
        raise Unreadable(f"{name}({argument}) is infinite")
    return value
