"""One training loop for every network of the book, and how a denoiser uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue import _check, _processes
from kexue.nets.ema import EMA
from kexue.schedule import DiscreteSchedule

__all__ = ["train"]


def train(
    model: nn.Module,
    x0: Tensor,
    schedule: DiscreteSchedule,
    *,
    steps: int,
    batch: int = 256,
    lr: float = 2e-3,
    weight_decay: float = 0.0,
    ema: EMA | None = None,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    compile: bool = False,
    graph: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    r"""Train ``model`` to see the noise; yields (step, loss) after each of ``steps`` steps.

    .. math:: \min_\theta \mathbb{E}_{x_0, \epsilon, t}
        \left\| \epsilon - \epsilon_\theta(\alpha_t x_0 + \sigma_t \epsilon, t) \right\|^2 / D

    x_0 from the data (with replacement), t uniform in 1..T (one in each of ``batch`` equal parts of
    it, which halves nothing but the luck), eps normal; the mean is over the D numbers of a sample
    (eq-ddpm-simple-loss). AdamW; the step size rises linearly over the first twentieth of the run
    and falls to zero along a half cosine.

    What makes it fast: the data set is one tensor on the device (no loader, no workers), all
    weights are updated by one fused kernel, nothing is read back (``loss`` is a tensor: reading it
    waits for the device, so read it now and then).

    Under ``torchrun`` each process works on its part of every batch, and the losses are those that
    one process would yield, up to rounding (and dropout, which each process draws for itself).

    Args:
        model: called as ``model(x_t, t)``, on the device of x0.
        x0: the training data, shape (N, ...).
        schedule: amplitudes at t = 0..T.
        steps, batch, lr, weight_decay: of AdamW (betas 0.9 and 0.99); ``batch`` counts the samples
            of all processes.
        ema: updated after every step.
        seed: of a generator of its own; the same seed on the same CPU gives the same weights.
        precision: float32, or bfloat16 or float16 for autocast (float16 with loss scaling).
        compile: fuse the network with ``torch.compile`` first (a minute, gained back on long runs).
        graph: on a GPU, record the network's forward and backward pass once and replay them: one
            launch instead of a thousand.
    """
    x0 = _check.tensor("x0", x0)
    if not isinstance(schedule, DiscreteSchedule):
        raise TypeError(f"schedule: got {type(schedule).__name__}, needs a DiscreteSchedule")
    steps, batch = _check.integer("steps", steps, low=1), _check.integer("batch", batch, low=1)
    lr, weight_decay = _check.real("lr", lr, low=0), _check.real("weight_decay", weight_decay, 0)
    seed = _check.integer("seed", seed, low=0)
    _check.one_of("precision", precision, (torch.float32, torch.bfloat16, torch.float16))
    if ema is not None and not isinstance(ema, EMA):
        raise TypeError(f"ema: got {type(ema).__name__}, needs an EMA or None")
    if graph and x0.device.type != "cuda":
        raise ValueError(f"graph: got True with x0 on {x0.device}, needs a CUDA device")
    fast = (precision, compile, graph)
    return _train(model, x0, schedule, steps, batch, lr, weight_decay, ema, seed, *fast)


def _train(
    model, x0, schedule, steps, batch, lr, weight_decay, ema, seed, precision, compile, graph
):
    device, mine = x0.device, _processes.part(batch)
    _processes.join(device)
    generator = torch.Generator(device).manual_seed(seed)
    alpha, sigma = (a.float().to(device) for a in schedule(torch.arange(schedule.T + 1)))
    trailing = (-1,) + (1,) * (x0.ndim - 1)
    parts = torch.arange(batch, device=device)
    network = torch.compile(model) if compile else model
    network = network if graph else _processes.share(network)

    def loss_of(step: int) -> Tensor:
        nonlocal network
        data = x0[torch.randint(len(x0), (batch,), generator=generator, device=device)]
        u = (parts + torch.rand(batch, generator=generator, device=device)) / batch
        t = (u * schedule.T).long().clamp(max=schedule.T - 1) + 1
        noise = torch.randn(data.shape, generator=generator, device=device)
        data, t, noise = data[mine], t[mine], noise[mine]
        x_t = alpha[t].view(trailing) * data + sigma[t].view(trailing) * noise
        if graph and step == 1:
            _quiet_about_streams()
            network = torch.cuda.make_graphed_callables(network, (x_t, t))
            network = _processes.share(network)
        return F.mse_loss(network(x_t, t).float(), noise)

    options = (steps, lr, (0.9, 0.99), weight_decay, precision, not graph)
    try:
        for step, loss in descend(model, loss_of, device, *options):
            if ema is not None:
                ema.update()
            yield step, loss
    finally:  # also where it is interrupted
        if graph:
            model.__dict__.pop("forward", None)  # the recording took its place
        model.eval()


def descend(
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    device: torch.device,
    steps: int,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    precision: torch.dtype,
    cached: bool = True,
) -> Iterator[tuple[int, Tensor]]:
    """AdamW on ``loss_of(step)``, step = 1..steps, its size along :func:`rate`: (step, loss).

    ``precision``: of autocast, with loss scaling in float16; ``cached``: whether autocast may keep
    the weights that it has cast. The model is in training mode while this runs.

    Raises
    ------
    torch.cuda.OutOfMemoryError
        If a step does not fit into the GPU; the message says what to do.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr, betas=betas, weight_decay=weight_decay, fused=True
    )
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    half = precision != torch.float32
    autocast = torch.autocast(device.type, precision, enabled=half, cache_enabled=cached)
    model.train()
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = lr * rate(step, steps)
        try:
            with autocast:
                loss = loss_of(step)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        except torch.cuda.OutOfMemoryError as error:
            raise torch.cuda.OutOfMemoryError(
                "the GPU's memory does not hold this batch and this network: take a smaller batch, "
                "or restart with KEXUE_PRESET=quick; stored results need no GPU"
            ) from error
        yield step, _processes.mean(loss.detach())


def _quiet_about_streams() -> None:
    """A recording is made on a stream of its own; newer versions of torch warn about that."""
    setter = "set_warn_on_accumulate_grad_stream_mismatch"
    getattr(torch.autograd.graph, setter, lambda warn: None)(False)


def rate(step: int, steps: int) -> float:
    """The step size at ``step`` of ``steps`` in units of the largest: up a line, down a cosine.

    >>> [round(rate(k, 100), 2) for k in (1, 5, 50, 100)]
    [0.2, 0.99, 0.5, 0.0]
    """
    return min(1.0, step / max(1, steps // 20)) * (1 + math.cos(math.pi * step / steps)) / 2
