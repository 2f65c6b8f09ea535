"""A check ties the label of a printed equation to the evidence for it.

    step = defined("eq-ddpm-step", Gaussian(a * y, b**2))        # a premise
    proved("eq-ddpm-marginal", derived, stated, by="by induction", given=["eq-ddpm-step"])

Each call displays one quiet line whose HTML carries the record (``data-ledger``); the site build
reads the records, executes nothing, and marks every numbered equation with what checks it.

============  ==========================================================================
``checks``    ``proved``, ``measured``, ``cited``, ``defined``, ``assumed``, ``Refuted``
``record``    what is stored with a notebook, and how it is read again
``premises``  ``mutating``: a premise handed out wrong
``sweep``     every premise wrong in turn: what does each equation rest on?
``stated``    every slip of the pen in a statement: does the check notice?
``slips``     three slips of the pen in a chapter, for readers to find
``brief``     expressions in TeX as one writes them: p for p(x, t)
``runner``    runs a notebook's cells tagged ``ledger`` for both
``tex``       TeX as a tree of tokens; the table of symbols by their TeX names
``names``     where a name in TeX ends, and which need no table
``reader``    one TeX expression as SymPy
``display``   a printed display as the expressions that it states
``printed``   is the printed equation the checked one?
============  ==========================================================================
"""

from kexue.ledger.checks import (
    Outcome,
    Refuted,
    assumed,
    cited,
    defined,
    listening,
    measured,
    proved,
)
from kexue.ledger.premises import mutating
from kexue.ledger.record import Record, stored

__all__ = [
    "Outcome",
    "Record",
    "Refuted",
    "assumed",
    "cited",
    "defined",
    "listening",
    "measured",
    "mutating",
    "proved",
    "stored",
]
