"""Sheets to print: exercises without solutions and with them, and steps with an error in them.

A chapter is a page with sections labeled ``ex-...``, each a statement followed by a folded
``Hint`` and a folded ``Solution`` (``<details><summary>Hint</summary>``). Its sheets are cut out of
the page when the site is written; no other page knows of them and nothing is stored. The steps with
an error come from the function that ``kexue_slips`` names: it gets the chapter's equations and
returns what :mod:`kexue.site.slips` shows.
"""

from __future__ import annotations

import hashlib
import html
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.io import StringOutput
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import docname_join, import_object, logging
from sphinx.util.docutils import SphinxDirective

from kexue.site.exercises import Exercise, raw, read, sections
from kexue.site.fresh import differs, older
from kexue.site.head import made, whole
from kexue.site.ledger import ledger, line, link_to, order
from kexue.site.slips import recalled, steps
from kexue.site.status import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)

KINDS = {"exercises": "Exercises", "solutions": "Solutions", "errors": "Find the error"}


class sheets_table(nodes.General, nodes.Element):
    """Stands where the table of all sheets will be."""


class SheetsTable(SphinxDirective):
    """``{sheets-table}``: the sheets of every chapter."""

    def run(self) -> list[nodes.Node]:
        """Note which page holds the table and leave a place for it."""
        known(self.env)["pages"].add(self.env.docname)
        return [sheets_table()]


def known(env: BuildEnvironment) -> dict[str, Any]:
    """What the build knows: exercises and slips by chapter, and the pages that list the sheets."""
    if not hasattr(env, "kexue_sheets"):
        env.kexue_sheets = {"chapters": {}, "slips": {}, "pages": set()}
    return env.kexue_sheets


def sheet(env: BuildEnvironment, chapter: str, kind: str) -> str:
    """The name of a chapter's sheet, as pages are named."""
    return f"{env.config.kexue_sheets}/{chapter.rpartition('/')[2]}-{kind}"


def kinds_of(env: BuildEnvironment, chapter: str) -> list[str]:
    """The sheets that a chapter has."""
    return [k for k in KINDS if k != "errors" or known(env)["slips"].get(chapter, {}).get("slips")]


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Remember a page that has exercises; each must have a solution to put on the sheet."""
    if found := [read(section) for section in sections(doctree)]:
        known(app.env)["chapters"][app.env.docname] = len(found)
    for exercise in found:
        if not exercise.parts.get("Solution"):
            log.warning(
                "exercise %s has no folded solution: <details><summary>Solution</summary>",
                exercise.anchor, location=app.env.docname, type="kexue", subtype="sheets",
            )  # fmt: skip


class LinkSheets(SphinxPostTransform):
    """Below the heading of a chapter's exercises, say where the sheets are; fill the tables."""

    default_priority = 6  # before references are resolved, at 10

    def run(self, **kwargs: Any) -> None:
        """Change the page in place. Only a site has sheets."""
        page, site = self.env.docname, self.app.builder.format == "html"
        if page in known(self.env)["chapters"] and site:
            around = sections(self.document)[0].parent
            links = [link(self.app, page, page, kind) for kind in kinds_of(self.env, page)]
            title = next(k for k, node in enumerate(around) if isinstance(node, nodes.title))
            around.insert(title + 1, joined("On sheets to print: ", links))
        for node in list(self.document.findall(sheets_table)):
            node.replace_self(overview(self.app, page) if site else [])


def link(app: Sphinx, here: str, chapter: str, kind: str, text: str = "") -> nodes.reference:
    """A link to a sheet of a chapter."""
    uri = app.builder.get_relative_uri(here, sheet(app.env, chapter, kind))
    return nodes.reference("", text or KINDS[kind].lower(), refuri=uri, internal=True)


def joined(start: str, links: Iterable[nodes.reference]) -> nodes.paragraph:
    """A line of links."""
    parts = [part for one in links for part in (" · ", one)][1:]
    made = line(start, *parts)
    made["classes"].append("kx-sheets")
    return made


def overview(app: Sphinx, here: str) -> list[nodes.Node]:
    """A table of all sheets, a row a chapter, in the order of the book."""
    env, rows, up = app.env, [], "../" * here.count("/")
    for chapter in chapters(env):
        links = [link(app, here, chapter, kind) for kind in kinds_of(env, chapter)]
        number = str(known(env)["chapters"][chapter])
        for words, path in made(app, chapter).items():
            links.append(nodes.reference("", words, refuri=up + path, internal=True))
        rows.append([[line(link_to(chapter, env, here))], [line(number)], [joined("", links)]])
    if path := whole(app):
        links = [nodes.reference("", "PDF", refuri=up + path, internal=True)]
        rows.append([[line("The whole book")], [line()], [joined("", links)]])
    return [table("To hand out", ["Chapter", "Exercises", "Sheets"], (40, 15, 45), rows)]


def chapters(env: BuildEnvironment) -> list[str]:
    """The pages with exercises, in the order of the book."""
    return [page for page in order(env) if page in known(env)["chapters"]]


def plant(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Have the slips of every chapter planted whose equations changed; the tables are outdated."""
    if name := app.config.kexue_slips:
        code = source(name.rpartition(".")[0])
        for page in known(env)["chapters"]:
            rows = ledger(env)["rows"].get(page, [])
            key = hashlib.sha256((code + json.dumps(rows, sort_keys=True)).encode()).hexdigest()
            if known(env)["slips"].get(page, {}).get("key") != key:
                known(env)["slips"][page] = {"key": key, "slips": import_object(name)(rows)}
    beside = {page: [kinds_of(env, page), made(app, page)] for page in known(env)["chapters"]}
    changed = differs(env, "sheets", [order(env), known(env)["chapters"], beside, whole(app)])
    return sorted(known(env)["pages"]) if changed else []


def source(module: str) -> str:
    """The code of a module, which is not imported: computer algebra takes a second.

    >>> "def source(" in source("kexue.site.sheets")
    True
    """
    first, *rest = module.split(".")
    (folder,) = importlib.util.find_spec(first).submodule_search_locations
    return Path(folder, *rest).with_suffix(".py").read_text(encoding="utf-8")


def collect(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Make the sheets of the chapters that were written, for the builder to write."""
    out = app.builder.get_outfilename
    for chapter in chapters(app.env) if app.builder.format == "html" else ():
        kinds = kinds_of(app.env, chapter)
        made = [Path(out(sheet(app.env, chapter, kind))) for kind in kinds]
        if not any(older(path, Path(out(chapter))) for path in made):
            continue
        doctree = app.env.get_doctree(chapter)
        found = [read(section) for section in sections(doctree)]
        for kind in kinds:
            page = doctree.copy()
            page += compose(app, chapter, kind, found)
            yield sheet(app.env, chapter, kind), context(app, chapter, kind, page), "page.html"


def compose(app: Sphinx, chapter: str, kind: str, found: list[Exercise]) -> nodes.section:
    """The body of a sheet."""
    env, name = app.env, sheet(app.env, chapter, kind)
    title = nodes.title("", f"{KINDS[kind]}: ", *env.titles[chapter].deepcopy().children)
    top = nodes.section("", title, ids=["sheet"], classes=["kx-sheet"])
    top["classes"].append(f"kx-sheet-{kind}")
    others = [link(app, name, chapter, k) for k in kinds_of(env, chapter) if k != kind]
    source = link_to(chapter, env, name)
    if kind == "solutions":
        top += line("The exercises of ", source, ", each with its solution.")
    else:
        top += nodes.paragraph("", "Name:", classes=["kx-pupil"])
    if kind == "exercises":
        top += line("Exercises of ", source, ". Numbers such as (1.2) are equations of that page;")
        top[-1] += nodes.Text(" those that are named here stand at the end of the sheet.")
    rows = ledger(env)["rows"]
    if kind == "errors":
        top += steps(known(env)["slips"][chapter]["slips"], rows[chapter], source)
    else:
        top += [shown(exercise, kind) for exercise in found]
        part = "Solution" if kind == "solutions" else "Statement"
        named = {label for exercise in found for label in exercise.equations("Statement", part)}
        below = [row for page in order(env) for row in rows.get(page, ()) if row["label"] in named]
        if below:
            heading = nodes.title("", "Equations named above")
            top += nodes.section("", heading, *recalled(below), ids=["equations"])
    top.insert(1, joined("Also: ", others))
    top += foot(app, source)
    return top


def shown(exercise: Exercise, kind: str) -> nodes.section:
    """One exercise on a sheet: the statement, then a hint to unfold and room, or the solution."""
    parts = {name: [n.deepcopy() for n in some] for name, some in exercise.parts.items()}
    title = nodes.title("", "", *(node.deepcopy() for node in exercise.title))
    if exercise.level:
        title += [nodes.Text(" "), nodes.inline("", exercise.level, classes=["kx-level"])]
    box = nodes.section("", title, ids=[exercise.anchor], classes=["kx-exercise"])
    box += parts["Statement"]
    if kind == "solutions":
        solution = parts.get("Solution", [])
        box += nodes.container("", line(nodes.strong("", "Solution")), *solution)
        box[-1]["classes"].append("kx-solution")
        return box
    if parts.get("Hint"):
        box += [raw("<details><summary>Hint</summary>"), *parts["Hint"], raw("</details>")]
    box += nodes.container(classes=["kx-room"])
    return box


def address(app: Sphinx) -> str:
    """Where the book is: the site if its address is known, else the repository."""
    options = app.config["html_theme_options"]
    return app.config.html_baseurl or options.get("repository_url", "")


def foot(app: Sphinx, source: nodes.Node) -> nodes.container:
    """What to say of a sheet that lies on a desk: from where it is, and on which terms."""
    where = address(app)
    book = f" of {app.config.html_title}" + (f", {where}" if where else "")
    box = nodes.container("", line("From ", source.deepcopy(), book, "."))
    box += raw(app.config["html_theme_options"].get("extra_footer", ""))
    box["classes"].append("kx-foot")
    return box


def fragment(app: Sphinx, chapter: str, name: str, page: nodes.document) -> str:
    """Return a document made of copies from a chapter as HTML, for a page of this name.

    References are resolved from there, and numbers are those of the chapter.
    """
    env, builder = app.env, app.builder
    for node in page.findall(addnodes.pending_xref):  # links start from the sheet, not the chapter
        if (node["refdomain"], node["reftype"]) == ("std", "doc"):
            node["reftarget"] = "/" + docname_join(node.get("refdoc", chapter), node["reftarget"])
        node["refdoc"] = name
    for node in page.findall(nodes.reference):
        if "refid" in node:
            uri = builder.get_relative_uri(name, chapter)
            node["refuri"] = f"{uri}#{node.attributes.pop('refid')}"
    env.get_domain("math").data["has_equations"][name] = True  # for those who use MathJax
    env.resolve_references(page, name, builder)
    builder.post_process_images(page)
    page.settings = builder.docsettings
    builder.secnumbers, builder.fignumbers = {}, env.toc_fignumbers.get(chapter, {})
    builder.current_docname = name
    here = builder.get_target_uri(name)
    builder.imgpath = "../" * here.count("/") + "_images"
    builder.dlpath = "../" * here.count("/") + "_downloads"
    builder.docwriter.write(page, StringOutput(encoding="utf-8"))
    builder.docwriter.assemble_parts()
    return builder.docwriter.parts["fragment"]


def context(app: Sphinx, chapter: str, kind: str, page: nodes.document) -> dict[str, Any]:
    """Write the body of a sheet and return what the page template needs."""
    body = fragment(app, chapter, sheet(app.env, chapter, kind), page)
    title = page[0][0].astext()
    said = json.dumps(f"{title} · {address(app)}", ensure_ascii=False)  # a string in CSS, too
    style = (
        f"@page {{ margin: 16mm 16mm 20mm; @bottom-left {{ content: {said}; font-size: 8pt; }} "
        '@bottom-right { content: counter(page) " / " counter(pages); font-size: 8pt; } }'
    )
    return {
        "title": html.escape(title),
        "body": body,
        "metatags": f"<style>{style.replace('<', '')}</style>",
        "sourcename": "",
    }


def purge(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget a page that is read again or gone."""
    known(env)["chapters"].pop(page, None)
    known(env)["pages"].discard(page)


def merge(app: Sphinx, env: BuildEnvironment, read: set[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    theirs = known(other)
    found = {p: theirs["chapters"][p] for p in read if p in theirs["chapters"]}
    known(env)["chapters"].update(found)
    known(env)["pages"].update(theirs["pages"] & set(read))


def setup(app: Sphinx) -> None:
    """Register the sheets, the links to them and the ``{sheets-table}`` directive."""
    app.setup_extension("kexue.site.citation")
    app.add_config_value("kexue_sheets", "sheets", "html", types=[str])
    app.add_config_value("kexue_slips", "", "env", types=[str])
    app.add_node(sheets_table)
    app.add_directive("sheets-table", SheetsTable)
    app.connect("doctree-read", note, priority=600)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", plant)
    app.connect("html-collect-pages", collect)
    app.add_post_transform(LinkSheets)
    app.add_css_file("sheets.css")
