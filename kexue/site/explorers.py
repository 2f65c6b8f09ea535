"""Explorers on the site: numbered figures, with the script that moves them.

The outputs that ``kexue.explore.interact`` stores in notebooks hold a picture, a caption, and the
data that ``explore.js`` moves through. Here each becomes a figure as Sphinx knows it: numbered if
it has a caption and, if it has a name, a target of ``{numref}`` and ``{ref}``. A name or a caption
in the cell's metadata (MyST-NB's ``figure``) works as well; that caption replaces the stored one.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

ASSETS = str(Path(__file__).parent / "assets")
SCRIPTS, STYLE = ("explore-draw.js", "explore.js"), "explore.css"
NAME = "kx-explorer"  # the figure's class, in the stored output and on the page

STORED = re.compile(
    rf'<figure class="{NAME}"(?: data-name="(?P<name>[^"]*)")?>(?P<stage>.*)'
    r'<figcaption>(?P<caption>.*?)\s*<span class="kx-hint">(?P<hint>.*?)</span></figcaption>'
    r"(?P<data>.*)</figure>\s*",
    re.DOTALL,
)
MATH = re.compile(r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>', re.DOTALL)


class AsFigures(SphinxTransform):
    """Make a figure of every stored explorer, once a page is read."""

    default_priority = 15  # before translations, at 20, and automatic numbers, at 210

    def apply(self, **kwargs: Any) -> None:
        """Change the page in place."""
        for raw in list(self.document.findall(nodes.raw)):
            stored = STORED.fullmatch(raw.astext())
            if stored is None:
                continue
            raw.children = [nodes.Text(stored["stage"] + stored["data"])]
            figure = around(raw)
            figure["classes"].append(NAME)
            if stored["name"]:
                figure["names"].append(nodes.fully_normalize_name(unescape(stored["name"])))
                self.document.note_explicit_target(figure, figure)
            if stored["caption"] and not any(isinstance(n, nodes.caption) for n in figure):
                figure.insert(1, caption(stored["caption"]))
                figure[1].source, figure[1].line = raw.source, raw.line  # for translators
            if not isinstance(figure[-1], nodes.legend):
                figure += nodes.legend()
            figure[-1] += nodes.paragraph("", unescape(stored["hint"]), classes=["kx-hint"])


def around(raw: nodes.raw) -> nodes.figure:
    """Return the figure around an output, in all its MIME types; make one if there is none."""
    output: nodes.Element = raw
    if "mime_type" in raw.parent:
        output = raw.parent.parent
    if isinstance(output.parent, nodes.figure):
        return output.parent
    figure = nodes.figure()
    output.replace_self(figure)
    figure += output
    return figure


def caption(html: str) -> nodes.caption:
    """Return the caption that ``kexue.explore`` wrote, with its formulas.

    >>> caption('a &lt; <span class="math notranslate nohighlight">\\\\(b\\\\)</span>').children
    [<#text: 'a < '>, <math: <#text: 'b'>>]
    """
    pieces = [unescape(piece) for piece in MATH.split(html)]
    source = "".join(f"${piece}$" if k % 2 else piece for k, piece in enumerate(pieces))
    found = nodes.caption(source, "")
    found += [nodes.math(p, p) if k % 2 else nodes.Text(p) for k, p in enumerate(pieces) if p]
    return found


def serve(app: Sphinx, config: Config) -> None:
    """Make sure that the folder of the files is copied into the site."""
    if ASSETS not in config.html_static_path:
        config.html_static_path.append(ASSETS)


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Add the scripts to a page that has an explorer."""
    if 'class="kx-data"' in context.get("body", ""):
        for script in SCRIPTS:
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Connect the handlers and the transform."""
    app.add_transform(AsFigures)
    app.connect("config-inited", serve, priority=200)
    app.connect("html-page-context", load)
    app.add_css_file(STYLE)
