"""Autoencoders whose latents are integers: what the ten thousand densities are densities of.

Several autoencoders, one for each price of an error, are trained at once: they are the groups of
one network's convolutions. An image becomes (rates, C, 8, 8) real numbers, rounded to integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue import nets
from kexue.nets.train import rate as one_cycle


class Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), in ``groups`` that do not see each other."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Codec(nn.Module):
    """``rates`` autoencoders side by side: images (B, 1, 32, 32), latents (B, rates, C, 8, 8).

    All convolutions work on 8 x 8 cells of 4 x 4 pixels.
    """

    def __init__(self, rates: int, width: int = 48, latents: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.rates, self.config = rates, dict(width=width, latents=latents, blocks=blocks)

        def side(enter: int, leave: int) -> nn.Sequential:
            layers = [nn.Conv2d(rates * enter, rates * width, 3, padding=1, groups=rates)]
            layers += [Residual(rates * width, rates) for _ in range(blocks)]
            layers += [nn.Conv2d(rates * width, rates * leave, 3, padding=1, groups=rates)]
            return nn.Sequential(*layers)

        self.encoder, self.decoder = side(16, latents), side(latents, 16)

    def encode(self, x: Tensor) -> Tensor:
        cells = F.pixel_unshuffle(x, 4).repeat(1, self.rates, 1, 1)
        return self.encoder(cells).unflatten(1, (self.rates, -1))

    def decode(self, y: Tensor) -> Tensor:
        """Images (B, rates, 32, 32)."""
        return F.pixel_shuffle(self.decoder(y.flatten(1, 2)), 4)

    def one(self, r: int) -> Codec:
        """Rate ``r`` alone: its share of every weight."""
        alone = Codec(1, **self.config)
        mine = {
            name: weight.unflatten(0, (self.rates, -1))[r]
            for name, weight in self.state_dict().items()
        }
        alone.load_state_dict(mine)
        return alone


class Price(nn.Module):
    """Bits of a latent under a mixture of logistics of its own, while the codec is trained.

    Flexible enough to let a latent have several modes, and none of the models compared later.
    """

    def __init__(self, *shape: int, parts: int = 3) -> None:
        super().__init__()
        start = torch.linspace(-2, 2, parts).expand(*shape, parts)
        self.loc = nn.Parameter(start.clone())
        self.log_scale, self.logit = (nn.Parameter(torch.zeros(*shape, parts)) for _ in "sw")

    def forward(self, y: Tensor) -> Tensor:
        z, half = y[..., None] - self.loc, 0.5
        scale = self.log_scale.exp().clamp(min=0.02)
        flip = -z.sign()  # far in a tail 1 - tiny has no digits left: use the tail that is tiny
        upper, lower = (torch.sigmoid(flip * (z + h) / scale) for h in (half, -half))
        mass = ((upper - lower).abs() * self.logit.softmax(-1)).sum(-1)
        return -mass.clamp(min=1e-9).log2()


def train(
    codec: Codec,
    x: Tensor,
    prices: Tensor,
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    precision: torch.dtype,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Minimize bits + price * squared error of an image, for each price at once.

    Rounding has no slope, so uniform noise in [-1/2, 1/2] stands in for it. Images are moved by up
    to one pixel. Yields (step, bits an image, squared error a pixel), one entry a rate.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    shape = codec.encode(x[:1]).shape[1:]
    price_of = Price(*shape).to(x.device)
    groups = [
        dict(params=codec.parameters(), lr=lr),
        dict(params=price_of.parameters(), lr=10 * lr),
    ]
    rates = [group["lr"] for group in groups]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
    scaler = torch.amp.GradScaler(x.device.type, enabled=precision == torch.float16)
    half = precision != torch.float32
    for step in range(1, steps + 1):
        for group, start in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = start * one_cycle(step, steps)
        chosen = torch.randint(len(x), (batch,), generator=generator, device=x.device)
        image = nets.shift(x[chosen], generator)
        with torch.autocast(x.device.type, precision, enabled=half):
            y = codec.encode(image).float()
            y = y + torch.rand(y.shape, generator=generator, device=y.device) - 0.5
            back = codec.decode(y).float()
        bits = price_of(y).flatten(2).sum(2).mean(0)
        error = (back - image).square().flatten(2).mean(2).mean(0)
        loss = (bits + prices * error * image[0].numel()).div(1 + prices).sum()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        yield step, bits.detach(), error.detach()


@torch.no_grad()
def latents(codec: Codec, x: Tensor) -> Tensor:
    """Rounded latents of all images, int16 (N, rates, C, 8, 8), in full precision."""
    return torch.cat([codec.encode(part).round().short() for part in x.split(512)])


@torch.no_grad()
def images(codec: Codec, q: Tensor) -> Tensor:
    """Images (N, rates, 32, 32) from integer latents."""
    return torch.cat([codec.decode(part.float()) for part in q.split(512)])
