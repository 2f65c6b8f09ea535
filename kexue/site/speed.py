"""How fast the book's code is: tables, ratios and curves out of the stored benchmarks.

Executes nothing and measures nothing: every number is read from ``benchmarks/results/<name>.json``
when the page is built, with the run card in it. A row that misses its bar needs a reason on the
page, and a result needs a card; where one is missing the build warns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from kexue.site import speed_draw
from kexue.site.exercises import raw
from kexue.site.ledger import line
from kexue.site.speed_rows import (
    alt_of,
    barred,
    filled,
    group,
    missing,
    number,
    quantity,
    sides,
    timed,
)
from kexue.site.status import device, table, versions

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)


class Stored(SphinxDirective):
    """What reads stored results, whose names are the argument."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def results(self) -> dict[str, dict[str, Any]]:
        """Name to stored result, rows filled; the page is written again when a file changes."""
        folder, found = Path(self.env.srcdir) / self.config.kexue_benchmarks, {}
        for name in self.arguments[0].split():
            path = folder / f"{name}.json"
            self.env.note_dependency(str(path))
            if not path.is_file():
                continue
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            found[name]["rows"] = list(filled(found[name]["rows"]))
            if not found[name]["card"]:
                self.warn("result %s has no run card", name)
        return found

    def warn(self, message: str, *arguments: str) -> None:
        """Warn in the category ``kexue.speed``."""
        where = self.get_location()
        log.warning(message, *arguments, location=where, type="kexue", subtype="speed")

    def told_apart(self, made: list[nodes.Node]) -> list[nodes.Node]:
        """The same, every table with an id of its own."""
        for node in (found for part in made for found in part.findall(nodes.table)):
            node["ids"] = [f"speed-{self.env.new_serialno('speed')}"]
        return made

    def parsed(self) -> list[nodes.Node]:
        """The directive's content."""
        return self.parse_content_to_nodes()

    def figure(self, drawn: str, results: Mapping[str, Any]) -> list[nodes.Node]:
        """A drawing with the content as its caption and the run cards folded below it."""
        made = nodes.figure("", raw(drawn), classes=["kx-speed"])
        text = self.parsed()
        made += nodes.caption("", "", *(text[0].children if text else []))
        return self.told_apart([made, *folded("Run cards of this figure", [cards(results)])])


class Speed(Stored):
    """``{speed} name ...``: the rows with a bar; the content says why a bar is missed.

    The content is a definition list: the term is part of "path, peer" of the row.
    """

    def run(self) -> list[nodes.Node]:
        """A table, the misses and their reasons, all the rows folded, the run cards."""
        results, why = self.results(), self.reasons()
        made: list[nodes.Node] = []
        missed: list[Mapping[str, Any]] = []
        for name, stored in results.items():
            rows, title = stored["rows"], group(name, stored["card"])
            shown = barred(rows)
            missed += [row for row in rows if not row["met"]]
            made += [chart(title, shown), card_line(stored)]
            if len(rows) > len(shown):
                made += folded(f"All {len(rows)} rows", [chart(f"{title}: all rows", rows)])
        absent = [name for name in self.arguments[0].split() if name not in results]
        made += [line("Not measured yet: ", nodes.literal("", name), ".") for name in absent]
        return self.told_apart([*made, *self.misses(missed, why)])

    def misses(
        self, missed: Iterable[Mapping[str, Any]], why: Mapping[str, nodes.definition]
    ) -> list[nodes.Node]:
        """By how much bars are missed; rows of one reason together."""
        told: dict[nodes.definition, list[str]] = {}
        for row in missed:
            label = row["path"] if row["peer"] == "-" else f"{row['path']}, {row['peer']}"
            reason = next((why[term] for term in why if term in label), None)
            if reason is None:
                self.warn("%s misses its bar, and the page does not say why", label)
                continue
            told.setdefault(reason, []).append(f"{label}: {missing(row)}")
        items = [
            nodes.definition_list_item("", nodes.term("", "; ".join(labels)), reason)
            for reason, labels in told.items()
        ]
        head = line(nodes.strong("", "Where a bar is missed, and why"))
        return [head, nodes.definition_list("", *items, classes=["kx-misses"])] if items else []

    def reasons(self) -> dict[str, nodes.definition]:
        """Term to definition."""
        found = {}
        for node in self.parsed():
            for item in node.findall(nodes.definition_list_item):
                found[item[0].astext()] = item[-1]
        return found


class SpeedSummary(Stored):
    """``{speed-summary} name ...``: how many bars are reached, and which are not."""

    def run(self) -> list[nodes.Node]:
        """A sentence or three."""
        results = self.results()
        bars = {name: [row for row in r["rows"] if row["bar"]] for name, r in results.items()}
        missed = {name: sum(not row["met"] for row in rows) for name, rows in bars.items()}
        total = sum(map(len, bars.values()))
        text = f"Of {total} bars {total - sum(missed.values())} are reached. "
        where = [
            f"{missed[name]} of {len(rows)} in {group(name, results[name]['card'])}"
            for name, rows in bars.items()
            if missed[name]
        ]
        text += f"Missed, each with its reason below: {'; '.join(where)}. " if where else ""
        absent = [name for name in self.arguments[0].split() if name not in results]
        return [line(text + (f"Not measured yet: {', '.join(absent)}." if absent else ""))]


class SpeedPlot(Stored):
    """``{speed-plot} name ...``: every ratio of times that has a bar, on one logarithmic axis."""

    def run(self) -> list[nodes.Node]:
        """The figure."""
        results = self.results()
        rows = [
            {**row, "group": group(name, stored["card"]), "said": number(row["ratio"])}
            for name, stored in results.items()
            for row in stored["rows"]
            if row["bar"] is not None and row["ratio"] is not None and timed(row)
        ]
        return self.figure(speed_draw.ratios(rows, alt_of(rows)), results) if rows else []


class SpeedCurves(Stored):
    """``{speed-curves} name``: quality against time, both logarithmic.

    Options ``x`` and ``y``: the field of a point, then its label on the axis; ``bar``: the quality
    that must be reached, a number or where ``about`` has it.
    """

    option_spec: ClassVar = {
        "x": directives.unchanged_required,
        "y": directives.unchanged_required,
        "bar": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """The figure."""
        results = self.results()
        (x, x_label), (y, y_label) = (self.options[name].split(" ", 1) for name in "xy")
        curves = {
            label: [(float(p[x]), float(p[y])) for p in points if x in p and y in p]
            for stored in results.values()
            for label, points in stored["about"].get("curves", {}).items()
        }
        if not curves:
            return []
        bar = self.options.get("bar")
        for stored in results.values():
            bar = stored["about"].get(bar, bar)
        drawn = speed_draw.curves(curves, x_label, y_label, float(bar) if bar else None)
        return self.figure(drawn, results)


def chart(title: str, rows: Iterable[Mapping[str, Any]]) -> nodes.table:
    """A row a comparison."""
    head, made = ["What, against what", "Theirs, ours", "Ratio", "Share of the limit"], []
    for row in rows:
        share = "" if row["share"] is None else f"{100 * row['share']:.2g} % of the limit"
        peer = [] if row["peer"] == "-" else [line(f"against {row['peer']}")]
        made.append([[line(row["path"]), *peer], [line(sides(row))], ratio(row), [line(share)]])
    found = table(title, head, (36, 26, 24, 14), made)
    found["classes"].append("kx-measured-table")
    return found


def ratio(row: Mapping[str, Any]) -> list[nodes.paragraph]:
    """The ratio with its spread, the bar, the aim."""
    if row["ratio"] is None:
        if row["bar"] is None:
            return []
        goals = {"at most": row["bar"], "aim": row["aim"]}
        words = ", ".join(f"{k} {quantity(v, row['metric'])}" for k, v in goals.items() if v)
        return [line(words)] if row["met"] else [line(nodes.strong("", "missed: "), words)]
    if not timed(row):  # of a quality one asks whether it is no worse
        words = f"{number(1 / row['ratio'])} of theirs"
        words += f"; at most {number(1 / row['bar'])}" if row["bar"] else ""
        return [line(words if row["met"] else f"missed: {words}")]
    said = [nodes.strong("", f"{number(row['ratio'])} times")]
    if row["spread"]:
        said.append(nodes.Text(f" ({number(row['spread'][0])} to {number(row['spread'][1])})"))
    goals = {"must reach": row["bar"], "aim": row["aim"]}
    words = ", ".join(f"{name} {number(value)}" for name, value in goals.items() if value)
    return [line(*said)] + ([line(("" if row["met"] else "missed: ") + words)] if words else [])


def card_line(stored: Mapping[str, Any]) -> nodes.paragraph:
    """A result's run card in a line."""
    card = stored["card"]
    if not card:
        return line("No run card.")
    made = f"{card['date'][:10]}, revision {(card['revision'] or 'unknown')[:7]}"
    driver = f", driver {card['driver']}" if card["driver"] else ""
    words = f"{device(card)}{driver}, {versions(card)}, {card['precision']}; {made}"
    return nodes.paragraph("", f"Run card: {words}.", classes=["kx-card-line"], translatable=False)


def cards(results: Mapping[str, Any]) -> nodes.table:
    """A row a run card, as on the status page."""
    rows = [
        [[line(nodes.literal("", name))], [card_line(stored)]] for name, stored in results.items()
    ]
    return table("Run cards", ["Benchmark", "Device, versions, date, revision"], (25, 75), rows)


def folded(summary: str, content: list[nodes.Node]) -> list[nodes.Node]:
    """Content that opens with a click."""
    start = raw(f"<details><summary>{summary}</summary>")
    return [start, *content, raw("</details>")]


def setup(app: Sphinx) -> None:
    """Register the directives and the style sheet."""
    app.add_config_value("kexue_benchmarks", "benchmarks/results", "env")
    app.add_directive("speed", Speed)
    app.add_directive("speed-summary", SpeedSummary)
    app.add_directive("speed-plot", SpeedPlot)
    app.add_directive("speed-curves", SpeedCurves)
    app.add_css_file("speed.css")
