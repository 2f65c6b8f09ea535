"""Diffusion models: the reverse posterior, prediction targets, the loss, DDPM and DDIM.

Notation: x_t = alpha(t) x_0 + sigma(t) eps for any ``kexue.schedule.Schedule``; a reverse step goes
from t to an earlier s, and (a, b) = schedule.step(t, s) is the forward step that it undoes. A model
is called ``model(x_t, t)`` with one time a sample, shape (B,), and predicts eps.

One ``*_step`` does the mathematics; ``ddpm`` and ``ddim`` only compose it and yield every state.
Sources: Ho et al. 2020 (arXiv:2006.11239), Song et al. 2020 (arXiv:2010.02502),
kexue.fm/archives/9164 and 9181.
"""

from kexue.diffusion.grid import chain_on_grid, reverse_kernel_on_grid
from kexue.diffusion.recorded import recorded_ddim
from kexue.diffusion.sample import ddim, ddpm
from kexue.diffusion.step import ddim_step, ddpm_step, posterior, reverse_variance
from kexue.diffusion.target import convert, exact_eps
from kexue.diffusion.training import elbo_weight, loss

__all__ = [
    "chain_on_grid",
    "convert",
    "ddim",
    "ddim_step",
    "ddpm",
    "ddpm_step",
    "elbo_weight",
    "exact_eps",
    "loss",
    "posterior",
    "recorded_ddim",
    "reverse_kernel_on_grid",
    "reverse_variance",
]
