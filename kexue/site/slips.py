"""Find the error: steps of a chapter, each with one slip of the pen, the answer folded.

What is shown was planted elsewhere (``kexue_slips`` names the function). A slip is a dictionary:
the equation's ``label``; ``wrong``, the equation with the slip, in TeX; ``cases``, for which values
of a letter it is written out; ``what``, the slip in words with formulas between dollars; ``at``,
values at which it is wrong, ``so``, what the definitions then give, and ``values``, what the right
and the wrong side are there, with their signs of equality: three lists of TeX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docutils import nodes

from kexue.site.exercises import raw
from kexue.site.ledger import line, reference

INTRODUCTION = (
    ". One slip of the pen was planted in each of these steps: a sign, a power, a factor or an "
    "index, say. Find it; then unfold the answer. The right sides are as computer algebra writes "
    "them, in an order of its own: that alone is no error."
)


def formula(tex: str) -> nodes.math_block:
    """A display without a number."""
    return nodes.math_block("", tex, nowrap=False, number=None, label=None)


def recalled(rows: Iterable[Mapping[str, Any]]) -> list[nodes.container]:
    """Equations of the book, each with its number as a link."""
    found = []
    for row in rows:
        box = nodes.container("", line(reference(row["label"])), formula(row["tex"]))
        box["classes"].append("kx-recalled")
        found.append(box)
    return found


def mixed(text: str) -> list[nodes.Node]:
    """Words with formulas between dollars.

    >>> [type(node).__name__ for node in mixed("one $x$ too many")]
    ['Text', 'math', 'Text']
    """
    pieces = text.split("$")
    made = [nodes.math("", p) if k % 2 else nodes.Text(p) for k, p in enumerate(pieces)]
    return [node for node in made if node.astext()]


def steps(
    slips: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], source: nodes.Node
) -> list[nodes.Node]:
    """The steps of a chapter with their answers; ``source`` is a link to the chapter."""
    by_label = {row["label"]: row for row in rows}
    found: list[nodes.Node] = [line("From ", source, INTRODUCTION)]
    for number, slip in enumerate(slips, 1):
        row = by_label[slip["label"]]
        record = row["record"]
        box = nodes.section("", nodes.title("", f"Step {number}"), ids=[f"step-{number}"])
        box["classes"].append("kx-exercise")
        given = [by_label[label] for label in record.get("given", ()) if label in by_label]
        box += [line("Given"), *recalled(given)] if given else []
        how = f" {record['how']}" if record.get("how") else ""
        out = ["; written out for ", nodes.math("", slip["cases"])] if slip["cases"] else []
        box += [line("it is claimed" if given else "It is claimed", f",{how}" if how else "", *out)]
        box[-1] += nodes.Text(":")
        box += formula(slip["wrong"])
        box += [raw("<details><summary>The error</summary>"), *answer(slip, row), raw("</details>")]
        box += nodes.container(classes=["kx-room"])
        found.append(box)
    return found


def answer(slip: Mapping[str, Any], row: Mapping[str, Any]) -> list[nodes.Node]:
    """What was changed, the right equation, and values at which the two differ."""
    what = mixed(slip["what"])
    if isinstance(what[0], nodes.Text):
        what[0] = nodes.Text(what[0][:1].upper() + what[0][1:])
    right, wrong = map(said, slip["values"])
    at, so = listed(slip["at"]), listed(slip["so"])
    so = [", which gives ", *so] if so else []
    end = [". The right side is then ", *right, "; with the error it is ", *wrong, "."]
    return [
        line(*what, ". The page has"),
        *recalled([row]),
        line("To see it, take ", *at, *so, *end),
    ]


def listed(formulas: Iterable[str]) -> list[nodes.Node]:
    """Formulas with commas between them, where a line may break."""
    return [part for f in formulas for part in (nodes.Text(", "), nodes.math("", f))][1:]


def said(value: str) -> list[nodes.Node]:
    r"""A value with its sign of equality, in words.

    >>> [node.astext() for node in said("= 2")], [node.astext() for node in said(r"\approx 0.3")]
    (['2'], ['about ', '0.3'])
    """
    sign, _, number = value.partition(" ")
    return [*([] if sign == "=" else [nodes.Text("about ")]), nodes.math("", number)]
