"""Names, Fourier sums, power-law sums, and the attention identities that use cumulants."""

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.symbolic import (
    Gaussian,
    autocorrelation,
    cumulants,
    delta_method,
    equal,
    expectation,
    fourier_coefficients,
    fourier_sum,
    log_mgf,
    power_tail,
    symbols,
)

x, y = symbols("x y", real=True)
n, alpha, t = symbols(r"n \alpha t", positive=True)
HALF = sp.Rational(1, 2)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["\alpha", "\beta_t", "x \bar{x}", "\rho", "\tau", "\nu", "\f"])
def test_a_string_that_is_not_raw_is_refused(names):
    with pytest.raises(ValueError, match=r"^names: got .* needs a raw string"):
        symbols(names)


def test_names_are_kept_verbatim_with_their_assumptions():
    a, bar = symbols(r"\alpha_t \bar{\alpha}_{t-1}", positive=True)
    assert (a.name, bar.name) == (r"\alpha_t", r"\bar{\alpha}_{t-1}")
    assert a.is_positive and a == sp.Symbol(r"\alpha_t", positive=True)
    assert isinstance(symbols("x"), sp.Symbol)
    with pytest.raises(TypeError, match="names: got list"):
        symbols(["x"])
    with pytest.raises(ValueError, match="names: got an empty"):
        symbols(" ")


# -- Fourier -------------------------------------------------------------------------------------

A = symbols("a_0:4")  # complex, N = 3


def test_the_autocorrelation_is_a_square():
    amplitude = fourier_sum(A, x, -sp.pi)
    c = autocorrelation(A)
    assert sorted(c) == list(range(-3, 4))
    assert equal(fourier_sum(c, x), amplitude * sp.conjugate(amplitude))
    mirrored = {index: sp.conjugate(value) for index, value in c.items()}
    assert equal(fourier_sum(mirrored, x), amplitude * sp.conjugate(amplitude)).status == "differs"


def test_symmetry_mass_and_roughness():
    c = autocorrelation(A)
    assert equal(c, {index: sp.conjugate(c[-index]) for index in c})
    assert equal(c[0], sum(value * sp.conjugate(value) for value in A))
    f = fourier_sum(c, x)
    mass = sum(sp.integrate(term, (x, -1, 1)) for term in sp.expand(f).args)
    assert equal(mass, 2 * c[0])
    slope = sp.expand(sp.diff(f, x) * sp.conjugate(sp.diff(f, x)))
    rough = 2 * sp.pi**2 * sum(index**2 * v * sp.conjugate(v) for index, v in c.items())
    assert equal(2 * fourier_coefficients(slope, x)[0], rough)


def test_distribution_function_term_by_term():
    """2 c_0 P(x) = c_0 (x + 1) + 2 Re sum c_n (e^{i pi n x} - (-1)^n)/(i pi n), any c, N = 2."""
    c0, (c1, c2) = symbols("c_0", positive=True), symbols("c_1 c_2")
    c = {-2: sp.conjugate(c2), -1: sp.conjugate(c1), 0: c0, 1: c1, 2: c2}
    waves = sum(
        c[k] * (sp.exp(sp.I * sp.pi * k * x) - (-1) ** k) / (sp.I * sp.pi * k) for k in (1, 2)
    )
    stated = c0 * (x + 1) + waves + sp.conjugate(waves)
    derived = sum(sp.integrate(term, (y, -1, x)) for term in fourier_sum(c, y).args)
    assert equal(derived, stated)
    assert equal(sp.diff(stated, x), fourier_sum(c, x))
    printed = c0 * (x**2 - 1) + waves + sp.conjugate(waves)  # the article's quadratic term
    assert equal(derived, printed).status == "differs"


def test_equal_amplitudes_reach_the_peak_bound():
    c = autocorrelation([1] * 5)
    assert fourier_sum(c, 0) / (2 * c[0]) == sp.Rational(5, 2)  # (N + 1)/2, the Fejer kernel


@given(st.dictionaries(st.integers(-5, 5), st.integers(1, 9), min_size=1))
@settings(max_examples=20)
def test_coefficients_are_read_back(c):
    assert fourier_coefficients(fourier_sum(c, x), x) == c
    assert fourier_coefficients(fourier_sum(c, x, 2), x, 2) == c


def test_a_known_expansion():
    assert fourier_coefficients(sp.cos(sp.pi * x) ** 2 + 1, x) == {
        -2: sp.Rational(1, 4),
        0: sp.Rational(3, 2),
        2: sp.Rational(1, 4),
    }


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: fourier_sum({}, x), ValueError, "coefficients: got none"),
        (lambda: fourier_sum({0.5: 1}, x), TypeError, "coefficients: got the index 0.5"),
        (lambda: fourier_sum({"1": 1}, x), TypeError, "coefficients: got the index '1'"),
        (lambda: fourier_sum(["a"], x), TypeError, r"coefficients\[0\]: got the string"),
        (lambda: autocorrelation([]), ValueError, "a: got none"),
        (lambda: fourier_coefficients(sp.cos(x), x), ValueError, "expr: got the term"),
        (lambda: fourier_coefficients(x, x), ValueError, "expr: got the term x"),
        (lambda: power_tail(1, n), ValueError, "s: got 1, needs an exponent above 1"),
        (lambda: power_tail(2, n, terms=0), ValueError, "terms: got 0"),
        (lambda: power_tail(2, n, terms=2.0), ValueError, "terms: got 2.0"),
        (lambda: power_tail("s", n), TypeError, "s: got the string"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- power laws ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, HALF, 1])
@pytest.mark.parametrize("s", [sp.Rational(3, 2), sp.Rational(11, 10), 3])
def test_tail_against_hurwitz_zeta_with_the_right_order(s, shift):
    """Each further term that is not zero raises the order of the error in n."""
    for terms in (1, 2, 3, 5):
        tail = power_tail(s, n, terms, shift)
        left_out = power_tail(s, n, terms + 3, shift) - tail
        for number in (20, 80):
            exact = mpmath.zeta(float(s), number + 1)
            error = exact - float(tail.subs(n, number))
            assert error == pytest.approx(float(left_out.subs(n, number)), rel=0.02, abs=1e-13)


@pytest.mark.parametrize("shift", [0, HALF])
def test_the_expansion_satisfies_the_recursion_of_the_tail(shift):
    """n^s (T(n - 1) - T(n)) u = u for a symbolic exponent, order by order in u = 1/n."""
    u, s, order = symbols("u", positive=True), alpha + 1, 5
    total = 0
    for j in range(order):
        term = power_tail(s, n, j + 1, shift) - (power_tail(s, n, j, shift) if j else 0)
        c = sp.simplify(term * (n + shift) ** (s + j - 1))  # T is the sum of c m^(1 - s - j)
        assert not c.has(n)
        step = [(1 + (shift - i) * u) ** (1 - s - j) for i in (1, 0)]
        total += c * u**j * (step[0] - step[1])
    taylor = [sp.diff(total, u, i).subs(u, 0) / sp.factorial(i) for i in range(order)]
    assert equal(taylor, [0, 1, 0, 0, 0])


def test_the_midpoint_is_the_better_place_to_expand():
    value = sp.zeta(sp.Rational(3, 2), 11)
    at_n, at_half = (power_tail(sp.Rational(3, 2), 10, 1, shift) for shift in (0, HALF))
    assert float(at_n / value - 1) == pytest.approx(0.025, abs=5e-4)
    assert abs(float(at_half / value - 1)) == pytest.approx(0.0003, abs=5e-5)


def test_tail_with_a_logarithm_is_a_derivative():
    s = symbols("s", positive=True)
    tail = -power_tail(s, n, 4).diff(s)
    exact = -mpmath.zeta(2, 31, 1)
    assert float(tail.subs({s: 2, n: 30})) == pytest.approx(float(exact), rel=1e-6)


def test_loss_of_quanta_with_their_own_entropy():
    """Leading tail of p_k (-log p_k), p_k = k^-(alpha+1)/zeta."""
    Z = symbols(r"\zeta", positive=True)
    s = symbols("s", positive=True)
    lead = power_tail(s, n, 1)
    tail = (sp.log(Z) * lead + s * -lead.diff(s)) / Z
    stated = (1 + alpha + alpha * sp.log(Z)) / (alpha**2 * Z) * n**-alpha + (alpha + 1) / (
        alpha * Z
    ) * n**-alpha * sp.log(n)
    assert equal(tail, stated, given={s: alpha + 1})


# -- attention -----------------------------------------------------------------------------------


def test_softmax_under_noise_exact_and_by_the_delta_method():
    size = 3
    eta, v = symbols(r"\eta_1:4", positive=True), symbols("v_1:4", real=True)
    variance, p1, p2 = symbols("V p_1 p_2", positive=True)
    p = [p1, p2, 1 - p1 - p2]
    clean = sum(p[i] * v[i] for i in range(size))
    noisy = sum(p[i] * eta[i] * v[i] for i in range(size)) / sum(p[i] * eta[i] for i in range(size))
    deviation = sum(p[i] * eta[i] * (v[i] - clean) for i in range(size))
    assert equal(noisy - clean, deviation / sum(p[i] * eta[i] for i in range(size)))
    mean, var = delta_method(noisy, dict.fromkeys(eta, 1), [variance] * size)
    assert equal(mean - clean, -variance * sum(p[i] ** 2 * (v[i] - clean) for i in range(size)))
    assert equal(var, variance * sum(p[i] ** 2 * (v[i] - clean) ** 2 for i in range(size)))


def test_noise_factor_and_entropy_of_gaussian_logits():
    sigma = symbols(r"\sigma", positive=True)
    logit = {x: Gaussian(0, sigma**2)}
    factor = sp.exp(x) / expectation(sp.exp(x), logit)
    assert equal(expectation(factor, logit), 1)
    assert equal(expectation(factor**2, logit) - 1, sp.exp(sigma**2) - 1)
    K = log_mgf([expectation(x**k, logit) for k in range(1, 5)], t)
    assert equal(K, sp.log(expectation(sp.exp(t * x), logit)))
    entropy_gap = (K - t * K.diff(t)).subs(t, 1)  # entropy minus log n
    assert equal(entropy_gap, -(sigma**2) / 2)


def test_third_cumulant_of_a_shifted_variable_does_not_move():
    m = symbols("m_1:4", real=True)
    shifted = [
        sum(sp.binomial(k, j) * ([1, *m])[j] * t ** (k - j) for j in range(k + 1))
        for k in range(1, 4)
    ]
    assert equal(cumulants(shifted)[1:], cumulants(m)[1:])
    assert equal(cumulants(shifted)[0], m[0] + t)
