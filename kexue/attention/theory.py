r"""Softmax of random logits, exactly: how many keys share the weight, and the entropy that is left.

Independent normal logits are the random-energy model (Derrida 1981). Its averages are integrals in
one dimension, by the trick of ``_transform``; as n grows they have limits. The last border is at
spread = sqrt(2 ln n), where a few keys take all.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from kexue import _check
from kexue.attention._transform import F64, transform
from kexue.attention.noise import Normal

__all__ = [
    "entropy_floor",
    "entropy_gap",
    "entropy_scale",
    "mean_entropy",
    "participation",
    "participation_limit",
    "sphere_entropy",
]

STEP = 0.2  # of u = ln t: the trapezoid rule is exact to rounding, its integrands are that smooth


def participation(n: int, spread: float) -> float:
    r"""E sum_i p_i^2 of n independent logits N(0, spread^2), to 10 digits:
    n int_0^inf t E[e^{2x - t e^x}] (E e^{-t e^x})^{n-1} dt   (eq-attn-exact).

    Args:
        n: number of keys, 1 to 10^12. spread: standard deviation of the logits, 0 to 10.

    >>> f"{participation(1000, 1.0):.5f}, with e^{{s^2}} / n = {math.e / 1000:.5f}"
    '0.00270, with e^{s^2} / n = 0.00272'
    """
    n, spread = _row(n, spread)
    if spread == 0:
        return 1 / n
    u, log_phi, second = _integrands(spread)
    return n * STEP * (second * torch.exp(2 * u + n * log_phi)).sum().item()


def participation_limit(n: int, spread: float, typical: bool = False) -> float:
    r"""What sum_i p_i^2 tends to, in leading order, as n grows. With s = ``spread`` and
    u = sqrt(2 ln n): e^{s^2} / n at first (eq-attn-annealed) and 1 - u / s from s = u on
    (eq-attn-frozen). In between, the mean over rows and a typical row differ:

    * the mean is e^{s^2} / n up to s = u / sqrt(3), then rows with one lucky key make it up,
      exp(-(u^2 - s^2)^2 / (8 s^2))   (eq-attn-mean-row);
    * a typical row has e^{s^2} / n up to s = u / 2, then exp(-(u - s)^2)   (eq-attn-middle).

    In between it is the exponent of n that is right, and only for n beyond all use.

    Args:
        n, spread: as in ``participation``. typical: of a typical row; by default of the mean.

    >>> [f"{participation_limit(10**6, s):.1e}" for s in (1.0, 4.0, 8.0)]
    ['2.7e-06', '3.5e-01', '3.4e-01']
    """
    n, spread = _row(n, spread)
    last = math.sqrt(2 * math.log(n))
    if spread >= last:
        return 1 - last / spread if spread > 0 else 1.0
    if spread <= (last / 2 if typical else last / math.sqrt(3)):
        return math.exp(spread**2) / n
    if typical:
        return math.exp(-((last - spread) ** 2))
    return math.exp(-(((last**2 - spread**2) / spread) ** 2) / 8)


def mean_entropy(n: int, spread: float) -> float:
    r"""E H in nats of n independent logits N(0, s^2), s = ``spread``, to 1e-10:
    E ln Z - E sum_i p_i s_i, where E ln Z = int_0^inf (e^{-t} - (E e^{-t e^x})^n) / t dt, and
    E sum_i p_i s_i = s^2 sum_i E dp_i/ds_i = s^2 (1 - E sum_i p_i^2) by integration by parts.

    Arguments as in ``participation``.

    >>> f"{math.log(1000) - mean_entropy(1000, 1.0):.3f} nats below ln n; s^2 / 2 = 0.5"
    '0.498 nats below ln n; s^2 / 2 = 0.5'
    """
    n, spread = _row(n, spread)
    if spread == 0:
        return math.log(n)
    u, log_phi, _ = _integrands(spread)
    log_z = STEP * (torch.exp(-torch.exp(u)) - torch.exp(n * log_phi)).sum().item()
    return log_z - spread**2 * (1 - participation(n, spread))


def entropy_floor(n: int, tau: float) -> float:
    r"""The least entropy, in nats, of n logits that lie within [-1/tau, 1/tau], such as cosines
    divided by a temperature: m of them at the top and the others at the bottom, for the best m.

    It is ln n - ``entropy_gap(tau)`` as n grows.

    >>> f"{math.log(1000) - entropy_floor(1000, 1.0):.6f}"
    '0.474474'
    """
    n, tau = _check.integer("n", n, low=1), _check.positive_real("tau", tau)
    gap = 2 / tau
    low = math.exp(-gap)

    def entropy(m: int) -> float:
        z = m + (n - m) * low
        return math.log(z) + gap * (n - m) * low / z

    # The entropy falls, then rises in m; it turns where z = n gap low / (1 - low).
    gone = -math.expm1(-gap)
    best = n * (gap * low / gone - low) / gone
    return min(entropy(min(max(math.floor(best) + k, 1), n)) for k in (0, 1))


def entropy_gap(tau: float) -> float:
    r"""ln n less the least entropy of logits within [-1/tau, 1/tau], as n grows, in nats:
    M - 1 - ln M with M = (2/tau) / (1 - e^{-2/tau})   (eq-attn-floor).

    >>> f"{entropy_gap(1.0):.6f}"
    '0.474475'
    """
    gap = 2 / _check.positive_real("tau", tau)
    excess = gap / -math.expm1(-gap) - 1
    return excess - math.log1p(excess)


def sphere_entropy(n: int, d: int, scale: float) -> float:
    r"""H ~ ln n + (d/2) ln(1 - c^2), c = (sqrt(1 + 4 scale^2) - 1) / (2 scale): entropy in nats of
    the logits scale q . k_i, with q and k_i uniform on the sphere of radius sqrt(d)
    (eq-attn-sphere).

    For ln n large beside what is taken off; then within 0.09 nats from d = 4 on. Where the formula
    gives less than 0 there is no such n.

    >>> [f"{math.log(512) - sphere_entropy(512, 64, scale):.2f}" for scale in (1 / 64, 1 / 8)]
    ['0.01', '0.49']
    """
    n, d = _check.integer("n", n, low=1), _check.integer("d", d, low=2)
    scale = _check.real("scale", scale, low=0)
    # the same c, without a difference of nearly equal numbers
    c = 2 * scale / (math.sqrt(1 + 4 * scale**2) + 1)
    return math.log(n) + d / 2 * math.log1p(-(c**2))


def entropy_scale(n: int, d: int, entropy: float) -> float:
    r"""The scale at which ``sphere_entropy(n, d, scale)`` is ``entropy``, in nats:
    c / (1 - c^2) with c^2 = 1 - e^{-2 (ln n - entropy) / d}   (eq-attn-scale).

    >>> f"{entropy_scale(512, 64, sphere_entropy(512, 64, 0.125)):.6f}"
    '0.125000'
    """
    n, d = _check.integer("n", n, low=1), _check.integer("d", d, low=2)
    entropy = _check.real("entropy", entropy, low=0, high=math.log(n))
    loss = 2 * (math.log(n) - entropy) / d
    return math.sqrt(-math.expm1(-loss)) * math.exp(loss)


def _row(n: int, spread: float) -> tuple[int, float]:
    return _check.integer("n", n, 1, 10**12), _check.real("spread", spread, 0, 10)


@functools.lru_cache(maxsize=128)
def _integrands(spread: float) -> tuple[Tensor, Tensor, Tensor]:
    """At points u = ln t: u, ln E e^{-w} and E[e^{2x - w}] / E e^{-w}, where w = t e^x.

    Below, what is integrated vanishes like e^u for n <= 10^12; above, doubly fast.
    """
    reach = 14 * spread
    u = torch.arange(-reach - 70, reach + 5, STEP, dtype=F64)
    phi = transform(Normal(spread), u)
    return u, phi.log_phi * torch.exp(u), phi.variance + phi.first**2
