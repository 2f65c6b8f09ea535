"""Serve every script, style sheet and font from the book itself.

Jupyter Book's defaults fetch MathJax, require.js and the widget manager from other hosts. Here
none of them is requested: formulas are typeset at build (``math``), explorers bring their own small
script.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from kexue.site.fresh import differs

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

ASSETS = Path(__file__).parent / "assets"
THEMES = "sphinx_book_theme", "pydata_sphinx_theme"  # those whose pages can be rewritten


def configure(app: Sphinx, config: Config) -> None:
    """Point Sphinx at the local copies and name the theme's first color mode."""
    config.html_static_path.append(str(ASSETS))
    config.html_math_renderer = "katex"  # Jupyter Book names MathJax
    config.nb_ipywidgets_js = {}  # MyST-NB would load require.js and html-manager from a CDN
    # Follow the reader's system. The theme leaves the mode empty and then complains about it.
    config.html_context.setdefault("default_mode", "auto")
    if config.html_theme in THEMES:
        config.html_theme_options.setdefault("navbar_persistent", [])  # one search field is enough
        config.html_theme_options.setdefault("back_to_top_button", False)


def outdated(app: Sphinx, env: BuildEnvironment) -> set[str]:
    """Every page, if a script is another by now: they name it with a checksum. If another file is,
    one page, so that the files are copied.
    """
    digests: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for path in filter(Path.is_file, ASSETS.rglob("*")):
        name = path.relative_to(ASSETS).as_posix()
        digests[path.suffix == ".js"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    scripts, others = (differs(env, f"assets {s}", digests[s]) for s in (True, False))
    return set(env.found_docs) if scripts else {app.config.root_doc} if others else set()


def setup(app: Sphinx) -> None:
    """Connect the handlers and add the house style sheet."""
    app.connect("config-inited", configure, priority=100)
    app.connect("env-updated", outdated)
    app.add_css_file("kexue.css")
