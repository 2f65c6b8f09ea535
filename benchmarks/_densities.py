"""Other ways to fit a density of numbers, each as its users would: points in, log density out.

Every function returns ``log_prob``: float64 points (n,) to log densities (n,).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from torch import Tensor

LogProb = Callable[[Tensor], Tensor]


def minibatch_adam(x: Tensor, terms: int = 13, steps: int = 30_000, seed: int = 0) -> LogProb:
    """A Fourier density by the tutorial of google/codex: 14 complex amplitudes that start at
    1e-3 times normal noise, period 2, Adam with learning rate 1e-3, batches of 32, 30,000 steps.

    (The tutorial compiles its step with JAX; this is the same recipe in plain torch.)
    """
    torch.manual_seed(seed)
    x, k = x.float(), math.pi * torch.arange(terms + 1)
    a = (1e-3 * torch.randn(2, terms + 1)).requires_grad_()
    adam = torch.optim.Adam([a], lr=1e-3)

    def log_prob(y: Tensor) -> Tensor:
        cos, sin = (k * y[:, None]).cos(), (k * y[:, None]).sin()
        square = (cos @ a[0] + sin @ a[1]) ** 2 + (cos @ a[1] - sin @ a[0]) ** 2
        return square.log() - (2 * a.square().sum()).log()

    for _ in range(steps):
        loss = -log_prob(x[torch.randint(len(x), (32,))]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return lambda y: log_prob(y.float()).double().detach()


def neural_spline_flow(
    x: Tensor,
    weight: Tensor | None = None,
    steps: int = 3000,
    lr: float = 0.03,
    batch: int = 512,
    seed: int = 0,
    **shape: int,
) -> LogProb:
    """zuko's NSF of one feature (3 splines of 8 bins, 69 parameters, unless ``shape`` says
    otherwise) on standardized numbers, by Adam with a cosine schedule; with ``weight`` on all of
    the weighted points at once instead of on batches."""
    import zuko

    torch.manual_seed(seed)
    share = torch.full_like(x, 1 / len(x)) if weight is None else weight / weight.sum()
    mean = (share * x).sum()
    spread = (share * (x - mean) ** 2).sum().sqrt()
    z, share = ((x - mean) / spread).float()[:, None], share.float()
    flow = zuko.flows.NSF(1, **shape)
    adam = torch.optim.Adam(flow.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        if weight is None:
            loss = -flow().log_prob(z[torch.randint(len(z), (batch,))]).mean()
        else:
            loss = -(share * flow().log_prob(z)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()

    def log_prob(y: Tensor) -> Tensor:
        with torch.no_grad():
            inner = ((y - mean) / spread).float()[:, None]
            return flow().log_prob(inner).double() - spread.log()

    return log_prob


def kernel_cross_validated(x: Tensor, bandwidths: np.ndarray, rtol: float = 1e-4) -> LogProb:
    """scikit-learn's KDE, its bandwidth by 5-fold cross-validation over a grid. ``rtol`` of 1e-4
    (default 0) is four times faster and changes the log densities by less than that."""
    search = GridSearchCV(KernelDensity(rtol=rtol), {"bandwidth": bandwidths}, cv=5)
    best = search.fit(x.numpy()[:, None]).best_estimator_
    return lambda y: torch.from_numpy(best.score_samples(y.numpy()[:, None]))


def kernel_binned(x: Tensor, bandwidths: np.ndarray, size: int = 4096) -> LogProb:
    """The same idea with our own trick turned against us: one histogram, FFTs, and the bandwidth
    with the highest leave-one-out likelihood. No library we know ships it."""
    x = x.numpy()
    low, high = x.min() - 6 * bandwidths.max(), x.max() + 6 * bandwidths.max()
    step = (high - low) / size
    counts = np.bincount(((x - low) / step).astype(int), minlength=size)
    wave, omega = np.fft.rfft(counts), 2 * np.pi * np.fft.rfftfreq(size, step)

    def density(h: float) -> np.ndarray:
        smooth = np.fft.irfft(wave * np.exp(-((omega * h) ** 2) / 2), size)
        return np.maximum(smooth / (len(x) * step), 1e-12)

    def left_out(h: float) -> float:
        own = 1 / (h * math.sqrt(2 * math.pi))
        return counts @ np.log(np.maximum((len(x) * density(h) - own) / (len(x) - 1), 1e-12))

    centers, best = low + step * (np.arange(size) + 0.5), max(bandwidths, key=left_out)
    log_p = np.log(density(best))
    return lambda y: torch.from_numpy(np.interp(y.numpy(), centers, log_p))


def mixture_by_bic(x: Tensor, components: range, seed: int = 0) -> LogProb:
    """scikit-learn's Gaussian mixture by EM; the number of components by BIC."""
    points = x.numpy()[:, None]
    fits = (SklearnMixture(k, random_state=seed).fit(points) for k in components)
    best = min(fits, key=lambda fit: fit.bic(points))
    return lambda y: torch.from_numpy(best.score_samples(y.numpy()[:, None]))


def mixture_of_histogram(
    x: Tensor, weight: Tensor, components: int, gradient: bool, steps: int = 1500, starts: int = 4
) -> LogProb:
    """A Gaussian mixture of weighted points, by EM or by Adam (learning rate 0.03, cosine) on
    logits, means and log deviations; the best of ``starts`` that begin at jittered quantiles."""
    share = weight / weight.sum()
    mean = (share * x).sum()
    spread = (share * (x - mean) ** 2).sum().sqrt()
    z, generator = (x - mean) / spread, torch.Generator().manual_seed(0)
    u = torch.rand(starts, components, generator=generator).double()
    u = (torch.arange(components) + u) / components
    m = z[torch.searchsorted(share.cumsum(0), u).clamp(max=len(z) - 1)][:, None]
    log_w, log_s = (torch.full_like(m, -math.log(components)) for _ in range(2))

    def joint(y: Tensor) -> Tensor:  # log w_k N(y; m_k, s_k), (starts, n, components)
        w = log_w.log_softmax(-1)
        return w - log_s - math.log(2 * math.pi) / 2 - ((y[:, None] - m) / log_s.exp()) ** 2 / 2

    if gradient:
        free = [v.requires_grad_() for v in (log_w, m, log_s)]
        adam = torch.optim.Adam(free, lr=0.03)
        for step in range(steps):
            adam.param_groups[0]["lr"] = 0.03 * (1 + math.cos(math.pi * step / steps)) / 2
            adam.zero_grad()
            (-(joint(z).logsumexp(-1) @ share).sum()).backward()
            adam.step()
    else:
        for _ in range(steps):
            r = share[:, None] * joint(z).softmax(-1)
            total = r.sum(1, keepdim=True) + 1e-12
            m = (r * z[:, None]).sum(1, keepdim=True) / total
            square = (r * (z[:, None] - m) ** 2).sum(1, keepdim=True) / total
            log_w, log_s = total.log(), (square + 1e-6).log() / 2
    with torch.no_grad():
        best = int((joint(z).logsumexp(-1) @ share).argmax())

    def log_prob(y: Tensor) -> Tensor:
        with torch.no_grad():
            return joint((y - mean) / spread)[best].logsumexp(-1) - spread.log()

    return log_prob


def histogram(x: Tensor, weight: Tensor, low: float, high: float, bins: int) -> LogProb:
    """A histogram with half a count more in every bin (of 20,000, so that none is empty)."""
    counts = torch.full((bins,), 0.5, dtype=x.dtype)
    cell = ((x - low) / (high - low) * bins).long().clamp(0, bins - 1)
    counts.index_add_(0, cell, 20_000 * weight / weight.sum())
    log_p = (counts / counts.sum() * bins / (high - low)).log()
    return lambda y: log_p[((y - low) / (high - low) * bins).long().clamp(0, bins - 1)]
