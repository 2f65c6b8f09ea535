"""Run the author's function once and collect what it shows: a figure, text, formulas."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any
from unittest import mock

from kexue.explore.controls import nameof


@dataclass
class Drawing:
    """What one call showed. ``parts`` are (kind, content), kind ``text``, ``html`` or ``tex``."""

    figure: Any = None
    parts: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def own_figures():
    """Hide the caller's open figures and turn ``plt.show()`` off while a function draws."""
    import matplotlib.pyplot as plt
    from matplotlib._pylab_helpers import Gcf

    before = Gcf.figs.copy()
    Gcf.figs.clear()
    drawn: list[Any] = []
    try:
        with mock.patch.object(plt, "show", lambda *args, **kwargs: None):
            yield drawn
        drawn += [manager.canvas.figure for manager in Gcf.get_all_fig_managers()]
    finally:
        plt.close("all")  # only those made inside: the figures live on, the managers do not
        Gcf.figs.update(before)


def capture(fn: Callable, arguments: dict[str, Any]) -> Drawing:
    """Call ``fn(**arguments)`` and return what it drew, printed, displayed and returned.

    Raises
    ------
    ValueError
        If it showed nothing, or more than one figure. What ``fn`` raises passes through.
    """
    from IPython.utils.capture import capture_output

    with own_figures() as figures, capture_output(stdout=True, stderr=False, display=True) as shown:
        result = fn(**arguments)
    drawing = Drawing()
    if shown.stdout.strip():
        drawing.parts.append(("text", shown.stdout.rstrip("\n")))
    for output in shown.outputs:
        drawing.parts.append(best(output.data))
    for figure in figures_in(result):
        if figure not in figures:
            figures.append(figure)
    if result is not None and not figures_in(result) and not is_artist(result):
        drawing.parts.append(formatted(result))
    called = f"{nameof(fn)}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    figures = [f for f in figures if f.get_children()[1:] or not drawing.parts]
    if len(figures) > 1:
        raise ValueError(
            f"{called} drew {len(figures)} figures, needs one: use plt.subplots for several axes"
        )
    if figures:
        drawing.figure = figures[0]
        if len(drawing.figure.get_children()) < 2:
            raise ValueError(f"{called} made a figure with nothing in it, needs axes or text")
    elif not drawing.parts:
        raise ValueError(
            f"{called} drew nothing, needs a figure, printed text or a returned expression"
        )
    return drawing


def figures_in(result: Any) -> list[Any]:
    """Return the figure of a returned Figure, Axes or tuple of them."""
    from matplotlib.figure import FigureBase

    items = result if isinstance(result, tuple | list) else [result]
    found = []
    for item in getattr(result, "flat", items) if hasattr(result, "flat") else items:
        figure = item if isinstance(item, FigureBase) else getattr(item, "figure", None)
        if isinstance(figure, FigureBase) and figure not in found:
            found.append(figure)
    return found


def is_artist(result: Any) -> bool:
    """Return whether the result is what a drawing call returned, not something to show."""
    from matplotlib.artist import Artist

    items = result if isinstance(result, tuple | list) else [result]
    return any(isinstance(item, Artist) for item in items)


def formatted(result: Any) -> tuple[str, str]:
    """Return the richest form of a value: MathML (with its TeX) for SymPy, HTML, LaTeX, text."""
    if is_sympy(result):
        from sympy import latex
        from sympy.printing.mathml import mathml

        body, tex = mathml(result, printer="presentation"), escape(latex(result))
        space = "http://www.w3.org/1998/Math/MathML"
        return "html", f'<math display="block" alttext="{tex}" xmlns="{space}">{body}</math>'
    data = {}
    for kind, method in (("text/html", "_repr_html_"), ("text/latex", "_repr_latex_")):
        make = getattr(result, method, None)
        value = make() if callable(make) else None
        if value:
            data[kind] = value
    return best(data or {"text/plain": result if isinstance(result, str) else repr(result)})


def is_sympy(result: Any) -> bool:
    """Return whether ``result`` is a SymPy expression or matrix, without importing SymPy."""
    return any(base.__module__.startswith("sympy.") for base in type(result).__mro__)


def best(data: dict[str, str]) -> tuple[str, str]:
    """Return the form of a display bundle that a page shows best."""
    if "text/html" in data:
        return "html", data["text/html"]
    if "image/svg+xml" in data or "image/png" in data:
        raise ValueError("the function displayed a picture of its own, needs a matplotlib figure")
    if "text/latex" in data:
        return "tex", data["text/latex"].strip().strip("$").removeprefix(r"\displaystyle").strip()
    return "text", data.get("text/plain", "")


def static_html(parts: list[tuple[str, str]]) -> str:
    """Return parts as HTML that reads well where no script runs."""
    out = []
    for kind, content in parts:
        if kind == "html":
            out.append(f'<div class="kx-part">{content}</div>')
        elif kind == "tex":
            out.append(f'<div class="kx-part kx-tex">\\[{escape(content)}\\]</div>')
        else:
            out.append(f'<pre class="kx-part">{escape(content)}</pre>')
    return "".join(out)
