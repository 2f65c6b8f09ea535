"""Symbols named by their TeX, and the argument checks that this room shares."""

from __future__ import annotations

import re
from typing import Any

import sympy as sp


def symbols(names: str, **assumptions: bool) -> sp.Symbol | tuple[sp.Symbol, ...]:
    r"""SymPy symbols whose names are their TeX, from a **raw** string.

    ``sp.symbols("\beta_t")`` without the ``r`` holds a backspace instead of ``\b`` and prints
    wrongly without a word of warning; here it is refused.

    Parameters
    ----------
    names
        TeX names separated by spaces (or ``", "``), as for ``sympy.symbols``.
    assumptions
        SymPy assumptions: ``positive=True``, ``real=True``, ``integer=True``, ...

    Raises
    ------
    TypeError
        ``names`` is not a string.
    ValueError
        ``names`` is empty, or holds a control character: the string was not raw.

    Examples
    --------
    >>> import sympy as sp
    >>> a, A1 = symbols(r"\alpha_t \bar{\alpha}_{t-1}", positive=True)
    >>> sp.latex(a * A1**2)
    '\\alpha_{t} \\bar{\\alpha}_{t-1}^{2}'
    >>> symbols("\beta_t")
    Traceback (most recent call last):
        ...
    ValueError: names: got '\x08eta_t' with the control character '\x08', needs a raw string, r"..."
    """
    if not isinstance(names, str):
        raise TypeError(f"names: got {type(names).__name__}, needs a string of TeX names")
    control = re.search(r"[\x00-\x1f\x7f]", names)
    if control:
        raise ValueError(
            f"names: got {names!r} with the control character {control.group()!r}, "
            'needs a raw string, r"..."'
        )
    if not names.strip():
        raise ValueError("names: got an empty string, needs at least one name")
    return sp.symbols(names, **assumptions)


def expression(name: str, value: Any) -> sp.Expr:
    """Return ``value`` as a scalar SymPy expression that is not already undefined."""
    if isinstance(value, str):
        raise TypeError(f"{name}: got the string {value!r}, needs a SymPy expression")
    try:
        value = sp.sympify(value)
    except (sp.SympifyError, TypeError, AttributeError) as error:
        raise TypeError(f"{name}: got {type(value).__name__}, needs a SymPy expression") from error
    if not isinstance(value, sp.Expr) or isinstance(value, sp.MatrixBase | sp.MatrixExpr):
        raise TypeError(f"{name}: got {type(value).__name__}, needs a scalar SymPy expression")
    if value.is_commutative is False:
        raise TypeError(f"{name}: got {value}, which does not commute, needs commuting symbols")
    if value.has(sp.nan, sp.zoo):
        raise ValueError(f"{name}: got {value}, needs a defined expression")
    return value


def symbol(name: str, value: Any) -> sp.Symbol:
    """Return ``value`` if it is a SymPy symbol."""
    if not isinstance(value, sp.Symbol):
        raise TypeError(f"{name}: got {value!r} of type {type(value).__name__}, needs a Symbol")
    return value
