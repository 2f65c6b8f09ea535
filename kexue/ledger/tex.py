r"""TeX as a tree of tokens with one spelling, and the table of symbols by their TeX names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

Node = Any  # a token, or a list of nodes: a group in braces


class Unread(ValueError):
    """TeX that cannot be read through the table; the message says what stopped it."""


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")
_SPACING = {r"\,", r"\;", r"\:", r"\!", r"\ ", r"\/", "~", r"\displaystyle", r"\textstyle", "&"}
_SIZES = re.compile(r"\\(left|right|middle|[bB]igg?[lrm]?)$")
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
    """Map the spelling of each symbol (and undefined function) of ``expressions`` to itself.

    A function p that is applied to symbols only, and always to the same, is also in the table as
    ``applied("p")``: what a bare p stands for.
    """
    table: dict[str, Any] = {}
    uses: dict[str, set[sp.Expr]] = {}
    for expression in expressions:
        for atom in expression.atoms(sp.Symbol, AppliedUndef):
            value = atom.func if isinstance(atom, AppliedUndef) else atom
            name = value.__name__ if isinstance(atom, AppliedUndef) else value.name
            name = spelling(name if "\\" in name else sp.latex(sp.Symbol(name)))
            if table.setdefault(name, value) != value:
                raise ValueError(
                    f"symbols: got two different ones printed {name}, needs the same assumptions"
                )
            if isinstance(atom, AppliedUndef):
                uses.setdefault(applied(name), set()).add(atom)
    for name, (first, *others) in uses.items():
        if not others and all(isinstance(x, sp.Symbol) for x in first.args):
            table[name] = first
    return table


def applied(name: str) -> str:
    """Where the table of symbols keeps the only application of a function."""
    return name + "()"


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


class Cursor:
    """The place ``i`` in ``nodes``; every method but ``peek`` and ``close`` moves it."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes, self.i = nodes, 0

    def peek(self, ahead: int = 0) -> Node | None:
        """The node that is here, or so many further; None behind the last."""
        k = self.i + ahead
        return self.nodes[k] if k < len(self.nodes) else None

    def take(self, *tokens: str) -> str | None:
        """Pass over the token that is here and return it if it is one of these, else None."""
        node = self.peek()
        if isinstance(node, str) and node in tokens:
            self.i += 1
            return node
        return None

    def group(self) -> list[Node]:
        """The argument that is here: a group in braces, or a single token."""
        node = self.peek()
        if node is None:
            raise Unread("an argument is missing")
        self.i += 1
        return node if isinstance(node, list) else [node]

    def close(self) -> int:
        """Where the bracket that is here closes."""
        return closing(self.nodes, self.i)

    def bracket(self) -> list[Node]:
        """The inside of the bracket that is here."""
        close = self.close()
        inside, self.i = self.nodes[self.i + 1 : close], close + 1
        return inside

    def until(self, ends: Callable[[int], bool]) -> list[Node]:
        """The nodes up to one that ends this, outside brackets; it is passed over."""
        depth, start = 0, self.i
        for k in range(start, len(self.nodes)):
            depth += self.nodes[k] in ("(", "[")
            depth -= self.nodes[k] in (")", "]")
            if depth == 0 and ends(k):
                self.i = k + 1
                return self.nodes[start:k]
        raise Unread(f"grammar: no end of {flat(self.nodes[start - 1 :])}")

    def limits(self) -> tuple[list[Node], list[Node]]:
        """Below and above, in either order."""
        found = {}
        while script := self.take("_", "^"):
            found[script] = self.group()
        if len(found) != 2:
            raise Unread("a sum or integral without limits below and above")
        return found["_"], found["^"]
