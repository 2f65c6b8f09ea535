"""Entropy and effective support of every head, by the number of keys that a row can see."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kexue import attention as A

NAMES = ("entropy", "variance", "n_eff", "gaussian_n_eff", "inverse_n_eff")


@torch.no_grad()
def by_row(model, windows: Tensor, part: int) -> dict[str, Tensor]:
    """Means over windows, each (depth, heads, T), for n = 1..T visible keys.

    ``variance``: of the row's own n logits (divided by n); ``gaussian_n_eff``: n e^{-variance}.
    """
    depth, heads, T = model.config["depth"], model.config["heads"], windows.shape[1] - 1
    total = {name: torch.zeros(depth, heads, T, dtype=torch.float64) for name in NAMES}
    n = torch.arange(1, T + 1, device=windows.device)

    def attend(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        s = A.logits(q, k, causal=True)
        z = s.masked_fill(s == -math.inf, 0.0).double()
        mean = z.sum(-1) / n
        # over the visible keys: the hidden ones are zeros here
        variance = (z.square().sum(-1) / n - mean.square()).clamp(min=0)  # rounding, at n = 1
        n_eff = A.effective_support(s)
        found = (A.entropy(s), variance, n_eff, n * torch.exp(-variance), 1 / n_eff)
        for name, value in zip(NAMES, found, strict=True):
            total[name][layer] += value.double().sum(0).cpu()
        return s.softmax(-1) @ v

    for batch in windows.split(part):
        model(batch[:, :-1], attend)
    return {name: value / len(windows) for name, value in total.items()}


def measure(model, windows: Tensor, part: int, arrays: dict, name: str) -> list[dict]:
    """The full rows go to ``arrays``; returned is the last row, n = context, head by head."""
    found = by_row(model, windows, part)
    for key in NAMES:
        arrays[f"{name}_{key}"] = found[key].numpy().astype(np.float32)
    T, rows = windows.shape[1] - 1, []
    for i in range(model.config["depth"]):
        for h in range(model.config["heads"]):
            last = {key: found[key][i, h, -1].item() for key in NAMES}
            formula = math.log(T) - last["variance"] / 2
            rows.append(dict(layer=i, head=h, n=T, gaussian_entropy=formula, **last))
    return rows
