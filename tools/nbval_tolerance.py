"""Let nbval compare numbers with a tolerance and words exactly.

nbval compares stored and new outputs as text. Here two texts are equal if they are the same once
every number is taken out, and if the numbers are close, one by one. Explorers compare their curves.
Pictures are not compared: the numbers they are drawn from should be printed or asserted. Nothing
else is ignored.

Cells also run as they do in Jupyter, with history, without which IPython shows the value of a line
that ends in a semicolon.

All of this replaces internals of nbval, which is why requirements.txt pins nbval and why
``tests/test_nbval_tolerance.py`` runs the real thing.
"""

from __future__ import annotations

import math
import os
import re

import pytest

from tools.notebooks import KERNEL_ENV

RELATIVE, ABSOLUTE = 1e-3, 1e-4
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
# A number, unless it is part of a word (x0, eq-2), of a version (1.2.3) or of a color (#12ab34).
NUMBER = re.compile(r"(?<![\w.#])[-+\u2212]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?!\w|\.\d)")


def close(left: str, right: str) -> bool:
    """Return whether two outputs agree: words exactly, numbers within tolerance.

    Whole numbers are counts and must agree exactly.

    >>> close("loss 0.12345", "loss 0.12346")
    True
    >>> close("loss 0.1234", "loss 0.1246"), close("loss 0.12", "cost 0.12"), close("1797", "1798")
    (False, False, False)
    """
    if str(left) == str(right):
        return True
    if 'class="kx-explorer"' in left:
        from kexue.explore import stored

        return stored.is_explorer(right) and not stored.differences(left, right)
    if words(left) != words(right):
        return False
    return all(map(numbers_agree, NUMBER.findall(left), NUMBER.findall(right)))


def words(text: str) -> str:
    """Return the text with each number replaced by a mark and spaces made single."""
    return " ".join(NUMBER.sub("\N{REPLACEMENT CHARACTER}", text).split())


def numbers_agree(left: str, right: str) -> bool:
    """Return whether two printed numbers agree: whole ones exactly, others within tolerance."""
    a, b = (text.replace("\N{MINUS SIGN}", "-") for text in (left, right))
    if re.fullmatch(r"[-+]?\d+", a) and re.fullmatch(r"[-+]?\d+", b):
        return int(a) == int(b)
    x, y = float(a), float(b)
    return math.isclose(x, y, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


class Output(str):
    """A text that equals another one if :func:`close` says so."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return close(self, other) if isinstance(other, str) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other


def pytest_configure(config: pytest.Config) -> None:
    """Wrap nbval's cells, and give its kernels the environment that outputs are stored under."""
    if not getattr(config.option, "nbval", False):
        return
    from nbval.kernel import RunningKernel
    from nbval.plugin import IPyNbCell, IPyNbFile

    os.environ.update(KERNEL_ENV)
    sanitize, setup = IPyNbCell.sanitize, IPyNbFile.setup

    def tolerant(cell: IPyNbCell, value: object) -> object:
        value = sanitize(cell, value)
        return Output(value) if isinstance(value, str) else value

    def without_pictures(file: IPyNbFile) -> None:
        setup(file)
        file.skip_compare += PICTURES

    def with_history(kernel: RunningKernel, code: str, allow_stdin: bool | None = None) -> str:
        options = {"allow_stdin": allow_stdin, "stop_on_error": False}
        return kernel.kc.execute(code, store_history=True, **options)

    IPyNbCell.sanitize, IPyNbFile.setup = tolerant, without_pictures
    RunningKernel.execute_cell_input = with_history
