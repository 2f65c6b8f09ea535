"""Edit a chapter's slides as text, and count them: ``make slides``.

Without arguments: a table of all decks. ``take book/part/slug.ipynb`` writes the notes on slides in
the cells' metadata to ``_build/slides/slug.yml``, each with the id of its cell; ``store`` puts that
file back. The notebook is the only source: the file is scratch paper.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kexue.site.slides import read_slide, slides  # noqa: E402  (the folder above is where it is found)
from tools.notebooks import notebooks, text_of  # noqa: E402


def taken(nb: NotebookNode) -> list[dict]:
    """Return the slides of a notebook, each with the id of its cell."""
    cells = [cell for cell in nb.cells if "slides" in cell.metadata]
    return [{"cell": cell.id, **noted} for cell in cells for noted in cell.metadata["slides"]]


def stored(nb: NotebookNode, found: list[dict]) -> NotebookNode:
    """Return the notebook with these slides and no others, in place.

    Raises
    ------
    ValueError
        If a slide names no cell of the notebook, or one before that of the slide above it, or is
        noted wrongly; the notebook is then as it was.
    """
    places = [cell.id for cell in nb.cells]
    by_cell: dict[str, list] = {}
    for slide in found:
        cell, noted = slide.get("cell"), {k: v for k, v in slide.items() if k != "cell"}
        last = next(reversed(by_cell), places[0])
        if cell not in places or places.index(cell) < places.index(last):
            raise ValueError(
                f"slide {noted.get('title')!r}: needs a cell of the notebook, in order"
            )
        read_slide(places.index(cell), noted, "here")
        by_cell.setdefault(cell, []).append(NotebookNode(noted))
    for cell in nb.cells:
        cell.metadata.pop("slides", None)
        if cell.id in by_cell:
            cell.metadata["slides"] = by_cell[cell.id]
    return nb


def as_yaml(found: list[dict]) -> str:
    """Return slides as YAML with a blank line between them, long lines kept."""
    parts = (yaml.safe_dump([s], sort_keys=False, allow_unicode=True, width=96) for s in found)
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Count, take or store; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["take", "store"])
    parser.add_argument("notebook", nargs="?", type=Path)
    options = parser.parse_args(arguments)
    if options.what is None:
        for path in notebooks():
            if found := slides(path):
                minutes = sum(slide.minutes for slide in found)
                print(f"slides/{path.stem}.html: {len(found)} slides, {minutes:g} minutes")
        return 0
    path = ROOT / "_build" / "slides" / f"{options.notebook.stem}.yml"
    before = options.notebook.read_text(encoding="utf-8")
    nb = nbformat.v4.reads(before)  # unlike nbformat.reads, changes no ids
    if options.what == "take":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_yaml(taken(nb)), encoding="utf-8")
        print(path)
    else:
        after = text_of(stored(nb, yaml.safe_load(path.read_text(encoding="utf-8")) or []))
        options.notebook.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
