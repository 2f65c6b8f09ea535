"""The five ways to account for a labelled equation: proved, measured, cited, defined, assumed."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kexue.ledger.premises import hand_out
from kexue.ledger.record import Record, expressions
from kexue.symbolic import Verdict, equal

_LABEL = re.compile(r"eq-[a-z0-9]+(-[a-z0-9]+)*")


class Refuted(AssertionError):
    """A check failed; the message holds the counterexample."""


@dataclasses.dataclass
class Outcome:
    """One check as it ran: what mutation testing needs to run it again."""

    record: Record
    refuted: str = ""
    derived: Any = None
    stated: Any = None
    where: Mapping = dataclasses.field(default_factory=dict)
    value: Any = None  # what a premise handed out


_listener: list[Outcome] | None = None
_known: Mapping[str, Outcome] = {}


@contextmanager
def listening(known: Mapping[str, Outcome] | None = None) -> Iterator[list[Outcome]]:
    """Collect the outcomes of checks instead of displaying or raising them.

    ``known`` holds outcomes of an earlier run: a comparison of the very same expressions is not
    made again, its verdict is taken from there.
    """
    global _listener, _known
    before, _listener, _known = (_listener, _known), [], known or {}
    try:
        yield _listener
    finally:
        _listener, _known = before


def defined(label: str, value: Any = None, note: str = "", at: Mapping | None = None) -> Any:
    """Account for ``label`` as a definition and return its ``value``, a premise.

    ``value``: a SymPy expression, a dictionary ``{symbol: expression}``, a tuple, a law such as
    ``Gaussian(mean, var)``; or a function or an array, for checks by measurement. Derive from
    what this returns: mutation testing hands out a wrong value, and what rests on it must fail.
    ``at``: as in ``proved``, where the value is written out for one case of what is printed.
    """
    return _premise(label, "defined", note, value, at=_instances(at))


def assumed(label: str, note: str, value: Any = None) -> Any:
    """Account for ``label`` as an assumption, said in words; returns ``value``, if any."""
    return _premise(label, "assumed", note, value)


def cited(label: str, source: str, key: str = "", value: Any = None) -> Any:
    """Account for ``label`` by a source (``key``: its entry in the bibliography).

    Returns ``value``, if any, as a premise for what follows.
    """
    if not source or not source.strip():
        raise ValueError(f"source: got {source!r}, needs the source of {label} in words")
    return _premise(label, "cited", source, value, key=key)


def proved(
    label: str,
    derived: Any,
    stated: Any,
    by: str = "",
    given: Sequence[str] = (),
    where: Mapping | None = None,
    at: Mapping | None = None,
) -> None:
    """Prove by algebra that ``derived``, which the premises gave, equals ``stated``, as printed.

    ``by`` says how, in words ("from Bayes' rule"); ``given`` lists the labels used; ``where``
    maps dependent symbols to expressions and is substituted in both sides. ``at`` says that only a
    case of the printed equation is proved: ``{"N": 3}`` for a sum up to N, ``{"N": 3, "n":
    range(4)}`` if ``stated`` has a part for each n; the record and the page say so. Raises
    ``Refuted`` with the values at which the two sides differ. If algebra does not settle it and
    50 random points agree to 40 digits, the record says so and is ``measured``, never ``proved``.

    >>> import sympy as sp
    >>> x = sp.Symbol("x")
    >>> proved("eq-demo-square", (x + 1) ** 2, x**2 + 2 * x + 1, by="by expanding")
    eq-demo-square · proved by expanding
    >>> proved("eq-demo-square", (x + 1) ** 2, x**2 + 1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    kexue.ledger.checks.Refuted: eq-demo-square: the two sides differ at x = ...
    """
    _check_labels(label, given)
    where = dict(where or {})
    known = _known.get(label)
    if known and (known.derived, known.stated, known.where) == (derived, stated, where):
        _conclude(dataclasses.replace(known))
        return
    verdict = equal(derived, stated, where)
    kind, how = "proved", by or "by algebra"
    if verdict.status == "agrees":
        kind, how = "measured", verdict.how
    record = Record(label, kind, how, tuple(given), **expressions(stated), at=_instances(at))
    refuted = _counterexample(verdict) if verdict.status == "differs" else ""
    _conclude(Outcome(record, refuted, derived, stated, where))


def measured(
    label: str,
    left: Any,
    right: Any,
    tolerance: Any,
    error_bar: Any = None,
    by: str = "",
    given: Sequence[str] = (),
) -> None:
    """Measure that ``left`` and ``right`` agree within ``tolerance`` at every entry.

    Both are numbers, arrays or tensors of one shape, or functions without arguments that return
    such. For Monte Carlo give ``error_bar``, the standard error of ``left - right`` (a number or
    an array): a tolerance above 5 error bars is refused, since it could hide a real difference.
    A tolerance so wide that zeros in place of ``right`` would pass is refused too. Raises
    ``Refuted`` with the worst entry.
    """
    import numpy as np

    _check_labels(label, given)
    a, b = _array("left", left), _array("right", right)
    allowed = _array("tolerance", tolerance)
    if not (allowed > 0).all():
        raise ValueError(f"tolerance: got {tolerance!r}, needs positive numbers")
    if a.shape != b.shape:
        raise ValueError(f"right: got shape {b.shape}, needs {a.shape} like left")
    gap = np.abs(a - b)
    allowed = np.broadcast_to(allowed, gap.shape)
    size = max(np.abs(b).max(), 0.0)
    worst = int(np.argmax(gap - allowed))
    refuted = ""
    if error_bar is not None:
        bar = np.broadcast_to(_array("error_bar", error_bar), gap.shape)
        wide = int(np.argmax(allowed - 5 * bar))
        if allowed.flat[wide] > 5 * bar.flat[wide]:
            refuted = (
                f"tolerance {allowed.flat[wide]:.3g} is wider than 5 error bars "
                f"of {bar.flat[wide]:.3g}: it could hide a real difference"
            )
    if not refuted and size > 0 and allowed.max() >= size:
        refuted = f"tolerance {allowed.max():.3g} >= largest value {size:.3g}: zeros would pass"
    if not refuted and not (gap <= allowed).all():
        refuted = (
            f"left and right differ by {gap.flat[worst]:.3g} > {allowed.flat[worst]:.3g} at entry "
            f"{worst}: {a.flat[worst]:.8g} against {b.flat[worst]:.8g}"
        )
    limit = float(f"{allowed.max():.2g}")
    detail = {"tolerance": limit, "points": int(gap.size), "monte_carlo": error_bar is not None}
    _conclude(Outcome(Record(label, "measured", by, tuple(given), **detail), refuted))


def _premise(label: str, kind: str, how: str, value: Any, **extra: Any) -> Any:
    _check_labels(label)
    fields = {}
    try:
        fields = {} if value is None else expressions(value)
    except TypeError:
        if not callable(value) and not hasattr(value, "dtype"):
            raise
    _conclude(Outcome(Record(label, kind, how, **fields, **extra), value=value))
    return hand_out(label, value)


def _conclude(outcome: Outcome) -> None:
    if _listener is not None:
        _listener.append(outcome)
        return
    if outcome.refuted:
        raise Refuted(f"{outcome.record.label}: {outcome.refuted}")
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display(outcome.record)
    else:
        print(outcome.record.line())


def _check_labels(label: str, given: Sequence[str] = ()) -> None:
    if isinstance(given, str):
        raise TypeError(f"given: got the string {given!r}, needs a list of labels")
    for name, one in [("label", label), *(("given", g) for g in given)]:
        if not isinstance(one, str) or not _LABEL.fullmatch(one):
            raise ValueError(f"{name}: got {one!r}, needs a label like 'eq-ddpm-posterior-mean'")
    if label in given:
        raise ValueError(f"given: got {label!r} itself, needs the labels it rests on")


def _instances(at: Mapping | None) -> dict[str, tuple[int, ...]]:
    """TeX name -> the values that a check took for it."""
    found = {}
    for name, values in (at or {}).items():
        values = tuple(values) if isinstance(values, Iterable) else (values,)
        if not values or not all(type(v) is int for v in values):
            raise ValueError(f"at[{name}]: got {at[name]!r}, needs an int or several, as range(4)")
        found[str(name)] = values
    return found


def _counterexample(verdict: Verdict) -> str:
    part = f" in {verdict.part}" if verdict.part else ""
    at = ", ".join(f"{symbol} = {value}" for symbol, value in verdict.point.items())
    values = f"{verdict.left.evalf(8)} derived, {verdict.right.evalf(8)} stated"
    return f"the two sides differ{part}" + (f" at {at}: {values}" if at else f": {values}")


def _array(name: str, value: Any) -> Any:
    import numpy as np

    if callable(value):
        value = value()
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: got {type(value).__name__}, needs real numbers") from error
    if array.size == 0:
        raise ValueError(f"{name}: got an empty array, needs numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinite values, needs finite ones")
    return array
