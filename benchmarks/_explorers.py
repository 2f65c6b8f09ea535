"""Four explorers as chapters have them: two of curves, one of images, one stored as pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from kexue import data, diffusion, plot
from kexue.density import GaussianMixture
from kexue.schedule import su

schedule = su()
modes = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.04, 0.04])


def bayes(t=400, jump=100, x_t=1.0):
    """What x_0 = -1 says of x_s, what x_t says of it, and the product"""
    s, y = max(t - jump, 1), np.linspace(-3, 3, 241)
    (alpha, sigma), (a, b) = map(float, schedule(s)), map(float, schedule.step(t, s))
    mean, var = diffusion.posterior(torch.tensor(x_t), torch.tensor(-1.0), schedule, t, s)
    _, (left, right) = plt.subplots(1, 2, width_ratios=[4, 1])
    for m, v, c, name in [
        (-alpha, sigma**2, plot.BLUE, r"$p(x_s|x_0)$"),
        (x_t / a, (b / a) ** 2, plot.RED, r"$p(x_t|x_s)$"),
        (float(mean), float(var), plot.GREEN, r"$p(x_s|x_t,x_0)$"),
    ]:
        left.plot(y, np.exp(-((y - m) ** 2) / (2 * v)), color=c, label=name)
    left.set(xlim=(-3, 3), ylim=(0, 1.1), xlabel="$x_s$", ylabel="density / its maximum")
    left.legend(loc="upper left", ncols=3)
    share = float(var) / sigma**2
    right.bar([0], [share], color=plot.BLUE)
    right.bar([0], [1 - share], bottom=[share], color=plot.RED)
    right.set(xticks=[], ylim=(0, 1), ylabel="share of the precision")


def jumps(K=10, variance="posterior"):
    """Law of the chain after K jumps of the exact denoiser, and the data's law"""
    x = torch.linspace(-6, 6, 3001, dtype=torch.float64)
    *_, (_, q) = diffusion.chain_on_grid(modes, schedule, schedule.timesteps(K, 1), x, variance)
    p = modes.noised(*schedule(1)).log_prob(x).exp()
    near = (x.abs() < 2.2).nonzero()[::5, 0]
    plt.fill_between(x[near], p[near], color=plot.GRAY, alpha=0.35, label="data")
    plt.plot(x[near], q[near], color=plot.RED, label="generated")
    plt.gca().set(xlim=(-2.2, 2.2), ylim=(0, 2.5), xlabel="$x$", ylabel="density")
    plt.legend(loc="upper right")


def noising(t=300):
    """Sixteen digits with the noise of time t"""
    x0 = data.load("digits").x[:16]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    x = schedule.add_noise(x0, noise, torch.full((16,), t))
    plot.strip(plt.gca(), x.clamp(-1, 1), 8)


def contours(a=0.5):
    """A density with two modes, filled contours"""
    x = np.linspace(-3, 3, 90)
    x, y = np.meshgrid(x, x)
    z = np.exp(-((x - a) ** 2) - y**2) + np.exp(-((x + a) ** 2) - 2 * y**2)
    plt.contourf(x, y, z, 12)


JUMPS = [1, 2, 3, 5, 10, 20, 50]
CASES: list[tuple[Callable, dict[str, Any]]] = [
    (
        bayes,
        {"t": (2, 1000), "jump": [1, 10, 100], "x_t": (-2.0, 2.0), "frames": {"t": 9, "x_t": 5}},
    ),
    (jumps, {"K": (1, 50), "variance": ["posterior", "forward"], "frames": {"K": JUMPS}}),
    (noising, {"t": (0, 1000), "frames": 21}),
    (contours, {"a": (0.0, 1.5), "frames": 16, "mode": "frames"}),
]
