"""Gaussian algebra and expectations against numerical quadrature and known closed forms."""

from itertools import pairwise

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.symbolic import (
    Gaussian,
    complete_square,
    condition,
    cumulants,
    delta_method,
    equal,
    expectation,
    log_mass,
    log_mgf,
    marginal,
    symbols,
)

a, b, s, t, v = symbols("a b s t v", positive=True)
m, k, x, y, z = symbols("m k x y z", real=True)
fractions = st.fractions(-3, 3, max_denominator=8).map(sp.Rational)
positives = st.fractions(sp.Rational(1, 4), 4, max_denominator=8).map(sp.Rational)


def number(e):
    return complex(sp.N(e, 25))


def integral(e, symbol=x):
    f = sp.lambdify(symbol, e, "mpmath")
    with mpmath.workdps(20):
        return complex(mpmath.quad(f, [-mpmath.inf, -4, 0, 4, mpmath.inf]))


@settings(max_examples=12)
@given(positives, fractions, fractions)
def test_completed_square_and_mass_against_quadrature(precision, linear, constant):
    log_expr = -precision * x**2 / 2 + linear * x + constant - sp.log(1 + precision)
    mass = integral(sp.exp(log_expr))
    assert number(sp.exp(log_mass(log_expr, x))) == pytest.approx(mass, rel=1e-12)
    law = complete_square(log_expr, x)
    assert number(law.mean) == pytest.approx(integral(x * sp.exp(log_expr)) / mass, abs=1e-12)
    second = integral((x - law.mean) ** 2 * sp.exp(log_expr)) / mass
    assert number(law.var) == pytest.approx(second, rel=1e-12)


@settings(max_examples=8)
@given(fractions, positives, fractions, fractions, positives, fractions)
def test_marginal_and_bayes_against_quadrature(m, v, slope, shift, w, point):
    law, kernel = Gaussian(m, v), Gaussian(slope * x + shift, w)
    joint = law.density(x) * kernel.density(point)
    p = integral(joint)
    assert number(marginal(law, kernel, x, y).density(point)) == pytest.approx(p, rel=1e-10)
    posterior = condition(law, kernel, x, y).subs(y, point)
    assert number(posterior.mean) == pytest.approx(integral(x * joint) / p, abs=1e-9)


def test_a_density_has_mass_one_and_its_own_square():
    law = Gaussian(m, v)
    assert equal(log_mass(law.log(y), y), 0)
    assert equal(complete_square(law.log(y), y), law)
    assert equal(sp.exp(law.log(y)), law.density(y))


def test_product_and_quotient_of_densities():
    p, q = Gaussian(m, v), Gaussian(k, s**2)
    product = complete_square(p.log(y) + q.log(y), y)
    assert equal(1 / product.var, 1 / v + 1 / s**2)
    assert equal(product.mean / product.var, m / v + k / s**2)
    # the mass of a product of two densities is a density of the difference of their means
    assert equal(log_mass(p.log(y) + q.log(y), y), Gaussian(k, v + s**2).log(m))
    assert equal(complete_square(product.log(y) - q.log(y), y), p)


def test_bayes_with_every_normalizer():
    law, kernel = Gaussian(m, v), Gaussian(a * x + k, b**2)
    evidence = marginal(law, kernel, x, y)
    bayes = law.log(x) + kernel.log(y) - evidence.log(y)
    assert equal(bayes, condition(law, kernel, x, y).log(x))
    assert equal(bayes + sp.log(2), condition(law, kernel, x, y).log(x)).status == "differs"


def test_logarithms_are_carried_not_dropped():
    law = complete_square(-(y**2) / 2 + sp.log(a * sp.exp(y)), y)  # log(a e^y) = log a + y
    assert equal(law, Gaussian(1, 1))
    assert equal(log_mass(-(y**2) / 2 + sp.log(a), y), sp.log(a) + sp.log(2 * sp.pi) / 2)
    law = complete_square(-(y**2) / 2 + sp.log(y**2 + 1) - sp.log(y**2 + 1), y)
    assert law == Gaussian(0, 1)


REFUSED = {
    "log of y": (lambda: complete_square(-(y**2) + sp.log(y), y), "log_expr: got log.y., a log"),
    "cubic": (lambda: complete_square(-(y**3), y), "log_expr: got degree 3 in y"),
    "affine": (lambda: complete_square(2 * y, y), "log_expr: got degree 1 in y"),
    "free of y": (lambda: complete_square(sp.log(a), y), "log_expr: got degree 0 in y"),
    "exponential": (lambda: complete_square(-(y**2) + sp.exp(y), y), "needs a quadratic in y"),
    "fraction": (lambda: log_mass(-(y**2) + 1 / y, y), "needs a quadratic in y"),
    "undefined": (lambda: complete_square(sp.Function("f")(y), y), "needs a quadratic in y"),
    "wrong sign": (lambda: complete_square(y**2 / 2, y), "log_expr: got the coefficient 1/2"),
    "zero variance": (lambda: Gaussian(0, 0), "var: got 0, needs a positive variance"),
    "negative variance": (lambda: Gaussian(0, -v), "var: got -v, needs a positive"),
    "imaginary variance": (lambda: Gaussian(0, sp.I), "var: got I, needs a positive"),
    "law holds y": (lambda: marginal(Gaussian(y, 1), Gaussian(x, 1), x, y), r"law.mean: got y"),
    "law holds x": (lambda: marginal(Gaussian(0, x**2), Gaussian(x, 1), x, y), r"law.var: got x"),
    "variance holds x": (lambda: marginal(Gaussian(0, 1), Gaussian(x, x**2), x, y), "kernel.var"),
    "kernel holds y": (lambda: condition(Gaussian(0, 1), Gaussian(x + y, 1), x, y), "kernel.mean"),
    "not affine": (lambda: marginal(Gaussian(0, 1), Gaussian(x**2, 1), x, y), "needs an affine"),
    "one symbol": (lambda: marginal(Gaussian(0, 1), Gaussian(x, 1), x, x), "y: got x, the same"),
    "1/x": (lambda: expectation(1 / x, {x: Gaussian(0, 1)}), "expr: got 1/x"),
    "|x|": (lambda: expectation(abs(x), {x: Gaussian(0, 1)}), r"expr: got Abs\(x\)"),
    "log x": (lambda: expectation(sp.log(x), {x: Gaussian(0, 1)}), r"expr: got log\(x\)"),
    "x^a": (lambda: expectation(x**a, {x: Gaussian(0, 1)}), r"expr: got x\*\*a"),
    "f(x)": (lambda: expectation(sp.Function("f")(x), {x: Gaussian(0, 1)}), r"expr: got f\(x\)"),
    "exp(x^3)": (lambda: expectation(sp.exp(x**3), {x: Gaussian(0, 1)}), "exponent quadratic"),
    "diverges": (lambda: expectation(sp.exp(x**2), {x: Gaussian(0, 1)}), "is infinite"),
    "circle": (
        lambda: expectation(x * y, {x: Gaussian(y, 1), y: Gaussian(x, 1)}), "laws: got .* circle"
    ),
    "own law": (lambda: expectation(x, {x: Gaussian(x, 1)}), "laws: got .* circle"),
    "no moments": (lambda: cumulants([]), "moments: got no moments"),
    "covariance": (lambda: delta_method(x, {x: 0}, [1, 2]), "covariance: got .* 1 x 1"),
    "not symmetric": (
        lambda: delta_method(x, {x: 0, y: 0}, sp.Matrix([[1, 2], [3, 4]])), "needs a symmetric"
    ),
    "not smooth": (lambda: delta_method(1 / x, {x: 0}, [1]), "not differentiable"),
    "smooth once": (lambda: delta_method(a ** sp.Rational(3, 2), {a: 0}, [1]), "not different"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_values_are_named(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Gaussian("m", 1), "mean: got the string"),
        (lambda: Gaussian(0, sp.eye(2)), "var: got"),
        (lambda: complete_square(-(y**2), 2), "y: got 2 of type int, needs a Symbol"),
        (lambda: marginal(1, Gaussian(x, 1), x, y), "law: got int, needs a Gaussian"),
        (lambda: expectation(x, {}), "laws: got {}"),
        (lambda: expectation(x, {x: 1}), r"laws\[x\]: got int"),
        (lambda: expectation(x, {"x": Gaussian(0, 1)}), "laws: got 'x'"),
        (lambda: delta_method(x, [x], [1]), "means: got"),
    ],
)
def test_bad_types_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


INTEGRANDS = [
    x**5 - 2 * x**2 + 3,
    sp.exp(x),
    x**3 * sp.exp(-(x**2) / 3 + x),
    (x + sp.exp(-x)) ** 2,
    sp.exp(2 * sp.I * x) * x**2,
    sp.cos(x) ** 2 * x,
    sp.sin(2 * x + 1),
    sp.cosh(x) * sp.exp(-(x**2)),
    2**x,
    sp.exp(-(1 + sp.I) * x**2),
]


@pytest.mark.parametrize("expr", INTEGRANDS, ids=str)
def test_expectation_against_quadrature(expr):
    law = Gaussian(sp.Rational(-2, 3), sp.Rational(5, 4))
    exact = integral(expr * law.density(x))
    assert number(expectation(expr, {x: law})) == pytest.approx(exact, rel=1e-12)


def test_known_expectations_with_symbols():
    law = {x: Gaussian(m, v)}
    assert equal(expectation((x - m) ** 6, law), 15 * v**3)
    assert equal(expectation(sp.exp(k * x), law), sp.exp(k * m + k**2 * v / 2))
    assert equal(expectation(sp.cos(k * x), law), sp.exp(-(k**2) * v / 2) * sp.cos(k * m))
    assert equal(
        expectation(sp.exp(-(x**2) / 2), law), Gaussian(m, 1 + v).density(0) * sp.sqrt(2 * sp.pi)
    )
    assert expectation(y, law) == y
    # Stein's identity E[(x - m) f] = v E[f']
    f = x**3 * sp.exp(k * x)
    assert equal(expectation((x - m) * f, law), v * expectation(f.diff(x), law))


def test_several_variables_and_conditional_laws():
    independent = {x: Gaussian(m, v), y: Gaussian(k, s**2)}
    assert equal(expectation(x**2 * y, independent), (m**2 + v) * k)
    # E exp(x y) needs v s^2 < 1; by quadrature at numbers
    value = expectation(sp.exp(x * y), {x: Gaussian(1, sp.Rational(1, 2)), y: Gaussian(0, 1)})
    numeric = integral(sp.exp(y + y**2 / 4) * Gaussian(0, 1).density(y), y)
    assert number(value) == pytest.approx(numeric, rel=1e-12)
    nested = {x: Gaussian(a * y, b**2), y: Gaussian(m, v)}
    joint = marginal(Gaussian(m, v), Gaussian(a * y, b**2), y, x)
    assert equal(expectation(x**3, nested), expectation(x**3, {x: joint}))
    assert equal(expectation(x * y, nested) - a * m**2, a * v)
    assert equal(expectation(x * y, dict(reversed(nested.items()))), expectation(x * y, nested))


def test_quadratic_form_of_noise_has_the_trace_as_mean():
    noise = symbols("e_1:4", real=True)
    hessian = sp.Matrix(3, 3, lambda i, j: sp.Symbol(f"h_{min(i, j)}{max(i, j)}", real=True))
    form = sp.Matrix(noise).T * hessian * sp.Matrix(noise)
    laws = {e: Gaussian(0, 1) for e in noise}
    assert equal(expectation(form, laws), sp.Matrix([hessian.trace()]))


def test_cumulants_of_known_laws():
    rate, q = symbols("r q", positive=True)
    gaussian = [expectation(x**i, {x: Gaussian(m, v)}) for i in range(1, 6)]
    assert equal(cumulants(gaussian), [m, v, 0, 0, 0])
    exponential = [sp.factorial(i) / rate**i for i in range(1, 6)]
    assert equal(cumulants(exponential), [sp.factorial(i - 1) / rate**i for i in range(1, 6)])
    kappa = cumulants([q] * 4)  # Bernoulli; kappa_{n+1} = q (1 - q) d kappa_n / dq
    for now, following in pairwise(kappa):
        assert equal(following, q * (1 - q) * now.diff(q))


def test_cumulant_expansion_is_the_series_of_log_mgf():
    rate = symbols("r", positive=True)
    expansion = log_mgf([sp.factorial(i) / rate**i for i in range(1, 6)], s)
    assert equal(expansion, sp.series(-sp.log(1 - s / rate), s, 0, 6).removeO())


def test_delta_method_is_exact_for_quadratics_and_right_to_first_order():
    covariance = sp.Matrix([[v, k], [k, s**2]])
    value = delta_method(x * y + x**2, {x: m, y: 0}, covariance)
    assert equal(value.mean, m**2 + v + k)
    assert equal(value.var, 4 * m**2 * v + 4 * m**2 * k + m**2 * s**2)
    lognormal = expectation(sp.exp(x), {x: Gaussian(m, v)})
    mean, var = delta_method(sp.exp(x), {x: m}, [v])
    assert equal(mean, sp.series(lognormal, v, 0, 2).removeO())
    exact = expectation(sp.exp(2 * x), {x: Gaussian(m, v)}) - lognormal**2
    assert equal(var, sp.series(exact, v, 0, 2).removeO())
    both = delta_method(sp.Matrix([x, x * y]), {x: m, y: k}, [v, s**2])
    assert equal(both.var, sp.Matrix([[v, k * v], [k * v, k**2 * v + m**2 * s**2]]))
