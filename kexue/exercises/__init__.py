"""Questions to a reader: a guess that scores itself, and answers that are checked (floor 3).

================  =============================================================================
``guess``         a sheet of pictures to accuse; keeps the score without a kernel
``expect``        the author declares the answer of an exercise, next to the exercises
``check_answer``  the reader's answer against it, with a reply that helps: sign, factor, term, ...
``read_answer``   what is typed, plain or in TeX, as SymPy; nothing in it is ever executed
================  =============================================================================
"""

from kexue.exercises.answers import Answers, Reply, check_answer, expect
from kexue.exercises.pictures import Guess, guess
from kexue.exercises.reading import read_answer
from kexue.exercises.tokens import Unreadable

__all__ = [
    "Answers",
    "Guess",
    "Reply",
    "Unreadable",
    "check_answer",
    "expect",
    "guess",
    "read_answer",
]
