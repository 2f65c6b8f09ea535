"""Multitask sparse parity: one data set of many small, separate skills."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kexue import _check
from kexue.scaling.quanta import QuantaModel

__all__ = ["Batch", "SparseParity"]


class Batch(NamedTuple):
    """Samples: ``tasks`` (B,) int64 from 0, ``bits`` (B, n_bits) uint8, ``labels`` (B,) uint8."""

    tasks: Tensor
    bits: Tensor
    labels: Tensor


class SparseParity:
    r"""Multitask sparse parity (Barak et al. 2022; Michaud et al. 2023, arXiv:2303.13506).

    .. math:: y = \bigoplus_{i \in S_k} x_i, \qquad
        x \sim \text{uniform on } \{0, 1\}^n, \qquad p_k \propto k^{-(\alpha + 1)}, \quad k = 1..K

    Subtask k has its own set S_k of k bits and asks for their sum modulo 2 (eq-scale-zipf). Which
    subtask it is, the input says: the learner sees the number of the task and n bits. Without the
    set a label is a fair coin, so an unlearned subtask costs 1 bit and a learned one 0.

    The public code of the paper calls ``alpha`` what is alpha + 1 here and in the paper's text.

    Args:
        n_tasks: K, >= 1.
        n_bits: n, >= 1.
        k: size of each S_k, 1 <= k <= n.
        alpha: of the frequencies, -1 < alpha <= 10.
        seed: of the sets, >= 0; the K sets are distinct.

    Attributes:
        subsets: the sets, (K, k) int64, each in increasing order.
        quanta: ``QuantaModel(alpha, n_tasks)``, the law of the tasks; task i is its quantum i + 1.

    Raises:
        TypeError, ValueError: arguments out of these ranges; fewer than K such sets.

    >>> task = SparseParity(20, n_bits=20, k=2, alpha=0.4)
    >>> tasks, bits, labels = task.sample(5, torch.Generator().manual_seed(0))
    >>> bool((task.labels(tasks, bits) == labels).all()), tuple(bits.shape)
    (True, (5, 20))
    """

    def __init__(
        self, n_tasks: int, n_bits: int = 100, k: int = 3, *, alpha: float, seed: int = 0
    ) -> None:
        self.n_tasks = _check.integer("n_tasks", n_tasks, low=1)
        self.n_bits = _check.integer("n_bits", n_bits, low=1)
        self.k = _check.integer("k", k, low=1, high=self.n_bits)
        self.alpha = _check.real("alpha", alpha)
        self.seed = _check.integer("seed", seed, low=0)
        if (sets := math.comb(self.n_bits, self.k)) < self.n_tasks:
            raise ValueError(
                f"n_tasks: got {n_tasks}, needs at most {sets}, the sets of {k} of {n_bits} bits"
            )
        self.quanta = QuantaModel(self.alpha, self.n_tasks)
        generator, found = torch.Generator().manual_seed(self.seed), {}
        while len(found) < self.n_tasks:
            found[tuple(sorted(torch.randperm(n_bits, generator=generator)[:k].tolist()))] = None
        self.subsets = torch.tensor(list(found))
        cdf = self.quanta.frequency(torch.arange(1, self.n_tasks + 1)).cumsum(0)
        cdf[-1] = math.inf  # rounding cannot name a task beyond the last
        self._tables = {torch.device("cpu"): (cdf, self.subsets)}

    def __repr__(self) -> str:
        about = (self.n_tasks, self.n_bits, self.k, self.alpha, self.seed)
        return "SparseParity({}, n_bits={}, k={}, alpha={:g}, seed={})".format(*about)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The distribution function of the tasks and the sets, on a device."""
        if device not in self._tables:
            here = self._tables[torch.device("cpu")]
            self._tables[device] = tuple(table.to(device) for table in here)
        return self._tables[device]

    def labels(self, tasks: Tensor, bits: Tensor) -> Tensor:
        """The parities, uint8: ``tasks`` (...,) int64 and ``bits`` (..., n_bits) of 0 and 1."""
        subsets = self._on(bits.device)[1]
        # The sum may wrap around at 256, which is even.
        return bits.gather(-1, subsets[tasks]).sum(-1, dtype=torch.uint8) & 1

    def sample(
        self,
        batch: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        *,
        ordered: bool = False,
    ) -> Batch:
        """Draw ``batch`` samples, on ``device`` (the generator's; without one, the CPU).

        ``ordered``: by task, which a loss does not notice and sums over each task are fast with.
        Sorted uniform numbers need no sorting: they are the sums of batch + 1 exponential gaps,
        divided by the last (Devroye 1986, section V.3).
        """
        batch = _check.integer("batch", batch, low=1)
        if device is None:
            device = generator.device if generator is not None else "cpu"
        how = {"device": torch.device(device), "generator": generator}
        cdf, _ = self._on(how["device"])
        if ordered:
            u = ordered_uniform((batch,), **how)
        else:
            u = torch.rand(batch, dtype=torch.float64, **how)
        tasks = torch.searchsorted(cdf, u, right=True)
        bits = torch.randint(0, 2, (batch, self.n_bits), dtype=torch.uint8, **how)
        return Batch(tasks, bits, self.labels(tasks, bits))


def ordered_uniform(
    shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Independent uniform numbers of (0, 1), float64, in increasing order along the last axis."""
    gaps = torch.empty(*shape[:-1], shape[-1] + 1, dtype=torch.float64, device=device)
    sums = gaps.exponential_(generator=generator).cumsum_(-1)
    return sums[..., :-1] / sums[..., -1:]
