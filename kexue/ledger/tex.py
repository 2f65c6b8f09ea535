r"""Reads printed TeX as SymPy, through a table of symbols known by their TeX names.

SymPy's ``parse_latex`` (antlr backend, antlr 4.11) does the grammar, but read raw it is silently
wrong about names: ``\bar{\beta}`` becomes bar times beta. So each symbol is found first, replaced
by a plain ``q_{k}``, and one that is not in the table is refused rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

Node = Any  # a token, or a list of nodes: a group in braces


class Unread(ValueError):
    """TeX that cannot be read through the table; the message says what stopped it."""


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")
_SPACING = {r"\,", r"\;", r"\:", r"\!", r"\ ", r"\/", "~", r"\displaystyle", r"\textstyle", "&"}
_SIZES = re.compile(r"\\(left|right|middle|[bB]igg?[lrm]?)$")
_WRAPPERS = {
    r"\bar",
    r"\tilde",
    r"\hat",
    r"\dot",
    r"\vec",
    r"\overline",
    r"\widetilde",
    r"\widehat",
}
_FONTS = {r"\mathbf", r"\mathcal", r"\mathbb", r"\mathrm", r"\mathsf", r"\boldsymbol", r"\bm"}
_FONTS |= {r"\operatorname", r"\text"}
_FUNCTIONS = {r"\exp", r"\log", r"\ln", r"\sin", r"\cos", r"\tan", r"\sinh", r"\cosh", r"\tanh"}
_CALL = re.compile(r"\\(exp|log|ln|sin|cos|tan|sinh|cosh|tanh|cdot|times) $")
_SIMPLE = re.compile(
    r"(\\[A-Za-z]+ ?)?(\\[A-Za-z]+|[A-Za-z])'*(_(\w|\\[A-Za-z]+|\{[^{}]*\}))?(\^(\W|\{[^{}]*\}))?"
)  # a letter, with an accent, with scripts
_SYNTAX = _FUNCTIONS | {r"\frac", r"\sqrt", r"\cdot", r"\times", r"\sum", r"\prod"}
_REPLACE = {r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\lVert": "|", r"\rVert": "|", r"\|": "|"}
_REPLACE |= {r"\lvert": "|", r"\rvert": "|", r"\{": "(", r"\}": ")", r"\lbrace": "("}
_REPLACE |= {r"\rbrace": ")", r"\mid": "|"}


def tree(tex: str) -> list[Node]:
    """Tokens of ``tex`` nested by braces, without spacing and sizes of brackets."""
    stack: list[list[Node]] = [[]]
    for token in _TOKEN.findall(re.sub(r"(?<!\\)%.*", "", tex)):
        token = _REPLACE.get(token, token)
        if token in _SPACING or _SIZES.match(token):
            continue
        if token == "{":
            stack.append([])
        elif token == "}":
            if len(stack) == 1:
                raise Unread("a closing brace too many")
            group = stack.pop()
            stack[-1].append(group)
        else:
            stack[-1].append(token)
    if len(stack) > 1:
        raise Unread("an opening brace too many")
    return stack[0]


def flat(nodes: Node) -> str:
    """One spelling of a piece of TeX: no spaces but after a command, no needless braces."""
    out = ""
    for node in nodes if isinstance(nodes, list) else [nodes]:
        inner = flat(node) if isinstance(node, list) else node
        single = isinstance(node, str) or (len(node) == 1 and isinstance(node[0], str))
        piece = inner if single else "{" + inner + "}"
        if re.search(r"\\[A-Za-z]+$", out) and piece[:1].isalpha():
            out += " "
        out += piece
    return out


def spelling(name: str) -> str:
    r"""One spelling of a symbol's TeX name.

    >>> spelling(r"\bar{\beta}_{t}"), spelling(r"\bar \beta_t"), spelling("x_{t - 1}")
    ('\\bar\\beta_t', '\\bar\\beta_t', 'x_{t-1}')
    """
    return flat(tree(name))


def symbol_table(expressions: Iterable[sp.Expr]) -> dict[str, Any]:
    """Map the spelling of each symbol (and undefined function) of ``expressions`` to itself."""
    table: dict[str, Any] = {}
    for expression in expressions:
        for atom in expression.atoms(sp.Symbol, AppliedUndef):
            value = atom.func if isinstance(atom, AppliedUndef) else atom
            name = value.__name__ if isinstance(atom, AppliedUndef) else value.name
            name = spelling(name if "\\" in name else sp.latex(sp.Symbol(name)))
            if table.setdefault(name, value) != value:
                raise ValueError(
                    f"symbols: got two different ones printed {name}, needs the same assumptions"
                )
    return table


def scalar(nodes: list[Node], table: Mapping[str, Any]) -> sp.Expr:
    """Read one scalar expression; raises ``Unread`` for an unknown symbol or strange grammar."""
    from sympy.parsing.latex import LaTeXParsingError, parse_latex

    found: list[Any] = []
    text = _encode(nodes, table, found)
    if not text.strip():
        raise Unread("nothing to read")
    try:
        value = parse_latex(text, backend="antlr", strict=True)
    except LaTeXParsingError as error:
        raise Unread(f"grammar: {str(error).splitlines()[0]}") from None
    if not isinstance(value, sp.Expr):
        raise Unread(f"not one expression: {flat(nodes)}")
    names = {sp.Symbol(f"q_{{{k}}}"): v for k, v in enumerate(found)}
    strange = {s for s in value.atoms(sp.Symbol) if s not in names}
    if strange or value.atoms(AppliedUndef):
        raise Unread(f"not understood: {', '.join(map(str, strange)) or flat(nodes)}")
    return value.xreplace(names).doit()


def _encode(nodes: list[Node], table: Mapping[str, Any], found: list[Any]) -> str:
    """TeX for the parser, in which every symbol is ``q_{k}`` and ``found[k]`` is what it is."""
    out, i = "", 0
    while i < len(nodes):
        node = nodes[i]
        if isinstance(node, list):
            out, i = out + "{" + _encode(node, table, found) + "}", i + 1
        elif node in (r"\frac", r"\sqrt"):
            i += 1
            out += node
            if node == r"\sqrt" and nodes[i : i + 1] == ["["]:
                close = nodes.index("]", i)
                out += "[" + _encode(nodes[i + 1 : close], table, found) + "]"
                i = close + 1
            for _ in range(2 if node == r"\frac" else 1):
                out += "{" + _encode(_group(nodes, i), table, found) + "}"
                i += 1
        elif node == r"\underbrace":
            out += "(" + _encode(_group(nodes, i + 1), table, found) + ")"
            i += 4 if nodes[i + 2 : i + 3] == ["_"] else 2
        elif node in "^_":
            # a script of something that is no symbol: a bracket, a number, a sum
            out += node + "{" + _encode(_group(nodes, i + 1), table, found) + "}"
            i += 2
        elif node == "e" and "e" not in table and nodes[i + 1 : i + 2] == ["^"]:
            out += r"\exp(" + _encode(_group(nodes, i + 2), table, found) + ")"
            i += 3
        elif compound := _compound(nodes, i, table):
            found.append(table[compound])
            out += f" q_{{{len(found) - 1}}} "
            i += len(tree(compound))
        elif node in _SYNTAX:
            out, i = out + node + " ", i + 1
        elif node.startswith("\\") or node.isalpha():
            piece, i = _symbol(nodes, i, table, found)
            out += piece
        elif node in "([" and re.search(r"[\w}\])|]\s*$", out) and not _CALL.search(out):
            # else the parser reads a function call
            out, i = out + r" \cdot ( ", i + 1
        elif node in "0123456789.+-*/()[]|!=":
            out, i = out + {"[": "(", "]": ")"}.get(node, node), i + 1
        else:
            raise Unread(f"unexpected {node}")
    return out


def _compound(nodes: list[Node], i: int, table: Mapping[str, Any]) -> str | None:
    r"""The longest name in the table that is more than one letter with scripts and starts here.

    Such as ``\nabla\log p_t`` or ``\operatorname{Cov}[x_0|x_t]``: one symbol, whatever its parts.
    """
    names = (n for n in table if not _SIMPLE.fullmatch(n) and isinstance(table[n], sp.Basic))
    for name in sorted(names, key=len, reverse=True):
        if flat(nodes[i : i + len(tree(name))]) == name:
            return name
    return None


def _symbol(nodes: list[Node], i: int, table: Mapping[str, Any], found: list) -> tuple[str, int]:
    """Encode the symbol (with its scripts, or with its arguments) that starts at ``i``."""
    name, i = _base(nodes, i)
    sub, power = "", None
    while i < len(nodes) and nodes[i] in ("_", "^", "'"):
        if nodes[i] == "'":
            name, i = name + "'", i + 1
            continue
        script = _group(nodes, i + 1)
        if nodes[i] == "_" and not sub:
            sub = flat(["_", script])
        elif nodes[i] == "^" and power is None:
            power = script
        else:
            raise Unread(f"scripts of {name}")
        i += 2
    name += sub
    if power is not None and (whole := name + flat(["^", power])) in table:
        name, power = whole, None
    if name == r"\pi" and name not in table:
        value = sp.pi
    elif name not in table:
        raise Unread(f"unknown symbol {name}")
    else:
        value = table[name]
    if not isinstance(value, sp.Basic) or (nodes[i : i + 1] == ["("] and _has_comma(nodes, i)):
        if nodes[i : i + 1] != ["("] or power is not None:
            raise Unread(f"function {name} without arguments")
        close = closing(nodes, i)
        if not isinstance(value, sp.Basic):
            arguments = split(nodes[i + 1 : close], (",",))
            value = value(*(scalar(a, table) for a in arguments))
        i = close + 1  # a symbol that stands for a function's value: its arguments are its name
        if nodes[i : i + 1] == ["^"]:
            power, i = _group(nodes, i + 1), i + 2
    found.append(value)
    piece = f" q_{{{len(found) - 1}}}"
    if power is not None:
        piece += "^{" + _encode(power, table, found) + "}"
    return piece + " ", i


def _base(nodes: list[Node], i: int) -> tuple[str, int]:
    node = nodes[i]
    if node in _WRAPPERS or node in _FONTS:
        return flat([node, _group(nodes, i + 1)]), i + 2
    return node, i + 1


def _group(nodes: list[Node], i: int) -> list[Node]:
    """The argument at ``i``: a group, or a single token."""
    if i >= len(nodes):
        raise Unread("an argument is missing")
    return nodes[i] if isinstance(nodes[i], list) else [nodes[i]]


def _has_comma(nodes: list[Node], i: int) -> bool:
    return len(split(nodes[i + 1 : closing(nodes, i)], (",",))) > 1


def closing(nodes: list[Node], i: int) -> int:
    """Index of the bracket that closes the one at ``i``."""
    depth = 0
    for k in range(i, len(nodes)):
        depth += nodes[k] in ("(", "[")
        depth -= nodes[k] in (")", "]")
        if depth == 0:
            return k
    raise Unread("a bracket is not closed")


def split(nodes: list[Node], separators: Iterable[str]) -> list[list[Node]]:
    """Cut at the separators that stand outside every bracket."""
    depth, pieces = 0, [[]]
    for node in nodes:
        depth += node in ("(", "[")
        depth -= node in (")", "]")
        if depth == 0 and isinstance(node, str) and node in separators:
            pieces.append([])
        else:
            pieces[-1].append(node)
    return pieces
