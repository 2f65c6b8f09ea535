r"""Formulas are typeset when the book is built, so that a page shows them without a script.

KaTeX runs in a JavaScript engine inside Python (``py_mini_racer``) and writes each formula twice:
as HTML for the eye and as MathML, with its TeX as an annotation, for screen readers and to copy. A
page loads the fonts that its formulas use. A formula that KaTeX cannot read
is a warning, which the book's build takes for an error.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)

KATEX = Path(__file__).parent / "assets" / "vendor" / "katex"
STYLE, SCRIPT = "vendor/katex/katex.min.css", "vendor/katex/katex.min.js"
MATHML = "{http://www.w3.org/1998/Math/MathML}"
CLASSES = "math notranslate nohighlight"
# In HTML that a cell stored: an element of class "math" or "kx-tex" around \(...\) or \[...\].
STORED = re.compile(
    r'(?P<open><(?P<tag>span|div) class="(?:[^"]* )?(?:math|kx-tex)(?: [^"]*)?">)'
    r"\s*\\(?P<kind>[(\[])(?P<tex>.*?)\\[)\]]\s*(?P<close></(?P=tag)>)",
    re.DOTALL,
)


@cache
def engine() -> MiniRacer:
    """A JavaScript engine that has read KaTeX."""
    made = MiniRacer()
    made.eval((KATEX / "katex.min.js").read_text(encoding="utf-8"))
    return made


@cache
def typeset(tex: str, display: bool = False) -> str:
    r"""Return a formula as HTML and MathML.

    Raises
    ------
    ValueError
        If KaTeX cannot read it; the message is KaTeX's.

    >>> typeset("x^2").startswith('<span class="katex"><span class="katex-mathml"><math')
    True
    >>> typeset(r"\alhpa")
    Traceback (most recent call last):
    ValueError: tex: KaTeX parse error: Undefined control sequence: \alhpa at position 1: ...
    """
    try:
        return str(engine().call("katex.renderToString", tex, {"displayMode": display}))
    except JSEvalException as error:
        said = re.search(r"KaTeX parse error.*", str(error))
        raise ValueError(f"tex: {said[0] if said else error}") from None


def spoken(tex: str) -> str:
    r"""A formula in one line of plain text, for where there can be nothing else.

    >>> spoken(r"x_{t-1}"), spoken(r"gg^\top"), spoken(r"\nabla\log p"), spoken(r"\alpha_t^2")
    ('x_(t−1)', 'gg^⊤', '∇log p', 'α_t^2')
    >>> spoken(r"\sqrt{1-\alpha_t^2}"), spoken(r"\sqrt[3]{n}")
    ('√(1−α_t^2)', '3√(n)')
    """
    tree = ET.fromstring(re.search(r"<math.*</math>", typeset(tex), re.DOTALL)[0])
    made = _line(tree.find(f"{MATHML}semantics")[0])
    return re.sub(r"\s+", " ", made.replace("\u2061", " ")).strip()


def _line(node: ET.Element) -> str:
    parts = [_line(child) for child in node] or [node.text or ""]
    signs = {"msub": "_", "msup": "^", "msubsup": "_^", "mfrac": "/"}
    tag = node.tag.removeprefix(MATHML)
    if tag in ("msqrt", "mroot"):  # the degree of a root comes second
        return f"{parts[1]}√({parts[0]})" if tag == "mroot" else f"√({''.join(parts)})"
    if not (between := signs.get(tag)):
        return "".join(parts)
    first, *rest = [part if len(part) == 1 else f"({part})" for part in parts]
    return first + "".join(map("".join, zip(between, rest, strict=False)))


def shown(tex: str, display: bool, location: Any) -> str:
    """A formula typeset or, after a warning, as it is."""
    try:
        return typeset(tex, display)
    except ValueError as error:
        log.warning("%s", error, location=location, type="kexue", subtype="math")
        return html.escape(tex)


def lines(text: str) -> str:
    r"""The TeX of a display: parts with a blank line between them go below each other.

    >>> lines("a\n\nb"), lines(r"a \\ b")
    ('\\begin{gathered}a\\\\b\\end{gathered}', '\\begin{split}a \\\\ b\\end{split}')
    """
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    parts = [around("split", p) if r"\\" in p and r"\begin{" not in p else p for p in parts]
    return parts[0] if len(parts) == 1 else around("gathered", r"\\".join(parts))


def around(name: str, tex: str) -> str:
    """An environment of TeX."""
    return rf"\begin{{{name}}}{tex}\end{{{name}}}"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line; a symbol with a meaning (``notation``) carries it."""
    meaning = {"title": node["meaning"]} if "meaning" in node else {}
    self.body.append(self.starttag(node, "span", "", CLASS=CLASSES, **meaning))
    self.body.append(shown(node.astext(), False, node) + "</span>")
    raise nodes.SkipNode


def visit_display(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a display, its number first."""
    self.body.append(self.starttag(node, "div", CLASS=CLASSES))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Permalink to this equation")
        self.body.append("</span>")
    self.body.append(shown(lines(node.astext()), True, node) + "</div>\n")
    raise nodes.SkipNode


class TypesetStored(SphinxPostTransform):
    """Typeset the formulas inside HTML that cells stored."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page's HTML outputs in place."""
        for raw in self.document.findall(nodes.raw):
            if "html" in raw["format"] and "class=" in (text := raw.astext()):
                made = STORED.sub(lambda m, at=raw: stored(m, at), text)
                raw.children = [nodes.Text(made)]


def stored(match: re.Match[str], location: nodes.Node) -> str:
    """One formula of an HTML output, typeset."""
    tex = shown(html.unescape(match["tex"]), match["kind"] == "[", location)
    return match["open"] + tex + match["close"]


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Add KaTeX itself to a page where an explorer writes formulas."""
    if 'class="kx-part kx-tex' in context.get("body", ""):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Register the renderer, which Sphinx prefers to its own, and the transform."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.add_post_transform(TypesetStored)
    app.add_css_file(STYLE, priority=300)  # before the house's
    app.connect("html-page-context", load)
