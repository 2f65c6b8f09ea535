"""Stochastic differential equations and the Fokker-Planck equation of their law.

Two witnesses that do not know of each other: particles (``simulate``, ``advance``) and finite
volumes. Both are held against laws that are known exactly.

Notation: dx = f(x, t) dt + g(x, t) dw in the sense of Itô; ``drift`` is f, ``diffusion`` is g, and
a score is grad log p. Source: kexue.fm/archives/9461.
"""

from kexue.fokker_planck.laws import DoubleWell, OrnsteinUhlenbeck, VariancePreserving
from kexue.fokker_planck.sde import SDE, probability_flow, reverse, same_marginals
from kexue.fokker_planck.simulate import advance, euler_step, platen_step, simulate

__all__ = [
    "SDE",
    "DoubleWell",
    "OrnsteinUhlenbeck",
    "VariancePreserving",
    "advance",
    "euler_step",
    "platen_step",
    "probability_flow",
    "reverse",
    "same_marginals",
    "simulate",
]
