"""Transport distance of step densities, by hand and by an independent quadrature."""

import numpy as np
import pytest
import torch

from kexue.density import kl_on_grid, wasserstein2_on_grid

X = torch.arange(6, dtype=torch.float64)


def steps(*heights):
    """A density on six points with spacing 1 that vanishes at both ends."""
    return torch.tensor([0, *heights, 0], dtype=torch.float64)


def test_two_uniform_laws_by_hand():
    """On [0.5, 4.5] and on [1.5, 3.5] the quantiles differ by 2u - 1: W_2^2 = 1/3."""
    wide, narrow = steps(0.25, 0.25, 0.25, 0.25), steps(0, 0.5, 0.5, 0)
    assert wasserstein2_on_grid(wide, narrow, X) == pytest.approx(3**-0.5, rel=1e-12)
    assert kl_on_grid(narrow, wide, X) == pytest.approx(np.log(2), rel=1e-12)


@pytest.mark.parametrize(
    "one, two",
    [
        ((0.1, 0.2, 0.3, 0.4), (0.4, 0.1, 0.25, 0.25)),
        ((1.0, 0, 0, 0), (0.5, 0, 0, 0.5)),
        ((0.7, 0, 0, 0.3), (0, 0.2, 0.8, 0)),
    ],
)
def test_steps_against_midpoint_quadrature_of_the_quantiles(one, two):
    """The quantile functions, inverted by NumPy, at the middles of 400,000 intervals."""
    u = (np.arange(400_000) + 0.5) / 400_000
    edges = np.array([0, 0.5, 1.5, 2.5, 3.5, 4.5, 5])
    quantiles = []
    for heights in (one, two):
        cdf = np.concatenate([[0, 0], np.cumsum(heights), [1]])
        cell = np.searchsorted(cdf, u, side="right") - 1
        rise = cdf[cell + 1] - cdf[cell]
        quantiles.append(edges[cell] + (u - cdf[cell]) / rise * (edges[cell + 1] - edges[cell]))
    expected = np.sqrt(np.mean((quantiles[0] - quantiles[1]) ** 2))
    found = wasserstein2_on_grid(steps(*one), steps(*two), X)
    assert found == pytest.approx(expected, rel=1e-5)
