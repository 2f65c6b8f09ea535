r"""Softmax attention under noise: how far the output moves, and what entropy has to do with it.

=================  ================================================================================
file               what it holds
=================  ================================================================================
``noise``          laws of noise on logits: samples, ln E e^eps, V_eta
``softmax``        ``attention`` with noise, equal to torch's without; its ``logits``
``measures``       from logits: entropy, effective support, predicted error, bias, covariance
``exact``          ``sweep``: error and bias under noise of any strength, many laws, no draws
``simulate``       ``error``: the same by drawing the noise, with standard errors
``theory``         random logits: E 1 / n_eff, mean entropy, its bounds; the scale for an entropy
=================  ================================================================================

Notation: s logits, p = softmax(s), v values, o = sum p_i v_i; eps noise on logits, o~ the output
with it; eta = e^eps / E e^eps, V_eta = Var(eta), n_eff = 1 / sum p_i^2. Entropies are in nats.
Source: kexue.fm/archives/9593.
"""

from kexue.attention.exact import Moments, sweep
from kexue.attention.measures import (
    dropout_error,
    effective_support,
    entropy,
    predicted_bias,
    predicted_covariance,
    predicted_error,
)
from kexue.attention.noise import Common, Drop, Laplace, Noise, Normal, StudentT, Uniform
from kexue.attention.simulate import Measured, error
from kexue.attention.softmax import attention, logits, perturb
from kexue.attention.theory import (
    entropy_floor,
    entropy_gap,
    entropy_scale,
    mean_entropy,
    participation,
    participation_limit,
    sphere_entropy,
)

__all__ = [
    "Common",
    "Drop",
    "Laplace",
    "Measured",
    "Moments",
    "Noise",
    "Normal",
    "StudentT",
    "Uniform",
    "attention",
    "dropout_error",
    "effective_support",
    "entropy",
    "entropy_floor",
    "entropy_gap",
    "entropy_scale",
    "error",
    "logits",
    "mean_entropy",
    "participation",
    "participation_limit",
    "perturb",
    "predicted_bias",
    "predicted_covariance",
    "predicted_error",
    "sphere_entropy",
    "sweep",
]
