"""The Fokker-Planck equation by particles and by cells: time at equal error.

``python benchmarks/fokker_planck.py``, CPU seconds on one thread, everything in one process:

1. The double well dx = (x - x^3) dt + 0.8 dw from N(-1, 0.2^2) to t = 1, as a density. Euler's
   particles, with as many steps as make the bias smaller than the sampling error, against finite
   volumes with the fewest steps and cells that reach the particles' error. Both are read the same
   way, the particles in the best number of bins; their time is that of the steps alone.
2. The Euler step: ``advance`` against torchsde, at equal paths and steps. Noise of two points
   against normal noise; Platen's step against Euler's, at equal bias.
3. One expectation in d dimensions to a relative error: up to which d are cells faster? Cells: the
   coarsest grid within the tolerance, set-up included. Particles: Platen's step, as many paths and
   steps as make |bias| + 2 standard errors the tolerance, with the least work.

The biases are computed without sampling, see ``_diffusions``. About three CPU minutes.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from typing import Any

import _diffusions as known
import numpy as np
import torch
from _diffusions import BOX, FINE, WELL
from _dimensions import one_dimension
from _table import Median, Row, cpu_seconds, peer, report

from kexue.fokker_planck import (
    FiniteVolumes,
    advance,
    euler_step,
    platen_step,
)

LADDER = [round(2 ** (k / 4)) for k in range(8, 48)]  # numbers of steps to choose from
BIAS = 1e-3  # of Platen's step and Euler's
TOLERANCES = (1e-3, 3e-4)  # relative, of an expectation in d dimensions


def median_seconds(fn: Callable[[], Any], repeats: int) -> Median:
    """Median CPU seconds of a call, after one that does not count."""
    fn()
    return Median(cpu_seconds(fn, repeats)[1])


# 1. A density ----------------------------------------------------------------------------------


def solve(cells: int, steps: int) -> np.ndarray:
    """Finite volumes from nothing: cells, start, rates, steps. The masses of the cells."""
    grid = FiniteVolumes(WELL, [(-BOX, BOX, cells)])
    start = grid.project(known.start_density, points=1, tolerance=0.01)
    *_, p = grid.evolve(start, [0.0, 1.0], steps)
    return p.numpy() * grid.volume


def solve_seconds(cells: int, steps: int) -> tuple[Median, Median]:
    """CPU seconds of ``solve``, and of its last part alone: the rates and steps."""
    grid = FiniteVolumes(WELL, [(-BOX, BOX, cells)])
    start = grid.project(known.start_density, points=1, tolerance=0.01)
    repeats = max(5, min(1001, 40_000_000 // (cells * steps * 20)))
    return (
        median_seconds(lambda: solve(cells, steps), repeats),
        median_seconds(lambda: list(grid.evolve(start, [0.0, 1.0], steps)), repeats),
    )


def fewest(error: float, law: np.ndarray) -> tuple[int, int]:
    """The fewest steps, and with them the fewest cells, for an L1 error of at most ``error``.

    Not by luck: four cells more, and one step more, must do too.
    """
    for steps in range(2, 400):
        for cells in range(16, 400, 4):
            trials = (cells, steps), (cells + 4, steps), (cells, steps + 1)
            if all(known.l1(solve(*trial), law) <= error for trial in trials):
                return cells, steps
    raise AssertionError(f"finite volumes do not reach {error}")


def particles(n: int, law: np.ndarray, bias: dict[int, float]) -> dict:
    """Euler's particles: steps for n of them, bins, L1 error, seconds."""
    draws = [known.exact_draws(law, n, seed) for seed in range(3)]
    sampling = statistics.median(known.l1_of_particles(x, law)[0] for x in draws)
    steps = next(k for k in LADDER if bias[k] <= sampling)
    found, seconds = [], []
    for seed in range(3):
        x, generator = known.start_particles(n, seed), torch.Generator().manual_seed(seed + 9)
        y, times = cpu_seconds(
            lambda x=x, g=generator: advance(WELL, x, 0.0, 1.0, steps, generator=g), 1
        )
        found.append(known.l1_of_particles(y, law))
        seconds += times
    error, bins = statistics.median_low(found)
    return {
        "paths": n,
        "steps": steps,
        "bins": bins,
        "sampling_l1": sampling,
        "bias_l1": bias[steps],
        "l1": error,
        "least_l1": min(found)[0],
        "seconds": Median(seconds),
    }


def density(law: np.ndarray, density_at: Callable) -> tuple[list[Row], dict]:
    """Rows and curves of error against time."""
    bias = {k: known.euler_bias(k, density_at) for k in LADDER if k <= 600}
    clouds = [particles(n, law, bias) for n in (10_000, 100_000, 1_000_000, 10_000_000)]
    grids = []
    for cells, steps in ((24, 4), (32, 6), (48, 8), (64, 10), (96, 14), (128, 20), (192, 30),
                         (256, 40), (384, 60), (512, 80), (768, 120), (1024, 160)):  # fmt: skip
        seconds, bare = solve_seconds(cells, steps)
        error = known.l1(solve(cells, steps), law)
        grids.append({"cells": cells, "steps": steps, "l1": error, "seconds": seconds,
                      "seconds_without_setup": bare})  # fmt: skip
    rows = []
    for cloud in clouds[2:]:
        n, steps = cloud["paths"], cloud["steps"]
        x = known.start_particles(n, 0)
        runs = {
            "Euler, torchsde": lambda x=x, k=steps: known.torchsde_euler(x, k),
            # Its bias is half as large again, see steps_compared.
            "Euler, two-point noise": lambda x=x, k=steps * 3 // 2: advance(
                WELL, x, 0.0, 1.0, k, noise="two-point"
            ),
        }
        # name: seconds, L1 error, bar. Our own Euler step is several times faster than a plain
        # one, so for 1e6 paths it has no bar; 1e7 paths of torchsde take a minute and are left out.
        peers = {"Euler, advance": (cloud["seconds"], cloud["l1"], 1e4 if n > 1_000_000 else None)}
        for name, run in runs.items() if n == 1_000_000 else ():
            y, times = cpu_seconds(run, 3)
            error = known.l1_of_particles(y, law)[0]
            assert abs(error / cloud["l1"] - 1) < 0.4, f"{name}: L1 {error}"
            bar = 1e4 if "torchsde" in name else None
            peers[name] = Median(times), error, bar
        # Cells have to reach the smallest error of any run.
        cells, few = fewest(min(cloud["least_l1"], *(error for _, error, _ in peers.values())), law)
        ours, bare = solve_seconds(cells, few)
        reached = known.l1(solve(cells, few), law)
        for name, (seconds, error, bar) in peers.items():
            label = f"density, error of 1e{len(str(n)) - 1} paths"
            rows.append(Row(label, name, "CPU s", seconds, ours, bar, bar and 10 * bar))
            rows.append(Row("", "", "L1", error, reached, 1.0))
            rows.append(Row("  without set-up", "", "CPU s", seconds, bare))
        cloud |= {"cells": cells, "cell_steps": few, "cells_l1": reached, "cells_seconds": ours}
        cloud |= {"cells_seconds_without_setup": bare}
    return rows, {"particles": clouds, "cells": grids}


# 2. Steps --------------------------------------------------------------------------------------


def check(x: torch.Tensor, exact: dict[str, float], bias: float) -> None:
    """Assert that particles have the law at t = 1 up to the bias and four standard errors."""
    for name, phi in known.PHIS.items():
        value = phi(x.double())
        error = abs(value.mean().item() - exact[name])
        assert error < bias + 4 * value.std().item() / math.sqrt(len(x)), (
            f"E {name}: off by {error}"
        )


def compared(runs: dict[str, Callable[[], torch.Tensor]], exact: dict, biases: dict) -> dict:
    """Median CPU seconds of each run, taken in turns; each checked first."""
    for name, run in runs.items():
        check(run(), exact, biases[name])
    times = {name: [] for name in runs}
    for _ in range(5):
        for name, run in runs.items():
            times[name] += cpu_seconds(run, 1)[1]
    return {name: Median(seconds) for name, seconds in times.items()}


def steps_compared(exact: dict[str, float]) -> list[Row]:
    """advance against torchsde, two-point against normal noise, Platen against Euler."""
    n, k = 1_000_000, 64
    x = known.start_particles(n, 0)

    def ours(steps, noise="normal", step=euler_step):
        return lambda: advance(WELL, x, 0.0, 1.0, steps, step, noise)

    bias = {"normal": known.weak_bias(euler_step, "normal", k, exact)}
    bias["two-point"] = known.weak_bias(euler_step, "two-point", k, exact)
    # The order is the same, the constant is not: as many steps as make the bias the same.
    more = next(
        s
        for s in range(k, 4 * k)
        if known.weak_bias(euler_step, "two-point", s, exact) <= bias["normal"]
    )
    bias |= {"more": known.weak_bias(euler_step, "two-point", more, exact)}
    bias |= {"shipped": bias["normal"], "fresh": bias["normal"]}
    runs = {
        "normal": ours(k),
        "two-point": ours(k, "two-point"),
        "more": ours(more, "two-point"),
        "shipped": lambda: known.torchsde_euler(x, k),
        "fresh": lambda: known.torchsde_euler(x, k, fresh=True),
    }
    t = compared(runs, exact, bias)
    two = f"  two-point noise, {more} steps"
    rows = [
        Row(
            "Euler, 1e6 paths, 64 steps", "torchsde as shipped", "CPU s", t["shipped"], t["normal"]
        ),
        Row("", "torchsde, cheapest noise", "CPU s", t["fresh"], t["normal"]),
        Row(
            "  two-point noise, 64 steps",
            "torchsde as shipped",
            "CPU s",
            t["shipped"],
            t["two-point"],
        ),
        Row("", "normal noise", "CPU s", t["normal"], t["two-point"]),
        Row("", "", "bias", bias["normal"], bias["two-point"]),
        Row(two, "torchsde as shipped", "CPU s", t["shipped"], t["more"], 5),
        Row("", "torchsde, cheapest noise", "CPU s", t["fresh"], t["more"]),
        Row("", "normal noise", "CPU s", t["normal"], t["more"]),
        Row("", "", "bias", bias["normal"], bias["more"], 1),
    ]
    # Platen's step and Euler's, each with the fewest steps for a bias of 1e-3 in all of PHIS.
    few, bias = {}, {}
    methods = {"Platen": (platen_step, "three-point"), "Euler": (euler_step, "two-point")}
    methods |= {"Platen, normal": (platen_step, "normal"), "Euler, normal": (euler_step, "normal")}
    for name, (step, noise) in methods.items():
        found = ((s, known.weak_bias(step, noise, s, exact)) for s in LADDER)
        few[name], bias[name] = next(pair for pair in found if pair[1] <= BIAS)
    runs = {name: ours(few[name], noise, step) for name, (step, noise) in methods.items()}
    t = compared(runs, exact, bias)
    for a, b in (("Platen, normal", "Euler, normal"), ("Platen", "Euler")):
        label = f"{a}: {few[a]} steps" if "," in a else f"Platen, three-point: {few[a]}"
        against = f"{b}: {few[b]} steps" if "," in b else f"Euler, two-point: {few[b]}"
        rows.append(Row(label, against, "CPU s", t[b], t[a]))
        rows.append(Row("", "", "bias", bias[b], bias[a]))
    return rows


# 3. Dimensions ---------------------------------------------------------------------------------


def dimensions() -> tuple[list[Row], list[dict]]:
    """The same question in one to five dimensions."""
    rows, found = [], []
    for tolerance in TOLERANCES:
        grid = None
        for d in range(1, 6):
            found.append(it := one_dimension(d, tolerance, grid))
            print(it, file=sys.stderr)
            if "cells" not in it:
                continue
            grid = it
            name = f"d = {d}, to {tolerance:g}: {it['cells']}^{d} cells"
            against = f"{it['paths']} paths, {it['path_steps']} steps"
            rows.append(Row(name, against, "CPU s", it["paths_seconds"], it["cells_seconds"]))
    return rows, found


def main() -> int:
    """Check, time, print; return the number of bars missed."""
    peer("torchsde")
    density_at, exact = known.reference()
    assert [round(v, 4) for v in exact.values()] == [-0.5770, 0.9003, 0.5998], exact
    rows, curves = density(density_at(FINE), density_at)
    rows += steps_compared(exact)
    more, found = dimensions()
    return report(
        "fokker_planck",
        rows + more,
        artifact="fokker-planck-peers",
        precision="float32 (particles), float64 (cells)",
        curves=curves,
        dimensions=found,
    )


if __name__ == "__main__":
    sys.exit(main())
