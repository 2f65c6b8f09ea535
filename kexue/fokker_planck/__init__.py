"""Stochastic differential equations and the Fokker-Planck equation of their law.

Two witnesses that do not know of each other: particles (``simulate``, ``advance``) and finite
volumes. Both are held against laws that are known exactly, and against test functions
(``generator``, ``residual``).

Notation: dx = f(x, t) dt + g(x, t) dw in the sense of Itô; ``drift`` is f, ``diffusion`` is g, and
a score is grad log p. Source: kexue.fm/archives/9461.
"""

from kexue.fokker_planck.finite_volume import FiniteVolumes
from kexue.fokker_planck.laws import (
    DoubleWell,
    DoubleWellLaw,
    GeometricBrownian,
    OrnsteinUhlenbeck,
    Rotation,
)
from kexue.fokker_planck.sde import SDE, probability_flow, reverse, same_marginals
from kexue.fokker_planck.simulate import advance, euler_step, platen_step, simulate
from kexue.fokker_planck.vp import VariancePreserving
from kexue.fokker_planck.weak import TEST_FUNCTIONS, generator, residual

__all__ = [
    "SDE",
    "TEST_FUNCTIONS",
    "DoubleWell",
    "DoubleWellLaw",
    "FiniteVolumes",
    "GeometricBrownian",
    "OrnsteinUhlenbeck",
    "Rotation",
    "VariancePreserving",
    "advance",
    "euler_step",
    "generator",
    "platen_step",
    "probability_flow",
    "residual",
    "reverse",
    "same_marginals",
    "simulate",
]
