"""The networks of a stack as one wide hidden layer, and their gradients, written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


class Wide:
    r"""Networks of one hidden layer, side by side: unit j belongs to network m(j).

    .. math:: z_{ij} = \sum_b x_{ib} V_{bj} + E_{t_i j} + e_j, \qquad
        d_{im} = c_m + \sum_{j: m(j) = m} v_j \max(z_{ij}, 0), \qquad
        \ell_{im} = \log(1 + e^{d_{im}}) - y_i d_{im}

    for sample i with bits x, task t and label y. A row of E for each task is what a one-hot input
    would choose; d is the difference of the two logits of a usual classifier.

    Attributes:
        first: V, e and E below each other, (n_bits + 1 + n_tasks, units).
        head, offset: v (units,) and c (networks,).
        columns: for each network, the slice of its units.

    Units are padded with zeros to multiples of ``pad`` in each network and of ``multiple`` in all;
    a unit with all weights zero has gradient zero, so it stays so.
    """

    def __init__(
        self,
        n_bits: int,
        n_tasks: int,
        widths: list[int],
        seeds: list[int],
        device: torch.device,
        dtype: torch.dtype,
        pad: int = 1,
        multiple: int = 1,
    ) -> None:
        self.n_bits, self.n_tasks = n_bits, n_tasks
        padded = [-(-width // pad) * pad for width in widths]
        padded[-1] += -sum(padded) % multiple
        stops = torch.tensor(padded).cumsum(0).tolist()
        self.columns = [slice(stop - size, stop) for stop, size in zip(stops, padded, strict=True)]
        inputs = n_bits + n_tasks
        first, head = torch.zeros(inputs + 1, stops[-1]), torch.zeros(stops[-1])
        offset = torch.zeros(len(widths))
        for m, (width, seed) in enumerate(zip(widths, seeds, strict=True)):
            start = self.columns[m].start
            mine = slice(start, start + width)
            generator = torch.Generator().manual_seed(seed * 100_003 + width)
            # torch.nn.Linear's law: uniform within +- 1 / sqrt(inputs), biases too.
            first[:, mine].uniform_(-1, 1, generator=generator).div_(math.sqrt(inputs))
            two = torch.empty(2, width + 1).uniform_(-1, 1, generator=generator)
            difference = (two[1] - two[0]) / math.sqrt(width)  # of the two logits' weights
            head[mine], offset[m] = difference[:-1], difference[-1]
        self.first, self.head, self.offset = (
            x.to(device=device, dtype=dtype) for x in (first, head, offset)
        )
        member = torch.zeros(len(widths), stops[-1])
        for m, mine in enumerate(self.columns):
            member[m, mine] = 1
        self.member = member.to(self.first)
        self.S = torch.zeros_like(self.first)  # of the gradient
        # A CPU takes some networks at a time, so that their weights stay in its cache too.
        self.groups = self.group(len(self.head) if self.first.is_cuda else 512)

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """The tensors that are learned."""
        return self.first, self.head, self.offset

    def slices(self, tasks, bits, mine=slice(None), labels=None) -> Iterator[tuple[Tensor, ...]]:
        """A batch in slices: max(z, 0) of the units ``mine``, (b, units), tasks, bits (floating
        point) and labels, and a second array like the first to work in.

        On a CPU both arrays stay in its cache; they are the same two for all slices.
        """
        V, e, E = self.first[:, mine].split([self.n_bits, 1, self.n_tasks])
        rows = E + e
        many = max(1, self.slice_numbers() // rows.shape[1])
        one, two = rows.new_empty(2, min(many, len(tasks)), rows.shape[1])
        for start in range(0, len(tasks), many):
            t, x = tasks[start : start + many], bits[start : start + many].to(V.dtype)
            h = torch.index_select(rows, 0, t, out=one[: len(t)]).addmm_(x, V).relu_()
            y = None if labels is None else labels[start : start + many, None]
            yield h, t, x, y, two[: len(t)]

    def logits(self, tasks: Tensor, bits: Tensor) -> Tensor:
        """d of every network, (B, networks), for one batch that all share."""
        heads = (self.member * self.head).T
        slices = self.slices(tasks, bits)
        return torch.cat([torch.addmm(self.offset, h, heads) for h, *_ in slices])

    def slice_numbers(self) -> int:
        """Numbers of a slice of (B, units): what a CPU's cache holds, or a part of a GPU."""
        return 2**29 if self.first.is_cuda else 2**18

    def group(self, units: int) -> list[tuple[int, int]]:
        """Networks in groups of together at most so many units, or one: the first and the last."""
        groups = [(0, 0)]
        for m in range(1, len(self.columns)):
            first = groups[-1][0]
            if self.columns[m].stop - self.columns[first].start <= units:
                groups[-1] = (first, m)
            else:
                groups.append((m, m))
        return groups

    def gradients(self, tasks: Tensor, bits: Tensor, labels: Tensor) -> None:
        """Set ``grad`` of the parameters: of the mean of l over the batch, for every network.

        All arguments as in ``Batch``, in the order of their tasks: one batch for all networks, or
        with a first axis one for each.
        """
        S, s = self.S.zero_(), torch.zeros_like(self.offset)
        for m, last in self.groups if tasks.ndim == 1 else enumerate(range(len(self.columns))):
            mine = slice(self.columns[m].start, self.columns[last].stop)
            batch = (tasks, bits, labels) if tasks.ndim == 1 else (tasks[m], bits[m], labels[m])
            networks = slice(m, last + 1)
            self._sums(mine, networks, *batch, S[:, mine], s[networks])
        self.finish(S, s, tasks.shape[-1])

    def _sums(self, mine, networks, tasks, bits, labels, S: Tensor, s: Tensor) -> None:
        """S_{bj} = sum over samples of input b, where unit j is on, times dl/dd; s = sum dl/dd."""
        member = self.member[networks, mine]
        heads, offset = (member * self.head[mine]).T, self.offset[networks]
        for h, t, x, y, on in self.slices(tasks, bits, mine, labels):
            error = torch.addmm(offset, h, heads).sigmoid_().sub_(y)
            torch.mm(error, member, out=on)  # the error of each unit's network
            torch.ops.aten.threshold_backward.grad_input(on, h, 0, grad_input=on)  # 0 where off
            S[: self.n_bits].addmm_(x.T, on)
            add_by_task(S[self.n_bits + 1 :], t, on)
            s += error.sum(0)

    def finish(self, S: Tensor, s: Tensor, batch: int) -> None:
        """Gradients from the sums S and s.

        dl/dV = S v. And dl/dv needs no pass of its own: sum_i h_ij dl/dd_i is linear in the
        weights where the unit is on, so it is sum_b V_bj S_bj (Euler: h is homogeneous).
        """
        S[self.n_bits] = S[self.n_bits + 1 :].sum(0)  # every sample has one task
        self.head.grad = (self.first * S).sum(0).div_(batch)
        self.first.grad = S.mul_(self.head / batch)
        self.offset.grad = s.div_(batch)


def add_by_task(total: Tensor, tasks: Tensor, x: Tensor) -> None:
    """total[t] += sum of the rows of x whose task is t, in place; tasks ascend."""
    if x.is_cuda:  # no answer may be awaited there
        total.index_add_(0, tasks, x)
        return
    low, high = int(tasks[0]), int(tasks[-1])
    starts = torch.searchsorted(tasks, torch.arange(low, high + 1))
    rows = torch.arange(len(tasks))
    total[low : high + 1] += F.embedding_bag(rows, x, starts, mode="sum")
