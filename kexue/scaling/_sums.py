r"""Sums of powers and of decays, to rounding: the exact halves of what ``quanta`` says.

Both are Euler and Maclaurin's formula at half-integers: a sum of f over whole k from n + 1 to K is
int_{n+1/2}^{K+1/2} f dx + sum_j B_{2j}(1/2) / (2j)! (f^{(2j-1)}(K + 1/2) - f^{(2j-1)}(n + 1/2)).
Its first term alone is the n + 1/2 of eq-scale-half.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

F64 = torch.float64
FIRST = 16  # terms that are summed as they are, before the formula takes over
#: B_{2j}(1/2) / (2j)! for j = 1, ..., 7
WEIGHTS = (
    -1 / 24,
    7 / 5760,
    -31 / 967680,
    127 / 154828800,
    -73 / 3503554560,
    1414477 / 2678117105664000,
    -8191 / 612141052723200,
)


def box(alpha: Tensor | float, log_ratio: Tensor) -> Tensor:
    r"""int_1^R x^{-(alpha + 1)} dx = (1 - R^{-alpha}) / alpha, or ln R at alpha = 0.

    R = e^log_ratio; it may be infinite where alpha > 0.
    """
    alpha = torch.as_tensor(alpha, dtype=F64, device=log_ratio.device)
    divisor = torch.where(alpha == 0, 1.0, alpha)
    return torch.where(alpha == 0, log_ratio, -torch.expm1(-alpha * log_ratio) / divisor)


def log_in_box(alpha: float, u: Tensor, log_ratio: float) -> Tensor:
    """ln x such that the integral of ``box`` from 1 to x is the share u in [0, 1) of the whole."""
    if alpha == 0:
        return u * log_ratio
    return -torch.log1p(u * math.expm1(-alpha * log_ratio)) / alpha


def power_sum(s: Tensor | float, n: Tensor, last: float) -> Tensor:
    r"""sum_{k=n+1}^{K} k^{-s} = zeta(s, n + 1) - zeta(s, K + 1), K = ``last``, for s > 0.

    The right-hand side (Hurwitz's zeta function, or for s <= 1 its continuation) says what is meant
    between whole n. ``last`` may be ``math.inf`` where s > 1. Every difference f(n + i) - f(K + i)
    is taken by ``expm1``, so that nothing cancels, be n near K, or both 10^15.

    Args:
        s, n: tensors that broadcast, 0 <= n <= K.
    """
    s = torch.as_tensor(s, dtype=F64)
    left = last - n
    total = torch.zeros((), dtype=F64)
    for i in range(1, FIRST + 1):
        total = total - (n + i) ** -s * torch.expm1(-s * torch.log1p(left / (n + i)))
    x = n + FIRST + 0.5
    ratio = torch.log1p(left / x)
    total = total + x ** (1 - s) * box(s - 1, ratio)
    derivative = s * x ** (-s - 1)  # of odd order r, with the sign changed
    for j, weight in enumerate(WEIGHTS):
        r = 2 * j + 1
        total = total - weight * derivative * torch.expm1(-(s + r) * ratio)
        derivative = derivative * (s + r) * (s + r + 1) / x**2
    return total


def decay_start(s: float, z: float, steps: float) -> int:
    """How many terms of the sum of ``decay_rest`` to take as they are, for an error of 1e-12."""
    return math.ceil(max(1000, (100 * s * steps / z) ** (1 / (s + 1))))


def decay_rest(s: float, z: float, steps: Tensor, n: int) -> Tensor:
    r"""sum_{k>n} p_k e^{-S p_k}, p_k = k^{-s} / z, S = ``steps`` >= 0, s > 1.

    The integral from x = n + 1/2 on is x p_x / s times u^{-c} gamma(c, u), with u = S p_x,
    c = 1 - 1/s and gamma the lower incomplete gamma function; then one correction. From n =
    ``decay_start`` on, terms change by less than 1 % from one k to the next; then the next
    correction is below 1e-12 of the sum.
    """
    x, c = n + 0.5, 1 - 1 / s
    p = x**-s / z
    u = (steps * p).clamp(min=1e-30)  # at 0 too: u^{-c} gamma(c, u) tends to 1 / c
    integral = torch.special.gammainc(torch.full_like(u, c), u) * math.gamma(c) * u**-c
    derivative = -s / x * p * (1 - u) * torch.exp(-u)
    return x * p / s * integral - WEIGHTS[0] * derivative
