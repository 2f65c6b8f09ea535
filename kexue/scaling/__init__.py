r"""Scaling laws from the quantization hypothesis.

=================  ================================================================================
file               what it holds
=================  ================================================================================
``quanta``         ``QuantaModel``: exact losses, local slopes, samples, simulated data sets
``exponents``      the power laws of infinitely many quanta; the best division of compute
``fits``           power laws and the law of quanta fitted to losses, with intervals
``parity``         ``SparseParity``: a task made of K small skills, each asked for as often as p_k
``stack``          ``train_stack``: networks of many widths, seeds and data sizes, trained at once
=================  ================================================================================

Notation: alpha the exponent, p_k = k^{-(alpha + 1)} / Z the frequency of quantum k, n quanta
learned, K tasks, N parameters, D samples, S steps. Losses are in bits.
Sources: Michaud, Liu, Girit and Tegmark (2023), arXiv:2303.13506; kexue.fm/archives/9607.
"""

from kexue.scaling.exponents import DIRECTIONS, Split, exponent, optimal_split
from kexue.scaling.fits import (
    JointLaw,
    PowerLaw,
    QuantaFit,
    fit_joint,
    fit_power_law,
    fit_quanta,
    local_slopes,
)
from kexue.scaling.parity import Batch, SparseParity
from kexue.scaling.quanta import QuantaModel
from kexue.scaling.stack import StackRun, train_stack

__all__ = [
    "DIRECTIONS",
    "Batch",
    "JointLaw",
    "PowerLaw",
    "QuantaFit",
    "QuantaModel",
    "SparseParity",
    "Split",
    "StackRun",
    "exponent",
    "fit_joint",
    "fit_power_law",
    "fit_quanta",
    "local_slopes",
    "optimal_split",
    "train_stack",
]
