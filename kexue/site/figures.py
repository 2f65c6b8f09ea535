"""Figures that everyone can read: alt text is required, vector figures follow the theme.

A picture without alt text is a warning, and the book is built with warnings as errors. In HTML
every local SVG is put into the page itself, so that black becomes the page's text color and white
its background, in light, dark and print alike. Other builders see the files unchanged.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"
INK, PAPER = "currentColor", "var(--kx-paper, #fff)"
# Colors as matplotlib and most editors write them; everything else is data and stays.
THEMED = [
    (re.compile(r"(?<![\w#-])(#000000|#000|black)(?![\w-])"), INK),
    (re.compile(r"(?<![\w#-])(#ffffff|#fff|white)(?![\w-])"), PAPER),
]
IMG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
ALT = re.compile(r"\balt\s*=\s*(\"[^\"]*\S[^\"]*\"|'[^']*\S[^']*'|[^\s\"'>]+)", re.IGNORECASE)


def cut(
    env: BuildEnvironment, page: str, doctree: nodes.document, label: str
) -> tuple[nodes.figure, list[nodes.paragraph], str, str]:
    """A figure of a page, to be shown elsewhere: a copy without names, caption and legend; the
    legend's hints on what can be moved; its number in words; its anchor on the page.

    Raises
    ------
    StopIteration
        If the page has no figure of this label, or it has no number.
    """
    name = nodes.fully_normalize_name(label)
    copy = next(f for f in doctree.findall(nodes.figure) if name in f["names"]).deepcopy()
    numbers = env.toc_fignumbers.get(page, {}).get("figure", {})
    anchor = next(one for one in copy["ids"] if one in numbers)
    called = str(env.config.numfig_format["figure"]) % ".".join(map(str, numbers[anchor]))
    hints = [p.deepcopy() for p in copy.findall(nodes.paragraph) if "kx-hint" in p["classes"]]
    copy.children = [c for c in copy if not isinstance(c, nodes.caption | nodes.legend)]
    copy["names"], copy["ids"] = [], []
    return copy, hints, called, anchor


def check_alt(app: Sphinx, doctree: nodes.document) -> None:
    """Warn about every picture on a page that has no alt text."""
    for node in doctree.findall(nodes.image):
        if not node.get("alt", "").strip():
            log.warning(
                "picture without alt text: in a notebook give the cell the metadata "
                '{"mystnb": {"image": {"alt": "what a reader would see"}}}',
                location=node,
                type="kexue",
                subtype="alt",
            )
    for node in doctree.findall(nodes.raw):
        if "html" in node.get("format", ""):
            for tag in IMG.findall(node.astext()):
                if not ALT.search(tag):
                    log.warning(
                        "HTML picture without alt text: %.80s",
                        tag,
                        location=node,
                        type="kexue",
                        subtype="alt",
                    )


def inline_svg(source: str, prefix: str, alt: str) -> str:
    """Return an SVG document as an element to put into an HTML page.

    Parameters
    ----------
    source : str
        The SVG file's text.
    prefix : str
        Put before every id, and before every reference to one: ids are unique in a page.
    alt : str
        What the figure shows, for those who do not see it.

    Raises
    ------
    ValueError
        If ``source`` is not SVG.

    >>> svg = '<svg xmlns="http://www.w3.org/2000/svg"><g id="a" fill="black"/></svg>'
    >>> inline_svg(svg, "f-", "A dot.").partition("A dot.")[2]
    '" fill="currentColor"><g id="f-a" fill="currentColor" /></svg>'
    """
    try:
        root = ET.fromstring(source)
    except ET.ParseError as error:
        raise ValueError(f"source: not SVG: {error}") from error
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"source: got the root element {root.tag}, needs svg")
    style = drop_decoration(root)
    ids = {node.get("id") for node in root.iter() if node.get("id")}
    for node in root.iter():
        node.tag = node.tag.removeprefix(f"{{{SVG}}}")
        node.tail = node.tail if node.tail and node.tail.strip() else None
        if node.tag in ("g", "defs", "svg", "clipPath") and not (node.text or "").strip():
            node.text = None
        for key in list(node.attrib):
            value = node.attrib.pop(key)
            key = key.replace(f"{{{XLINK}}}", "").replace(
                "{http://www.w3.org/XML/1998/namespace}", "xml:"
            )
            node.set(key, rewrite(key, value, ids, prefix))
    root.attrib = {
        "class": "kx-figure",
        **{k: v for k, v in root.attrib.items() if k in ("viewBox", "width", "height")},
        "role": "img",
        "aria-label": alt,
        "fill": INK,  # black is SVG's default, so matplotlib leaves it out
        "style": style,
    }
    if not style:
        del root.attrib["style"]
    return ET.tostring(root, encoding="unicode")


def drop_decoration(root: ET.Element) -> str:
    """Remove what only a file needs; return the style rules that applied to every element.

    A ``<style>`` inside the page would restyle the whole page, so matplotlib's one rule for ``*``
    moves to the root, from where its properties are inherited. The white sheet that matplotlib
    draws first under a figure goes as well: the page is the paper.
    """
    style = ""
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.tag.rsplit("}", 1)[-1] if isinstance(child.tag, str) else "comment"
            if name == "style":
                rules = re.findall(r"([^{}]+)\{([^{}]*)\}", child.text or "")
                if any(selector.strip() != "*" for selector, _ in rules):
                    raise ValueError("source: a style sheet other than matplotlib's * rule")
                style = ";".join(body.strip().rstrip(";") for _, body in rules)
            sheet = child.get("id") == "patch_1" and parent.get("id") == "figure_1"
            if sheet or name in ("style", "metadata", "comment", "title", "desc"):
                parent.remove(child)
    return style


def rewrite(key: str, value: str, ids: set[str], prefix: str) -> str:
    """Return an attribute's value with ids prefixed and black and white following the theme."""
    if key == "id":
        return prefix + value
    if key == "href" and value[:1] == "#" and value[1:] in ids:
        return "#" + prefix + value[1:]
    value = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{prefix}{m[1]})", value)
    if key in ("style", "fill", "stroke", "color", "stop-color"):
        for pattern, themed in THEMED:
            value = pattern.sub(themed, value)
    return value


class InlineFigures(SphinxPostTransform):
    """Put local SVG pictures into the HTML page, once MyST-NB has chosen the output to show."""

    default_priority = 20  # MyST-NB selects the MIME type at 4; Sphinx converts images at 100
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Replace each SVG image node of the page by its source."""
        slug = re.sub(r"\W+", "-", self.env.docname)
        for number, node in enumerate(list(self.document.findall(nodes.image))):
            path = Path(self.env.srcdir) / node.get("uri", "")
            if path.suffix != ".svg" or not path.is_file():
                continue
            try:
                svg = inline_svg(
                    path.read_text(encoding="utf-8"), f"{slug}-{number}-", node.get("alt", "")
                )
            except ValueError as error:
                log.warning("%s: %s", path.name, error, location=node, type="kexue", subtype="svg")
                continue
            width = node.get("width")
            box = f'<span class="kx-figure-box"{style_width(width)}>{svg}</span>'
            node.replace_self(nodes.raw("", box, format="html"))


def style_width(width: str | None) -> str:
    """Return the style attribute for a width option such as ``80%``, or nothing.

    >>> style_width("80%")
    ' style="width:80%"'
    """
    return f' style="width:{escape(width)}"' if width else ""


def setup(app: Sphinx) -> None:
    """Connect the alt-text check and the transform."""
    app.connect("doctree-read", check_alt)
    app.add_post_transform(InlineFigures)
