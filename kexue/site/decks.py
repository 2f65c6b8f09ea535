"""A slide deck for every chapter whose cells note slides: ``slides/<chapter>.html``.

A deck is cut out of its page when the site is written, see :mod:`kexue.site.slides`: equations with
the numbers and marks of the page, its figures and explorers, and the few words that only a slide
has. It is one file beside the site's own assets (reveal.js and KaTeX among them), so that it
opens from a folder as well as from a server. ``deck.js`` holds the keys and the speaker's view.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.util import logging

from kexue.site.exercises import raw
from kexue.site.fresh import older
from kexue.site.ledger import line, link_to, order
from kexue.site.pages import policy
from kexue.site.sheets import foot, fragment, known
from kexue.site.slides import PART, Chapter, Slide, address, slides

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)

PAGE = """\
<!DOCTYPE html>
<html lang="{language}" data-theme="light" class="kxd">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: slides</title>
<link rel="stylesheet" href="{static}/vendor/reveal/reveal.css">
<link rel="stylesheet" href="{static}/vendor/katex/katex.min.css">
<link rel="stylesheet" href="{static}/pygments.css">
<link rel="stylesheet" href="{static}/kexue.css">
<link rel="stylesheet" href="{static}/ledger.css">
<link rel="stylesheet" href="{static}/explore.css">
<link rel="stylesheet" href="{static}/deck.css">
<script src="{static}/deck.js"></script>
<script defer src="{static}/vendor/reveal/reveal.js"></script>
<script defer src="{static}/explore-draw.js"></script>
<script defer src="{static}/explore.js"></script>
<script defer src="{static}/vendor/katex/katex.min.js"></script>
</head>
<body>
<main class="kxd-stage"><div class="reveal"><div class="slides">
{body}
</div></div></main>
<aside class="kxd-panel" aria-label="Speaker notes" hidden></aside>
</body>
</html>
"""
KEYS = "Keys: S speaker's window, C clock, D dark or light, ? all keys."
SIGN = re.compile(r'<a class="headerlink".*?</a>')


def write(app: Sphinx) -> list[tuple]:
    """Write the decks of the pages that were written; for the builder, which has no such pages,
    there is nothing left to do.
    """
    for page in order(app.env) if app.builder.format == "html" else ():
        try:
            where = address(app, page)
            path = Path(app.outdir) / where
            if where and older(path, Path(app.builder.get_outfilename(page))):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(deck(app, page, where), encoding="utf-8")
        except ValueError as error:
            log.warning("%s", error, location=page, type="kexue", subtype="slides")
    return []


def deck(app: Sphinx, page: str, where: str) -> str:
    """Return a deck as HTML."""
    errors = known(app.env)["slips"].get(page, {}).get("slips", [])
    chapter = Chapter(app.env, page, errors)
    found = slides(Path(app.env.doc2path(page)))
    texts = [text for s in found for text in (s.title, s.notes, *s.words)]
    said = dict(zip(texts, parsed(app, chapter, texts), strict=True))
    document = chapter.doctree.copy()
    for number, slide in enumerate(found):
        document += whole(app, chapter, slide, number, said)
    name = where.removesuffix(".html")
    up = "../" * name.count("/")
    body = SIGN.sub("", fragment(app, page, name, document))
    return PAGE.format(
        language=html.escape(app.config.language or "en"),
        title=html.escape(app.env.titles[page].astext()),
        static=f"{up}_static",
        policy=policy(body),
        body=body,
    )


def parsed(app: Sphinx, chapter: Chapter, texts: list[str]) -> list[list[nodes.Node]]:
    """Return texts in MyST as nodes, all read at once: between them stand block breaks."""
    document, temp = chapter.doctree.copy(), app.env.temp_data
    temp["docname"] = chapter.page
    parser = MystParser()
    parser.set_application(app)
    parser.parse("\n\n+++\n\n".join(texts), document)
    temp.pop("docname")
    found: list[list[nodes.Node]] = [[]]
    for node in document:
        if isinstance(node, nodes.comment):
            found.append([])
        else:
            found[-1].append(node)
    return found


def whole(
    app: Sphinx, chapter: Chapter, slide: Slide, number: int, said: dict[str, list[nodes.Node]]
) -> list[nodes.Node]:
    """Return a slide: the headline, its parts and the notes, with what reveal.js wants around."""
    heading = "h2" if number else "h1"
    classes = ["kxd-slide"] + ["kxd-cover"] * (not number) + ["kxd-beside"] * slide.beside
    title = [child for block in copies(said[slide.title]) for child in block]
    anchor = f"{number + 1}-{nodes.make_id(''.join(n.astext() for n in title))}"
    made: list[nodes.Node] = [
        raw(f'<section id="{anchor}" data-minutes="{slide.minutes:g}">'),
        raw(f'<div class="{" ".join(classes)}"><{heading}>'),
        nodes.inline("", "", *title),
        raw(f'</{heading}><div class="kxd-body">'),
    ]
    notes = copies(said[slide.notes])
    for place, part in enumerate(slide.show):
        step, name = part.startswith("+ "), part.removeprefix("+ ")
        cut = bool(PART.fullmatch(name))
        kind = re.split(r"[ -]", name)[0] if cut else "words"
        made.append(raw(f'<div class="kxd-part kxd-is-{kind}{" fragment" * step}">'))
        made += chapter.part(name, slide) if cut else copies(said[name])
        made.append(raw("</div>"))
        if slide.beside and place == 0:
            made.append(raw('<div class="kxd-right">'))
        notes += chapter.solution(name)
    made.append(raw("</div>" * (2 if slide.beside else 1)))
    if not number:
        made += [foot(app, link_to(chapter.page, chapter.env, chapter.page))]
        made[-1] += line(KEYS)
    return [*made, raw('</div><aside class="notes">'), *notes, raw("</aside></section>")]


def copies(found: list[nodes.Node]) -> list[nodes.Node]:
    """Copies of nodes: one text may be said on two slides."""
    return [node.deepcopy() for node in found]


def setup(app: Sphinx) -> None:
    """Connect the handler."""
    app.connect("html-collect-pages", write)
