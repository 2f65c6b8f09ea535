"""The Colab button opens the plain notebook, not the source that only the book's build can read.

Sphinx Book Theme points its Colab button at the notebook on the book's own branch. With
``kexue_colab = {"branch": "colab", "root": "book"}`` it opens the page's notebook of that branch
instead, where the path starts below ``root``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def plain_url(url: str, page: str, branch: str, root: str = "") -> str:
    """Return the address of a page's plain notebook in Colab.

    >>> plain_url("https://colab.x/github/you/kexue/blob/main/book/a/b.ipynb", "book/a/b",
    ...           "colab", "book")
    'https://colab.x/github/you/kexue/blob/colab/a/b.ipynb'
    """
    start, _, _ = url.partition("/blob/")
    return f"{start}/blob/{branch}/{page.removeprefix(root).lstrip('/')}.ipynb"


def point(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Change the button's address, after the theme has made it."""
    where = app.config.kexue_colab
    groups = context.get("header_buttons", []) if where else []
    for button in (b for group in groups for b in group.get("buttons", [])):
        if button.get("text") == "Colab":
            button["url"] = plain_url(button["url"], page, where["branch"], where.get("root", ""))


def setup(app: Sphinx) -> None:
    """Connect the handler; the theme's comes at 501."""
    app.add_config_value("kexue_colab", {}, "html", types=[dict])
    app.connect("html-page-context", point, priority=600)
