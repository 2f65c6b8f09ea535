"""Integration by parts with its boundary term, and the Ito expansion of a test function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sympy as sp
from sympy.core.function import AppliedUndef

from kexue.symbolic.gaussian import Gaussian
from kexue.symbolic.moments import expectation
from kexue.symbolic.names import expression, symbol


class ByParts(NamedTuple):
    r"""$\int_\Omega \text{before} = \int_\Omega \text{integrand} + \text{boundary term}$.

    In one dimension the boundary term is ``boundary`` at the right end minus at the left end; in
    d dimensions ``boundary`` is a tuple, the vector whose flux through $\partial\Omega$ it is.
    """

    integrand: sp.Expr
    boundary: sp.Expr | tuple[sp.Expr, ...]


def integrate_by_parts(expr: Any, phi: AppliedUndef, x: sp.Symbol | Sequence[sp.Symbol]) -> ByParts:
    r"""Move every derivative off ``phi``: $\int v\cdot\nabla\phi = \oint \phi\,v\cdot n
    - \int\phi\,\nabla\cdot v$, repeated until ``phi`` stands undifferentiated.

    Nothing is dropped: ``expr`` $=$ ``integrand`` $+\,\nabla\cdot$ ``boundary`` holds exactly.
    Each term of ``boundary`` carries ``phi`` or one of its derivatives, so that it vanishes when
    ``phi`` is zero near the boundary (a test function of compact support), whatever multiplies it.

    Parameters
    ----------
    expr
        The integrand: linear in ``phi`` and its derivatives.
    phi
        The function to free, for instance ``Function("phi")(x)``.
    x
        The variable of integration, or several.

    Raises
    ------
    TypeError
        ``phi`` is not an applied undefined function, ``x`` not made of symbols.
    ValueError
        ``expr`` does not hold ``phi``, or is not linear in it; ``phi`` does not depend on ``x``.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x = symbols("x", real=True)
    >>> phi, f, p = (sp.Function(name)(x) for name in ("phi", "f", "p"))
    >>> after, boundary = integrate_by_parts(p * f * phi.diff(x), phi, x)
    >>> after
    -f(x)*phi(x)*Derivative(p(x), x) - p(x)*phi(x)*Derivative(f(x), x)
    >>> boundary
    f(x)*p(x)*phi(x)
    """
    variables = tuple(symbol("x", s) for s in _several(x))
    if not isinstance(phi, AppliedUndef):
        raise TypeError(f"phi: got {phi!r}, needs an undefined function such as Function('phi')(x)")
    if not set(variables) <= phi.free_symbols:
        raise ValueError(f"phi: got {phi}, needs a function of {variables}")
    expr = sp.expand(expression("expr", expr).doit())
    after, boundary = sp.Integer(0), dict.fromkeys(variables, sp.Integer(0))
    terms = list(sp.Add.make_args(expr))
    while terms:
        term = terms.pop()
        factor, value = _split(term, phi)
        s = next((s for s in variables if s in getattr(value, "variables", ())), None)
        if s is None:
            after += term
            continue
        lower = _lower(value, s)
        boundary[s] += factor * lower
        terms.extend(sp.Add.make_args(sp.expand(-sp.diff(factor, s) * lower)))
    flux = tuple(boundary.values())
    return ByParts(after, flux[0] if isinstance(x, sp.Symbol) else flux)


def _split(term: sp.Expr, phi: AppliedUndef) -> tuple[sp.Expr, sp.Expr]:
    """One term as (factor free of phi) times (phi or a derivative of it)."""
    factors = sp.Mul.make_args(term)
    mine = [f for f in factors if f == phi or (isinstance(f, sp.Derivative) and f.expr == phi)]
    if len(mine) != 1 or any(f.has(phi.func) for f in factors if f is not mine[0]):
        raise ValueError(f"expr: got the term {term}, needs terms linear in {phi}")
    return sp.Mul(*(f for f in factors if f is not mine[0])), mine[0]


def _lower(value: sp.Derivative, s: sp.Symbol) -> sp.Expr:
    """The same derivative with one d/ds less."""
    rest = list(value.variables)
    rest.remove(s)
    return sp.Derivative(value.expr, *rest) if rest else value.expr


def ito(
    phi: Any,
    x: sp.Symbol | Sequence[sp.Symbol],
    drift: Any,
    diffusion: Any,
    dt: sp.Symbol,
    *,
    t: sp.Symbol | None = None,
    eps: sp.Symbol | Sequence[sp.Symbol] | None = None,
) -> sp.Expr:
    r"""$E[\phi(x_{t+dt})\,|\,x_t = x]$ to first order in dt, for one Euler step of an SDE.

    The step $\Delta x = f\,dt + g\sqrt{dt}\,\varepsilon$ is put into Taylor's formula, terms
    beyond dt are dropped ($(g\sqrt{dt}\,\varepsilon)^2$ is not beyond), and
    $E[\varepsilon]=0$, $E[\varepsilon\varepsilon^\top]=I$ gives
    $\phi + dt\,(f\cdot\nabla\phi + \tfrac12\sum_{ij}(gg^\top)_{ij}\partial_i\partial_j\phi)$;
    the coefficient of dt is the generator applied to $\phi$. Coefficients are taken at the start
    of the step (Ito).

    Parameters
    ----------
    phi
        A smooth function of ``x``: undefined, such as ``Function("phi")(x)``, or concrete.
    x
        The state, one symbol or d of them.
    drift
        $f$: an expression, or d of them.
    diffusion
        $g$: an expression (times the identity), or a d x k matrix.
    dt
        The step.
    t
        Time variable of ``phi``, if it depends on time too: adds $dt\,\partial_t\phi$.
    eps
        Give k symbols to see the expansion before the expectation is taken.

    Raises
    ------
    ValueError
        Shapes of ``drift``, ``diffusion`` or ``eps`` do not fit ``x``.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x, f, g, e = symbols(r"x f g \varepsilon", real=True)
    >>> h = symbols("h", positive=True)
    >>> sp.collect(ito(x**2, x, f, g, h), h)
    h*(2*f*x + g**2) + x**2
    >>> ito(x**2, x, f, g, h, eps=e)
    \varepsilon**2*g**2*h + 2*\varepsilon*g*sqrt(h)*x + 2*f*h*x + x**2
    """
    phi, dt = expression("phi", phi), symbol("dt", dt)
    xs = [symbol("x", s) for s in _several(x)]
    d = len(xs)
    f = _column("drift", drift, d)
    g = diffusion
    if not isinstance(g, sp.MatrixBase):
        g = expression("diffusion", g) * sp.eye(d)
    if g.rows != d:
        raise ValueError(f"diffusion: got {g.rows} rows, needs {d}, one for each state variable")
    if eps is None:
        noise = sp.symbols(f"eps:{g.cols}", real=True, cls=sp.Dummy)
    else:
        noise = [symbol("eps", s) for s in _several(eps)]
    if len(noise) != g.cols:
        raise ValueError(
            f"eps: got {len(noise)} symbols, needs {g.cols}, one a column of diffusion"
        )
    root = sp.Dummy("root", positive=True)  # sqrt(dt)
    step = f * root**2 + g * root * sp.Matrix(noise)
    gradient = sp.Matrix([phi.diff(s) for s in xs])
    hessian = sp.Matrix(d, d, lambda i, j: phi.diff(xs[i], xs[j]))
    taylor = phi + (gradient.T * step)[0] + (step.T * hessian * step)[0] / 2
    if t is not None:
        taylor += root**2 * phi.diff(symbol("t", t))
    taylor = sp.expand(taylor)
    kept = sp.Add(*(taylor.coeff(root, k) * root**k for k in range(3)))
    if eps is None:
        kept = expectation(kept, {e: Gaussian(0, 1) for e in noise})
    return sp.expand(kept.subs(root, sp.sqrt(dt)))


def _column(name: str, value: Any, d: int) -> sp.Matrix:
    """``value`` as a column of d expressions."""
    value = _several(value)
    if len(value) != d:
        raise ValueError(f"{name}: got {len(value)} components, needs {d}")
    return sp.Matrix([expression(name, v) for v in value])


def _several(value: Any) -> list[Any]:
    """One thing or a sequence of them, as a list."""
    return list(value) if isinstance(value, Sequence | sp.Tuple | sp.MatrixBase) else [value]
