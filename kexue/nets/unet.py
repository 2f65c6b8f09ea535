"""The U-Net of the diffusion chapters: convolutions, two halvings, attention where it is cheap."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue import _check
from kexue.nets import _norm
from kexue.nets._norm import GroupNorm
from kexue.nets.denoiser import Denoiser, TimeEmbedding
from kexue.schedule import Schedule

__all__ = ["UNet"]


def _zero(layer: nn.Module) -> nn.Module:
    """Start a layer at zero, so that the branch it ends says nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), scaled and shifted by the time in the middle."""

    def __init__(self, fan_in: int, fan_out: int, time: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(fan_in), nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.time = nn.Linear(time, 2 * fan_out)
        self.norm2 = GroupNorm(fan_out)
        self.conv2 = _zero(nn.Conv2d(fan_out, fan_out, 3, padding=1))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x, silu=True))
        h = self.norm2(h, self.time(e), silu=True)
        return self.skip(x) + self.conv2(self.dropout(h))


class Attention(nn.Module):
    """x + attention over the H W positions, in heads: softmax(q k / sqrt d) v."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads: got {heads}, needs a divisor of {channels} channels")
        self.heads, self.norm = heads, GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        q, k, v = self.qkv(tokens).view(B, H * W, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v)  # (B, heads, H W, C / heads)
        h = self.out(h.transpose(1, 2).reshape(B, H * W, C))
        return x + h.transpose(1, 2).reshape(B, C, H, W)


class UNet(Denoiser):
    """Images (B, C, H, W) to the same shape; H and W divisible by ``patch * 2**(levels - 1)``.

    Down: ``blocks`` residual blocks a level, then a strided convolution halves the image. Middle:
    one block and attention. Up: as many blocks, each of which also sees what its twin on the way
    down produced, then nearest neighbors and a convolution double the image. Attention follows
    each block of the coarsest level. GroupNorm, SiLU; the last convolution and the end of every
    branch start at zero.

    Args:
        image_channels: C.
        channels: channels of each level, finest first.
        blocks: residual blocks a level, each way.
        heads: attention heads.
        dropout: inside the residual blocks.
        patch: work on patch x patch pixels as channels (1: on pixels); 2 makes everything four
            times smaller, and the same seconds buy more training.
        join: how a block up sees its twin: "concat" (twice the channels) or "add".
        schedule, T: see :class:`~kexue.nets.Denoiser`.

    Source of the design: Ho et al. 2020, appendix B, with the scale and shift of Dhariwal & Nichol
    2021 (arXiv:2105.05233), section 3.

    >>> model = UNet(1, channels=(16, 32), blocks=1)
    >>> model(torch.randn(2, 1, 16, 16), torch.tensor([1, 1000])).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        image_channels: int = 1,
        channels: tuple[int, ...] = (40, 80, 120),
        blocks: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        patch: int = 1,
        join: str = "concat",
        schedule: Schedule | None = None,
        T: float = 1000,
    ) -> None:
        super().__init__(schedule, T)
        channels = tuple(_check.integer("channels", c, low=8) for c in channels)
        if not channels:
            raise ValueError("channels: got (), needs at least one level")
        self.config = dict(
            image_channels=_check.integer("image_channels", image_channels, low=1),
            channels=channels,
            blocks=_check.integer("blocks", blocks, low=1),
            heads=_check.integer("heads", heads, low=1),
            dropout=_check.real("dropout", dropout, 0, 1),
            patch=_check.integer("patch", patch, low=1),
            join=_check.one_of("join", join, ("concat", "add")),
        )
        self.patch, self.levels, self.join = patch, len(channels), join
        pixels, last, time = image_channels * patch**2, channels[-1], 128
        self.embed = nn.Sequential(
            TimeEmbedding(64, self.T), nn.Linear(64, time), nn.SiLU(), nn.Linear(time, time)
        )

        def stage(width: int, level: int, fan_in: int | None = None) -> nn.ModuleList:
            block = ResBlock(fan_in or width, width, time, dropout)
            attend = level == self.levels - 1
            return nn.ModuleList([block, Attention(width, heads) if attend else nn.Identity()])

        self.enter = nn.Conv2d(pixels, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(channels):
            both = 2 * width if join == "concat" else width
            self.down.append(nn.ModuleList(stage(width, level) for _ in range(blocks)))
            self.up.append(nn.ModuleList(stage(width, level, both) for _ in range(blocks)))
        for fine, coarse in itertools.pairwise(channels):
            self.shrink.append(nn.Conv2d(fine, coarse, 3, stride=2, padding=1))
            self.grow.append(
                nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 3, padding=1))
            )
        self.middle = stage(last, self.levels - 1)
        self.leave = nn.Sequential(
            GroupNorm(channels[0]), nn.SiLU(), _zero(nn.Conv2d(channels[0], pixels, 3, padding=1))
        )

    def check_input(self, x: Tensor) -> None:
        multiple, C = self.patch * 2 ** (self.levels - 1), self.config["image_channels"]
        if x.ndim != 4 or x.shape[1] != C or 0 in x.shape or any(n % multiple for n in x.shape[2:]):
            raise ValueError(
                f"x_t: got shape {tuple(x.shape)}, needs (B, {C}, H, W) with H and W "
                f"divisible by {multiple}"
            )

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        e = F.silu(self.embed(t))
        h = self.enter(F.pixel_unshuffle(x, self.patch))
        if _norm.usable(h):
            h = h.contiguous(memory_format=torch.channels_last)
        twins = []
        for level in range(self.levels):
            for block, attend in self.down[level]:
                h = attend(block(h, e))
                twins.append(h)
            if level < self.levels - 1:
                h = self.shrink[level](h)
        block, attend = self.middle
        h = attend(block(h, e))
        for level in reversed(range(self.levels)):
            for block, attend in self.up[level]:
                twin = twins.pop()
                h = torch.cat([h, twin], dim=1) if self.join == "concat" else h + twin
                h = attend(block(h, e))
            if level:
                h = self.grow[level - 1](h)
        norm, _, conv = self.leave
        return F.pixel_shuffle(conv(norm(h, silu=True)), self.patch)
