r"""Mutation of what is stated: change the printed expression, and the check must refuse it.

This tests the comparison, not the derivation: a formula compared with itself passes it. The test
with teeth is the mutation of premises (``sweep``).
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from kexue.ledger.checks import Outcome
from kexue.ledger.tex import spelling
from kexue.ledger.values import flatten
from kexue.symbolic import equal


@dataclasses.dataclass
class Score:
    """How the mutants of one stated expression fared."""

    label: str
    killed: int = 0
    equivalent: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    survived: list[str] = dataclasses.field(default_factory=list)
    flat: list[str] = dataclasses.field(default_factory=list)  # parts that are 0 under `where`

    @property
    def total(self) -> int:
        """Mutants that are another expression than the stated one."""
        return self.killed + len(self.equivalent) + len(self.survived)


def score_stated(
    outcome: Outcome,
    sample: int | None = None,
    seed: int = 0,
    table: Iterable[sp.Symbol] = (),
) -> Score:
    """Mutate each part of a proved statement and run the comparison of the check again.

    A mutant that is the same function as the statement is no mutant and is not counted. One that
    equals it only once ``where`` is substituted is listed as equivalent, with the premise that
    makes it so. ``sample`` limits the number of mutants, drawn at random; ``table`` holds the
    chapter's symbols.
    """
    label, where = outcome.record.label, outcome.where
    score = Score(label)
    stated, rebuild = flatten(outcome.stated)
    jobs = []
    for i, e in enumerate(stated):
        if e != 0 and equal(e, 0, where):
            score.flat.append(str(e))
        for name, mutant in mutants(e, table):
            try:
                jobs.append((name, rebuild([*stated[:i], mutant, *stated[i + 1 :]])))
            except ValueError:  # a law refuses it: a negative variance cannot even be written
                continue
    if sample is not None and sample < len(jobs):
        jobs = random.Random(f"{seed} {label}").sample(jobs, sample)
    for name, mutant in jobs:
        if _refused(outcome.derived, mutant, where):
            score.killed += 1
        elif _refused(outcome.stated, mutant, {}):  # another function than the stated one
            if _refused(outcome.stated, mutant, where):
                score.survived.append(name)
            else:
                score.equivalent.append((name, _reason(outcome.stated, mutant, where)))
    return score


def _refused(left: Any, right: Any, where: Mapping) -> bool:
    """Whether the comparison that ``proved`` makes would refuse these two."""
    try:
        return equal(left, right, where).status == "differs"
    except ValueError:  # no value at any point: a check would raise
        return True


def _reason(stated: Any, mutant: Any, where: Mapping) -> str:
    """Which premises make a mutant equal to the statement: a smallest set of them, in words."""
    for size in range(1, len(where) + 1):
        for keys in itertools.combinations(where, size):
            if not _refused(stated, mutant, {k: where[k] for k in keys}):
                return "equal once " + " and ".join(f"{k} = {where[k]}" for k in keys)
    return "equal under all premises together"


def mutants(e: sp.Expr, table: Iterable[sp.Symbol] = ()) -> Iterator[tuple[str, sp.Expr]]:
    r"""Yield (what was changed, the changed expression), each changed expression once.

    A term with the other sign, dropped or doubled; a factor dropped; a power one more, one less
    or inverted; an exponent negated, a conjugate dropped; a derivative one order lower or higher;
    the whole negated, doubled, halved; two symbols swapped; an index shifted by one, per
    occurrence, read off the TeX names (``\beta_t`` for ``\beta_{t-1}``, ``a_2`` for ``a_1`` if
    both are in ``table``); an integer one more.

    >>> x, y = sp.symbols("x y")
    >>> [str(m) for _, m in mutants(x * y**2)][:3]
    ['y**2', 'x', 'x**2*y**2']
    """
    seen = {e}
    for name, mutant in _mutants(e, {spelling(s.name): s for s in table}):
        if mutant not in seen and not mutant.has(sp.zoo, sp.nan, sp.oo):
            seen.add(mutant)
            yield name, mutant


def _mutants(e: sp.Expr, table: Mapping[str, sp.Symbol]) -> Iterator[tuple[str, sp.Expr]]:
    sites = list(_sites(e))
    for path, node in sites:
        if node.is_Add:
            for i, term in enumerate(node.args):
                rest = sp.Add(*node.args[:i], *node.args[i + 1 :])
                yield f"sign of {term}", _put(e, path, rest - term)
                yield f"{term} dropped", _put(e, path, rest)
                yield f"{term} doubled", _put(e, path, rest + 2 * term)
        elif node.is_Mul:
            for i, factor in enumerate(node.args):
                if factor != -1:
                    rest = sp.Mul(*node.args[:i], *node.args[i + 1 :])
                    yield f"factor {factor} dropped", _put(e, path, rest)
        elif node.is_Pow and node.exp.is_Rational:
            for power in (node.exp + 1, node.exp - 1, -node.exp):
                yield f"{node} to the power {power}", _put(e, path, node.base**power)
        elif node.is_Symbol:
            yield f"{node} squared", _put(e, path, node**2)
        elif isinstance(node, sp.conjugate):
            yield f"{node} without the conjugate", _put(e, path, node.args[0])
        elif isinstance(node, sp.Derivative):
            for x in dict.fromkeys(node.variables):
                fewer = list(node.variables)
                fewer.remove(x)
                lower = sp.diff(node.expr, *fewer) if fewer else node.expr
                yield f"{node} without one d/d{x}", _put(e, path, lower)
                yield f"{node} with one more d/d{x}", _put(e, path, sp.diff(node, x))
        elif isinstance(node, sp.exp):
            yield f"exponent of {node} negated", _put(e, path, 1 / node)
    yield "the whole negated", -e
    yield "the whole doubled", 2 * e
    yield "the whole halved", e / 2
    symbols = sorted(e.free_symbols, key=sp.default_sort_key)
    for i, s in enumerate(symbols):
        for t in symbols[i + 1 :]:
            yield f"{s} and {t} swapped", e.xreplace({s: t, t: s})
    for path, node in sites:
        if node.is_Symbol:
            for other in neighbors(node, table):
                yield f"index of {node} shifted to {other}", _put(e, path, other)
            if node.is_integer:
                yield f"{node} one more", _put(e, path, node + 1)


def neighbors(s: sp.Symbol, table: Mapping[str, sp.Symbol] | None = None) -> list[sp.Symbol]:
    r"""Return the symbols whose TeX name has the index one off.

    ``table`` maps spellings to the chapter's symbols: its own neighbor is the one wanted, and only
    it knows whether there is a number before or after ``a_1``.

    >>> neighbors(sp.Symbol(r"\bar{\beta}_t")), neighbors(sp.Symbol("x_{t-1}"))
    ([\bar\beta_{t-1}], [x_t])
    >>> neighbors(sp.Symbol("x"))
    []
    """
    name, table = spelling(s.name), table or {}
    if found := re.search(r"_(?:(\d)|\{(-?\d+)\})$", name):
        base, number = name[: found.start()], int(found[1] or found[2])
        names = (spelling(f"{base}_{{{k}}}") for k in (number - 1, number + 1))
        return [table[n] for n in names if n in table]
    found = re.search(r"_(?:\{([a-z])-1\}|([a-z]))(?![a-z])", name)
    if not found:
        return []
    before, now = found.groups()
    shifted = name[: found.start()] + (f"_{before}" if before else f"_{{{now}-1}}")
    shifted += name[found.end() :]
    return [table.get(shifted) or sp.Symbol(shifted, **s.assumptions0)]


def _sites(e: sp.Expr, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], sp.Basic]]:
    """The places in e where print can go wrong, each with its path.

    Not what a derivative is taken by (it has mutants of its own), nor the symbols of p(x, t), which
    belong to the name of the function.
    """
    yield path, e
    if isinstance(e, AppliedUndef) and all(isinstance(x, sp.Symbol) for x in e.args):
        return
    inside = e.args[:1] if isinstance(e, sp.Derivative) else e.args
    for i, argument in enumerate(inside):
        yield from _sites(argument, (*path, i))


def _put(e: sp.Basic, path: tuple[int, ...], new: sp.Basic) -> sp.Basic:
    if not path:
        return new
    arguments = list(e.args)
    arguments[path[0]] = _put(arguments[path[0]], path[1:], new)
    return e.func(*arguments)
