r"""The letters of an answer: how each is typed, what it stands for, and its TeX.

A letter is declared as it is typed, ``alphabar_t`` or ``betabar_{t-1}``, or by its TeX,
``\bar\beta_{t-1}``. A reader may type ``alphabar_t``, ``alpha_bar_t``, ``ᾱ_t`` or
``\bar{\alpha}_t``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp

from kexue.exercises.tokens import ACCENTS, GREEK, Unreadable, spelled, tokens

# kind -> what SymPy may assume, and in words. Points are drawn accordingly (values.py).
KINDS: Mapping[str, tuple[Mapping[str, bool], str]] = {
    "positive": ({"positive": True}, "positive"),
    "unit": ({"positive": True}, "between 0 and 1"),
    "real": ({"real": True}, "real"),
    "natural": ({"integer": True, "positive": True}, "1, 2, 3, ..."),
}
_NAME = re.compile(r"([A-Za-z]+)(\d*)((?:_(?:\{[^{}]+\}|\w+))?)")


def declared(names: str, kind: str) -> list[tuple[str, sp.Symbol]]:
    """(name as typed, symbol) for each name of a string such as ``"sigma theta"``.

    Raises
    ------
    TypeError, ValueError
        ``names`` is no string, or a word in it is no letter.
    """
    if not isinstance(names, str):
        raise TypeError(f"{kind}: got {type(names).__name__}, needs a string of letters")
    found = []
    for word in names.split():
        try:
            read = tokens(word)
        except Unreadable as error:
            raise ValueError(f"{kind}: got {word!r}, needs letters ({error})") from None
        if len(read) != 1 or read[0].kind not in ("word", "name"):
            raise ValueError(f"{kind}: got {word!r}, needs letters such as theta or x_t")
        found.append((read[0].text, sp.Symbol(read[0].text, **KINDS[kind][0])))
    return found


def tex(name: str) -> str:
    r"""The TeX of a letter as typed.

    >>> tex("betabar_{t-1}"), tex("x0"), tex("tilde")
    ('\\bar{\\beta}_{t-1}', 'x_{0}', 'tilde')
    """
    match = _NAME.fullmatch(spelled(name))
    if not match:
        return name
    base, digits, script = match.groups()
    script = script[1:].strip("{}") or digits
    accent = next((a for a in ACCENTS.values() if base.endswith(a) and base != a), "")
    base = base.removesuffix(accent)
    base = "\\" + base if base in GREEK.values() else base
    base = rf"\{accent}{{{base}}}" if accent else base
    script = re.sub(r"[A-Za-z]+", lambda w: _word(w.group()), script)
    return base + (f"_{{{script}}}" if script else "")


def _word(word: str) -> str:
    return "\\" + word + " " if word in GREEK.values() else word


def nearest(name: str, known: Mapping[str, sp.Symbol]) -> str:
    """What the letters are, for a reader who used another one."""
    if not known:
        return f"{name!r} is no part of this answer, which is a number"
    letters = ", ".join(dict.fromkeys(s.name for s in known.values()))
    if len(name) > 1 and all(c in known or c in "ei" for c in name):
        return f"{name!r} is no letter of this exercise; write a product as {'*'.join(name)}"
    return f"{name!r} is no letter or function of this exercise; its letters: {letters}"
