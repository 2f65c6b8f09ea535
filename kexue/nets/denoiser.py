"""What every network of the book shares: how it is called and how it hears the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kexue import _check
from kexue.schedule import DiscreteSchedule, Schedule, expand_like

__all__ = ["Denoiser", "TimeEmbedding", "replay"]


class TimeEmbedding(nn.Module):
    """Cosines and sines of the time: t in [0, T], shape (B,), to features of shape (B, dim).

    The angles are ``omega_k t / T`` with ``dim / 2`` frequencies from 1 to 1000, equally spaced in
    the logarithm: the slowest tells noise from data, the fastest turns by one radian from one of
    1000 steps to the next (the sinusoids of Vaswani et al. 2017, section 3.5, on t / T).
    """

    def __init__(self, dim: int, T: float) -> None:
        super().__init__()
        if _check.integer("dim", dim, low=4) % 2:
            raise ValueError(f"dim: got {dim}, needs an even number")
        omega = torch.logspace(0, 3, dim // 2)
        self.register_buffer("omega", omega / _check.real("T", T, low=1e-6), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angle = t.float()[:, None] * self.omega
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class Denoiser(nn.Module):
    r"""A network that estimates the noise: ``eps = model(x_t, t)``, in the shape of ``x_t``.

    Subclasses write ``estimate(x, t)``; this class checks the arguments and, given the
    ``schedule`` that made x_t, adds what is known without any training:

    .. math:: \hat\epsilon(x_t, t) = \sigma_t x_t + \alpha_t F(x_t, t)

    where F is the network's output. For data of mean 0 and variance 1 in every pixel, uncorrelated,
    the best linear estimate of the noise is :math:`\sigma_t x_t` exactly, so a network that starts
    at F = 0 starts there. It also cures a disease: x_0 = (x_t - sigma eps) / alpha multiplies an
    error of eps by sigma / alpha, which is above 10,000 at the end of the cosine schedule; an error
    of F it multiplies by sigma <= 1. (F estimates ``v = alpha eps - sigma x0``,
    Salimans & Ho 2022, arXiv:2202.00512.)

    Args:
        schedule: the schedule of x_t; None lets F itself be the estimate.
        T: the last time, where there is no schedule to ask.

    Times are numbers or tensors of shape () or (B,), in [0, T].
    """

    def __init__(self, schedule: Schedule | None = None, T: float = 1000) -> None:
        super().__init__()
        if schedule is not None and not isinstance(schedule, Schedule):
            raise TypeError(f"schedule: got {type(schedule).__name__}, needs a Schedule or None")
        self.schedule = schedule
        self.discrete = isinstance(schedule, DiscreteSchedule)
        self.T = (schedule.T if self.discrete else 1) if schedule else _check.real("T", T, low=1)
        if self.discrete:  # tables in the model move to the GPU with it
            alpha, sigma = schedule(torch.arange(schedule.T + 1))
            self.register_buffer("alpha", alpha.float(), persistent=False)
            self.register_buffer("sigma", sigma.float(), persistent=False)

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        """The network F: x of shape (B, ...) and times (B,) to the shape of x."""
        raise NotImplementedError

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError where ``x`` does not fit this network."""

    def forward(self, x_t: Tensor, t: Any) -> Tensor:
        """The estimate of the noise in ``x_t`` at time ``t``."""
        if not isinstance(x_t, Tensor) or not x_t.is_floating_point():
            got = x_t.dtype if isinstance(x_t, Tensor) else type(x_t).__name__
            raise TypeError(f"x_t: got {got}, needs a floating-point tensor")
        self.check_input(x_t)
        t = self._time(x_t, t)
        F = self.estimate(x_t, t)
        if self.schedule is None:
            return F
        alpha, sigma = (self.alpha[t], self.sigma[t]) if self.discrete else self.schedule(t)
        return expand_like(sigma, x_t) * x_t + expand_like(alpha, x_t) * F

    def _time(self, x_t: Tensor, t: Any) -> Tensor:
        """One time for each sample, shape (B,)."""
        t = torch.as_tensor(t, device=x_t.device)
        if t.ndim > 1 or (t.ndim == 1 and len(t) != len(x_t)):
            raise ValueError(f"t: got shape {tuple(t.shape)}, needs () or ({len(x_t)},)")
        if self.discrete and t.is_floating_point():
            raise TypeError(f"t: got dtype {t.dtype}, needs integers: the schedule is discrete")
        asked = t.device.type == "cpu" and not torch.compiler.is_compiling()  # a GPU would stall
        if asked and not ((t >= 0) & (t <= self.T)).all():
            raise ValueError(f"t: got {t.min():g} to {t.max():g}, needs [0, {self.T:g}]")
        return t.expand(len(x_t))


def replay(
    model: nn.Module, x_t: Tensor, precision: torch.dtype = torch.float32
) -> Callable[[Tensor, Any], Tensor]:
    """Record ``model`` on a GPU as a CUDA graph, for states of the shape of ``x_t``.

    A small network spends its time on launching kernels, a thousand a call; the recording is one
    launch. Returns a function of (x_t, t), t of shape (B,) and integer, with the same answers in
    float32, without gradients. On a CPU it is the model itself.
    """
    if x_t.device.type != "cuda":
        return model
    x, t = x_t.clone(), torch.ones(len(x_t), dtype=torch.long, device=x_t.device)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    half = dict(enabled=precision != torch.float32, cache_enabled=False)
    autocast = torch.autocast("cuda", precision, **half)
    with torch.no_grad(), autocast:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is chosen and allocated on the first calls
            for _ in range(3):
                model(x, t)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            eps = model(x, t).float()

    def run(x_t: Tensor, time: Any) -> Tensor:
        _check.same_shape("x_t", x_t, "the recorded x_t", x)
        x.copy_(x_t)
        t.copy_(torch.as_tensor(time))
        graph.replay()
        return eps.clone()

    run.model = model  # the recording reads its weights
    return run
