"""The exercises of a page, taken apart: a statement, a folded hint, a folded solution."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from docutils import nodes
from sphinx import addnodes

FOLD = re.compile(r"<details\b[^>]*>\s*<summary>(?P<name>.*?)</summary>|</details>", re.DOTALL)
LEVEL = re.compile(r"\s*\((?P<level>[^()]*)\)$")


@dataclass
class Exercise:
    """One exercise: where it stands, its title, how hard it is, and its parts by name."""

    anchor: str
    title: list[nodes.Node]
    level: str = ""
    parts: dict[str, list[nodes.Node]] = field(default_factory=dict)

    def equations(self, *names: str) -> set[str]:
        """The labels of the equations that these parts refer to."""
        inside = [node for name in names for node in self.parts.get(name, ())]
        found = (ref for node in inside for ref in node.findall(addnodes.pending_xref))
        return {ref["reftarget"] for ref in found if ref["reftype"] == "eq"}


def raw(text: str) -> nodes.raw:
    """HTML as it is."""
    return nodes.raw("", text, format="html")


def sections(doctree: nodes.document) -> list[nodes.section]:
    """The sections of a page that are exercises: those labeled ``ex-...``."""
    found = doctree.findall(nodes.section)
    return [node for node in found if any(name.startswith("ex-") for name in node["ids"])]


def read(section: nodes.section) -> Exercise:
    """Take an exercise apart; its nodes are copies.

    What stands under no fold is the statement; the title ends in how hard it is, in brackets.
    """
    heading = next(iter(section.findall(nodes.title))).deepcopy()
    result = Exercise(next(n for n in section["ids"] if n.startswith("ex-")), heading.children)
    if isinstance(heading[-1], nodes.Text) and (level := LEVEL.search(heading[-1])):
        result.level = level["level"]
        heading[-1] = nodes.Text(heading[-1][: level.start()])
    part = result.parts.setdefault("Statement", [])
    for node in section.children:
        if isinstance(node, nodes.title):
            continue
        if not isinstance(node, nodes.raw):
            part.append(node.deepcopy())
            continue
        at, text = 0, node.astext()
        for fold in FOLD.finditer(text):
            part += [raw(rest)] if (rest := text[at : fold.start()].strip()) else []
            part = result.parts.setdefault(fold["name"] or "Statement", [])
            at = fold.end()
        part += [raw(rest)] if (rest := text[at:].strip()) else []
    return result
