r"""The quantization model of scaling laws: losses, slopes and samples of quanta with Zipf's law.

A network learns discrete quanta, the most used first; a sample needs one of them. Quantum k is used
with frequency p_k = k^{-(alpha + 1)} / Z, and a sample's loss falls from b to a once its quantum is
learned. Sources: Michaud, Liu, Girit and Tegmark (2023), arXiv:2303.13506; kexue.fm/archives/9607,
which writes gamma for alpha.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kexue import _check
from kexue.scaling._sums import F64, box, decay_rest, decay_start, log_in_box, power_sum
from kexue.scaling.exponents import learned_power

__all__ = ["QuantaModel"]

LOWEST = 1e-4  # alpha without a last quantum: zeta(1 + alpha) is 1 / alpha, of 1 + alpha rounded
LARGEST = 2**53  # the last whole number before float64 leaves some out
BLOCK = 2**22  # terms at a time


@dataclass(frozen=True)
class QuantaModel:
    r"""Quanta k = 1, 2, ..., used with frequencies p_k = k^{-(alpha + 1)} / Z   (eq-scale-zipf).

    After the first n are learned the mean loss is L_n = a + (b - a) sum_{k>n} p_k (eq-scale-loss).
    What is asked of a model is answered in float64, exactly to rounding: relative errors of 1e-14,
    with n up to 10^15; without a last quantum alpha is rounded with 1 + alpha, so that Z's error
    is 1e-16 / alpha where that is more.

    Args:
        alpha: >= 1e-4; with finitely many quanta > -1, so that the first is used most. At most 10.
            (The public code of the paper calls alpha + 1 ``alpha``.)
        n_tasks: K, how many quanta there are; by default there is no last one.
        before, after: loss of a sample, b and a, before and after its quantum is learned (bits).

    Raises:
        TypeError, ValueError: naming the argument that has a wrong type, value or shape.

    >>> model = QuantaModel(0.5)
    >>> model.loss([0, 1, 10, 1000])
    tensor([1.0000, 0.6172, 0.2362, 0.0242], dtype=torch.float64)
    >>> QuantaModel(0.5, n_tasks=1000).loss([0, 1, 10, 1000])
    tensor([1.0000, 0.6077, 0.2173, 0.0000], dtype=torch.float64)
    """

    alpha: float
    n_tasks: int | None = None
    before: float = 1.0
    after: float = 0.0

    def __post_init__(self) -> None:
        alpha = _check.real("alpha", self.alpha, high=10)
        if self.n_tasks is None and alpha < LOWEST:
            raise ValueError(
                f"alpha: got {alpha:g}, needs a number >= {LOWEST:g} for infinitely many quanta"
            )
        if not alpha > -1:
            raise ValueError(f"alpha: got {alpha:g}, needs a number > -1 for frequencies that fall")
        if self.n_tasks is not None:
            n_tasks = _check.integer("n_tasks", self.n_tasks, 1, LARGEST)
            object.__setattr__(self, "n_tasks", n_tasks)
        before, after = _check.real("before", self.before), _check.real("after", self.after)
        if not before > after:
            raise ValueError(f"before: got {before:g}, needs a number > after = {after:g}")
        for name, value in (("alpha", alpha), ("before", before), ("after", after)):
            object.__setattr__(self, name, value)

    @property
    def last(self) -> float:
        """K, infinite if there is no last quantum."""
        return math.inf if self.n_tasks is None else self.n_tasks

    @functools.cached_property
    def normalizer(self) -> float:
        """Z: zeta(alpha + 1), or its first K terms."""
        return power_sum(self.alpha + 1, torch.zeros((), dtype=F64), self.last).item()

    def frequency(self, k: Any) -> Tensor:
        """p_k of quanta k = 1, ..., K, in a float64 tensor of k's shape   (eq-scale-zipf)."""
        return self._numbers("k", k, low=1) ** -(self.alpha + 1) / self.normalizer

    def tail(self, n: Any) -> Tensor:
        r"""sum_{k>n} p_k, the frequency of all that is not learned.

        Without a last quantum it is zeta(alpha + 1, n + 1) / zeta(alpha + 1), Hurwitz's zeta
        function (eq-scale-hurwitz), which also gives it a meaning between whole n; with one,
        (zeta(alpha + 1, n + 1) - zeta(alpha + 1, K + 1)) / Z.

        Args:
            n: numbers, 0 <= n <= K.

        >>> QuantaModel(1.0).tail(1)  # 1 - 1 / zeta(2)
        tensor(0.3921, dtype=torch.float64)
        """
        return power_sum(self.alpha + 1, self._numbers("n", n), self.last) / self.normalizer

    def loss(self, n: Any) -> Tensor:
        """L_n = a + (b - a) tail(n)   (eq-scale-loss)."""
        return self.after + (self.before - self.after) * self.tail(n)

    def slope(self, n: Any) -> Tensor:
        r"""The local exponent -d ln(L_n - a) / d ln n, exactly: the derivative is Hurwitz's too,
        d zeta(s, n + 1) / dn = -s zeta(s + 1, n + 1).

        For 1 << n it is alpha / (1 - (n/K)^alpha) (eq-scale-slope), infinite at n = K.

        >>> for model in (QuantaModel(0.4), QuantaModel(0.4, 2000)):
        ...     print(*(f"{slope:.3f}" for slope in model.slope([10, 1000])))
        0.381 0.400
        0.434 1.652
        """
        n, s = self._numbers("n", n), self.alpha + 1
        return n * s * power_sum(s + 1, n, math.inf) / power_sum(s, n, self.last)

    def asymptotic_loss(self, n: Any, shift: float = 0.5) -> Tensor:
        r"""L_n with an integral for the sum: a + (b - a) int x^{-(alpha+1)} dx / Z from
        n + shift to K + shift.

        Without a last quantum that is a + (b - a) (n + shift)^{-alpha} / (alpha Z): eq-scale-tail
        for shift 0, eq-scale-half for 1/2; with one, eq-scale-truncated.

        >>> model, n = QuantaModel(0.5), 10
        >>> [f"{model.asymptotic_loss(n, shift) / model.loss(n) - 1:.2%}" for shift in (0, 0.5)]
        ['2.50%', '0.03%']
        """
        start = self._numbers("n", n) + _check.real("shift", shift, low=0)
        if (start == 0).any():
            raise ValueError("n, shift: got n + shift = 0, needs a sum > 0")
        log_ratio = torch.log1p((self.last + shift - start) / start)
        rest = start**-self.alpha * box(self.alpha, log_ratio) / self.normalizer
        return self.after + (self.before - self.after) * rest

    def learned(self, resource: Any, *, direction: str, scale: float, rho: float = 1.0) -> Tensor:
        r"""How many quanta a resource teaches: n, a float64 tensor of numbers in [0, K].

        ==============  ===================  =======================================================
        direction       n solves             scale is
        ==============  ===================  =======================================================
        ``parameters``  N = n scale          parameters that a quantum takes (eq-scale-parameters)
        ``data``        D p_n = scale        tau, the examples that a quantum needs (eq-scale-data)
        ``steps``       S = scale / p_n^rho  T: quantum k takes T / p_k^rho steps (eq-scale-rho)
        ==============  ===================  =======================================================

        Solutions between whole n are kept, so that curves are smooth (``learned(...).floor()`` is
        the number of whole quanta). There are two ends: from n = K on, all is learned, n = K; and
        a resource that is not enough for the first quantum, n < 1, teaches nothing, n = 0.

        Args:
            resource: N, D or S: numbers >= 0. scale: > 0. rho: > 0, for steps only.

        >>> QuantaModel(1.0, 100).learned([5.0, 1e3, 1e9], direction="data", scale=10)
        tensor([  0.0000,   7.8207, 100.0000], dtype=torch.float64)
        """
        resource = _check.tensor("resource", resource, dtype=F64)
        if (resource < 0).any():
            raise ValueError(f"resource: got {resource.min():g}, needs numbers >= 0")
        power, rho = learned_power(self.alpha, direction, rho), float(rho)
        ratio = resource / _check.positive_real("scale", scale)
        if direction != "parameters":  # n^{rho (alpha + 1)} = resource / (scale Z^rho)
            ratio = ratio * self.normalizer**-rho
        n = ratio**power
        return torch.where(n < 1, 0.0, n.clamp(max=self.last))

    def predicted_loss(
        self, resource: Any, *, direction: str, scale: float, rho: float = 1.0
    ) -> Tensor:
        """The loss of what is ``learned`` from N parameters, D samples or S steps."""
        return self.loss(self.learned(resource, direction=direction, scale=scale, rho=rho))

    def decay_loss(self, steps: Any) -> Tensor:
        r"""Loss if nothing ever jumps: a + (b - a) sum_k p_k e^{-S p_k}, S = ``steps`` >= 0.

        With a last quantum the sum is taken as it stands; without, its first terms are, and
        the rest is an incomplete gamma function, to 1e-12. For large S (eq-scale-decay):
        Gamma(beta) / (alpha + 1) Z^{-1 / (alpha + 1)} S^{-beta}, beta = alpha / (alpha + 1).

        >>> QuantaModel(0.5).decay_loss([0, 1e3, 1e6])
        tensor([1.0000, 0.0942, 0.0094], dtype=torch.float64)
        """
        steps = _check.tensor("steps", steps, dtype=F64)
        if (steps < 0).any():
            raise ValueError(f"steps: got {steps.min():g}, needs numbers >= 0")
        s, z = self.alpha + 1, self.normalizer
        end = self.n_tasks or decay_start(s, z, steps.max().item())
        total = torch.zeros_like(steps) if self.n_tasks else decay_rest(s, z, steps, end)
        for low in range(1, end + 1, BLOCK):
            p = self.frequency(torch.arange(low, min(low + BLOCK, end + 1)))
            sums = [(p * torch.exp(-number * p)).sum() for number in steps.flatten()]
            total = total + torch.stack(sums).reshape(steps.shape)
        return self.after + (self.before - self.after) * total

    def sample(self, sample_shape: Any, generator: torch.Generator | None = None) -> Tensor:
        r"""Quanta drawn by their frequencies: an int64 tensor of numbers 1, ..., K.

        Exact by rejection (Devroye 1986, section X.6): x with density ~ x^{-(alpha + 1)} on
        [1, K + 1) is rounded down to k, which is kept in proportion to k^{-(alpha + 1)} over the
        integral from k to k + 1. At least ln 2 of all draws are kept. Without a last quantum the
        quanta from 2^53 on (one draw in 40 at alpha = 0.1) are all called 2^53.

        Args:
            sample_shape: the tensor's. generator: also says on which device; torch's by default.

        >>> QuantaModel(0.5).sample(8, torch.Generator().manual_seed(0))
        tensor([1115,    3,  159,    7,   22,    1,    2,    1])
        """
        shape = _check.sample_shape(sample_shape, low=0)
        device = None if generator is None else generator.device
        first = 1 / box(self.alpha, torch.tensor(2.0, dtype=F64).log())
        kept, missing = [torch.zeros(0, dtype=torch.int64, device=device)], shape.numel()
        while missing:
            size = (2, missing + missing // 2 + 8)
            u, v = torch.rand(size, dtype=F64, generator=generator, device=device)
            log_x = log_in_box(self.alpha, u, math.log1p(self.last))
            k = log_x.exp().floor().clamp(max=LARGEST)
            share = 1 / (k * box(self.alpha, torch.log1p(1 / k)))  # falls with k
            kept.append(k[(v * first < share) & (k <= self.last)][:missing].long())
            missing -= len(kept[-1])
        return torch.cat(kept).reshape(shape)

    def threshold_losses(
        self, sizes: Any, examples: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Losses after learning from data sets of ``sizes`` samples, each drawn anew: a quantum is
        learned if the data set holds ``examples`` samples of it or more (tau of eq-scale-data).

        Needs a last quantum: the K counts of a data set are drawn at once, from their multinomial
        law. Takes some 0.1 s a data set at K = 10^6.

        Args:
            sizes: whole numbers D >= 1. examples: tau >= 1. generator: on any device.

        >>> model, draw = QuantaModel(0.6, 10**4), torch.Generator().manual_seed(0)
        >>> model.threshold_losses([100, 10_000, 1_000_000], 20, generator=draw)
        tensor([0.5612, 0.0951, 0.0142], dtype=torch.float64)
        """
        if self.n_tasks is None:
            raise ValueError("n_tasks: got None, needs a number of quanta to draw counts of")
        examples = _check.integer("examples", examples, low=1)
        sizes = _check.tensor("sizes", sizes, floating=False)
        p = self.frequency(torch.arange(1, self.n_tasks + 1)).numpy()
        device = None if generator is None else generator.device
        seed = torch.randint(2**62, (), generator=generator, device=device).item()
        draw = np.random.default_rng(seed)
        rest = []
        for size in sizes.flatten().tolist():
            counts = draw.multinomial(_check.integer("sizes", size, low=1), p)
            rest.append(p[counts < examples].sum())
        rest = torch.tensor(rest, dtype=F64).reshape(sizes.shape)
        return self.after + (self.before - self.after) * rest

    def _numbers(self, name: str, value: Any, low: int = 0) -> Tensor:
        value = _check.tensor(name, value, dtype=F64)
        if (value < low).any() or (value > self.last).any():
            smallest, largest = value.aminmax()
            raise ValueError(
                f"{name}: got numbers in [{smallest:g}, {largest:g}], needs [{low}, {self.last}]"
            )
        return value
