r"""Reads one TeX expression as SymPy, by recursive descent over the tree that ``tex`` makes of it.

==========  =============================================================================
sum         terms with + or - between them
term        products with ``\cdot``, ``\times`` or / between them
product     factors side by side; binds tighter than /, so that 1/2x is 1/(2x)
factor      an atom, perhaps with powers
atom        a number, a name, a bracket, \|sum\|, ``\frac``, ``\sqrt``, ``\overline``, a function
            with its argument, ``\sum`` or ``\prod`` before a term, ``\int`` before a sum, ``dx``;
            a derivative ``\frac{\partial}{\partial x}`` or ``\partial_x`` before a factor
==========  =============================================================================

Every name must be in the table of symbols, and what is not understood raises ``Unread``: SymPy's
own reader makes ``\bar{\beta}`` bar times beta and says nothing. A name whose value is an integer
(``N = 3``, or the index of a sum) is put into subscripts, too: ``a_{k+1}`` is then ``a_2``. A
function may stand without its arguments, as in ``\partial_x p``, if the records apply it to one
set of symbols only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction

from kexue.ledger.names import CONSTANTS, FUNCTIONS, INVERSES, SIMPLE, Names
from kexue.ledger.tex import Node, Unread, applied, flat, split, tree

STARS = ("*", r"\ast")  # as a power: the complex conjugate
TIMES = ("*", r"\cdot", r"\times")
ENDS = {"+", "-", "/", *TIMES, ")", "]", "!", "^", "_", "'", ",", ";", ":", "=", "<", ">"}
DIFFERENTIALS = ([r"\partial"], ["d"])
MOST = 1000  # terms of a sum that is written out


def scalar(nodes: list[Node], table: Mapping[str, Any]) -> sp.Expr:
    r"""Read one expression; raises ``Unread`` for an unknown symbol or strange grammar.

    ``table`` maps spellings to symbols, expressions, functions and integers.

    >>> from kexue.ledger.tex import tree
    >>> from kexue.symbolic import symbols
    >>> a = symbols("a_0 a_1 a_2", real=True)
    >>> table = {s.name: s for s in a} | {"N": sp.Integer(2)}
    >>> scalar(tree(r"\tfrac12 \sum_{k=0}^{N-1} a_k a_{k+1}"), table)
    a_0*a_1/2 + a_1*a_2/2
    """
    if not nodes:
        raise Unread("nothing to read")
    reader = _Reader(nodes, table)
    value = reader.sum()
    if reader.i < len(nodes):
        raise Unread(f"grammar: unexpected {flat(nodes[reader.i])} in {flat(nodes)}")
    return value


class _Reader(Names):
    """Each method reads on from the place ``i`` in the nodes and returns a value."""

    # -- arithmetic ----------------------------------------------------------------------------

    def sum(self) -> sp.Expr:
        sign = self.take("+", "-")
        value = -self.term() if sign == "-" else self.term()
        while sign := self.take("+", "-"):
            value += -self.term() if sign == "-" else self.term()
        return value

    def term(self) -> sp.Expr:
        value = self.product()
        while operation := self.take("/", *TIMES):
            value = value / self.product() if operation == "/" else value * self.product()
        return value

    def product(self, before_function: bool = False) -> sp.Expr:
        value = self.factor()
        while self.more() and not (before_function and self.function()):
            value *= self.factor()
        return value

    def factor(self) -> sp.Expr:
        value = self.atom()
        while True:
            if self.take("!"):
                value = sp.factorial(value)
            elif self.take("^"):
                value = self.power(value, self.group())
            else:
                return value

    def power(self, value: sp.Expr, script: list[Node]) -> sp.Expr:
        if flat(script) in STARS:
            return sp.conjugate(value)
        power = self.read(script)
        if isinstance(value, sp.Abs) and power.is_Integer and power % 2 == 0:
            z = value.args[0]  # |z|^2 = z z*, which algebra can multiply out
            return (z * sp.conjugate(z)) ** (power / 2)
        return value**power

    def more(self) -> bool:
        """Whether another factor follows."""
        node = self.peek()
        return isinstance(node, list) or (node is not None and node not in ENDS)

    # -- atoms ---------------------------------------------------------------------------------

    def atom(self) -> sp.Expr:
        node = self.peek()
        if isinstance(node, list):
            return self.read(self.group())
        if node is None:
            raise Unread(f"grammar: {flat(self.nodes)} is not complete")
        if node.isdigit() or node == ".":
            return self.number()
        if name := self.compound():
            self.i += len(tree(name))
            return self.table[name]
        if node in ("(", "["):
            return self.read(self.bracket())
        if node == "|":
            self.i += 1
            return sp.Abs(self.read(self.until(lambda k: self.nodes[k] == "|")))
        if word := self.function():
            return self.call(*word)
        if node == "e" and "e" not in self.table and self.peek(1) == "^":
            self.i += 2
            return sp.exp(self.read(self.group()))
        special = {
            r"\frac": self.fraction, r"\sqrt": self.root, r"\sum": self.series,
            r"\prod": self.series, r"\int": self.integral, r"\underbrace": self.underbrace,
            r"\partial": self.partial,
        }.get(node)  # fmt: skip
        if special:
            return special()
        if node == r"\overline" and not self.known():
            self.i += 1
            return sp.conjugate(self.read(self.group()))
        if node.isalpha() or (node.startswith("\\") and node[1:].isalpha()):
            return self.symbol()
        raise Unread(f"grammar: unexpected {node} in {flat(self.nodes)}")

    def number(self) -> sp.Expr:
        text = ""
        while isinstance(node := self.peek(), str) and (node.isdigit() or node == "."):
            text, self.i = text + node, self.i + 1
        if not re.fullmatch(r"\d+(\.\d+)?", text):
            raise Unread(f"grammar: {text} is no number")
        return sp.Rational(text)

    def fraction(self) -> sp.Expr:
        self.i += 1
        above, below = self.group(), self.group()
        if above[:1] == below[:1] and above[:1] in DIFFERENTIALS:
            return self.derivative(above, below)
        return self.read(above) / self.read(below)

    def derivative(self, above: list[Node], below: list[Node]) -> sp.Expr:
        r"""``\frac{d p}{dx}``, or ``\frac{d^2}{dx\,dy}`` before the factor it acts on."""
        d, variables = below[0], []
        names = _Reader(below, self.table)
        while names.take(d):
            name, power = names.name()
            times = names.read(power) if power else sp.Integer(1)
            variables += [self.variable(name)] * int(times)
        order = sp.Integer(1)
        inside = _Reader(above, self.table)
        inside.take(d)
        if inside.take("^"):
            order = self.read(inside.group())
        if names.peek() is not None or order != len(variables):
            raise Unread(f"a derivative \\frac{{{flat(above)}}}{{{flat(below)}}}")
        rest = above[inside.i :]
        return sp.diff(self.read(rest) if rest else self.factor(), *variables)

    def partial(self) -> sp.Expr:
        r"""``\partial_x`` before the factor it acts on."""
        self.i += 1
        if not self.take("_"):
            raise Unread(r"\partial without the variable below")
        name, _ = _Reader(self.group(), self.table).name()
        return sp.diff(self.factor(), self.variable(name))

    def variable(self, name: str) -> sp.Symbol:
        """The symbol of that name, by which one can differentiate."""
        if not isinstance(x := self.table.get(name), sp.Symbol):
            raise Unread(f"unknown variable {name} of a derivative")
        return x

    def root(self) -> sp.Expr:
        self.i += 1
        degree = self.read(self.bracket()) if self.peek() == "[" else 2
        return sp.root(self.read(self.group()), degree)

    def underbrace(self) -> sp.Expr:
        self.i += 1
        value = self.read(self.group())
        if self.take("_"):
            self.group()
        return value

    def call(self, name: str, length: int) -> sp.Expr:
        """A function and its argument: the bracket that follows, or else what is multiplied."""
        self.i += length
        apply, power = FUNCTIONS[name], None
        if self.take("^"):
            power = self.read(self.group())
            if power == -1:
                if name not in INVERSES:
                    raise Unread(f"{name}^-1, which is not clear")
                apply, power = apply(sp.Dummy()).inverse(), None
        if self.peek() in ("(", "["):
            argument = self.read(self.bracket())
        elif name in ("Re", "Im"):
            argument = self.term()
        else:
            argument = self.product(before_function=True)
            if self.peek() == "/":
                raise Unread(f"{name} of a/b, which needs brackets")
        value = apply(argument)
        return value if power is None else value**power

    def series(self) -> sp.Expr:
        r"""``\sum`` or ``\prod``, written out if its limits are numbers."""
        whole, many = (sp.Add, sp.Sum) if self.peek() == r"\sum" else (sp.Mul, sp.Product)
        self.i += 1
        below, above = self.limits()
        name, *start = split(below, "=")
        if len(start) != 1:
            raise Unread(f"a sum over {flat(below)}, which needs k=a below and b above")
        index, first, last = flat(name), self.read(start[0]), self.read(above)
        if not SIMPLE.fullmatch(index):
            raise Unread(f"a sum over {index}")
        outside, here = self.table, self.i

        def term_at(value: Any) -> sp.Expr:
            self.table, self.i = {**outside, index: value}, here
            try:
                return self.term()
            finally:
                self.table = outside

        if first.is_Integer and last.is_Integer:
            if last - first >= MOST:
                raise Unread(f"a sum of more than {MOST} terms")
            term_at(first)  # to know where the term ends, even if there is nothing to add
            end = self.i
            terms = [term_at(sp.Integer(k)) for k in range(first, last + 1)]
            self.i = end
            return whole(*terms)
        k = outside.get(index)
        k = k if isinstance(k, sp.Symbol) else sp.Symbol(index, integer=True)
        return many(term_at(k), (k, first, last))

    def integral(self) -> sp.Expr:
        r"""``\int_a^b sum dx``; left undone, so that premises can be put in first."""
        self.i += 1
        limits = self.limits()
        depth = 0

        def differential(k: int) -> bool:
            nonlocal depth
            if self.nodes[k] == r"\int":
                depth += 1
            elif self.nodes[k] in ("d", ["d"]):
                depth -= 1
            return depth < 0

        inside = self.until(differential)
        if inside[-1:] == [r"\mathrm"]:
            del inside[-1]
        name, _ = self.name()
        x = self.table.get(name)
        x = x if isinstance(x, sp.Symbol) else sp.Symbol(name, real=True)
        low, high = map(self.read, limits)
        return sp.Integral(scalar(inside, {**self.table, name: x}), (x, low, high))

    # -- names ---------------------------------------------------------------------------------

    def symbol(self) -> sp.Expr:
        """A name with its scripts, or with its arguments."""
        name, power = self.name()
        if name in self.table:
            value = self.table[name]
        elif name in CONSTANTS:
            value = CONSTANTS[name]
        else:
            raise Unread(f"unknown symbol {name}")
        if isinstance(value, UndefinedFunction) and self.peek() != "(":
            value = self.table.get(applied(name), value)
        function = isinstance(value, UndefinedFunction | sp.Lambda)
        if function and (power is not None or self.peek() != "("):
            raise Unread(f"function {name} without arguments")
        if function:
            value = value(*map(self.read, split(self.bracket(), ",")))
        elif self.peek() == "(" and len(split(self.nodes[self.i + 1 : self.close()], ",")) > 1:
            self.bracket()  # a symbol that stands for a function's value: they are its name
        return value if power is None else self.power(value, power)

    def read(self, nodes: list[Node]) -> sp.Expr:
        return scalar(nodes, self.table)
