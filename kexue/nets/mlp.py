"""A residual MLP: the network that learns to draw 8 x 8 digits on two CPU cores."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from kexue import _check
from kexue.nets.denoiser import Denoiser, TimeEmbedding
from kexue.schedule import Schedule

__all__ = ["MLP"]


class _Block(nn.Module):
    """h + W_2 silu(W_1 LayerNorm(h) + W_t e): the time steers which hidden units are awake."""

    def __init__(self, width: int, hidden: int, time: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.time = nn.Linear(time, hidden, bias=False)
        self.down = nn.Linear(hidden, width)
        nn.init.zeros_(self.down.weight)  # every block starts as the identity
        nn.init.zeros_(self.down.bias)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return h + self.down(F.silu(self.up(self.norm(h)) + self.time(e)))


class MLP(Denoiser):
    """Residual MLP on flattened data: x of shape (B, *shape) to the same shape.

    Args:
        shape: shape of one sample, for instance (1, 8, 8) or (2,).
        width: size of the residual stream.
        depth: number of residual blocks.
        hidden: size inside a block (default 2 * width).
        time: size of the time embedding.
        schedule, T: see :class:`~kexue.nets.Denoiser`.

    With D numbers a sample, width w, hidden size h, time features k and depth L it has
    ``D w + w + L (2 w + 2 w h + h + w + k h) + 2 w + w D + D`` parameters.

    >>> import torch
    >>> model = MLP((1, 8, 8), width=32, depth=2)
    >>> model(torch.randn(5, 1, 8, 8), 10).abs().max().item()  # a fresh network says zero
    0.0
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 256,
        depth: int = 3,
        hidden: int | None = None,
        time: int = 64,
        schedule: Schedule | None = None,
        T: float = 1000,
    ) -> None:
        super().__init__(schedule, T)
        self.shape = tuple(_check.integer("shape", n, low=1) for n in shape)
        width = _check.integer("width", width, low=1)
        hidden = 2 * width if hidden is None else _check.integer("hidden", hidden, low=1)
        depth, size = _check.integer("depth", depth, low=0), math.prod(self.shape)
        self.config = dict(shape=self.shape, width=width, depth=depth, hidden=hidden, time=time)
        self.embed = TimeEmbedding(time, self.T)
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_Block(width, hidden, time) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, size)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def check_input(self, x: Tensor) -> None:
        if x.shape[1:] != self.shape or len(x) == 0:
            need = ", ".join(map(str, self.shape))
            raise ValueError(f"x_t: got shape {tuple(x.shape)}, needs (B, {need}) with B >= 1")

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        e, h = self.embed(t), self.enter(x.flatten(1))
        for block in self.blocks:
            h = block(h, e)
        return self.leave(self.norm(h)).reshape(x.shape)
