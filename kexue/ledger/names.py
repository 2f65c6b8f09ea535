r"""The names in TeX: where one ends, its spelling, and the functions that need no table."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import sympy as sp

from kexue.ledger.tex import Cursor, Node, Unread, flat, split, tree

FUNCTIONS = {
    "exp": sp.exp, "log": sp.log, "ln": sp.log,
    "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "arcsin": sp.asin, "arccos": sp.acos,
    "arctan": sp.atan, "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh, "sech": sp.sech,
    "arsinh": sp.asinh, "arcosh": sp.acosh, "artanh": sp.atanh,
    # through the conjugate, because algebra sees through that
    "Re": lambda z: (z + sp.conjugate(z)) / 2,
    "Im": lambda z: (z - sp.conjugate(z)) / (2 * sp.I),
}  # fmt: skip
INVERSES = {"sin", "cos", "tan", "sinh", "cosh", "tanh"}  # f^{-1} is then the inverse function
CONSTANTS = {r"\pi": sp.pi, "i": sp.I, r"\mathrm i": sp.I, r"\infty": sp.oo}
ACCENTS = {r"\bar", r"\tilde", r"\hat", r"\dot", r"\vec", r"\overline", r"\widetilde", r"\widehat"}
FONTS = {r"\mathbf", r"\mathcal", r"\mathbb", r"\mathrm", r"\mathsf", r"\boldsymbol", r"\bm"}
FONTS |= {r"\operatorname", r"\text"}
SMALL = {r"\delta", r"\Delta"}  # before a letter, and unknown by itself: one name with it
SIMPLE = re.compile(
    r"(\\[A-Za-z]+ ?)?(\\[A-Za-z]+|[A-Za-z])'*(_(\w|\\[A-Za-z]+|\{[^{}]*\}))?(\^(\W|\{[^{}]*\}))?"
)  # a letter, with an accent, with scripts


class Names(Cursor, ABC):
    """A cursor that knows the table of symbols."""

    def __init__(self, nodes: list[Node], table: Mapping[str, Any]) -> None:
        super().__init__(nodes)
        self.table = table

    @abstractmethod
    def read(self, nodes: list[Node]) -> sp.Expr:
        """The value of other nodes with the same table."""

    def name(self) -> tuple[str, list[Node] | None]:
        """The spelling of the name that is here, and its power if that is no part of it."""
        base = [self.nodes[self.i]] if self.i < len(self.nodes) else []
        self.i += 1
        if base and isinstance(base[0], str) and base[0] in ACCENTS | FONTS:
            base.append(self.group())
        elif base and base[0] in SMALL and base[0] not in self.table and _letter(self.peek()):
            base.append(self.group()[0])
        name, sub, power = flat(base), "", None
        while isinstance(node := self.peek(), str) and node in ("_", "^", "'"):
            self.i += 1
            if node == "'":
                name += "'"
            elif node == "_" and not sub:
                sub = flat(["_", self.subscript(self.group())])
            elif node == "^" and power is None:
                power = self.group()
            else:
                raise Unread(f"scripts of {name}")
        name += sub
        if power is not None and (whole := name + flat(["^", power])) in self.table:
            return whole, None
        return name, power

    def known(self) -> bool:
        """Whether the name that is here is in the table."""
        here = self.i
        name, _ = self.name()
        self.i = here
        return name in self.table

    def subscript(self, script: list[Node]) -> list[Node]:
        """The script with integers put in, where one of its names has an integer for a value.

        Names side by side are indices of their own: ``D_{ij}`` is ``D_{12}``, but ``a_{2n}`` is a
        product.
        """
        pieces = []
        for piece in split(script, ","):
            values = [self.table.get(n) if isinstance(n, str) else None for n in piece]
            if len(piece) > 1 and all(isinstance(v, sp.Integer) and 0 <= v < 10 for v in values):
                piece = [str(v) for v in values]
            elif any(isinstance(v, sp.Integer) for v in values):
                value = self.read(piece)
                if not value.is_Integer:
                    raise Unread(f"subscript {flat(piece)}, which is {value}")
                piece = tree(str(value))
            pieces.append(piece)
        return [node for piece in pieces for node in (",", *piece)][1:]

    def compound(self) -> str | None:
        r"""The longest name in the table that is more than a letter with scripts and is here.

        Such as ``\nabla\log p_t`` or ``\operatorname{Cov}[x_0|x_t]``: one symbol for all of it.
        """
        names = (n for n, v in self.table.items() if isinstance(v, sp.Expr))
        for name in sorted((n for n in names if not SIMPLE.fullmatch(n)), key=len, reverse=True):
            if flat(self.nodes[self.i : self.i + len(tree(name))]) == name:
                return name
        return None

    def function(self) -> tuple[str, int] | None:
        r"""The function that is here, and of how many nodes: ``\tanh``, ``\operatorname{sech}``."""
        node = self.peek()
        if not isinstance(node, str) or not node.startswith("\\"):
            return None
        if node in (r"\operatorname", r"\mathrm"):
            letters = self.peek(1)
            word, length = "".join(letters) if _plain(letters) else "", 2
        else:
            word, length = node[1:], 1
        return (word, length) if word in FUNCTIONS else None


def _plain(nodes: Node | None) -> bool:
    return isinstance(nodes, list) and all(isinstance(node, str) for node in nodes)


def _letter(node: Node | None) -> bool:
    return isinstance(node, str) and node.isalpha()
