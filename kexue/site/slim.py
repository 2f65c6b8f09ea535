"""Once the pages are written: only the style rules, icons and files that they use stay.

The theme's style sheets style everything that anyone might write, and its icons are a script of
half a megabyte. A rule stays if every class in its selector stands in a page or in a script; of the
icons, those that the pages name become one style sheet.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from kexue.site.assets import THEMES
from kexue.site.math import SCRIPT
from kexue.site.pages import ALL

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CLASSES = re.compile(r'\bclass="([^"]*)"')
NAME = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
ICON = re.compile(r'\bclass="[^"]*\b(?:fas|fa-solid|fab|fa-brands)\b[^"]*"')
UNUSED = (
    "scripts",
    "styles",
    "vendor/fontawesome",
    "vendor/README.md",
    "locales",
    "webpack-macros.html",
    "*-macros.html",
    "design-tabs.js",
)
# Icons are masks over the color of the text. Forced colors would paint over the mask.
ICON_RULE = """\
:is(.fas, .fa-solid, .fab, .fa-brands)::before {
  content: "" !important; display: inline-block; width: 1.25em; height: 1em;
  vertical-align: -0.125em;
  background: currentColor; mask: var(--kx-icon) center / contain no-repeat;
}
@media (forced-colors: active) {
  :is(.fas, .fa-solid, .fab, .fa-brands)::before {
    background: ButtonText; forced-color-adjust: none;
  }
}
"""


def blocks(css: str) -> Iterable[tuple[str, str]]:
    """The rules of a style sheet: selector or at-rule, and what stands between its braces.

    >>> list(blocks("@import 'a';p{b:c}@media x{q{d:e}}"))
    [("@import 'a'", ''), ('p', 'b:c'), ('@media x', 'q{d:e}')]
    """
    at = depth = start = 0
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\\.|[{};]', css):
        sign = token[0]
        if sign == ";" and not depth:
            yield css[start : token.start()].strip(), ""
            start = token.end()
        elif sign == "{":
            depth += 1
            if depth == 1:
                at = token.end()
        elif sign == "}":
            depth -= 1
            if not depth:
                yield css[start : at - 1].strip(), css[at : token.start()]
                start = token.end()


def purged(css: str, names: set[str]) -> str:
    """Return a style sheet without the rules that no element with these classes can match.

    >>> purged("p,.a .b{x:y}.c:not(.d){z:w}@media print{.d{u:v}}", {"a", "c"})
    'p{x:y}.c:not(.d){z:w}'
    """
    kept = []
    for head, body in blocks(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        if head.startswith(("@media", "@supports", "@layer")) and body:
            inside = purged(body, names)
            kept += [f"{head}{{{inside}}}"] if inside else []
        elif head.startswith("@"):
            icons = head == "@font-face" and "Font Awesome" in body.replace("\\", "")
            kept += [] if icons else [f"{head}{{{body}}}" if body else f"{head};"]
        else:
            some = [s for s in selectors(head) if set(NAME.findall(bare(s))) <= names]
            kept += [f"{','.join(some)}{{{body}}}"] if some else []
    return "".join(kept)


def selectors(head: str) -> list[str]:
    """Split a list of selectors at its commas, not at those inside brackets."""
    parts, depth = [""], 0
    for sign in head:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def bare(selector: str) -> str:
    """A selector without what stands in brackets: it may be alternatives or what is excluded."""
    while (less := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", selector)) != selector:
        selector = less
    return selector


def icons(names: Iterable[str], source: str) -> str:
    """A style sheet with the icons of these names, as they stand in Font Awesome's script.

    Brands come first in it and solid icons last. A name that is no icon (``fa-solid``) is passed
    over.
    """
    rules = [ICON_RULE]
    for name in sorted(names):
        found = re.findall(
            rf'[{{,]"?{re.escape(name[3:])}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"', source
        )
        if found:
            width, height, path = found[-1]
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
            data = quote(f'{svg}<path d="{path}"/></svg>', safe=" =:/,")
            rules.append(f'.{name} {{ --kx-icon: url("data:image/svg+xml,{data}"); }}\n')
    return "".join(rules)


def sheets(app: Sphinx) -> list[str]:
    """The style sheets of the site in the order of the cascade, relative to its static files."""
    own = sorted(app.builder._orig_css_files, key=lambda sheet: sheet.priority)
    names = [str(sheet.filename).removeprefix("_static/") for sheet in own]
    return list(dict.fromkeys(["basic.css", "styles/pydata-sphinx-theme.css", *names]))


def joined(static: Path, names: Iterable[str], used: set[str]) -> str:
    """One style sheet out of many: those of others purged, addresses relative to the folder."""
    made = []
    for name in names:
        css = (static / name).read_text(encoding="utf-8").replace('@charset "UTF-8";', "")
        folder = str(PurePosixPath(name).parent)
        css = re.sub(r"url\((?![\"']?(?:data:|#))[\"']?", rf"\g<0>{folder}/", css)
        made.append(purged(css, used))
    return "\n".join(made)


def slim(app: Sphinx, exception: Exception | None) -> None:
    """Write the two style sheets and drop what no page asks for."""
    if exception or app.builder.format != "html" or app.config.html_theme not in THEMES:
        return
    out = Path(app.outdir)
    static = out / "_static"
    if not (scripts := static / "scripts" / "fontawesome.js").is_file():
        return  # no page was out of date: all is as it was left
    pages = [p.read_text("utf-8") for p in out.rglob("*.html") if static not in p.parents]
    found = {names for page in pages for names in CLASSES.findall(page)}
    used = {word for names in found for word in names.split()}
    source = scripts.read_text(encoding="utf-8")
    wanted = {name for name in used if name.startswith("fa-")}
    for path in static.glob("*.js"):
        used.update(re.findall(r"[A-Za-z][\w-]+", path.read_text("utf-8")))
    used.update(re.findall(r"[A-Za-z][\w-]+", (static / SCRIPT).read_text("utf-8")))
    css = joined(static, sheets(app), used) + icons(wanted, source)
    (static / ALL).write_text(css, encoding="utf-8")
    for pattern in UNUSED:
        for path in static.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    """Connect the handler; at 500 other extensions still write style sheets."""
    app.connect("build-finished", slim, priority=800)
