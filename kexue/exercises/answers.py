"""The answers of a chapter's exercises: declared by the author, asked for by the reader."""

from __future__ import annotations

import html
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from kexue._check import real as real_number
from kexue.exercises.hints import Question, hint
from kexue.exercises.letters import KINDS, declared
from kexue.exercises.numbers import compare_numbers
from kexue.exercises.reading import TERMS, read_answer, read_sympy, terms
from kexue.exercises.tokens import Unreadable
from kexue.exercises.values import AGREE, POINTS, agrees, points, values

LABEL = re.compile(r"ex(-[a-z0-9]+){2,}(:[A-Za-z]\w*)?")
ALGEBRA = 120  # numbers, letters and operations: what is longer is not proved, only compared


@dataclass(frozen=True)
class Expected:
    """A declared answer. ``letters``: name as typed -> symbol; see :func:`expect`."""

    label: str
    text: str
    letters: Mapping[str, sp.Symbol]
    within: float
    question: Question


@dataclass(frozen=True)
class Reply:
    """What :func:`check_answer` found; true if the answer is right.

    ``kind`` names the hint: ``right``, ``unread``, ``sign``, ``factor``, ``constant``, ``term``,
    ``letters``, ``power of ten``, ``differs``, and so on; ``words`` is the sentence.
    """

    label: str
    kind: str
    words: str

    def __bool__(self) -> bool:
        return self.kind == "right"

    def _parts(self) -> tuple[str, str]:
        head = {"right": "right", "unread": "not read"}.get(self.kind, "not yet")
        return head, f": {self.words}" if self.words else ""

    def __repr__(self) -> str:
        return f"{self.label} · {''.join(self._parts())}"

    def _repr_html_(self) -> str:
        head, rest = self._parts()
        quiet = "" if self else ' style="border-color:currentColor"'  # green is for what is right
        return (
            f'<div class="kx-check kx-answer"{quiet}><code>{html.escape(self.label)}</code> · '
            f"<b>{head}</b>{html.escape(rest)}</div>"
        )


@dataclass(frozen=True)
class Answers:
    """What can be checked; made by :func:`expect` and shown as one quiet line.

    ``letters``: label -> the letters of the answer, as typed. The labels are in the HTML, too
    (``data-answers``), for the site's build.
    """

    letters: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        count = len(self.letters)
        return f"{count} answer{'s' * (count != 1)} can be checked: {', '.join(self.letters)}"

    def _repr_html_(self) -> str:
        data, line = html.escape(" ".join(self.letters)), html.escape(repr(self))
        return f'<div class="kx-check kx-answers" data-answers="{data}">{line}</div>'


_declared: dict[str, Expected] = {}  # filled by the chapter's cell tagged `answers`


def expect(
    label: str,
    answer: str | float | sp.Expr,
    *,
    positive: str = "",
    real: str = "",
    unit: str = "",
    natural: str = "",
    where: Mapping[str, str] | None = None,
    within: float = 1e-3,
) -> Answers:
    r"""Declare the answer of an exercise, in the chapter's folded cell tagged ``answers``.

    Parameters
    ----------
    label
        ``"ex-fp-3"``, the label of the exercise; ``"ex-fp-3:mean"`` if it asks for several things.
    answer
        A number, or a formula as a reader would type it: ``"sigma^2/(2*theta)"``, or in TeX.
    positive, real, unit, natural
        The letters by kind: positive, real, between 0 and 1, or 1, 2, 3, ...; as typed
        (``"alphabar_t betabar_{t-1}"``) or in TeX. A letter that the answer does not hold may be
        among them.
    where
        Letters that depend on others: ``{"betabar_t": "sqrt(1 - alphabar_t^2)"}``. An answer may
        use either.
    within
        Relative tolerance of an answer that is a number; a formula must be equal.

    Returns
    -------
    Answers
        All that was declared so far, shown as one line at the end of the cell.

    Raises
    ------
    TypeError, ValueError
        The label is not of the form above, a letter is declared twice or not at all, the formula is
        not read or has no value.

    Examples
    --------
    >>> expect("ex-demo-1", "sigma^2/(2*theta)", positive="sigma theta")
    1 answer can be checked: ex-demo-1
    >>> check_answer("ex-demo-1", "0.5 sigma sigma/theta")
    ex-demo-1 · right: the same by algebra
    >>> check_answer("ex-demo-1", r"\frac{\sigma^2}{\theta}")
    ex-demo-1 · not yet: right up to a constant factor: yours is 2 times the answer
    """
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise ValueError(f"label: got {label!r}, needs the form ex-chapter-1 or ex-chapter-1:part")
    within = real_number("within", within, 0.0, 0.5)
    letters: dict[str, sp.Symbol] = {}
    kinds: dict[sp.Symbol, str] = {}
    words = {"positive": positive, "real": real, "unit": unit, "natural": natural}
    for kind in KINDS:
        for name, symbol in declared(words[kind], kind):
            if name in letters:
                raise ValueError(f"{kind}: got {name!r} twice, needs each letter once")
            letters[name], kinds[symbol] = symbol, kind
    try:
        formula, text = _read(answer, letters)
        rules = {letters[k]: _read(v, letters)[0] for k, v in (where or {}).items()}
    except Unreadable as error:
        raise ValueError(f"answer: got {answer!r}, needs a formula: {error}") from None
    except KeyError as error:
        raise ValueError(f"where: got the key {error}, needs a letter that is declared") from None
    at = points(kinds, rules)
    known = values(formula, at)
    if len(at) < POINTS or None in known:
        bad = POINTS - len(at) + known.count(None)
        raise ValueError(
            f"answer: got {text!r}, which has no value at {bad} of {POINTS} random points, needs "
            "one wherever its letters are of their kind"
        )
    question = Question(formula, kinds, rules, at, known)
    _declared[label] = Expected(label, text, letters, within, question)
    return Answers({k: tuple(e.letters) for k, e in _declared.items()})


def check_answer(label: str, answer: Any) -> Reply:
    r"""Is this the answer of the exercise? The reply says so, or says what is wrong with it.

    Parameters
    ----------
    label
        One that the chapter's cell of answers lists, such as ``"ex-ddpm-2:a"``.
    answer
        A string, plain or in TeX (``"sigma^2/(2 theta)"``, ``r"\frac{\sigma^2}{2\theta}"``), a
        SymPy expression, or a number, also of NumPy or torch. Nothing in a string is executed.

    Returns
    -------
    Reply
        True if right. A formula is right if it agrees with the expected one at 24 random points to
        30 digits; algebra then tries to prove it, by multiplying out, and the reply says whether it
        did. A number is right within the exercise's tolerance. The time is bounded: whatever could
        be long is refused when it is read.

    Raises
    ------
    ValueError
        The label is not known: the cell of answers was not run, or a slip.
    TypeError
        The answer is neither a string nor an expression nor one number.
    """
    if not isinstance(label, str) or label not in _declared:
        known = ", ".join(_declared) or "nothing yet; run the cell at the head of the exercises"
        raise ValueError(f"label: got {label!r}, needs one of those declared: {known}")
    expected = _declared[label]
    _check_type(answer)
    try:
        typed, text = _read(answer, expected.letters)
    except Unreadable as error:
        return Reply(label, "unread", str(error))
    return Reply(label, *_compare(expected, typed, text))


def _check_type(answer: Any) -> None:
    if isinstance(answer, str | sp.Expr) and not isinstance(answer, sp.MatrixExpr):
        return
    shape = tuple(getattr(answer, "shape", ()))
    one = hasattr(answer, "item") and math.prod(shape) == 1  # of NumPy or torch
    number = one or isinstance(answer, numbers.Complex)
    if number and not isinstance(answer, bool) and "bool" not in str(getattr(answer, "dtype", "")):
        return
    what = f"shape {shape}" if shape else type(answer).__name__
    raise TypeError(f"answer: got {what}, needs a formula in a string, an expression or one number")


def _read(answer: Any, letters: Mapping[str, sp.Symbol]) -> tuple[sp.Expr, str]:
    """The formula, and the text that was typed."""
    if isinstance(answer, str):
        return read_answer(answer, letters), answer
    if isinstance(answer, sp.Basic):
        return read_sympy(answer, letters), str(answer)
    number = answer.item() if hasattr(answer, "item") else answer
    if isinstance(number, numbers.Rational):
        return read_answer(f"{number.numerator}/{number.denominator}", letters), str(number)
    number = complex(number)
    parts = [f"{x:.17g}" for x in (number.real, number.imag)]
    if not all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", x) for x in parts):
        raise Unreadable(f"{answer!r} is not a finite number")
    text = parts[0] if number.imag == 0 else f"{parts[0]} + ({parts[1]}) i"
    return read_answer(text, {}), repr(number.real) if number.imag == 0 else text


def _compare(expected: Expected, typed: sp.Expr, text: str) -> tuple[str, str]:
    """(kind, sentence)."""
    question = expected.question
    if not question.answer.free_symbols and not typed.free_symbols:
        return compare_numbers(question.answer, typed, text, expected.within)
    if not agrees(values(typed, question.points), question.values):
        return hint(question, typed)
    if _proved(question, typed):
        return "right", "the same by algebra"
    return "right", f"agrees at {POINTS} random points to {AGREE} digits"


def _proved(question: Question, typed: sp.Expr) -> bool:
    """Whether the difference is 0 once it is multiplied out over a common denominator.

    That is the one method of ``kexue.symbolic.equal`` whose time can be known in advance; its
    others prove more, but nobody knows when they end.
    """
    difference = typed - question.answer
    for _ in question.where:
        difference = difference.subs(question.where, simultaneous=True)
    if sum(1 for _ in sp.preorder_traversal(difference)) > ALGEBRA:
        return False
    for d in (difference, difference.rewrite(sp.exp)):
        numerator = sp.fraction(sp.together(d))[0]
        if terms(numerator) <= TERMS / 10 and sp.powsimp(sp.expand(numerator)) == 0:
            return True
    return False
