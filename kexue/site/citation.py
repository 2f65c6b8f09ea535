"""How to cite the book and its chapters: BibTeX from CITATION.cff, titles and addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kexue.site.fresh import differs

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# What BibTeX and TeX would not read as a letter.
SPECIAL = {c: "\\" + c for c in "&%$#_"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
SPECIAL |= {"^": r"\textasciicircum{}", "{": r"\{", "}": r"\}"}


def tex(text: str) -> str:
    r"""Text as TeX reads it.

    >>> tex("Bits & nats: 50 %")
    'Bits \\& nats: 50 \\%'
    """
    return "".join(SPECIAL.get(c, c) for c in text)


def entry(kind: str, key: str, fields: dict[str, str]) -> str:
    r"""A BibTeX entry, a field a line; fields without a value are left out.

    >>> print(entry("book", "k", {"year": "2026", "url": "", "title": "{A}"}))
    @book{k,
      year = {2026},
      title = {{A}}
    }
    """
    rows = (f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"@{kind}{{{key},\n" + ",\n".join(rows) + "\n}"


def authors(people: list[dict[str, str]]) -> str:
    """The authors of a CITATION.cff, as BibTeX has them.

    >>> authors([{"name": "The Authors"}, {"family-names": "Noether", "given-names": "Emmy"}])
    '{The Authors} and Noether, Emmy'
    """
    return " and ".join(
        f"{{{tex(one['name'])}}}"
        if "name" in one
        else tex(", ".join(filter(None, (one.get("family-names"), one.get("given-names")))))
        for one in people
    )


def book(app: Sphinx) -> dict[str, Any]:
    """What CITATION.cff says of the book; nothing where there is no such file."""
    path = Path(app.srcdir) / app.config.kexue_citation
    if not path.is_file():
        return {}
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {**said, **said.get("preferred-citation", {})}


def key(said: dict[str, Any]) -> str:
    """What the book is called in keys and file names: its title's letters up to the first comma.

    >>> key({"title": "The Book, and more"})
    'thebook'
    """
    return re.sub(r"\W+", "", said["title"].split(",")[0].lower())


def page_url(app: Sphinx, page: str) -> str:
    """Where a page can be read: on the site if its address is known, else its source."""
    options = app.config["html_theme_options"]
    if base := app.config.html_baseurl:
        return f"{base.rstrip('/')}/{page}.html"
    if not (repository := options.get("repository_url", "").rstrip("/")):
        return page
    name = Path(app.env.doc2path(page)).relative_to(app.srcdir).as_posix()
    return f"{repository}/blob/{options.get('repository_branch') or 'main'}/{name}"


def bibtex(app: Sphinx, page: str) -> str:
    """The entry of a page: of a chapter if it is a notebook, else of the book; "" without a CFF."""
    said = book(app)
    if not said:
        return ""
    name = key(said)
    common = {"author": authors(said["authors"]), "year": str(said.get("year", ""))}
    version = f"Version {said['version']}" if said.get("version") else ""
    if Path(app.env.doc2path(page)).suffix != ".ipynb":
        fields = {**common, "title": f"{{{tex(said['title'])}}}", "note": version}
        fields["url"] = app.config.html_baseurl or said.get("url", "")
        return entry("book", name, fields)
    fields = {**common, "title": f"{{{tex(app.env.titles[page].astext())}}}"}
    fields |= {"booktitle": f"{{{tex(said['title'])}}}", "note": version}
    fields["url"] = page_url(app, page)
    return entry("incollection", f"{name}-{page.rpartition('/')[2]}", fields)


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Every page, if what CITATION.cff says is other by now."""
    return sorted(env.found_docs) if differs(env, "citation", book(app)) else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Say where CITATION.cff is; an extension of its own, so that two parts can ask for it."""
    app.add_config_value("kexue_citation", "CITATION.cff", "html", types=[str])
    app.connect("env-updated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
