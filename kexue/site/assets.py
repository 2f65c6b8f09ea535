"""Serve every script, style sheet and font from the book itself.

Jupyter Book's defaults fetch MathJax, require.js and the widget manager from other hosts. Here
MathJax comes from ``assets/vendor`` and the other two are never requested: explorers bring
their own small script.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

ASSETS = Path(__file__).parent / "assets"
MATHJAX = "vendor/mathjax/tex-chtml.js"

# No context menu: its submenus would fetch files that are not served, and it makes every formula
# a stop of the Tab key. Screen readers get MathML from the assistive-mml component all the same.
MATHJAX_CONFIG = {
    "tex": {"inlineMath": [["\\(", "\\)"]], "tags": "none"},
    "options": {"enableMenu": False, "menuOptions": {"settings": {"assistiveMml": True}}},
}


def configure(app: Sphinx, config: Config) -> None:
    """Point Sphinx at the local copies and name the theme's first color mode."""
    config.html_static_path.append(str(ASSETS))
    config.mathjax_path = MATHJAX
    config.mathjax3_config = merged(MATHJAX_CONFIG, config.mathjax3_config or {})
    config.nb_ipywidgets_js = {}  # MyST-NB would load require.js and html-manager from a CDN
    # Follow the reader's system. The theme leaves the mode empty and then complains about it.
    config.html_context.setdefault("default_mode", "auto")
    if config.html_theme in ("sphinx_book_theme", "pydata_sphinx_theme"):
        config.html_theme_options.setdefault("navbar_persistent", [])  # one search field is enough


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` updated by ``over``, going down into nested dictionaries.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            value = merged(result[key], value)
        result[key] = value
    return result


def setup(app: Sphinx) -> None:
    """Connect the handlers and add the house style sheet."""
    app.connect("config-inited", configure, priority=100)
    app.add_css_file("kexue.css")
