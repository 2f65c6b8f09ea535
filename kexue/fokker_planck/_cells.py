"""Equal cells of a box: their faces, their centers, and the nodes of a quadrature inside them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kexue import _check


class Axis:
    """``cells`` equal cells of width ``h`` on [low, high].

    ``faces`` (cells + 1,) and ``centers`` (cells,) alternate; ``inner`` is center, face, center,
    ..., center, both without the two walls.
    """

    def __init__(self, axis: Any) -> None:
        try:
            low, high, cells = axis
        except (TypeError, ValueError) as error:
            raise ValueError(f"axes: got {axis!r}, needs (low, high, cells)") from error
        low, high = _check.real("axes: low", low), _check.real("axes: high", high)
        if low >= high:
            raise ValueError(f"axes: got low = {low:g}, high = {high:g}, needs low < high")
        self.low, self.high, self.cells = low, high, _check.integer("axes: cells", cells, low=2)
        self.h = (high - low) / cells
        both = torch.linspace(low, high, 2 * cells + 1, dtype=torch.float64)
        self.faces, self.centers, self.inner = both[::2], both[1::2], both[1:-1]


def points_of(grids: list[Tensor]) -> Tensor:
    """The points of a product grid: (N,) with one axis, (*shape, d) with more."""
    return grids[0] if len(grids) == 1 else torch.stack(torch.meshgrid(*grids, indexing="ij"), -1)


@lru_cache
def nodes_of(points: int, d: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre on [-1, 1]^d: nodes, (points^d, 1, ..., 1[, d]), and weights of sum 1."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(points))
    nodes = points_of([nodes] * d).reshape((-1, 1) if d == 1 else (-1, *[1] * d, d))
    return nodes, points_of([weights / 2] * d).reshape(-1, d).prod(-1)
