"""One process a GPU, as ``torchrun`` starts them, and how they train one model together.

A script that trains with the loops of :mod:`kexue.nets` runs unchanged as ``python script.py`` and
as ``torchrun --nproc-per-node 2 script.py``. Every process draws the whole batch, with the same
seed, and works on its own part of it; torch's ``DistributedDataParallel`` averages the gradients,
so that all take the step that one process would take with the whole batch. Only the first process
writes files.

Which process this is, the environment says, and nothing is asked of torch before a model is shared:
``RANK`` and ``WORLD_SIZE`` among all, ``LOCAL_RANK`` on its machine.
"""

from __future__ import annotations

import atexit
import os

import torch
from torch import Tensor, distributed, nn

from kexue import _check


def count() -> int:
    """How many processes there are: 1 unless torchrun started more."""
    return int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def gpu() -> str:
    """The GPU of this process: ``cuda``, or the one of its own if there are several processes."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if count() > 1 else "cuda"


def join(device: torch.device) -> None:
    """Meet the other processes, once; alone, do nothing. They part when Python ends."""
    if count() == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group()  # nccl between GPUs, gloo between CPUs
        atexit.register(distributed.destroy_process_group)


def share(model: nn.Module) -> nn.Module:
    """The model, or its ``DistributedDataParallel``; all go on with the first one's weights."""
    if count() == 1:
        return model
    return nn.parallel.DistributedDataParallel(model)


def part(batch: int) -> slice:
    """This process' part of a batch.

    Raises
    ------
    ValueError
        If the parts are not equal: the mean of their means would not be that of the batch.

    >>> part(8)
    slice(0, 8, None)
    """
    n, k = count(), rank()
    if _check.integer("batch", batch, low=1) % n:
        raise ValueError(f"batch: got {batch} for {n} processes, needs a multiple of {n}")
    return slice(k * batch // n, (k + 1) * batch // n)


def mean(loss: Tensor) -> Tensor:
    """The mean of a number over all processes."""
    if count() > 1:
        distributed.all_reduce(loss)
        loss /= count()
    return loss
