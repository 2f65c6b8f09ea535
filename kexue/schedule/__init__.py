"""Noise schedules: how much signal and how much noise is in x_t.

Every schedule is two amplitudes of time,

    x_t = alpha(t) x_0 + sigma(t) eps,        eps ~ N(0, I),

with data at t = 0 (alpha = 1, sigma = 0). All of them here preserve the variance,
``alpha(t)**2 + sigma(t)**2 = 1``, and are therefore defined by one function, ``log_alpha``.
The step from an earlier time s to a later t is x_t = a x_s + b eps with (a, b) = ``step(t, s)``.

Dictionary (amplitude here, power in most of the literature)::

    kexue            Su Jianlin (9119, 9164)      Ho et al. 2020, diffusers
    alpha(t)         \\bar\\alpha_t                 sqrt(\\bar\\alpha_t)
    sigma(t)         \\bar\\beta_t                  sqrt(1 - \\bar\\alpha_t)
    alpha_bar(t)     \\bar\\alpha_t^2               \\bar\\alpha_t = alphas_cumprod[t - 1]
    step(t, t-1)[0]  \\alpha_t                     sqrt(\\alpha_t)
    step(t, t-1)[1]  \\beta_t                      sqrt(\\beta_t)

Continuous schedules (``Cosine``, ``Linear``, ``Su``) take real t in [0, 1]. A ``DiscreteSchedule``
takes integers t in 0..T, and **index t means time t**: there is no off-by-one to remember, while
array libraries store time t at index t - 1. All amplitudes are float64.
"""

from kexue.schedule.base import Schedule, expand_like
from kexue.schedule.continuous import Cosine, Linear, Su
from kexue.schedule.discrete import DiscreteSchedule, cosine, discrete, ho_linear, su

__all__ = [
    "Cosine",
    "DiscreteSchedule",
    "Linear",
    "Schedule",
    "Su",
    "cosine",
    "discrete",
    "expand_like",
    "ho_linear",
    "su",
]
