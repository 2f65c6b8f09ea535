"""What the book consists of, read from its table of contents."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def _toc() -> dict:
    return yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))


def documents() -> list[str]:
    """Return the documents of ``_toc.yml`` in reading order, without suffix (``book/index``)."""
    found = []

    def visit(node: object) -> None:
        if isinstance(node, dict):
            found.extend(node[key] for key in ("root", "file") if key in node)
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                visit(child)

    visit(_toc())
    return found


def chapters() -> list[str]:
    """Return the documents of the numbered parts, in reading order."""
    return [
        chapter["file"]
        for part in _toc()["parts"]
        if part.get("numbered")
        for chapter in part["chapters"]
    ]


def captions() -> dict[str, str]:
    """Return the caption of each part, by the first document in it."""
    return {part["chapters"][0]["file"]: part["caption"] for part in _toc()["parts"]}


def source(document: str) -> Path:
    """Return the file a document is written in; ``FileNotFoundError`` if there is none."""
    for suffix in (".ipynb", ".md"):
        path = ROOT / (document + suffix)
        if path.is_file():
            return path
    raise FileNotFoundError(f"{document}: _toc.yml lists it, but there is no .ipynb or .md of it")
