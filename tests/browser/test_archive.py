"""The archive, unpacked and opened by double click: file://, every other request refused."""

import zipfile
from pathlib import Path

import pytest
from pypdf import PdfWriter

from tools import archive, pdf
from tools.book import chapters

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def unpacked(site, tmp_path_factory):
    """The archive in a folder with a space and a letter that is not ASCII in its name."""
    folder = tmp_path_factory.mktemp("zip") / "copied by hand, für später"
    file = folder.parent / "book.zip"
    count = archive.pack(site, file, "kexue-0")
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None and len(packed.namelist()) == count
        assert {name.partition("/")[0] for name in packed.namelist()} == {"kexue-0"}
        packed.extractall(folder)
    return folder / "kexue-0"


@pytest.fixture
def offline(chromium, unpacked):
    """Open a file of the archive; at the end nothing was asked for elsewhere or complained."""
    context, wrong = chromium.new_context(), []

    def gate(route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", gate)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda request: wrong.append(f"no {request.url}"))

    def open_file(path, query=""):
        page.goto((unpacked / path).as_uri() + query, wait_until="load")
        return page

    yield open_file
    assert wrong == []
    context.close()


def test_from_the_first_page_to_a_moved_explorer(offline):
    page = offline("index.html")
    page.wait_for_url("**/book/index.html")
    name = chapters()[0].rpartition("/")[2]
    page.locator(f"main a[href$='{name}.html']").first.click()
    page.wait_for_selector("figure.kx-explorer[data-kx=ready]")
    assert page.locator(".katex").count() > 50
    figure = page.locator("figure.kx-explorer[data-kx=ready]:has(input[type=range])").first
    before = figure.get_attribute("data-kx-frame")
    figure.locator("input[type=range]").first.press("ArrowLeft")
    page.wait_for_function(
        "([figure, before]) => figure.dataset.kxFrame !== before",
        arg=[figure.element_handle(), before],
    )


@pytest.mark.parametrize("words", ["posterior", "贝叶斯", "散模"])  # the last is no word of its own
def test_search_finds(words, offline):
    page = offline("search.html", f"?q={words}")
    page.wait_for_selector(".search-summary:has-text('found')")
    assert page.locator("#search-results ul.search li a").count()


def test_what_was_made_beside_the_pages_opens(offline, unpacked):
    """A deck, if there is one; every PDF is a PDF."""
    decks = sorted((unpacked / "slides").glob("*.html"))
    if decks:
        page = offline(decks[0].relative_to(unpacked).as_posix())
        assert page.locator("section").count() > 5
    for file in (unpacked / "pdf").glob("*.pdf"):
        assert file.read_bytes().startswith(b"%PDF-")


def test_what_a_former_build_left_is_named(tmp_path, monkeypatch):
    """A deck and a PDF of no chapter, a PDF of another text; not a PDF of this one."""
    monkeypatch.setattr(pdf, "document", lambda site, names, said: names[0])
    first, second = (name.rpartition("/")[2] for name in chapters()[:2])
    for name in ("slides/gone.html", f"slides/{first}.html", "pdf/gone.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for slug in ("gone", first, second):
        writer = PdfWriter()
        writer.add_blank_page(9, 9)
        writer.add_metadata({pdf.SOURCE: pdf.source_of(chapters()[0])})
        writer.write(tmp_path / "pdf" / f"{slug}.pdf")
    left = ["slides/gone.html", *sorted(["pdf/gone.pdf", f"pdf/{second}.pdf"])]
    assert archive.outdated(tmp_path) == left


def test_the_same_site_gives_the_same_bytes_and_no_site_is_refused(tmp_path):
    site: Path = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    with pytest.raises(SystemExit, match="holds no book"):
        archive.pack(site, tmp_path / "0.zip", "top")
    for name in ("sub/b.html", "index.html", ".buildinfo"):
        (site / name).write_text(name)
    assert [archive.pack(site, tmp_path / f"{k}.zip", "top") for k in (1, 2)] == [2, 2]
    (site / "index.html").touch()
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "1.zip").namelist() == ["top/index.html", "top/sub/b.html"]
