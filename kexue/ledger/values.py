"""What a check compares: an expression, or a dictionary, tuple, matrix or law of expressions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp


def flatten(value: Any) -> tuple[list[sp.Expr], Callable[[list], Any]]:
    """Return the scalar expressions inside ``value`` and the function that puts them back.

    A law is any dataclass whose fields are expressions, such as ``Gaussian(mean, var)``. Raises
    ``TypeError`` for what is not made of SymPy expressions and numbers.

    >>> leaves, rebuild = flatten({"m": sp.Symbol("a"), "v": (1, 2)})
    >>> leaves
    [a, 1, 2]
    >>> rebuild([0, 1, 2])
    {'m': 0, 'v': (1, 2)}
    """
    if isinstance(value, Mapping):
        keys, children = list(value), list(value.values())
        make = lambda new: dict(zip(keys, new, strict=True))  # noqa: E731
    elif isinstance(value, (tuple, list)):
        children, make = list(value), type(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [getattr(value, f.name) for f in dataclasses.fields(value)]
        make = lambda new: type(value)(*new)  # noqa: E731
    elif isinstance(value, sp.MatrixBase):
        children = list(value)
        make = lambda new: type(value)(*value.shape, new)  # noqa: E731
    elif isinstance(value, sp.core.relational.Relational):
        children, make = list(value.args), lambda new: value.func(*new)
    else:
        return [scalar(value)], lambda new: new[0]
    inner = [flatten(child) for child in children]

    def rebuild(leaves: list) -> Any:
        rest, new = list(leaves), []
        for mine, build in inner:
            new.append(build(rest[: len(mine)]))
            rest = rest[len(mine) :]
        return make(new)

    return [leaf for mine, _ in inner for leaf in mine], rebuild


def scalar(value: Any) -> sp.Expr:
    """Return ``value`` as a SymPy expression; refuses strings, arrays and everything else."""
    if not isinstance(value, str):
        try:
            value = sp.sympify(value, strict=True)
        except sp.SympifyError:
            pass
        else:
            if isinstance(value, sp.Expr):
                return value
    raise TypeError(
        f"value: got {value!r} of type {type(value).__name__}, needs a SymPy expression, "
        "a number, or a dictionary, tuple, matrix or law made of them"
    )


def part_names(value: Any) -> list[str]:
    """Return a name for each leaf of ``flatten(value)``: keys, fields of a law, places.

    >>> part_names(({"a": 1}, 2)), part_names(3)
    (['a in part 1', 'part 2'], ['value'])
    """
    if isinstance(value, Mapping):
        children = [(str(key), child) for key, child in value.items()]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, (tuple, list, sp.MatrixBase)):
        children = [(f"part {i}", child) for i, child in enumerate(value, 1)]
    elif isinstance(value, sp.core.relational.Relational):
        children = list(zip(("left side", "right side"), value.args, strict=True))
    else:
        return ["value"]
    names = []
    for name, child in children:
        inner = part_names(child)
        names += [name] if inner == ["value"] else [f"{one} in {name}" for one in inner]
    return names
