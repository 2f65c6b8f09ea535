"""What a slide shows, cut out of the chapter: equations, figures, code, tables, exercises.

A slide is noted in the metadata of the cell that it is about, as an entry of the list ``slides``:

``title``    the headline, in MyST
``show``     a list of parts, from the top down; one that starts with ``+ `` appears on a key
``notes``    what the lecturer says, asks and expects, in MyST
``minutes``  how long it takes
``beside``   true: the first part at the left, the others at its right

A part is the label of an equation, a figure or an exercise (``eq-...``, ``fig-...``, ``ex-...``,
from any cell of the chapter); or something of the slide's own cell: ``code`` (``code name ...``:
the statements that define these names), ``output``, ``table`` (``table 1 3 / 2 4``: columns 1 and 3
of rows 2 and 4), ``list``, ``display``; or ``error 1``, the first step with a planted error; or
else words, in MyST. So nothing that could be wrong stands twice.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes

from kexue.site.exercises import raw, read, sections
from kexue.site.figures import cut
from kexue.site.ledger import SIGNS, ledger, line, reference
from kexue.site.slips import formula, mixed

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

DECK = "slides/{}.html"
PART = re.compile(
    r"(?P<label>(?:eq|fig|ex)-[\w-]+)"
    r"|(?P<kind>code)(?P<names>(?: [\w-]+)*)"
    r"|(?P<kind2>table|output|list|display|error)(?P<numbers>(?: \d+| /)*)"
)


@dataclass(frozen=True)
class Slide:
    """One slide as a cell's metadata has it; ``cell`` is the cell's place in the notebook."""

    cell: int
    title: str
    show: tuple[str, ...] = ()
    notes: str = ""
    minutes: float = 1.0
    beside: bool = False

    @property
    def words(self) -> list[str]:
        """The parts that are words, without the sign of a step."""
        parts = (part.removeprefix("+ ") for part in self.show)
        return [part for part in parts if not PART.fullmatch(part)]


def address(app: Sphinx, page: str) -> str:
    """Return where the deck of a page is, from the root of the site; nothing if it has none."""
    path = Path(app.env.doc2path(page))
    return DECK.format(path.stem) if path.suffix == ".ipynb" and any(noted(path)) else ""


def noted(path: Path) -> list[list[dict[str, Any]]]:
    """Return what each cell of a notebook notes, an empty list where it is nothing."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell["metadata"].get("slides", []) for cell in cells]


def slides(path: Path) -> list[Slide]:
    """Return the slides noted in a notebook, in order; a wrong one is a ``ValueError``."""
    cells = enumerate(noted(path))
    return [read_slide(place, one, path.name) for place, cell in cells for one in cell]


def read_slide(place: int, one: dict[str, Any], where: str) -> Slide:
    """Return a slide as it is noted in a cell; ``where`` names the notebook in complaints.

    Raises
    ------
    ValueError
        If the slide has no title, something that no slide has, or a part that is no text.
    """
    known = {field.name for field in fields(Slide)} - {"cell"}
    if "title" not in one or not known >= one.keys():
        needs = f"title, and nothing but {', '.join(sorted(known))}"
        raise ValueError(f"{where}, cell {place + 1}: slide {one}, needs {needs}")
    show = tuple(one.get("show", ()))
    if any(not isinstance(part, str) for part in show):
        needs = "needs texts (in YAML, quotes around a colon)"
        raise ValueError(f"{where}, slide {one['title']!r}: show: {needs}")
    return Slide(place, **{**one, "show": show})


@dataclass
class Chapter:
    """A page of the book that slides are cut out of; all that it gives are copies.

    ``errors`` are the planted errors of the page, see :mod:`kexue.site.slips`.
    """

    env: BuildEnvironment
    page: str
    errors: list[dict[str, Any]]

    @cached_property
    def doctree(self) -> nodes.document:
        """The page as it was read."""
        return self.env.get_doctree(self.page)

    def part(self, text: str, slide: Slide) -> list[nodes.Node]:
        """Return what a part of a slide shows.

        Raises
        ------
        ValueError
            If the chapter does not have it.
        """
        found = PART.fullmatch(text)
        if found is None:
            raise ValueError(f"part: got {text!r}, which is words")
        try:
            if label := found["label"]:
                kind = label.partition("-")[0]
                return {"eq": self.equation, "fig": self.figure, "ex": self.exercise}[kind](label)
            if found["kind"]:
                return [self.code(slide.cell, found["names"].split())]
            numbers = found["numbers"].split()
            return getattr(self, found["kind2"])(slide.cell, numbers)
        except (KeyError, IndexError, StopIteration) as error:
            where = f"{self.page}, slide {slide.title!r} in cell {slide.cell + 1}"
            raise ValueError(f"{where}: there is no {text}") from error

    def solution(self, part: str) -> list[nodes.Node]:
        """Return the solution of an exercise, for the notes; nothing for another part."""
        return self._exercise(part).parts["Solution"] if part.startswith("ex-") else []

    # By label

    def equation(self, label: str) -> list[nodes.Node]:
        """An equation with its number, which is a link to the page, and its mark in words."""
        rows = ledger(self.env)["rows"].values()
        row = next(r for page in rows for r in page if r["label"] == label)
        kind = row["record"]["kind"]
        mark = nodes.inline("", f"{SIGNS[kind]} {kind}", classes=["kxd-mark", f"kx-{kind}"])
        number = line(reference(label), " ", mark)
        number["classes"].append("kxd-number")
        return [nodes.container("", formula(row["tex"]), number, classes=["kxd-eq"])]

    def figure(self, label: str) -> list[nodes.Node]:
        """A figure or an explorer; for the caption stands its number, a link to the page."""
        figure, _, called, anchor = cut(self.env, self.page, self.doctree, label)
        number = nodes.reference("", called, refid=anchor, internal=True)
        return [figure, nodes.paragraph("", "", number, classes=["kxd-number"])]

    def exercise(self, label: str) -> list[nodes.Node]:
        """The statement of an exercise, then its hint on a key."""
        found = self._exercise(label)
        hint = found.parts.get("Hint", [])
        step = [raw('<div class="kxd-hint fragment">'), *hint, raw("</div>")] if hint else []
        return [*found.parts["Statement"], *step]

    def _exercise(self, label: str) -> Any:
        return read(next(s for s in sections(self.doctree) if label in s["ids"]))

    # By place

    def cell(self, cell: int, kind: type[nodes.Element]) -> list[Any]:
        """Everything of one kind in a cell: the lines of cell n start at 10000 (n + 1)."""
        for box in self.doctree.findall(nodes.container):
            if box.get("nb_element") == "cell_code" and box["cell_index"] == cell:
                return list(box.findall(kind))
        found = self.doctree.findall(kind)
        return [node for node in found if node.line and node.line // 10_000 == cell + 1]

    def code(self, cell: int, names: list[str]) -> nodes.literal_block:
        """The cell's code, or its statements that define the names."""
        boxes = self.cell(cell, nodes.container)
        box = next(b for b in boxes if b.get("nb_element") == "cell_code_source")
        source = defining(box.astext(), names) if names else box.astext()
        return nodes.literal_block(source, source, language="python")

    def output(self, cell: int, numbers: list[str]) -> list[nodes.Node]:
        """What the cell shows: all of it, or the outputs with these numbers."""
        boxes = self.cell(cell, nodes.container)
        box = next(b for b in boxes if b.get("nb_element") == "cell_code_output")
        picked = [box[int(n) - 1] for n in numbers] or box.children
        return [nodes.container("", *(n.deepcopy() for n in picked), classes=["kxd-output"])]

    def table(self, cell: int, numbers: list[str]) -> list[nodes.Node]:
        """The cell's first table: these columns and, after a stroke, these rows."""
        copy = self.cell(cell, nodes.table)[0].deepcopy()
        copy.children = [child for child in copy if isinstance(child, nodes.tgroup)]
        at = numbers.index("/") if "/" in numbers else len(numbers)
        columns, rows = numbers[:at], numbers[at + 1 :]
        if rows:
            body = next(iter(copy.findall(nodes.tbody)))
            body.children = [body[int(n) - 1] for n in rows]
        if columns:
            for row in [copy[0], *copy.findall(nodes.row)]:
                kind = nodes.colspec if row is copy[0] else nodes.entry
                cut = [child for child in row if isinstance(child, kind)]
                others = [child for child in row if not isinstance(child, kind)]
                row.children = [cut[int(n) - 1] for n in columns] + others
        return [copy]

    def list(self, cell: int, numbers: list[str]) -> list[nodes.Node]:
        """The cell's first list: all of it, or these items."""
        copy = self.cell(cell, nodes.bullet_list)[0].deepcopy()
        copy.children = [copy[int(n) - 1] for n in numbers] or copy.children
        return [copy]

    def display(self, cell: int, numbers: list[str]) -> list[nodes.Node]:
        """A formula that has no number: the cell's first, or that with this number."""
        free = [node for node in self.cell(cell, nodes.math_block) if not node.get("label")]
        return [free[int(numbers[0]) - 1 if numbers else 0].deepcopy()]

    def error(self, cell: int, numbers: list[str]) -> list[nodes.Node]:
        """A step with a planted error; what is wrong with it, and what is right, on a key."""
        slip = self.errors[int(numbers[0]) - 1]
        out = ["Written out for ", nodes.math("", slip["cases"]), ":"] if slip["cases"] else []
        what = line(nodes.strong("", "The error: "), *mixed(slip["what"]), ".")
        return [
            *([line(*out)] if out else []),
            formula(slip["wrong"]),
            raw('<div class="kxd-answer fragment">'),
            what,
            *self.equation(slip["label"]),
            raw("</div>"),
        ]


def defining(source: str, names: Iterable[str]) -> str:
    """Return the statements of a program that define names, in the order of the names.

    A statement that only calls something goes by the first text that it is given.

    >>> defining("a = 1\\nb = 2\\n\\ndef f(x):\\n    return x\\n", ["f", "a"])
    'def f(x):\\n    return x\\n\\na = 1'
    """
    lines, by_name = source.split("\n"), {}
    for statement in ast.parse(source).body:
        first = min(
            [statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))]
        )
        text = "\n".join(lines[first - 1 : statement.end_lineno])
        if hasattr(statement, "name"):
            defined = [statement.name]
        elif isinstance(statement, ast.Expr):
            given = (n.value for n in ast.walk(statement) if isinstance(n, ast.Constant))
            defined = [v for v in given if isinstance(v, str)][:1]
        else:
            named = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
            defined = [n.id for n in named if isinstance(n.ctx, ast.Store)]
        by_name.update(dict.fromkeys(defined, text))
    return "\n\n".join(dict.fromkeys(by_name[name] for name in names))
