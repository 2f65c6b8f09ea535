"""The device that the U-Nets run on: its clock, its rates, and the work that a network is."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kexue import runtime

DEVICE = runtime.device()
GPU = DEVICE.type == "cuda"
HALF = torch.bfloat16 if GPU else torch.float32


def wait() -> float:
    """The time at which the device has done all it was given."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def rates() -> tuple[float, float]:
    """Operations and bytes each second, of a large product and a large copy."""
    size = 8192 if GPU else 512
    a = torch.randn(size, size, device=DEVICE, dtype=HALF)
    b = torch.zeros(2**28 if GPU else 2**20, device=DEVICE)
    c, best = torch.empty_like(b), []
    for act, done in ((lambda: a @ a, 2 * size**3), (lambda: c.copy_(b), 8 * len(b))):
        times = []
        for _ in range(10):
            start = wait()
            act()
            times.append(wait() - start)
        best.append(done / min(times))
    return best[0], best[1]


def work(model: nn.Module, ways: int = 1) -> tuple[float, int, int]:
    """Operations, numbers read and numbers written by the layers of a U-Net for one image.

    ``ways`` = 3 counts the operations of the way back too, which are twice those of the way there.
    """
    read = written = 0

    def count(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        nonlocal read, written
        read, written = read + given[0].numel(), written + made.numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        like = next(model.parameters())
        model(like.new_zeros(1, 1, 32, 32), torch.ones(1, dtype=torch.long, device=like.device))
    for hook in hooks:
        hook.remove()
    return ways * flops.get_total_flops(), read, written
