"""What the Fokker-Planck benchmark measures against: exact errors of particles, and torchsde."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from kexue.fokker_planck import DoubleWell, FiniteVolumes

F64 = torch.float64
WELL = DoubleWell(0.8)
START_MEAN, START_STD = -1.0, 0.2
PHIS = {"tanh x": torch.tanh, "x^2": torch.square, "cos x": torch.cos}
BOX = 3.0  # densities are read on [-BOX, BOX]; beyond, the law at t = 1 has less than 1e-16
FINE = torch.linspace(-BOX, BOX, 6001, dtype=F64).numpy()


def start_density(x: Tensor) -> Tensor:
    """p_0 = N(-1, 0.2^2)."""
    scale = START_STD * math.sqrt(2 * math.pi)
    return torch.exp(-0.5 / START_STD**2 * (x - START_MEAN) ** 2) / scale


def start_particles(n: int, seed: int) -> Tensor:
    """n float32 draws from p_0."""
    generator = torch.Generator().manual_seed(seed)
    return START_MEAN + START_STD * torch.randn(n, generator=generator)


def reference() -> tuple[CubicSpline, dict[str, float]]:
    """The law at t = 1 as a function, and expectations: finite volumes, error below 1e-6."""
    cells = FiniteVolumes(WELL, [(-3.5, 3.5, 7000)])
    *_, p = cells.evolve(cells.project(start_density, points=1), [0.0, 1.0], substeps=2000)
    values = {name: cells.expect(p, phi) for name, phi in PHIS.items()}
    return CubicSpline(cells.centers.numpy(), p.numpy()), values


def l1(mass: NDArray, law: NDArray) -> float:
    """L1 distance to ``law`` (on FINE) of the density read from masses of equal cells of the box.

    Read by straight lines between the cells' centers (a frequency polygon): of second order in
    their width where a histogram is of first, so the better reading for particles too.
    """
    h = 2 * BOX / len(mass)
    centers = -BOX + h * (np.arange(len(mass)) + 0.5)
    return float(np.abs(np.interp(FINE, centers, mass / h) - law).mean() * 2 * BOX)


def l1_of_particles(x: Tensor, law: NDArray) -> tuple[float, int]:
    """L1 error of particles and the number of bins, the best one in hindsight."""
    x = x.flatten().double().numpy()
    found = []
    for bins in np.unique(np.geomspace(16, 800, 36).astype(int)).tolist():
        counts = np.histogram(x, bins, (-BOX, BOX))[0]
        found.append((l1(counts / len(x), law), bins))
    return min(found)


def exact_draws(law: NDArray, n: int, seed: int) -> Tensor:
    """n independent draws from ``law`` by its inverse cumulative function."""
    cumulative = np.concatenate([[0], np.cumsum((law[1:] + law[:-1]) / 2)])
    u = np.random.default_rng(seed).random(n)
    return torch.from_numpy(np.interp(u, cumulative / cumulative[-1], FINE))


def euler_bias(steps: int, law: Callable) -> float:
    """L1 distance between the law of the Euler chain at t = 1 and the SDE's: no sampling at all.

    The chain's law by Chapman and Kolmogorov's equation, its kernels a matrix on a grid.
    """
    x = np.linspace(-3.5, 3.5, 1401)
    h, dt = x[1] - x[0], 1 / steps
    mean, v = x + (x - x**3) * dt, WELL.noise**2 * dt
    kernel = np.exp(-((x[:, None] - mean) ** 2) / (2 * v)) * (h / math.sqrt(2 * math.pi * v))
    p = start_density(torch.from_numpy(x)).numpy()
    for _ in range(steps):
        p = kernel @ p
    return float(np.abs(p - law(x)).sum() * h)


NOISE = {
    "two-point": ([-1.0, 1.0], [0.5, 0.5]),
    "three-point": ([-(3**0.5), 0.0, 3**0.5], [1 / 6, 2 / 3, 1 / 6]),
}


def weak_bias(step: Callable, noise: str, steps: int, exact: dict[str, float]) -> float:
    """Largest |E phi(x_1) - exact| over PHIS for a chain of ``steps``: no sampling at all.

    Backwards, u(x) = E u(step(x, eps)), the noise by Gauss-Hermite or its few values, u by splines.
    """
    if noise == "normal":
        eps, weights = np.polynomial.hermite_e.hermegauss(24)
        weights = weights / weights.sum()
    else:
        eps, weights = map(np.array, NOISE[noise])
    x, eps = torch.linspace(-4, 4, 1601, dtype=F64), torch.from_numpy(np.asarray(eps))[:, None]
    points = x.expand(len(eps), -1)
    dt, p = 1 / steps, start_density(x)
    ahead = step(WELL, points, 0.0, dt, eps.expand_as(points)).clamp(-4, 4).numpy()
    bias = []
    for name, phi in PHIS.items():
        u = phi(x).numpy()
        for _ in range(steps):
            u = weights @ CubicSpline(x.numpy(), u)(ahead)
        bias.append(abs(torch.trapezoid(torch.from_numpy(u) * p, x).item() - exact[name]))
    return max(bias)


class Peer(torch.nn.Module):
    """The double well as torchsde wants it: states (n, 1), diagonal noise."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("noise", torch.tensor(WELL.noise))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        return y - y**3

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion."""
        return self.noise.expand_as(y)


class FreshNoise:
    """A Brownian motion for torchsde that remembers nothing: what its Euler needs, no more."""

    levy_area_approximation = "none"

    def __init__(self, y: Tensor) -> None:
        self.shape, self.dtype, self.device = y.shape, y.dtype, y.device

    def __call__(self, ta: Tensor, tb: Tensor, **_: bool) -> Tensor:
        return torch.randn(self.shape, dtype=self.dtype) * math.sqrt(float(tb - ta))


def torchsde_euler(x: Tensor, steps: int, fresh: bool = False) -> Tensor:
    """``torchsde.sdeint`` over t in [0, 1]: its BrownianInterval as shipped, or fresh noise."""
    import torchsde

    y, times = x[:, None], torch.tensor([0.0, 1.0])
    bm = FreshNoise(y) if fresh else None
    with torch.no_grad():
        return torchsde.sdeint(Peer(), y, times, bm=bm, method="euler", dt=1 / steps)[-1, :, 0]
