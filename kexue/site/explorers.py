"""Serve the explorers' script and style with every page that shows one.

The outputs that ``kexue.explore.interact`` stores in notebooks hold the data; ``explore.js`` turns
them into live figures. Pages without one stay free of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

ASSETS = str(Path(__file__).parent / "assets")
SCRIPTS, STYLE = ("explore-draw.js", "explore.js"), "explore.css"


def serve(app: Sphinx, config: Config) -> None:
    """Make sure that the folder of the files is copied into the site."""
    if ASSETS not in config.html_static_path:
        config.html_static_path.append(ASSETS)


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Add the script and the style sheet to a page that has an explorer."""
    if 'class="kx-explorer' in context.get("body", ""):
        for script in SCRIPTS:
            app.add_js_file(script, loading_method="defer")
        app.add_css_file(STYLE)


def setup(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("config-inited", serve, priority=200)
    app.connect("html-page-context", load)
