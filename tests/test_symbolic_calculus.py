"""Integration by parts and Ito's expansion, and the Fokker-Planck chain that follows from them."""

import mpmath
import pytest
import sympy as sp

from kexue.symbolic import (
    Gaussian,
    equal,
    expectation,
    integrate_by_parts,
    ito,
    symbols,
)

x, y, k = symbols("x y k", real=True)
t, h = symbols("t h", positive=True)
theta, sigma, s, mu, v0 = symbols(r"\theta \sigma s \mu v_0", positive=True)
m0 = symbols("m_0", real=True)


def function(name, *args, **assumptions):
    return sp.Function(name, **assumptions)(*args)


phi, f, g = (function(n, x, real=True) for n in ("phi", "f", "g"))
p = function("p", x, t, positive=True)  # a density


def generator(test, state, drift, diffusion):
    """The coefficient of the step in Ito's expansion."""
    return sp.expand(ito(test, state, drift, diffusion, h) - test).coeff(h)


def fokker_planck(drift, diffusion, density, state=x):
    """d p/dt from E[phi]: multiply the generator by p and free phi (weak to strong form)."""
    test = sp.Function("phi")(*(state if isinstance(state, tuple) else (state,)))
    weak = density * generator(test, state, drift, diffusion)
    return sp.expand(integrate_by_parts(weak, test, state).integrand).coeff(test)


# -- integration by parts ------------------------------------------------------------------------


def divergence(boundary, *variables):
    boundary = boundary if isinstance(boundary, tuple) else (boundary,)
    return sum(sp.diff(part, s) for part, s in zip(boundary, variables, strict=True))


@pytest.mark.parametrize("order", range(5))
def test_nothing_is_lost_in_one_dimension(order):
    before = f * g**2 * phi.diff((x, order)) + x * phi
    after, boundary = integrate_by_parts(before, phi, x)
    assert equal(before, after + sp.diff(boundary, x))
    assert not after.has(phi.diff(x)) and not after.atoms(sp.Derivative) & {phi.diff((x, 2))}
    assert equal(sp.expand(after).coeff(phi), (-1) ** order * sp.diff(f * g**2, (x, order)) + x)


def test_nothing_is_lost_in_two_dimensions():
    test, a, b, c = (function(n, x, y) for n in ("phi", "a", "b", "c"))
    before = a * test.diff(x) + b * test.diff(x, y) + c * test.diff(y, 2) + y * test
    after, boundary = integrate_by_parts(before, test, (x, y))
    assert len(boundary) == 2
    assert equal(before, after + divergence(boundary, x, y))
    strong = -a.diff(x) + b.diff(x, y) + c.diff(y, 2) + y
    assert equal(after, test * strong)


def test_the_boundary_term_vanishes_with_the_test_function():
    _, boundary = integrate_by_parts(f * phi.diff(x, 3), phi, x)
    for term in sp.Add.make_args(sp.expand(boundary)):
        assert term.has(phi)
    assert boundary.subs(phi, 0).doit() == 0


def test_the_boundary_term_is_needed_on_an_interval():
    """cos on [0, 1] does not vanish there: with the boundary term quadrature agrees."""
    concrete = {f: sp.exp(x), phi: sp.cos(x)}
    before = f * phi.diff(x, 2)
    after, boundary = integrate_by_parts(before, phi, x)
    before, after, boundary = (e.subs(concrete).doit() for e in (before, after, boundary))
    quad = [mpmath.quad(sp.lambdify(x, e, "mpmath"), [0, 1]) for e in (before, after)]
    ends = float(boundary.subs(x, 1) - boundary.subs(x, 0))
    assert float(quad[0] - quad[1]) == pytest.approx(ends, rel=1e-12)
    assert abs(ends) > 0.1


def test_product_rule_and_divergence_theorem():
    """FP, item 1: div(u v) = v . grad u + u div v, the boundary term being u v."""
    u, v1, v2 = (function(n, x, y) for n in ("u", "v_1", "v_2"))
    after, boundary = integrate_by_parts(v1 * u.diff(x) + v2 * u.diff(y), u, (x, y))
    assert equal(after, -u * (v1.diff(x) + v2.diff(y)))
    assert equal(boundary, (u * v1, u * v2))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: integrate_by_parts(phi**2, phi, x), ValueError, "expr: got the term phi"),
        (lambda: integrate_by_parts(phi * phi.diff(x), phi, x), ValueError, "linear in phi"),
        (lambda: integrate_by_parts(f, phi, x), ValueError, "expr: got the term f"),
        (lambda: integrate_by_parts(phi + phi.subs(x, x + y), phi, x), ValueError, "linear in"),
        (lambda: integrate_by_parts(phi.diff(x), phi, y), ValueError, "phi: got phi.x."),
        (lambda: integrate_by_parts(x, x, x), TypeError, "phi: got x"),
        (lambda: integrate_by_parts(phi, phi, 2), TypeError, "x: got 2"),
        (lambda: ito(phi, x, [f, f], g, h), ValueError, "drift: got 2 components, needs 1"),
        (lambda: ito(phi, x, f, sp.ones(2, 2), h), ValueError, "diffusion: got 2 rows, needs 1"),
        (lambda: ito(phi, x, f, g, h, eps=[x, y]), ValueError, "eps: got 2 symbols, needs 1"),
        (lambda: ito(phi, x, f, g, 1), TypeError, "dt: got 1"),
        (lambda: ito("phi", x, f, g, h), TypeError, "phi: got the string"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- Ito -----------------------------------------------------------------------------------------


def test_generator_in_one_dimension():
    assert equal(generator(phi, x, f, g), f * phi.diff(x) + g**2 * phi.diff(x, 2) / 2)
    no_second_order = f * phi.diff(x)
    assert equal(generator(phi, x, f, g), no_second_order).status == "differs"


def test_expansion_before_the_expectation():
    eps = symbols(r"\varepsilon", real=True)
    step = ito(phi, x, f, g, h, eps=eps)
    assert equal(sp.expand(step).coeff(sp.sqrt(h)), eps * g * phi.diff(x))
    assert equal(expectation(step, {eps: Gaussian(0, 1)}), ito(phi, x, f, g, h))


def test_generator_with_matrix_noise():
    state, test = (x, y), function("phi", x, y)
    drift = [function(f"f_{i}", x, y) for i in range(2)]
    noise = sp.Matrix(2, 3, lambda i, j: function(f"g_{i}{j}", x, y))
    cov = noise * noise.T
    expected = sum(drift[i] * test.diff(state[i]) for i in range(2))
    expected += (
        sum(cov[i, j] * test.diff(state[i], state[j]) for i in range(2) for j in range(2)) / 2
    )
    assert equal(generator(test, state, drift, noise), expected)
    isotropic = generator(test, state, [0, 0], sigma)
    assert equal(isotropic, sigma**2 * (test.diff(x, 2) + test.diff(y, 2)) / 2)


def test_time_dependent_test_function():
    moving = function("phi", x, t)
    found = sp.expand(ito(moving, x, f, g, h, t=t)).coeff(h)
    assert equal(found, moving.diff(t) + f * moving.diff(x) + g**2 * moving.diff(x, 2) / 2)


def test_first_order_agrees_with_the_exact_step():
    """E exp(kx) after one Euler step of linear drift, exactly, against the expansion."""
    exact = expectation(sp.exp(k * y), {y: Gaussian(x - theta * x * h, sigma**2 * h)})
    found = ito(sp.exp(k * x), x, -theta * x, sigma, h)
    assert equal(found, sp.series(exact, h, 0, 2).removeO())
    assert equal(generator(x**2, x, 0, 1), 1)  # d/dt E x^2 = 1 for Brownian motion


# -- Fokker-Planck, items 4 to 8 of the derivation ------------------------------------------------


def test_continuity_equation():
    field = function("f", x, t)
    assert equal(fokker_planck(field, 0, p), -sp.diff(field * p, x))


def test_fokker_planck_with_the_coefficient_inside():
    inside = -sp.diff(f * p, x) + sp.diff(g**2 * p, x, 2) / 2
    outside = -sp.diff(f * p, x) + g**2 * sp.diff(p, x, 2) / 2
    assert equal(fokker_planck(f, g, p), inside)
    assert equal(fokker_planck(f, g, p), outside).status == "differs"


def test_fokker_planck_with_matrix_noise():
    state, density = (x, y), function("p", x, y)
    drift = [function(f"f_{i}", x, y) for i in range(2)]
    noise = sp.Matrix(2, 2, lambda i, j: function(f"g_{i}{j}", x, y))
    cov = noise * noise.T
    expected = -sum(sp.diff(drift[i] * density, state[i]) for i in range(2))
    expected += (
        sum(sp.diff(cov[i, j] * density, state[i], state[j]) for i in range(2) for j in range(2))
        / 2
    )
    assert equal(fokker_planck(drift, noise, density, state), expected)


def test_same_marginals_of_ode_family_and_reversal():
    """FP, item 7: the score turns diffusion into drift, with any noise s; and reverses time."""
    score = sp.log(p).diff(x)
    noise = function("g", t, real=True)
    forward = fokker_planck(f, noise, p)
    assert equal(forward, fokker_planck(f - noise**2 * score / 2, 0, p))
    assert equal(forward, fokker_planck(f - (noise**2 - s**2) * score / 2, s, p))
    assert equal(-forward, fokker_planck(-f + noise**2 * score, noise, p))
    assert equal(forward, fokker_planck(f + noise**2 * score / 2, 0, p)).status == "differs"


def test_log_density_along_the_flow():
    """FP, item 7d: d/dt log p(x_t, t) = -div f where dp/dt obeys the continuity equation."""
    along = p.diff(t) / p + f * sp.log(p).diff(x)
    along = along.subs(p.diff(t), fokker_planck(f, 0, p))
    assert equal(along, -f.diff(x))


def test_conditional_fields_average_to_the_marginal_one():
    """FP, item 8, for a finite mixture over c with weights w_c."""
    weights = symbols("w_1 w_2", positive=True)
    laws = [function(f"p_{i}", x, t, positive=True) for i in range(2)]
    fields = [function(f"f_{i}", x, t) for i in range(2)]
    mixture = sum(w * q for w, q in zip(weights, laws, strict=True))
    field = sum(w * q * u for w, q, u in zip(weights, laws, fields, strict=True)) / mixture
    change = sum(w * fokker_planck(u, 0, q) for w, q, u in zip(weights, laws, fields, strict=True))
    assert equal(fokker_planck(field, 0, mixture), change)


def ornstein_uhlenbeck():
    decay = sp.exp(-theta * t)
    var = v0 * decay**2 + sigma**2 * (1 - decay**2) / (2 * theta)
    return Gaussian(m0 * decay, var)


def test_ornstein_uhlenbeck_solves_it_in_every_form():
    law = ornstein_uhlenbeck()
    score = sp.log(p).diff(x)
    drift = -theta * x
    solution = {p: law.density(x)}
    for right in (
        fokker_planck(drift, sigma, p),
        fokker_planck(drift - sigma**2 * score / 2, 0, p),
        -fokker_planck(-drift + sigma**2 * score, sigma, p),
    ):
        assert equal(p.diff(t) / p, right / p, solution)
    wrong = fokker_planck(drift, 2 * sigma, p)
    assert equal(p.diff(t) / p, wrong / p, solution).status == "differs"


def test_weak_form_by_the_characteristic_function():
    wave = sp.exp(sp.I * k * x)
    law = {x: ornstein_uhlenbeck()}
    moved = expectation(generator(wave, x, -theta * x, sigma), law)
    assert equal(sp.diff(expectation(wave, law), t), moved)


def test_geometric_brownian_motion_needs_the_coefficient_inside():
    z = symbols("z", positive=True)
    q = function("q", z, t, positive=True)
    log_law = Gaussian((mu - sigma**2 / 2) * t, sigma**2 * t)
    solution = {q: log_law.density(sp.log(z)) / z}
    inside = fokker_planck(mu * z, sigma * z, q, z)
    assert equal(q.diff(t) / q, inside / q, solution)
    outside = -sp.diff(mu * z * q, z) + (sigma * z) ** 2 * q.diff(z, 2) / 2
    residual = q.diff(t) / q - outside / q
    assert equal(residual, 2 * mu - 2 * sigma**2 - 2 * sp.log(z) / t, solution)
