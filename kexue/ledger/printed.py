r"""Is the printed equation the checked one? Its TeX is read and compared with the record."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sympy as sp

from kexue.ledger import tex
from kexue.ledger.display import bare_name, call, equations, read
from kexue.ledger.reader import scalar
from kexue.ledger.record import stored
from kexue.ledger.tex import Unread
from kexue.symbolic import equal

_DOLLARS = re.compile(r"\$\$(?P<tex>.+?)\$\$(?:[ \t]*\((?P<label>[^)\s]+)\))?", re.S)
_FENCE = re.compile(
    r"^(?P<fence>```+|:::+)\{math\}[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.S | re.M
)


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
    r"""Compare printed TeX with records, label by label; symbols are those of the records.

    A name that no record knows, on the left of a display that states one expression, is from then
    on a name for that expression: ``\tilde\mu_t(x_t, x_0) = ...`` serves the displays below.
    """
    parts = {k: [sp.sympify(s) for s in r.get("srepr", ())] for k, r in records.items()}
    table = tex.symbol_table(e for some in parts.values() for e in some)
    keys = {k: _keys(r, table) for k, r in records.items()}
    premises: dict[sp.Expr, sp.Expr] = {}
    for label, some in keys.items():
        if records[label]["kind"] == "defined":
            premises |= dict(zip(some, parts[label], strict=False))
    found, names = [], {}
    for label, text in printed.items():
        record = records.get(label)
        if record is None:
            found.append(Match(label, "", "none", "no record"))
            continue
        match = Match(label, record["kind"], "none")
        if parts[label]:
            display = _Display(text, parts[label], keys[label], _cases(record), table, names)
            try:
                match.status, match.detail = display.compare(premises)
            except Unread as stop:
                match.status, match.detail = "unread", str(stop)
            if match.status == "equal":
                names = {**names, **display.introduces()}
        found.append(match)
    return found


def _keys(record: Mapping, table: dict[str, Any]) -> list[sp.Expr]:
    """The symbols, or functions p(x), that a dictionary defines; unknown ones become known."""
    found = []
    for name in record.get("names", ()):
        key = tex.spelling(name)
        if function := re.fullmatch(r"(.+?)\{\((.+)\)\}", key):  # as SymPy prints p(x)
            value = table.setdefault(function[1], sp.Function(function[1]))
            arguments = tex.split(tex.tree(function[2]), ",")
            found.append(value(*(scalar(argument, table) for argument in arguments)))
        else:
            found.append(table.setdefault(key, sp.Symbol(name)))
    return found


def _cases(record: Mapping) -> list[dict[str, sp.Integer]]:
    """What the printed letters stand for in each case that was checked: N = 3, n = 0; and so on."""
    at = {tex.spelling(name): values for name, values in record.get("at", {}).items()}
    every = itertools.product(*at.values())
    return [dict(zip(at, map(sp.Integer, values), strict=True)) for values in every]


@dataclasses.dataclass
class _Display:
    """A printed equation beside the parts that its record states (under ``keys``, if it defines).

    ``table`` holds the symbols of the records, ``names`` what displays above have introduced.
    """

    text: str
    parts: list[sp.Expr]
    keys: list[sp.Expr]
    cases: list[dict[str, sp.Integer]]
    table: Mapping[str, Any]
    names: Mapping[str, Name]

    def __post_init__(self) -> None:
        self.tables = [{**self.table, **case} for case in self.cases]
        self.meanings = [meanings(self.names, table) for table in self.tables]

    def compare(self, premises: Mapping) -> tuple[str, str]:
        """Status and detail of the match."""
        self.equations = equations(self.text)
        if self.keys:
            return self._definition()
        found = self._read()
        if len(found) != len(self.parts):  # a law states mean and variance, or its log density
            logs = self._read(log_density=True)
            found = logs if len(logs) == len(self.parts) else found
        if len(found) != len(self.parts):
            return "unread", f"{len(found)} expressions printed, {len(self.parts)} stated"
        for chain, part in zip(found, self.parts, strict=True):
            *others, last = chain
            if not equal(last, part):
                return "differs", f"printed {last}, stated {part}"
            for other in others:
                if not equal(other, part) and not equal(other, part, premises):
                    return "differs", f"printed {other}, stated {part}"
        return "equal", ""

    def _read(self, log_density: bool = False) -> list[list[sp.Expr]]:
        cases = zip(self.tables, self.meanings, strict=True)
        return [c for t, names in cases for c in read(self.equations, t, names, log_density)]

    def _definition(self) -> tuple[str, str]:
        """Each printed L = R must hold with the definition and not without; all keys are used."""
        entries, used = dict(zip(self.keys, self.parts, strict=True)), set()
        cases = list(zip(self.tables, self.meanings, strict=True))
        for (table, names), (head, *rest) in itertools.product(cases, self.equations):
            name, arguments = call(head)
            if arguments and not any(tex.flat(a) in table for a in arguments):
                head = name  # T_k(a) on the left of what defines T_k: a is declared, not used
            local = {**names, **table}
            left, *rest = [scalar(side, local) for side in (head, *rest)]
            for right in rest:
                if not equal(left, right, entries):
                    return "differs", f"printed {left} = {right}"
                if equal(left, right):
                    return "differs", f"printed {left} = {right}, which holds by itself"
            used |= {k for k in entries if left.has(k)}
        missing = [str(k) for k in entries if k not in used]
        return ("differs", f"not printed: {', '.join(missing)}") if missing else ("equal", "")

    def introduces(self) -> dict[str, Name]:
        """The new name on the left, if there is one, and what it stands for from now on."""
        if len(self.equations) != 1 or len(self.parts) != 1 or self.keys:
            return {}
        left, *rest = self.equations[0]
        name, arguments = call(left)
        found, symbols = bare_name(name), [tex.flat(a) for a in arguments]
        known = all(isinstance(self.table.get(a), sp.Symbol) for a in symbols)
        if not rest or not found or found[0] in {**self.table, **self.names} or not known:
            return {}
        return {found[0]: Name(symbols, rest[-1], found[1])}


@dataclasses.dataclass(frozen=True)
class Name:
    """What a display has introduced: its right side, as TeX, of these arguments.

    As TeX, since a sum up to N may serve another display for another N.
    """

    arguments: list[str]
    nodes: list[tex.Node]
    power: int

    def value(self, table: Mapping[str, Any]) -> sp.Expr:
        """An expression, or a function of the arguments."""
        value = scalar(self.nodes, table) ** sp.Rational(1, self.power)
        return (
            sp.Lambda(tuple(table[a] for a in self.arguments), value) if self.arguments else value
        )


def meanings(names: Mapping[str, Name], table: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each name with the symbols of ``table``, as far as it can be read."""
    found: dict[str, Any] = {}
    for key, name in names.items():
        with contextlib.suppress(Unread):
            found[key] = name.value({**found, **table})
    return found
