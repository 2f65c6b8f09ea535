r"""Scaling laws from the quantization hypothesis.

=================  ================================================================================
file               what it holds
=================  ================================================================================
``quanta``         ``QuantaModel``: exact losses, local slopes, samples, simulated data sets
``exponents``      the power laws of infinitely many quanta; the best division of compute
=================  ================================================================================

Notation: alpha the exponent, p_k = k^{-(alpha + 1)} / Z the frequency of quantum k, n quanta
learned, K tasks, N parameters, D samples, S steps. Losses are in bits.
Sources: Michaud, Liu, Girit and Tegmark (2023), arXiv:2303.13506; kexue.fm/archives/9607.
"""

from kexue.scaling.exponents import DIRECTIONS, Split, exponent, optimal_split
from kexue.scaling.quanta import QuantaModel

__all__ = ["DIRECTIONS", "QuantaModel", "Split", "exponent", "optimal_split"]
