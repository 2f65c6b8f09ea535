"""Keep together what belongs together: a formula and its punctuation, a number and what it counts.

A browser may break a line on either side of a typeset formula, which leaves full stops and commas
alone at the start of the next line. Where punctuation touches a formula, the two become one
unbreakable span; only HTML is concerned. In a table "0.19 to 0.25" would take three lines,
"9 s" two. On a phone and on paper a wide table stands cell below cell: each then says what it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BEFORE = re.compile(r"[(\[{“‘/]+$")
AFTER = re.compile(r"^(?:[.,;:!?)\]}”’%/]|-\w+)+")
INTERVAL = re.compile(r"(?<=\d) to (?=[-+\u2212]?\d)|(?<=\d) (?=(?:ms|s|min|h|kB|MB|GB|%)(?!\w))")


class KeepPunctuation(SphinxPostTransform):
    """Wrap each inline formula and the punctuation that touches it."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Change the page's paragraphs in place."""
        for formula in list(self.document.findall(nodes.math)):
            parent = formula.parent
            if not isinstance(parent, nodes.TextElement):
                continue
            index = parent.index(formula)
            before, after = "", ""
            if index > 0 and isinstance(parent[index - 1], nodes.Text):
                before = take(parent, index - 1, BEFORE)
                index = parent.index(formula)
            if index + 1 < len(parent) and isinstance(parent[index + 1], nodes.Text):
                after = take(parent, index + 1, AFTER)
            if before or after:
                span = nodes.inline(classes=["kx-nobreak"])
                parent.replace(formula, span)
                span += [nodes.Text(before), formula, nodes.Text(after)]


class KeepNumbers(SphinxPostTransform):
    """No break inside an interval, or between a number and its unit, in a table."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Change the page's tables in place."""
        for entry in self.document.findall(nodes.entry):
            for text in list(entry.findall(nodes.Text)):
                if INTERVAL.search(text):
                    kept = INTERVAL.sub(lambda m: m[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
                    text.parent.replace(text, nodes.Text(kept))


class LabelCells(SphinxPostTransform):
    """In a table of the class ``kx-labeled`` a cell repeats the head of its column.

    The style sheet shows that where cells stand below each other, and the head where they do not.
    """

    default_priority = 910
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Change the page's tables in place."""
        for table in self.document.findall(nodes.table):
            if "kx-labeled" not in table["classes"]:
                continue
            (head,) = table.findall(nodes.thead)
            (body,) = table.findall(nodes.tbody)
            names = [entry.astext() for entry in head[0]][1:]
            for row in body:
                for name, entry in zip(names, row[1:], strict=True):
                    entry.insert(0, nodes.paragraph("", name, classes=["kx-label"]))


def take(parent: nodes.TextElement, index: int, pattern: re.Pattern[str]) -> str:
    """Cut what matches ``pattern`` off the text at ``index`` and return it."""
    text = str(parent[index])
    match = pattern.search(text)
    if match is None:
        return ""
    rest = text[: match.start()] + text[match.end() :]
    parent[index] = nodes.Text(rest)
    return match[0]


def setup(app: Sphinx) -> None:
    """Register the transforms."""
    app.add_post_transform(KeepPunctuation)
    app.add_post_transform(KeepNumbers)
    app.add_post_transform(LabelCells)
