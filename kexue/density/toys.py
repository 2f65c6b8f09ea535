"""Laws made up for experiments, with a seed."""

from __future__ import annotations

import torch

from kexue import _check
from kexue.density.mixture import GaussianMixture

__all__ = ["multimodal"]


def multimodal(K: int, seed: int = 0) -> GaussianMixture:
    """K equally likely Gaussians: the targets of "Fourier Basis Density Model" (arXiv:2402.15345).

    Means uniform in (-0.5, 0.3), standard deviations uniform in (0.25, 0.35) times 10 / (6 K), as
    in the authors' tutorial; float64. Up to K modes, the narrower the more there are.

    Args:
        K: number of components, >= 1.
        seed: of the means and standard deviations, >= 0.

    >>> law = multimodal(10)
    >>> law
    GaussianMixture(K=10, event_shape=())
    >>> bool((law.means > -0.5).all() and (law.means < 0.3).all())
    True
    """
    K, seed = _check.integer("K", K, low=1), _check.integer("seed", seed, low=0)
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.rand(2, K, generator=generator, dtype=torch.float64)
    sigma = (0.25 + 0.1 * v) * 10 / (6 * K)
    return GaussianMixture(torch.full_like(u, 1 / K), 0.8 * u - 0.5, sigma**2)
