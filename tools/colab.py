"""Write every notebook of the book in plain form, for Colab and Jupyter: ``make colab``.

The cells are those of the book, with their outputs. MyST is resolved (``tools/plain.py``) into
plain Markdown with the numbers that the pages show; captions of figures follow them as text. The
notebooks go to ``_build/colab/<part>/<slug>.ipynb`` and behind the download buttons of the pages
in ``_build/html``; the deploy workflow publishes that folder as the branch that the pages' Colab
buttons open. Never edit them.
"""

from __future__ import annotations

import argparse
import base64
import copy
import re
import shutil
import sys
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.book import documents, source  # noqa: E402  (the folder above is where it is found)
from tools.notebooks import repository  # noqa: E402
from tools.plain import Plain, anchor, captioned, labels_at  # noqa: E402

EXPLORER = re.compile(
    r'<figure class="kx-explorer"(?: data-name="(?P<name>[^"]*)")?>.*'
    r'<figcaption>(?P<caption>.*?)\s*<span class="kx-hint">',
    re.DOTALL,
)
FOLLOWS = "**{}** is the figure above; with a running kernel its controls move over the full range."
NOTE = (
    "*This notebook is written from [the page]({page}), where every numbered equation also carries "
    "a mark that says what checked it, and the sliders move without Python.*"
)
README = """\
# Notebooks for Colab and Jupyter

Written from [the book]({site}) by its build, one for each page that runs. Nothing here is edited by
hand; corrections go to [the repository]({repository}).
"""


def site_of(url: str) -> str:
    """Return the address at which a GitHub repository's pages are published.

    >>> site_of("https://github.com/you/notes")
    'https://you.github.io/notes/'
    """
    owner, name = urlsplit(url).path.strip("/").split("/")
    return f"https://{owner}.github.io/{name}/"


def plain_notebook(nb: NotebookNode, plain: Plain) -> NotebookNode:
    """Return a copy of a notebook with every cell in plain form.

    Raises
    ------
    ValueError
        If something in a text cell has no plain form, or does not resolve.
    """
    cells: list[NotebookNode] = []
    figures = list(plain.labels["figures"].get(plain.page, []))
    for original in nb.cells:
        cell = copy.deepcopy(original)
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = plain.markdown(cell.source)
            cell.metadata = NotebookNode()
        elif cell.cell_type == "code":
            cell.metadata = code_metadata(original)
            alt = original.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            for output in cell.outputs:
                trust(output, alt)
            cells += captions(original, plain, figures)
    made = nbformat.v4.new_notebook(cells=cells, metadata=metadata(plain.page))
    made.nbformat_minor = 5
    note = NOTE.format(page=f"{plain.site}{plain.page}.html")
    made.cells.insert(1, nbformat.v4.new_markdown_cell(note, id="written-from"))
    nbformat.validate(made)
    return made


def metadata(page: str) -> dict:
    """What a plain notebook says of itself."""
    name = page.rpartition("/")[2] + ".ipynb"
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "colab": {"name": name, "provenance": [], "toc_visible": True},
    }


def code_metadata(cell: NotebookNode) -> NotebookNode:
    """Keep the tags; fold the code, in JupyterLab and in Colab, where the page folds it."""
    tags = cell.metadata.get("tags", [])
    kept = NotebookNode(tags=tags) if tags else NotebookNode()
    if "hide-input" in tags:
        kept.update(jupyter={"source_hidden": True}, cellView="form")
    return kept


def trust(output: NotebookNode, alt: str) -> None:
    """Give a drawing an HTML form, in place: JupyterLab shows no SVG from notebooks of strangers.

    The form is a picture with the alt text of the page, which no viewer's sanitizer takes away.
    """
    svg = output.get("data", {}).get("image/svg+xml")
    if svg and "text/html" not in output.data:
        source = base64.b64encode("".join(svg).encode()).decode()
        picture = f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{source}">'
        output.data["text/html"] = picture


def captions(cell: NotebookNode, plain: Plain, figures: list[str]) -> list[NotebookNode]:
    """Return the text cell that follows a figure, if the code cell shows one.

    ``figures`` holds how the page calls those that are still to come; this one is taken from it.
    """
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    stored = "".join("".join(o["data"].get("text/html", "")) for o in cell.outputs if "data" in o)
    explorer = EXPLORER.search(stored)
    if not figure.get("caption") and not (explorer and explorer["caption"]):
        return []
    name = figure.get("name") or (explorer and explorer["name"]) or ""
    called = plain.called(name) or next(iter(figures), "")
    if called in figures:
        del figures[: figures.index(called) + 1]
    lines = [FOLLOWS.format(called)]
    if figure.get("caption"):
        lines = captioned(called, plain.markdown(figure["caption"]).split("\n"))
    lines[0] = (anchor(name) if name else "") + lines[0]
    return [nbformat.v4.new_markdown_cell("\n".join(lines), id=f"{cell.id[:50]}-caption")]


def pages() -> list[str]:
    """Return the pages of the book that are notebooks, in reading order."""
    return [page for page in documents() if source(page).suffix == ".ipynb"]


def target(page: str) -> str:
    """Return where a page's plain notebook stands in the branch.

    >>> target("book/diffusion/ddpm-bayes")
    'diffusion/ddpm-bayes.ipynb'
    """
    return page.removeprefix("book/") + ".ipynb"


def view(page: str, labels: dict) -> Plain:
    """Return the converter for a page of this book."""
    url = repository()
    return Plain(labels, page, site_of(url), f"{url}/raw/main/")


def main(arguments: list[str] | None = None) -> int:
    """Write all notebooks; return 1 if one has no plain form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--doctrees", type=Path, default=ROOT / "_build" / ".doctrees")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "colab")
    parser.add_argument("--pages", type=Path, default=ROOT / "_build" / "html")
    options = parser.parse_args(arguments)
    labels = labels_at(options.doctrees)
    if options.out.exists():
        shutil.rmtree(options.out)
    wrong = 0
    for page in pages():
        path = options.out / target(page)
        try:
            made = plain_notebook(nbformat.read(source(page), as_version=4), view(page, labels))
        except ValueError as error:
            print(error)
            wrong = 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(nbformat.writes(made).rstrip("\n") + "\n", encoding="utf-8")
        download = options.pages / "_sources" / f"{page}.ipynb"
        if download.is_file():
            shutil.copyfile(path, download)
        print(path.relative_to(options.out))
    url = repository()
    readme = README.format(site=site_of(url), repository=url)
    (options.out / "README.md").write_text(readme, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
