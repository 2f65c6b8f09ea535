"""Are two sides equal? Refuted at a point, proved by algebra, or only measured to agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy as sp

from kexue.symbolic._parts import apply_given, atomize, match
from kexue.symbolic._points import DIGITS, sampled
from kexue.symbolic._rewrites import zero_by

POINTS = 50  # of the certificate "agrees, not proved"
FIRST = 6  # tried before any algebra: almost every wrong sign dies here


@dataclass(frozen=True)
class Verdict:
    """What ``equal`` found. Only a proof is true in a condition: ``if equal(left, right):``.

    Attributes
    ----------
    status
        ``"proved"``: algebra reduced left - right to zero. ``"agrees"``: it did not, but the
        sides agree at 50 random points to 40 digits; this is a measurement. ``"differs"``:
        ``point`` is a counterexample.
    how
        One phrase for the reader: the algebra used, the certificate, or the counterexample.
    part
        Which part differs or resisted (``"mean"``, ``"[1]"``, ``"[0, 2]"``); empty for a scalar.
    point
        Counterexample: symbol (or undefined function, derivative) -> its value.
    left, right
        The values of the two sides at ``point``, after ``given``, to 40 digits.
    """

    status: Literal["proved", "agrees", "differs"]
    how: str
    part: str = ""
    point: Mapping[sp.Expr, sp.Expr] = field(default_factory=dict)
    left: sp.Expr | None = None
    right: sp.Expr | None = None

    def __bool__(self) -> bool:
        return self.status == "proved"

    def __str__(self) -> str:
        return f"{self.status}: {self.how}"


def equal(left: Any, right: Any, given: Mapping[Any, Any] | None = None) -> Verdict:
    r"""Decide whether two sides are equal, and say how that is known.

    Random points come first, evaluated to 40 digits: they refute a wrong side cheaply and give
    the counterexample. Then algebra, until left - right is literally 0: expansion over a common
    denominator, ``simplify``, rewritten families (exponentials and logarithms, roots,
    trigonometric, gamma, sums). If none gives 0, 50 points certify agreement, which is
    evidence, not proof. Points are the same on every call.

    Parameters
    ----------
    left, right
        Scalar expressions, ``Gaussian`` laws, matrices, or tuples, lists and dicts of these,
        both of one shape. Sums, integrals and derivatives are evaluated where SymPy can; an
        undefined function, its derivatives and what cannot be evaluated because of them count
        as independent unknowns.
    given
        Dependent symbol (or applied undefined function) -> expression, substituted in **both**
        sides, repeatedly if the expressions hold further keys.

    Raises
    ------
    TypeError
        A side, or a key or value of ``given``, is not of a kind listed above.
    ValueError
        The shapes differ, a side holds a floating-point number (write ``Rational(1, 10)``),
        ``given`` is circular, or no point was found where both sides are defined.

    Notes
    -----
    A symbol without assumptions stands for any complex number: for $\sqrt{x^2} = x$ say
    ``positive=True``. A bounded symbol is best written through a free one, as
    ``given={p: 1 / (1 + u)}`` with u positive. A singular point of either side is sampled again,
    so that a removable singularity is no false alarm; equality is claimed off such points.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x, y = symbols("x y", real=True)
    >>> str(equal((x**2 - y**2) / (x - y), x + y))
    'proved: by expansion over a common denominator'
    >>> verdict = equal(x**2, x**2 - x)
    >>> verdict.status, bool(verdict), sorted(map(str, verdict.point))
    ('differs', False, ['x'])
    >>> a, A, A1 = symbols(r"\alpha_t \bar{\alpha}_t \bar{\alpha}_{t-1}", positive=True)
    >>> bool(equal(A / A1, a, given={A: a * A1}))
    True
    """
    pairs = match(left, right)
    sides = apply_given(given, [side for _, lhs, rhs in pairs for side in (lhs, rhs)])
    prepared = [
        (part, *atomize(lhs, rhs))
        for (part, _, _), lhs, rhs in zip(pairs, sides[::2], sides[1::2], strict=True)
    ]
    tested = []
    for part, lhs, rhs, atoms in prepared:
        points, bad = _points(part, lhs, rhs, atoms, range(FIRST))
        if bad is not None:
            return bad
        tested.append(points)
    proofs: dict[str, None] = {}  # an ordered set
    resisting: dict[str, int] = {}
    for (part, lhs, rhs, atoms), points in zip(prepared, tested, strict=True):
        how = zero_by(lhs, rhs)
        if how is not None:
            proofs[how] = None
            continue
        last = POINTS if points else 2 * FIRST  # where nothing has a value, look a little longer
        more, bad = _points(part, lhs, rhs, atoms, range(FIRST, last))
        if bad is not None:
            return bad
        if points + more == 0:
            raise ValueError(
                f"left, right: got {lhs} and {rhs}, which have no value at any random point "
                "tried, needs sides that can be evaluated"
            )
        resisting[part] = points + more if lhs.free_symbols | rhs.free_symbols else 0
    if not resisting:
        return Verdict("proved", "by " + ", ".join(proofs))
    part, points = min(resisting.items(), key=lambda item: item[1])
    where = f"at {points} random points " if points else ""
    how = f"not proved, agrees {where}to {DIGITS} digits"
    return Verdict("agrees", how, part=part)


def _points(
    part: str, lhs: sp.Expr, rhs: sp.Expr, atoms: Mapping[sp.Dummy, sp.Expr], which: range
) -> tuple[int, Verdict | None]:
    """How many of the numbered points were evaluated, and the first at which the sides differ."""
    count = 0
    for point, left, right, same in sampled(lhs, rhs, which):
        count += 1
        if not same:
            shown = {atoms.get(s, s): v for s, v in point.items()}
            left, right = left.evalf(DIGITS), right.evalf(DIGITS)
            texts = [(str(left.evalf(k)), str(right.evalf(k))) for k in (8, 20, DIGITS)]
            texts = next((pair for pair in texts if pair[0] != pair[1]), texts[-1])
            where = ", ".join(f"{k} = {v}" for k, v in shown.items())
            how = (f"{part}: " if part else "") + (f"at {where}, " if where else "")
            how += f"left = {texts[0]}, right = {texts[1]}"
            return count, Verdict("differs", how, part, shown, left, right)
    return count, None
