"""Steps and loops: weak orders without sampling noise, the noise laws, blocks and seeds."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    SDE,
    DoubleWell,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    VariancePreserving,
    advance,
    euler_step,
    generator,
    platen_step,
    probability_flow,
    reverse,
    simulate,
)
from kexue.fokker_planck._noise import NOISES, Noise
from kexue.schedule import Linear

F64 = torch.float64
NAN = math.nan
module = sys.modules["kexue.fokker_planck.simulate"]  # the name is also a function
OU = OrnsteinUhlenbeck(0.7, 0.9, mean=0.4)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors here are small: threads that wait for each other take longer than one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def t64(values):
    return torch.tensor(values, dtype=F64)


# Weak order, one step: E phi(x_{t+dt}) against its Taylor series ---------------------------------
# As d/dt E phi = E L phi, E phi(x_{t+h}) = phi + h L phi + h^2/2 (d/dt + L) L phi + O(h^3). The
# mean over the noise is a sum: exact for discrete laws, Gauss-Hermite quadrature for the normal.


def nodes(noise, k):
    """All values of k noises, (m, k), and their probabilities, (m,)."""
    if noise == "normal":
        z, w = np.polynomial.hermite_e.hermegauss(20)
        w = w / w.sum()
    elif noise == "two-point":
        z, w = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    else:
        z, w = np.array([-1.0, 0.0, 1.0]) * math.sqrt(3), np.array([1, 4, 1]) / 6
    every = list(itertools.product(range(len(z)), repeat=k))
    return t64([[z[i] for i in row] for row in every]), t64(
        [math.prod(w[i] for i in row) for row in every]
    )


def after(step, sde, phi, x, t, dt, noise):
    """E phi of one step from the particle x, (1,) or (1, d)."""
    k = sde.diffusion(x, t).shape[-1] if sde.matrix else x.shape[-1]
    eps, w = nodes(noise, k)
    many = x.expand(len(eps), *x.shape[1:])
    return w @ phi(step(sde, many, t, dt, eps if x.ndim > 1 else eps[:, 0]))


def taylor(sde, phi, x, t, dt, order):
    first = generator(sde, phi)
    total = phi(x) + dt * first(x, t)
    if order == 2:
        d = 1e-4  # d/dt L phi at fixed x, by differences of fourth order; it is 0 for steady SDEs
        slope = sum(c * first(x, t + k * d) for k, c in ((-2, 1), (-1, -8), (1, 8), (2, -1)))
        second = generator(sde, lambda y: first(y, t))(x, t) + slope / (12 * d)
        total = total + dt**2 / 2 * second
    return total


SCALAR = {
    "ou": OU,
    "double well": DoubleWell(0.8),
    "price": GeometricBrownian(0.4, 0.6),
    "sinh": SDE(lambda x, t: x / 2 + (1 + x**2).sqrt(), lambda x, t: (1 + x**2).sqrt()),
    "itself": SDE(lambda x, t: x, lambda x, t: x),
    "in time": SDE(lambda x, t: torch.sin(x) * t, lambda x, t: 0.5 + t**2, additive=True),
    "in both": SDE(lambda x, t: torch.cos(x) - t, lambda x, t: 0.5 + t * torch.tanh(x)),
}
PLANE = {
    "elementwise": SDE(
        lambda x, t: torch.stack([torch.sin(x[:, 1]), -x[:, 0] * x[:, 1]], -1), t64([0.5, 0.9])
    ),
    "matrix": SDE(lambda x, t: -x * x.flip(-1), t64([[0.5, 0.2, 0.1], [-0.3, 0.4, 0.0]]), True),
    "circle": SDE(
        lambda x, t: -x / 2,
        lambda x, t: torch.stack([-x[..., 1], x[..., 0]], -1)[..., None] * (1 + t),
        matrix=True,
    ),
}
SDES = {**SCALAR, **PLANE}
PHIS = {
    "line": [torch.tanh, torch.cos, lambda x: x**3],
    "plane": [lambda x: torch.tanh(x[..., 0] - x[..., 1]), lambda x: (x[..., 0] * x[..., 1]).cos()],
}


def local_order(step, noise, name, order):
    """The slope of log error against log dt, for the worst of the test functions."""
    sde, (kind, x) = (
        SDES[name],
        ("line", t64([0.6]))
        if name in SCALAR
        else (
            "plane",
            t64([[0.6, -0.3]]),
        ),
    )
    dts, slopes = (0.004, 0.001), []
    for phi in PHIS[kind]:
        errors = [
            (after(step, sde, phi, x, 0.3, dt, noise) - taylor(sde, phi, x, 0.3, dt, order)).abs()
            for dt in dts
        ]
        if errors[0] > 1e-13:  # else exact
            slopes.append(math.log(errors[0] / errors[1]) / math.log(dts[0] / dts[1]))
    return min(slopes)


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("noise", ["normal", "two-point", "three-point"])
def test_euler_has_weak_order_one(name, noise):
    assert local_order(euler_step, noise, name, 1) > 1.85  # dt^2 a step, dt over a unit of time


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("noise", ["normal", "three-point"])
def test_platen_has_weak_order_two(name, noise):
    assert local_order(platen_step, noise, name, 2) > 2.8


def test_what_is_claimed_and_no_more():
    """Euler has no order 2; two-point noise has not the moments that Platen's step needs."""
    assert local_order(euler_step, "normal", "double well", 2) < 2.2
    assert local_order(platen_step, "two-point", "double well", 2) < 2.2


# Weak order, many steps: linear SDEs carry polynomials to polynomials -----------------------------


def moment(step, sde, power, x0, stop, steps, noise):
    """E x_T^power exactly: backwards, u(x) = E u(step(x)) by its values at power + 1 points."""
    grid, dt = torch.linspace(-1, 1, power + 1, dtype=F64), stop / steps
    vandermonde = grid[:, None] ** torch.arange(power + 1)
    u = grid**power
    eps, w = nodes(noise, 1)
    for k in reversed(range(steps)):
        c = torch.linalg.solve(vandermonde, u)
        x, z = (v.reshape(-1) for v in torch.broadcast_tensors(grid[:, None], eps[:, 0]))
        x = step(sde, x, k * dt, dt, z)
        values = (x[:, None] ** torch.arange(power + 1)) @ c
        u = values.reshape(len(grid), -1) @ w
    c = torch.linalg.solve(vandermonde, u)
    return (c @ t64(x0) ** torch.arange(power + 1)).item()


EXACT = {
    ("ou", 1): 0.4 + 0.6 * math.exp(-0.7),
    ("ou", 2): (0.4 + 0.6 * math.exp(-0.7)) ** 2 + 0.81 * (1 - math.exp(-1.4)) / 1.4,
    ("price", 1): math.exp(0.4),
    ("price", 2): math.exp(2 * 0.4 + 0.6**2),
    ("price", 3): math.exp(3 * 0.4 + 3 * 0.6**2),
}


@pytest.mark.parametrize("name, power", EXACT)
@pytest.mark.parametrize(
    "step, noise, order",
    [(euler_step, "two-point", 1), (euler_step, "normal", 1), (platen_step, "three-point", 2)],
)
def test_global_order_from_exact_moments(name, power, step, noise, order):
    exact = EXACT[name, power]
    errors = [abs(moment(step, SDES[name], power, 1.0, 1.0, n, noise) - exact) for n in (32, 128)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(order, abs=0.1)


def test_two_point_noise_gives_the_same_first_three_moments():
    """Exactly, for any number of steps; the fourth differs, and the third of the price not."""
    for name, power in itertools.product(["ou", "price"], [1, 2, 3, 4]):
        normal, coin = (
            moment(euler_step, SDES[name], power, 1.0, 1.0, 8, law)
            for law in ("normal", "two-point")
        )
        if power < 4:
            assert coin == pytest.approx(normal, rel=1e-12)
        else:
            assert abs(coin / normal - 1) > 1e-4


# Noise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
@pytest.mark.parametrize("law", NOISES)
def test_noise_has_its_moments_and_no_memory(law, dtype):
    steps, n = 140, 1501  # more steps than a word has bits; a size that fills no word
    noise = Noise(law, torch.Size((n,)), torch.empty(1, dtype=dtype), rng())
    z = torch.stack([noise.draw().double().clone() for _ in range(steps)])
    fourth = {"normal": 3, "two-point": 1, "three-point": 3}[law]
    slack = 5 / math.sqrt(z.numel())
    rounding = 3e-3 if dtype == torch.float16 else 0.0
    for power, value in ((1, 0), (2, 1), (3, 0), (4, fourth)):
        assert abs((z**power).mean() - value) < slack * math.sqrt(105) + rounding
    assert abs(z.mean()) < slack and abs(z.square().mean() - 1) < slack * math.sqrt(2) + rounding
    for lag in (1, 2, 16, 32, 64):  # one particle in time, where words are used bit by bit
        assert abs((z[lag:] * z[:-lag]).mean()) < 5 / math.sqrt(z[lag:].numel())
    for lag in (1, 2, 3, 4):  # particles at one time, where one int64 is several words
        assert abs((z[:, lag:] * z[:, :-lag]).mean()) < slack
    values = {"two-point": {-1.0, 1.0}, "three-point": {-(3**0.5), 0.0, 3**0.5}}.get(law)
    if values:
        assert all(min(abs(v - u) for u in values) < 1e-3 for v in z.unique().tolist())
        assert len(z.unique()) == len(values)


def test_two_point_noise_is_the_bits_of_one_integer():
    """64 coin flips from one int64: the sign, then bit after bit, of its halves for float32."""
    noise = Noise("two-point", torch.Size((2,)), torch.empty(1), rng(3))
    word = torch.empty(1, dtype=torch.int64).random_(-(2**63), None, generator=rng(3)).item()
    halves = [word & 0xFFFFFFFF, (word >> 32) & 0xFFFFFFFF]  # little-endian
    for k in range(32):
        expected = [-1.0 if (half >> (31 - k)) & 1 else 1.0 for half in halves]
        assert noise.draw().tolist() == expected


# Loops --------------------------------------------------------------------------------------------


def test_simulate_yields_every_state_and_composes_the_step():
    seen = []

    def step(sde, x, t, dt, eps):
        seen.append((t, dt, eps.clone()))
        return x + 1

    x = torch.zeros(3)
    states = list(simulate(OU, x, [0.0, 0.5, 0.75], step, generator=rng()))
    assert [s.tolist() for s in states] == [[0.0] * 3, [1.0] * 3, [2.0] * 3]
    assert [(t, dt) for t, dt, _ in seen] == [(0.0, 0.5), (0.5, 0.25)]
    assert not torch.equal(seen[0][2], seen[1][2]), "the same noise twice"


@pytest.mark.parametrize("step", [euler_step, platen_step])
@pytest.mark.parametrize("noise", ["normal", "three-point"])
@pytest.mark.parametrize("name", ["ou", "itself", "in both", "elementwise", "matrix", "circle"])
def test_advance_is_the_last_state_of_simulate(step, noise, name):
    """With one block the noise is the same, and the in-place Euler step is the Euler step."""
    x = (
        torch.rand(50, 2, dtype=F64)[:, :1].squeeze()
        if name in SCALAR
        else torch.rand(50, 2).double()
    )
    kept = x.clone()
    times = np.linspace(0.2, 1.0, 41)
    *_, last = simulate(SDES[name], x, times, step, noise, rng(1))
    got = advance(SDES[name], x, 0.2, 1.0, 40, step, noise, rng(1))
    torch.testing.assert_close(got, last, rtol=1e-10, atol=1e-12)
    assert torch.equal(x, kept), "the start was written over"
    assert got.is_contiguous()


def test_the_stream_depends_on_the_seed_and_the_block_only():
    x = torch.zeros(1000)
    run = [
        advance(OU, x, 0.0, 1.0, 40, noise="two-point", generator=rng(s), block=b)
        for s, b in ((1, None), (1, None), (2, None), (1, 300))
    ]
    assert torch.equal(run[0], run[1])
    assert not torch.equal(run[0], run[2]) and not torch.equal(run[0], run[3])
    # A block starts where the one before it stopped; the first is the same as alone.
    alone = advance(OU, x[:300], 0.0, 1.0, 40, noise="two-point", generator=rng(1))
    assert torch.equal(run[3][:300], alone)


@pytest.mark.parametrize("block", [None, 1000, 7001])
@pytest.mark.parametrize("noise, step", [("two-point", euler_step), ("three-point", platen_step)])
def test_advance_reaches_the_exact_law(block, noise, step):
    n, stop = 20_000, 1.0
    start = GaussianMixture([1.0], [-1.0], [0.09])
    x = advance(
        OU, start.sample((n,), generator=rng()), 0.0, stop, 200, step, noise, rng(1), block=block
    )
    law = OU.law(stop, start)
    sigma = law.variance.sqrt()
    bias = 0.0 if step is platen_step else 2e-3
    assert abs(x.mean() - law.mean) < 4 * sigma / math.sqrt(n) + bias
    assert abs(x.var() - law.variance) < 4 * law.variance * math.sqrt(2 / n) + bias


def test_default_block_counts_numbers_not_particles(monkeypatch):
    sizes = []
    monkeypatch.setattr(module, "BLOCK", 64)
    sde = SDE(lambda x, t: sizes.append(x.numel()) or -x, 1.0)
    advance(sde, torch.zeros(50, 4), 0.0, 1.0, 1)
    assert sizes == [64, 64, 64, 8]
    sizes.clear()
    advance(sde, torch.zeros(3, 100), 0.0, 1.0, 1)
    assert sizes == [100] * 3


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["in time", "matrix"])
def test_compiled_loop_without_the_compiler(monkeypatch, name, noise):
    """The function that would be compiled, run as it is: same law, right times, same seed."""
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    module._fused.cache_clear()
    sde, x = SDES[name], torch.zeros((4000, 2) if name in PLANE else 4000).double()
    args = (sde, x, 0.2, 1.0, 70, euler_step, noise)
    before = torch.get_rng_state()
    fused = advance(*args, generator=rng(2), compile=True)
    assert torch.equal(fused, advance(*args, generator=rng(2), compile=True))
    assert torch.equal(torch.get_rng_state(), before), "torch's own generator was moved"
    other = advance(*args, generator=rng(3))
    for power in (1, 2):
        a, b = fused**power, other**power
        error = ((a.var(0) + b.var(0)) / len(x)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * error).all()
    module._fused.cache_clear()


def test_compiled_loop_of_an_ode_is_exact(monkeypatch):
    """dx = (t - x) dt over 70 steps, full functions and a rest, against the plain recursion."""
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    module._fused.cache_clear()
    sde, x, dt = SDE(lambda x, t: t - x, 0.0), 2.0, 0.8 / 70
    got = advance(sde, t64([x]), 0.2, 1.0, 70, compile=True)
    for k in range(70):
        x = x + (0.2 + k * dt - x) * dt
    assert got.item() == pytest.approx(x, rel=1e-12)
    assert advance(sde, t64([2.0]), 0.2, 1.0, 70).item() == pytest.approx(x, rel=1e-12)
    module._fused.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("noise", NOISES)
def test_compiled_on_a_gpu(noise):
    x = torch.full((1_000_000,), -1.0, device="cuda")
    law = OU.law(1.0, GaussianMixture([1.0], [-1.0], [0.0]))
    got = [advance(OU, x, 0.0, 1.0, 500, noise=noise, compile=c) for c in (False, True)]
    for y in got:
        assert abs(y.mean().item() - law.mean) < 5e-3
        assert abs(y.var().item() - law.variance) < 5e-3


# Flow and reversal, as they are used --------------------------------------------------------------


def test_probability_flow_of_a_gaussian_is_affine():
    """Each particle keeps its quantile: x_t = m_t + (s_t / s_0) (x_0 - m_0)."""
    start = GaussianMixture(t64([1.0]), t64([2.0]), t64([0.25]))
    flow = probability_flow(OU, lambda x, t: OU.law(t, start).score(x))
    x, law = torch.linspace(-1, 4, 11, dtype=F64), OU.law(1.0, start)
    got = advance(flow, x, 0.0, 1.0, 100, platen_step)
    expected = law.mean + (law.variance / start.variance).sqrt() * (x - start.mean)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_reversal_brings_the_data_back():
    start = GaussianMixture([0.3, 0.7], [-1.0, 1.0], [0.04, 0.09])
    vp, n = VariancePreserving(Linear()), 5000
    x = vp.law(1.0, start).sample((n,), generator=rng())
    for noise in (0.0, 1.0):
        back = reverse(vp, vp.score(start), 1.0, noise)
        y = advance(back, x, 0.0, 1.0, 80, platen_step, generator=rng(1))
        for phi, exact in ((torch.sign, 0.4 - 2 * (0.7 * 0.00043)), (torch.square, 1.075)):
            value = phi(y)
            assert abs(value.mean() - exact) < 4 * value.std() / math.sqrt(n) + 3e-3
        assert y.dtype == torch.float32


# Bad input ----------------------------------------------------------------------------------------

X = torch.ones(3)
PRICE2 = torch.ones(3, 2)
GBM = GeometricBrownian(1.0, 1.0)
SHIFT = SDE(lambda x, t: x, torch.ones(2, 1), matrix=True)


@pytest.mark.parametrize(
    "error, match, call",
    [
        (TypeError, "x:", lambda: euler_step(OU, torch.ones(3, dtype=int), 0.0, 0.1, X)),
        (TypeError, "x:", lambda: euler_step(OU, [1.0], 0.0, 0.1, X)),
        (ValueError, "dt", lambda: euler_step(OU, X, 0.0, 0.0, X)),
        (ValueError, "dt", lambda: platen_step(OU, X, 0.0, -0.1, X)),
        (ValueError, "dt", lambda: platen_step(OU, X, 0.0, NAN, X)),
        (ValueError, "eps", lambda: euler_step(OU, X, 0.0, 0.1, torch.ones(3, 1))),
        (ValueError, "eps", lambda: euler_step(SHIFT, PRICE2, 0.0, 0.1, PRICE2)),
        (TypeError, "eps", lambda: euler_step(OU, X, 0.0, 0.1, None)),
        (ValueError, "one noise a particle", lambda: platen_step(GBM, PRICE2, 0.0, 0.1, PRICE2)),
        (TypeError, "sde", lambda: simulate(None, X, [0.0, 1.0])),
        (TypeError, "step", lambda: simulate(OU, X, [0.0, 1.0], "euler")),
        (ValueError, "noise", lambda: simulate(OU, X, [0.0, 1.0], noise="gauss")),
        (
            ValueError,
            "weak order 1.*'three-point'",
            lambda: simulate(OU, X, [0.0, 1.0], platen_step, "two-point"),
        ),
        (ValueError, "times", lambda: simulate(OU, X, [0.0])),
        (ValueError, "times", lambda: simulate(OU, X, 1.0)),
        (ValueError, "times", lambda: simulate(OU, X, [[0.0, 1.0]])),
        (ValueError, "times.*increasing", lambda: simulate(OU, X, [0.0, 1.0, 1.0])),
        (ValueError, "times", lambda: simulate(OU, X, [0.0, NAN])),
        (ValueError, "x:", lambda: simulate(OU, torch.tensor([1.0, NAN]), [0.0, 1.0])),
        (ValueError, "x:", lambda: simulate(OU, torch.tensor(1.0), [0.0, 1.0])),
        (ValueError, "x:", lambda: simulate(OU, torch.ones(0), [0.0, 1.0])),
        (ValueError, "stop", lambda: advance(OU, X, 1.0, 1.0, 10)),
        (ValueError, "stop", lambda: advance(OU, X, 0.0, math.inf, 10)),
        (ValueError, "steps", lambda: advance(OU, X, 0.0, 1.0, 0)),
        (TypeError, "steps", lambda: advance(OU, X, 0.0, 1.0, 1.5)),
        (ValueError, "block", lambda: advance(OU, X, 0.0, 1.0, 10, block=0)),
        (ValueError, "x:.*shorter", lambda: advance(DoubleWell(0.0), 9 * X, 0.0, 9.0, 9)),
        (
            ValueError,
            "x:.*shorter",
            lambda: list(simulate(DoubleWell(0.0), 9 * X, [1.0 * k for k in range(9)])),
        ),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
