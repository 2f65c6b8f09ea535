r"""Longer texts than those of the training: logits as they are, or multiplied by a function of n.

A row that sees n keys has its logits multiplied by f(n): 1 (plain), ln n / ln L (log) or its square
root (sqrt), L the length of the training. At test alone: from n = L on, where f = 1. In training:
everywhere. Scored are always the same last L bytes; what grows is what stands to their left.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from recipes import spread, train
from torch import Tensor
from torch.nn import functional as F

from kexue import data
from kexue.nets import language_loss

MULTIPLES = (1, 2, 4, 8)
POWERS = {"plain": 0.0, "log": 1.0, "sqrt": 0.5}


def scaled(name: str, L: int, everywhere: bool) -> Callable:
    """The hook whose logits in the row of n keys are f(n) q.k / sqrt(D)."""

    def attend(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        n = torch.arange(1, q.shape[-2] + 1, device=q.device)
        f = (n.log() / math.log(L)) ** POWERS[name]
        f = f if everywhere else torch.where(n > L, f, 1.0)
        return F.scaled_dot_product_attention(q * f[:, None].to(q.dtype), k, v, is_causal=True)

    return attend


def segments(text: Tensor, L: int, n: int) -> Tensor:
    """Windows of 8 L + 1 bytes; the last L of them lie equally far apart over the text."""
    windows = text.unfold(0, MULTIPLES[-1] * L + 1, L)
    return spread(windows, min(n, len(windows))).long()


@torch.no_grad()
def last_losses(model, windows: Tensor, attend, part: int) -> Tensor:
    """Mean nats of the last L bytes of each window, (S,)."""
    L = model.context
    return torch.cat([language_loss(model, w, attend)[:, -L:].mean(1) for w in windows.split(part)])


def measure(
    recipe: dict, cases: list[tuple[str, str, int]], n: int, part: int, device: torch.device, say
) -> dict:
    """``cases``: (position, scale in training, seed). A row for each test scale and multiple."""
    L, rows, trained = recipe["model"]["context"], [], []
    windows = segments(data.text(recipe["text"], "test").tokens, L, n).to(device)
    for position, scale, seed in cases:
        recipe_ = recipe | dict(model=recipe["model"] | dict(position=position))
        attend = None if scale == "plain" else scaled(scale, L, True)
        model, record = train(recipe_, seed, device, say, attend=attend)
        trained.append(dict(position=position, trained=scale, **record))
        tests = POWERS if scale == "plain" else (scale,)
        for test in tests:
            hook = None if test == "plain" else scaled(test, L, everywhere=scale != "plain")
            for m in MULTIPLES:
                loss = last_losses(model, windows[:, -m * L - 1 :], hook, max(1, part // m))
                rows.append(dict(
                    position=position, trained=scale, test=test, seed=seed, multiple=m,
                    loss=loss.mean().item(), se=(loss.std() / math.sqrt(len(loss))).item(),
                ))  # fmt: skip
    return dict(length=L, segments=len(windows), trained=trained, rows=rows)
