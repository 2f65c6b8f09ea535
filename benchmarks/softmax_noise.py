"""How far attention moves under noise on its logits: a loop of attention against one integral.

``python benchmarks/softmax_noise.py``: 8 heads, 1024 keys of size 64, 16 strengths of normal noise;
asked is E |o~ - o|^2 for every query. Three answers, timed in one process:

1. the loop as one writes it: torch's scaled_dot_product_attention, fresh noise as ``attn_mask``, 64
   draws for each strength;
2. the loop tuned: logits once, the 64 draws shared by all strengths (common random numbers: each
   strength as exact as before, no longer independent), in place, normalized after the product;
3. ``sweep``: no draws. The average over the noise is an integral over t, and the keys of a row are
   gathered on a grid of logits once for all strengths.

What (2) saves is statistics, shared draws; what (3) saves is algebra, and its result has no
sampling error. "To equal error" is what the loop would need, extrapolated from 1 / sqrt(draws).
Before anything is timed, the averages of the loops must lie within their error bars of ``sweep``.

The limit is that of gathering the keys, at the rate of a large product.

CPU seconds on one thread (about two minutes). On a GPU, if there is one and KEXUE_DEVICE is not
cpu: its seconds, for 1024 queries, in float32 without TF32.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from _table import Median, Row, cpu_seconds, report
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kexue import runtime
from kexue.attention import Moments, Normal, exact, logits, sweep

DEVICE = runtime.device()
HEADS, KEYS, SIZE, DRAWS = 8, 1024, 64, 64
QUERIES = 64 if DEVICE.type == "cpu" else 1024
SIGMAS = torch.linspace(0.125, 2.0, 16).tolist()


def seconds(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Median]:
    """Median seconds of each, taken in turns after one that does not count: of the CPU, or else of
    the device."""
    times = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            if DEVICE.type == "cpu":
                took = cpu_seconds(run, 1)[1]
            else:
                torch.cuda.synchronize()
                start = time.perf_counter()
                run()
                torch.cuda.synchronize()
                took = [time.perf_counter() - start]
            times[name] += took if turn else []
    return {name: Median(taken) for name, taken in times.items()}


def loop(q: Tensor, k: Tensor, v: Tensor, sigmas: list[float]) -> tuple[Tensor, Tensor]:
    """Mean and variance of |o~ - o|^2 over the draws, (sigmas, 1, heads, queries)."""
    o = scaled_dot_product_attention(q, k, v)
    total = torch.zeros(2, len(sigmas), *o.shape[:-1], device=q.device)
    for j, sigma in enumerate(sigmas):
        for _ in range(DRAWS):
            noise = sigma * torch.randn(*o.shape[:-1], k.shape[-2], device=q.device)
            moved = scaled_dot_product_attention(q, k, v, attn_mask=noise) - o
            square = moved.square().sum(-1)
            total[0, j] += square
            total[1, j] += square**2
    mean = total[0] / DRAWS
    return mean, (total[1] / DRAWS - mean**2) * DRAWS / (DRAWS - 1)


def tuned(q: Tensor, k: Tensor, v: Tensor, sigmas: list[float]) -> tuple[Tensor, Tensor]:
    """The same with shared draws and nothing made twice."""
    s = q[0] @ k[0].mT / math.sqrt(q.shape[-1])
    s -= s.amax(-1, keepdim=True)
    value = torch.cat([v[0], torch.ones_like(v[0, ..., :1])], -1)  # sums of weights come along
    o = s.softmax(-1) @ v[0]
    z, w = torch.empty_like(s), torch.empty_like(s)
    out = o.new_empty(*o.shape[:-1], o.shape[-1] + 1)
    total = torch.zeros(2, len(sigmas), *q.shape[:-1], device=q.device)
    for _ in range(DRAWS):
        z.normal_()
        for j, sigma in enumerate(sigmas):
            torch.add(s, z, alpha=sigma, out=w).exp_()
            torch.bmm(w, value, out=out)
            moved = (out[..., :-1] / out[..., -1:]).sub_(o)
            square = moved.square_().sum(-1)
            total[0, j] += square
            total[1, j] += square.square_()
    mean = total[0] / DRAWS
    return mean, (total[1] / DRAWS - mean**2) * DRAWS / (DRAWS - 1)


def ours(q: Tensor, k: Tensor, v: Tensor, sigmas: list[float]) -> Moments:
    """Logits and one sweep; the bias comes with it."""
    return sweep(logits(q, k), v, [Normal(sigma) for sigma in sigmas])


def agree(drawn: tuple[Tensor, Tensor], found: Tensor) -> float:
    """Assert that averages of draws lie around what was found; their median relative error."""
    mean, variance = (x.double() for x in drawn)
    error = (variance / DRAWS).sqrt()
    z = (mean - found)[0] / error[0]  # the weakest noise: strong noise has skewed squares
    rms = z.square().mean().sqrt()
    assert 0.9 < rms < 1.15, f"root mean square z of rows: {rms}"
    # Over the rows of a strength: their noise is independent.
    z = (mean - found).flatten(1).sum(1) / (variance / DRAWS).flatten(1).sum(1).sqrt()
    assert z.abs().max() < 4, f"averages are off by {z.tolist()} standard errors"
    return (error / found).median().item()


def grid_error(q: Tensor, k: Tensor, v: Tensor, found: Tensor) -> float:
    """Largest relative error of what was found: against float64 on a grid four times as fine."""
    coarse, exact.STEP = exact.STEP, exact.STEP / 4
    fine = ours(q.double(), k.double(), v.double(), SIGMAS).mse
    exact.STEP = coarse
    return (found / fine - 1).abs().max().item()


def gathering(q: Tensor, k: Tensor) -> float:
    """Operations that the gathering takes: 2 rows x grid x keys x values."""
    s = logits(q, k)
    grid = math.ceil((s.log_softmax(-1).max() - s.log_softmax(-1).min()).item() / exact.STEP)
    return 2.0 * HEADS * QUERIES * (grid + exact.STENCIL) * KEYS * SIZE


def main() -> int:
    """Check, time, print; return the number of bars missed."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    q = torch.randn(1, HEADS, QUERIES, SIZE, device=DEVICE)
    k, v = torch.randn(2, 1, HEADS, KEYS, SIZE, device=DEVICE)
    found = ours(q, k, v, SIGMAS).mse.double()
    spread = agree(loop(q, k, v, SIGMAS), found)
    assert abs(agree(tuned(q, k, v, SIGMAS), found) / spread - 1) < 0.1
    off = grid_error(q, k, v, found)

    a = torch.randn(2048, 2048, device=DEVICE)
    took = seconds(
        {
            "ours": lambda: ours(q, k, v, SIGMAS),
            "loop": lambda: loop(q, k, v, SIGMAS),
            "tuned": lambda: tuned(q, k, v, SIGMAS),
            "ours, one": lambda: ours(q, k, v, SIGMAS[7:8]),
            "loop, one": lambda: loop(q, k, v, SIGMAS[7:8]),
            "product": lambda: a @ a,
        },
        5,
    )
    bound = gathering(q, k) / (2 * 2048**3) * took["product"]
    unit = f"{DEVICE.type.upper()} s"
    label = f"{QUERIES} queries x 8 heads, 16 sigmas"
    more = (spread / off) ** 2
    rows = [
        Row(label, "SDPA in a loop, 64 draws", unit, took["loop"], took["ours"], 10, limit=bound),
        Row("", "", "rel. error", spread, off, 1),
        Row("", "the loop tuned, 64 draws", unit, took["tuned"], took["ours"], 5, limit=bound),
        Row("  one sigma", "SDPA in a loop, 64 draws", unit, took["loop, one"], took["ours, one"]),
        Row(
            "  to equal error (extrapolated)",
            "SDPA in a loop",
            unit,
            took["loop"] * more,
            took["ours"],
        ),
    ]
    name = "softmax_noise" if DEVICE.type == "cpu" else f"softmax_noise_{DEVICE.type}"
    return report(name, rows, sigmas=SIGMAS, draws=DRAWS)


if __name__ == "__main__":
    sys.exit(main())
