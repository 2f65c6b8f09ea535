"""How many Euler steps a second: the Ornstein-Uhlenbeck process in every way we know, float32."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from kexue.fokker_planck import OrnsteinUhlenbeck, advance, euler_step

THETA, SIGMA, DT, START = 1.0, math.sqrt(2.0), 1 / 128, 2.0
A, B = 1 - THETA * DT, SIGMA * math.sqrt(DT)  # x <- A x + B eps


def exact(steps: int, two_point: bool = False) -> tuple[float, float, float]:
    """Mean, variance and fourth cumulant of the discrete process after ``steps`` Euler steps."""
    squares, fourths = (B**k * (1 - A ** (k * steps)) / (1 - A**k) for k in (2, 4))
    return START * A**steps, squares, -2 * fourths if two_point else 0.0


def deviations(x: torch.Tensor, steps: int, two_point: bool = False) -> tuple[float, float]:
    """Sample mean and variance against the exact ones, in standard errors."""
    mean, variance, fourth = exact(steps, two_point)
    m = x.mean(dtype=torch.float64).item()
    parts = [(p.double() - m).square().sum() for p in x.split(2**24)]
    v = torch.stack(parts).sum().item() / (len(x) - 1)
    z_mean = (m - mean) / math.sqrt(variance / len(x))
    return z_mean, (v - variance) / math.sqrt((fourth + 2 * variance**2) / len(x))


def clock(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` calls, after two that are not counted."""
    seconds = []
    for k in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if k >= 2:
            seconds.append(time.perf_counter() - begin)
    return seconds


def ways(device: torch.device, n: int, steps: int, seed: int) -> dict[str, tuple]:
    """Name to (function of x that returns x after some steps, number of steps, two-point?)."""
    ou = OrnsteinUhlenbeck(THETA, SIGMA)
    still = OrnsteinUhlenbeck(THETA, 0.0)

    def euler(x: torch.Tensor) -> torch.Tensor:
        return euler_step(ou, x, 0.0, DT, torch.randn_like(x))

    def eager(x: torch.Tensor) -> torch.Tensor:
        for _ in range(8):
            x = euler(x)
        return x

    def library(steps: int, sde=ou, **options) -> Callable:
        return lambda x: advance(sde, x, 0.0, steps * DT, steps, **options)

    found = {
        "eager": (eager, 8, False),
        "advance, eager": (library(8), 8, False),
        "advance, eager, two-point": (library(32, noise="two-point"), 32, True),
    }
    if device.type != "cuda":
        return found

    def repeated(step: Callable, times: int) -> Callable:
        def work(x: torch.Tensor) -> torch.Tensor:
            for _ in range(times):
                x = step(x)
            return x

        return work

    eight = torch.compile(quantiles, dynamic=False)
    one = torch.compile(euler, dynamic=False)
    quiet = torch.compile(lambda x: euler_step(still, x, 0.0, DT, None), dynamic=False)
    found |= {
        "compiled, one step a kernel": (repeated(one, 32), 32, False),
        "compiled, one step a kernel, no noise": (repeated(quiet, 32), 32, None),
        "compiled, state in registers": (library(steps, compile=True), steps, False),
        "compiled, state in registers, two-point": (
            library(steps, noise="two-point", compile=True), steps, True),
        "compiled, state in registers, quantiles": (repeated(eight, steps // 8), steps, False),
        "compiled, state in registers, no noise": (
            library(steps, still, compile=True), steps, None),
    }  # fmt: skip
    import kernels

    def triton(noise: str, steps: int, **options) -> tuple:
        def work(x: torch.Tensor) -> torch.Tensor:
            return kernels.ornstein_uhlenbeck(x.clone(), A, B, steps, seed, noise, **options)

        return work, steps, {"normal": False, "two-point": True}.get(noise)

    return found | {
        "kernel": triton("normal", steps),
        "kernel, seven rounds": triton("normal", steps, rounds=7),
        "kernel, library sine": triton("normal", steps, fast=False),
        "kernel, only noise": triton("sum", steps),
        "kernel, only Philox": triton("words", steps),
        "kernel, two-point": triton("two-point", 16 * steps),
    }


def quantiles(x: torch.Tensor) -> torch.Tensor:
    """Eight steps with normal numbers read off at random quantiles: no sine, two from one int64.

    23 bits each, (2 w + 1) 2^-23 - 1 with 0 <= w < 2^23, exact in float32: none beyond 5.2.
    """
    for _ in range(4):
        bits = torch.randint(2**62, x.shape, device=x.device)
        for word in (bits >> 31, bits):
            u = (2 * (word & (2**23 - 1)).to(torch.int32) + 1).to(x.dtype) * 2.0**-23 - 1
            x = A * x + B * math.sqrt(2) * torch.erfinv(u)
    return x


def torchsde_way(device: torch.device, n: int) -> tuple | None:
    """torchsde's Euler scheme with its Brownian motion, if it is installed; with its version."""
    try:
        import torchsde
    except ImportError:
        return None
    from importlib.metadata import version

    class Process(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, x):
            return -THETA * x

        def g(self, t, x):
            return torch.full_like(x, SIGMA)

    process, times = Process(), torch.tensor([0.0, 8 * DT], device=device)

    def work(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torchsde.sdeint(process, x[:, None], times, method="euler", dt=DT)[-1][:, 0]

    return work, 8, False, version("torchsde")


def bandwidth(device: torch.device, n: int, repeats: int) -> float:
    """Bytes a second of a copy, read and write counted."""
    x, y = torch.randn(2, n, device=device)
    return 8 * n / statistics.median(clock(lambda: y.copy_(x), device, repeats))


def measure(device: torch.device, n: int, steps: int, repeats: int, seed: int, say) -> dict:
    """Every way, timed and checked; the raw seconds are kept."""
    torch.manual_seed(seed)
    copy = bandwidth(device, n, repeats)
    out = dict(
        particles=n, theta=THETA, sigma=SIGMA, dt=DT, start=START, repeats=repeats,
        copy_bytes_per_second=copy, ways={},
    )  # fmt: skip
    table = ways(device, n, steps, seed)
    other = torchsde_way(device, n)
    if other is not None:
        out["torchsde_version"] = other[3]
        table["torchsde"] = other[:3]
    for name, (work, count, two_point) in table.items():
        x = torch.full((n // 2 if name == "torchsde" else n,), START, device=device)
        begin = time.perf_counter()
        end = work(x)
        first = time.perf_counter() - begin  # with compilation
        seconds = clock(partial(work, x), device, repeats)
        row = dict(particles=len(x), steps=count, seconds=seconds)
        if two_point is not None:
            row["z_mean"], row["z_variance"] = deviations(end, count, two_point)
        row["first_call_seconds"] = first
        row["rate"] = len(x) * count / statistics.median(row["seconds"])
        out["ways"][name] = row
        say(f"{name}: {row['rate']:.3g} particle-steps/s, {row['rate'] * 8 / copy:.2f} of the "
            f"memory limit, z {row.get('z_mean', 0):+.1f} {row.get('z_variance', 0):+.1f}, "
            f"first call {first:.1f} s")  # fmt: skip
        del x, end
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return out
