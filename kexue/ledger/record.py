"""The record of a check: one quiet line to read, and a data attribute for the build to find."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sympy as sp

from kexue.ledger.values import flatten

KINDS = ("proved", "measured", "cited", "defined", "assumed")
_DATA = re.compile(r'data-ledger="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known about one labelled equation.

    ``kind`` is one of ``proved``, ``measured``, ``cited``, ``defined``, ``assumed``; ``how`` says
    how in words; ``given`` lists the labels it rests on; ``stated`` is the stated expression in
    TeX as the machine sees it and ``srepr`` the same, exact, one string a part; ``names`` are the
    TeX names of the parts that have one (the left-hand sides of a dictionary). ``tolerance`` holds
    at ``points`` points; with ``monte_carlo`` it is at most five error bars. ``at`` says for which
    values of a printed letter it was checked, ``{"N": (3,)}``, if not for all. Nothing in a record
    depends on the machine or the hour: running the notebook again gives the same one.
    """

    label: str
    kind: str
    how: str = ""
    given: tuple[str, ...] = ()
    stated: str = ""
    srepr: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tolerance: float | None = None
    points: int | None = None
    monte_carlo: bool = False
    key: str = ""
    at: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def line(self) -> str:
        """The quiet line: label, kind, how."""
        return f"{self.label} · {self.kind}{self._words()}"

    def _words(self) -> str:
        join = " " if self.kind in ("proved", "measured") else ": "
        at = ", at " + instances(self.at) if self.at else ""
        return (join + self.how if self.how else "") + at

    def data(self) -> dict[str, Any]:
        """The fields that say something, ready for JSON."""
        fields = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items() if v}

    def __repr__(self) -> str:
        return self.line()

    def _repr_html_(self) -> str:
        data = html.escape(json.dumps(self.data(), ensure_ascii=False, sort_keys=True))
        return (
            f'<div class="kx-check kx-{self.kind}" data-ledger="{data}">'
            f"<code>{html.escape(self.label)}</code> · <b>{self.kind}</b>"
            f"{html.escape(self._words())}</div>"
        )


def instances(at: Mapping[str, Sequence[int]]) -> str:
    """The values at which something was checked, in words.

    >>> instances({"N": (3,), "n": (0, 1, 2, 3)})
    'N = 3 and n = 0, 1, 2, 3'
    """
    return " and ".join(f"{name} = {', '.join(map(str, values))}" for name, values in at.items())


def expressions(value: Any) -> dict[str, Any]:
    """The record's fields that describe a value: TeX, exact form, names of its parts."""
    leaves, _ = flatten(value)
    named = isinstance(value, dict) and all(isinstance(key, sp.Expr) for key in value)
    names = [sp.latex(key) for key in value] if named else []
    tex = [sp.latex(leaf) for leaf in leaves]
    if names and len(names) == len(tex):
        tex = [f"{name} = {leaf}" for name, leaf in zip(names, tex, strict=True)]
    return {
        "stated": r",\quad ".join(tex),
        "srepr": tuple(sp.srepr(leaf) for leaf in leaves),
        "names": tuple(names),
    }


def stored(path: str | Path) -> list[dict[str, Any]]:
    """Return the records stored in a notebook's outputs, in order; nothing is executed."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/html", ""))
            found += [json.loads(html.unescape(data)) for data in _DATA.findall(text)]
    return found
