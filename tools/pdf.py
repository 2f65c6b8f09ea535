"""The book as PDF, printed from the built site: ``python tools/pdf.py [CHAPTER ...]``.

Writes ``_build/pdf/kexue.pdf`` and one file a chapter, or only the chapters named, and copies them
into the site, where the pages link them. Headless Chromium prints twice: the first time says on
which page everything stands, the second has the numbers in the table of contents.
"""

from __future__ import annotations

import hashlib
import html
import io
import logging
import mimetypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

logging.getLogger("pypdf").setLevel(logging.ERROR)  # Chromium miscounts its objects

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kexue.site.citation import key  # noqa: E402  (the folder above is where it is found)
from tools.book import chapters, documents  # noqa: E402
from tools.paper import document  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOST = "http://book.invalid/"  # answered from the folder of the site; nothing else is asked for
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
WIDTH = 612  # CSS pixels between the margins of paper.css: what is wider is made narrower
RADICAL = re.compile(rb"^((?:<\w+> )?<\w+>) <(2[EF]\w\w)>$", re.MULTILINE)
# The radicals of simplified Chinese, which Unicode does not call equal to the letters.
LETTERS = dict(
    zip(
        "⺠⻁⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻧⻨⻩⻪⻬⻮⻰⻳",
        "民虎西见角贝车长门青韦页风飞食马骨鬼鱼鸟卤麦黄黾齐齿龙龟",
        strict=True,
    )
)
SOURCE = "/KexueSource"
LIMIT = 20_000_000  # bytes of a file
SCRIPT = Path(__file__).with_name("paper.js")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; ``SystemExit`` with advice where there is none."""
    path = os.environ.get("KEXUE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise SystemExit(f"no Chromium found: looked for {', '.join(NAMES)} and KEXUE_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def said() -> dict[str, str]:
    """What the title page says, as HTML."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    authors = ", ".join(
        one.get("name") or f"{one['given-names']} {one['family-names']}" for one in cff["authors"]
    )
    note = (
        "On paper an explorer stands still where it starts, code that the pages fold away is left "
        "out, and hints and solutions are gathered at the end."
    )
    words = {
        "title": cff["title"],
        "authors": authors,
        "abstract": cff["abstract"],
        "note": note,
        "version": cff["version"],
        "url": config["html"].get("baseurl") or cff["repository-code"],
    }
    terms = config["html"]["extra_footer"].replace("<p>", "").replace("</p>", "")
    return {name: html.escape(text) for name, text in words.items()} | {"terms": terms}


def open_page(browser: Browser, site: Path, text: str) -> Page:
    """Open ``text`` as a page of the site, its mathematics typeset, everything fitted to paper."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})

    def answer(route) -> None:
        path = unquote(urlsplit(route.request.url).path).lstrip("/")
        file = site / path
        if not route.request.url.startswith(HOST):
            route.abort()
        elif not path:
            route.fulfill(body=text, content_type="text/html; charset=utf-8")
        elif file.is_file():
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            route.fulfill(body=file.read_bytes(), content_type=kind)
        else:
            route.fulfill(status=404, body="")

    page.route("**/*", answer)
    page.set_default_timeout(180_000)
    page.emulate_media(media="print", color_scheme="light")
    page.goto(HOST, wait_until="load")
    page.add_script_tag(content=SCRIPT.read_text(encoding="utf-8"))
    page.evaluate("fitToPaper()")
    return page


def pages_of(pdf: bytes) -> dict[str, int]:
    """On which page, counted from 1, each target of a link stands."""
    reader = PdfReader(io.BytesIO(pdf))
    return {
        unquote(name.lstrip("/")): reader.get_destination_page_number(target) + 1
        for name, target in reader.named_destinations.items()
    }


def name_bookmarks(writer: PdfWriter, headings: list[str]) -> None:
    """Name the bookmarks after the headings, in order.

    Chromium doubles the text of a heading at the top of a page and leaves out its formulas.
    """

    def walk(node) -> Iterator[DictionaryObject]:
        node = node.get("/First")
        while node is not None:
            node = node.get_object()
            yield node
            yield from walk(node)
            node = node.get("/Next")

    nodes = walk(writer.root_object["/Outlines"])
    for node, text in zip(nodes, headings, strict=True):
        node[NameObject("/Title")] = TextStringObject(text)


def name_letters(writer: PdfWriter) -> None:
    """Have Chinese letters copied and found as they were written.

    Where a letter has the shape of a radical, Chromium notes the radical's code for it.
    """

    def letter(entry: re.Match[bytes]) -> bytes:
        sign = chr(int(entry[2], 16))
        return b"%b <%04X>" % (entry[1], ord(LETTERS.get(sign) or normalize("NFKC", sign)))

    fonts = [
        f.get_object() for p in writer.pages for f in p["/Resources"].get("/Font", {}).values()
    ]
    tables = [font["/ToUnicode"].get_object() for font in fonts if "/ToUnicode" in font]
    for table in {id(table): table for table in tables}.values():
        table.set_data(RADICAL.sub(letter, table.get_data()))


def source_of(text: str) -> str:
    """What tells a document from any other: a PDF carries it, so that an old one is noticed."""
    return hashlib.sha256(text.encode()).hexdigest()


def stale(site: Path) -> list[str]:
    """The PDFs of the site that are not of its pages as they are."""
    known, old = jobs(), []
    for file in sorted((site / "pdf").glob("*.pdf")):
        made_of = PdfReader(file).metadata.get(SOURCE)
        names = known.get(file.stem)
        if not names or made_of != source_of(document(site, names, said())):
            old.append(file.name)
    return old


def printed(page: Page, source: str = "") -> bytes:
    """The PDF of an opened document."""
    paper = {"prefer_css_page_size": True, "print_background": True}
    page.evaluate("pages => writeNumbers(pages)", pages_of(page.pdf(**paper)))
    made = page.pdf(**paper, tagged=True, outline=True)
    writer = PdfWriter(clone_from=io.BytesIO(made))
    name_bookmarks(writer, page.evaluate("headings()"))
    name_letters(writer)
    writer.add_metadata({"/Author": html.unescape(said()["authors"]), SOURCE: source})
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def jobs() -> dict[str, list[str]]:
    """The pages of each file: one a chapter, then the whole book."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return {name.rpartition("/")[2]: [name] for name in chapters()} | {key(cff): documents()[1:]}


def main(site: Path, only: list[str]) -> None:
    """Write the files."""
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} holds no book: run make book first")
    known = jobs()
    if unknown := [slug for slug in only if slug not in known]:
        raise SystemExit(f"CHAPTER: got {unknown[0]}, needs one of {', '.join(known)}")
    folders = ROOT / "_build" / "pdf", site / "pdf"
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for slug in only or known:
            text = document(site, known[slug], said())
            page = open_page(browser, site, text)
            made = printed(page, source_of(text))
            page.close()
            if len(made) > LIMIT:
                raise SystemExit(f"{slug}.pdf: got {len(made)} bytes, needs at most {LIMIT}")
            for folder in folders:
                (folder / f"{slug}.pdf").write_bytes(made)
            count = len(PdfReader(io.BytesIO(made)).pages)
            print(f"{slug}.pdf: {count} pages, {len(made) / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main(ROOT / "_build" / "html", sys.argv[1:])
