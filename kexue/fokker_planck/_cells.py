"""Equal cells of a box: their faces, their centers, and the nodes of a quadrature inside them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kexue import _check


def points_of(grids: list[Tensor]) -> Tensor:
    """The points of a product grid: (N,) with one axis, (*shape, d) with more."""
    return grids[0] if len(grids) == 1 else torch.stack(torch.meshgrid(*grids, indexing="ij"), -1)


def faces_of(axis: Any) -> Tensor:
    """The cells + 1 equally spaced faces of (low, high, cells)."""
    try:
        low, high, cells = axis
    except (TypeError, ValueError) as error:
        raise ValueError(f"axes: got {axis!r}, needs (low, high, cells)") from error
    low, high = _check.real("axes: low", low), _check.real("axes: high", high)
    if low >= high:
        raise ValueError(f"axes: got low = {low:g}, high = {high:g}, needs low < high")
    cells = _check.integer("axes: cells", cells, low=2)
    return torch.linspace(low, high, cells + 1, dtype=torch.float64)


def nodes_of(points: int, faces: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Nodes of a cell as offsets from its center, (points^d, 1, ..., 1[, d]), weights of sum 1."""
    nodes, weights = (torch.from_numpy(a) for a in _gauss(points))
    grids = [nodes * (face[1] - face[0]) / 2 for face in faces]
    offsets, d = points_of(grids), len(faces)
    shape = (-1, 1) if d == 1 else (-1, *[1] * d, d)
    return offsets.reshape(shape), points_of([weights / 2] * d).reshape(-1, d).prod(-1)


@lru_cache
def _gauss(points: int) -> tuple[NDArray, NDArray]:
    """Nodes and weights of Gauss and Legendre on [-1, 1]."""
    return np.polynomial.legendre.leggauss(points)


def fine_of(face: Tensor) -> Tensor:
    """The inner faces and the centers, alternating: center, face, center, ..., center."""
    half = (face[1] - face[0]) / 2
    return torch.linspace(face[0] + half, face[-1] - half, 2 * len(face) - 3, dtype=face.dtype)
