"""Equal parameters: what 14, 28, 42 or 82 numbers can say about a law with many modes.

``python benchmarks/fourier_parameters.py`` fits the targets of De la Fuente et al. 2024 (K = 10
and 25 narrow Gaussians, three seeds each) with Fourier densities, factorized priors, Gaussian
mixtures, a neural spline flow and histograms, each from 100,000 quantiles of the target: a sample
without noise, so that KL(target || fit) shows what the family can do and the fit can find. Then
real numbers: bits a value on a held-out fifth. About five minutes of CPU time.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable

import _densities as other
import numpy as np
import torch
from _table import Row, peer, report
from torch import Tensor

from kexue import data
from kexue.density import FactorizedPrior, FourierDensity, GaussianMixture, multimodal

GRID = torch.linspace(-1.2, 1.2, 4801, dtype=torch.float64)
NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(5))
SIZES = (14, 28, 42, 82)  # real parameters; a mixture of K has 3 K - 1, a factorized prior 28 or 73


def quantiles(law: GaussianMixture, n: int = 100_000) -> Tensor:
    """The (i + 1/2) / n quantiles, by interpolation in a fine table."""
    y = torch.linspace(-1.2, 1.2, 2**18, dtype=torch.float64)
    cdf = law.log_prob(y).exp().cumsum(0)
    u = (np.arange(n) + 0.5) / n
    return torch.from_numpy(np.interp(u, (cdf / cdf[-1]).numpy(), y.numpy()))


def kl(law: GaussianMixture, log_prob: other.LogProb) -> float:
    """KL(law || fit) in nats, where the law is above 1e-12 of its maximum."""
    log_p, log_q = law.log_prob(GRID), log_prob(GRID)
    gap = torch.where(log_p > log_p.max() - 27.6, log_p.exp() * (log_p - log_q), 0.0)
    return torch.trapezoid(gap, GRID).item()


def fourier(x: Tensor, size: int, **place: float) -> other.LogProb:
    """``size`` real numbers: size / 2 complex amplitudes. On the line unless placed."""
    return FourierDensity.fit(x, terms=size // 2 - 1, line=not place, **place).log_prob


def factorized(x: Tensor, depth: int, steps: int = 1500) -> other.LogProb:
    """Hidden layers of 3; the better of two starts."""
    starts = FactorizedPrior.fit(
        x.expand(2, -1), (3,) * depth, steps=steps, generator=torch.Generator().manual_seed(0)
    )
    best = int(starts.log_prob(x[:, None]).mean(0).argmax())
    return lambda y: starts.log_prob(y[:, None])[:, best]


def counted(x: Tensor, bins: int = 1024) -> tuple[Tensor, Tensor]:
    """Centers of equal bins over the range of ``x`` and the counts in them."""
    low, high = x.min().item(), x.max().item()
    counts, edges = torch.histogram(x, bins, range=(low, high))
    return (edges[1:] + edges[:-1]) / 2, counts


def models(low: float, high: float, levels: int = 1024) -> dict[str, Callable]:
    """Name to fit; ``levels`` bins for those that fit a histogram."""
    fits: dict[str, Callable] = {}
    for size in SIZES:
        fits[f"Fourier, line {size}"] = lambda x, size=size: fourier(x, size)
        fits[f"Fourier, interval {size}"] = lambda x, size=size: fourier(
            x, size, loc=(low + high) / 2, scale=(high - low) / 2
        )
        k = (size + 1) // 3
        for name, gradient in (("EM", False), ("Adam", True)):
            fits[f"mixture, {name} {size}"] = lambda x, k=k, gradient=gradient: (
                other.mixture_of_histogram(*counted(x, levels), k, gradient)
            )
        fits[f"histogram {size}"] = lambda x, size=size: other.histogram(
            x, torch.ones_like(x), low, high, size
        )
    fits["factorized prior 28"] = lambda x: factorized(x, 2)
    fits["factorized prior 73"] = lambda x: factorized(x, 5)
    fits["spline flow 29"] = lambda x: other.neural_spline_flow(
        *counted(x, levels), steps=1500, transforms=1, bins=10
    )
    fits["spline flow 69"] = lambda x: other.neural_spline_flow(*counted(x, levels), steps=1500)
    bandwidths = (high - low) * np.geomspace(1e-3, 0.05, 40)
    fits["KDE, every point kept"] = lambda x: other.kernel_binned(x, bandwidths)
    return fits


def made_up(rows: list[Row]) -> dict[int, dict[str, float]]:
    """KL on the targets; rows for the two bars."""
    table: dict[int, dict[str, float]] = {}
    for components in (10, 25):
        laws = [multimodal(components, seed) for seed in range(3)]
        samples = [quantiles(law) for law in laws]
        low = min((law.means - 8 * law.variances.sqrt()).min().item() for law in laws)
        high = max((law.means + 8 * law.variances.sqrt()).max().item() for law in laws)
        table[components] = {
            name: statistics.mean(kl(law, fit(x)) for law, x in zip(laws, samples, strict=True))
            for name, fit in models(low, high).items()
        }
    for components, ours, theirs, bar in ((10, 28, 28, 1 / 0.3), (25, 82, 73, 1 / 0.05)):
        mine, yours = f"Fourier, line {ours}", f"factorized prior {theirs}"
        column = table[components]
        name = f"K = {components}, {ours} real parameters"
        rows.append(Row(name, yours, "KL, nats", column[yours], column[mine], bar))
        best = f"mixture, EM {ours}"
        rows.append(Row(name, best, "KL, nats", column[best], column[mine]))
    return table


def real(x: Tensor, width: float) -> dict[str, float]:
    """Bits a value on a held-out fifth: -mean log2 P(bin of the value), bins of ``width``.

    A model of real numbers sees each training value spread evenly over its bin. The last line is
    no model: the entropy of the held-out values' own histogram, which none can beat on average.
    """
    x = x.double().flatten()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, train = x[order[: len(x) // 5]], x[order[len(x) // 5 :]]
    noise = torch.rand(len(train), generator=torch.Generator().manual_seed(1)).double() - 0.5
    low, high = x.min().item() - width / 2, x.max().item() + width / 2
    bins = round((high - low) / width)
    values, counts = ((test - low) / width).floor().unique(return_counts=True)
    center, share = low + (values + 0.5) * width, counts / counts.sum()
    out = {}
    fits = models(low, high, bins) | {
        f"histogram {bins}": lambda y: other.histogram(y, torch.ones_like(y), low, high, bins)
    }
    for name, fit in fits.items():
        points = center[:, None] + width / 2 * NODES
        density = fit(train + width * noise)(points.flatten()).exp().reshape(points.shape)
        out[name] = -(share * (density @ (WEIGHTS * width / 2)).log2()).sum().item()
    return out | {"(held-out entropy)": -(share * share.log2()).sum().item()}


def main() -> int:
    """Fit, print; return the number of bars missed."""
    peer("zuko")
    rows: list[Row] = []
    table = made_up(rows)
    bits = {"china.jpg": real(data.china(), 1.0), "sf_temps": real(data.sf_temps(), 0.1)}
    print(f"{'family, real parameters':28}{'KL, K = 10':>12}{'KL, K = 25':>12}", end="")
    print("".join(f"{name + ', bits':>18}" for name in bits))
    for name in bits["china.jpg"] | bits["sf_temps"]:
        cells = [table[k].get(name, math.nan) for k in table]
        print(f"{name:28}" + "".join(f"{v:12.2g}" for v in cells), end="")
        print("".join(f"{column.get(name, math.nan):18.4f}" for column in bits.values()))
    return report("fourier_parameters", rows, precision="float64", kl=table, bits=bits)


if __name__ == "__main__":
    sys.exit(main())
