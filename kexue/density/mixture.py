"""Gaussian mixtures: the data law for which every quantity of a diffusion model is exact.

If p_0 = sum_k w_k N(m_k, S_k) and x_t = alpha x_0 + sigma eps, then x_t is again a mixture, with
means alpha m_k and covariances alpha^2 S_k + sigma^2 I. Its score, and so the best denoiser
E[x_0 | x_t], has a closed form.

Each covariance is kept by its eigenvalues and, if full, eigenvectors: S_k = Q_k diag(l_k) Q_k^T.
Noise changes only the eigenvalues, so diagonal, isotropic and full mixtures share one code path.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from kexue import _check

__all__ = ["GaussianMixture"]


class GaussianMixture(Distribution):
    """sum_k w_k N(m_k, S_k), a ``torch.distributions.Distribution`` with batch shape ().

    Args:
        weights: (K,) w_k >= 0 that sum to 1 within 1e-6.
        means: (K,) for a law of numbers (event shape ()), or (K, D) (event shape (D,)).
        variances: (K,), one variance a component in every direction; (K, D), one a coordinate; or
            (K, D, D), covariance matrices. Never negative. A zero is allowed (a point of data,
            before noise): such a law can be sampled and ``noised`` but has no density.

    Points ``x`` have shape (..., D), or (...) for a law of numbers. Results are differentiable
    in ``x``. Everything is computed in the dtype of ``means``.

    Raises:
        TypeError, ValueError: naming the argument that has a wrong dtype, shape or value.

    >>> law = GaussianMixture([0.5, 0.5], [-1.0, 1.0], [0.04, 0.04])
    >>> law
    GaussianMixture(K=2, event_shape=())
    >>> f"{law.mean:.2f} {law.variance:.2f}"
    '0.00 1.04'
    >>> law.score(torch.tensor([0.8, 1.2]))
    tensor([ 5.0000, -5.0000])
    """

    arg_constraints = {  # noqa: RUF012  (the name and form that torch.distributions prescribes)
        "weights": constraints.simplex,
        "means": constraints.dependent,
        "variances": constraints.dependent,
    }
    has_rsample = False

    def __init__(self, weights: Any, means: Any, variances: Any) -> None:
        means = _check.tensor("means", means)
        weights = _check.tensor("weights", weights).to(means)
        variances = _check.tensor("variances", variances).to(means)
        if means.ndim not in (1, 2):
            raise ValueError(f"means: got shape {tuple(means.shape)}, needs (K,) or (K, D)")
        if weights.shape != means.shape[:1]:
            raise ValueError(
                f"weights: got shape {tuple(weights.shape)}, needs {tuple(means.shape[:1])}, "
                "one for each of the means"
            )
        if not constraints.simplex.check(weights):
            raise ValueError(
                f"weights: got {weights.tolist()} with sum {weights.sum().item():g}, needs "
                "values >= 0 that sum to 1"
            )
        self.weights, self.means, self.variances = weights, means, variances
        self._m = means.reshape(len(means), -1)  # (K, D), with D = 1 for numbers
        self._q, self._l = _spectra(variances, means.shape)
        super().__init__(torch.Size(), means.shape[1:], validate_args=False)

    @classmethod
    def _of(cls, weights: Tensor, means: Tensor, spectra: tuple[Tensor | None, Tensor]) -> Any:
        """From parts that are known to be right (``noised`` skips a second eigendecomposition)."""
        law = cls.__new__(cls)
        law.weights, law.means = weights, means
        law._m, (law._q, law._l) = means.reshape(len(means), -1), spectra
        full = law._q is not None
        law.variances = _from_spectra(law._q, law._l) if full else law._l.reshape(means.shape)
        Distribution.__init__(law, torch.Size(), means.shape[1:], validate_args=False)
        return law

    def __repr__(self) -> str:
        return f"GaussianMixture(K={len(self.weights)}, event_shape={tuple(self.event_shape)})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """Not available: a mixture is one law, with batch shape ()."""
        raise NotImplementedError("GaussianMixture has batch_shape () and cannot be expanded")

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers, or all vectors of them."""
        return constraints.real if not self.event_shape else constraints.real_vector

    # Moments -------------------------------------------------------------------------------

    @property
    def mean(self) -> Tensor:
        """E[x] = sum_k w_k m_k, in the event shape."""
        return (self.weights @ self._m).reshape(self.event_shape)

    @property
    def covariance(self) -> Tensor:
        """Cov[x] = sum_k w_k (S_k + (m_k - E x)(m_k - E x)^T), shape (D, D); () for numbers."""
        offset = self._m - self.weights @ self._m
        spread = torch.einsum("k,ki,kj->ij", self.weights, offset, offset)
        within = torch.einsum("k,kij->ij", self.weights, _from_spectra(self._q, self._l))
        return (within + spread).reshape(self.event_shape * 2)

    @property
    def variance(self) -> Tensor:
        """Var[x] of each coordinate, in the event shape."""
        return self.covariance.diagonal() if self.event_shape else self.covariance

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Independent draws, shape ``sample_shape + event_shape``."""
        shape = _check.sample_shape(sample_shape)
        count = shape.numel()
        device = self._m.device if generator is None else generator.device
        with torch.no_grad():
            k = torch.multinomial(self.weights.to(device), count, True, generator=generator)
            noise = torch.randn(
                count, self._m.shape[1], generator=generator, dtype=self._m.dtype, device=device
            )
            k, noise = k.to(self._m.device), noise.to(self._m.device)
            noise = _rotate(None if self._q is None else self._q[k], self._l[k].sqrt() * noise)
            return (self._m[k] + noise).reshape(shape + self.event_shape)

    # Density -------------------------------------------------------------------------------

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x), shape (...); accurate far in the tails (log-sum-exp over components)."""
        return self._log_joint(self._points("value", value), 1.0, 0.0).logsumexp(-1)

    def score(self, x: Tensor) -> Tensor:
        """Gradient of log p in x, in the shape of ``x``.

        score(x) = sum_k r_k(x) S_k^{-1} (m_k - x), where r_k(x) = p(k | x) are responsibilities.
        """
        points = self._points("x", x)
        r = self._log_joint(points, 1.0, 0.0).softmax(-1)
        pull = _rotate(self._q, _unrotate(self._q, self._m - points[..., None, :]) / self._l)
        return torch.einsum("...k,...kd->...d", r, pull).reshape(x.shape)

    # Diffusion -----------------------------------------------------------------------------

    def noised(self, alpha: Any, sigma: Any) -> GaussianMixture:
        """Exact law of x_t = alpha x_0 + sigma eps: means alpha m_k, covariances
        alpha^2 S_k + sigma^2 I (eq-ddpm-marginal).

        ``alpha`` and ``sigma`` are numbers >= 0, not both zero.

        >>> GaussianMixture([1.0], [2.0], [1.0]).noised(0.6, 0.8).means
        tensor([1.2000])
        """
        alpha, sigma = (_check.real(n, v, low=0) for n, v in (("alpha", alpha), ("sigma", sigma)))
        if alpha == 0 and sigma == 0:
            raise ValueError("sigma: got 0 with alpha = 0, needs signal or noise")
        spectra = (self._q, alpha**2 * self._l + sigma**2)
        return self._of(self.weights, alpha * self.means, spectra)

    def posterior_mean(self, x_t: Tensor, alpha: Any, sigma: Any) -> Tensor:
        """E[x_0 | x_t], the best denoiser, in the shape of ``x_t``.

        sum_k r_k(x_t) mu_k(x_t) with mu_k = m_k + alpha S_k (alpha^2 S_k + sigma^2)^{-1}
        (x_t - alpha m_k), and r_k the responsibilities under the noised law. By Tweedie's formula
        it equals (x_t + sigma^2 score_t(x_t)) / alpha; unlike that form it is stable at alpha = 0.

        ``alpha``, ``sigma``: numbers, or tensors over leading axes of ``x_t`` (one time a sample).

        >>> GaussianMixture([1.0], [0.0], [1.0]).posterior_mean(torch.tensor([2.0]), 0.6, 0.8)
        tensor([1.2000])
        """
        r, mu, _ = self._posterior(x_t, alpha, sigma)
        return torch.einsum("...k,...kd->...d", r, mu).reshape(x_t.shape)

    def posterior_variance(self, x_t: Tensor, alpha: Any, sigma: Any) -> Tensor:
        """Cov[x_0 | x_t], shape (..., D, D); the variance, in the shape of ``x_t``, for numbers.

        sum_k r_k (S_k sigma^2 (alpha^2 S_k + sigma^2)^{-1} + (mu_k - E)(mu_k - E)^T), where
        E = E[x_0 | x_t]; arguments as in ``posterior_mean``.
        """
        r, mu, within = self._posterior(x_t, alpha, sigma)
        offset = mu - torch.einsum("...k,...kd->...d", r, mu)[..., None, :]
        spread = torch.einsum("...k,...ki,...kj->...ij", r, offset, offset)
        covariance = spread + torch.einsum("...k,...kij->...ij", r, _from_spectra(self._q, within))
        return covariance if self.event_shape else covariance.reshape(x_t.shape)

    # Shared pieces -------------------------------------------------------------------------

    def _points(self, name: str, x: Tensor) -> Tensor:
        """Check points and return them as (..., D)."""
        x = _check.tensor(name, x)
        d = len(self.event_shape)
        if d and x.shape[-1:] != self.event_shape:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, needs (..., {self.event_shape[0]})"
            )
        return x if d else x[..., None]

    def _log_joint(self, x: Tensor, alpha: Any, sigma: Any) -> Tensor:
        """log(w_k N(x; alpha m_k, alpha^2 S_k + sigma^2 I)), shape (..., K)."""
        v = alpha**2 * self._l + sigma**2
        if (v == 0).any():
            raise ValueError(
                "variances: got a zero, so the law has no density; needs positive variances, "
                "or noise: noised(alpha, sigma) with sigma > 0"
            )
        z = _unrotate(self._q, x[..., None, :] - alpha * self._m)
        return self.weights.log() - 0.5 * (z**2 / v + torch.log(2 * math.pi * v)).sum(-1)

    def _posterior(self, x_t: Tensor, alpha: Any, sigma: Any) -> tuple[Tensor, Tensor, Tensor]:
        """p(k | x_t), shape (..., K); mean and eigenvalues of x_0 | x_t, k, (..., K, D)."""
        x = self._points("x_t", x_t)
        amplitudes = []
        for name, value in (("alpha", alpha), ("sigma", sigma)):
            value = _check.tensor(name, value, dtype=x.dtype).to(x.device)
            _check.positive(name, value, zero=True)
            batch = x.shape[:-1]
            if value.shape != batch[: value.ndim]:
                raise ValueError(
                    f"{name}: got shape {tuple(value.shape)}, needs one number or a leading part "
                    f"of {tuple(batch)}"
                )
            amplitudes.append(value.reshape(value.shape + (1,) * (x.ndim + 1 - value.ndim)))
        alpha, sigma = amplitudes
        r = self._log_joint(x, alpha, sigma).softmax(-1)
        v = alpha**2 * self._l + sigma**2
        z = _unrotate(self._q, x[..., None, :] - alpha * self._m)
        mu = self._m + _rotate(self._q, alpha * self._l / v * z)
        return r, mu, self._l * sigma**2 / v


def _spectra(variances: Tensor, shape: torch.Size) -> tuple[Tensor | None, Tensor]:
    """Eigenvectors (K, D, D), or None for the identity, and eigenvalues (K, D)."""
    k, d = shape[0], shape[1:].numel()
    if variances.shape == (k, d, d) and len(shape) == 2:
        if not torch.allclose(variances, variances.mT):
            raise ValueError("variances: got a matrix that is not symmetric, needs covariances")
        values, vectors = torch.linalg.eigh(variances)
        tolerance = d * torch.finfo(variances.dtype).eps * values.abs().max()
        if values.min() < -tolerance:
            raise ValueError(
                f"variances: got an eigenvalue of {values.min().item():g}, needs covariance "
                "matrices without negative eigenvalues"
            )
        return vectors, values.clamp(min=0)  # what is negative here is rounding
    if variances.shape == shape[:1]:
        values = variances[:, None].expand(k, d)
    elif variances.shape == shape:
        values = variances
    else:
        needs = f"({k},)" if len(shape) == 1 else f"({k},), ({k}, {d}) or ({k}, {d}, {d})"
        raise ValueError(f"variances: got shape {tuple(variances.shape)}, needs {needs}")
    return None, _check.positive("variances", values, zero=True)


def _rotate(q: Tensor | None, z: Tensor) -> Tensor:
    """Q z."""
    return z if q is None else torch.einsum("...ij,...j->...i", q, z)


def _unrotate(q: Tensor | None, x: Tensor) -> Tensor:
    """Q^T x."""
    return x if q is None else torch.einsum("...ji,...j->...i", q, x)


def _from_spectra(q: Tensor | None, values: Tensor) -> Tensor:
    """Q diag(values) Q^T, shape (..., K, D, D)."""
    if q is None:
        return torch.diag_embed(values)
    return torch.einsum("...ij,...j,...kj->...ik", q, values, q)
