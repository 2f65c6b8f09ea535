"""A check ties the label of a printed equation to the evidence for it.

    step = defined("eq-ddpm-step", Gaussian(a * y, b**2))        # a premise
    proved("eq-ddpm-marginal", derived, stated, by="by induction", given=["eq-ddpm-step"])

Each call displays one quiet line whose HTML carries the record (``data-ledger``); the site build
reads the records, executes nothing, and marks every numbered equation with what checks it.
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
