"""Entropy models of integers, position by position, and what they cost in bits.

A *group* is a batch of positions whose alphabets have one size M: symbol j of a position stands
for the integer ``low + j``. A model is fitted to counts (P, M) and answers with a *table* (P, M) of
probabilities that sum to one; a table is all that a coder needs, and all that is compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kexue.density import FourierDensity
from kexue.density.factorized import FactorizedPrior

SIZES = (4, 8, 16, 32, 64)
FLOORS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
PSEUDO = (0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass
class Group:
    """Positions with one size of alphabet: which, where it starts, and the symbols (n, P)."""

    index: Tensor
    low: Tensor
    size: int
    train: Tensor
    test: Tensor

    def count(self, symbols: Tensor) -> Tensor:
        """Counts (P, M), float64, of symbols (n, P)."""
        P = symbols.shape[1]
        flat = symbols.long() + self.size * torch.arange(P, device=symbols.device)
        return torch.bincount(flat.flatten(), minlength=P * self.size).view(P, self.size).double()


def alphabets(train: Tensor) -> tuple[Tensor, Tensor]:
    """First integer and size (P,) of each position's alphabet: its range in ``train`` (n, P), made
    up to the next of ``SIZES`` by bins on both sides. What lies outside is clamped by the codec."""
    low, high = train.long().aminmax(dim=0)
    span = high - low + 1
    if span.max() > SIZES[-1]:
        raise ValueError(f"train: got a range of {span.max()} integers, needs <= {SIZES[-1]}")
    size = torch.tensor(SIZES, device=train.device)
    size = size[torch.searchsorted(size, span)]
    return low - (size - span) // 2, size


def groups(train: Tensor, test: Tensor) -> list[Group]:
    """Sort positions by the size of their alphabets; symbols from integers (n, P)."""
    low, size = alphabets(train)
    made = []
    for M in SIZES:
        index = (size == M).nonzero()[:, 0]
        if len(index):
            symbols = [
                (q[:, index].long() - low[index]).clamp(0, M - 1).short() for q in (train, test)
            ]
            made.append(Group(index, low[index], M, *symbols))
    return made


# Models: counts (P, M) to tables (P, M) ------------------------------------------------------


def histogram(counts: Tensor, pseudo: float = 0.0) -> Tensor:
    """Relative frequencies, with ``pseudo`` counts added to every bin."""
    counts = counts + pseudo
    return counts / counts.sum(-1, keepdim=True)


def fourier(counts: Tensor, terms: int, penalty: float = 0.0) -> FourierDensity:
    """The Fourier density of maximum bin likelihood, one a position, on [-1, 1]."""
    return FourierDensity.fit_counts(counts, terms, penalty)


def masses(law: FourierDensity, bins: int) -> Tensor:
    """Table (P, bins) of a batch of densities on [-1, 1]."""
    edge = torch.linspace(-1, 1, bins + 1, dtype=torch.float64, device=law.a.device)[:, None]
    mass = law.bin_log_prob(edge[:-1], edge[1:]).exp().mT
    return mass / mass.sum(-1, keepdim=True)  # 1 but for rounding


def factorized(
    counts: Tensor, size: Tensor, filters: tuple, steps: int, seed: int, starts: int = 2
) -> Tensor:
    """Deep factorized priors; the tails belong to the first and last symbol.

    Like :func:`logistic` of all positions in one batch: row i of ``counts`` (P, M) uses its first
    ``size[i]`` bins. Where a position ends depends on where it starts, by 0.8 bits on some:
    each takes the better of two ``starts``.
    """
    dice = torch.Generator().manual_seed(seed)
    every = counts.repeat(starts, 1)
    law = FactorizedPrior.fit_counts(every, filters, steps=steps, generator=dice)
    M = counts.shape[-1]
    low, high = ends(size.repeat(starts), M)
    there = low < high
    low, high = (torch.where(there, edge, j).mT * 2 / M - 1 for j, edge in enumerate((low, high)))
    table = torch.where(there, law.bin_log_prob(low, high).exp().mT, 0).view(starts, -1, M)
    best = bits(table.clamp(min=1e-300), counts).argmin(0)
    return table[best, torch.arange(len(best), device=best.device)]


def logistic(counts: Tensor, size: Tensor, steps: int = 200) -> Tensor:
    """Logistic laws of maximum bin likelihood; the tails belong to the first and last symbol."""
    share = histogram(counts)
    low, high = (edge.clamp(-1e6, 1e6) for edge in ends(size, counts.shape[-1]))  # slopes exist
    x = torch.arange(counts.shape[-1], dtype=counts.dtype, device=counts.device) + 0.5
    mean = (share * x).sum(-1, keepdim=True)
    spread = (share * (x - mean).square()).sum(-1, keepdim=True).sqrt()
    loc = mean.clone().requires_grad_()
    log_scale = (0.55 * spread).clamp(min=0.1).log().requires_grad_()

    def table() -> Tensor:
        a, b = ((edge - loc) * (-log_scale).exp() for edge in (low, high))
        flip = a > 0  # the side on which no number is near 1
        return torch.sigmoid(torch.where(flip, -a, b)) - torch.sigmoid(torch.where(flip, -b, a))

    optimizer = torch.optim.Adam([loc, log_scale], lr=0.1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / steps)) / 2
        loss = -torch.special.xlogy(share, table().clamp(min=1e-30)).sum()
        loc.grad, log_scale.grad = torch.autograd.grad(loss, [loc, log_scale])
        optimizer.step()
        with torch.no_grad():
            log_scale.clamp_(min=-4)
    return table().detach()


def ends(size: Tensor, M: int) -> tuple[Tensor, Tensor]:
    """Where the bins of each position begin and end (P, M): bin j is [j, j + 1], the first and
    last of ``size`` reach to infinity, those beyond are empty."""
    j = torch.arange(M + 1, dtype=torch.float64, device=size.device).expand(len(size), -1)
    edge = torch.where(j < size[:, None], j, math.inf)
    edge = torch.where(j == 0, -math.inf, edge)
    return edge[:, :-1], edge[:, 1:]


# What they cost ------------------------------------------------------------------------------


def floored(table: Tensor, weight: float) -> Tensor:
    """Mix with a little of the uniform law: no symbol of the alphabet may be impossible."""
    return (1 - weight) * table + weight / table.shape[-1]


def bits(table: Tensor, counts: Tensor) -> Tensor:
    """Mean bits a symbol (P,) that ``counts`` (P, M) cost under ``table``."""
    return -torch.special.xlogy(counts, table).sum(-1) / counts.sum(-1) / math.log(2)


def entropy(counts: Tensor) -> Tensor:
    """Bits (P,): what the counts cost under their own frequencies."""
    return bits(histogram(counts).clamp(min=1e-300), counts)


def sample(group: Group, n: int, number: int = 128) -> tuple[Tensor, Tensor]:
    """Counts to choose settings by: four fifths and a fifth of the first ``n`` training images, of
    at most ``number`` of the group's positions."""
    part = torch.linspace(0, len(group.index) - 1, min(number, len(group.index))).long().unique()
    symbols = group.train[:n, part.to(group.train.device)]
    held = torch.arange(len(symbols), device=symbols.device) % 5 == 4
    return group.count(symbols[~held]), group.count(symbols[held])


def cheapest(tables: dict[tuple, Tensor], judge: Tensor, floors: tuple = FLOORS) -> list:
    """The setting, and the share of the uniform law, that cost ``judge`` the fewest bits.

    One choice for a whole group: so few images cannot choose for each position by itself.
    """
    cost = {
        (*setting, floor): bits(floored(table, floor), judge).mean().item()
        for setting, table in tables.items()
        for floor in floors
    }
    return list(min(cost, key=cost.get))


def frequencies(table: Tensor) -> Tensor:
    """A table as a coder's file would hold it: integers (int32) of 16 bits, none of them zero."""
    return (table * 65535).round().clamp(min=1).int()


def modes(counts: Tensor, depth: float = 0.15) -> Tensor:
    """How many peaks (P,) the counts have, parted by valleys ``depth`` of the highest bin deep
    (three standard errors for bins of a few hundred)."""
    share = counts / counts.amax(-1, keepdim=True)
    number = torch.ones(len(counts), device=counts.device)
    top = torch.full_like(number, -math.inf)
    bottom = torch.full_like(number, math.inf)
    falling = torch.zeros_like(number, dtype=torch.bool)
    for value in share.T:
        top = torch.where(falling, top, torch.maximum(top, value))
        bottom = torch.where(falling, torch.minimum(bottom, value), bottom)
        turned = ~falling & (value < top - depth)
        bottom = torch.where(turned, value, bottom)
        rises = falling & (value > bottom + depth)
        number = number + rises
        top = torch.where(rises, value, top)
        falling = (falling | turned) & ~rises
    return number.long()


def skewness(counts: Tensor) -> Tensor:
    """Third standardized moment (P,) of the counts."""
    share = histogram(counts)
    x = torch.arange(counts.shape[-1], dtype=counts.dtype, device=counts.device)
    x = x - (share * x).sum(-1, keepdim=True)
    variance = (share * x**2).sum(-1)
    return (share * x**3).sum(-1) / variance.clamp(min=1e-12) ** 1.5
