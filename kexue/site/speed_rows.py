"""What a stored row of a benchmark says, in words.

A row holds ``path``, ``peer``, ``metric``, ``theirs``, ``ours``, ``bar``, ``aim``, ``ratio``,
``spread``, ``share`` and ``met``, as ``benchmarks/_table.py`` writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kexue.site.status import device

TIME = re.compile(r"(?:(?P<where>\w+) )?s(?: / (?P<one>\w+))?")  # metrics that are times
WHERE = {"CPU": " of CPU time", "CUDA": " on the GPU"}  # what follows a time


def number(value: float) -> str:
    """Three digits.

    >>> [number(v) for v in (1639.6, 12.345, 0.00067883, 7.4434e10)]
    ['1,640', '12.3', '0.000679', '7.4 × 10^10']
    """
    if value >= 1e7:
        power = math.floor(math.log10(value))
        return f"{value / 10**power:.1f} × 10^{power}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"


def quantity(value: float, metric: str) -> str:
    """A number with its unit.

    >>> quantity(0.00023967, "CUDA s"), quantity(33.18, "CPU s"), quantity(0.0047, "KL, nats")
    ('240 µs', '33.2 s', '0.0047')
    """
    if not TIME.fullmatch(metric):
        return number(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{number(value / size)} {unit}"
    raise AssertionError(value)


def filled(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows with every path and peer written out.

    An empty one is that of the row above; an indented path belongs to the one above it.

    >>> rows = [{"path": "fit", "peer": "Adam"}, {"path": "  at once", "peer": ""}]
    >>> list(filled(rows))[1]
    {'path': 'fit, at once', 'peer': 'Adam'}
    """
    head = path = peer = ""
    for row in rows:
        if row["path"].startswith(" "):
            path = f"{head}, {row['path'].strip()}"
        elif row["path"]:
            head = path = row["path"]
        peer = row["peer"].strip() or peer
        yield {**row, "path": path, "peer": peer}


def timed(row: Mapping[str, Any]) -> bool:
    """Whether a row compares times."""
    return bool(TIME.fullmatch(row["metric"]))


def sides(row: Mapping[str, Any]) -> str:
    """Their number and ours.

    >>> sides({"metric": "s / step", "theirs": 0.5, "ours": 0.25})
    '500 ms, ours 250 ms per step'
    """
    unit = row["metric"]
    both = f"ours {quantity(row['ours'], unit)}"
    both = f"{quantity(row['theirs'], unit)}, {both}" if row["theirs"] else both
    found = TIME.fullmatch(unit)
    if not found:
        return f"{unit}: {both}"
    return both + WHERE.get(found["where"], "") + (f" per {found['one']}" if found["one"] else "")


def missing(row: Mapping[str, Any]) -> str:
    """By how much a row misses its bar.

    >>> missing({"ratio": 11.0, "bar": 20, "metric": "s", "ours": 1.0})
    '11 of 20, short by a factor 1.82'
    """
    if row["ratio"] is None:
        over = row["ours"] / row["bar"]
        allowed = (
            f"{quantity(row['ours'], row['metric'])} for {quantity(row['bar'], row['metric'])}"
        )
        return f"{allowed}, over by a factor {number(over)}"
    short = row["bar"] / row["ratio"]
    return f"{number(row['ratio'])} of {number(row['bar'])}, short by a factor {number(short)}"


def group(name: str, card: Mapping[str, Any] | None) -> str:
    """Which script made a result, and on what it ran.

    >>> group("sparse_parity_cuda", {"device": "NVIDIA H100 80GB HBM3"})
    'sparse_parity.py, one NVIDIA H100 80GB HBM3'
    """
    script = f"{name.removesuffix('_cuda')}.py"
    return f"{script}, {device(card)}" if card else script


def barred(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows with a bar or an aim, and those that compare something else of the same two."""
    rows = list(rows)
    goals = "bar", "aim"
    wanted = {(row["path"], row["peer"]) for row in rows if any(row[g] is not None for g in goals)}
    return [row for row in rows if (row["path"], row["peer"]) in wanted]


def alt_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the plot of ratios shows, in words."""
    said = [
        f"{row['path']}, {row['peer']}: {number(row['ratio'])}, "
        f"{'reaches' if row['met'] else 'misses'} {number(row['bar'])}"
        for row in rows
    ]
    return "Ratios on a logarithmic axis. " + "; ".join(said) + "."
