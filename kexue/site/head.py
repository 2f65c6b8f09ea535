"""The line below a page's title: open in Colab, notebook, slides, PDF, cite, report a problem.

A link appears only where its target exists in this build: slides if the page has some, a PDF, which
is made after the pages, if it is there (``MADE`` says where); a page is written again when that
changes. A report is an
issue with its title and body filled in; the opened mark of an equation has one that names it.
Below every drawn figure stand the buttons of ``save.js``.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from kexue.site.citation import bibtex, book, key, page_url
from kexue.site.ledger import ledger_mark, line
from kexue.site.slides import address

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# What other builds may have put into the site: the words of the link, where it is for a chapter.
MADE = {"PDF": "pdf/{}.pdf"}
DRAWN = 'class="kx-figure"', 'class="kx-data"'  # in the HTML of a page with a figure to save
# Buttons of the theme's top row that the line replaces.
REPLACED = "launch-buttons", "download-buttons"


def made(app: Sphinx, page: str) -> dict[str, str]:
    """What there is of a page beside it, in this build: words of the link -> path in the site."""
    slug = page.rpartition("/")[2]
    found = {words: path.format(slug) for words, path in MADE.items()}
    there = {words: path for words, path in found.items() if (Path(app.outdir) / path).is_file()}
    deck = address(app, page)
    return {"Slides": deck, **there} if deck else there


def whole(app: Sphinx) -> str:
    """Where the PDF of the whole book is in the site; "" if it was not made."""
    path = MADE["PDF"].format(key(said)) if (said := book(app)) else ""
    return path if path and (Path(app.outdir) / path).is_file() else ""


def report(app: Sphinx, page: str, equation: str = "") -> str:
    """The address that opens a new issue about a page or an equation; "" without a repository."""
    options = app.config["html_theme_options"]
    repository = options.get("repository_url", "").rstrip("/")
    if not (repository and options.get("use_issues_button")):
        return ""
    title = f"{equation or app.env.titles[page].astext()}: "
    version = str(book(app).get("version", ""))
    about = [f"Page: {page_url(app, page)}", f"Equation: {equation}" if equation else ""]
    about += [f"Version: {version}" if version else "", ""]
    about += ["What it says, what it should say, and how one sees it:", ""]
    body = "\n".join(part for k, part in enumerate(about) if part or k >= 3)
    return f"{repository}/issues/new?title={quote(title)}&body={quote(body)}"


class ReportEquations(SphinxPostTransform):
    """End what each mark says with a link to report a problem with its equation."""

    default_priority = 7
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page in place."""
        for mark in self.document.findall(ledger_mark):
            if url := report(self.app, self.env.docname, mark["label"]):
                words = "Report a problem with this equation"
                mark += line(nodes.reference("", words, refuri=url, internal=False))


def links(app: Sphinx, page: str, context: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Words and address of each link of a page, and whether it saves a file."""
    pathto, found = context["pathto"], []
    groups = {group.get("label"): group for group in context.get("header_buttons", ())}
    for button in groups.get("launch-buttons", {}).get("buttons", ()):
        found.append((f"Open in {button['text']}", button["url"], False))
    if Path(app.env.doc2path(page)).suffix == ".ipynb" and context.get("sourcename"):
        found.append(("Download .ipynb", f"{pathto('_sources', 1)}/{context['sourcename']}", True))
    found += [(words, pathto(path, 1), False) for words, path in made(app, page).items()]
    return found


def head(app: Sphinx, page: str, context: dict[str, Any]) -> str:
    """The line as HTML."""
    parts = [
        f'<a href="{escape(url)}"{" download" if saves else ""}>{escape(words)}</a>'
        for words, url, saves in links(app, page, context)
    ]
    if entry := bibtex(app, page):
        code = f'<div class="highlight"><pre>{escape(entry, quote=False)}</pre></div>'
        parts.append(
            f'<details class="kx-cite"><summary>Cite</summary><div class="kx-cite-as">'
            f'<div class="highlight-none notranslate">{code}</div></div></details>'
        )
    if url := report(app, page):
        parts.append(f'<a href="{escape(url)}">Report a problem</a>')
    return f'<div class="kx-head d-print-none">{"".join(parts)}</div>' if parts else ""


def place(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the line below the title, and take the buttons away that it replaces."""
    if any(drawn in context.get("body", "") for drawn in DRAWN):
        app.add_js_file("save.js", loading_method="defer")
    if doctree is None or page == app.config.root_doc or page not in app.env.found_docs:
        return
    before, title, after = context.get("body", "").partition("</h1>")
    if title and (found := head(app, page, context)):
        context["body"] = before + title + found + after
        groups = context.get("header_buttons", [])
        groups[:] = [group for group in groups if group.get("label") not in REPLACED]


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages beside which something came or went since they were written."""
    now = {page: sorted(made(app, page)) for page in sorted(env.found_docs)}
    before, env.kexue_made = getattr(env, "kexue_made", {}), now
    return [page for page in now if now[page] != before.get(page, [])]


def setup(app: Sphinx) -> None:
    """Connect the handlers; the theme makes its buttons at 501, ``launch`` changes one at 600."""
    app.setup_extension("kexue.site.citation")
    app.connect("env-updated", outdated)
    app.connect("html-page-context", place, priority=700)
    app.add_post_transform(ReportEquations)
    app.add_css_file("head.css")
