"""Plots of benchmarks as HTML and SVG whose letters keep their size on a phone.

Places along an axis are percentages, heights are pixels: a drawing is as wide as the page, nothing
in it is scaled. Colors are those of the book's figures; ink is the page's text color. What a color
says is also said by a shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

BLUE, RED = "#3a7fc1", "#d6592b"
COLORS = (BLUE, RED, "#2b9470", "#a766a3", "#ad7d0f", "#7d7d7d")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2")  # not as many as colors: pairs repeat late
SHAPES = {  # around the origin
    "dot": '<circle r="4.5"/>',
    "cross": '<path d="M-5-5L5 5M-5 5L5-5" fill="none" stroke="currentColor" stroke-width="2.5"/>',
    "bar": '<path d="M0-9V9" stroke="currentColor" stroke-width="2"/>',
    "aim": '<path d="M0-6L6 0L0 6L-6 0Z" fill="none" stroke="currentColor" stroke-width="1.5"/>',
}
HEIGHT = 280  # of a plot of curves, in pixels


class Axis:
    """A logarithmic axis from ``low`` to ``high``: values to percent."""

    def __init__(self, values: Iterable[float], whole: bool) -> None:
        """Around positive ``values``; ``whole``: from one power of ten to another."""
        logs = [math.log10(v) for v in values]
        low, high = min(logs), max(logs)
        room = 0 if whole else 0.04 * max(high - low, 0.3)
        self.low, self.high = (math.floor(low), math.ceil(high)) if whole else (low, high)
        self.low, self.high = self.low - room, max(self.high, self.low + 0.1) + room

    def __call__(self, value: float) -> float:
        """Percent of the way from low to high.

        >>> Axis([1, 100], whole=True)(10)
        50.0
        """
        return round(100 * (math.log10(value) - self.low) / (self.high - self.low), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Powers of ten, or 1, 2, 5 times these where there are few; with labels.

        >>> [label for _, label in Axis([0.1, 1e5], whole=True).ticks()]
        ['0.1', '1', '10', '100', '1,000', '10⁴', '10⁵']
        """
        powers = range(math.floor(self.low) - 1, math.ceil(self.high) + 1)
        for steps in ((1,), (1, 2, 5)):
            values = [s * 10.0**p for p in powers for s in steps]
            inside = [v for v in values if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]
            if len(inside) > 2:
                break
        return [(v, power(v)) for v in inside]


def power(value: float) -> str:
    """A tick's label: a number from 0.001 to 1,000, else a power of ten."""
    exponent = math.floor(math.log10(value) + 1e-9)
    lead = round(value / 10.0**exponent)
    if -3 <= exponent <= 3:
        return f"{lead * 10**exponent:,}" if exponent >= 0 else f"{value:.{-exponent}f}"
    high = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{high}" if lead == 1 else f"{lead}·10{high}"


def at(x: float, y: float | str, shape: str, color: str = "") -> str:
    """A shape at x percent."""
    paint = f' fill="{color}" style="color:{color}"' if color else ' fill="currentColor"'
    return f'<svg x="{x}%" y="{y}" overflow="visible"{paint}>{SHAPES[shape]}</svg>'


def track(inner: str, height: int = 22) -> str:
    """A strip as wide as its column."""
    return f'<svg class="kx-track" width="100%" height="{height}">{inner}</svg>'


def ratios(rows: Sequence[Mapping[str, Any]], alt: str) -> str:
    """A strip a row: the ratio with its spread, the bar, the aim; 1 is where nobody is faster.

    Beside what a row has stored it needs its ``group``, and its ratio as ``said``.
    """
    marks = [[row["ratio"], row["bar"], row["aim"], *(row["spread"] or [])] for row in rows]
    axis = Axis([1.0, *(m for several in marks for m in several if m)], whole=True)
    grid = "".join(
        f'<line x1="{axis(v)}%" x2="{axis(v)}%" y1="0" y2="100%" '
        f'class="{"kx-one" if v == 1 else "kx-grid"}"/>'
        for v, _ in axis.ticks()
    )
    labels = track(
        "".join(f'<text x="{axis(v)}%" y="15" class="kx-tick">{label}</text>' for v, label in
                axis.ticks())
    )  # fmt: skip
    scale, group = f'<div></div><div class="kx-scale">{labels}</div>', ""
    made = [scale]
    for row in rows:
        drawn = grid
        if row["spread"]:
            low, high = map(axis, row["spread"])
            drawn += f'<line x1="{low}%" x2="{high}%" y1="11" y2="11" class="kx-spread"/>'
        drawn += at(axis(row["bar"]), 11, "bar")
        if row["aim"]:
            drawn += at(axis(row["aim"]), 11, "aim")
        shape, color = ("dot", BLUE) if row["met"] else ("cross", RED)
        drawn += at(axis(row["ratio"]), 11, shape, color)
        if row["group"] != group:
            group = row["group"]
            made.append(f'<div class="kx-group">{escape(group)}</div>')
        label = f"{escape(row['path'])} <span>against {escape(row['peer'])}</span>"
        made.append(f'<div class="kx-what">{label} <b>{row["said"]}</b></div>')
        made.append(f'<div class="kx-strip">{track(drawn)}</div>')
    legend = [("dot", BLUE, "reaches its bar"), ("cross", RED, "misses it")]
    legend += [("bar", "", "the bar"), ("aim", "", "the aim")]
    key = "".join(
        f'<span><svg width="14" height="20">{at(50, 10, shape, color)}</svg> {name}</span>'
        for shape, color, name in legend
    )
    return (
        f'<div class="kx-ratios" role="img" aria-label="{escape(alt)}">{"".join(made)}{scale}</div>'
        f'<p class="kx-key" aria-hidden="true">{key}</p>'
    )


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    bar: float | None = None,
) -> str:
    """Lines through points, both axes logarithmic; ``bar`` is a dashed level."""
    points = [p for line in lines.values() for p in line]
    x = Axis([p[0] for p in points], whole=False)
    y = Axis([*(p[1] for p in points), *([bar] if bar else [])], whole=False)
    drawn = []
    for v, label in x.ticks():
        drawn.append(f'<line x1="{x(v)}%" x2="{x(v)}%" y1="0" y2="100%" class="kx-grid"/>')
        drawn.append(f'<text x="{x(v)}%" y="{HEIGHT + 17}" class="kx-tick">{label}</text>')
    for v, label in y.ticks():
        h = 100 - y(v)
        drawn.append(f'<line x1="0" x2="100%" y1="{h:.2f}%" y2="{h:.2f}%" class="kx-grid"/>')
        drawn.append(f'<text x="-7" y="{h:.2f}%" dy="4" class="kx-level">{label}</text>')
    if bar:
        h = f"{100 - y(bar):.2f}%"
        drawn.append(f'<line x1="0" x2="100%" y1="{h}" y2="{h}" class="kx-one"/>')
    key, said = [], []
    for i, (name, line) in enumerate(lines.items()):
        color, dash = COLORS[i % len(COLORS)], DASHES[i % len(DASHES)]
        places = [(x(a), f"{100 - y(b):.2f}%") for a, b in sorted(line)]
        paint = f'stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"'
        for (a, b), (c, d) in itertools.pairwise(places):
            drawn.append(f'<line x1="{a}%" y1="{b}" x2="{c}%" y2="{d}" {paint}/>')
        drawn += [f'<circle cx="{a}%" cy="{b}" r="3" fill="{color}"/>' for a, b in places]
        swatch = f'<line x1="0" x2="26" y1="10" y2="10" {paint}/>'
        key.append(f'<span><svg width="26" height="20">{swatch}</svg> {escape(name)}</span>')
        (a, b), (c, d) = min(line), max(line)
        said.append(f"{name}: from {b:.3g} at {a:.3g} to {d:.3g} at {c:.3g}")
    alt = f"{y_label} against {x_label}, both logarithmic. {'; '.join(said)}."
    alt += f" Dashed level: {bar:g}." if bar else ""
    inner = f'<svg width="100%" height="{HEIGHT}" overflow="visible">{"".join(drawn)}</svg>'
    return (
        f'<div class="kx-curves" role="img" aria-label="{escape(alt)}">'
        f'<p class="kx-y">{escape(y_label)}</p>{inner}<p class="kx-x">{escape(x_label)}</p></div>'
        f'<p class="kx-key" aria-hidden="true">{"".join(key)}</p>'
    )
