"""The equation ledger on the site: a mark beside every numbered equation, and the ledger page.

Executes nothing: the records are read from the notebook's stored outputs, where each check left
one in a ``data-ledger`` attribute. A numbered equation without a record, a record without an
equation, a number on something that is not labeled ``eq-...`` and a citation that the bibliography
(sphinxcontrib-bibtex) does not hold are warnings, which the book's build takes for errors.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from kexue.site.fresh import differs

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)

DATA = re.compile(r'data-ledger="([^"]*)"')
SIGNS = {"proved": "✓", "measured": "≈", "cited": "❞", "defined": "≔", "assumed": "△"}
SYMBOL = re.compile(r"\b([A-Za-z]_(?:\w\b|\{[^{}]*\}))")  # in words: x_0, p_t
JOIN = {"proved": " ", "measured": " ", "cited": ": ", "defined": ": ", "assumed": ": "}


class ledger_mark(nodes.General, nodes.Element):
    """What opens beside an equation; its children say how the equation was checked."""


class ledger_table(nodes.General, nodes.Element):
    """Stands where the table of all equations will be."""


class LedgerTable(SphinxDirective):
    """``{ledger-table}``: every numbered equation of the book and what it rests on."""

    def run(self) -> list[nodes.Node]:
        """Note which page holds the ledger and leave a place for the table."""
        ledger(self.env)["pages"].add(self.env.docname)
        # The formula inside tells Sphinx's MathJax, where it is used, that it is needed here.
        return [ledger_table("", nodes.math("", "0"))]


def records(path: str | Path) -> list[dict[str, Any]]:
    """Return the records stored in the outputs of the notebook at ``path``, in order."""
    if Path(path).suffix != ".ipynb":
        return []
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for data in DATA.findall("".join(output.get("data", {}).get("text/html", ""))):
                found.append(json.loads(html.unescape(data)))
    return found


def ledger(env: BuildEnvironment) -> dict[str, Any]:
    """What the build knows: the rows of each page, and the pages that hold the ledger."""
    if not hasattr(env, "kexue_ledger"):
        env.kexue_ledger = {"rows": {}, "pages": set()}
    return env.kexue_ledger


def warn(message: str, *arguments: Any, location: Any) -> None:
    """Warn in the category ``kexue.ledger``."""
    log.warning(message, *arguments, location=location, type="kexue", subtype="ledger")


def mark_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Put a mark beside each numbered equation of a page, and note the page's rows."""
    env, page = app.env, app.env.docname
    by_label: dict[str, dict] = {}
    for record in records(env.doc2path(page)):
        label, kind = record.get("label"), record.get("kind")
        if kind not in SIGNS:
            warn("record %s is of an unknown kind: %s", label, kind, location=page)
        elif label in by_label:
            warn("two records for equation %s", label, location=page)
        else:
            by_label[label] = record
    rows = []
    for node in list(doctree.findall(nodes.math_block)):
        label = node.get("label")
        if not label:
            continue
        if not label.startswith("eq-"):  # an amsmath environment gets a number and a random label
            text = (
                "a number without a label eq-...: %.50s (write $$...$$ (eq-name); in it, aligned)"
            )
            warn(text, node.astext().replace("\n", " "), location=node)
            continue
        record = by_label.pop(label, None)
        if record is None:
            warn("equation %s has no record: nothing checks it", label, location=node)
            continue
        if (key := record.get("key")) and key not in bibliography(env):
            text = "equation %s cites %s, which is not in the bibliography"
            warn(text, label, record.pop("key"), location=node)
        box, parent = nodes.container(classes=["kx-eq"]), node.parent
        parent[parent.index(node)] = box
        box += [node, mark(record)]
        rows.append({"label": label, "tex": node.astext(), "record": record})
    for label in by_label:
        warn("record %s has no numbered equation on the page", label, location=page)
    ledger(env)["rows"][page] = rows


def bibliography(env: BuildEnvironment) -> Container[str]:
    """The keys that can be cited; none without sphinxcontrib-bibtex."""
    if "cite" not in env.domains:
        return ()
    return env.get_domain("cite").bibdata.data.entries


def mark(record: dict[str, Any]) -> ledger_mark:
    """The mark of one record: what kind, how, on which premises, as the machine has it."""
    result = ledger_mark(kind=record["kind"], label=record["label"])
    result += evidence(record)
    if record.get("stated"):
        result += line("As the machine has it: ", nodes.math("", record["stated"]))
    result += line(nodes.literal("", record["label"]))
    return result


def evidence(record: dict[str, Any]) -> list[nodes.paragraph]:
    """Sentences on how an equation was checked, with links to its premises."""
    kind, how = record["kind"], record.get("how", "")
    words = f"{JOIN[kind]}{how}" if how else " here" if kind == "defined" else ""
    pieces = SYMBOL.split(words.rstrip("."))
    told = [nodes.math("", p) if k % 2 else nodes.Text(p) for k, p in enumerate(pieces)]
    source = [" ", citation(record["key"])] if "key" in record else []
    found = [line(nodes.strong("", kind.capitalize()), *told, *source, ".")]
    if record.get("given"):
        parts: list[Any] = ["Given "]
        for label in record["given"]:
            parts += [reference(label), ", "]
        found.append(line(*parts[:-1], "."))
    if record.get("at"):
        cases = (f"{k} = {', '.join(map(str, v))}" for k, v in record["at"].items())
        found.append(line(f"Checked at {' and '.join(cases)}, not in general."))
    if "tolerance" in record:
        points = "1 point" if record["points"] == 1 else f"{record['points']} points"
        bars = ", no more than five error bars," if record.get("monte_carlo") else ""
        found.append(line(f"Agrees within {record['tolerance']:g}{bars} at {points}."))
    return found


def line(*parts: Any) -> nodes.paragraph:
    """A paragraph that translators need not see."""
    children = [nodes.Text(p) if isinstance(p, str) else p for p in parts]
    return nodes.paragraph("", "", *children, translatable=False)


def reference(label: str) -> addnodes.pending_xref:
    """A link to an equation by its number, as the role ``{eq}`` makes it."""
    return addnodes.pending_xref(
        "",
        nodes.literal("", label),
        refdomain="math",
        reftype="eq",
        reftarget=label,
        refwarn=True,
        refexplicit=False,
    )


def citation(key: str) -> addnodes.pending_xref:
    """A link to an entry of the bibliography, as the role ``{cite}`` makes it."""
    return addnodes.pending_xref(
        "", nodes.inline("", key), refdomain="cite", reftype="p", reftarget=key, refwarn=True
    )


def purge(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget a page that is read again or gone."""
    ledger(env)["rows"].pop(page, None)
    ledger(env)["pages"].discard(page)


def merge(app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    theirs = ledger(other)
    ledger(env)["rows"].update({p: theirs["rows"][p] for p in pages if p in theirs["rows"]})
    ledger(env)["pages"].update(theirs["pages"] & set(pages))


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The ledger page shows the equations of every other: write it again when one changed."""
    changed = differs(env, "ledger", [order(env), ledger(env)["rows"]])
    return sorted(ledger(env)["pages"]) if changed else []


class FillTables(SphinxPostTransform):
    """Put the table in its place, chapter by chapter in the order of the book."""

    default_priority = 5  # before references are resolved, at 10

    def run(self, **kwargs: Any) -> None:
        """Replace each placeholder of the page."""
        for node in list(self.document.findall(ledger_table)):
            node.replace_self(table_of(self.env, self.env.docname))


def table_of(env: BuildEnvironment, here: str) -> list[nodes.Node]:
    """Totals, then a table a chapter, for the page ``here``."""
    chapters = [(page, rows) for page in order(env) if (rows := ledger(env)["rows"].get(page))]
    every = [row["record"]["kind"] for _, rows in chapters for row in rows]
    size = f"{len(chapters)} {'chapter' if len(chapters) == 1 else 'chapters'}"
    text = f"{len(every)} numbered equations in {size}: {totals(every)}."
    found: list[nodes.Node] = [nodes.paragraph("", text, classes=["kx-totals"])]
    for page, rows in chapters:
        kinds = [row["record"]["kind"] for row in rows]
        title = nodes.title("", "", link_to(page, env, here))
        title += nodes.Text(f": {len(rows)} equations, {totals(kinds)}")
        anchor = "ledger-" + re.sub(r"\W+", "-", page)
        table = nodes.table("", title, classes=["kx-ledger", "colwidths-given"], ids=[anchor])
        group = nodes.tgroup(cols=3)
        group += [nodes.colspec(colwidth=width) for width in (16, 52, 32)]
        head = nodes.row()
        head += [nodes.entry("", line(text)) for text in ("Number", "As printed", "Evidence")]
        group += nodes.thead("", head)
        group += nodes.tbody("", *(row_of(row) for row in rows))
        table += group
        found.append(table)
    return found


def order(env: BuildEnvironment) -> list[str]:
    """The pages in the order of the table of contents, the others after them."""
    seen: list[str] = []

    def walk(page: str) -> None:
        if page not in seen:
            seen.append(page)
            for child in env.toctree_includes.get(page, []):
                walk(child)

    walk(env.config.root_doc)
    return seen + sorted(set(ledger(env)["rows"]) - set(seen))


def totals(kinds: list[str]) -> str:
    """How many of each kind, strongest first."""
    count = Counter(kinds)
    return ", ".join(f"{count[kind]} {kind}" for kind in SIGNS if count[kind]) or "none"


def link_to(page: str, env: BuildEnvironment, here: str, words: str = "") -> addnodes.pending_xref:
    """A link to a page that reads as its title, or as other words."""
    return addnodes.pending_xref(
        "",
        nodes.inline("", words or env.titles[page].astext()),
        refdomain="std",
        reftype="doc",
        reftarget="/" + page,
        refdoc=here,
        refexplicit=True,
        refwarn=True,
    )


def row_of(row: dict[str, Any]) -> nodes.row:
    """One equation: its number, the formula as printed, the evidence."""
    label = row["label"]
    formula = nodes.math_block("", row["tex"], nowrap=False, number=None, label=None)
    cells = [
        [line(reference(label)), line(nodes.literal("", label))],
        [formula],
        evidence(row["record"]),
    ]
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


def visit_mark(self: HTML5Translator, node: ledger_mark) -> None:
    """Open the ``details`` element: keyboard, screen reader and print need no script."""
    kind, label = node["kind"], html.escape(node["label"])
    self.body.append(
        f'<details class="kx-mark kx-{kind}"><summary title="{kind}">'
        f'<span aria-hidden="true">{SIGNS[kind]}</span>'
        f'<span class="kx-unseen">{kind}: how equation {label} was checked</span>'
        '</summary><div class="kx-how">'
    )


def depart_mark(self: HTML5Translator, node: ledger_mark) -> None:
    """Close the ``details`` element."""
    self.body.append("</div></details>")


def skip(self: Any, node: nodes.Node) -> None:
    """Leave the marks out where nothing can be opened."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the marks, the ``{ledger-table}`` directive and the style sheet."""
    others = dict.fromkeys(("latex", "text", "man", "texinfo", "gettext"), (skip, None))
    app.add_node(ledger_mark, html=(visit_mark, depart_mark), **others)
    app.add_node(ledger_table, html=(skip, None), **others)
    app.add_directive("ledger-table", LedgerTable)
    app.connect("doctree-read", mark_equations)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", outdated)
    app.add_post_transform(FillTables)
    app.add_css_file("ledger.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
