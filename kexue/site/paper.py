"""What a book on paper shows: a still picture in place of every explorer, vector figures as PDF.

Concerns the builders that do not write HTML, LaTeX first of all. An explorer becomes its picture at
the default values, with the caption and the line that says what can be moved on the page. A stored
SVG becomes a PDF by ``rsvg-convert`` (librsvg) or ``cairosvg``, whichever is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter
from sphinx.util import logging

from kexue.site.explorers import NAME

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

log = logging.getLogger(__name__)

# What ``kexue.explore`` writes for readers without scripts: a picture, text, formulas.
STILL = re.compile(
    r'<img src="(?P<picture>data:[^"]*)" alt="(?P<alt>[^"]*)" width="(?P<width>\d+)"'
    r'|<pre class="kx-part">(?P<text>.*?)</pre>'
    r'|<div class="kx-part kx-tex">\\\[(?P<tex>.*?)\\\]</div>'
    r'|<math\b[^>]* alttext="(?P<mathml>[^"]*)"',
    re.DOTALL,
)
TOOLS = {
    "rsvg-convert": ["--format=pdf", "--output={to}", "{source}"],
    "cairosvg": ["--output={to}", "{source}"],
}


class StillExplorers(SphinxPostTransform):
    """Replace what moves by what stands still, where the builder does not write HTML."""

    default_priority = 3  # MyST-NB selects the MIME type at 4

    def is_supported(self) -> bool:
        """Return whether the page is for paper."""
        return self.app.builder.format != "html"

    def run(self, **kwargs: Any) -> None:
        """Change the page in place. Where nothing stands still, the output's plain text is left."""
        for figure in list(self.document.findall(nodes.figure)):
            if NAME in figure["classes"]:
                html = next(n for n in figure.findall(nodes.raw) if "html" in n["format"])
                output = next(n for n in figure if not isinstance(n, nodes.caption))
                if found := still(html.astext()):
                    output.replace_self(found)


def still(html: str) -> list[nodes.Element]:
    """Return the picture, text and formulas of a stored explorer at its default values."""
    found: list[nodes.Element] = []
    for part in STILL.finditer(html):
        texts = {kind: unescape(text) for kind, text in part.groupdict().items() if text}
        if "picture" in texts:
            uri = texts["picture"]
            found.append(nodes.image(uri=uri, candidates={"?": uri}, alt=texts["alt"]))
            found[-1]["width"] = texts["width"] + "px"
        elif "text" in texts:
            found.append(nodes.literal_block("", texts["text"], language="none"))
        else:
            tex = texts.get("tex") or texts["mathml"]
            found.append(nodes.math_block("", tex, nowrap=False, number=None, label=None))
    return found


class VectorPictures(ImageConverter):
    """Turn SVG into PDF for builders that know no SVG."""

    conversion_rules = [("image/svg+xml", "application/pdf")]  # noqa: RUF012 (Sphinx reads it)

    def is_available(self) -> bool:
        """Return whether a converter is installed; say what to install if not."""
        if not any(map(shutil.which, TOOLS)):
            log.warning(
                "SVG pictures need one of %s to become PDF (Debian: librsvg2-bin; pip: cairosvg)",
                ", ".join(TOOLS),
                type="kexue",
                subtype="svg",
            )
            return False
        return True

    def convert(self, _from: str, _to: str) -> bool:
        """Write the picture ``_from`` as the PDF ``_to``; return whether that worked."""
        tool = next(filter(shutil.which, TOOLS))
        words = [word.format(source=_from, to=_to) for word in TOOLS[tool]]
        done = subprocess.run([tool, *words], capture_output=True, text=True, errors="replace")
        if done.returncode:
            name = Path(_from).name
            log.warning("%s: %s: %s", name, tool, done.stderr.strip(), type="kexue", subtype="svg")
            return False
        pdf = Path(_to)
        sharp = pdf.read_bytes().replace(b" /Interpolate true", b"/Interpolate false")
        pdf.write_bytes(sharp)  # pixels stay pixels, as on the page; as many bytes as before
        return True


def prefer_svg(app: Sphinx, config: Config) -> None:
    """Let LaTeX take the SVG of an output: MyST-NB would take its plain text."""
    if "nb_mime_priority_overrides" in config:
        config.nb_mime_priority_overrides = [
            *config.nb_mime_priority_overrides,
            ("latex", "image/svg+xml", 15),
        ]


def setup(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("config-inited", prefer_svg, priority=100)
    app.add_post_transform(StillExplorers)
    app.add_post_transform(VectorPictures)
