"""What every page of the site has in common: its policy, and no script between its lines.

The theme writes small scripts and handlers into its pages. Here they go, ``page.js`` does what they
did, and the page gets a Content-Security-Policy that refuses any other: scripts, fonts and data
come from the site alone, nothing is evaluated, nothing can be framed in. Only ``style`` attributes
are left alone, because KaTeX places glyphs with them and matplotlib colors lines. A script or a
handler that a page still has is a warning, which the book's build takes for an error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

from kexue.site.assets import THEMES
from kexue.site.labels import labels

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)

ALL = "site.css"  # what `slim` makes of all style sheets
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # for browsers that do not know the two below
    "style-src-elem": "'self'",
    "style-src-attr": "'unsafe-inline'",
    "img-src": "'self' data: blob:",  # pictures inside the page and inside explorers
    "font-src": "'self'",
    "connect-src": "'self'",  # the search page reads the pages it found
    "form-action": "'self'",
    "base-uri": "'none'",
}
# Of the theme: what page.js does instead, and what only the search page needs.
DROPPED = re.compile(
    r'<script data-cfasync="false">.*?</script>'
    r"|<script>DOCUMENTATION_OPTIONS\.\w+ = [^<]*</script>"
    r"|<script>\s*// Activate the search field on page load.*?</script>"
    r"|<script\b[^>]*(?:scripts/[\w-]+|design-tabs)\.js[^>]*></script>"
    r'|<link rel="preload" as="script"[^>]*>'
    r'|<div id="ethical-ad-placement".*?</div>'
    r'| role="doc-biblioentry"| role="list"(?= class="citation-list")'  # docutils; refused by axe
    r"|<!--.*?-->",
    re.DOTALL,
)
SEARCH = re.compile(
    r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>'
)
# search.js changes searchtools.js before the index comes, which starts the search.
BETWEEN = re.compile(
    r"(<script [^>]*/search\.js[^>]*></script>)(.*?)(<script [^>]*searchindex\.js)", re.DOTALL
)
# Buttons, by what the theme calls them, and what page.js does when one is pressed.
BUTTONS = {
    "btn-download-pdf-button": "print",
    "btn-fullscreen-button": "fullscreen",
    "theme-switch-button": "mode",
    "search-button__button": "search",
    "primary-toggle": "primary",
    "secondary-toggle": "secondary",
}
BUTTON = re.compile(rf'<button\b[^>]*\bclass="[^"]*\b(?P<name>{"|".join(BUTTONS)})\b[^>]*>')
HANDLER = re.compile(r' on\w+="[^"]*"| data-bs-(?:toggle="tooltip"|placement="\w+")')
LEFT = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*\btype=\"application/json\")[^>]*>|<[^<>]*\son\w+=[^<>]*>"
    r"|(?:href|src)=\"javascript:"
)
SHEET = re.compile(r'\s*<link\b[^>]*\bhref="(?P<root>[^"]*?)_static/[^"]*\.css\b[^>]*>')
STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def policy(page: str) -> str:
    """The Content-Security-Policy of a page: its own style elements are allowed by their hashes.

    >>> "style-src-elem 'self' 'sha256-" in policy("<style>p { color: red }</style>")
    True
    """
    digests = (hashlib.sha256(text.encode()).digest() for text in STYLE.findall(page))
    hashes = "".join(f" 'sha256-{base64.b64encode(d).decode()}'" for d in digests)
    extra = {"style-src-elem": hashes}
    return "; ".join(f"{name} {value}{extra.get(name, '')}" for name, value in POLICY.items())


def pressed(button: re.Match[str]) -> str:
    """A button of the theme that page.js knows, without the theme's handler and tooltip."""
    rest = HANDLER.sub("", button[0]).removeprefix("<button")
    return f'<button data-kx-press="{BUTTONS[button["name"]]}"{rest}'


def finish(page: str, name: str) -> str:
    """Return a page of the theme: one style sheet, scripts in files, deferred, and its policy.

    >>> page = '<meta charset="utf-8" /><script src="a.js"></script><button class="primary-toggle">'
    >>> finish(page, "x").partition(">")[2].partition(">")[2]
    '<script defer src="a.js"></script><button data-kx-press="primary" class="primary-toggle">'
    """
    page = DROPPED.sub("", page)
    if name != "search":
        page = SEARCH.sub("", page)
    page = BETWEEN.sub(r"\2\1\3", page)
    page = BUTTON.sub(pressed, page)
    page = re.sub(r"<script (?!defer|[^>]*page\.js|[^>]*application/json)", "<script defer ", page)
    if sheets := list(SHEET.finditer(page)):
        static = f"{sheets[0]['root']}_static"
        link = f'<link rel="stylesheet" href="{static}/{ALL}" />'
        link += f'<link rel="icon" type="image/svg+xml" href="{static}/icon.svg" />'
        page = (
            SHEET.sub("", page[: sheets[0].start()])
            + link
            + SHEET.sub("", page[sheets[0].start() :])
        )
    for found in LEFT.findall(page):
        log.warning("script in a page: %.80s", found, location=name, type="kexue", subtype="csp")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}" />'
    return page.replace('<meta charset="utf-8" />', f'<meta charset="utf-8" />{meta}', 1)


def wrap(app: Sphinx) -> None:
    """Have every page finished that the templates write."""
    if app.builder.format != "html" or app.config.html_theme not in THEMES:
        return
    templates = app.builder.templates
    render = templates.render

    def rendered(template: str, context: dict[str, Any]) -> str:
        page = render(template, context)
        return finish(page, context["pagename"]) if "pagename" in context else page

    templates.render = rendered


def equations(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Give the search page the names of all equations: name, number and page of each."""
    if page == "search" and app.builder.format == "html":
        found = labels(app.env)["equations"].items()
        rows = [[name, at["number"], at["page"]] for name, at in sorted(found)]
        data = json.dumps(rows, separators=(",", ":")).replace("<", "\\u003c")
        data = f'<script type="application/json" class="kx-equations">{data}</script>'
        context["metatags"] = context.get("metatags", "") + data
        app.add_js_file("search.js", loading_method="defer")


def setup(app: Sphinx) -> None:
    """Connect the handler; page.js goes first and at once, so that no page flashes white."""
    app.connect("builder-inited", wrap, priority=900)
    app.connect("html-page-context", equations)
    app.add_js_file("page.js", priority=1)
