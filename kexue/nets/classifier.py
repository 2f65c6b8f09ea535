"""A small convolutional classifier: its confidence and its features measure generated images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue import _check

__all__ = ["Classifier", "fit", "shift"]


class Classifier(nn.Module):
    """Images (B, 1, size, size) to logits (B, classes); ``features`` are what it looks at.

    A 3 x 3 convolution, then one of stride 2 for each further entry of ``channels``, then a linear
    map to ``features`` numbers, SiLU after each, then the logits.

    Features are in units in which the training data's have total variance 100 (:func:`fit` sets
    ``unit``): a Frechet distance of 100 is what a sampler gets that draws the mean feature every
    time, and one of 1 is a hundredth of the data's variance.

    Args:
        size: height and width, divisible by ``2 ** (len(channels) - 1)``.
        classes: number of classes.
        channels: channels of the convolutions.
        features: number of features.
    """

    def __init__(
        self,
        size: int = 8,
        classes: int = 10,
        channels: tuple[int, ...] = (32, 64, 64),
        features: int = 64,
    ) -> None:
        super().__init__()
        channels = tuple(_check.integer("channels", c, low=1) for c in channels)
        halvings = len(channels) - 1
        if not channels or _check.integer("size", size, low=1) % 2**halvings:
            raise ValueError(f"size: got {size}, needs a multiple of {2 ** max(halvings, 0)}")
        self.config = dict(
            size=size,
            classes=_check.integer("classes", classes, low=2),
            channels=channels,
            features=_check.integer("features", features, low=1),
        )
        layers: list[nn.Module] = [nn.Conv2d(1, channels[0], 3, padding=1), nn.SiLU()]
        for fan_in, fan_out in itertools.pairwise(channels):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), nn.SiLU()]
        flat = channels[-1] * (size >> halvings) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, features), nn.SiLU())
        self.head = nn.Linear(features, classes)
        self.register_buffer("unit", torch.ones(()))

    def features(self, x: Tensor) -> Tensor:
        """Features of shape (B, features), in units of a tenth of the data's total deviation."""
        size = self.config["size"]
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1:] != (1, size, size):
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: got {got}, needs a tensor of shape (B, 1, {size}, {size})")
        return self.body(x) / self.unit

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x) * self.unit)


def shift(x: Tensor, generator: torch.Generator, reach: int = 1) -> Tensor:
    """Move each image by up to ``reach`` pixels each way, filling in with -1 (background).

    >>> g = torch.Generator().manual_seed(0)
    >>> shift(torch.ones(2, 1, 4, 4), g, reach=0).equal(torch.ones(2, 1, 4, 4))
    True
    """
    B, _, H, W = x.shape
    padded = F.pad(x, (reach,) * 4, value=-1.0)
    down, right = (
        torch.randint(2 * reach + 1, (B, 1), generator=generator, device=x.device) for _ in "hw"
    )
    rows = (down + torch.arange(H, device=x.device))[:, None, :, None]
    columns = (right + torch.arange(W, device=x.device))[:, None, None, :]
    sample = torch.arange(B, device=x.device)[:, None, None, None]
    return padded[sample, torch.zeros_like(sample), rows, columns]


def fit(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 600,
    batch: int = 128,
    lr: float = 3e-3,
    augment: Callable[[Tensor, torch.Generator], Tensor] = shift,
    seed: int = 0,
) -> Iterator[tuple[int, Tensor]]:
    """Train a classifier by cross-entropy; yields (step, loss). At the end it sets ``model.unit``.

    AdamW under a one-cycle step size; ``augment(images, generator)`` changes each batch.
    """
    x, y = _check.tensor("x", x), _check.tensor("y", y, floating=False)
    if len(x) != len(y) or y.ndim != 1:
        raise ValueError(f"y: got shape {tuple(y.shape)}, needs ({len(x)},), one label an image")
    generator = torch.Generator(x.device).manual_seed(_check.integer("seed", seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps + 1)
    model.train()
    for step in range(1, _check.integer("steps", steps, low=1) + 1):
        chosen = torch.randint(len(x), (batch,), generator=generator, device=x.device)
        loss = F.cross_entropy(model(augment(x[chosen], generator)), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield step, loss.detach()
    model.eval()
    with torch.no_grad():
        features = torch.cat([model.features(part) for part in x.split(512)])
        model.unit *= (features.var(0).sum() / 100).sqrt()
