r"""Is the printed equation the checked one? Its TeX is read and compared with the record."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sympy as sp

from kexue.ledger import tex
from kexue.ledger.record import stored
from kexue.ledger.tex import Unread
from kexue.symbolic import equal

_DOLLARS = re.compile(r"\$\$(?P<tex>.+?)\$\$(?:[ \t]*\((?P<label>[^)\s]+)\))?", re.S)
_FENCE = re.compile(
    r"^(?P<fence>```+|:::+)\{math\}[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.S | re.M
)
_RELATIONS = {"=", r"\sim", r"\equiv", ":="}
_REFUSED = {r"\approx", r"\propto", r"\le", r"\leq", r"\ge", r"\geq", "<", ">", r"\to", r"\neq"}


@dataclasses.dataclass
class Match:
    """Whether a printed equation is the one its record states.

    ``status``: ``equal``, ``differs``, ``unread`` (the TeX could not be read) or ``none`` (the
    record carries no expression: a citation, a measurement, an assumption in words).
    """

    label: str
    kind: str
    status: str
    detail: str = ""


def labelled(text: str) -> dict[str, str]:
    r"""Return the labelled displays of a piece of MyST: ``$$...$$ (eq-x)`` and ``{math}``.

    >>> labelled("$$no label$$ and then $$a = b$$ (eq-x)")
    {'eq-x': 'a = b'}
    """
    found = {m["label"]: m["tex"].strip() for m in _DOLLARS.finditer(text) if m["label"]}
    for m in _FENCE.finditer(text):
        option = re.search(r"^:label:[ \t]*(\S+)[ \t]*$", m["body"], re.M)
        if option:
            body = re.sub(r"^:\w+:.*$\n?", "", m["body"], flags=re.M)
            found[option[1]] = body.strip()
    return found


def read_notebook(path: str | Path) -> list[Match]:
    """Compare every labelled equation of a notebook with its stored record."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    cells = ("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    printed = labelled("\n\n".join(cells))
    return compare_all(printed, {r["label"]: r for r in stored(path)})


def compare_all(printed: Mapping[str, str], records: Mapping[str, Mapping]) -> list[Match]:
    """Compare printed TeX with records, label by label; symbols are those of the records."""
    parts = {k: [sp.sympify(s) for s in r.get("srepr", ())] for k, r in records.items()}
    table = tex.symbol_table(e for some in parts.values() for e in some)
    keys = {k: _keys(r, table) for k, r in records.items()}
    premises: dict[sp.Symbol, sp.Expr] = {}
    for label, some in keys.items():
        if records[label]["kind"] == "defined":
            premises |= dict(zip(some, parts[label], strict=False))
    found = []
    for label, text in printed.items():
        record = records.get(label)
        if record is None:
            found.append(Match(label, "", "none", "no record"))
            continue
        match = Match(label, record["kind"], "none")
        if parts[label]:
            try:
                match.status, match.detail = _compare(
                    text, parts[label], keys[label], table, premises
                )
            except Unread as stop:
                match.status, match.detail = "unread", str(stop)
        found.append(match)
    return found


def _keys(record: Mapping, table: Mapping) -> list[Any]:
    """The symbols that a dictionary defines; names that no expression uses are new symbols."""
    found = []
    for name in record.get("names", ()):
        key = tex.spelling(name)
        if key not in table:
            table[key] = sp.Symbol(name, positive=True)
        found.append(table[key])
    return found


def _compare(
    text: str, parts: list, keys: list, table: Mapping, premises: Mapping
) -> tuple[str, str]:
    equations = _equations(text)
    if keys:
        return _compare_definition(equations, dict(zip(keys, parts, strict=True)), table)
    read = _read(equations, table)
    if read is None or len(read) != len(parts):
        return "unread", f"{len(read or [])} expressions printed, {len(parts)} stated"
    for chain, part in zip(read, parts, strict=True):
        *others, last = chain
        if not equal(last, part):
            return "differs", f"printed {last}, stated {part}"
        for other in others:
            if not equal(other, part) and not equal(other, part, premises):
                return "differs", f"printed {other}, stated {part}"
    return "equal", ""


def _compare_definition(
    equations: list[list[list]], entries: Mapping, table: Mapping
) -> tuple[str, str]:
    """Each printed L = R must hold with the definition and not without; all entries are used."""
    used: set = set()
    for sides in equations:
        left, *rest = [tex.scalar(side, table) for side in sides]
        for right in rest:
            if not equal(left, right, entries):
                return "differs", f"printed {left} = {right}"
            if equal(left, right):
                return "differs", f"printed {left} = {right}, which holds by itself"
        used |= {k for k in entries if left.has(k)}
    missing = [str(k) for k in entries if k not in used]
    return ("differs", f"not printed: {', '.join(missing)}") if missing else ("equal", "")


def _equations(text: str) -> list[list[list]]:
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
        if lines and isinstance(line[0], str) and line[0] in {*_RELATIONS, "+", "-"}:
            lines[-1] += line
        else:
            lines.append(line)
    for line in lines:
        wrong = [n for n in line if isinstance(n, str) and n in _REFUSED]
        if wrong:
            raise Unread(f"relation {wrong[0]}")
    return [tex.split(line, _RELATIONS) for line in lines]


def _read(equations: list[list[list]], table: Mapping[str, Any]) -> list[list[sp.Expr]] | None:
    """The expressions a display states: for each, the readable right sides of its chain.

    An equation for a symbol that no record knows, such as ``\\tilde\\mu = ...`` beside a law
    that uses it, is an abbreviation of this display: it is put into the others.
    """
    table, short = dict(table), {}
    for sides in equations:
        name = _bare_name(sides[0])
        if name and name[0] not in table and len(sides) > 1 and not _law(sides, table):
            symbol = sp.Symbol(name[0], positive=True)
            table[name[0]] = symbol
            short[symbol] = (sides, name[1])
    values = {}
    for symbol, (sides, power) in short.items():
        values[symbol] = tex.scalar(sides[-1], table) ** sp.Rational(1, power)
    read, used = [], set()
    for sides in equations:
        law = _law(sides, table)
        chain = []
        for group in [law] if law else [[side] for side in (sides[1:] or sides)]:
            chain.append([tex.scalar(side, table) for side in group])
        free = set().union(*(e.free_symbols for group in chain for e in group))
        mine = next((s for s, (other, _) in short.items() if other is sides), None)
        used |= free & set(short)
        read.append((mine, chain))
    out = []
    for mine, chain in read:
        if mine in used:
            continue
        for part in zip(*chain, strict=True):
            out.append([e.subs(values) for e in part])
    return out


def _bare_name(side: Sequence) -> tuple[str, int] | None:
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


def _law(sides: list[list], table: Mapping[str, Any]) -> list[list] | None:
    r"""[mean, variance] if the last side is ``\mathcal N(y; m, V I)``, else None."""
    right = sides[-1]
    head = 2 if right[:1] in ([r"\mathcal"], [r"\mathscr"]) else 1
    if tex.flat(right[:head]) not in (r"\mathcal N", "N") or right[head : head + 1] != ["("]:
        return None
    if "N" in table or tex.closing(right, head) != len(right) - 1:
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
    return [mean, variance]


def _first_argument(side: list) -> str | None:
    """What p(... | ...) is a law of."""
    for i, node in enumerate(itertools.islice(side, 3)):
        if node == "(":
            return tex.flat(tex.split(side[i + 1 : tex.closing(side, i)], ("|", ",", ";"))[0])
    return None
