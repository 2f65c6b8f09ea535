"""Laws whose density, score and denoiser are known exactly, and distances between laws."""

from kexue.density.distances import frechet_distance, kl_on_grid, wasserstein2_on_grid
from kexue.density.factorized import FactorizedPrior
from kexue.density.fourier import FourierDensity
from kexue.density.mixture import GaussianMixture
from kexue.density.toys import multimodal

__all__ = [
    "FactorizedPrior",
    "FourierDensity",
    "GaussianMixture",
    "frechet_distance",
    "kl_on_grid",
    "multimodal",
    "wasserstein2_on_grid",
]
