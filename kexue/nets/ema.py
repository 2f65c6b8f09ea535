"""An exponential moving average of the weights: the network that is kept."""

from __future__ import annotations

import copy

import torch
from torch import nn

from kexue import _check

__all__ = ["EMA"]


class EMA:
    r"""Average the weights over the last steps of training.

    .. math:: \bar\theta_k = d_k \bar\theta_{k-1} + (1 - d_k) \theta_k,
        \qquad d_k = \min\left(d, \frac{k}{k + 9}\right)

    With the decay d the average reaches back 1 / (1 - d) steps; d_k lets it forget the untrained
    start (k = 1, 2, ... counts the updates; d_1 = 0.1). ``.model`` is the averaged copy, in
    evaluation mode and without gradients.

    >>> ema = EMA(nn.Linear(1, 1), decay=0.99)
    >>> ema.model.training
    False
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model: got {type(model).__name__}, needs a torch.nn.Module")
        self.decay = _check.real("decay", decay, 0, 1)
        if self.decay == 1:
            raise ValueError("decay: got 1, needs a number below 1 (1 would never move)")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = 0
        self._average = list(self.model.parameters())
        self._weights = [parameter.detach() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights that the model has now (one fused operation for all of them)."""
        self.updates += 1
        d = min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(self._average, self._weights, 1 - d)
