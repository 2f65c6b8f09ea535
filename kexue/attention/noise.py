r"""Laws of noise on logits, each with the one number that a softmax notices.

A softmax sees noise only through eta = e^eps / E e^eps (eq-attn-eta): a factor common to all keys
cancels. To first order all that is left of a law is one number (eq-attn-v-eta),
V_eta = Var(eta) = E e^{2 eps} / (E e^eps)^2 - 1. A parameter is a number, or a tensor that
broadcasts with the logits: noise that is not the same for every key.

====================  ==========================================  ==================================
law                   ln E e^eps                                  V_eta
====================  ==========================================  ==================================
Normal(sigma)         sigma^2 / 2                                 e^{sigma^2} - 1
Laplace(scale b)      -ln(1 - b^2), infinite from b = 1 on        (2 b^2 + b^4) / (1 - 4 b^2),
                                                                  infinite from b = 1/2 on
Uniform(width w)      ln(sinh(w/2) / (w/2))                       (w/2) coth(w/2) - 1
StudentT(df, scale)   infinite                                    infinite
Drop(rate r)          ln(1 - r)                                   r / (1 - r)
Common(law)           0: whatever it is, it cancels               0
====================  ==========================================  ==================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kexue import _check

__all__ = ["Common", "Drop", "Laplace", "Noise", "Normal", "StudentT", "Uniform"]


class Noise:
    """A law of the noise eps. Two laws with one V_eta do the same harm, to first order.

    Args:
        the one of each law, see the table of this file: a number, kept as it is, or a tensor that
        broadcasts with the logits.

    Raises:
        TypeError, ValueError: a parameter that is no number, not finite or outside its range.

    >>> Normal(0.5).variance_ratio, Uniform(12**0.5 / 2).variance_ratio  # the same deviation, 0.5
    (tensor(0.2840, dtype=torch.float64), tensor(0.2383, dtype=torch.float64))
    """

    @property
    def log_mean(self) -> Tensor:
        """ln E e^eps in float64, in the shape of the parameter."""
        raise NotImplementedError

    @property
    def variance_ratio(self) -> Tensor:
        """V_eta = E e^{2 eps} / (E e^eps)^2 - 1 in float64   (eq-attn-v-eta); may be infinite."""
        raise NotImplementedError

    def sample(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Independent draws of eps, one for every logit.

        Args:
            shape: that of the logits, keys last, or more axes in front of it.
            generator: torch's own by default. It draws on its own device.
            device: where the noise goes; by default where the generator is.

        Raises:
            ValueError: ``shape`` is not one to which the law's parameter broadcasts.
        """
        shape = _check.sample_shape(shape, low=0)
        source = generator.device if generator is not None else device
        options = {"generator": generator, "dtype": dtype, "device": source}
        return self._draw(shape, options).to(device or source)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Normal(Noise):
    """eps ~ N(0, sigma^2): V_eta = e^{sigma^2} - 1.

    >>> f"{Normal(1.0).variance_ratio:.6f} = e - 1"
    '1.718282 = e - 1'
    """

    sigma: float | Tensor

    def __post_init__(self) -> None:
        _set(self, "sigma")

    @property
    def log_mean(self) -> Tensor:
        return _t64(self.sigma) ** 2 / 2

    @property
    def variance_ratio(self) -> Tensor:
        return torch.expm1(_t64(self.sigma) ** 2)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        return _scaled("sigma", self.sigma, torch.randn(shape, **options))


@dataclass(frozen=True, eq=False)
class Laplace(Noise):
    """Density e^{-|eps| / scale} / (2 scale): tails so heavy that V_eta is infinite from 1/2 on.

    >>> Laplace(0.5).variance_ratio.item(), Laplace(0.5).log_mean.item()
    (inf, 0.2876820724517809)
    """

    scale: float | Tensor

    def __post_init__(self) -> None:
        _set(self, "scale")

    @property
    def log_mean(self) -> Tensor:
        b2 = _t64(self.scale) ** 2
        return torch.where(b2 < 1, -torch.log1p(-b2), math.inf)

    @property
    def variance_ratio(self) -> Tensor:
        b2 = _t64(self.scale) ** 2
        return torch.where(b2 < 0.25, (2 * b2 + b2**2) / (1 - 4 * b2), math.inf)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        # The difference of two independent exponential variables.
        one, other = (
            torch.empty(shape, dtype=options["dtype"], device=options["device"]).exponential_(
                generator=options["generator"]
            )
            for _ in range(2)
        )
        return _scaled("scale", self.scale, one.sub_(other))


@dataclass(frozen=True, eq=False)
class Uniform(Noise):
    """Uniform on [-width/2, width/2]: what rounding to steps of ``width`` does, to first order.

    >>> f"{Uniform(1.0).variance_ratio:.6f} ~ 1/12"
    '0.081977 ~ 1/12'
    """

    width: float | Tensor

    def __post_init__(self) -> None:
        _set(self, "width")

    @property
    def log_mean(self) -> Tensor:
        w = _t64(self.width)
        # sinh(w/2) / (w/2) = e^{w/2} (1 - e^{-w}) / w, which does not overflow
        return torch.where(w > 0, w / 2 + torch.log(-torch.expm1(-w) / w), 0.0)

    @property
    def variance_ratio(self) -> Tensor:
        x = _t64(self.width) / 2
        # x coth x - 1 loses its digits where x is small; the series is good to 1e-13 below 0.05
        series = x**2 / 3 - x**4 / 45 + 2 * x**6 / 945 - x**8 / 4725
        return torch.where(x > 0.05, x / torch.tanh(x) - 1, series)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        return _scaled("width", self.width, torch.rand(shape, **options).sub_(0.5))


@dataclass(frozen=True, eq=False)
class StudentT(Noise):
    """scale times Student's t with ``df`` degrees of freedom: E e^eps is infinite for any df.

    >>> StudentT(3.0).variance_ratio.item()
    inf
    """

    df: float
    scale: float | Tensor = 1.0

    def __post_init__(self) -> None:
        if not _check.real("df", self.df, low=0) > 0:
            raise ValueError(f"df: got {self.df:g}, needs a number > 0")
        _set(self, "scale")

    @property
    def log_mean(self) -> Tensor:
        return torch.where(_t64(self.scale) > 0, math.inf, 0.0).double()

    @property
    def variance_ratio(self) -> Tensor:
        return self.log_mean

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        # Bailey (1994), Math. Comp. 62, 779: Box and Muller's method for Student's t.
        u, angle = (1 - torch.rand(shape, **options) for _ in range(2))
        radius = (self.df * torch.expm1(u.log() * (-2 / self.df))).sqrt()
        return _scaled("scale", self.scale, radius * torch.cos(2 * math.pi * angle))


@dataclass(frozen=True, eq=False)
class Drop(Noise):
    """eps = -inf with probability ``rate``, else 0: the key is dropped before the softmax, which
    renormalizes (DropKey, Li et al. 2023)   (eq-attn-v-drop).

    A row that would lose every key that it can see keeps them all (``perturb``); that happens with
    probability rate^n and leaves the output as it is.

    >>> Drop(0.25).variance_ratio.item()
    0.3333333333333333
    """

    rate: float | Tensor

    def __post_init__(self) -> None:
        _set(self, "rate")
        if (_t64(self.rate) >= 1).any():
            raise ValueError(f"rate: got {_t64(self.rate).max().item():g}, needs values in [0, 1)")

    @property
    def log_mean(self) -> Tensor:
        return torch.log1p(-_t64(self.rate))

    @property
    def variance_ratio(self) -> Tensor:
        rate = _t64(self.rate)
        return rate / (1 - rate)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        u = torch.rand(shape, **options)
        return torch.where(u < _like("rate", self.rate, u), -math.inf, torch.zeros_like(u))


@dataclass(frozen=True, eq=False)
class Common(Noise):
    """One draw of ``law`` for a row, the same for all its keys: a softmax does not notice it.

    >>> Common(Normal(3.0)).sample((2, 4)).std(-1)
    tensor([0., 0.])
    """

    law: Noise

    def __post_init__(self) -> None:
        if not isinstance(self.law, Noise) or isinstance(self.law, Drop | Common):
            raise TypeError(f"law: got {self.law!r}, needs a law of finite noise, such as Normal")

    @property
    def log_mean(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64)

    @property
    def variance_ratio(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64)

    def _draw(self, shape: torch.Size, options: dict[str, Any]) -> Tensor:
        if not shape:
            raise ValueError("shape: got (), needs an axis of keys")
        return self.law._draw(torch.Size((*shape[:-1], 1)), options).expand(shape)


def _set(law: Noise, name: str) -> None:
    """Check the parameter of a law: a number >= 0, kept as a float, or a tensor of such."""
    value = getattr(law, name)
    if isinstance(value, Tensor) and value.ndim:
        value = _check.positive(name, value, zero=True)
    else:
        value = _check.real(name, value, low=0)
    object.__setattr__(law, name, value)


def _t64(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _like(name: str, value: float | Tensor, draw: Tensor) -> Tensor | float:
    """The parameter in the dtype and on the device of the draw, if it broadcasts to its shape."""
    if not isinstance(value, Tensor):
        return value
    broadcasts(name, value, draw.shape)
    return value.to(draw)


def _scaled(name: str, value: float | Tensor, draw: Tensor) -> Tensor:
    """The standard draw times the parameter."""
    return draw.mul_(_like(name, value, draw))


def broadcasts(name: str, value: Tensor, shape: torch.Size) -> None:
    """Raise unless ``value`` broadcasts to ``shape``."""
    try:
        fits = torch.broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: got shape {tuple(value.shape)}, needs one that broadcasts to {tuple(shape)}"
        )
