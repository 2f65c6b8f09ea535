"""Fourier densities against quadrature, closed forms, finite differences and many digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Distribution, constraints

from kexue.density import FourierDensity

F64, C128 = torch.float64, torch.complex128
NAN = math.nan


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def amplitudes(*shape, seed=0, dtype=C128):
    """Random amplitudes, the first the largest: |A| is positive but not by much."""
    dice = torch.Generator().manual_seed(seed)
    a = torch.randn(*shape, generator=dice, dtype=C128)
    a[..., 0] += 2
    return a.to(dtype)


LAWS = {
    "interval": FourierDensity(amplitudes(6)),
    "moved": FourierDensity(amplitudes(9, seed=1), loc=3.0, scale=0.2),
    "line": FourierDensity(amplitudes(6), loc=-1.0, scale=2.0, line=True),
}
all_laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def ends(law, far=40.0):
    half = law.scale.item() * (far if law.line else 1)
    return law.loc.item() - half, law.loc.item() + half


def inside(law, n=50, seed=3):
    """Points where the law has its mass."""
    u = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=F64) * 1.98 - 0.99
    return law.loc + law.scale * (2 * u if law.line else u)


def integral(law, f, low=None, high=None):
    """Quadrature of f(y) p(y) over [low, high], in pieces that are short beside every wave."""
    near = ends(law, 16)
    low, high = near[0] if low is None else low, near[1] if high is None else high
    edges = np.linspace(low, high, 65)

    def integrand(y):
        y = torch.from_numpy(y)
        return (f(y) * law.prob(y)).numpy()

    return sum(
        scipy.integrate.fixed_quad(integrand, *pair, n=24)[0] for pair in itertools.pairwise(edges)
    )


# The density -------------------------------------------------------------------------------


@all_laws
def test_density_is_the_square_of_the_sum_that_defines_it(law):
    y = inside(law)
    u = ((y - law.loc) / law.scale).numpy()
    x = np.tanh(u) if law.line else u
    a = law.a.numpy()
    wave = sum(a[k] * np.exp(-1j * np.pi * k * x) for k in range(len(a)))
    p = np.abs(wave) ** 2 / (2 * np.sum(np.abs(a) ** 2)) / law.scale.item()
    p = p / np.cosh(u) ** 2 if law.line else p
    torch.testing.assert_close(law.prob(y), torch.from_numpy(p))
    torch.testing.assert_close(law.log_prob(y).exp(), torch.from_numpy(p))
    assert isinstance(law, Distribution) and law.event_shape == () and law.terms == len(a) - 1


@all_laws
def test_density_integrates_to_one_and_moments_follow(law):
    mean = integral(law, lambda y: y)
    assert integral(law, lambda y: 1) == pytest.approx(1, abs=1e-9)
    assert law.mean.item() == pytest.approx(mean, rel=1e-9)
    assert law.variance.item() == pytest.approx(integral(law, lambda y: (y - mean) ** 2), rel=1e-8)


@all_laws
def test_entropy_is_that_of_quadrature(law):
    exact = integral(law, lambda y: -law.log_prob(y))
    assert law.entropy().item() == pytest.approx(exact, abs=1e-6)


def test_coefficients_are_the_fourier_integrals_and_the_series_is_the_density():
    law = LAWS["interval"]
    for n, c in enumerate(law.coefficients.tolist()):
        wave = [
            integral(law, lambda x, f=f, n=n: f(math.pi * n * x)) for f in (torch.cos, torch.sin)
        ]
        assert c == pytest.approx(complex(wave[0], -wave[1]), abs=1e-9)
    x, n = inside(law), torch.arange(1, law.terms + 1)
    waves = law.coefficients[1:] * torch.exp(1j * math.pi * n * x[:, None])
    torch.testing.assert_close(law.prob(x), 0.5 + waves.real.sum(-1))


def test_roughness_is_the_integral_of_the_squared_slope():
    law = LAWS["interval"]
    x = torch.linspace(-1, 1, 4001, dtype=F64).requires_grad_()
    slope = torch.autograd.grad(law.prob(x).sum(), x)[0]
    assert law.roughness.item() == pytest.approx(torch.trapezoid(slope**2, x).item(), rel=1e-9)
    moved = FourierDensity(law.a, 5.0, 3.0, line=True)
    assert moved.roughness == law.roughness


@given(n=st.integers(0, 12), seed=st.integers(0, 1000))
def test_no_density_rises_above_half_of_its_terms_and_equal_amplitudes_do(n, seed):
    x = torch.linspace(-1, 1, 257, dtype=F64)
    peak = FourierDensity(amplitudes(n + 1, seed=seed)).prob(x).max().item()
    assert peak <= (n + 1) / 2 * (1 + 1e-12)
    fejer = FourierDensity(torch.ones(n + 1, dtype=F64)).prob(tensor(0.0)).item()
    assert fejer == pytest.approx((n + 1) / 2, rel=1e-12)


@given(
    n=st.integers(1, 6),
    seed=st.integers(0, 1000),
    phase=st.floats(-3.2, 3.2),
    size=st.sampled_from([1e-200, 1e-3, 1.0, 1e180]),
)
def test_length_phase_and_reflected_zeros_change_nothing(n, seed, phase, size):
    a = amplitudes(n + 1, seed=seed)
    law, x = FourierDensity(a), torch.linspace(-1, 1, 33, dtype=F64)
    zeros = np.roots(a.numpy()[::-1])
    zeros[0] = 1 / np.conj(zeros[0])  # the same |A| on the circle, but for a factor
    reflected = torch.from_numpy(np.poly(zeros)[::-1].copy()).to(C128)
    for same in (size * np.exp(1j * phase) * a, reflected):
        torch.testing.assert_close(FourierDensity(same).prob(x), law.prob(x), atol=1e-8, rtol=1e-6)
        torch.testing.assert_close(FourierDensity(same).cdf(x), law.cdf(x), atol=1e-8, rtol=1e-6)


def test_without_terms_the_law_is_uniform_or_logistic():
    flat = FourierDensity(tensor(-3.0), loc=2.0, scale=4.0)
    y = torch.linspace(-2, 6, 9, dtype=F64)
    torch.testing.assert_close(flat.prob(y), torch.full_like(y, 1 / 8))
    torch.testing.assert_close(flat.cdf(y), (y + 2) / 8)
    assert flat.entropy().item() == pytest.approx(math.log(8))
    logistic = FourierDensity(tensor(1.0), loc=2.0, scale=4.0, line=True)
    z = (y - 2) / 2  # a logistic law of scale s / 2
    torch.testing.assert_close(logistic.prob(y), torch.sigmoid(z) * torch.sigmoid(-z) / 2)
    torch.testing.assert_close(logistic.cdf(y), torch.sigmoid(z))
    assert logistic.entropy().item() == pytest.approx(math.log(2) + 2)
    assert logistic.variance.item() == pytest.approx(4 * math.pi**2 / 3)


def test_both_tails_on_the_line_have_the_same_constant():
    a, s = amplitudes(6), 2.0
    law = FourierDensity(a, loc=-1.0, scale=s, line=True)
    constant = 4 * FourierDensity(a).prob(tensor(1.0)).item() / s
    for side in (-1, 1):
        y = tensor(*(-1 + side * s * u for u in (10.0, 15.0, 400.0)))
        tail = math.log(constant) - 2 * (y + 1).abs() / s
        torch.testing.assert_close(law.log_prob(y), tail, atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_far_out_on_the_line_everything_is_finite(dtype):
    complex_dtype = torch.complex64 if dtype == torch.float32 else C128
    law = FourierDensity(amplitudes(6, dtype=complex_dtype), scale=0.5, line=True)
    y = torch.tensor([-1e30, -1e4, 1e4, 1e30], dtype=dtype).requires_grad_()
    law.log_prob(y).sum().backward()
    assert law.log_prob(y).isfinite().all() and (law.log_prob(y) < -1e4).all()
    torch.testing.assert_close(y.grad, -4 * y.detach().sign())  # slope 2 / s
    torch.testing.assert_close(law.cdf(y.detach()), torch.tensor([0, 0, 1, 1], dtype=dtype))


def test_a_zero_of_the_density_is_minus_infinity_without_a_nan():
    x = tensor(-0.5, 0.0, 0.5, 2.0).requires_grad_()
    a = tensor(1.0, -1.0).requires_grad_()  # (1 - cos pi x) / 2, zero at 0
    log_p = FourierDensity(a).log_prob(x)
    assert log_p[1] == -math.inf and log_p[3] == -math.inf
    log_p[0].backward(retain_graph=True)
    log_p.exp().sum().backward()
    assert x.grad.isfinite().all() and a.grad.isfinite().all()


# Ends and outside --------------------------------------------------------------------------


@given(
    loc=st.floats(-100, 100),
    scale=st.floats(1e-3, 100),
    dtype=st.sampled_from([torch.complex64, C128]),
)
def test_the_ends_belong_to_the_support_whatever_is_rounded(loc, scale, dtype):
    law = FourierDensity(torch.ones(1, dtype=dtype), loc, scale)
    low, high = law.loc - law.scale, law.loc + law.scale
    at = torch.stack([low, law.loc, high])
    assert law.log_prob(at).isfinite().all() and law.support.check(at).all()
    out = torch.stack([low - law.scale / 8, high + law.scale / 8])
    assert (law.log_prob(out) == -math.inf).all() and (law.prob(out) == 0).all()
    assert law.cdf(out).tolist() == [0, 1]
    assert torch.equal(law.icdf(torch.tensor([0.0, 1.0])), torch.stack([low, high]))


def test_support_is_the_interval_or_the_line():
    assert LAWS["line"].support is constraints.real
    checks = LAWS["moved"].support.check(tensor(2.79, 2.81, 3.2, 3.21))
    assert checks.tolist() == [False, True, True, False]


# Distribution function, quantiles, draws ---------------------------------------------------


@all_laws
def test_cdf_is_the_integral_of_the_density(law):
    low = ends(law, 20)[0]
    for y in inside(law, 5).tolist():
        assert law.cdf(tensor(y)).item() == pytest.approx(
            integral(law, lambda _: 1, low, y), abs=1e-9
        )


@all_laws
def test_icdf_is_the_inverse_of_the_cdf(law):
    u = torch.cat([tensor(1e-9, 1e-4, 0.5, 1 - 1e-9), torch.rand(200, dtype=F64)])
    torch.testing.assert_close(law.cdf(law.icdf(u)), u, atol=1e-12, rtol=0)
    assert (law.icdf(u.sort().values).diff() >= 0).all()
    assert law.icdf(u.reshape(4, -1)).shape == (4, 51)


def test_quantiles_cross_a_gap_without_mass():
    law = FourierDensity(tensor(1.0, -2.0, 1.0))  # sin(pi x / 2)^4: almost nothing about 0
    u = 0.5 + tensor(-1e-3, -1e-9, 0.0, 1e-9, 1e-3)
    torch.testing.assert_close(law.cdf(law.icdf(u)), u, atol=1e-12, rtol=0)


@all_laws
def test_samples_follow_the_distribution_function(law):
    """Kolmogorov-Smirnov: sup |F_n - F| stays below 1.95 / sqrt(n) with probability 0.999."""
    n = 20_000
    y = law.sample((n,), generator=torch.Generator().manual_seed(1)).sort().values
    assert (law.cdf(y) - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / n**0.5
    assert law.support.check(y).all()


def test_sampling_is_repeatable_and_shaped():
    law = FourierDensity(amplitudes(3, 4), loc=tensor(0.0, 5.0)[:, None])
    assert law.batch_shape == (2, 3) and law.sample().shape == (2, 3)
    assert law.sample(7).shape == (7, 2, 3) and law.sample((5, 1)).shape == (5, 1, 2, 3)
    draws = [law.sample((4,), generator=torch.Generator().manual_seed(5)) for _ in "ab"]
    assert torch.equal(*draws) and not torch.equal(draws[0][0], draws[0][1])
    single = FourierDensity(amplitudes(3, dtype=torch.complex64))
    assert single.sample((2,)).dtype == single.rsample((2,)).dtype == torch.float32


@all_laws
def test_rsample_carries_the_gradients_of_moments(law):
    """d/dtheta of the mean of a fixed set of draws tends to d/dtheta of E[Y] and E[Y^2]."""
    theta = [t.clone().requires_grad_() for t in (law.a, law.loc, law.scale)]
    own = FourierDensity(*theta, law.line)
    y = own.rsample((40_000,), generator=torch.Generator().manual_seed(2))
    assert torch.equal(
        y.detach(), own.sample((40_000,), generator=torch.Generator().manual_seed(2))
    )
    exact = own.variance + own.mean**2, own.mean
    for estimate, value in zip(((y**2).mean(), y.mean()), exact, strict=True):
        ours = torch.autograd.grad(estimate, theta, retain_graph=True)
        true = torch.autograd.grad(value, theta, retain_graph=True)
        for one, two in zip(ours, true, strict=True):
            size = max(1, two.abs().max().item())
            torch.testing.assert_close(one, two, atol=0.05 * size, rtol=0)


# Bins --------------------------------------------------------------------------------------


def exact_bin(law, low, high):
    """log of the mass of (low, high) with 60 digits, from the distribution function's series."""
    with mpmath.workdps(60):
        a = [mpmath.mpc(v.real, v.imag) for v in law.a.tolist()]
        c = [sum(a[k] * mpmath.conj(a[k + n]) for k in range(len(a) - n)) for n in range(len(a))]

        def cdf(y):
            u = (mpmath.mpf(y) - law.loc.item()) / law.scale.item()
            x = mpmath.tanh(u) if law.line else max(-1, min(1, u))
            terms = (
                c[n] / c[0] * mpmath.expjpi(n * x) / (1j * mpmath.pi * n) for n in range(1, len(c))
            )
            return x / 2 + mpmath.re(sum(terms, mpmath.mpc(0)))

        return float(mpmath.log(cdf(high) - cdf(low)))


@all_laws
def test_bins_have_their_mass_narrow_wide_and_far(law):
    loc, s = law.loc.item(), law.scale.item()
    bins = [(loc - 0.3 * s, loc + 0.9 * s), (loc + 0.1 * s, loc + 0.1 * s + 1e-9 * s)]
    bins += [(loc - s, loc + s), (loc - 5 * s, loc + 0.2 * s), (loc + 0.99 * s, loc + 9 * s)]
    if law.line:
        bins += [(-1e4, 1e4), (30.0, 30.001), (-60.0, -50.0), (9.0, 11.0)]
    low, high = (tensor(*side) for side in zip(*bins, strict=True))
    ours = law.bin_log_prob(low, high)
    for one, (left, right) in zip(ours.tolist(), bins, strict=True):
        assert one == pytest.approx(exact_bin(law, left, right), abs=1e-8)


def test_bins_far_beyond_what_any_difference_could_tell():
    law = LAWS["line"]  # q(y) = 4 p(1) / s exp(-2 |y - t| / s)
    low, high = tensor(999.0, -2001.0), tensor(1001.0, -1999.0)
    near, far = (edge.abs() for edge in (low + 1, high + 1))
    near, far = torch.minimum(near, far), torch.maximum(near, far)
    p_end = FourierDensity(law.a).prob(tensor(1.0)).log()
    exact = math.log(2) + p_end - near + torch.log1p(-torch.exp(near - far))
    torch.testing.assert_close(law.bin_log_prob(low, high), exact)


@pytest.mark.parametrize("width", [1e-12, 1e-6, 1e-3, 0.1])
def test_bins_at_a_zero_of_the_density(width):
    law = FourierDensity(tensor(1.0, -1.0))
    for middle in (0.0, 1e-4, 0.03):
        low, high = middle - width, middle + width
        ours = law.bin_log_prob(tensor(low), tensor(high)).item()
        assert ours == pytest.approx(exact_bin(law, low, high), abs=1e-8 + 1e-15 / width)


def test_bins_tile_the_support_in_float32_too():
    for dtype, atol in ((torch.complex64, 1e-5), (C128, 1e-12)):
        law = FourierDensity(amplitudes(3, 9, dtype=dtype), loc=1.0, scale=5.0)
        edge = torch.linspace(-4, 6, 11, dtype=law.scale.dtype)[:, None]
        mass = law.bin_log_prob(edge[:-1], edge[1:]).exp()
        assert mass.shape == (10, 3)
        torch.testing.assert_close(mass.sum(0), torch.ones_like(mass[0]), atol=atol, rtol=0)
        torch.testing.assert_close(mass, law.cdf(edge).diff(dim=0), atol=atol, rtol=0)


def test_bins_outside_the_interval_are_empty_without_a_nan():
    a = amplitudes(4).requires_grad_()
    law = FourierDensity(a)
    log_p = law.bin_log_prob(tensor(-3.0, 0.0, 1.0), tensor(-2.0, 0.5, 5.0))
    assert log_p[0] == log_p[2] == -math.inf and log_p[1].isfinite()
    log_p.exp().sum().backward()
    assert a.grad.isfinite().all()


# Shapes and dtypes -------------------------------------------------------------------------


@pytest.mark.parametrize("line", [False, True])
def test_a_batch_is_its_members_one_by_one(line):
    a, loc, scale = amplitudes(3, 5), tensor(0.0, 1.0)[:, None], tensor(1.0, 2.0, 3.0)
    law = FourierDensity(a, loc, scale, line)
    assert law.batch_shape == (2, 3)
    y = torch.rand(5, 2, 3, dtype=F64) * 2 - 1
    u = torch.rand(5, 2, 3, dtype=F64)
    for i in range(2):
        for j in range(3):
            one = FourierDensity(a[j], loc[i, 0], scale[j], line)
            at = (slice(None), i, j)
            for name in ("log_prob", "cdf"):
                torch.testing.assert_close(getattr(law, name)(y)[at], getattr(one, name)(y[at]))
            torch.testing.assert_close(law.icdf(u)[at], one.icdf(u[at]))
            both = law.bin_log_prob(y, y + 0.1)[at], one.bin_log_prob(y[at], y[at] + 0.1)
            torch.testing.assert_close(*both)
            for name in ("entropy", "mean", "variance"):
                value = getattr(law, name), getattr(one, name)
                value = tuple(v() if callable(v) else v for v in value)
                torch.testing.assert_close(value[0][i, j], value[1])
    for few in (y[:, :1, :1], y[0], y[0, 0], y[0, 0, 0]):
        wide = few.expand(torch.broadcast_shapes(few.shape, (2, 3)))
        torch.testing.assert_close(law.log_prob(few), law.log_prob(wide))
    assert law.coefficients.shape == (3, 5) and law.roughness.shape == (3,)


def test_expand_repeats_the_law():
    law = FourierDensity(amplitudes(3, 5), loc=tensor(0.0, 1.0)[:, None])
    big = law.expand((4, 2, 3))
    assert isinstance(big, FourierDensity) and big.batch_shape == (4, 2, 3)
    y = torch.rand(4, 2, 3, dtype=F64)
    torch.testing.assert_close(big.log_prob(y), law.log_prob(y))
    assert repr(big) == "FourierDensity(terms=4, batch_shape=(4, 2, 3), line=False)"


def test_many_points_are_the_same_as_few():
    """One law and many points are computed in pieces, unless gradients are wanted."""
    law, y = LAWS["line"], torch.randn(3, 20_000, dtype=F64)
    with_gradients = FourierDensity(law.a, law.loc, law.scale.clone().requires_grad_(), True)
    torch.testing.assert_close(law.log_prob(y), with_gradients.log_prob(y).detach())
    torch.testing.assert_close(law.cdf(y), with_gradients.cdf(y).detach())
    spread = FourierDensity(law.a, tensor(0.0, 1.0, 2.0)[:, None], 2.0, True)
    rows = [FourierDensity(law.a, float(i), 2.0, True).log_prob(y[i]) for i in range(3)]
    torch.testing.assert_close(spread.log_prob(y), torch.stack(rows))


@all_laws
def test_single_precision_is_close_to_double(law):
    single = FourierDensity(law.a.to(torch.complex64), law.loc, law.scale, law.line)
    y, u = inside(law), torch.rand(50, dtype=F64)
    for name, x in (("log_prob", y), ("cdf", y), ("icdf", u)):
        ours = getattr(single, name)(x)
        assert ours.dtype == torch.float32
        exact = getattr(law, name)(x.float().double())
        torch.testing.assert_close(ours.double(), exact, atol=1e-4, rtol=1e-4)
    width = 1e-2 * law.scale
    exact = law.bin_log_prob(y, y + width)
    torch.testing.assert_close(single.bin_log_prob(y, y + width).double(), exact, atol=0.01, rtol=0)
    assert single.entropy().item() == pytest.approx(law.entropy().item(), abs=1e-4)


@pytest.mark.parametrize("line", [False, True])
def test_gradients_in_everything(line):
    a, loc, scale = amplitudes(2, 4), tensor(0.1, -0.2), tensor(1.5)
    y = torch.linspace(-0.8, 0.9, 6, dtype=F64)[:, None]
    inputs = [t.clone().requires_grad_() for t in (a, loc, scale, y)]
    for name in ("log_prob", "cdf"):
        call = lambda a, loc, scale, y, name=name: getattr(  # noqa: E731
            FourierDensity(a, loc, scale, line), name
        )(y)
        assert torch.autograd.gradcheck(call, inputs)
    for width in (0.3, 1e-3):
        assert torch.autograd.gradcheck(
            lambda a, loc, scale, y, w=width: FourierDensity(a, loc, scale, line).bin_log_prob(
                y, y + w
            ),
            inputs,
            atol=1e-4,
        )
    assert torch.autograd.gradcheck(
        lambda a, s: FourierDensity(a, 0.0, s, line).entropy(), [inputs[0], inputs[2]]
    )


def test_gradients_where_bins_need_quadrature():
    a = tensor(1.0, -2.0, 1.0).to(C128).requires_grad_()
    edge = tensor(0.001, 0.3)
    assert torch.autograd.gradcheck(
        lambda a: FourierDensity(a).bin_log_prob(edge, edge + 0.01), [a], atol=1e-3
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_the_same():
    here = FourierDensity(amplitudes(3, 9), tensor(0.0, 1.0)[:, None], 2.0, line=True)
    there = FourierDensity(here.a.cuda(), here.loc, here.scale, line=True)
    y, u = torch.randn(7, 2, 3, dtype=F64), torch.rand(7, 2, 3, dtype=F64)
    for name, x in (("log_prob", y), ("cdf", y), ("icdf", u)):
        ours = getattr(there, name)(x)
        assert ours.is_cuda
        torch.testing.assert_close(ours.cpu(), getattr(here, name)(x))
    torch.testing.assert_close(there.bin_log_prob(y, y + 1).cpu(), here.bin_log_prob(y, y + 1))
    torch.testing.assert_close(there.entropy().cpu(), here.entropy())
    assert there.sample((4,)).is_cuda
    dice = torch.Generator().manual_seed(1)
    same = here.sample((4,), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(there.sample((4,), generator=dice).cpu(), same)


# Bad input ---------------------------------------------------------------------------------

GOOD = LAWS["interval"]


@pytest.mark.parametrize(
    "call, error, argument",
    [
        (lambda: FourierDensity(torch.ones(3, dtype=torch.long)), TypeError, "a"),
        (lambda: FourierDensity("ab"), TypeError, "a"),
        (lambda: FourierDensity([1.0, None]), TypeError, "a"),
        (lambda: FourierDensity(torch.tensor(1.0)), ValueError, "a"),
        (lambda: FourierDensity(torch.ones(2, 0)), ValueError, "a"),
        (lambda: FourierDensity(tensor(1.0, NAN)), ValueError, "a"),
        (lambda: FourierDensity(torch.tensor([1.0, complex(0, math.inf)])), ValueError, "a"),
        (lambda: FourierDensity(torch.zeros(3)), ValueError, "a"),
        (lambda: FourierDensity(torch.tensor([[1.0, 0.0], [0.0, 0.0]])), ValueError, "a"),
        (lambda: FourierDensity([1.0], loc=NAN), ValueError, "loc"),
        (lambda: FourierDensity([1.0], loc="left"), TypeError, "loc"),
        (lambda: FourierDensity([1.0], scale=0.0), ValueError, "scale"),
        (lambda: FourierDensity([1.0], scale=-1.0), ValueError, "scale"),
        (lambda: FourierDensity([1.0], scale=[1.0, NAN]), ValueError, "scale"),
        (lambda: FourierDensity([1.0], scale="wide"), TypeError, "scale"),
        (lambda: FourierDensity([1.0], line=1), TypeError, "line"),
        (lambda: FourierDensity(torch.ones(3, 2), loc=torch.zeros(2)), ValueError, "a, loc, scale"),
        (lambda: GOOD.log_prob(tensor(0.0, NAN)), ValueError, "value"),
        (lambda: GOOD.log_prob("x"), TypeError, "value"),
        (lambda: GOOD.cdf(math.inf), ValueError, "value"),
        (lambda: GOOD.prob([]), ValueError, "value"),
        (lambda: GOOD.icdf(tensor(0.5, 1.01)), ValueError, "value"),
        (lambda: GOOD.icdf(-0.1), ValueError, "value"),
        (lambda: GOOD.bin_log_prob(0.5, 0.5), ValueError, "low"),
        (lambda: GOOD.bin_log_prob(tensor(0.0, 0.5), 0.4), ValueError, "low"),
        (lambda: GOOD.bin_log_prob(0.0, NAN), ValueError, "high"),
        (lambda: GOOD.sample((-1,)), ValueError, "sample_shape"),
        (lambda: GOOD.sample((2.5,)), TypeError, "sample_shape"),
    ],
)
def test_bad_input_is_named(call, error, argument):
    with pytest.raises(error, match=f"^{argument}: got .*needs "):
        call()


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="terms"):
        FourierDensity([1.0], terms=3)
