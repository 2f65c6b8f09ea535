"""Many networks trained at once on sparse parity: widths, seeds and data sizes in one stack."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kexue import _check, runtime
from kexue.scaling import _fused
from kexue.scaling._wide import Wide
from kexue.scaling.parity import Batch, SparseParity, ordered_uniform

__all__ = ["StackRun", "train_stack"]


@dataclass(frozen=True, eq=False)
class StackRun:
    """What :func:`train_stack` measured; E evaluations of M networks on K subtasks.

    Attributes:
        widths, seeds: of each network, (M,) int64.
        sizes: its number of samples, (M,) int64; 0 for fresh samples at every step.
        steps: training steps before each evaluation, (E,) int64.
        losses: test loss of each subtask in bits, (E, M, K) float32, or float64
            if trained in it.
        frequencies: p_k, (K,) float64.
        parameters: of each network, (M,) int64, as the public code counts: with a one-hot input
            for each task and two logits.
        seconds: wall time of the whole run.
    """

    widths: Tensor
    seeds: Tensor
    sizes: Tensor
    steps: Tensor
    losses: Tensor
    frequencies: Tensor
    parameters: Tensor
    seconds: float

    @property
    def mean_losses(self) -> Tensor:
        """sum_k p_k of the losses, in bits, (E, M) float64."""
        return self.losses.double() @ self.frequencies

    def to_npz(self, path: str | Path) -> None:
        """Write everything into one file; equal runs give equal bytes, but for ``seconds``."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        runtime.write_npz(Path(path), **arrays)

    @classmethod
    def from_npz(cls, path: str | Path) -> StackRun:
        """Read what :meth:`to_npz` wrote."""
        with np.load(path) as file:
            arrays = {field.name: torch.from_numpy(file[field.name]) for field in fields(cls)}
        return cls(**arrays | {"seconds": arrays["seconds"].item()})


def train_stack(
    task: SparseParity,
    widths: Sequence[int],
    *,
    seeds: Sequence[int] = (0,),
    sizes: Sequence[int] | None = None,
    steps: int,
    batch: int,
    lr: float = 1e-3,
    stream: int = 0,
    evaluate: int | Sequence[int] = 40,
    test_per_task: int = 1000,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    progress: bool = False,
) -> StackRun:
    """Train a network for every width, seed and data size, all at once, on ``task``.

    Each is what the public code of Michaud et al. (2023) trains: one hidden layer of ReLU, two
    logits, cross-entropy, Adam (betas 0.9 and 0.999, no decay), torch's initialization. Here one
    logit, their difference d, does the same at twice the step size: the gradients of the two rows
    of weights are g and -g, Adam moves them by u(g) and u(-g) = -u(g), so d moves by 2 u(g); and
    g, which is also the gradient of d's own weights, is all that u depends on.

    What makes it fast: the networks are one wide hidden layer, so the batch, which they share,
    meets few, large matrix products; a task chooses a row of weights instead of a one-hot product
    with all of them; and gradients are sums over the batch of inputs times errors, taken slice by
    slice while the hidden units are in the cache. On a GPU a step is one CUDA graph.

    Networks of one call see the same batches (with ``sizes``: draws from nested sets), so their
    luck is shared; ``seeds`` differ in initialization only. Another ``stream`` is an independent
    repetition. A CPU and a GPU draw different numbers from the same seeds.

    Args:
        widths, seeds: of the networks.
        sizes: None for fresh samples at every step. Otherwise numbers of samples D: batches are
            drawn, with replacement, from the first D samples of one data set.
        steps, batch, lr: of Adam; a batch for each step.
        stream: seed of all data: batches, data set, test set.
        evaluate: after which steps, increasing; a number: this many, evenly spaced in log(step)
            from 1 to ``steps``, without repetitions.
        test_per_task: fresh test samples of each subtask, the same at all evaluations.
        device: ``runtime.device()`` if None.
        precision: float32, float64, or on a GPU with Triton (Ampere or newer, up to 111 bits)
            float16, the default there: operands of products rounded to 11 bits (like TF32), sums
            and weights in float32.
        progress: show a bar.

    Returns:
        A run whose networks are in the order of ``itertools.product(widths, seeds, sizes)``.
    """
    if not isinstance(task, SparseParity):
        raise TypeError(f"task: got {type(task).__name__}, needs a SparseParity")
    start = time.perf_counter()
    models = [
        _whole("widths", widths),
        _whole("seeds", seeds, low=0),
        [0] if sizes is None else _whole("sizes", sizes),
    ]
    widths, seeds, sizes = (list(x) for x in zip(*itertools.product(*models), strict=True))
    steps, batch = _check.integer("steps", steps, low=1), _check.integer("batch", batch, low=1)
    lr, stream = _check.real("lr", lr, low=0), _check.integer("stream", stream, low=0)
    points = _points(evaluate, steps)
    test_per_task = _check.integer("test_per_task", test_per_task, low=1)
    device = runtime.device() if device is None else torch.device(device)
    fused = _fused.usable(device, task.n_bits)
    precision = precision or (torch.float16 if fused else torch.float32)
    known = (torch.float32, torch.float64, torch.float16)[: 3 if fused else 2]
    _check.one_of("precision", precision, known)

    # Streams, graphs and kernels are those of the current GPU, which need not be this one.
    here = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with here:
        about = (task.n_bits, task.n_tasks, widths, seeds, device)
        wide = (
            Wide(*about, precision)
            if precision != torch.float16
            else _fused.Fused(*about, lr, not sizes[0])
        )
        dice = torch.Generator(device).manual_seed(stream)
        tests = torch.arange(task.n_tasks, device=device).repeat_interleave(test_per_task)
        bits = torch.randint(
            0, 2, (len(tests), task.n_bits), dtype=torch.uint8, device=device, generator=dice
        )
        test = Batch(tests, bits, task.labels(tests, bits))
        draw = _Draw(task, sizes, batch, dice) if sizes[0] else None
        step = _stepper(wide, draw or (lambda: task.sample(batch, dice, ordered=True)), lr)
        if device.type == "cuda":
            step = _Recorded(step, dice)

        losses, done = [], 0
        for k in runtime.progress(range(steps + 1)) if progress else range(steps + 1):
            if k:
                step()
            if done < len(points) and k == points[done]:
                losses.append(_test_losses(wide, test, test_per_task))
                done += 1
    count = [(task.n_tasks + task.n_bits) * w + w + 2 * w + 2 for w in widths]
    return StackRun(
        *(torch.tensor(x) for x in (widths, seeds, sizes, points)),
        torch.stack(losses).cpu(),
        task.quanta.frequency(torch.arange(1, task.n_tasks + 1)),
        torch.tensor(count),
        time.perf_counter() - start,
    )


def _whole(name: str, values: Sequence[int], low: int = 1) -> list[int]:
    """``values`` as a list of ints, at least one."""
    if not hasattr(values, "__iter__"):
        raise TypeError(f"{name}: got {values!r}, needs several ints, in a list")
    values = [_check.integer(name, value, low=low) for value in values]
    if not values:
        raise ValueError(f"{name}: got none, needs at least one")
    return values


def _points(evaluate: int | Sequence[int], steps: int) -> list[int]:
    """The steps after which to evaluate."""
    if not isinstance(evaluate, Sequence):
        count = _check.integer("evaluate", evaluate, low=1)
        grid = torch.logspace(0, math.log10(steps), count, dtype=torch.float64)
        return sorted({*grid.round().long().tolist()[:-1], steps})
    points = [_check.integer("evaluate", k, low=0, high=steps) for k in evaluate]
    if not points or any(b <= a for a, b in itertools.pairwise(points)):
        raise ValueError(f"evaluate: got {points}, needs increasing steps")
    return points


class _Draw:
    """Batches of each network from its own first D samples of one data set, by task."""

    def __init__(self, task, sizes: list[int], batch: int, dice: torch.Generator) -> None:
        self.dice, self.shape = dice, (len(sizes), batch)
        self.data = task.sample(max(sizes), dice)
        distinct = sorted(set(sizes))
        orders = [self.data.tasks[:D].argsort(stable=True) for D in distinct]
        begin = dict(zip(distinct, itertools.accumulate([0, *distinct[:-1]]), strict=True))
        self.orders = torch.cat(orders)
        self.sizes, self.begin = (
            torch.tensor(x, device=dice.device)[:, None] for x in (sizes, [begin[D] for D in sizes])
        )

    def __call__(self) -> Batch:
        u = ordered_uniform(self.shape, self.dice.device, self.dice)
        place = torch.minimum((u * self.sizes).long(), self.sizes - 1)  # u D may round to D
        return Batch(*(x[self.orders[self.begin + place]] for x in self.data))


def _stepper(wide: Wide, draw: Callable[[], Batch], lr: float) -> Callable[[], None]:
    """One training step: a batch, gradients, Adam."""
    groups = [{"params": [wide.head, wide.offset], "lr": 2 * lr}]
    if not isinstance(wide, _fused.Fused):  # which moves its first layer itself
        groups.append({"params": [wide.first]})
    optimizer = torch.optim.Adam(groups, lr, fused=True, capturable=wide.first.is_cuda)

    def step() -> None:
        wide.gradients(*draw())
        optimizer.step()

    return step


class _Recorded:
    """``step`` as a CUDA graph: three times as it is, for whatever is made once, then replayed.

    The graph draws on from ``dice`` where the steps before it stopped.
    """

    def __init__(self, step: Callable[[], None], dice: torch.Generator) -> None:
        self.step, self.calls = step, 0  # the step holds on to the tensors that the graph uses
        self.side = torch.cuda.Stream(dice.device)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(dice)

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= 3:
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                self.step()
            torch.cuda.current_stream().wait_stream(self.side)
            return
        if self.calls == 4:
            with torch.cuda.graph(self.graph, stream=self.side):  # its own is the first GPU's
                self.step()
        self.graph.replay()


def _test_losses(wide: Wide, test: Batch, per_task: int) -> Tensor:
    """Mean loss of each network on each subtask, bits, (M, K)."""
    d = wide.logits(test.tasks, test.bits)
    loss = F.softplus(d) - test.labels[:, None] * d
    return loss.unflatten(0, (-1, per_task)).mean(1).T / math.log(2)
