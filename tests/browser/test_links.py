"""Links inside the built book lead somewhere, and nothing on a page names another host."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from tools.book import documents

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Collects a page's ids, its links, and the addresses it loads by itself."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.update(filter(None, (attrs.get("id"), tag == "a" and attrs.get("name"))))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if attrs.get(LOADS.get(tag, "")) and attrs.get("rel") not in ("canonical", "search"):
            self.loads.append(attrs[LOADS[tag]])


@pytest.fixture(scope="module")
def built(site):
    """Every HTML page of the site, parsed: path relative to the site -> Page."""
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if "_static" not in path.relative_to(site).parts
    }


def test_every_document_has_a_page(built):
    assert [name for name in documents() if f"{name}.html" not in built] == []


def test_no_page_loads_from_another_host(built):
    foreign = [
        (name, url)
        for name, page in built.items()
        for url in page.loads
        if urlsplit(url).netloc and not url.startswith("data:")
    ]
    assert foreign == []


def test_style_sheets_and_scripts_name_no_foreign_font_or_import(site):
    """``@import`` and ``url()`` of another host in the CSS that the pages load."""
    pattern = re.compile(r"(?:@import\s+|url\(\s*)[\"']?(?:https?:)?//[^\s\"')]+")
    found = [
        (path.name, match)
        for path in (site / "_static").rglob("*.css")
        for match in pattern.findall(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_links_inside_the_book_resolve(built, site):
    broken = []
    for name, page in built.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (site / name).parent / unquote(url.path) if url.path else site / name
            target = target.resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken.append(f"{name}: {link} (no such file)")
                continue
            page_there = built.get(target.relative_to(site.resolve()).as_posix())
            fragment = unquote(url.fragment)
            if fragment and page_there and fragment not in page_there.ids:
                broken.append(f"{name}: {link} (no such place on the page)")
    assert broken == []
