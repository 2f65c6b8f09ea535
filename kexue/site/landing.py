"""The landing page: something of a chapter to look at, and a map of all chapters.

Nothing on it is a copy that somebody has to keep: the explorer, the equation with its mark, the
figure and its run card are cut out of a chapter when the page is written; the map reads the table
at the head of every chapter. Only how one chapter leans on another is said on the page itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from kexue.site.exercises import raw
from kexue.site.figures import cut
from kexue.site.fresh import differs
from kexue.site.launch import plain_url
from kexue.site.ledger import ledger, line, link_to, mark, order, reference
from kexue.site.slides import address
from kexue.site.slips import formula, mixed
from kexue.site.status import device, size

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)

MIRRORS = re.compile(r"^(?P<title>.+?)\s*\([\"“](?P<gloss>.+?)[\"”]\)")
LEANS = re.compile(r"^(?P<chapter>[\w-]+) on (?P<other>[\w-]+): (?P<why>.+)$")


class showcase(nodes.General, nodes.Element):
    """Stands where an explorer, an equation and a result of a chapter will be."""


class chapter_map(nodes.General, nodes.Element):
    """Stands where the map of the chapters will be."""


class Showcase(SphinxDirective):
    """``{showcase} page``: an explorer, a proved equation and a stored result, from the chapter."""

    required_arguments = 1
    option_spec: ClassVar = {
        name: directives.unchanged_required for name in ("explorer", "equation", "result", "card")
    }

    def run(self) -> list[nodes.Node]:
        """Leave a place for them."""
        known(self.env)["pages"].add(self.env.docname)
        self.env.note_dependency(str(card_of(self.env, self.options["card"])))
        return [showcase(page=self.arguments[0], **self.options)]


class ChapterMap(SphinxDirective):
    """``{chapter-map}``: every chapter; a line of the content is ``slug on slug: what for``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave a place for the map."""
        known(self.env)["pages"].add(self.env.docname)
        return [chapter_map(lines=[text for text in self.content if text.strip()])]


def known(env: BuildEnvironment) -> dict[str, Any]:
    """What the build knows: the heads of the chapters, the pages that show something of them."""
    if not hasattr(env, "kexue_landing"):
        env.kexue_landing = {"heads": {}, "pages": set()}
    return env.kexue_landing


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Remember the head of a page that says which article it mirrors and what one needs."""
    table = next(iter(doctree.findall(nodes.table)), None)
    rows = list(table.findall(nodes.row)) if table else []
    said = {row[0].astext().strip(): row[1] for row in rows if len(row.children) == 2}
    found = (
        MIRRORS.match(said["Mirrors"].astext()) if {"Mirrors", "You need"} <= set(said) else None
    )
    if found:
        link = next(iter(said["Mirrors"].findall(nodes.reference)), {})
        known(app.env)["heads"][app.env.docname] = {
            **found.groupdict(),
            "url": link.get("refuri", ""),
            "needs": said["You need"].astext(),
        }


class FillLanding(SphinxPostTransform):
    """Put everything in its place."""

    default_priority = 3  # before MyST-NB chooses what to show of an output, at 4

    def run(self, **kwargs: Any) -> None:
        """Replace the placeholders of the page."""
        for node in list(self.document.findall(showcase)):
            try:
                node.replace_self(shown(self.app, self.env.docname, node.attributes))
            except (KeyError, StopIteration, FileNotFoundError) as error:
                text = "showcase: %s has no %s"
                log.warning(text, node["page"], error, location=self.env.docname, type="kexue")
                node.parent.remove(node)
        for node in list(self.document.findall(chapter_map)):
            node.replace_self(drawn(self.env, self.env.docname, node["lines"]))


def card_of(env: BuildEnvironment, name: str) -> Path:
    """Where the run card of a stored result is."""
    return Path(env.srcdir) / env.config.kexue_artifacts / name / "card.json"


def shown(app: Sphinx, here: str, wanted: dict[str, Any]) -> list[nodes.Node]:
    """The three things, each with a line that says what it is and where it stands."""
    env, page = app.env, wanted["page"]
    doctree = env.get_doctree(page)
    row = next(r for r in ledger(env)["rows"][page] if r["label"] == wanted["equation"])
    equation = nodes.container("", formula(row["tex"]), mark(row["record"]), classes=["kx-eq"])
    card = json.loads(card_of(env, wanted["card"]).read_text(encoding="utf-8"))
    made = (
        f"Computed by {device(card)} in {card['seconds']:,.0f} s with "
        f"{size(card['peak_memory_mb'])}, {card['preset']} preset, seed {card['seed']}, "
        f"{card['date'][:10]}."
    )
    parts = {
        "Move it": [figure(app, here, page, doctree, wanted["explorer"])],
        "Open its mark": [
            equation,
            line("Equation ", reference(row["label"]), " of that chapter."),
        ],
        "See what a GPU made of it": [
            figure(app, here, page, doctree, wanted["result"]),
            line(made),
        ],
    }
    boxes = []
    for number, (title, inside) in enumerate(parts.items()):
        heading = nodes.paragraph("", "", nodes.strong("", title), classes=["kx-front-title"])
        boxes.append(nodes.container("", heading, *inside, classes=[f"kx-front-{number}"]))
    doors = [part for door in entrances(app, here, page) for part in (door, " ")]
    row = nodes.paragraph("", "", *(nodes.Text(d) if d == " " else d for d in doors))
    row["classes"].append("kx-entrances")
    return [row, nodes.container("", *boxes, classes=["kx-front"])]


def entrances(app: Sphinx, here: str, page: str) -> list[nodes.Node]:
    """One click to the chapter, to its notebook in Colab, to its ledger, to its deck."""
    title = app.env.titles[page].astext()
    options, where = app.config["html_theme_options"], app.config.kexue_colab
    found: list[nodes.Node] = [link_to(page, app.env, here, f"Read: {title}")]
    colab = options.get("launch_buttons", {}).get("colab_url")
    if colab and where:
        repository = options.get("repository_url", "").removeprefix("https://github.com/")
        url = f"{colab}/github/{repository}/blob/main/{page}.ipynb"
        url = plain_url(url, page, where["branch"], where.get("root", ""))
        found.append(nodes.reference("", "Run it in Colab", refuri=url, internal=False))
    if deck := address(app, page):
        uri = "../" * here.count("/") + deck
        found.append(nodes.reference("", "Teach with its slides", refuri=uri, internal=True))
    return found


def figure(app: Sphinx, here: str, page: str, doctree: nodes.document, label: str) -> nodes.figure:
    """A figure of a chapter; for its caption, its number as a link to it."""
    copy, hints, called, anchor = cut(app.env, page, doctree, label)
    uri = app.builder.get_relative_uri(here, page) + f"#{anchor}"
    link = nodes.reference("", f"{called}, with what it shows", refuri=uri, internal=True)
    copy += nodes.legend("", nodes.paragraph("", "", link), *hints)
    return copy


def drawn(env: BuildEnvironment, here: str, lines: list[str]) -> list[nodes.Node]:
    """A card a chapter, in the order of the book: article, what it needs, on what it leans."""
    heads = known(env)["heads"]
    pages = {page.rpartition("/")[2]: page for page in order(env) if page in heads}
    leans: dict[str, list[tuple[str, str]]] = {name: [] for name in pages}
    for text in lines:
        found = LEANS.match(text)
        if not found or not {found["chapter"], found["other"]} <= set(pages):
            needs = "two chapters and what for: chapter on other: words"
            log.warning("chapter map: %s, needs %s", text, needs, location=here, type="kexue")
            continue
        leans[found["chapter"]].append((found["other"], found["why"]))
    cards = []
    for name, page in pages.items():
        head = heads[page]
        number = ".".join(map(str, env.toc_secnumbers.get(page, {}).get("", ())))
        title = line(
            nodes.inline("", f"{number} ", classes=["kx-map-number"]), link_to(page, env, here)
        )
        title["classes"].append("kx-map-title")
        article = f'<span lang="zh">{nodes.Text(head["title"]).astext()}</span>'
        link = nodes.reference("", "", raw(article), refuri=head["url"], internal=False)
        card = nodes.list_item("", title, line(link), line(head["gloss"]))
        card += line("Needs ", *mixed(head["needs"]), ".")
        for other, why in leans[name]:
            card += line("↑ leans on ", link_to(pages[other], env, here), f": {why}.")
            card[-1]["classes"].append("kx-map-leans")
        if not leans[name]:
            card += line("Stands on its own.")
        cards.append(card)
    return [nodes.bullet_list("", *cards, classes=["kx-map"])]


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The page depends on every chapter: write it again when one was read."""
    heads = known(env)["heads"]
    changed = differs(env, "landing", [order(env), heads, [env.all_docs[page] for page in heads]])
    return sorted(known(env)["pages"]) if changed else []


def purge(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget a page that is read again or gone."""
    known(env)["heads"].pop(page, None)
    known(env)["pages"].discard(page)


def merge(app: Sphinx, env: BuildEnvironment, read: set[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    theirs = known(other)
    known(env)["heads"].update({p: h for p, h in theirs["heads"].items() if p in read})
    known(env)["pages"].update(theirs["pages"] & set(read))


def setup(app: Sphinx) -> None:
    """Register the two directives."""
    for node in showcase, chapter_map:
        app.add_node(node)
    app.add_directive("showcase", Showcase)
    app.add_directive("chapter-map", ChapterMap)
    app.connect("doctree-read", note)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", outdated)
    app.add_post_transform(FillLanding)
    app.add_css_file("landing.css")
