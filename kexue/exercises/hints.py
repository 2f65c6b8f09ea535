"""What is wrong with an answer, in one sentence that does not give the answer away.

Everything is decided by values (``values.py``): of the answer, of the expected one, and of both
with one slip of the pen, which the ledger's mutation engine makes: a term dropped, a power one
off, two letters swapped. Where the right answer with a slip is what was typed, the slip is named;
where what was typed with a piece changed is right, that piece is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import sympy as sp

from kexue.exercises.reading import NODES
from kexue.exercises.values import (
    NoValue,
    Point,
    Values,
    agrees,
    constant,
    named,
    nice_points,
    shown,
    value,
    values,
)
from kexue.ledger.stated import mutants

CLOSE = 0.01  # decimals in a formula: nearly right


@dataclass(frozen=True)
class Question:
    """What a formula is compared with, and where."""

    answer: sp.Expr
    kinds: Mapping[sp.Symbol, str]
    where: Mapping[sp.Symbol, sp.Expr]
    points: list[Point]
    values: Values


def hint(question: Question, typed: sp.Expr) -> tuple[str, str]:
    """(kind, sentence) for a formula that is not the answer."""
    got = values(typed, question.points)
    if sum(x is not None for x in got) < 0.5 * len(got):
        return "undefined", "it has no value at most points where the answer has one"
    for test in (_decimals, _whole, _terms, _slips, _powers, _letters, _close):
        if found := test(question, typed, got):
            return found
    return _at_a_point(question, typed)


def _each(function: Callable, *lists: Values) -> Values:
    """``function`` of the values at each point."""
    out: Values = []
    for xs in zip(*lists, strict=True):
        try:
            out.append(None if None in xs else function(*xs))
        except (ArithmeticError, ValueError):
            out.append(None)
    return out


def _whole(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    right = question.values
    if agrees(_each(lambda x: -x, got), right):
        return "sign", "right up to the sign"
    ratio = constant(_each(lambda x, y: x / y, got, right))
    if ratio is not None and ratio != 0:
        return "factor", f"right up to a constant factor: yours is {named(ratio)} times the answer"
    difference = constant(_each(lambda x, y: y - x, got, right))
    if difference is not None:
        return "constant", f"right up to a constant: add {named(difference)}"
    if agrees(_each(lambda x: x.conjugate(), got), right):
        return "conjugate", "this is the complex conjugate of the answer"
    if agrees(_each(lambda x: 1 / x, got), right):
        return "reciprocal", "this is one over the answer"
    if agrees(got, _each(lambda y: y * y, right)):
        return "square", "this is the square of the answer: a variance for a standard deviation?"
    if agrees(_each(lambda x: x * x, got), right):
        return "root", "this is the square root of the answer: a standard deviation for a variance?"
    return None


def _terms(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    """Terms of the answer that are missing, with the wrong sign or the wrong number before them."""
    missing = _each(lambda x, y: y - x, got, question.values)
    for term in _summands(question.answer):
        ratio = constant(_each(lambda d, t: d / t, missing, values(term, question.points)))
        if ratio is None or ratio == 0:
            continue
        if abs(ratio - 1) < 1e-20:
            return "term", f"a term is missing: {_holds(term)}"
        if abs(ratio - 2) < 1e-20:
            return "term sign", f"one term has the wrong sign: {_holds(term)}"
        return "term factor", f"one term has the wrong number before it: {_holds(term)}"
    for term in _summands(typed):
        if agrees(missing, values(-term, question.points)):
            return "extra term", f"a term is too many: {_plain(term)}"
        if agrees(missing, values(-2 * term, question.points)):
            return "term sign", f"one term has the wrong sign: {_plain(term)}"
    return None


def _summands(e: sp.Expr) -> list[sp.Expr]:
    """The terms of ``e`` as written, and multiplied out."""
    written = sp.Add.make_args(e)
    expanded = sp.Add.make_args(sp.expand(e))
    found = (written if len(written) > 1 else ()) + (expanded if 1 < len(expanded) <= 40 else ())
    return list(dict.fromkeys(found))


def _holds(e: sp.Expr) -> str:
    letters = sorted(s.name for s in e.free_symbols)
    return "it holds " + ", ".join(letters) if letters else "it is a number"


_KINDS = (
    (r"index of (.*) shifted to .*", "index", "an index is off by one, at {0}"),
    (r"(\S+) and (\S+) swapped", "swapped", "two letters are swapped: {0} and {1}"),
    (r"exponent of .* negated", "exponent", "the exponent of an exponential has the wrong sign"),
    (r"factor (.*) dropped", "factor missing", "a factor is missing somewhere: {holds}"),
    (r"(.*) dropped", "term", "a term is missing inside: {holds}"),
    (r"sign of (.*)", "term sign", "a term inside has the wrong sign: {holds}"),
    (r"(.*) doubled", "term factor", "a term inside has a factor too many or too few: {holds}"),
    (r"(.*) to the power .*", "power", "a power is wrong: {holds}"),
    (r"(.*) squared", "power", "a power is wrong: {holds}"),
    (r"(.*) one more", "index", "off by one: {holds}"),
)
_OWN = {
    "index": "an index is off by one",
    "swapped": "two letters are swapped: {0} and {1}",
    "exponent": "the exponent of an exponential has the wrong sign",
    "factor missing": "a factor is too many: {0}",
    "term": "a term is too many: {0}",
    "term sign": "a term has the wrong sign: {0}",
    "term factor": "a term needs a factor 2: {0}",
    "power": "the power is wrong at {0}",
}


def _slips(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    for name, mutant in _mutants(question.answer, question):
        if _same(mutant, got, question.points):
            return _sentence(name, question, None)
    for name, mutant in _mutants(typed, question):
        if _same(mutant, question.values, question.points):
            return _sentence(name, question, _OWN)
    return None


def _mutants(e: sp.Expr, question: Question) -> Iterator[tuple[str, sp.Expr]]:
    if sum(1 for _ in sp.preorder_traversal(e)) <= NODES // 4:
        yield from mutants(e, question.kinds)


def _same(mutant: sp.Expr, wanted: Values, points: list[Point]) -> bool:
    """Whether the mutant has these values; most are dismissed at the first point."""
    if not mutant.free_symbols <= points[0].keys():
        return False
    first = next(i for i, x in enumerate(wanted) if x is not None)
    try:
        if not agrees([value(mutant, points[first])], [wanted[first]]):
            return False
    except NoValue:
        return False
    return agrees(values(mutant, points), wanted)


def _sentence(
    name: str, question: Question, own: Mapping[str, str] | None
) -> tuple[str, str] | None:
    for pattern, kind, words in _KINDS:
        if match := re.fullmatch(pattern, name):
            pieces = [_plain(piece) for piece in match.groups()]
            names = sorted(s.name for s in question.kinds)
            held = [n for n in names if re.search(rf"(?<!\w){re.escape(n)}(?![\w{{])", name)]
            holds = "it holds " + ", ".join(held) if held else "it is a number"
            words = (own or {}).get(kind, words)
            return kind, words.format(*pieces, holds=holds)
    return None


def _powers(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    """A factor that is a power of one letter, perhaps with a number."""
    if not typed.free_symbols:
        return None
    ratio = _each(lambda x, y: x / y, got, question.values)
    for s in question.kinds:
        at = [point[s] for point in question.points]
        for power in (1, -1, 2, -2, 0.5, -0.5):
            rest = _each(lambda r, x, p=power: r / x**p, ratio, at)
            if constant(rest) is not None:
                return "letter factor", f"right up to a factor that is a power of {s.name}"
    return None


def _letters(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    """Letters that the answer depends on and what was typed does not, or the reverse."""
    if question.where:
        return None  # one letter can stand for another
    has, needs = typed.free_symbols, question.answer.free_symbols
    missing, extra = sorted(map(str, needs - has)), sorted(map(str, has - needs))
    if not missing and not extra:
        return None
    words = []
    if missing:
        words.append("the answer depends on " + " and ".join(missing) + ", yours does not")
    if extra:
        words.append("the answer does not depend on " + " or ".join(extra))
    return "letters", "; ".join(words)


def _decimals(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    """Decimals in a formula that were rounded."""
    decimals = any(q.q > 9 for q in typed.atoms(sp.Rational))
    if decimals and agrees(got, question.values, CLOSE):
        return "close", "right up to rounding; write fractions and roots, not decimals"
    return None


def _close(question: Question, typed: sp.Expr, got: Values) -> tuple[str, str] | None:
    if agrees(got, question.values, CLOSE):
        return "close", f"within {100 * CLOSE:g} percent of the answer everywhere, but not equal"
    return None


def _at_a_point(question: Question, typed: sp.Expr) -> tuple[str, str]:
    free = typed.free_symbols | question.answer.free_symbols
    for words, point in nice_points(question.kinds, question.where):
        try:
            yours, right = value(typed, point), value(question.answer, point)
        except NoValue:
            continue
        if agrees([yours], [right], 1e-9):
            continue
        digits = next(d for d in (5, 9, 12) if d == 12 or shown(yours, d) != shown(right, d))
        printed = {s: words.get(s) or shown(point[s]) for s in question.kinds if s in free}
        where = ", ".join(f"{s} = {w}" for s, w in printed.items())
        found = f"yours is {shown(yours, digits)}, the answer {shown(right, digits)}"
        return "differs", f"at {where}: {found}" if where else found
    return "differs", "it differs from the answer at random points"


def _plain(e: sp.Expr | str) -> str:
    """As it is typed."""
    return str(e).replace("**", "^")
