"""Rates at which particles become right: in the time step, and in their number.

Errors of E phi(x_1) for test functions phi, against a value known to 1e-7: from finite volumes for
the double well, from the log-normal law for geometric Brownian motion.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    TEST_FUNCTIONS,
    DoubleWell,
    FiniteVolumes,
    GeometricBrownian,
    advance,
    euler_step,
    platen_step,
)

NAMES = ("bump", "tanh", "cos")
WELL, PRICE = DoubleWell(0.8), GeometricBrownian(1.5, 0.5)
WELL_START = (-1.0, 0.2)  # mean and standard deviation
PRICE_START = 0.3
f64 = dict(dtype=torch.float64)


def well_reference(cells: int = 2000, substeps: int = 500) -> dict[str, list[float]]:
    """E phi(x_1) by finite volumes: on three grids, extrapolated (h^2), and its change."""
    one = torch.ones(1, **f64)
    start = GaussianMixture(one, WELL_START[0] * one, WELL_START[1] ** 2 * one)
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    for k in (1, 2, 4):
        grid = FiniteVolumes(WELL, [(-4.0, 4.0, cells * k)])
        *_, p = grid.evolve(grid.project(start), [0.0, 1.0], substeps=substeps * k)
        for name in NAMES:
            values[name].append(grid.expect(p, TEST_FUNCTIONS[name]))
    return {
        name: dict(
            grids=v, cells=[cells, 2 * cells, 4 * cells], value=v[2] + (v[2] - v[1]) / 3,
            change=abs((v[2] + (v[2] - v[1]) / 3) - (v[1] + (v[1] - v[0]) / 3)),
        )
        for name, v in values.items()
    }  # fmt: skip


def price_reference() -> dict[str, dict]:
    """E phi(x_1) of the log-normal law by the trapezoid rule, and its change on a finer grid."""
    law, found = PRICE.law(1.0, PRICE_START), {}
    for name in NAMES:
        both = []
        for points in (20_001, 40_001):
            z = torch.linspace(-12, 12, points, **f64)
            w = torch.exp(-(z**2) / 2)
            both.append(float(w @ TEST_FUNCTIONS[name]((law.loc + law.scale * z).exp()) / w.sum()))
        found[name] = dict(value=both[1], change=abs(both[1] - both[0]))
    return found


CASES = {"double well": WELL, "geometric Brownian motion": PRICE}


def started(case: str, n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    if case == "double well":
        return WELL_START[0] + WELL_START[1] * torch.randn(n, device=device, dtype=dtype)
    return torch.full((n,), PRICE_START, device=device, dtype=dtype)


class Means:
    """Means of test functions over batches of particles, with standard errors."""

    def __init__(self) -> None:
        self.n, self.first, self.second = 0, 0.0, 0.0

    def add(self, values: list[Tensor]) -> None:
        """Values of each function, (n,)."""
        self.n += len(values[0])
        self.first += np.array([v.sum(**f64).item() for v in values])
        self.second += np.array([v.double().square().sum().item() for v in values])

    def read(self) -> tuple[list[float], list[float]]:
        mean = self.first / self.n
        return mean.tolist(), np.sqrt((self.second / self.n - mean**2) / self.n).tolist()


def line(h: list[float], error: list[float], se: list[float]) -> dict:
    """Slope of log |error| against log h by least squares, and what the errors' errors do to it.

    Of the points that are more than 10 standard errors from zero, all with the same weight.
    """
    h, error, se = (np.abs(np.array(v)) for v in (h, error, se))
    used = error > 10 * se
    if used.sum() < 2:
        return dict(slope=None, slope_se=None, points=int(used.sum()))
    x = np.log(h[used]) - np.log(h[used]).mean()
    w = x / (x @ x)
    spread = np.sqrt(w**2 @ (se[used] / error[used]) ** 2)
    return dict(
        slope=float(w @ np.log(error[used])), slope_se=float(spread), points=int(used.sum())
    )


def plain(case: str, step: Callable, noise: str, counts: tuple, batch: int, batches: int,
          device: torch.device, reference: dict) -> dict:  # fmt: skip
    """Errors of E phi with independent particles, float32, for numbers of steps ``counts``."""
    rows = []
    for steps in counts:
        means = Means()
        for _ in range(batches):
            x = started(case, batch, device, torch.float32)
            fused = device.type == "cuda" and step is euler_step and noise == "normal"
            x = advance(CASES[case], x, 0.0, 1.0, steps, step, noise, compile=fused)
            means.add([TEST_FUNCTIONS[name](x) for name in NAMES])
        mean, se = means.read()
        error = [m - reference[name]["value"] for m, name in zip(mean, NAMES, strict=True)]
        rows.append(dict(steps=steps, error=error, se=se))
    fits = {
        name: line([1 / r["steps"] for r in rows], [r["error"][k] for r in rows],
                   [r["se"][k] for r in rows])
        for k, name in enumerate(NAMES)
    }  # fmt: skip
    return dict(case=case, step=step.__name__, noise=noise, particles=batch * batches, rows=rows,
                fits=fits)  # fmt: skip


def coupled(
    case: str, step: Callable, counts: tuple, batch: int, batches: int, device: torch.device
) -> dict:
    """Differences E phi(h) - E phi(h / 2) with common random numbers, float64.

    All of ``counts``, each twice the one before, follow the same Brownian motion: the noise of a
    longer step is the sum of the noises of the two steps inside it, over sqrt(2). The differences
    have the weak order of the step, and a far smaller spread than phi itself.
    """
    sde, ratio = CASES[case], counts[-1] // counts[0]

    def block(states: list[Tensor], t: Tensor) -> list[Tensor]:
        """One step of the coarsest level, and all of the others' inside it."""
        noises = [torch.randn_like(states[0]) for _ in range(ratio)]
        levels = [noises]
        while len(levels) < len(counts):
            fine = levels[-1]
            levels.append([(a + b) / 2**0.5 for a, b in zip(fine[::2], fine[1::2], strict=True)])
        moved = []
        for x, steps, eps in zip(states, counts, reversed(levels), strict=True):
            for k, e in enumerate(eps):
                x = step(sde, x, t + k / steps, 1 / steps, e)
            moved.append(x)
        return moved

    means, ends = Means(), Means()
    for _ in range(batches):
        start = started(case, batch, device, torch.float64)
        states = [start] * len(counts)
        for k in range(counts[0]):
            states = block(states, torch.tensor(k / counts[0], device=device, **f64))
        phi = [[TEST_FUNCTIONS[name](x) for name in NAMES] for x in states]
        pairs = itertools.pairwise(phi)
        means.add([a - b for both in pairs for a, b in zip(*both, strict=True)])
        ends.add(phi[-1])
    mean, se = (np.array(v).reshape(-1, len(NAMES)) for v in means.read())
    rows = [
        dict(steps=steps, difference=mean[k].tolist(), se=se[k].tolist())
        for k, steps in enumerate(counts[:-1])
    ]
    fits = {
        name: line([1 / c for c in counts[:-1]], mean[:, k], se[:, k])
        for k, name in enumerate(NAMES)
    }
    finest = dict(zip(("mean", "se"), ends.read(), strict=True)) | dict(steps=counts[-1])
    return dict(case=case, step=step.__name__, particles=batch * batches, rows=rows, fits=fits,
                finest=finest)  # fmt: skip


def sampling(sizes: tuple, repeats: int, steps: int, device: torch.device, reference: dict) -> dict:
    """Root mean square error of the mean of N particles, N = ``sizes``, over ``repeats`` runs."""
    squares = np.zeros((len(sizes), len(NAMES), repeats))
    for r in range(repeats):
        x = started("double well", sizes[-1], device, torch.float32)
        x = advance(WELL, x, 0.0, 1.0, steps, platen_step, compile=device.type == "cuda")
        for k, name in enumerate(NAMES):
            phi = TEST_FUNCTIONS[name](x)
            for j, n in enumerate(sizes):
                error = phi[:n].mean(**f64).item() - reference[name]["value"]
                squares[j, k, r] = error**2
    rms = np.sqrt(squares.mean(-1))
    # the mean of R squares of normal numbers has relative spread sqrt(2 / R), its root half of that
    fits = {
        name: line(list(sizes), rms[:, k], rms[:, k] / math.sqrt(2 * repeats))
        for k, name in enumerate(NAMES)
    }
    return dict(sizes=list(sizes), repeats=repeats, steps=steps, step="platen_step",
                rms=rms.tolist(), fits=fits)  # fmt: skip


FULL = dict(
    batch=2**27, batches=8, counts=(32, 64, 128, 256), price_counts=(8, 16, 32, 64, 128),
    platen_counts=(8, 16, 32, 64), small=2**24, smalls=24, levels=(64, 128, 256, 512),
    price_levels=(8, 16, 32, 64), sizes=tuple(2**k for k in range(10, 28)), repeats=64,
)  # fmt: skip
SMOKE = dict(
    batch=2**12, batches=2, counts=(2, 4), price_counts=(2, 4), platen_counts=(2, 4), small=2**10,
    smalls=2, levels=(2, 4, 8), price_levels=(2, 4, 8), sizes=(2**6, 2**8), repeats=3,
)  # fmt: skip


def second_order(device: torch.device, preset: str, seed: int, say) -> list[dict]:
    """Platen's step by differences of coupled levels, for both processes."""
    torch.manual_seed(seed + 1)
    p, out = FULL if preset == "full" else SMOKE, []
    for case, levels, batches in (
        ("double well", p["levels"], p["smalls"]),
        ("geometric Brownian motion", p["price_levels"], max(1, p["smalls"] // 4)),
    ):
        out.append(coupled(case, platen_step, levels, p["small"], batches, device))
        slopes = {k: f["slope"] for k, f in out[-1]["fits"].items()}
        say(f"{case} Platen coupled {slopes} last {out[-1]['rows'][-1]}")
    return out


def measure(device: torch.device, preset: str, seed: int, say) -> dict:
    torch.manual_seed(seed)
    p = FULL if preset == "full" else SMOKE
    grid = dict(cells=2000, substeps=500) if preset == "full" else dict(cells=200, substeps=50)
    well, price = well_reference(**grid), price_reference()
    say(f"references {well} {price}")
    out = dict(functions=list(NAMES), references={"double well": well}, plain=[])
    out["references"]["geometric Brownian motion"] = price
    shots = (
        ("double well", euler_step, "normal", p["counts"]),
        ("double well", euler_step, "two-point", p["counts"]),
        ("double well", platen_step, "normal", p["platen_counts"]),
        ("geometric Brownian motion", euler_step, "normal", p["price_counts"]),
    )
    for case, step, noise, counts in shots:
        reference = out["references"][case]
        found = plain(case, step, noise, counts, p["batch"], p["batches"], device, reference)
        out["plain"].append(found)
        slopes = {k: f["slope"] for k, f in found["fits"].items()}
        say(f"{case} {step.__name__} {noise} {slopes} last {found['rows'][-1]}")
    out["coupled"] = second_order(device, preset, seed, say)
    out["sampling"] = sampling(p["sizes"], p["repeats"], 256, device, well)
    say(f"sampling {out['sampling']['fits']}")
    return out
