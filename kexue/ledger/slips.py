r"""Find the error: steps of a chapter with one slip of the pen planted in each.

The slips are mutants of proved statements (``stated.mutants``), those that a human makes: a sign, a
dropped factor, a forgotten square, a shifted or swapped index. Each is refuted by ``equal``, as it
stands and under the chapter's definitions, and comes with values at which it is wrong. Everything
is read from stored records, nothing is executed.
"""

from __future__ import annotations

import difflib
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from kexue.ledger import tex
from kexue.ledger.brief import brief
from kexue.ledger.display import equations
from kexue.ledger.stated import mutants
from kexue.symbolic import equal

STEPS = 3  # a chapter
OPERATIONS = range(3, 40)  # of a statement: long enough to hide something, short enough to read
LETTERS = range(12, 230)
# What the name of a mutant says: its kind, and the same in words; the first that fits counts.
KINDS = (
    ("factor", r"factor (.+) dropped", "the factor ${0}$ is missing"),
    ("term", r"(.+) dropped", "the term ${0}$ is missing"),
    ("sign", r"sign of (.+)", "the term ${0}$ has the wrong sign"),
    ("index", r"index of (.+) shifted to (.+)", "one ${0}$ became ${1}$"),
    ("swap", r"(.+) and (.+) swapped", "${0}$ and ${1}$ are swapped"),
    ("power", r"(.+) to the power (.+)", "${1}$ stands where ${0}$ belongs"),
    ("power", r"(.+) squared", "one ${0}$ is squared by mistake"),
    ("conjugate", r"(.+) without the conjugate", "${0}$ lost its conjugate"),
    ("derivative", r"(.+) without one d/d(.+)", "${0}$ lost a derivative by ${1}$"),
    ("derivative", r"(.+) with one more d/d(.+)", "${0}$ got one derivative by ${1}$ too many"),
    ("exponent", r"exponent of (.+) negated", "the exponent of ${0}$ has the wrong sign"),
)
NICE = [sp.Rational(p, q) for p, q in ((2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (5, 1), (2, 3))]


def slips(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    r"""Plant one slip in each of three equations of a chapter.

    Parameters
    ----------
    rows : the chapter's equations in order, each with ``label``, ``tex`` (as printed) and
        ``record`` (as stored).
    seed : another seed gives other slips; the same one the same.

    Returns
    -------
    Up to three dictionaries, in the order of the chapter: ``label``; ``wrong``, the equation with
    the slip, in TeX; ``cases``, for which values of a letter it is written out, if it is; ``what``,
    the slip in words with formulas between dollars; ``kind``; ``at``, values at which it is wrong,
    ``so``, what the definitions then give, and ``values``, what the right and the wrong side are
    there, three lists of TeX; ``srepr``, the mutant, exact.
    """
    parts = {r["label"]: list(map(sp.sympify, r["record"].get("srepr", ()))) for r in rows}
    table = tex.symbol_table(e for some in parts.values() for e in some)
    given = definitions([row["record"] for row in rows], parts, table)
    usable = [r for r in rows if _readable(r, parts[r["label"]])]
    tiers = [[r for r in usable if bool(r["record"].get("at")) == at] for at in (False, True)]
    rng = random.Random(f"find the error {seed}")
    found: dict[str, dict[str, Any]] = {}
    seen: set[sp.Expr] = set()  # two equations may state the same
    for row in [row for tier in tiers for row in _spread(tier, rng)]:
        (stated,) = parts[row["label"]]
        if len(found) == STEPS:
            break
        if stated in seen:
            continue
        used = [slip["kind"] for slip in found.values()]
        if slip := _plant(row, stated, given, table, used, rng):
            found[row["label"]] = slip
            seen.add(stated)
    return [found[row["label"]] for row in rows if row["label"] in found]


def definitions(
    records: Iterable[Mapping], parts: Mapping[str, list[sp.Expr]], table: Mapping[str, Any]
) -> dict[sp.Symbol, sp.Expr]:
    """The symbols that the chapter defines, with their values; none through itself."""
    found: dict[sp.Symbol, sp.Expr] = {}
    for record in records:
        if record["kind"] != "defined":
            continue
        for name, value in zip(record.get("names", ()), parts[record["label"]], strict=False):
            key = table.get(tex.spelling(name))
            if not isinstance(key, sp.Symbol) or key in found:
                continue
            if key not in _put_in(value, found).free_symbols:
                found[key] = value
    return found


def left(printed: str) -> str | None:
    r"""The left side of a display that is one equation; None if it is more or cannot be read.

    >>> left(r"p'(x) = a \, x"), left(r"a = 1 \\ b = 2"), left(r"a \approx b")
    ("p'(x)", None, None)
    """
    try:
        chains = equations(printed)
    except tex.Unread:
        return None
    return tex.flat(chains[0][0]) if len(chains) == 1 and len(chains[0]) > 1 else None


def kind_of(name: str, stated: sp.Expr, table: Mapping[str, Any]) -> tuple[str, str] | None:
    """The kind of slip and its description; None for one that no human makes.

    >>> x, y = sp.symbols("x y")
    >>> kind_of("sign of x**2", x**2 + y, {}), kind_of("the whole halved", x**2 + y, {})
    (('sign', 'the term $x^{2}$ has the wrong sign'), None)
    """
    known = {str(e): e for e in sp.preorder_traversal(stated)}
    known |= {str(s): s for s in table.values()}
    for kind, pattern, words in KINDS:
        if not (match := re.fullmatch(pattern, name)):
            continue
        try:
            things = [known[t] if t in known else sp.Rational(t) for t in match.groups()]
        except (TypeError, ValueError):  # a symbol that the chapter does not have
            return None
        if kind == "factor" and not _small(things[0]):
            return None  # nobody forgets a bracket
        if pattern == r"(.+) to the power (.+)":
            old, new = things[0].exp, things[1]
            if not (old == 2 * new and abs(old) == 2) and not (old == -new and abs(old) < 2):
                return None
            things[1] = things[0].base ** new
        if kind == "swap":
            inside = {x for f in stated.atoms(AppliedUndef) for x in f.free_symbols}
            if len({_letter(s) for s in things}) > 1 or inside & set(things):
                return None
        return kind, words.format(*(brief(thing, stated) for thing in things))
    return None


def _small(e: sp.Expr) -> bool:
    """Whether a factor is a positive number, a symbol or a power of one."""
    return e.is_positive if e.is_Number else (e.base if e.is_Pow else e).is_Symbol


def _letter(s: sp.Symbol) -> str:
    """The letter of a symbol, without accents and indices: what is easily mistaken for another."""
    return re.findall(r"[A-Za-z]+", re.sub(r"[_^].*", "", s.name) or s.name)[-1]


def _readable(row: Mapping[str, Any], parts: list[sp.Expr]) -> bool:
    """Whether an equation is proved, one expression, of the right length, with a left side."""
    if row["record"]["kind"] != "proved" or len(parts) != 1 or not isinstance(parts[0], sp.Expr):
        return False
    size = len(brief(parts[0], parts[0]))
    return sp.count_ops(parts[0]) in OPERATIONS and size in LETTERS and left(row["tex"]) is not None


def _spread(rows: Sequence[Mapping], rng: random.Random) -> Iterator[Mapping]:
    """All rows, in turn one of the first third of the chapter, of the second, of the last."""
    cuts = [round(k * len(rows) / STEPS) for k in range(STEPS + 1)]
    thirds = [list(rows[a:b]) for a, b in itertools.pairwise(cuts)]
    for third in thirds:
        rng.shuffle(third)
    while any(thirds):
        yield from [third.pop() for third in thirds if third]


def _plant(
    row: Mapping[str, Any],
    stated: sp.Expr,
    given: Mapping[sp.Symbol, sp.Expr],
    table: Mapping[str, Any],
    used: Sequence[str],
    rng: random.Random,
) -> dict[str, Any] | None:
    """One slip in a statement, of a kind not ``used`` yet if there is one; None if none will do."""
    by_kind: dict[str, list[tuple[str, sp.Expr]]] = {}
    symbols = [s for s in table.values() if isinstance(s, sp.Symbol)]
    for name, mutant in mutants(stated, symbols):
        described = kind_of(name, stated, table)
        if described and mutant.free_symbols <= set(symbols) and _plain(mutant, stated):
            by_kind.setdefault(described[0], []).append((described[1], mutant))
    kinds = sorted(by_kind)
    rng.shuffle(kinds)
    for kind in sorted(kinds, key=lambda k: (used.count(k), k == "term")):
        rng.shuffle(by_kind[kind])
        for what, mutant in by_kind[kind][:4]:
            try:
                alone, under = equal(stated, mutant), equal(stated, mutant, given)
            except (ValueError, TypeError):
                continue
            if alone.status == under.status == "differs":
                at, so, values = _example(stated, mutant, given, under)
                cases = [f"{k} = {', '.join(map(str, v))}" for k, v in
                         row["record"].get("at", {}).items()]  # fmt: skip
                return {
                    "label": row["label"],
                    "wrong": f"{left(row['tex'])} = {brief(mutant, stated)}",
                    "cases": r",\ ".join(cases),
                    "what": what,
                    "kind": kind,
                    "at": at,
                    "so": so,
                    "values": values,
                    "srepr": sp.srepr(mutant),
                }
    return None


def _plain(mutant: sp.Expr, stated: sp.Expr) -> bool:
    """Whether one slip is all that seems to have changed, and something is left."""
    shown, true = brief(mutant, stated), brief(stated, stated)
    alike = difflib.SequenceMatcher(None, shown, true, autojunk=False).ratio()
    return alike > 0.7 and len(shown) <= len(true) + 30 and sp.count_ops(mutant) >= 2


def _put_in(e: sp.Expr, given: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """The expression with the definitions put in, and what can be worked out worked out."""
    for _ in range(len(given) + 1):
        e = e.xreplace(dict(given))
    return e.doit()


def _example(
    stated: sp.Expr, mutant: sp.Expr, given: Mapping[sp.Symbol, sp.Expr], verdict: Any
) -> tuple[list[str], list[str], list[str]]:
    """Values at which the two differ, simple ones if they will do; all in TeX."""
    whole = [_put_in(e, given) for e in (stated, mutant)]
    names = sorted({f.func for e in whole for f in e.atoms(AppliedUndef)}, key=str)
    said = []
    for k, name in enumerate(names):
        count = max(len(f.args) for e in whole for f in e.atoms(AppliedUndef) if f.func == name)
        letters = sp.symbols("z" if count == 1 else f"z_1:{count + 1}")
        letters = letters if count > 1 else (letters,)
        whole = [e.replace(name, partial(_function, k)).doit() for e in whole]
        said.append(f"{sp.latex(name(*letters))} = {sp.latex(_function(k, *letters))}")
    free = sorted(set().union(*(e.free_symbols for e in whole)), key=lambda s: s.name)
    point, sides = dict(verdict.point), (verdict.left, verdict.right)
    for shift in range(len(NICE)):
        nice = {s: _simple(s, k + shift) for k, s in enumerate(free)}
        values = [e.xreplace(nice) for e in whole]
        numbers = [v.evalf(30) for v in values]
        if all(n.is_number and n.is_finite for n in numbers) and _apart(*numbers):
            point, sides = nice, tuple(values)
            break
    else:
        said = []
    also = sorted((stated.free_symbols | mutant.free_symbols) & set(given), key=lambda s: s.name)
    so = [(s, _put_in(s, given).xreplace(point)) for s in also]
    said += [f"{sp.latex(key)} = {_number(value)}" for key, value in point.items()]
    return (
        said,
        [f"{sp.latex(s)} {_number_of(v)}" for s, v in so if v.is_number],
        [_number_of(side) for side in sides],
    )


def _function(k: int, *z: sp.Expr) -> sp.Expr:
    """A smooth positive function to put for an unknown one, another for each k."""
    return 1 / (k + 1 + sum(j * x**2 for j, x in enumerate(z, 1)))


def _apart(a: sp.Expr, b: sp.Expr) -> bool:
    """Whether two numbers are of readable size and differ by more than rounding hides."""
    sizes = [abs(a), abs(b)]
    return bool(max(sizes) < 1000 and min(sizes) > 0.001 and abs(a - b) > sum(sizes) / 50)


def _simple(key: sp.Expr, k: int) -> sp.Expr:
    """The k-th simple number that has every assumption of the key."""
    good = [v for v in NICE if all(getattr(v, f"is_{name}") in (truth, None)
            for name, truth in getattr(key, "assumptions0", {}).items())]  # fmt: skip
    return (good or NICE)[k % len(good or NICE)]


def _short(value: sp.Expr) -> bool:
    return bool(value.is_Rational and value.q < 1000 and abs(value.p) < 1000)


def _number_of(value: sp.Expr) -> str:
    """The sign of equality, exact or not, and the number."""
    return ("= " if _short(value) else r"\approx ") + _number(value)


def _number(value: sp.Expr) -> str:
    """A number as one writes it: a small fraction, or four digits."""
    return sp.latex(value if _short(value) else value.evalf(4))
