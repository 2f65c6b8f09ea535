"""The pages of the built site as one HTML document to print: a chapter, or the whole book.

What a screen needs goes (controls, folded code, buttons); hints and solutions are gathered at the
end; links between the pages become links inside the document, and those that lead out of it, web
addresses. ``data-page-of`` marks where the number of a page is to be written, once it is known.
"""

from __future__ import annotations

import functools
import html
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

from tools.book import ROOT, captions, documents, source

DROP = (
    "script, .headerlink, .kx-head, .kx-save, .kx-sheets, .kx-controls, .copybtn, .kx-drawn, "
    "div.cell details.hide:not([open])"
)
STYLE = Path(__file__).with_name("paper.css")
SOLUTIONS = "Hints and solutions"
FRONT = """<section class="kp-title"><h1>{title}</h1><p class="kp-by">{authors}</p>
<p>{abstract}</p><p>{note}</p><p>{terms}</p><p>Version {version} · <a href="{url}">{url}</a></p>
</section><section class="kp-front"><h1>Contents</h1>{contents}</section>"""
BACK = """<p class="kp-terms">From {title}, version {version}, <a href="{url}">{url}</a>.
{terms}</p>"""


@dataclass
class Part:
    """A page of the site: its name, the prefix of its ids, its content, its folded answers."""

    name: str
    body: Tag
    answers: list[tuple[str, Tag, list[Tag]]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """The last part of the name, which is unique in the book."""
        return self.name.rpartition("/")[2]

    @property
    def title(self) -> str:
        """The text of the page's heading, with its number."""
        return self.body.find("h1").get_text().strip()

    def scopes(self) -> list[Tag]:
        """Everything that is of this page: its content and its answers."""
        return [self.body, *(fold for *_, folds in self.answers for fold in folds)]


def soup(text: str) -> BeautifulSoup:
    """Parse HTML."""
    return BeautifulSoup(text, "html.parser")


def read(site: Path, name: str) -> Part:
    """Read a page and make it fit for paper."""
    page = soup((site / f"{name}.html").read_text(encoding="utf-8"))
    part = Part(name, page.select_one("article.bd-article"))
    for node in part.body.select(DROP):
        node.decompose()
    for mark in part.body.select("details.kx-mark"):
        sign = soup('<span class="kp-sign"></span>').span
        sign["class"] += mark["class"][1:]
        sign.string = mark.select_one("[aria-hidden]").get_text()
        mark.replace_with(sign)
    take_answers(part)
    for fold in part.body.select("details"):
        fold["open"] = ""
    for node in part.body.select("[id]"):
        if node.find_parent("svg") is None:  # those have a prefix already
            node["id"] = f"{part.slug}.{node['id']}"
    part.body["id"] = part.slug
    return part


def take_answers(part: Part) -> None:
    """Move what is folded below an exercise to ``answers``; leave the number of its page."""
    for label in [node["id"] for node in part.body.select("span[id^=ex-]")]:
        section = part.body.find(id=label).find_parent("section")
        folds = [f for f in section.find_all("details", recursive=False) if not f.get("class")]
        if not folds:
            continue
        heading = section.find(["h2", "h3", "h4"])
        place = f"answer.{label}"
        words = f'{folds[-1].summary.get_text()} on page <a href="#{place}" data-page-of="{place}">'
        folds[0].insert_before(soup(f'<p class="kp-see">{words}000</a></p>'))
        part.answers.append((label, heading, [fold.extract() for fold in folds]))


def gathered(parts: list[Part]) -> Tag | None:
    """The hints and solutions of all parts, as an article of its own; None if there are none."""
    made = soup(
        f'<article class="bd-article" id="solutions"><h1>{SOLUTIONS}</h1></article>'
    ).article
    for part in (p for p in parts if p.answers):
        if len(parts) > 1:
            box = soup(f'<section id="answers.{part.slug}"><h2></h2></section>').section
            box.h2.string = part.title
            made.append(box)
        for label, heading, folds in part.answers:
            title = f'<h3><a href="#{part.slug}.{label}">{heading.decode_contents()}</a></h3>'
            box = soup(f'<section class="kp-answer" id="answer.{label}">{title}</section>').section
            for fold in folds:
                words = fold.summary.extract().get_text()
                box.append(soup(f'<p class="kp-word">{html.escape(words)}</p>'))
                box.extend(list(fold.contents))
            made.append(box)
    return made if len(made.contents) > 1 else None


@functools.cache
def address(name: str, fragment: str = "") -> str:
    """Where the page ``name`` can be read, as a web address; "" if nowhere."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    if base := config.get("html", {}).get("baseurl"):
        return f"{base.rstrip('/')}/{name}.html" + (f"#{fragment}" if fragment else "")
    if name not in documents():
        return ""
    place = config["repository"]
    return f"{place['url']}/blob/{place['branch']}/{source(name).relative_to(ROOT).as_posix()}"


def point(node: Tag, here: Part, inside: dict[str, Part]) -> None:
    """Make a link on the page ``here`` lead to its place in the document, or out of it."""
    url = urlsplit(node["href"])
    if url.scheme or url.netloc or node.get("data-page-of"):
        return
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here.name), url.path))
    name = path.removesuffix(".html") if url.path else here.name
    if name in inside:
        slug = inside[name].slug
        node["href"] = f"#{slug}.{url.fragment}" if url.fragment else f"#{slug}"
    elif out := address(name, url.fragment):
        node["href"] = out
    else:
        node.unwrap()


def cited(part: Part, site: Path) -> Tag | None:
    """The entries of the bibliography that a chapter cites, in the bibliography's order."""
    pattern = re.compile(r"(?:^|/)references\.html#(.+)")
    found = [link for scope in part.scopes() for link in scope.select("a[href]")]
    links = [(link, m[1]) for link in found if (m := pattern.search(link["href"]))]
    page = soup((site / "book/references.html").read_text(encoding="utf-8"))
    wanted = {key for _, key in links}
    entries = [e for e in page.select("div.citation[id]") if e["id"] in wanted]
    made = soup('<section class="kp-references" id="cited"><h2>References</h2></section>').section
    for entry in entries:
        entry["id"] = f"{part.slug}.cite-{entry['id']}"
        made.append(entry)
    for link, key in links:
        link["href"] = f"#cite-{key}"
    return made if entries else None


def contents(headings: list[Tag], groups: dict[str, str]) -> str:
    """A table of contents; ``groups`` gives the caption that stands before a page's heading."""
    rows = []
    for heading in headings:
        if heading.name == "h1" and (caption := groups.get(heading.find_parent("article")["id"])):
            rows.append(f'<p class="kp-caption">{html.escape(caption)}</p>')
        target = heading.find_parent(["section", "article"])["id"]
        number = f'<span data-page-of="{target}">000</span>'
        words = f"<span>{heading.decode_contents()}</span>{number}"
        rows.append(f'<a class="kp-{heading.name}" href="#{target}">{words}</a>')
    return f'<nav class="kp-contents">{"".join(rows)}</nav>'


def document(site: Path, names: list[str], said: dict[str, str]) -> str:
    """One HTML document of these pages.

    Parameters
    ----------
    site : the folder of the built site.
    names : the pages, as ``_toc.yml`` names them; of several, a book with a title page is made.
    said : title, authors, abstract, note, terms, version and url of the book, as HTML.
    """
    parts = [read(site, name) for name in names]
    whole, inside = len(parts) > 1, {part.name: part for part in parts}
    if not whole and (list_ := cited(parts[0], site)):
        parts[0].body.section.append(list_)
    for part in parts:
        for image in part.body.select("img[src]"):
            if not image["src"].startswith("data:"):
                image["src"] = posixpath.join(posixpath.dirname(part.name), image["src"])
        for scope in part.scopes():
            for link in scope.select("a[href]"):
                point(link, part, inside)
    articles = [part.body for part in parts]
    if (end := gathered(parts)) is not None:
        articles.append(end)
    if whole:
        groups = {name.rpartition("/")[2]: text for name, text in captions().items()}
        listed = contents([h for a in articles for h in a.find_all(["h1", "h2"])], groups)
        front = FRONT.format(**said, contents=listed)
    else:
        front, body = "", parts[0].body
        last = [] if end is None else [end.h1]
        listed = contents([*body.find_all("h2"), *last], {})
        body.section.find("section", recursive=False).insert_before(soup(listed))
        articles[-1].append(soup(BACK.format(**said)))
    heads = []
    for k, article in enumerate(articles):
        name = article.find("h1").get_text().strip().replace("\\", "").replace('"', "'")
        article["style"] = f"page: part{k}"
        heads.append(f'@page part{k} {{ @top-left {{ content: "{name}" }} }}')
    head = [str(node) for node in page_head(site, names[0])]
    styles = f"<style>{STYLE.read_text(encoding='utf-8')}{''.join(heads)}</style>"
    title = said["title"] if whole else parts[0].title
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>{''.join(head)}{styles}</head>"
        f"<body>{front}{''.join(map(str, articles))}</body></html>"
    )


def page_head(site: Path, name: str) -> list[Tag]:
    """The style sheets of a page."""
    head = soup((site / f"{name}.html").read_text(encoding="utf-8")).head
    found = head.select('link[rel="stylesheet"]')
    for node in found:
        node["href"] = posixpath.normpath(posixpath.join(posixpath.dirname(name), node["href"]))
    return found
