"""One expectation in d dimensions, by cells and by particles: each as cheap as its error allows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
from _table import cpu_seconds
from torch import Tensor

from kexue.density import GaussianMixture
from kexue.fokker_planck import SDE, FiniteVolumes, OrnsteinUhlenbeck, advance, platen_step

F64 = torch.float64
MOST = 2_000_000  # cells of a grid


class Question:
    """E exp(-s^2 / 2) at t = 1/2, s = (x_1 + ... + x_d) / sqrt(d), under dx = -x dt + dw.

    The start is 0.3 N(-e, I/4) + 0.7 N(e, I/4), e the unit vector of the diagonal. Then s is an
    Ornstein-Uhlenbeck process on the line, of the same law in every dimension: the exact answer,
    and the variance that Monte Carlo meets, do not change with d.
    """

    stop = 0.5
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    signs = torch.tensor([-1.0, 1.0], dtype=F64)

    def __init__(self, d: int) -> None:
        self.d = d

    def start(self, dtype: torch.dtype = F64) -> GaussianMixture:
        """p_0, of event shape () in one dimension and (d,) in more."""
        means = self.signs if self.d == 1 else self.signs[:, None].expand(2, self.d) / self.d**0.5
        quarter = torch.full((2,), 0.25, dtype=F64)
        return GaussianMixture(*(a.to(dtype) for a in (self.weights, means, quarter)))

    def phi(self, x: Tensor) -> Tensor:
        """exp(-s^2 / 2)."""
        return torch.exp(-((x if self.d == 1 else x.sum(-1) / self.d**0.5) ** 2) / 2)

    def moments(self, decay: float, variance: float) -> tuple[float, float]:
        """Mean and standard deviation of phi where s is ``decay`` s_0 + N(0, variance)."""
        law = Question(1).start().noised(decay, math.sqrt(variance))
        s = torch.linspace(-12, 12, 20_001, dtype=F64)
        p, phi = law.log_prob(s).exp(), torch.exp(-(s**2) / 2)
        mean = torch.trapezoid(p * phi, s).item()
        return mean, math.sqrt(torch.trapezoid(p * (phi - mean) ** 2, s).item())

    def exact(self) -> tuple[float, float]:
        """Mean and standard deviation of phi at ``stop``."""
        decay = math.exp(-self.stop)
        return self.moments(decay, (1 - decay**2) / 2)

    def platen_bias(self, steps: int) -> float:
        """Bias of E phi under ``platen_step`` with normal noise: linear, s stays a mixture."""
        dt = self.stop / steps
        decay = 1 - dt + dt**2 / 2
        variance = dt * (1 - dt / 2) ** 2 * sum(decay ** (2 * k) for k in range(steps))
        return self.moments(decay**steps, variance)[0] - self.exact()[0]

    def finite_volumes(self, sde: SDE, box: float, steps: int, cells: int) -> float:
        """E phi on a grid of ``cells`` per axis, set-up included.

        The central flux has the smaller error here, and as 2 h max|f| / g^2 <= 2 in every cell used
        it keeps densities positive.
        """
        assert 2 * (2 * box / cells) * box <= 2
        grid = FiniteVolumes(sde, [(-box, box, cells)] * self.d, "central")
        start = grid.project(self.start(), points=1, tolerance=math.inf)
        *_, p = grid.evolve(start, [0.0, self.stop], steps)
        return grid.expect(p, self.phi)


def coarsest(question: Question, tolerance: float, guess: dict | None) -> dict | None:
    """Box, steps and cells of the cheapest grid whose error is within the tolerance.

    Not by luck: two and four cells an axis more must do as well. ``guess``: the choice for one
    dimension less, whose box and steps are kept from d = 3 on. None beyond MOST cells.
    """
    sde, exact = OrnsteinUhlenbeck(1.0, 1.0), question.exact()[0]
    pairs, first = [(box, steps) for box in (2.5, 3.0, 3.5) for steps in (2, 3, 4, 6, 8, 12)], 8
    if guess is not None and question.d > 2:
        pairs, first = [(guess["box"], guess["steps"])], guess["cells"] - 2

    def good(box: float, steps: int, cells: int) -> bool:
        value = question.finite_volumes(sde, box, steps, cells)
        return abs(value / exact - 1) <= tolerance

    def candidates() -> Iterator[dict]:
        for box, steps in pairs:
            for cells in range(max(first, math.ceil(2 * box**2)), 90):
                if cells**question.d > MOST:
                    break
                trials = (cells, cells + 2, cells + 4) if question.d < 4 else (cells,)
                if all(good(box, steps, trial) for trial in trials):
                    yield {"box": box, "steps": steps, "cells": cells}
                    break

    return min(candidates(), key=lambda c: c["steps"] * c["cells"] ** question.d, default=None)


def fewest_paths(question: Question, tolerance: float) -> tuple[int, int]:
    """(paths, steps) with the least work for |bias| + 2 standard errors <= tolerance."""
    (exact, std), plans = question.exact(), []
    for steps in range(1, 40):
        room = tolerance * exact - abs(question.platen_bias(steps))
        if room > 0:
            paths = math.ceil((2 * std / room) ** 2)
            plans.append((paths * steps, paths, steps))
    return min(plans)[1:]


def one_dimension(d: int, tolerance: float, guess: dict | None) -> dict:
    """Cells and particles for one expectation in d dimensions, each timed once it is right."""
    question, sde = Question(d), OrnsteinUhlenbeck(1.0, 1.0)
    exact = question.exact()[0]
    grid = coarsest(question, tolerance, guess)
    found = {"d": d, "tolerance": tolerance, "exact": exact, **(grid or {})}
    if grid is not None:
        value, seconds = cpu_seconds(
            lambda: question.finite_volumes(sde, **grid), 3 if d > 3 else 9
        )
        assert abs(value / exact - 1) <= tolerance, f"d = {d}: {value} for {exact}"
        found |= {"cells_value": value, "cells_seconds": statistics.median(seconds)}
    paths, steps = fewest_paths(question, tolerance)
    generator = torch.Generator().manual_seed(d)
    x = question.start(torch.float32).sample((paths,), generator=generator)
    y, seconds = cpu_seconds(lambda: advance(sde, x, 0.0, 0.5, steps, platen_step), 3)
    value = question.phi(y).double().mean().item()
    assert abs(value / exact - 1) <= 2 * tolerance, f"d = {d}: {value} for {exact}"
    found |= {"paths": paths, "path_steps": steps, "paths_value": value}
    return found | {"paths_seconds": statistics.median(seconds)}
