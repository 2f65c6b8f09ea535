"""Samplers: loops over one step that yield every state."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.diffusion.step import VARIANCES, ddim_step, ddpm_step
from kexue.diffusion.target import Model
from kexue.schedule import Schedule

__all__ = ["ddim", "ddpm"]


def ddpm(
    model: Model,
    x_T: Tensor,
    schedule: Schedule,
    timesteps: Iterable,
    variance: str | float | Callable[[Any, Any], Any] = "posterior",
    generator: torch.Generator | None = None,
    noise: Iterable[Tensor] | None = None,
) -> Iterator[tuple[Any, Tensor]]:
    """Ancestral sampling: yield (t, x_t) for every time of ``timesteps``, the first and last too.

    Args:
        model: predicts eps from (x_t, t). x_T: the state at the first time, shape (B, ...).
        timesteps: strictly descending times, for instance ``schedule.timesteps(50)``; any subset
            of the times that the model was trained on.
        variance: as in ``ddpm_step``.
        generator: source of the noise. noise: the noise itself, one tensor a step, for tests.

    Source: Ho et al. 2020 (arXiv:2006.11239), algorithm 2; kexue.fm/archives/9164.
    Runs without gradients. Raises at once, not at the first state, for bad arguments.

    >>> from kexue.density import GaussianMixture
    >>> from kexue.diffusion import exact_eps
    >>> from kexue.schedule import su
    >>> model = exact_eps(GaussianMixture([1.0], [3.0], [0.0]), su())  # all data at 3
    >>> rng = torch.Generator().manual_seed(0)
    >>> for t, x in ddpm(model, torch.ones(1), su(), su().timesteps(2), generator=rng):
    ...     print(t, f"{x.item():.2f}")
    1000 1.00
    500 2.35
    0 3.00
    """

    def step(x_t: Tensor, eps: Tensor, t: Any, s: Any, z: Tensor) -> Tensor:
        return ddpm_step(x_t, eps, schedule, t, s, variance, z)

    if isinstance(variance, str):
        _check.one_of("variance", variance, VARIANCES)
    return _run(step, model, x_T, schedule, timesteps, _source(x_T, generator, noise))


def ddim(
    model: Model,
    x_T: Tensor,
    schedule: Schedule,
    timesteps: Iterable,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    noise: Iterable[Tensor] | None = None,
) -> Iterator[tuple[Any, Tensor]]:
    """DDIM sampling: yield (t, x_t) for every time; arguments as in ``ddpm`` and ``ddim_step``.

    With eta = 0 the whole path is a function of ``x_T`` and no noise is drawn.
    Source: Song et al. 2020 (arXiv:2010.02502); kexue.fm/archives/9181.

    >>> from kexue.density import GaussianMixture
    >>> from kexue.diffusion import exact_eps
    >>> from kexue.schedule import su
    >>> model = exact_eps(GaussianMixture([1.0], [0.0], [4.0]), su())  # N(0, 4): std 2
    >>> *_, (t, x) = ddim(model, torch.tensor([-1.0, 1.0]), su(), su().timesteps(500))
    >>> t, x
    (0, tensor([-1.9939,  1.9939]))
    """
    eta = _check.real("eta", eta, 0, 1)

    def step(x_t: Tensor, eps: Tensor, t: Any, s: Any, z: Tensor) -> Tensor:
        return ddim_step(x_t, eps, schedule, t, s, eta, z)

    source = itertools.repeat(None) if eta == 0 else _source(x_T, generator, noise)
    return _run(step, model, x_T, schedule, timesteps, source)


def _source(x_T: Any, generator: torch.Generator | None, noise: Any) -> Iterator[Tensor]:
    """The noise of each step: what is given, or drawn."""
    if noise is not None:
        return iter(noise)
    return iter(lambda: draw_noise(x_T, generator), None)


def _run(step, model, x_T, schedule, timesteps, noise) -> Iterator[tuple[Any, Tensor]]:
    """Check the arguments now; return the generator that composes ``step``."""
    x_T = _check.tensor("x_T", x_T)
    if x_T.ndim == 0:
        raise ValueError("x_T: got a single number, needs a batch of shape (B, ...)")
    times = check_times(schedule, timesteps)

    @torch.no_grad()
    def states() -> Iterator[tuple[Any, Tensor]]:
        x = x_T
        yield times[0], x
        for t, s in itertools.pairwise(times):
            eps = predict(model, x, at_times(t, x))
            try:
                z = next(noise)
            except StopIteration:
                raise ValueError(f"noise: got too few tensors, needs {len(times) - 1}") from None
            x = step(x, eps, t, s, z)
            yield s, x

    return states()


def check_times(schedule: Schedule, timesteps: Any) -> list:
    """Strictly descending times within the range of the schedule, as Python numbers."""
    times = schedule._time("timesteps", timesteps).tolist()
    if not isinstance(times, list) or len(times) < 2 or isinstance(times[0], list):
        raise ValueError(f"timesteps: got {times}, needs a list of at least two times")
    if any(s >= t for t, s in itertools.pairwise(times)):
        raise ValueError("timesteps: needs strictly descending times")
    return times


def predict(model: Model, x_t: Tensor, t: Tensor) -> Tensor:
    """The model's estimate of eps, in the shape and dtype of ``x_t``."""
    eps = model(x_t, t)
    if not isinstance(eps, Tensor):
        raise TypeError(f"model(x_t, t): got {type(eps).__name__}, needs a tensor like x_t")
    _check.same_shape("model(x_t, t)", eps, "x_t", x_t)
    return eps.to(x_t.dtype)


def at_times(t: Any, x: Tensor) -> Tensor:
    """One time for each sample, shape (B,), in the kind that the schedule takes."""
    t = torch.as_tensor(t, device=x.device)
    if t.is_floating_point():
        t = t.to(x.dtype)
    return t.expand(x.shape[0]) if t.ndim == 0 else t


def draw_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise; drawn where the generator lives: a seed means one thing everywhere."""
    device = like.device if generator is None else generator.device
    z = torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype)
    return z.to(like.device)
