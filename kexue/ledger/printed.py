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
from kexue.ledger.reader import scalar
from kexue.ledger.record import stored
from kexue.ledger.tex import Unread
from kexue.symbolic import Gaussian, equal

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
                names = {**display.introduces(), **names}
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
    names: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.tables = [{**self.table, **case} for case in self.cases]

    def compare(self, premises: Mapping) -> tuple[str, str]:
        """Status and detail of the match."""
        self.equations = _equations(self.text)
        if self.keys:
            return self._definition()
        read = [chain for t in self.tables for chain in _read(self.equations, t, self.names)]
        if len(read) != len(self.parts):  # a law states mean and variance, or its log density
            logs = [c for t in self.tables for c in _read(self.equations, t, self.names, True)]
            read = logs if len(logs) == len(self.parts) else read
        if len(read) != len(self.parts):
            return "unread", f"{len(read)} expressions printed, {len(self.parts)} stated"
        for chain, part in zip(read, self.parts, strict=True):
            *others, last = chain
            if not equal(last, part):
                return "differs", f"printed {last}, stated {part}"
            for other in others:
                if not equal(other, part) and not equal(other, part, premises):
                    return "differs", f"printed {other}, stated {part}"
        return "equal", ""

    def _definition(self) -> tuple[str, str]:
        """Each printed L = R must hold with the definition and not without; all keys are used."""
        entries, used = dict(zip(self.keys, self.parts, strict=True)), set()
        for table, sides in itertools.product(self.tables, self.equations):
            left, *rest = [scalar(side, {**self.names, **table}) for side in sides]
            for right in rest:
                if not equal(left, right, entries):
                    return "differs", f"printed {left} = {right}"
                if equal(left, right):
                    return "differs", f"printed {left} = {right}, which holds by itself"
            used |= {k for k in entries if left.has(k)}
        missing = [str(k) for k in entries if k not in used]
        return ("differs", f"not printed: {', '.join(missing)}") if missing else ("equal", "")

    def introduces(self) -> dict[str, Any]:
        """The new name on the left, if there is one, and what it is from now on."""
        if len(self.equations) != 1 or len(self.parts) != 1 or self.keys:
            return {}
        left = self.equations[0][0]
        arguments: list[Any] = []
        if left[-1:] == [")"] and "(" in left:
            open_ = left.index("(")
            if tex.closing(left, open_) != len(left) - 1:
                return {}
            arguments = [self.table.get(tex.flat(a)) for a in tex.split(left[open_ + 1 : -1], ",")]
            left = left[:open_]
        name = _bare_name(left)
        symbols = all(isinstance(a, sp.Symbol) for a in arguments)
        if len(self.equations[0]) < 2 or not name or name[0] in self.table or not symbols:
            return {}
        value = self.parts[0] ** sp.Rational(1, name[1])
        return {name[0]: sp.Lambda(tuple(arguments), value) if arguments else value}


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


def _read(
    equations: list[list[list]],
    table: Mapping[str, Any],
    names: Mapping[str, Any],
    log_density: bool = False,
) -> list[list[sp.Expr]]:
    r"""The expressions a display states: for each, the readable right sides of its chain.

    An equation for a symbol that no record knows, such as ``\tilde\mu = ...`` beside a law
    that uses it, is an abbreviation of this display: it is put into the others.
    """
    local, short = {**names, **table}, {}
    for sides in equations:
        name = _bare_name(sides[0])
        if name and name[0] not in table and len(sides) > 1 and not _law(sides, table):
            symbol = sp.Symbol(name[0], positive=True)
            local[name[0]] = symbol
            short[symbol] = (sides, name[1])
    values = {}
    for symbol, (sides, power) in short.items():
        values[symbol] = scalar(sides[-1], local) ** sp.Rational(1, power)
    read, used = [], set()
    for sides in equations:
        law = _law(sides, local)
        chain = []
        for group in [law[1:]] if law else [[side] for side in (sides[1:] or sides)]:
            chain.append([scalar(side, local) for side in group])
        if law and law[0] and log_density:
            chain = [[Gaussian(*chain[0]).log(scalar(law[0], local))]]
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
    r"""[y, mean, variance] if the last side is ``\mathcal N(y; m, V I)``, y or []; else None."""
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
    return [inside[0] if len(inside) == 2 else [], mean, variance]


def _first_argument(side: list) -> str | None:
    """What p(... | ...) is a law of."""
    for i, node in enumerate(itertools.islice(side, 3)):
        if node == "(":
            return tex.flat(tex.split(side[i + 1 : tex.closing(side, i)], ("|", ",", ";"))[0])
    return None
