"""Symbols and terms: the notation page is made of the chapters' own tables; names are one tap away.

A chapter has a section "Names" with a table: what it is, the symbol on this page, and how others
write it. ``{notation-table} slug`` puts that table on the notation page, so that a symbol is
explained in one place only; its content, a table too, adds what the chapter names further on. One
symbol in two rows of a chapter is a warning, which the book's build takes for an error, and so is
a chapter that the page leaves out. In the text of a chapter each symbol that stands alone says what
it is when one points at it or taps it; the first bold use of a glossary's term is a link to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from kexue.site.fresh import differs
from kexue.site.ledger import line, link_to
from kexue.site.math import spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)


class notation_table(nodes.General, nodes.Element):
    """Stands where the tables of all chapters will be."""


class NotationTable(SphinxDirective):
    """``{notation-table} slug``: the names that a chapter uses, then those of the content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Note what the content says and leave a place for the table."""
        slug, env = self.arguments[0], self.env
        node = notation_table(slug=slug)
        self.state.nested_parse(self.content, self.content_offset, node)
        more = [pair for table in node.findall(nodes.table) for pair in meanings(table)]
        known(env)["more"].setdefault(env.docname, {})[slug] = more
        return [node]


def known(env: BuildEnvironment) -> dict[str, Any]:
    """What the build knows: tables by chapter, and what the pages that gather them add."""
    if not hasattr(env, "kexue_notation"):
        env.kexue_notation = {"tables": {}, "more": {}}
    return env.kexue_notation


def names(doctree: nodes.document) -> nodes.table | None:
    """The table of a page's section "Names"."""
    for section in doctree.findall(nodes.section):
        if "names" in section["ids"]:
            return next(iter(section.findall(nodes.table)), None)
    return None


def meanings(table: nodes.table) -> Iterator[tuple[str, str]]:
    """Symbols of the table's second column, each with what stands in the first."""
    for row in next(iter(table.findall(nodes.tbody))):
        for symbol in row[1].findall(nodes.math):
            yield symbol.astext().strip(), words(row[0])


def words(node: nodes.Node) -> str:
    """What a cell says as plain text, for a title: formulas in one line, no TeX."""
    found = node.findall(lambda n: isinstance(n, nodes.math | nodes.Text))
    pieces = [n for n in found if not isinstance(n.parent, nodes.math)]
    return "".join(spoken(n.astext()) if isinstance(n, nodes.math) else n.astext() for n in pieces)


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Remember the table of a page."""
    if (table := names(doctree)) is not None:
        known(app.env)["tables"][app.env.docname] = table.deepcopy()


def said(env: BuildEnvironment, page: str) -> list[tuple[str, str]]:
    """Every symbol of a chapter with its meaning: those of its table, then the others."""
    table, slug = known(env)["tables"].get(page), page.rpartition("/")[2]
    more = [pair for slugs in known(env)["more"].values() for pair in slugs.get(slug, ())]
    return [*meanings(table), *more] if table is not None else []


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Refuse a symbol in two meanings, and a chapter that no page of notation has."""
    gathered = {slug for slugs in known(env)["more"].values() for slug in slugs}
    for page in known(env)["tables"]:
        if gathered and page.rpartition("/")[2] not in gathered:
            log.warning("its names are not on the notation page", location=page, type="kexue")
        found: dict[str, str] = {}
        for symbol, meaning in said(env, page):
            if found.setdefault(symbol, meaning) != meaning:
                text = "symbol %s in two meanings: %s; %s"
                log.warning(text, symbol, found[symbol], meaning, location=page, type="kexue")


class GatherNotation(SphinxPostTransform):
    """Put each table in its place."""

    default_priority = 5  # before references are resolved, at 10

    def run(self, **kwargs: Any) -> None:
        """Replace each placeholder of the page."""
        pages = {page.rpartition("/")[2]: page for page in known(self.env)["tables"]}
        for node in list(self.document.findall(notation_table)):
            page = pages.get(node["slug"])
            if page is None:
                text = "no chapter %s has a table of names"
                log.warning(text, node["slug"], location=self.env.docname, type="kexue")
                node.replace_self(node.children)
                continue
            source = line("From ", link_to(page, self.env, self.env.docname), ":")
            node.replace_self([source, known(self.env)["tables"][page].deepcopy(), *node.children])


class SayNames(SphinxPostTransform):
    """Give each symbol that stands alone its meaning, and link terms to the glossary."""

    default_priority = 8
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page in place."""
        here, table = self.env.docname, names(self.document)
        known_here = dict(said(self.env, here))
        inside = set(map(id, table.findall(nodes.math))) if table is not None else set()
        for symbol in self.document.findall(nodes.math):
            if (meaning := known_here.get(symbol.astext().strip())) and id(symbol) not in inside:
                symbol["meaning"] = meaning
        terms = glossary(self.env)
        for word in list(self.document.findall(nodes.strong)):
            page, anchor = terms.pop(word.astext().lower(), ("", ""))
            if page and page != here and not list(word.findall(nodes.reference)):
                uri = self.app.builder.get_relative_uri(here, page) + f"#{anchor}"
                link = nodes.reference("", "", *word.children, refuri=uri, internal=True)
                word.children = []
                word += link


def glossary(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """Page and anchor of every term, by its English name without the Chinese."""
    objects = env.get_domain("std").objects.items()
    return {n.partition(" (")[0].lower(): at for (kind, n), at in objects if kind == "term"}


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The notation page depends on every chapter, the chapters on what that page adds."""
    pages = {"tables": known(env)["more"], "more": known(env)["tables"]}
    changed = [pages[kind] for kind in pages if differs(env, kind, known(env)[kind])]
    return sorted(set().union(*changed))


def purge(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget a page that is read again or gone."""
    for kind in known(env).values():
        kind.pop(page, None)


def merge(app: Sphinx, env: BuildEnvironment, read: set[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    for kind, theirs in known(other).items():
        known(env)[kind].update({page: found for page, found in theirs.items() if page in read})


def setup(app: Sphinx) -> None:
    """Register the directive and the transforms."""
    app.add_node(notation_table)
    app.add_directive("notation-table", NotationTable)
    app.connect("doctree-read", note)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", outdated)
    app.connect("env-check-consistency", check)
    app.add_post_transform(GatherNotation)
    app.add_post_transform(SayNames)
