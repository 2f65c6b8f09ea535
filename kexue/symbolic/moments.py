"""Expectations under Gaussian laws, cumulants, and the delta method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sympy as sp

from kexue.symbolic.gaussian import Gaussian
from kexue.symbolic.names import expression, symbol


def expectation(expr: Any, laws: Mapping[sp.Symbol, Gaussian]) -> Any:
    r"""$E[\text{expr}]$ for polynomials times exponentials of Gaussian variables, exact.

    For $x\sim N(m,v)$ and $D = 1 - 2\alpha v$,
    $E[x^n e^{\alpha x^2+\beta x+\gamma}] = D^{-1/2}
    \exp\!\big(\gamma+\tfrac{\alpha m^2+\beta m+\beta^2v/2}{D}\big)\,E[z^n]$ with
    $z\sim N\!\big(\tfrac{m+\beta v}{D},\tfrac vD\big)$: the square is completed, the moment read
    off. Sines, cosines and hyperbolic functions go through exponentials.

    Parameters
    ----------
    expr
        An expression, or a matrix of them.
    laws
        Variable -> its law. Variables are independent, unless the law of one holds another one:
        then it is the law given that other one, as in ``{x_t: Gaussian(a * x, b**2), x: ...}``.

    Raises
    ------
    TypeError
        ``laws`` is not a dict of symbols to Gaussians.
    ValueError
        ``expr`` holds something else of a variable ($|x|$, $1/x$, $\log x$, an undefined
        function), the expectation is known to be infinite, or the laws depend on each other in
        a circle.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x, k = symbols("x k", real=True)
    >>> s = symbols("s", positive=True)
    >>> expectation(x**4, {x: Gaussian(0, s**2)})
    3*s**4
    >>> expectation(sp.exp(sp.I * k * x), {x: Gaussian(0, s**2)})
    exp(-k**2*s**2/2)
    >>> expectation(1 / x, {x: Gaussian(0, 1)})
    Traceback (most recent call last):
        ...
    ValueError: expr: got 1/x, needs polynomials and exponentials of quadratics in x
    """
    if not isinstance(laws, Mapping) or not laws:
        raise TypeError(f"laws: got {laws!r}, needs a dict symbol -> Gaussian")
    for x, law in laws.items():
        symbol("laws", x)
        if not isinstance(law, Gaussian):
            raise TypeError(f"laws[{x}]: got {type(law).__name__}, needs a Gaussian")
    if isinstance(expr, sp.MatrixBase):
        return expr.applyfunc(lambda e: expectation(e, laws))
    expr = expression("expr", expr)
    waiting = dict(laws)
    while waiting:
        ready = [
            x
            for x in waiting
            if not any(x in law.free_symbols for other, law in waiting.items() if other != x)
        ]
        if not ready or ready[0] in waiting[ready[0]].free_symbols:
            raise ValueError(f"laws: got {laws}, which depend on each other in a circle")
        expr = _integrate_out(expr, ready[0], waiting.pop(ready[0]))
    return expr


def _integrate_out(expr: sp.Expr, x: sp.Symbol, law: Gaussian) -> sp.Expr:
    """The expectation over one variable, the others held fixed."""
    if not expr.has(x):
        return expr
    waves = expr.atoms(sp.functions.elementary.trigonometric.TrigonometricFunction)
    waves |= expr.atoms(sp.functions.elementary.hyperbolic.HyperbolicFunction)
    plain = expr.replace(
        lambda e: e in waves and e.has(x), lambda e: e.rewrite(sp.exp)
    )  # only what depends on x
    total = sp.Add(*(_term(t, x, law) for t in sp.Add.make_args(sp.expand(plain))))
    if waves and not expr.has(sp.I) and all(s.is_real for s in total.free_symbols):
        total = sp.simplify(sp.expand_complex(total))  # sines and cosines again
    return total


def _term(term: sp.Expr, x: sp.Symbol, law: Gaussian) -> sp.Expr:
    """E[c x^n exp(quadratic in x)]."""
    constant, rest = term.as_independent(x, as_Add=False)
    power, exponent = 0, sp.Integer(0)
    for factor in sp.Mul.make_args(rest):
        base, n = factor.as_base_exp()
        if factor == 1:
            continue
        if base == x and n.is_Integer and n > 0:
            power += int(n)
        elif isinstance(factor, sp.exp):
            exponent += factor.exp
        elif factor.is_Pow and not base.has(x):
            exponent += n * sp.log(base)
        else:
            raise ValueError(
                f"expr: got {factor}, needs polynomials and exponentials of quadratics in {x}"
            )
    exponent = sp.expand(exponent)
    if not exponent.is_polynomial(x) or sp.degree(exponent, x) > 2:
        raise ValueError(f"expr: got exp({exponent}), needs an exponent quadratic in {x}")
    alpha, beta, gamma = (exponent.coeff(x, k) for k in (2, 1, 0))
    shrink = sp.cancel(sp.together(1 - 2 * alpha * law.var))
    if sp.re(shrink).is_nonpositive:
        raise ValueError(
            f"expr: got exp({exponent}), whose expectation under variance {law.var} is infinite"
        )
    top = alpha * law.mean**2 + beta * law.mean + beta**2 * law.var / 2
    weight = sp.exp(gamma + sp.expand(top / shrink)) / sp.sqrt(shrink)
    mean, var = (law.mean + beta * law.var) / shrink, law.var / shrink
    moment = sum(
        sp.binomial(power, 2 * k) * sp.factorial2(2 * k - 1) * var**k * mean ** (power - 2 * k)
        for k in range(power // 2 + 1)
    )
    return constant * weight * sp.expand(moment)


def cumulants(moments: Sequence[Any]) -> list[sp.Expr]:
    r"""Cumulants $\kappa_1,\dots,\kappa_n$ from raw moments $E[X],\dots,E[X^n]$.

    $\kappa_n = m_n - \sum_{k=1}^{n-1}\binom{n-1}{k-1}\kappa_k m_{n-k}$: mean, variance, third
    central moment, ... They are the Taylor coefficients of $\log E[e^{sX}]$ (``log_mgf``), and
    those of a sum of independent variables add.

    Raises
    ------
    ValueError
        ``moments`` is empty.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> m1, m2 = symbols("m_1 m_2", real=True)
    >>> cumulants([m1, m2])
    [m_1, -m_1**2 + m_2]
    """
    m = [sp.Integer(1), *(expression(f"moments[{i}]", v) for i, v in enumerate(moments))]
    if len(m) == 1:
        raise ValueError("moments: got no moments, needs E[X], E[X**2], ...")
    kappa = [sp.Integer(0)]
    for n in range(1, len(m)):
        lower = (sp.binomial(n - 1, k - 1) * kappa[k] * m[n - k] for k in range(1, n))
        kappa.append(sp.expand(m[n] - sp.Add(*lower)))
    return kappa[1:]


def log_mgf(moments: Sequence[Any], s: Any) -> sp.Expr:
    r"""Cumulant expansion $\log E[e^{sX}] = \sum_{k=1}^n \kappa_k s^k/k! + O(s^{n+1})$.

    Parameters
    ----------
    moments
        Raw moments $E[X],\dots,E[X^n]$; their number is the order of the expansion.
    s
        The (small) variable of the expansion.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x, s = symbols("x s", real=True)
    >>> law = {x: Gaussian(2, 3)}
    >>> log_mgf([expectation(x**k, law) for k in range(1, 5)], s)  # a Gaussian stops at s**2
    3*s**2/2 + 2*s
    """
    s = expression("s", s)
    return sp.Add(*(k * s**n / sp.factorial(n) for n, k in enumerate(cumulants(moments), 1)))


class Delta(NamedTuple):
    """What ``delta_method`` returns: leading mean and (co)variance of a function."""

    mean: Any
    var: Any


def delta_method(
    expr: Any, means: Mapping[sp.Symbol, Any], covariance: sp.MatrixBase | Sequence[Any]
) -> Delta:
    r"""Mean and variance of a smooth function of variables that fluctuate little.

    $E f(X) \approx f(\mu) + \tfrac12\,\mathrm{tr}(\nabla^2 f(\mu)\,\Sigma)$ and
    $\mathrm{Var} f(X) \approx \nabla f(\mu)^\top\Sigma\,\nabla f(\mu)$: what is dropped is of
    third order in the fluctuations (of second order in $\Sigma$ if the law is symmetric).

    Parameters
    ----------
    expr
        $f$, a scalar; or a column of them, then ``var`` is the covariance matrix.
    means
        Variable -> its mean $\mu_i$.
    covariance
        $\Sigma$ in the order of ``means``; a flat sequence of variances if independent.

    Raises
    ------
    ValueError
        ``covariance`` does not fit ``means``, or f is not differentiable at the means.

    Examples
    --------
    >>> from kexue.symbolic import symbols
    >>> x = symbols("x", positive=True)
    >>> m, v = symbols("m v", positive=True)
    >>> delta_method(sp.log(x), {x: m}, [v])
    Delta(mean=log(m) - v/(2*m**2), var=v/m**2)
    """
    if not isinstance(means, Mapping) or not means:
        raise TypeError(f"means: got {means!r}, needs a dict symbol -> mean")
    x = [symbol("means", s) for s in means]
    at = {s: expression(f"means[{s}]", m) for s, m in means.items()}
    if not isinstance(covariance, sp.MatrixBase):
        covariance = sp.diag(*(expression("covariance", v) for v in covariance))
    if covariance.shape != (len(x), len(x)) or covariance != covariance.T:
        raise ValueError(
            f"covariance: got {covariance}, needs a symmetric {len(x)} x {len(x)} matrix, "
            f"or {len(x)} variances, in the order of means"
        )
    scalar = not isinstance(expr, sp.MatrixBase)
    f = sp.Matrix([expression("expr", expr)]) if scalar else expr
    slope = f.jacobian(x).subs(at, simultaneous=True)
    bend = sp.Matrix(
        [(sp.hessian(e, x).subs(at, simultaneous=True) * covariance).trace() / 2 for e in f]
    )
    mean = f.subs(at, simultaneous=True) + bend
    var = slope * covariance * slope.T
    if mean.has(sp.nan, sp.zoo, sp.oo) or var.has(sp.nan, sp.zoo, sp.oo):
        raise ValueError(f"expr: got {expr}, which is not differentiable at {at}")
    return Delta(mean[0], var[0]) if scalar else Delta(mean, var)
