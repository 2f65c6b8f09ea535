"""Finite volumes against exact laws, matrix exponentials and quadrature, each error at its rate."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.sparse.linalg import expm_multiply

from kexue.density import GaussianMixture
from kexue.fokker_planck import SDE, DoubleWell, OrnsteinUhlenbeck, VariancePreserving
from kexue.fokker_planck._rates import exponential
from kexue.fokker_planck.finite_volume import FiniteVolumes
from kexue.schedule import Linear

F64 = torch.float64
METHODS = ("crank-nicolson", "implicit-euler")
ORDERS = [("crank-nicolson", 2), ("implicit-euler", 1)]


def mixture(weights, means, variances):
    return GaussianMixture(*(torch.tensor(a, dtype=F64) for a in (weights, means, variances)))


TWO = mixture([0.3, 0.7], [-1.0, 0.8], [0.09, 0.16])
NARROW = mixture([1.0], [-1.0], [0.04])
PLANE = mixture([0.4, 0.6], [[-0.8, 0.5], [0.9, 0.2]], [[[0.2, 0.1], [0.1, 0.25]]] * 2)
WELL = DoubleWell(0.8)


def last(states):
    *_, p = states
    return p


def means_from_cdf(cdf, cells):
    """Cell means of a density on one axis, from its cumulative function: no quadrature."""
    return cdf(cells.faces[0]).diff() / cells.volume


def normal_cdf(law):
    return lambda x: (
        torch.special.ndtr((x[:, None] - law.means) / law.variances.sqrt()) @ law.weights
    )


def slope(errors, factor=2.0):
    """Order of convergence from the last two of a row of refinements."""
    return math.log(errors[-2] / errors[-1]) / math.log(factor)


def l1(cells, p, q):
    return (p - q).abs().sum().item() * cells.volume


def turning(omega):
    """The velocity omega (-y, x)."""
    return lambda x, t: omega * torch.stack([-x[..., 1], x[..., 0]], -1)


def off_diagonal(q):
    q = q.toarray()
    return q - np.diag(np.diag(q))


# Rates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [0.0, 1e-300, 1e-12, 1e-3, 1.0, 2.5, 40.0, 800.0])
@pytest.mark.parametrize("a", [0.7, 1e-30, 3e5])
def test_rates_are_bernoulli_functions_to_the_last_digits(w, a):
    with mpmath.workdps(60):
        signed = (-mpmath.mpf(w), mpmath.mpf(w))
        exact = [a * (v / mpmath.expm1(v) if v else 1) for v in signed]
    up, down = (float(r) for r in exponential(np.array(w * a), np.array(a)))
    for ours, theirs in zip((up, down), exact, strict=True):
        assert ours == pytest.approx(float(theirs), rel=1e-13 * max(1, w), abs=1e-300)
    down_first = exponential(np.array(-w * a), np.array(a))
    assert (float(down_first[1]), float(down_first[0])) == (up, down)


def test_without_noise_the_exponential_flux_is_upwind():
    z = np.array([-3.0, 0.0, 2.0])
    up, down = exponential(z, np.zeros(3))
    assert up.tolist() == [0, 0, 2] and down.tolist() == [3, 0, 0]


def test_rates_are_a_generator_and_the_central_ones_are_not():
    swirl = SDE(lambda x, t: turning(4.0)(x, t) - x, 0.6)
    for cells in (
        FiniteVolumes(WELL, [(-3, 3, 40)]),
        FiniteVolumes(swirl, [(-2, 2, 7), (-3, 2, 9)]),
        FiniteVolumes(SDE(lambda x, t: -x, 0.0), [(-1, 1, 6), (0, 1, 4), (0, 2, 5)]),
    ):
        q = cells.rates()
        assert q.shape == (math.prod(cells.shape),) * 2
        assert abs(q.sum(0)).max() < 1e-12 * abs(q.diagonal()).max()
        assert off_diagonal(q).min() >= 0
    q = FiniteVolumes(WELL, [(-3, 3, 40)], flux="central").rates()
    assert abs(q.sum(0)).max() < 1e-12 * abs(q.diagonal()).max()
    assert off_diagonal(q).min() < 0


def test_rates_in_the_plane_move_what_the_equation_moves():
    """Moments of the chain: d/dt E x = E f and, with steps of one cell, d/dt Var is g^2 + O(h)."""
    velocity, noise = torch.tensor([[0.7, -0.4], [0.5, 0.3]], dtype=F64)
    sde = SDE(lambda x, t: velocity.expand(x.shape), lambda x, t: noise)
    cells = FiniteVolumes(sde, [(-2, 2, 41), (-1, 1, 21)], flux="central")
    middle = torch.zeros(cells.shape, dtype=F64)
    middle[20, 10] = 1 / cells.volume
    flow = torch.from_numpy(cells.rates() @ middle.flatten().numpy()).reshape(cells.shape)
    first = [cells.expect(flow, lambda x, k=k: x[..., k]) for k in (0, 1)]
    second = [cells.expect(flow, lambda x, k=k: x[..., k] ** 2) for k in (0, 1)]
    assert first == pytest.approx([0.7, -0.4]) and second == pytest.approx([0.25, 0.09])
    assert cells.expect(flow, lambda x: x[..., 0] * x[..., 1]) == pytest.approx(0, abs=1e-12)
    assert cells.expect(flow, lambda x: x[..., 0] * 0 + 1) == pytest.approx(0, abs=1e-12)


# Stationary laws --------------------------------------------------------------------------------


def test_the_stationary_law_of_the_double_well_is_exact_at_the_centers():
    for n in (40, 400):
        cells = FiniteVolumes(WELL, [(-3.5, 3.5, n)])
        p, exact = cells.stationary(), WELL.stationary().log_prob(cells.centers).exp()
        assert torch.allclose(p, exact, rtol=1e-9 if n > 40 else 1e-4, atol=0)
        assert cells.mass(p) == pytest.approx(1, abs=1e-14)
        assert abs(cells.rates() @ p.numpy()).max() < 1e-11
        central_p = last(FiniteVolumes(WELL, [(-3.5, 3.5, n)], "central").evolve(p, [0, 1], 20))
        assert l1(cells, central_p, p) > 1e-4  # the naive flux does not keep it


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dt", [0.01, 3.0])
def test_splitting_keeps_the_equilibrium_of_a_potential(method, dt):
    """U = x^4/4 - x^2/2 + x^2 y^2/2 + y^2/2: p = exp(-2U/g^2) at the centers stays, for any dt."""

    def drift(x, t):
        a, b = x.unbind(-1)
        return torch.stack([a - a**3 - a * b**2, -(a**2) * b - b], -1)

    cells = FiniteVolumes(SDE(drift, 0.7), [(-2.5, 2.5, 24), (-2, 2, 31)], steady=True)
    a, b = cells.centers.unbind(-1)
    p = torch.exp(-(a**4 / 2 - a**2 + a**2 * b**2 + b**2) / 0.49)
    p /= cells.mass(p)
    assert torch.allclose(last(cells.evolve(p, [0, 10 * dt], 10, method)), p, atol=1e-13)
    assert torch.allclose(cells.stationary(), p, atol=1e-9)


def test_stationary_with_a_current():
    """dx = -x dt + 2 (-y, x) dt + dw circulates and still has the law N(0, 1/2) in the limit."""
    sde = SDE(lambda x, t: turning(2.0)(x, t) - x, 1.0)
    errors = []
    for n in (16, 32, 64):
        cells = FiniteVolumes(sde, [(-3.6, 3.6, n), (-3.6, 3.6, n)])
        p = cells.stationary()
        assert p.min() >= 0 and abs(cells.rates() @ p.flatten().numpy()).max() < 1e-8
        errors.append(l1(cells, p, torch.exp(-(cells.centers**2).sum(-1)) / math.pi))
    assert abs(slope(errors) - 2) < 0.15 and errors[-1] < 6e-3


def test_stationary_with_noise_that_depends_on_x():
    """dx = (1 - x) dt + x dw: the stationary law is inverse gamma, 4 x^-4 exp(-2/x)."""
    sde = SDE(lambda x, t: 1 - x, lambda x, t: x)
    errors = []
    for n in (1000, 2000):
        cells = FiniteVolumes(sde, [(0.0, 40.0, n)])
        x = cells.centers
        exact = 4 * x**-4 * torch.exp(-2 / x)
        errors.append(l1(cells, cells.stationary(), exact / cells.mass(exact)))
    assert abs(slope(errors) - 2) < 0.15 and errors[-1] < 1e-3


def test_stationary_needs_noise():
    for sde, flux in ((SDE(lambda x, t: -x, 0.0), "exponential"), (DoubleWell(0.1), "central")):
        with pytest.raises(ValueError, match=r"rates <= 0"):
            FiniteVolumes(sde, [(-2, 2, 40)], flux).stationary()


# Rates of convergence ---------------------------------------------------------------------------


@pytest.mark.parametrize("flux", ["exponential", "central"])
def test_second_order_in_space_on_the_ornstein_uhlenbeck_law(flux):
    sde, errors, moments = OrnsteinUhlenbeck(1.5, 0.9, mean=0.2), [], []
    exact = sde.law(0.5, TWO)
    for n in (50, 100, 200):
        cells = FiniteVolumes(sde, [(-4, 4, n)], flux, steady=True)
        p = last(cells.evolve(cells.project(TWO), [0, 0.5], substeps=400))
        errors.append(l1(cells, p, means_from_cdf(normal_cdf(exact), cells)))
        moments.append(
            abs(cells.expect(p, lambda x: x**2) - (exact.variance + exact.mean**2).item())
        )
    assert abs(slope(errors) - 2) < 0.15 and abs(slope(moments) - 2) < 0.15
    assert errors[-1] < 2e-3


def geometric(mu=0.5, sigma=0.6):
    return SDE(lambda x, t: mu * x, lambda x, t: sigma * x)


def lognormal(t, mu=0.5, sigma=0.6, loc=0.0, variance=0.09):
    """The law at t of geometric Brownian motion from exp(N(loc, variance))."""
    scale = math.sqrt(variance + sigma**2 * t)
    return torch.distributions.LogNormal(
        torch.tensor(loc + (mu - sigma**2 / 2) * t, dtype=F64), torch.tensor(scale, dtype=F64)
    )


def lognormal_means(law, cells):
    faces = cells.faces[0].clamp(min=1e-300)  # its density is 0 at 0, its cdf asks for x > 0
    return law.cdf(faces).diff() / cells.volume


def test_second_order_in_space_on_the_lognormal_law():
    errors = []
    for n in (150, 300, 600):
        cells = FiniteVolumes(geometric(), [(0, 15, n)], steady=True)
        p = last(cells.evolve(cells.project(lognormal(0)), [0, 0.5], substeps=400))
        errors.append(l1(cells, p, lognormal_means(lognormal(0.5), cells)))
    assert abs(slope(errors) - 2) < 0.15 and errors[-1] < 1e-3


def test_the_diffusion_stands_inside_both_derivatives():
    """Three readings of the same f and g; only Itô's is the law of the SDE (eq-fp-ito)."""
    mu, sigma, t = 0.5, 0.6, 0.5
    exact = lognormal(t)
    distance = {}
    # D' = 2 sigma^2 x. The coefficient in the middle, (D p')'/2, is Itô's with drift f + D'/2;
    # Stratonovich's is that with f + D'/4; outside, D p''/2, it is f + D' and p grows at D''/2.
    for name, extra, growth in (
        ("inside", 0.0, 0.0),
        ("Stratonovich", sigma**2 / 2, 0.0),
        ("between", sigma**2, 0.0),
        ("outside", 2 * sigma**2, sigma**2),
    ):
        cells = FiniteVolumes(geometric(mu + extra), [(0, 30, 1500)], steady=True)
        p = last(cells.evolve(cells.project(lognormal(0)), [0, t], substeps=100))
        distance[name] = l1(cells, p * math.exp(growth * t), lognormal_means(exact, cells))
    assert distance["inside"] < 2e-3
    assert min(v for k, v in distance.items() if k != "inside") > 0.1
    # Outside, the equation does not even conserve mass. Checked without the solver: the integral
    # of D p''/2 - (f p)' over the line is that of D'' p / 2, sigma^2, and not 0.
    x = torch.linspace(1e-3, 40, 400_001, dtype=F64, requires_grad=True)
    p = lognormal(0.0).log_prob(x).exp()
    (first,) = torch.autograd.grad(p.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    outside = sigma**2 * x**2 * second / 2 - mu * (p + x * first)
    assert torch.trapezoid(outside, x).item() == pytest.approx(sigma**2, rel=1e-4)


@pytest.mark.parametrize("method, order", ORDERS)
@pytest.mark.parametrize(
    "axes",
    [[(-3, 3, 60)], [(-2, 2, 14), (-2, 2.5, 12)], [(-2, 2, 9), (-2, 2.5, 8), (-2, 2, 10)]],
    ids=len,
)
def test_order_in_time_against_the_matrix_exponential(method, order, axes):
    """Same cells, exact time: the splitting and the steps alone. The parts of Q do not commute,
    because drift and noise of each coordinate depend on the one before it."""
    sde = WELL
    if len(axes) > 1:
        sde = SDE(lambda x, t: x.roll(1, -1) - x**3, lambda x, t: 0.6 + 0.2 * x.roll(1, -1))
    cells = FiniteVolumes(sde, axes, steady=True)
    start = torch.exp(-3 * (cells.centers - 0.3) ** 2)
    start = start if len(axes) == 1 else start.prod(-1)
    start /= cells.mass(start)
    exact = torch.from_numpy(expm_multiply(cells.rates(), start.flatten().numpy()))
    exact, errors = exact.reshape(cells.shape), []
    for steps in (40, 80, 160):
        errors.append(l1(cells, last(cells.evolve(start, [0, 1], steps, method)), exact))
    assert abs(slope(errors) - order) < 0.15 and errors[-1] < 1e-2


@pytest.mark.parametrize("method, order", ORDERS)
def test_order_in_time_with_coefficients_that_depend_on_it(method, order):
    sde, errors = VariancePreserving(Linear(0.1, 8.0)), []
    cells = FiniteVolumes(sde, [(-5, 5, 2000)])
    exact = means_from_cdf(normal_cdf(sde.law(1.0, TWO)), cells)
    for steps in (16, 32, 64):
        errors.append(
            l1(cells, last(cells.evolve(cells.project(TWO), [0, 1], steps, method)), exact)
        )
    assert abs(slope(errors) - order) < 0.15 and errors[-1] < 0.1
    frozen = FiniteVolumes(sde, [(-5, 5, 2000)], steady=True)  # untrue, and it shows
    assert l1(cells, last(frozen.evolve(frozen.project(TWO), [0, 1], 64, method)), exact) > 0.05


@pytest.mark.parametrize("method, at", [(METHODS[0], 0.5), (METHODS[1], 1.0)])
def test_the_time_at_which_a_step_takes_its_coefficients(method, at):
    """Crank-Nicolson at the middle, implicit Euler at the end: one step, coefficients frozen."""
    start, t, dt = spike(CELLS), 0.2, 0.3
    moving = SDE(lambda x, t: t * x, lambda x, t: 1 + t)
    frozen = SDE(lambda x, _: (t + at * dt) * x, 1 + t + at * dt)
    one, other = (
        last(FiniteVolumes(sde, [(-1, 1, 5)]).evolve(start, [t, t + dt], 1, method))
        for sde in (moving, frozen)
    )
    assert torch.allclose(one, other, atol=1e-14)


def plane_law(alpha, sigma):
    law = PLANE.noised(alpha, sigma)
    return lambda x: law.log_prob(x).exp()


def test_a_mixture_in_the_plane_under_ornstein_uhlenbeck():
    sde, errors = SDE(lambda x, t: -x, 1.0), []
    alpha, sigma = math.exp(-0.4), math.sqrt((1 - math.exp(-0.8)) / 2)
    for n in (30, 60, 120):
        cells = FiniteVolumes(sde, [(-4, 4, n), (-3.5, 4, n)], steady=True)
        p = last(cells.evolve(cells.project(PLANE), [0, 0.4], substeps=n // 5))
        errors.append(l1(cells, p, cells.project(plane_law(alpha, sigma), tolerance=1e-5)))
        assert cells.mass(p) == pytest.approx(1, abs=1e-6)
    assert abs(slope(errors) - 2) < 0.15 and errors[-1] < 4e-3


@pytest.mark.parametrize("flux, order", [("central", 2), ("exponential", 1)])
def test_a_mixture_carried_around_without_noise(flux, order):
    """Rotation by 1 radian. The exponential flux is upwind there, of first order."""
    sde, errors = SDE(turning(1.0), 0.0), []
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=F64)
    exact = GaussianMixture(PLANE.weights, PLANE.means @ turn.T, turn @ PLANE.variances @ turn.T)
    for n in (40, 80, 160):
        cells = FiniteVolumes(sde, [(-4, 4, n), (-4, 4, n)], flux, steady=True)
        p = last(cells.evolve(cells.project(PLANE), [0, 1], substeps=n // 2))
        errors.append(l1(cells, p, cells.project(exact)))
    assert abs(slope(errors) - order) < (0.15 if order == 2 else 0.25)


def test_the_flow_of_the_score_has_the_law_of_the_sde():
    """Heat from N(0, 1/4): the velocity x / (2 (1/4 + t)) and no noise (eq-fp-flow)."""
    flow = SDE(lambda x, t: x / (2 * (0.25 + t)), 0.0)
    law, errors = mixture([1.0], [0.0], [1.25]), []
    for n in (200, 400, 800):
        cells = FiniteVolumes(flow, [(-7, 7, n)])
        p = last(cells.evolve(cells.project(mixture([1.0], [0.0], [0.25])), [0, 1], n // 4))
        errors.append(l1(cells, p, means_from_cdf(normal_cdf(law), cells)))
    assert abs(slope(errors) - 1) < 0.15 and errors[-1] < 0.02


def test_three_axes_of_an_ornstein_uhlenbeck_process():
    start = mixture([0.5, 0.5], [[-0.5, 0, 0.6], [0.7, 0.3, -0.4]], [0.3, 0.3])
    sde = SDE(lambda x, t: -x, lambda x, t: torch.tensor([1.0, 0.8, 0.6], dtype=F64))
    cells = FiniteVolumes(sde, [(-4, 4, 32), (-3.5, 3.5, 28), (-3.5, 3.5, 30)], steady=True)
    assert cells.centers.shape == (32, 28, 30, 3)
    p = last(cells.evolve(cells.project(start, tolerance=1e-5), [0, 0.5], substeps=10))
    alpha, noise = math.exp(-0.5), (1 - math.exp(-1)) / 2
    means = alpha * start.means
    variances = 0.3 * alpha**2 + noise * torch.tensor([1.0, 0.64, 0.36], dtype=F64)
    exact = GaussianMixture(start.weights, means, variances.expand(2, 3))
    assert l1(cells, p, cells.project(exact, tolerance=1e-5)) < 0.02
    for i, j in ((0, 0), (0, 1), (1, 2)):
        second = (exact.covariance[i, j] + exact.mean[i] * exact.mean[j]).item()
        found = cells.expect(p, lambda x, i=i, j=j: x[..., i] * x[..., j])
        assert found == pytest.approx(second, abs=5e-3)


def test_the_numbers_of_the_double_well():
    """As published in the notes for this chapter, and as 2e5 Euler-Maruyama paths find them."""
    cells = FiniteVolumes(WELL, [(-3.5, 3.5, 400)], steady=True)
    p = last(cells.evolve(cells.project(NARROW), [0, 1], substeps=200))
    found = [cells.expect(p, phi) for phi in (torch.tanh, torch.square, torch.cos)]
    assert [round(value, 4) for value in found] == [-0.5770, 0.9003, 0.5998]


# What a step keeps ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_mass_is_conserved_over_thousands_of_steps(method):
    cells = FiniteVolumes(WELL, [(-3.5, 3.5, 500)], steady=True)
    start = cells.project(NARROW)
    # Implicit Euler rounds the sums of columns, the same way in every step.
    steps, bound = (5000, 1e-13) if method == METHODS[0] else (2000, 1e-12)
    for dt in (1e-3, 0.01):
        p = last(cells.evolve(start, [0, steps * dt], steps, method))
        assert abs(cells.mass(p) - cells.mass(start)) < bound
    swirl = SDE(lambda x, t: turning(4.0)(x, t) - x, 0.6)
    plane = FiniteVolumes(swirl, [(-3, 3, 20), (-3, 3, 25)], steady=True)
    start = plane.project(PLANE, tolerance=1e-2)
    p = last(plane.evolve(start, [0, 50], 2000, method))
    assert abs(plane.mass(p) - plane.mass(start)) < 1e-12


def test_walls_let_nothing_through():
    cells = FiniteVolumes(SDE(lambda x, t: 3 + 0 * x, 1.0), [(-4, 1, 200)], steady=True)
    p = last(cells.evolve(cells.project(NARROW), [0, 3], 100))
    assert abs(cells.mass(p) - 1) < 1e-12 and p.argmax() == 199  # piled up where the drift ends
    exact = torch.exp(6 * (cells.centers - 1))  # 2 f / g^2 = 6
    assert torch.allclose(p, exact / cells.mass(exact), atol=1e-5)


def spike(cells):
    p = torch.zeros(cells.shape, dtype=F64)
    p[tuple(n // 3 for n in cells.shape)] = 1 / cells.volume
    return p


def test_implicit_euler_is_positive_for_every_step():
    fast = SDE(lambda x, t: 30 * turning(1.0)(x, t), 0.2)
    for sde, axes in ((DoubleWell(0.1), [(-2, 2, 50)]), (fast, [(-1, 1, 20), (-1, 1, 20)])):
        cells = FiniteVolumes(sde, axes)
        for dt in (1e-4, 0.01, 1.0, 100.0):
            for p in cells.evolve(spike(cells), [0, dt, 2 * dt, 3 * dt], 1, "implicit-euler"):
                assert p.min() >= 0


def test_crank_nicolson_is_positive_up_to_its_bound_and_not_far_beyond():
    cells = FiniteVolumes(WELL, [(-2, 2, 50)])
    bound = 2 / abs(cells.rates().diagonal()).max()
    states = list(cells.evolve(spike(cells), [k * bound for k in range(6)]))
    assert min(p.min() for p in states) >= 0
    assert last(cells.evolve(spike(cells), [0, 20 * bound])).min() < -0.01


def test_the_central_flux_goes_negative_where_the_peclet_number_exceeds_two():
    """A constant drift against a wall: neighbors in the ratio (2 + Pe) / (2 - Pe) alternate."""
    least = {}
    for noise, n, flux in (
        (0.5, 30, "central"),  # Pe = 2 h |f| / g^2 = 0.8
        (0.3, 60, "central"),  # 1.11
        (0.3, 30, "central"),  # 2.22
        (0.3, 30, "exponential"),
    ):
        cells = FiniteVolumes(SDE(lambda x, t: 1 + 0 * x, noise), [(-2, 1, n)], flux)
        p = last(cells.evolve(cells.project(NARROW), [0, 6], 600, "implicit-euler"))
        least[round(2 * cells.volume / noise**2, 2), flux] = p.min().item()
    assert least.pop((2.22, "central")) < -0.1
    assert len(least) == 3 and min(least.values()) >= 0


def test_evolve_yields_every_time_and_leaves_its_start_alone():
    cells = FiniteVolumes(WELL, [(-3, 3, 60)])
    start = cells.project(NARROW, tolerance=1e-4)
    kept, times = start.clone(), [0.5, 0.6, 0.9]
    states = list(cells.evolve(start, times, substeps=3))
    assert len(states) == 3 and torch.equal(states[0], start) and torch.equal(start, kept)
    alone = [last(cells.evolve(start, times[: k + 1], substeps=3)) for k in range(3)]
    for state, expected in zip(states, alone, strict=True):
        assert torch.equal(state, expected)
    states[0].zero_()
    assert torch.equal(start, kept)
    assert len(list(cells.evolve(start, [0.0]))) == 1


@pytest.mark.parametrize("axes", [[(-3, 3, 60)], [(-3, 3, 20), (-3, 3, 24)]])
@pytest.mark.parametrize("method", METHODS)
def test_one_step_is_the_rational_function_of_the_rates(method, axes):
    """On one axis and for a drift along each axis alone: dense matrices from ``rates``."""
    cells = FiniteVolumes(WELL, axes)
    dt, start = 0.3, spike(cells)
    parts = [FiniteVolumes(WELL, [axis]).rates().toarray() for axis in axes]
    step, eye = np.ones((1, 1)), np.eye
    for q in parts:
        half = np.linalg.inv(eye(len(q)) - (dt if method == METHODS[1] else dt / 2) * q)
        step = np.kron(step, half if method == METHODS[1] else half @ (eye(len(q)) + dt / 2 * q))
    found = last(cells.evolve(start, [0, dt], 1, method))
    if len(axes) == 2 and method == METHODS[0]:  # Strang: the first axis in two halves
        q = parts[0]
        half = np.linalg.inv(eye(len(q)) - dt / 4 * q) @ (eye(len(q)) + dt / 4 * q)
        q = parts[1]
        full = np.linalg.inv(eye(len(q)) - dt / 2 * q) @ (eye(len(q)) + dt / 2 * q)
        step = np.kron(half @ half, full)
    expected = torch.from_numpy(step @ start.flatten().numpy()).reshape(cells.shape)
    assert torch.allclose(found, expected, atol=1e-12)


def test_steady_is_taken_from_the_sde_asked_for_or_left_out():
    calls = []

    def drift(x, t):
        calls.append(t)
        return -x

    sde = SDE(drift, 1.0)  # not declared steady
    start = FiniteVolumes(sde, [(-5, 5, 50)]).project(TWO, tolerance=1e-4)
    results = []
    for steady, asked in ((None, 8), (False, 8), (True, 1)):
        calls.clear()
        cells = FiniteVolumes(sde, [(-5, 5, 50)], steady=steady)
        results.append(last(cells.evolve(start, [0, 1, 2], substeps=4)))
        assert len(calls) == asked
    assert torch.equal(results[0], results[1]) and torch.allclose(results[0], results[2])
    sde = SDE(drift, 1.0, steady=True)
    assert FiniteVolumes(sde, [(-5, 5, 50)]).steady
    assert not FiniteVolumes(sde, [(-5, 5, 50)], steady=False).steady
    # A steady SDE is factored again for a step of another length.
    cells = FiniteVolumes(sde, [(-5, 5, 50)])
    whole = list(cells.evolve(start, [0, 0.1, 0.4]))
    parts = last(cells.evolve(whole[1], [0.1, 0.4]))
    assert torch.allclose(whole[2], parts, atol=1e-14)


# Densities in and out ---------------------------------------------------------------------------


def test_project_is_the_mean_over_each_cell():
    cells = FiniteVolumes(WELL, [(-3.5, 3.5, 80)])
    exact = means_from_cdf(normal_cdf(TWO), cells)
    assert torch.allclose(cells.project(TWO), exact, atol=1e-8)
    assert torch.allclose(cells.project(TWO, points=6), exact, atol=1e-13)
    assert torch.allclose(cells.project(lambda x: TWO.log_prob(x).exp()), exact, atol=1e-8)
    at_center = cells.project(TWO, points=1)
    assert torch.equal(at_center, TWO.log_prob(cells.centers).exp())
    # A cubic in each coordinate: two nodes are exact, and so is the mean of the product.
    plane = FiniteVolumes(WELL, [(0, 1, 2), (0, 2, 2)])
    p = plane.project(lambda x: 2 * x[..., 0] ** 3 * x[..., 1], points=2)
    assert torch.allclose(p, torch.tensor([[1.0, 3.0], [15.0, 45.0]], dtype=F64) / 32)


def test_project_refuses_a_box_that_loses_mass():
    cells = FiniteVolumes(WELL, [(-1.0, 3.5, 200)])
    with pytest.raises(ValueError, match=r"prob: got a mass of 0\.5\d* in the box"):
        cells.project(NARROW)
    p = cells.project(NARROW, tolerance=math.inf)
    assert cells.mass(p) == pytest.approx(0.5, abs=1e-9)  # told, not mended
    with pytest.raises(ValueError, match="mass of nan"):
        cells.project(lambda x: x * math.nan)


def test_expect_is_of_second_order():
    errors = []
    for n in (40, 80, 160):
        cells = FiniteVolumes(WELL, [(-4, 4, n)])
        p = means_from_cdf(normal_cdf(TWO), cells)
        exact = (TWO.weights * torch.exp(-TWO.variances / 2) * TWO.means.cos()).sum().item()
        errors.append(abs(cells.expect(p, torch.cos) - exact))
    assert abs(slope(errors) - 2) < 0.15 and errors[-1] < 1e-3


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: FiniteVolumes(MATRIX, [(0, 1, 2)] * 2), ValueError, "matrix noise"),
        (lambda: FiniteVolumes(WELL, []), ValueError, "axes: got none"),
        (lambda: FiniteVolumes(WELL, [(0, 1)]), ValueError, r"axes: got \(0, 1\)"),
        (lambda: FiniteVolumes(WELL, [3]), ValueError, "axes: got 3"),
        (lambda: FiniteVolumes(WELL, [(1, 0, 5)]), ValueError, "low < high"),
        (lambda: FiniteVolumes(WELL, [(0, 1, 1)]), ValueError, "axes: cells"),
        (lambda: FiniteVolumes(WELL, [(0, math.inf, 5)]), ValueError, "axes: high"),
        (lambda: FiniteVolumes(WELL, [(0, 1, 5)], "upwind"), ValueError, "flux: got 'upwind'"),
        (lambda: FiniteVolumes(BROKEN, [(-1, 1, 5)]).rates(), ValueError, "NaN or infinite"),
        (lambda: CELLS.evolve(FLAT.float(), [0, 1]), TypeError, "p: got torch.float32"),
        (lambda: CELLS.evolve([0.1] * 5, [0, 1]), TypeError, "p: got list"),
        (lambda: CELLS.evolve(FLAT[1:], [0, 1]), ValueError, r"p: got shape \(4,\)"),
        (lambda: CELLS.evolve(FLAT, [0, 0]), ValueError, "times"),
        (lambda: CELLS.evolve(FLAT, []), ValueError, "times"),
        (lambda: CELLS.evolve(FLAT, [0, 1], substeps=0), ValueError, "substeps"),
        (lambda: CELLS.evolve(FLAT, [0, 1], method="euler"), ValueError, "method"),
        (lambda: CELLS.expect(FLAT, lambda x: x[1:]), ValueError, "phi: got shape"),
        (lambda: CELLS.project(TWO, points=0), ValueError, "points"),
        (lambda: CELLS.project(TWO, tolerance=-1), ValueError, "tolerance"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named_at_once(call, error, message):
    with pytest.raises(error, match=message):
        call()


MATRIX = SDE(lambda x, t: x, torch.eye(2), matrix=True)
BROKEN = SDE(lambda x, t: x / 0, 1.0)
CELLS = FiniteVolumes(WELL, [(-1, 1, 5)])
FLAT = torch.full((5,), 0.5, dtype=F64)
