"""One reverse step: its exact law given x_0, and the DDPM and DDIM steps that predict x_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kexue import _check
from kexue.schedule import Schedule, expand_like

__all__ = ["VARIANCES", "ddim_step", "ddpm_step", "posterior", "reverse_variance"]

VARIANCES = ("posterior", "forward")


def posterior(x_t: Tensor, x0: Tensor, schedule: Schedule, t: Any, s: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance of the Gaussian p(x_s | x_t, x_0), s < t.

    mean = (a sigma_s^2 / sigma_t^2) x_t + (alpha_s b^2 / sigma_t^2) x_0   (eq-ddpm-posterior-mean)
    variance = sigma_s^2 b^2 / sigma_t^2                               (eq-ddpm-posterior-variance)

    Precisions of the two Gaussians in Bayes' rule add: 1 / variance = a^2 / b^2 + 1 / sigma_s^2.
    At s = 0 the mean is x_0 and the variance 0. Times: one, or one for each sample, shape (B,).
    Source: Ho et al. 2020 (arXiv:2006.11239), equation 7; kexue.fm/archives/9164.

    Returns:
        The mean, in the shape of ``x_t``, and the variance, in a shape that broadcasts against it.

    Raises:
        ValueError: shapes differ, values are not finite, or not 0 <= s < t <= end.

    >>> from kexue.schedule import su
    >>> mean, variance = posterior(torch.ones(1), torch.zeros(1), su(), t=500, s=499)
    >>> f"{mean.item():.4f} {variance.item():.6f}"
    '0.9941 0.009991'
    """
    x_t, x0 = _check.tensor("x_t", x_t), _check.tensor("x0", x0)
    _check.same_shape("x0", x0, "x_t", x_t)
    a, b = schedule.step(t, s)
    (alpha_s, sigma_s), sigma_t = schedule(s), _noise_at(schedule, t)
    of_x_t, of_x0 = a * (sigma_s / sigma_t) ** 2, alpha_s * (b / sigma_t) ** 2
    mean = expand_like(of_x_t, x_t, "t") * x_t + expand_like(of_x0, x_t, "t") * x0
    return mean, expand_like((sigma_s * b / sigma_t) ** 2, x_t, "t")


def reverse_variance(schedule: Schedule, t: Any, s: Any, data_variance: Any) -> Tensor:
    """Var[x_s | x_t] when the data are N(mu, data_variance I)   (eq-ddpm-data-variance).

    b^2 (alpha_s^2 d + sigma_s^2) / (alpha_t^2 d + sigma_t^2), increasing in the data variance d:
    from sigma_s^2 b^2 / sigma_t^2 (d = 0, "posterior") through b^2 (d = 1, "forward") towards
    b^2 / a^2. So b^2 is an upper bound only for data of variance at most 1.

    Raises:
        ValueError: negative ``data_variance``, or not s < t.

    >>> from kexue.schedule import su
    >>> [f"{reverse_variance(su(), 200, 100, d):.4f}" for d in (0, 1, 4)]
    ['0.0755', '0.2603', '0.3214']
    """
    d = _check.tensor("data_variance", data_variance, dtype=torch.float64)
    d = _check.positive("data_variance", d, zero=True)
    b_squared = schedule.step(t, s)[1] ** 2
    (alpha_s, sigma_s), alpha_t, sigma_t = schedule(s), schedule.alpha(t), _noise_at(schedule, t)
    return b_squared * (alpha_s**2 * d + sigma_s**2) / (alpha_t**2 * d + sigma_t**2)


def ddpm_step(
    x_t: Tensor,
    eps: Tensor,
    schedule: Schedule,
    t: Any,
    s: Any,
    variance: str | float | Tensor | Callable[[Any, Any], Any] = "posterior",
    noise: Tensor | None = None,
) -> Tensor:
    """One ancestral step from t to s < t   (eq-ddpm-eps-mean).

    x_s = (x_t - b^2 / sigma_t eps) / a + sqrt(variance) noise

    The mean is that of ``posterior`` with x_0 replaced by its prediction from ``eps``.
    Source: Ho et al. 2020 (arXiv:2006.11239), algorithm 2; kexue.fm/archives/9164.

    Args:
        variance: "posterior", sigma_s^2 b^2 / sigma_t^2, right for data at one point; "forward",
            b^2, right for data of unit covariance; or the value itself, a number, a tensor over
            leading axes of ``x_t``, or a function of (t, s) (see ``reverse_variance``).
        noise: like ``x_t``; drawn from N(0, I) if not given.

    At s = 0 no noise is added: the state shown is the mean. With "posterior" that is automatic, as
    its variance vanishes there; any other choice would add visible noise to the result, so it is
    dropped by hand.

    Raises:
        ValueError: alpha_t = 0 (x_0 cannot be predicted from eps), a negative variance, not s < t,
            shapes that differ or values that are not finite.

    >>> from kexue.schedule import su
    >>> ddpm_step(torch.tensor([1.0]), torch.tensor([0.5]), su(), 500, 499, noise=torch.zeros(1))
    tensor([0.9998])
    """
    x_t, eps = _check.tensor("x_t", x_t), _check.tensor("eps", eps)
    _check.same_shape("eps", eps, "x_t", x_t)
    a, b, sigma_s, sigma_t = _reverse_amplitudes(schedule, t, s)
    mean = (x_t - expand_like(b**2 / sigma_t, x_t, "t") * eps) / expand_like(a, x_t, "t")
    spread = expand_like(step_variance(schedule, t, s, variance).sqrt(), x_t, "variance")
    spread = spread * expand_like(sigma_s > 0, x_t, "s")
    return _add_noise(mean, spread, noise)


def ddim_step(
    x_t: Tensor,
    eps: Tensor,
    schedule: Schedule,
    t: Any,
    s: Any,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """One DDIM step from t to s < t (Song et al. 2020, arXiv:2010.02502, equation 12).

    x_s = alpha_s x0_hat + sqrt(sigma_s^2 - w^2) eps + w noise,  w = eta sigma_s b / sigma_t,
    x0_hat = (x_t - sigma_t eps) / alpha_t

    eta = 0 is deterministic; eta = 1 is ``ddpm_step`` with "posterior". Other arguments and errors
    as there, and a ValueError for eta outside [0, 1].

    >>> from kexue.schedule import su
    >>> ddim_step(torch.tensor([1.0]), torch.tensor([0.5]), su(), 500, 499)
    tensor([1.0024])
    """
    x_t, eps = _check.tensor("x_t", x_t), _check.tensor("eps", eps)
    _check.same_shape("eps", eps, "x_t", x_t)
    eta = _check.real("eta", eta, 0, 1)
    a, b, sigma_s, sigma_t = _reverse_amplitudes(schedule, t, s)
    # sigma_s^2 - w^2 without a cancellation, from sigma_t^2 = a^2 sigma_s^2 + b^2.
    keep = sigma_s / sigma_t * ((a * sigma_s) ** 2 + (1 - eta**2) * b**2).sqrt()
    mean = x_t / expand_like(a, x_t, "t") + expand_like(keep - sigma_t / a, x_t, "t") * eps
    if eta == 0:
        return mean  # and no noise is drawn
    return _add_noise(mean, expand_like(eta * sigma_s * b / sigma_t, x_t, "t"), noise)


def step_variance(schedule: Schedule, t: Any, s: Any, variance: Any) -> Tensor:
    """The value of a variance given by name, number, tensor or function of (t, s); float64."""
    if isinstance(variance, str):
        _check.one_of("variance", variance, VARIANCES)
        b = schedule.step(t, s)[1]
        if variance == "forward":
            return b**2
        return (schedule.sigma(s) * b / _noise_at(schedule, t)) ** 2
    value = variance(t, s) if callable(variance) else variance
    value = _check.tensor("variance", value, dtype=torch.float64)
    return _check.positive("variance", value, zero=True)


def _reverse_amplitudes(schedule: Schedule, t: Any, s: Any) -> tuple[Tensor, ...]:
    """a, b, sigma_s, sigma_t of a reverse step; a = 0 is refused."""
    a, b = schedule.step(t, s)
    if (a == 0).any():
        raise ValueError(
            "t: got a time with alpha = 0, from which eps cannot predict x_0; needs a smaller t"
        )
    return a, b, schedule.sigma(s), _noise_at(schedule, t)


def _noise_at(schedule: Schedule, t: Any) -> Tensor:
    """sigma_t, which the reverse step divides by."""
    sigma = schedule.sigma(t)
    if (sigma == 0).any():  # a continuous time below about 1e-150
        raise ValueError("t: got a time so close to 0 that sigma rounds to 0; needs a larger t")
    return sigma


def _add_noise(mean: Tensor, spread: Tensor, noise: Tensor | None) -> Tensor:
    noise = torch.randn_like(mean) if noise is None else _check.tensor("noise", noise)
    _check.same_shape("noise", noise, "x_t", mean)
    return mean + spread * noise
