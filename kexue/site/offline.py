"""A site that is opened from a folder: the search page must not read the pages it found.

Sphinx's search shows a few words of each page, which it fetches; a browser refuses that where the
address starts with ``file:``. There the titles alone are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Add the script to the search page; its search starts when all scripts were read."""
    if template == "search.html":
        app.add_js_file("offline.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    """Connect the handler."""
    app.connect("html-page-context", load)
