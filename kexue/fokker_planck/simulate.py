"""Particles that follow an SDE: an Euler step, one of second order, and the loops over them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.fokker_planck._noise import NOISES, Noise
from kexue.fokker_planck.sde import SDE, check_sde

__all__ = ["advance", "euler_step", "platen_step", "simulate"]

Step = Callable[[SDE, Tensor, Any, Any, Tensor | None], Tensor]
BLOCK = 2**15  # numbers at a time on a CPU: state, noise and drift then stay in a core's cache
# Steps in one compiled function. An int64 has coin flips for 62. More than 4 steps of normal noise
# are no faster (measured on an H100), and the compiler's time grows steeply with them.
UNROLL = {"normal": 4, "two-point": 32, "three-point": 4}


def euler_step(sde: SDE, x: Tensor, t: Any, dt: Any, eps: Tensor | None) -> Tensor:
    r"""x + f(x, t) dt + g(x, t) sqrt(dt) eps   (eq-fp-euler).

    Weak order 1: the error of E phi(x_T) shrinks like dt. That needs of ``eps`` only the first
    three moments of N(0, 1), so +1 or -1 will do. Source: Kloeden and Platen 1992, section 14.1.

    Args:
        x: the state, (n,) or (n, d). t, dt: time and length > 0 of the step, floats or 0-d tensors.
        eps: the noise, like ``x``; (n, k) for a matrix g of shape (..., d, k); None without noise.

    Raises:
        TypeError, ValueError: shapes that do not fit, dt <= 0. The values of x and eps are not
            looked at, so that nothing waits for a GPU; ``simulate`` and ``advance`` do that.

    >>> sde = SDE(lambda x, t: -x, 1.0)
    >>> euler_step(sde, torch.tensor([1.0]), 0.0, 0.25, torch.tensor([2.0]))
    tensor([1.7500])
    """
    f, g = _coefficients(sde, x, t, dt, eps)
    return x + f * dt + sde.spread(g * dt**0.5, eps)


def platen_step(sde: SDE, x: Tensor, t: Any, dt: Any, eps: Tensor | None) -> Tensor:
    r"""Platen's explicit step of weak order 2   (Kloeden and Platen 1992, equation 15.1.1).

    With the Euler step x~ and x+- = x + f dt +- g sqrt(dt), and f~, g+, g- at t + dt,

    x + (f + f~) dt / 2 + (g+ + g- + 2 g) sqrt(dt) eps / 4 + (g+ - g-) sqrt(dt) (eps^2 - 1) / 4.

    If g does not depend on x, Heun's method: x + (f + f~) dt / 2 + (g + g~) sqrt(dt) eps / 2.
    Needs of ``eps`` the first five moments of N(0, 1): +-sqrt(3) with 1/6 each, else 0, will do.
    Arguments and errors as in ``euler_step``.

    Raises:
        ValueError: g depends on x and the noise is not scalar (one noise a particle: numbers of
            shape (n,), or a matrix with k = 1); that needs more terms, equation 15.1.3 there.

    >>> sde = SDE(lambda x, t: -x, 1.0)
    >>> platen_step(sde, torch.tensor([1.0]), 0.0, 0.25, torch.tensor([2.0]))
    tensor([1.6562])
    """
    f, g = _coefficients(sde, x, t, dt, eps)
    s, root = t + dt, dt**0.5
    ahead = x + f * dt
    mean_f = (f + sde.drift(ahead + sde.spread(g * root, eps), s)) / 2
    if sde.additive:
        return x + mean_f * dt + sde.spread((g + sde.diffusion(x, s)) * (root / 2), eps)
    if x.ndim > 1 and not (sde.matrix and g.shape[-1] == 1):
        raise ValueError(
            f"sde: got a diffusion that depends on x, for a state of shape {tuple(x.shape)}; "
            "platen_step needs one noise a particle there (or additive=True declared)"
        )
    side = g[..., 0] * root if sde.matrix else g * root
    up, down = sde.diffusion(ahead + side, s), sde.diffusion(ahead - side, s)
    kick = sde.spread((up + down + 2 * g) * (root / 4), eps)
    return x + mean_f * dt + kick + sde.spread((up - down) * (root / 4), eps**2 - 1)


WEAK_ORDER = {euler_step: 1, platen_step: 2}


def simulate(
    sde: SDE,
    x: Tensor,
    times: Any,
    step: Step = euler_step,
    noise: str = "normal",
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield the state at every time of ``times``, the start ``x`` included.

    Args:
        x: the particles at the first time, (n,) or (n, d).
        times: increasing times, two or more.
        step: ``euler_step``, ``platen_step``, or a function with their arguments.
        noise: "normal", "two-point" (+-1; weak order 1) or "three-point" (+-sqrt(3) and 0; 2).
        generator: source of the noise.

    Runs without gradients. Raises at once, not at the first state, for bad arguments.

    Raises:
        TypeError, ValueError: shapes, values or names; noise too crude for the order of ``step``;
            while running, a state that is not finite any more (the step is too long).

    >>> sde = SDE(lambda x, t: -x, 0.0)
    >>> [round(x.item(), 4) for x in simulate(sde, torch.ones(1), [0.0, 0.5, 1.0])]
    [1.0, 0.5, 0.25]
    """
    x = particles(sde, x, step, noise)
    times = _check.tensor("times", times, dtype=torch.float64).tolist()
    if not isinstance(times, list) or len(times) < 2 or isinstance(times[0], list):
        raise ValueError(f"times: got {times}, needs a list of at least two times")
    if any(s <= t for t, s in itertools.pairwise(times)):
        raise ValueError("times: needs strictly increasing times")
    draw = source(sde, x, times[0], noise, generator)

    @torch.no_grad()
    def states() -> Iterator[Tensor]:
        state = x
        yield state
        for t, s in itertools.pairwise(times):
            state = _finite(step(sde, state, t, s - t, draw()), s)
            yield state

    return states()


@torch.no_grad()
def advance(
    sde: SDE,
    x: Tensor,
    start: float,
    stop: float,
    steps: int,
    step: Step = euler_step,
    noise: str = "normal",
    generator: torch.Generator | None = None,
    compile: bool = False,
    block: int | None = None,
) -> Tensor:
    """The state after ``steps`` equal steps from ``start`` to ``stop``, and only that: fast.

    On a CPU the particles go in blocks that stay in a core's cache, each through all steps. Normal
    noise is then most of the time; "two-point", of the same weak order under ``euler_step``, costs
    about a tenth of it, and the whole a third.

    Args:
        sde, x, step, noise, generator: as in ``simulate``. With one block the noise is that of
            ``simulate`` too.
        compile: run 4 steps or more as one function of ``torch.compile``, for a GPU: where the SDE
            acts on each number alone the state then stays in registers. Compiling takes seconds,
            once for an SDE; its functions must be ones that torch.compile can trace.
        block: particles at a time, which is what f and g see; by default 2^15 numbers on a CPU, all
            at once elsewhere.

    With a generator the result is reproducible. Another ``block``, or ``compile``, draws the same
    law in another order, and so gives other numbers.

    Raises:
        TypeError, ValueError: as ``simulate``; stop <= start; a last state that is not finite.

    >>> sde = SDE(lambda x, t: -x, 1.0)
    >>> x = advance(sde, torch.zeros(10_000), 0.0, 5.0, 100, noise="two-point")
    >>> x.shape, bool(abs(x.var() - 0.5) < 0.05)
    (torch.Size([10000]), True)
    """
    x = particles(sde, x, step, noise)
    start, stop = _check.real("start", start), _check.real("stop", stop)
    if stop <= start:
        raise ValueError(f"stop: got {stop:g}, needs a time after start = {start:g}")
    dt = (stop - start) / _check.integer("steps", steps, low=1)
    if block is None:
        block = len(x) if x.device.type != "cpu" else max(1, BLOCK * len(x) // x.numel())
    block = _check.integer("block", block, low=1)
    if compile:
        return _finite(_advance_compiled(sde, x, start, dt, steps, step, noise, generator), stop)
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    for state, place in zip(x.split(block), result.split(block), strict=True):
        draw = source(sde, state, start, noise, generator)
        if step is euler_step:
            place.copy_(state)
            for k in range(steps):
                _euler_in_place(sde, place, start + k * dt, dt, draw())
        else:
            for k in range(steps):
                state = step(sde, state, start + k * dt, dt, draw())
            place.copy_(state)
    return _finite(result, stop)


def _euler_in_place(sde: SDE, x: Tensor, t: float, dt: float, eps: Tensor | None) -> None:
    """``euler_step``, written over x: each sum is one pass over memory and allocates nothing."""
    f, g = _coefficients(sde, x, t, dt, eps)
    kick = sde.spread(g, eps) if isinstance(g, Tensor) else eps  # before x changes: g may be x
    x.add_(f, alpha=dt)
    if kick is not None:
        x.add_(kick, alpha=dt**0.5 * (1.0 if isinstance(g, Tensor) else g))


def _advance_compiled(sde, x, start, dt, steps, step, noise, generator) -> Tensor:
    """``advance`` by compiled functions of a few steps, with the noise made inside them."""
    most = UNROLL[noise]
    seeded = generator is not None
    with torch.random.fork_rng(
        devices=[x.device] if x.device.type == "cuda" else [], enabled=seeded
    ):
        if seeded:  # compiled functions know no generator but torch's own
            torch.manual_seed(torch.randint(2**63 - 1, (), generator=generator).item())
        times = torch.tensor([start + k * dt for k in range(0, steps, most)], dtype=x.dtype)
        dt = torch.tensor(dt, dtype=x.dtype, device=x.device)
        for k, t in zip(range(0, steps, most), times.to(x.device), strict=True):
            x = _fused(sde, step, noise, min(most, steps - k))(x, t, dt)
    return x


@functools.lru_cache(maxsize=16)
def _fused(sde: SDE, step: Step, noise: str, count: int) -> Callable:
    """``count`` steps as one compiled function of (x, t, dt)."""

    def steps(x: Tensor, t: Tensor, dt: Tensor) -> Tensor:
        shape = noise_shape(sde, x, t)
        bits = torch.randint(2**62, shape, device=x.device) if noise == "two-point" else None
        for k in range(count):
            if sde.deterministic:
                eps = None
            elif noise == "normal":
                eps = torch.randn(shape, dtype=x.dtype, device=x.device)
            elif noise == "two-point":
                eps = (2 * ((bits >> k) & 1) - 1).to(x.dtype)
            else:
                side = torch.randint(6, shape, device=x.device)
                eps = 3**0.5 * ((side == 5).to(x.dtype) - (side == 0).to(x.dtype))
            x = step(sde, x, t + k * dt, dt, eps)
        return x

    # torch.compile keeps 8 versions of one piece of code, then gives up: each gets its own piece.
    steps.__code__ = steps.__code__.replace()
    return torch.compile(steps, dynamic=False)


def _coefficients(sde: SDE, x: Tensor, t: Any, dt: Any, eps: Tensor | None) -> tuple[Tensor, Any]:
    """f and g, and a check of everything that a step was given, values aside."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x: got {getattr(x, 'dtype', x)!r}, needs a floating-point tensor")
    if not isinstance(dt, Tensor) and not _check.real("dt", dt) > 0:
        raise ValueError(f"dt: got {dt:g}, needs a length > 0")
    f, g = sde.drift(x, t), sde.diffusion(x, t)
    if not sde.deterministic:
        if not isinstance(eps, Tensor):
            raise TypeError(f"eps: got {type(eps).__name__}, needs a tensor of noise")
        shape = x.shape[:-1] + g.shape[-1:] if sde.matrix else x.shape
        if eps.shape != shape:
            raise ValueError(f"eps: got shape {tuple(eps.shape)}, needs {tuple(shape)}")
    return f, g


def particles(sde: Any, x: Any, step: Any, noise: Any) -> Tensor:
    """Check what ``simulate`` and ``advance`` share; return the particles."""
    check_sde(sde)
    x = _check.tensor("x", x)
    if x.ndim == 0:
        raise ValueError("x: got a single number, needs particles of shape (n,) or (n, d)")
    if not callable(step):
        raise TypeError(f"step: got {step!r}, needs a step such as euler_step")
    order = WEAK_ORDER.get(step, 0)
    if NOISES[_check.one_of("noise", noise, NOISES)] < order and not sde.deterministic:
        raise ValueError(
            f"noise: got {noise!r}, good for weak order {NOISES[noise]}, but the step has order "
            f"{order}; needs one of {', '.join(repr(n) for n in NOISES if NOISES[n] >= order)}"
        )
    return x


def source(sde: SDE, x: Tensor, t: float, noise: str, generator: Any) -> Callable:
    """A function that returns the noise of the next step."""
    if sde.deterministic:
        return lambda: None
    return Noise(noise, noise_shape(sde, x, t), x, generator).draw


def noise_shape(sde: SDE, x: Tensor, t: Any) -> torch.Size:
    """Shape of the noise of one step: k numbers a particle for a matrix (d, k)."""
    return x.shape[:-1] + sde.diffusion(x, t).shape[-1:] if sde.matrix else x.shape


def _finite(x: Tensor, t: float) -> Tensor:
    if not torch.isfinite(x).all():
        raise ValueError(f"x: left the finite numbers before t = {t:g}, needs shorter steps")
    return x
