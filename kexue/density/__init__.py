"""Laws whose density, score and denoiser are known exactly, and distances between laws."""

from kexue.density.distances import frechet_distance, kl_on_grid, wasserstein2_on_grid
from kexue.density.fourier import FourierDensity
from kexue.density.mixture import GaussianMixture

__all__ = [
    "FourierDensity",
    "GaussianMixture",
    "frechet_distance",
    "kl_on_grid",
    "wasserstein2_on_grid",
]
