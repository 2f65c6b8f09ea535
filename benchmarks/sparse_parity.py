"""Many networks on multitask sparse parity: one after another, or as one stack.

``python benchmarks/sparse_parity.py``: networks of one hidden layer, subsets of 3 bits, alpha 0.4,
fresh samples at every step; a step of all networks is timed, draws included. On a CPU, one thread,
the 20 widths of Michaud et al. (2023), 10 to 500; on a GPU 16 networks of width 200. 500 tasks and
100 bits are the paper's, 100 tasks and 50 bits the defaults of its code. In one process:

1. the public loop: what scripts/sparse-parity-v4.py of github.com/ejmichaud/quantization-model does
   (written anew here): one network after another, its batch put together subtask by subtask,
   one-hot tasks beside the bits, two logits, AdamW;
2. the loop tuned: a batch drawn at once and shared, fused AdamW; on a GPU also TF32, torch.compile
   and all networks of a step in one CUDA graph; on a CPU a row of weights for each task instead of
   one-hot products;
3. on a GPU, the networks batched: one product of three-dimensional tensors, autograd, TF32;
4. ``kexue.scaling.train_stack``'s step.

Before anything is timed, (4) must move the logits of three networks as the loop does in 30 steps
on the same batches, from the same weights. The limit of a step is the longer of two times: the two
products with the bits that it cannot do without, at the rate of a large product measured here, and
reading and writing weights and Adam's two moments once, at the rate of a large copy.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from _table import Median, Row, cpu_seconds, report
from torch import Tensor, nn

from kexue import runtime
from kexue.scaling import SparseParity, _fused
from kexue.scaling._wide import Wide
from kexue.scaling.stack import _Recorded, _stepper

DEVICE = runtime.device()
GPU = DEVICE.type == "cuda"
LR = 1e-3
WIDTHS = [200] * 16 if GPU else [int(w) for w in 2 ** np.linspace(np.log2(10), np.log2(500), 20)]
# Tasks, bits, batch size
SETTINGS = [(100, 100, 20_000), (500, 100, 20_000)] if GPU else [(100, 50, 2000), (500, 100, 4000)]


def seconds(runs: dict[str, tuple[Callable[[], None], int]], repeats: int = 5) -> dict[str, Median]:
    """Median seconds of a call, taken in turns, each time the mean of so many calls."""
    times = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, (run, calls) in runs.items():
            if GPU:
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(calls):
                    run()
                torch.cuda.synchronize()
                took = (time.perf_counter() - start) / calls
            else:
                took = statistics.mean(cpu_seconds(run, calls)[1])
            times[name] += [took] if turn else []
    return {name: Median(taken) for name, taken in times.items()}


def network(task: SparseParity, width: int) -> nn.Module:
    """As the public code makes it."""
    inputs = task.n_tasks + task.n_bits
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 2)).to(DEVICE)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step."""
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


def one_hot(task: SparseParity, tasks: Tensor, bits: Tensor) -> Tensor:
    """Inputs of the public code: the task's one-hot code, then the bits."""
    return torch.cat([F.one_hot(tasks, task.n_tasks).float(), bits.float()], 1)


def published(task: SparseParity, size: int) -> tuple[Tensor, Tensor]:
    """A batch, put together as the public code does."""
    p = task.quanta.frequency(torch.arange(1, task.n_tasks + 1)).numpy()
    drawn = np.searchsorted(np.cumsum(p), np.random.rand(size))
    sizes = np.histogram(drawn, bins=task.n_tasks, range=(0, task.n_tasks - 1))[0]
    batch_x = torch.zeros(size, task.n_tasks + task.n_bits, device=DEVICE)
    batch_y = torch.zeros(size, dtype=torch.int64, device=DEVICE)
    start = 0
    for code, (subset, many) in enumerate(zip(task.subsets.tolist(), sizes, strict=True)):
        if many > 0:
            x = torch.randint(0, 2, (many, task.n_bits), dtype=torch.float32, device=DEVICE)
            y = x[:, subset].sum(1) % 2
            hot = torch.zeros(many, task.n_tasks, device=DEVICE)
            hot[:, code] = 1
            batch_x[start : start + many] = torch.cat([hot, x], 1)
            batch_y[start : start + many] = y
            start += many
    return batch_x, batch_y


def loop(task: SparseParity, size: int) -> Callable[[], None]:
    """(1): a step of every network."""
    nets = [network(task, width) for width in WIDTHS]
    optimizers = [torch.optim.AdamW(net.parameters(), LR, weight_decay=0.0) for net in nets]

    def step() -> None:
        for net, optimizer in zip(nets, optimizers, strict=True):
            train(net, optimizer, *published(task, size))

    return step


class Rows(nn.Module):
    """The network with a row of weights for each task."""

    def __init__(self, task: SparseParity, width: int) -> None:
        super().__init__()
        net, n = network(task, width), task.n_tasks
        self.rows = nn.Parameter(net[0].weight[:, :n].T.detach().contiguous())
        self.bits = nn.Parameter(net[0].weight[:, n:].detach().contiguous())
        self.bias, self.second = net[0].bias, net[2]

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        """Two logits."""
        tasks, bits = x
        return self.second((F.linear(bits, self.bits, self.bias) + self.rows[tasks]).relu())


def compiled_loss() -> Callable[..., Tensor]:
    """The loss of a network from its four tensors, compiled once for all."""
    return torch.compile(lambda x, y, a, b, c, d: F.cross_entropy(F.linear(F.linear(x, a, b).relu(), c, d), y))  # fmt: skip  # noqa: E501


def tuned(task: SparseParity, size: int) -> Callable[[], None]:
    """(2): a step of every network."""
    dice = torch.Generator(DEVICE).manual_seed(0)
    nets = [network(task, width) if GPU else Rows(task, width) for width in WIDTHS]
    optimizers = [
        torch.optim.AdamW(net.parameters(), LR, weight_decay=0.0, fused=True, capturable=GPU)
        for net in nets
    ]
    loss = compiled_loss() if GPU else None

    def step() -> None:
        tasks, bits, labels = task.sample(size, dice, ordered=True)
        x = one_hot(task, tasks, bits) if GPU else (tasks, bits.float())
        for net, optimizer in zip(nets, optimizers, strict=True):
            if GPU:
                optimizer.zero_grad()
                loss(x, labels.long(), *net.parameters()).backward()
                optimizer.step()
            else:
                train(net, optimizer, x, labels.long())

    return _Recorded(step, dice) if GPU else step


def batched(task: SparseParity, size: int) -> Callable[[], None]:
    """(3): a step of networks of equal widths."""
    dice = torch.Generator(DEVICE).manual_seed(0)
    nets = [network(task, width) for width in WIDTHS]
    a, c = (nn.Parameter(torch.stack([net[i].weight.T for net in nets]).detach()) for i in (0, 2))
    b, d = (
        nn.Parameter(torch.stack([net[i].bias for net in nets])[:, None].detach()) for i in (0, 2)
    )
    optimizer = torch.optim.AdamW([a, b, c, d], LR, weight_decay=0.0, fused=True)

    def step() -> None:
        tasks, bits, labels = task.sample(size, dice, ordered=True)
        x = one_hot(task, tasks, bits).expand(len(nets), -1, -1)
        optimizer.zero_grad()
        logits = torch.baddbmm(d, torch.baddbmm(b, x, a).relu(), c)
        y = labels.long().repeat(len(nets))
        (F.cross_entropy(logits.flatten(0, 1), y) * len(nets)).backward()
        optimizer.step()

    return step


def stack(task: SparseParity, draw: Callable) -> tuple[Wide, Callable[[], None]]:
    """(4): the networks, and a step of them."""
    about = (task.n_bits, task.n_tasks, WIDTHS, list(range(len(WIDTHS))), DEVICE)
    wide = (
        _fused.Fused(*about, LR)
        if _fused.usable(DEVICE, task.n_bits)
        else Wide(*about, torch.float32)
    )
    return wide, _stepper(wide, draw, LR)


def ours(task: SparseParity, size: int) -> Callable[[], None]:
    """(4), timed."""
    dice = torch.Generator(DEVICE).manual_seed(0)
    step = stack(task, lambda: task.sample(size, dice, ordered=True))[1]
    return _Recorded(step, dice) if GPU else step


def deviation(task: SparseParity, size: int) -> float:
    """How far the logits of (4) are from those of (1) after 30 steps, relative to the way."""
    dice = torch.Generator(DEVICE).manual_seed(1)
    given = [task.sample(size, dice, ordered=True) for _ in range(30)]
    supply = iter(given)
    wide, step = stack(task, lambda: next(supply))
    n, worst = task.n_bits, 0.0
    test = task.sample(4000, dice)
    x = one_hot(task, test.tasks, test.bits)
    start = wide.logits(test.tasks, test.bits)
    nets = [network(task, width) for width in WIDTHS[:3]]
    for m, net in enumerate(nets):
        mine = slice(wide.columns[m].start, wide.columns[m].start + WIDTHS[m])
        with torch.no_grad():
            first = wide.first[:, mine]
            net[0].weight.copy_(torch.cat([first[n + 1 :], first[:n]]).T)
            net[0].bias.copy_(first[n])
            net[2].weight[1] = net[2].weight[0] + wide.head[mine]
            net[2].bias[1] = net[2].bias[0] + wide.offset[m]
    for _ in given:
        step()
    end = wide.logits(test.tasks, test.bits)
    for m, net in enumerate(nets):
        optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0.0)
        for tasks, bits, labels in given:
            train(net, optimizer, one_hot(task, tasks, bits), labels.long())
        d = net(x).detach().diff(dim=1)[:, 0]
        worst = max(worst, ((end[:, m] - d).norm() / (d - start[:, m]).norm()).item())
    return worst


def rates() -> tuple[float, float]:
    """Operations and bytes each second, of a large product and a large copy."""
    size = 8192 if GPU else 2048
    a = torch.randn(size, size, device=DEVICE, dtype=torch.float16 if GPU else torch.float32)
    b = torch.empty(2**28 if GPU else 2**25, device=DEVICE)
    c = torch.empty_like(b)
    took = seconds({"product": (lambda: a @ a, 10 if GPU else 1), "copy": (lambda: c.copy_(b), 10)})
    return 2 * size**3 / took["product"], 8 * len(b) / took["copy"]


def compare(task: SparseParity, size: int, speed: tuple[float, float]) -> list[Row]:
    """Check, then time."""
    torch.backends.cuda.matmul.allow_tf32 = False
    off = deviation(task, size)
    bar = 0.1 if GPU else 1e-3
    assert off < bar, f"logits move otherwise by {off}"
    torch.backends.cuda.matmul.allow_tf32 = True
    runs = {
        "loop": (loop(task, size), 1),
        "tuned": (tuned(task, size), 10 if GPU else 1),
        "ours": (ours(task, size), 100 if GPU else 10),
    }
    if GPU:
        runs["batched"] = (batched(task, size), 10)
        for _ in range(4):  # compile, record
            runs["tuned"][0](), runs["ours"][0]()
    took = seconds(runs, 3 if GPU else 7)
    units = sum(WIDTHS)
    flops = 2 * 2.0 * size * task.n_bits * units
    moved = 6 * 4.0 * (task.n_bits + task.n_tasks + 4) * units
    unit = f"{DEVICE.type.upper()} s"
    label = f"{task.n_tasks} tasks, {len(WIDTHS)} nets, batch {size}"
    limit = max(flops / speed[0], moved / speed[1])
    peers = {"loop": ("the public loop", *((100, 200) if GPU else (8, None)))}
    peers |= {"tuned": ("the loop tuned", 20 if GPU else None, None)}
    peers |= {"batched": ("batched products", 3, None)} if GPU else {}
    rows = [
        Row(label, name, unit, took[run], took["ours"], least, aim, limit)
        for run, (name, least, aim) in peers.items()
    ]
    return [*rows, Row("  logits move otherwise by", "-", "relative", None, off, bar)]


def main() -> int:
    """Check, time, print; return the number of bars missed."""
    torch.manual_seed(0)
    speed = rates()
    rows = []
    for n_tasks, n_bits, size in SETTINGS:
        rows += compare(SparseParity(n_tasks, n_bits, alpha=0.4), size, speed)
    about = {"flop_per_s": speed[0], "bytes_per_s": speed[1], "widths": WIDTHS}
    about["tasks, bits, batch"] = SETTINGS
    return report("sparse_parity" + ("_cuda" if GPU else ""), rows, **about)


if __name__ == "__main__":
    sys.exit(main())
