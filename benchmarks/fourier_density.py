"""A fitted Fourier density at work, and a thousand of them fitted at once.

``python benchmarks/fourier_density.py`` times ``log_prob`` at a million points against zuko's
neural spline flow with as many parameters, and one batched ``FourierDensity.fit`` of 1,000 data
sets against 1,000 calls. CPU seconds on one thread, medians. About a minute.
"""

from __future__ import annotations

import math
import sys

import torch
from _table import Median, Row, cpu_seconds, peer, report
from torch import Tensor

from kexue.density import FourierDensity

POINTS, DENSITIES = 1_000_000, 1_000


def log_probs(rows: list[Row]) -> None:
    """N = 32: 66 real parameters, float32 on both sides."""
    zuko = peer("zuko")
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(33, dtype=torch.complex128, generator=generator)
    y = 2 * torch.rand(POINTS, generator=generator) - 1
    law = FourierDensity(a.to(torch.complex64))

    wave = torch.exp(-1j * math.pi * torch.outer(y[:5000].double(), torch.arange(33)))
    exact = (wave @ a).abs().square() / (2 * a.abs().square().sum())
    assert (law.log_prob(y[:5000]).exp() - exact).abs().max() < 1e-4, "not the density it says"

    flows = {
        "NSF (zuko): 3 splines, 69 params": zuko.flows.NSF(1),
        "NSF (zuko): 1 spline, 68 params": zuko.flows.NSF(1, transforms=1, bins=23),
    }
    with torch.no_grad():
        law.log_prob(y)
        ours = Median(cpu_seconds(lambda: law.log_prob(y), 15)[1])
        for (name, flow), bar in zip(flows.items(), (3, None), strict=True):
            flow().log_prob(y[:, None])
            theirs = Median(cpu_seconds(lambda flow=flow: flow().log_prob(y[:, None]), 7)[1])
            rows.append(Row("log_prob, 10^6 points, N = 32", name, "CPU s", theirs, ours, bar))


def data_sets(n: int) -> Tensor:
    """A thousand samples (1000, n) in (-1, 1), each of its own three Gaussians."""
    generator = torch.Generator().manual_seed(1)
    mean = 1.2 * torch.rand(DENSITIES, 3, generator=generator, dtype=torch.float64) - 0.6
    sigma = 0.05 + 0.15 * torch.rand(DENSITIES, 3, generator=generator, dtype=torch.float64)
    k = torch.randint(3, (DENSITIES, n), generator=generator)
    noise = torch.randn(DENSITIES, n, generator=generator, dtype=torch.float64)
    return (mean.gather(1, k) + sigma.gather(1, k) * noise).clamp(-0.999, 0.999)


def batches(rows: list[Row]) -> None:
    """The same call, once for all and once for each."""
    for n, terms, bar in ((256, 4, 50), (1000, 4, 50), (1000, 8, None), (1000, 16, None)):
        x = data_sets(n)

        def fit(x: Tensor, terms: int = terms) -> FourierDensity:
            return FourierDensity.fit(x, terms=terms, loc=0.0, scale=1.0)

        fit(x[:2])
        together, times = cpu_seconds(lambda x=x: fit(x), 7)
        alone, single = cpu_seconds(lambda x=x: [fit(row) for row in x], 1)
        for i in range(0, DENSITIES, 50):
            gap = together.log_prob(x.T)[:, i].mean() - alone[i].log_prob(x[i]).mean()
            assert gap.abs() < 1e-4, f"density {i}: {gap} nats a point apart"
        name = f"1,000 fits of {n} points, N = {terms}"
        rows.append(Row(name, "one at a time", "CPU s", Median(single), Median(times), bar))


def main() -> int:
    """Check, time, print; return the number of bars missed."""
    rows: list[Row] = []
    log_probs(rows)
    batches(rows)
    return report("fourier_density", rows, precision="float32, float64")


if __name__ == "__main__":
    sys.exit(main())
