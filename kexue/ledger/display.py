r"""A printed display as equations, and the expressions that it states."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from kexue.ledger import tex
from kexue.ledger.reader import scalar
from kexue.ledger.tex import Unread
from kexue.symbolic import Gaussian

RELATIONS = {"=", r"\sim", r"\equiv", ":="}
REFUSED = {r"\approx", r"\propto", r"\le", r"\leq", r"\ge", r"\geq", "<", ">", r"\to", r"\neq"}


def equations(text: str) -> list[list[list]]:
    """A display as equations, each a chain of sides; continued lines are put together."""
    nodes, i = [], 0
    raw = tex.tree(text)
    while i < len(raw):
        node = raw[i]
        if node in (r"\begin", r"\end"):
            if tex.flat(raw[i + 1]) not in ("aligned", "gathered", "split"):
                raise Unread(f"environment {tex.flat(raw[i + 1])}")
            i += 2
            continue
        if node in (r"\label", r"\tag"):
            i += 2
            continue
        nodes.append(":=" if raw[i : i + 2] == [":", "="] else node)
        i += 2 if nodes[-1] == ":=" else 1
    lines: list[list] = []
    for line in tex.split(nodes, (r"\\", r"\quad", r"\qquad")):
        while line and line[-1] in (",", ".", ";"):
            line = line[:-1]
        if not line or all(n == r"\text" or isinstance(n, list) for n in line):
            continue
        if lines and isinstance(line[0], str) and line[0] in {*RELATIONS, "+", "-"}:
            lines[-1] += line
        else:
            lines.append(line)
    for line in lines:
        wrong = [n for n in line if isinstance(n, str) and n in REFUSED]
        if wrong:
            raise Unread(f"relation {wrong[0]}")
    return [tex.split(line, RELATIONS) for line in lines]


def read(
    chains: list[list[list]],
    table: Mapping[str, Any],
    names: Mapping[str, Any],
    log_density: bool = False,
) -> list[list[sp.Expr]]:
    r"""The expressions a display states: for each, the readable right sides of its chain.

    An equation for a symbol that no record knows, such as ``\tilde\mu = ...`` beside a law
    that uses it, is an abbreviation of this display: it is put into the others.
    """
    local, short = {**names, **table}, {}
    for sides in chains:
        name = bare_name(sides[0])
        if name and name[0] not in table and len(sides) > 1 and not law(sides, table):
            symbol = sp.Symbol(name[0], positive=True)
            local[name[0]] = symbol
            short[symbol] = (sides, name[1])
    values = {}
    for symbol, (sides, power) in short.items():
        values[symbol] = scalar(sides[-1], local) ** sp.Rational(1, power)
    found, used = [], set()
    for sides in chains:
        normal = law(sides, local)
        chain = []
        for group in [normal[1:]] if normal else [[side] for side in (sides[1:] or sides)]:
            chain.append([scalar(side, local) for side in group])
        if normal and normal[0] and log_density:
            chain = [[Gaussian(*chain[0]).log(scalar(normal[0], local))]]
        free = set().union(*(e.free_symbols for group in chain for e in group))
        mine = next((s for s, (other, _) in short.items() if other is sides), None)
        used |= free & set(short)
        found.append((mine, chain))
    out = []
    for mine, chain in found:
        if mine in used:
            continue
        for part in zip(*chain, strict=True):
            out.append([e.subs(values) for e in part])
    return out


def bare_name(side: Sequence) -> tuple[str, int] | None:
    """(spelling, power) if a side is one symbol, possibly to a power: ``\\tilde\\beta_t^2``."""
    nodes, power = list(side), 1
    if len(nodes) > 2 and nodes[-2] == "^":
        digits = tex.flat(nodes[-1])
        if not digits.isdigit():
            return None
        nodes, power = nodes[:-2], int(digits)
    pattern = r"(\\[A-Za-z]+ ?)?(\\[A-Za-z]+|[A-Za-z])(_(\w|\\[A-Za-z]+|\{[^{}]*\}))?"
    name = tex.flat(nodes)
    return (name, power) if re.fullmatch(pattern, name) else None


def call(side: list) -> tuple[list, list[list]]:
    r"""``\mu(x, y)`` as its name and its arguments; no arguments if it is anything else."""
    if side[-1:] == [")"] and "(" in side[1:]:
        start = side.index("(")
        if tex.closing(side, start) == len(side) - 1:
            return side[:start], tex.split(side[start + 1 : -1], ",")
    return side, []


def law(sides: list[list], table: Mapping[str, Any]) -> list[list] | None:
    r"""[y, mean, variance] if the last side is ``\mathcal N(y; m, V I)``, y or []; else None."""
    right = sides[-1]
    head = 2 if right[:1] in ([r"\mathcal"], [r"\mathscr"]) else 1
    letter = tex.flat(right[:head])
    if letter not in (r"\mathcal N", "N") or letter in table or right[head : head + 1] != ["("]:
        return None
    if tex.closing(right, head) != len(right) - 1:
        return None
    inside = tex.split(right[head + 1 : -1], (";", "|"))
    parameters = tex.split(inside[-1], (",",))
    if len(inside) > 2 or len(parameters) != 2:
        raise Unread("a normal law that is not N(mean, variance) or N(y; mean, variance)")
    if len(inside) == 2 and len(sides) > 1:
        claimed = _first_argument(sides[-2])
        if claimed is not None and claimed != tex.flat(inside[0]):
            raise Unread(f"a law of {claimed} whose density is taken at {tex.flat(inside[0])}")
    mean, variance = parameters
    if "I" not in table:
        if tex.flat(variance[-2:]) in (r"\mathbf I", r"\boldsymbol I"):
            variance = variance[:-2] or ["1"]
        elif variance[-1:] == ["I"]:
            variance = variance[:-1] or ["1"]
    return [inside[0] if len(inside) == 2 else [], mean, variance]


def _first_argument(side: list) -> str | None:
    """What p(... | ...) is a law of."""
    for i, node in enumerate(itertools.islice(side, 3)):
        if node == "(":
            return tex.flat(tex.split(side[i + 1 : tex.closing(side, i)], ("|", ",", ";"))[0])
    return None
