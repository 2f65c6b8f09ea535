"""The sampler for a GPU: network and update of a step in one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from kexue import _check
from kexue.diffusion.sample import at_times, check_times, draw_noise, predict
from kexue.diffusion.step import ddim_step
from kexue.diffusion.target import Model
from kexue.schedule import Schedule

__all__ = ["recorded_ddim"]


def recorded_ddim(
    model: Model,
    x_T: Tensor,
    schedule: Schedule,
    timesteps: Iterable,
    eta: float = 0.0,
    precision: torch.dtype = torch.float32,
) -> Callable[..., Tensor]:
    """Record the steps of ``ddim`` for states like ``x_T``; a function of x_T that returns x_0.

    A step is x_s = A x_t + B eps(x_t, t) + C z. The numbers A, B, C of every step are put into a
    table on the device, and a counter there says which row is next: so one CUDA graph of one step,
    a single launch, serves them all, and the processor computes nothing in between. ``ddim``
    launches about thirty kernels a step beside the network's and copies its amplitudes each time.

    Args:
        model, x_T, schedule, timesteps, eta: as in ``ddim``; of x_T only shape and device count.
            ``model`` must not wait for the device, and its weights must stay where they are.
        precision: of autocast, on a GPU.

    Returns a function (x_T, generator=None) with the answers of the last state of ``ddim`` up to
    rounding; with eta > 0 the noise of every step is drawn from ``generator``. On a CPU it takes
    the same steps one by one.

    >>> from kexue.density import GaussianMixture
    >>> from kexue.diffusion import exact_eps
    >>> from kexue.schedule import su
    >>> model = exact_eps(GaussianMixture([1.0], [0.0], [4.0]), su())  # N(0, 4): std 2
    >>> recorded_ddim(model, torch.zeros(2), su(), su().timesteps(500))(torch.tensor([-1.0, 1.0]))
    tensor([-1.9939,  1.9939])
    """
    x_T, eta = _check.tensor("x_T", x_T), _check.real("eta", eta, 0, 1)
    if x_T.ndim == 0:
        raise ValueError("x_T: got a single number, needs a batch of shape (B, ...)")
    times = torch.tensor(check_times(schedule, timesteps))
    rows = _coefficients(schedule, times, eta).to(x_T.device, x_T.dtype)
    times = at_times(times, x_T).unsqueeze(1).expand(-1, len(x_T)).contiguous()
    x, z = x_T.detach().clone(), torch.zeros_like(x_T)
    k = torch.zeros(1, dtype=torch.long, device=x.device)
    half = dict(enabled=precision != torch.float32, cache_enabled=False)

    def step() -> None:
        A, B, C = rows.index_select(1, k)
        with torch.autocast(x.device.type, precision, **half):
            eps = predict(model, x, times.index_select(0, k)[0])
        moved = A * x + B * eps
        x.copy_(moved + C * z if eta else moved)
        k.add_(1)

    advance = _record(step, k) if x.is_cuda else step

    @torch.no_grad()
    def run(x_T: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _check.same_shape("x_T", x_T, "the recorded x_T", x)
        x.copy_(x_T)
        k.zero_()
        for _ in range(len(times) - 1):
            if eta:
                z.copy_(draw_noise(x, generator))
            advance()
        return x.clone()

    return run


def _coefficients(schedule: Schedule, times: Tensor, eta: float) -> Tensor:
    """A, B, C of every step, shape (3, steps), float64: ``ddim_step`` is linear in x, eps, z."""
    one = torch.ones(len(times) - 1, dtype=torch.float64)
    units = torch.eye(3, dtype=torch.float64).unbind()
    return torch.stack(
        [ddim_step(a * one, b * one, schedule, times[:-1], times[1:], eta, c * one)
         for a, b, c in units]
    )  # fmt: skip


@torch.no_grad()
def _record(step: Callable[[], None], k: Tensor) -> Callable[[], None]:
    """One launch for ``step``, after some calls in which the device chooses and allocates."""
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            k.zero_()
            step()
    torch.cuda.current_stream().wait_stream(side)
    k.zero_()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: Callable[[], None] = step) -> None:  # with the memory that was recorded
        graph.replay()

    return replay
