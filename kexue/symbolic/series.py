"""Asymptotic sums of power laws."""

from __future__ import annotations

from typing import Any

import sympy as sp

from kexue.symbolic.names import expression


def power_tail(s: Any, n: Any, terms: int = 3, shift: Any = 0) -> sp.Expr:
    r"""Euler-Maclaurin expansion of the tail $\sum_{k>n} k^{-s} = \zeta(s, n+1)$ for large n.

    $\zeta(s,n+1) \sim \frac{m^{1-s}}{s-1} + \sum_{j=1}^{\text{terms}-1}
    (-1)^j\frac{B_j(1-h)}{j!}\,s(s+1)\cdots(s+j-2)\,m^{1-s-j}$ with $m = n + h$, $h$ = ``shift``.
    The error is of the order of the first omitted term that is not zero. ``shift=Rational(1, 2)``
    (the midpoint) has no term j = 1, nor any odd one; ``shift=0`` expands in n itself. The exact
    value is SymPy's ``zeta(s, n + 1)``; a partial sum is ``zeta(s)`` minus the tail; the tail of
    $k^{-s}\log k$ is minus the derivative in s.

    Parameters
    ----------
    s
        Exponent, symbolic or a number above 1.
    n
        The sum starts at n + 1.
    terms
        How many terms, the leading one included (those that vanish count too).
    shift
        $h$: expand in n + h.

    Raises
    ------
    ValueError
        ``s`` is known not to exceed 1 (the sum diverges), or ``terms`` is below 1.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> n, alpha = symbols(r"n \alpha", positive=True)
    >>> power_tail(alpha + 1, n, terms=2)
    -n**(-\alpha - 1)/2 + 1/(\alpha*n**\alpha)
    >>> power_tail(3, n, terms=3, shift=sp.Rational(1, 2))
    1/(2*(n + 1/2)**2) - 1/(8*(n + 1/2)**4)
    """
    s, n, h = expression("s", s), expression("n", n), expression("shift", shift)
    if (s - 1).is_nonpositive:
        raise ValueError(f"s: got {s}, needs an exponent above 1 for the sum to converge")
    if isinstance(terms, bool) or not isinstance(terms, int) or terms < 1:
        raise ValueError(f"terms: got {terms!r}, needs an integer of at least 1")
    m, total = n + h, sp.Integer(0)
    for j in range(terms):
        rising = 1 / (s - 1) if j == 0 else sp.prod(s + i for i in range(j - 1))
        total += (-1) ** j * sp.bernoulli(j, 1 - h) / sp.factorial(j) * rising * m ** (1 - s - j)
    return total
