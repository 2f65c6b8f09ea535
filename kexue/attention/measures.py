r"""What the logits of a row say before any noise is drawn: entropy, support, predicted error.

A row s of logits gives p = softmax(s). To leading order in noise, the output moves by
sum_i p_i (eta_i - 1) (v_i - o) (from eq-attn-identity), so that its error, bias and covariance need
p, the values and V_eta only.

Shapes are those of p @ v: logits (..., T, n) and values (..., n, D), or one row, (n,) and (n, D).
Logits may be -inf (hidden keys), but not in all of a row. Half types are computed in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kexue import _check
from kexue.attention.noise import Noise, broadcasts

__all__ = [
    "dropout_error",
    "effective_support",
    "entropy",
    "predicted_bias",
    "predicted_covariance",
    "predicted_error",
]


def entropy(logits: Tensor) -> Tensor:
    """H = -sum_i p_i ln p_i in nats, shape (...) for logits (..., n)   (eq-attn-entropy).

    >>> f"{entropy(torch.zeros(8)):.4f} = ln 8"
    '2.0794 = ln 8'
    """
    log_p = rows(logits).log_softmax(-1)
    return -torch.where(log_p > -math.inf, log_p.exp() * log_p, 0.0).sum(-1)


def effective_support(logits: Tensor) -> Tensor:
    """n_eff = 1 / sum_i p_i^2, between 1 and n, shape (...) for logits (..., n)   (eq-attn-neff).

    >>> effective_support(torch.tensor([0.0, 0.0, -1e4]))
    tensor(2.)
    """
    return 1 / rows(logits).softmax(-1).square().sum(-1)


def predicted_error(logits: Tensor, v: Tensor, noise: Noise) -> Tensor:
    r"""E |o~ - o|^2 ~ V_eta sum_i p_i^2 |v_i - o|^2, shape (..., T)   (eq-attn-error).

    Exact as the noise goes to zero, or as n_eff grows. Infinite where V_eta is.
    Noise that differs from key to key moves the mean too: it re-weights by m_i = E e^{eps_i}, so
    that o~ varies around o* = sum p*_i v_i, p*_i in proportion to p_i m_i, and
    E |o~ - o|^2 ~ |o* - o|^2 + 2 (o* - o) . bias* + sum_i V_i p*_i^2 |v_i - o*|^2.

    Args:
        logits: (..., T, n). v: (..., n, D). noise: the law of eps.

    >>> from kexue.attention import Drop
    >>> v = torch.eye(4)
    >>> f"{predicted_error(torch.zeros(4), v, Drop(0.5)):.4f} = 4 (1/4)^2 (3/4)"
    '0.1875 = 4 (1/4)^2 (3/4)'
    """
    s, v, single = rows_and_values(logits, v)
    shift, center, weights = _first_order(s, v, noise)
    error = (weights * _distance2(center, v)).sum(-1)
    if shift is not None:
        bias = _pull(weights, v, center)
        error = error + (shift * (shift + 2 * bias)).sum(-1)
    return error[..., 0] if single else error


def predicted_bias(logits: Tensor, v: Tensor, noise: Noise) -> Tensor:
    r"""E o~ - o ~ -V_eta sum_i p_i^2 (v_i - o), shape (..., T, D)   (eq-attn-bias).

    It pulls away from the keys that have the most weight. Arguments, and what is added for noise
    that differs from key to key, as in ``predicted_error``.

    Raises:
        ValueError: V_eta is infinite.
    """
    s, v, single = rows_and_values(logits, v)
    shift, center, weights = _first_order(s, v, noise, finite=True)
    bias = _pull(weights, v, center)
    bias = bias if shift is None else bias + shift
    return bias[..., 0, :] if single else bias


def predicted_covariance(logits: Tensor, v: Tensor, noise: Noise) -> Tensor:
    r"""Cov o~ ~ sum_i V_i p*_i^2 (v_i - o*)(v_i - o*)^T, shape (..., T, D, D);
    p* and o* are p and o where all keys have one law. Makes T n D numbers on the way.

    Raises:
        ValueError: V_eta is infinite.
    """
    s, v, single = rows_and_values(logits, v)
    _, center, weights = _first_order(s, v, noise, finite=True)
    offset = weights.sqrt()[..., None] * (v[..., None, :, :] - center[..., None, :])
    covariance = offset.mT @ offset
    return covariance[..., 0, :, :] if single else covariance


def dropout_error(logits: Tensor, v: Tensor, rate: float) -> Tensor:
    r"""E |o~ - o|^2 = rate / (1 - rate) sum_i p_i^2 |v_i|^2 for dropout of weights, exactly;
    shape (..., T)   (eq-attn-weight-drop). Arguments as in ``predicted_error``.

    >>> dropout_error(torch.zeros(2), torch.ones(2, 1), 0.5)  # logits dropped instead: error 0
    tensor(0.5000)
    """
    s, v, single = rows_and_values(logits, v)
    rate = _check.real("rate", rate, low=0)
    if rate >= 1:
        raise ValueError(f"rate: got {rate:g}, needs a number in [0, 1)")
    square = v.square().sum(-1, keepdim=True)
    error = rate / (1 - rate) * (s.softmax(-1).square() @ square)[..., 0]
    return error[..., 0] if single else error


def rows(logits: Tensor) -> Tensor:
    """Check logits (..., n) and return them in float32 or float64."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = getattr(logits, "dtype", type(logits).__name__)
        raise TypeError(f"logits: got {got}, needs a floating-point tensor")
    if logits.numel() == 0 or logits.ndim == 0:
        raise ValueError(f"logits: got shape {tuple(logits.shape)}, needs (..., n) with n >= 1")
    top = logits.amax(-1)  # NaN if there is one
    if not torch.isfinite(top).all():
        raise ValueError(
            "logits: got NaN, +inf or a row of -inf, needs numbers or -inf, not all -inf in a row"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def rows_and_values(logits: Tensor, v: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Logits (..., T, n) and values (..., n, D) in one dtype, and whether it was a single row."""
    s, v = rows(logits), _check.tensor("v", v)
    single = s.ndim == 1
    s = s[None] if single else s
    try:
        torch.broadcast_shapes(s.shape[:-2], v.shape[:-2])
        fits = v.ndim >= 2 and v.shape[-2] == s.shape[-1]
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"v: got shape {tuple(v.shape)}, needs (..., n, D) to go with logits of shape "
            f"{tuple(logits.shape)}"
        )
    wide = torch.promote_types(s.dtype, v.dtype)
    return s.to(wide), v.to(wide), single


def checked_noise(noise: Noise, s: Tensor) -> tuple[Tensor, Tensor]:
    """ln E e^eps and V_eta like the logits, to which the law's parameter must broadcast."""
    if not isinstance(noise, Noise):
        raise TypeError(f"noise: got {noise!r}, needs a law such as Normal(0.5)")
    for name, value in vars(noise).items():
        if isinstance(value, Tensor):
            broadcasts(name, value, s.shape)
    return noise.log_mean.to(s), noise.variance_ratio.to(s)


def _first_order(
    s: Tensor, v: Tensor, noise: Noise, finite: bool = False
) -> tuple[Tensor | None, Tensor, Tensor]:
    """o* - o, None where noise of one law makes it zero; o*; V_i p*_i^2."""
    log_mean, ratio = checked_noise(noise, s)
    if finite and not torch.isfinite(ratio).all():
        raise ValueError(f"noise: got {noise!r} with an infinite V_eta, needs a finite one")
    p, shift = s.softmax(-1), None
    center = p @ v
    if log_mean.ndim and torch.isfinite(log_mean).all():
        p = (s + log_mean).softmax(-1)
        shift, center = p @ v - center, p @ v
    return shift, center, torch.where(p > 0, ratio * p.square(), 0.0)


def _pull(weights: Tensor, v: Tensor, center: Tensor) -> Tensor:
    """-sum_i w_i (v_i - o), the values counted from their mean to keep digits."""
    mean = v.mean(-2, keepdim=True)
    return weights.sum(-1, keepdim=True) * (center - mean) - weights @ (v - mean)


def _distance2(center: Tensor, v: Tensor) -> Tensor:
    """|v_i - o_t|^2, shape (..., T, n): by differences, not by |v|^2 - 2 v.o + |o|^2, which
    has no digits left where a row is nearly one-hot."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(center, v, compute_mode=exact).square()
