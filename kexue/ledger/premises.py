"""Wrong premises: what a check rests on is handed out wrong, and the check must notice."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sympy as sp

from kexue.ledger.values import flatten, part_names

VARIABLE = "KEXUE_PREMISE"  # "label:k", for a run in another process
_wrong: tuple[str, int] | None = None


@contextmanager
def mutating(label: str, k: int = 0) -> Iterator[None]:
    """Within this context the premise ``label`` is handed out wrong, in its ``k``-th way.

    Whatever rests on the premise must then be refuted; what still passes does not rest on it.

    >>> from kexue.ledger import defined
    >>> with mutating("eq-demo-slope"):
    ...     defined("eq-demo-slope", 2)
    eq-demo-slope · defined
    3
    """
    global _wrong
    before, _wrong = _wrong, (label, k)
    try:
        yield
    finally:
        _wrong = before


def wrong_premise() -> tuple[str, int] | None:
    """The premise now handed out wrong, from ``mutating`` or from the environment."""
    if _wrong is None and (text := os.environ.get(VARIABLE)):
        label, _, k = text.partition(":")
        return label, int(k or 0)
    return _wrong


def hand_out(label: str, value: Any) -> Any:
    """Return ``value``, or its wrong version if ``label`` is the premise being mutated."""
    wrong = wrong_premise()
    if wrong is None or wrong[0] != label or value is None:
        return value
    return faults(value)[wrong[1]][1]


def faults(value: Any) -> list[tuple[str, Any]]:
    """Return the ways to get ``value`` wrong, as (what was done, the wrong value).

    Each part in turn times 3/2, then each part plus 1. A function is wrapped, so that its result
    or one of its arguments is wrong; arrays and tensors are scaled and shifted whole.
    """
    if callable(value) and not isinstance(value, (sp.Basic, sp.MatrixBase)):
        found = [(f"result {name}", _wrapped(value, change)) for name, change in _CHANGES]
        for i, name in enumerate(_parameters(value)):
            found.append((f"{name} times 3/2", _wrapped(value, _CHANGES[0][1], argument=i)))
        return found
    if hasattr(value, "dtype"):
        return [(name, change(value)) for name, change in _ARRAY_CHANGES]
    leaves, rebuild = flatten(value)
    names = part_names(value)
    found = []
    for what, change in _CHANGES:
        for i, leaf in enumerate(leaves):
            new = change(leaf)
            if new != leaf:
                found.append((f"{names[i]} {what}", rebuild([*leaves[:i], new, *leaves[i + 1 :]])))
    return found


_HALF_MORE = sp.Rational(3, 2)
_CHANGES = [("times 3/2", lambda e: e * _HALF_MORE), ("plus 1", lambda e: e + 1)]
_ARRAY_CHANGES = [("times 3/2", lambda a: a * 1.5), ("plus 1", lambda a: a + 1)]


def _wrapped(function: Callable, change: Callable, argument: int | None = None) -> Callable:
    """The function with its result, or the positional argument of that number, changed."""

    def spoil(value: Any) -> Any:
        if hasattr(value, "dtype"):
            return value * float(change(2) - change(0)) / 2 + float(change(0))
        leaves, rebuild = flatten(value)
        return rebuild([change(leaf) for leaf in leaves])

    def wrong(*args: Any, **kwargs: Any) -> Any:
        if argument is None:
            return spoil(function(*args, **kwargs))
        spoiled = [spoil(a) if i == argument else a for i, a in enumerate(args)]
        return function(*spoiled, **kwargs)

    return wrong


def _parameters(function: Callable) -> list[str]:
    """Names of the positional parameters, none if they cannot be known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
