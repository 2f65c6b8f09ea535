"""How good are the samples, and are they new? What metrics.json states is computed here.

Images are tensors (N, 1, H, W) in [-1, 1]. Samples are rounded to the gray levels of the real
images first (16 for the characters, 17 for the digits), so that nothing measured, and no player of
the guessing game, can tell them apart by their rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kexue import diffusion
from kexue.density import frechet_distance

LEVELS = {"digits": 17, "hanzi": 16}
BATCH = 1024  # samples drawn at once


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Clip to [-1, 1] and round to ``levels`` equally spaced gray levels."""
    return ((x.clamp(-1, 1) + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1


def to_bytes(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """[low, high] to 0..255."""
    return ((x.clamp(low, high) - low) / (high - low) * 255).round().to(torch.uint8)


def draw(
    model: Callable, schedule, n: int, shape: tuple, steps: int, variance: str, seed: int,
    device: torch.device, batch: int = BATCH,
) -> Tensor:  # fmt: skip
    """``n`` samples by ancestral sampling in ``steps`` steps; seeds give the same noise."""
    times, parts = schedule.timesteps(steps), []
    for start in range(0, n, batch):
        generator = torch.Generator(device).manual_seed(seed + start)
        x_T = torch.randn((min(batch, n - start), *shape), generator=generator, device=device)
        for _, x in diffusion.ddpm(model, x_T, schedule, times, variance, generator):  # noqa: B007
            pass  # the last state is the sample
        parts.append(x)
    return torch.cat(parts)


def held_out_loss(model: Callable, x0: Tensor, schedule, seed: int = 0) -> float:
    """The simple loss on x0 with times spread evenly over 1..T and noise from a fixed seed."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(1, schedule.T, len(x0)).round().long()
    t = t[torch.randperm(len(x0), generator=generator)].to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    with torch.no_grad():
        pairs = zip(x0.split(128), t.split(128), noise.split(128), strict=True)
        losses = [diffusion.loss(model, a, schedule, b, c).item() * len(a) for a, b, c in pairs]
    return sum(losses) / len(x0)


@torch.no_grad()
def all_features(ruler, x: Tensor) -> Tensor:
    """Features (N, D), a few images at a time."""
    return torch.cat([ruler.features(part) for part in x.split(512)])


@torch.no_grad()
def quality(samples: Tensor, classifier, real: dict[str, Tensor], shares: Tensor | None) -> dict:
    """Frechet distances to each real set; with class ``shares``, confidence and histogram too."""
    features = all_features(classifier, samples)
    row = {
        f"frechet_{name}": frechet_distance(features, all_features(classifier, x))
        for name, x in real.items()
    }
    if shares is not None:
        p = classifier(samples).softmax(1)
        got = torch.bincount(p.argmax(1), minlength=len(shares)) / len(samples)
        row["confidence"] = p.max(1).values.mean().item()
        row["shares"] = [round(v, 4) for v in got.tolist()]
        row["largest_share_gap"] = (got - shares).abs().max().item()
    return row


@torch.no_grad()
def nearest(x: Tensor, reference: Tensor, itself: bool = False) -> tuple[Tensor, Tensor]:
    """Distances to the two nearest images of ``reference`` (N, 2) and the index of the nearest.

    With ``itself`` the reference is x, and each image's distance to itself is left out.
    """
    found = []
    for start in range(0, len(x), 512):
        d = torch.cdist(x[start : start + 512].flatten(1), reference.flatten(1))
        if itself:
            d[torch.arange(len(d)), start + torch.arange(len(d))] = torch.inf
        found.append(d.topk(2, largest=False))
    return torch.cat([f.values for f in found]), torch.cat([f.indices[:, 0] for f in found])


@torch.no_grad()
def collage_distance(x: Tensor, reference: Tensor) -> Tensor:
    """Distance (N,) from each image to the best collage of two halves of ``reference`` images.

    The cut is a vertical or a horizontal line at any position from a quarter to three quarters;
    each side takes the image of ``reference`` that is nearest there. A real unseen character such
    as 明 is near a collage if its parts, 日 on the left and 月 on the right, both occur at the same
    place in characters of ``reference``.
    """
    best = torch.full((len(x),), torch.inf, device=x.device)
    for images, others in ((x, reference), (x.mT, reference.mT)):
        size = images.shape[-1]
        for cut in range(size // 4, 3 * size // 4 + 1):
            squares = []
            for side in (slice(None, cut), slice(cut, None)):
                there = others[..., side].flatten(1)
                here = images[..., side].flatten(1).split(512)
                squares.append(torch.cat([torch.cdist(h, there).amin(1) ** 2 for h in here]))
            best = torch.minimum(best, sum(squares).sqrt())
    return best


def novelty(samples: Tensor, train: Tensor, held_out: Tensor, control: Tensor, ruler) -> dict:
    """Are samples copies of training images, and are they made of real parts?

    Held-out real images pass through the same tests, which shows what a test says of innocents.

    - *copies*: nearer to a training image than any two training images are to each other.
    - *close*: nearer than 19 of 20 training images are to their own nearest neighbor.
    - *ratio_below_third*: the nearest image is three times nearer than the second nearest.
    - *redrawn*: in the features of ``ruler``, nearer to a training image than 19 of 20 training
      images are to themselves slightly warped (:func:`warp`): the same thing drawn again.
    - *collage*: distance to the best collage of two training images, and the share below the limit
      that nine of ten held-out images meet; ``control`` are samples of few steps.
    """
    apart, _ = nearest(train, train, itself=True)
    threshold, close = apart[:, 0].min().item(), apart[:, 0].quantile(0.05).item()
    out = {"copy_threshold": threshold, "close_threshold": close}
    out |= {"samples": len(samples), "held_out": len(held_out)}
    known = all_features(ruler, train)
    generator = torch.Generator(train.device).manual_seed(0)
    again = all_features(ruler, warp(train, generator))
    redrawn = out["redrawn_threshold"] = (again - known).norm(dim=1).quantile(0.95).item()
    for name, x in (("samples", samples), ("held_out", held_out)):
        d, _ = nearest(x, train)
        out[f"{name}_nearest_median"] = d[:, 0].median().item()
        out[f"{name}_nearest_smallest"] = d[:, 0].min().item()
        out[f"{name}_copies"] = int((d[:, 0] < threshold).sum())
        out[f"{name}_close"] = int((d[:, 0] < close).sum())
        same, _ = nearest(all_features(ruler, x), known)
        out[f"{name}_redrawn"] = int((same[:, 0] < redrawn).sum())
        out[f"{name}_ratio_below_third"] = int((d[:, 0] < d[:, 1] / 3).sum())
    d, _ = nearest(samples, held_out)
    out["samples_equal_to_held_out"] = int((d[:, 0] < threshold).sum())
    d, _ = nearest(samples, samples, itself=True)
    out["samples_doubled"] = int((d[:, 0] < threshold).sum())
    real = collage_distance(held_out, train)
    limit = real.quantile(0.9).item()
    out["collage_limit"] = limit  # nine of ten unseen real characters are below
    for name, x in (("samples", samples), ("held_out", held_out), ("control", control)):
        d = real if name == "held_out" else collage_distance(x, train)
        out[f"{name}_collage_median"] = d.median().item()
        out[f"{name}_collage_share"] = (d <= limit).float().mean().item()
    return out


def warp(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move, scale, shear and blur a little, and add noise: one character, written many ways."""
    B, device = len(x), x.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device) * 2 - 1

    theta = torch.eye(2, 3, device=device).repeat(B, 1, 1)
    theta = theta + 0.06 * uniform(B, 2, 3) + 0.02 * uniform(B, 2, 3)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    moved = F.grid_sample(x + 1, grid, align_corners=False) - 1
    soft = F.avg_pool2d(moved, 3, 1, 1, count_include_pad=False)
    blend = uniform(B, 1, 1, 1).clamp(min=0) * 0.5
    noise = torch.randn(x.shape, generator=generator, device=device)
    return moved + blend * (soft - moved) + 0.1 * uniform(B, 1, 1, 1).abs() * noise
