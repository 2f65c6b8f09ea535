"""Sphinx extension of the book: everything a page needs is served by the book itself.

Add ``kexue.site`` to a Sphinx project's extensions. It imports no other room of ``kexue``,
so another book can use it as it stands.

==============  ==================================================================
``assets``      house style sheet, no request to another host
``math``        formulas typeset at build, as HTML and MathML
``pages``       every page's Content-Security-Policy, scripts in files, the theme's color mode
``fresh``       what a page gathers from others: whether it is other by now
``slim``        style rules, icons and files that no page uses are left out
``figures``     alt text on every picture, vector figures that follow the theme
``ledger``      a mark beside every numbered equation, and the page of them all
``notation``    the page of symbols out of the chapters' tables; what a symbol is, on the spot
``status``      what it takes to run each notebook, from stored records
``speed``       tables and plots of the stored benchmarks; ``speed_draw`` draws
``exercises``   the parts of an exercise: statement, hint, solution
``sheets``      exercises and solutions to print, cut out of the chapters
``slips``       steps of a chapter with a planted error, to be found
``slides``      what the cells of a chapter put on a slide
``decks``       a file of slides for every chapter that has them
``labels``      numbers, titles and citations of all pages in one file, for other outputs
``landing``     the first page: something to look at, and a map of the chapters
``launch``      the Colab button opens a plain notebook on another branch
``head``        the line below a title: open, save, cite, report a problem
``citation``    BibTeX for the book and its chapters
``offline``     search in a site that is opened from a folder
``explorers``   stored explorers as numbered figures, and the script that moves them
``paper``       for LaTeX: a still picture of every explorer, vector figures as PDF
``typography``  a formula and the punctuation after it stay on one line
==============  ==================================================================
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kexue

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _version() -> int:
    """Of this extension's code: what another version put into a stored environment is read anew."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return int(hashlib.sha256(code).hexdigest()[:8], 16)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register every part of the extension with Sphinx."""
    from kexue.site import (
        assets,
        decks,
        explorers,
        figures,
        head,
        labels,
        landing,
        launch,
        ledger,
        math,
        notation,
        offline,
        pages,
        paper,
        sheets,
        slim,
        speed,
        status,
        typography,
    )

    content = figures, ledger, status, speed, notation, sheets, decks, explorers, typography
    around = landing, labels, launch, head, offline, paper, slim
    for part in (assets, pages, math, *content, *around):
        part.setup(app)
    return {
        "version": kexue.__version__,
        "parallel_read_safe": True,
        "parallel_write_safe": False,  # a forked V8 of `math` would wait forever
        "env_version": _version(),
    }
