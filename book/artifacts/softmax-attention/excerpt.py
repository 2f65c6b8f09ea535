"""What a CPU can measure again: the stored small model on a stored piece of its validation text."""

from __future__ import annotations

import torch
from noisy import Scale, normal
from recipes import FULL, held_out
from torch import Tensor

from kexue import attention as A


def windows(n: int) -> Tensor:
    return held_out(FULL["tiny"], torch.device("cpu"), n)


def measure(model, tokens: Tensor) -> dict:
    """Loss without noise, its increase at sigma = 0.5 and 1, and under noise common to a row."""
    scale = Scale(model, tokens.long(), len(tokens), draws=4)
    common = scale.under(A.Common(A.Normal(1.0)))["increase"]
    return scale.about() | dict(noise=normal(scale, (0.5, 1.0)), common=common)
