r"""What a reader types, plain or in TeX, as one list of tokens: numbers, names, operations.

Letters of other alphabets, quotes, dots and brackets of programs are refused here, so that what
follows sees arithmetic only. Greek letters become their English names, and a letter with an accent
becomes one name: ``ᾱ_t``, ``alpha_bar_t`` and ``\bar{\alpha}_{t}`` are all ``alphabar_t``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from kexue.ledger.tex import Cursor, Unread, flat, tree

LONGEST = 500  # characters
DEEPEST = 60  # brackets, signs and powers inside each other


class Unreadable(ValueError):
    """An answer that is not read; the message is a sentence that says what is not allowed."""


class Token(NamedTuple):
    """``kind``: number, word (a letter or a function), name (a letter), function, operation."""

    kind: str
    text: str


_ALPHABET = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi
    rho sigma sigma tau upsilon phi chi psi omega"""
GREEK = {chr(0x3B1 + i): name for i, name in enumerate(_ALPHABET.split())}
GREEK |= {chr(0x391 + i): name.capitalize() for i, name in enumerate(_ALPHABET.split()) if i != 17}
GREEK |= {"ϵ": "epsilon", "ϑ": "theta", "ϕ": "phi"}
_SAME = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varsigma": "sigma"}
ACCENTS = {"\u0304": "bar", "\u0303": "tilde", "\u0302": "hat", "\u0307": "dot"}
_TEX_ACCENTS = {r"\overline": "bar", r"\widetilde": "tilde", r"\widehat": "hat"}
_TEX_ACCENTS |= {"\\" + a: a for a in ACCENTS.values()}
_FONTS = {r"\mathrm", r"\operatorname", r"\text", r"\mathbf", r"\boldsymbol", r"\mathit"}
_PLAIN = str.maketrans({"·": "*", "×": "*", "⋅": "*", "∗": "*", "÷": "/", "−": "-", "–": "-"})
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "₀₁₂₃₄₅₆₇₈₉ₜ"
_DIGITS = str.maketrans(_RAISED + _LOWERED, "0123456789-0123456789t")
_WORDS = """exp log ln sqrt sin cos tan sinh cosh tanh sech arcsin arccos arctan arsinh arcosh
    artanh asin acos atan asinh acosh atanh erf erfc abs Gamma gamma factorial"""
FUNCTIONS = set(_WORDS.split())
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z][A-Za-z0-9]*(?:_(?:\{[^{}]{1,20}\}|[A-Za-z0-9]+))*)"
    r"|(?P<operation>\*\*|[-+*/^()!|]))"
)


def tokens(text: str) -> list[Token]:
    r"""The tokens of ``text``.

    >>> [t.text for t in tokens("2σ²/theta")]
    ['2', 'sigma', '^', '(', '2', ')', '/', 'theta']
    >>> [t.text for t in tokens(r"\sqrt{\bar\alpha_t}")]
    ['sqrt', '(', 'alphabar_t', ')']

    Raises
    ------
    Unreadable
        For what is neither arithmetic nor TeX for it.
    """
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text)} characters are too many, at most {LONGEST} are read")
    control = next((c for c in text if unicodedata.category(c)[0] == "C" and c not in "\n\t"), None)
    if control:
        raise Unreadable(
            f"the control character {control!r} is not allowed; for TeX write a raw string, "
            r'r"\frac{1}{2}"'
        )
    text = _one_side(text.strip().strip("$"))
    if not text.strip():
        raise Unreadable("the answer is empty")
    if "\\" in text:
        return _tex_tokens(text)
    text, found, here = _ascii(re.sub(r"\^ *\{([^{}]*)\}", r"^(\1)", text)), [], 0
    while here < len(text.rstrip()):
        match = _TOKEN.match(text, here)
        if not match:
            rest = text[here:].strip()
            raise Unreadable(
                f"the character {rest[0]!r} in {rest[:20]!r} is not allowed; numbers, letters, "
                "+ - * / ^ ( ) and functions such as exp are"
            )
        kind = match.lastgroup or ""
        piece = match[kind]
        found.append(Token(kind, spelled(piece) if kind == "word" else piece.replace("**", "^")))
        here = match.end()
    return found


def spelled(name: str) -> str:
    """One spelling of a name: alpha_bar_t and alphabar_{t} are alphabar_t, x_0 is x0.

    >>> spelled("alpha_bar_{t}"), spelled("betabar_{t - 1}"), spelled("x_0")
    ('alphabar_t', 'betabar_{t-1}', 'x0')
    """
    base, *scripts = re.split(r"_(?![^{]*\})", name.replace(" ", ""))
    base = _SAME.get(base, base)
    if scripts and scripts[0] in ACCENTS.values():
        base += scripts.pop(0)
    script = ",".join(s.strip("{}") for s in scripts)
    if not script:
        return base
    if script.isdigit() and not base[-1].isdigit():
        return base + script
    return f"{base}_{script}" if script.isalnum() else f"{base}_{{{script}}}"


def _one_side(text: str) -> str:
    """``kappa = ...`` without the name."""
    left, equals, right = text.rpartition("=")
    if not equals or r"\sum" in text or r"\prod" in text:  # those are refused further down
        return text
    if not re.fullmatch(r"[^-+*/^=:<>!\"']{1,40}", left):
        raise Unreadable("'=' is not allowed; the answer is one formula, not an equation")
    return right


def _ascii(text: str) -> str:
    """Greek letters, accents, raised and lowered digits in plain letters."""
    text = re.sub(f"[{''.join(_RAISED)}]+", lambda m: f"^({m.group().translate(_DIGITS)})", text)
    text = re.sub(f"[{''.join(_LOWERED)}]+", lambda m: "_" + m.group().translate(_DIGITS), text)
    out, text = "", unicodedata.normalize("NFD", text).translate(_PLAIN)
    for i, c in enumerate(text):
        after = text[i + 1 : i + 2]
        if c in GREEK:  # a space on both sides: two letters side by side are a product
            joined = after == "_" or after in ACCENTS or after.isdigit()
            out += (" " * (out[-1:] != "_")) + GREEK[c] + " " * (not joined)
        elif c in ACCENTS:
            if not out[-1:].isalpha():
                raise Unreadable(f"the accent {unicodedata.name(c)} needs a letter")
            out += ACCENTS[c] + " " * (after != "_")
        else:
            out += c
    return out


# -- TeX ---------------------------------------------------------------------------------------


def _tex_tokens(text: str) -> list[Token]:
    accents = "|".join(ACCENTS.values())
    text = re.sub(rf"(?<![\\A-Za-z])({'|'.join(GREEK.values())})_?({accents})", r"\\\2{\\\1}", text)
    known = "|".join(sorted({*GREEK.values(), *FUNCTIONS}, key=len, reverse=True))
    text = re.sub(rf"(?<![\\A-Za-z])({known})(?![A-Za-z])", r"\\\1 ", text)  # \frac{g^2}{2 theta}
    try:
        return _walk(tree(text), 0)
    except Unread as error:
        raise Unreadable(f"the TeX is not complete: {error}") from None


def _operation(text: str) -> Token:
    return Token("operation", text)


def _inside(nodes: list, depth: int) -> list[Token]:
    return [_operation("("), *_walk(nodes, depth + 1), _operation(")")]


def _walk(nodes: list, depth: int) -> list[Token]:
    if depth > DEEPEST:
        raise Unreadable(f"brackets inside each other more than {DEEPEST} deep are not allowed")
    here, out = Cursor(nodes), []
    while (node := here.peek()) is not None:
        if isinstance(node, list):
            out += _inside(here.group(), depth)
        elif (node.isascii() and node.isdigit()) or node == ".":
            text = ""
            while isinstance(n := here.peek(), str) and (n == "." or (n.isascii() and n.isdigit())):
                text += here.take(n) or ""
            if text.count(".") > 1 or text == ".":
                raise Unreadable(f"{text!r} is not a number")
            out.append(Token("number", text))
        elif here.take(r"\frac"):
            above, below = _inside(here.group(), depth), _inside(here.group(), depth)
            out += [_operation("("), *above, _operation("/"), *below, _operation(")")]
        elif here.take(r"\sqrt"):
            degree = _inside(here.bracket(), depth) if here.peek() == "[" else None
            root = _inside(here.group(), depth)
            if degree is None:
                out += [Token("function", "sqrt"), *root]
            else:
                power = [_operation("^"), _operation("("), Token("number", "1"), _operation("/")]
                out += [_operation("("), *root, *power, *degree, _operation(")"), _operation(")")]
        elif here.take("^"):
            out += [_operation("^"), *_inside(here.group(), depth)]
        elif word := here.take(
            r"\cdot", r"\times", "*", "+", "-", "/", "(", ")", "[", "]", "!", "|"
        ):
            plain = {"[": "(", "]": ")", r"\cdot": "*", r"\times": "*"}
            out.append(_operation(plain.get(word, word)))
        else:
            out += _name(here, depth)
    return out


def _name(here: Cursor, depth: int) -> list[Token]:
    node = str(here.peek())
    here.i += 1
    if node in _FONTS:
        name = flat(here.group()).replace(" ", "").lstrip("\\")
    elif node in _TEX_ACCENTS:
        name = _letter(flat(here.group())) + _TEX_ACCENTS[node]
    else:
        name = _letter(node)
    if name in FUNCTIONS and name != "gamma":
        return [Token("function", name)]
    power: list[Token] = []
    while script := here.take("_", "^"):
        if script == "_":
            name += "_{" + flat(here.group()).replace("\\", "").replace(" ", "") + "}"
        else:
            power += [_operation("^"), *_inside(here.group(), depth)]
    return [Token("name", spelled(name)), *power]


def _letter(node: str) -> str:
    """The plain name of a letter or a command, if it is one that answers may hold."""
    node = _ascii(node).strip()
    plain = node.lstrip("\\").strip()
    plain = _SAME.get(plain, plain)
    if re.fullmatch(r"[A-Za-z]", plain) or plain in {*GREEK.values(), *FUNCTIONS}:
        return plain
    raise Unreadable(
        f"{node!r} is not allowed here; numbers, letters, + - * / ^ ( ), fractions, roots and "
        r"functions such as \exp are"
    )
