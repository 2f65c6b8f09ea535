"""Argument checks shared by every room: each names the argument, what it got and what it needs."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor


def one_of(name: str, value: Any, choices: Collection) -> Any:
    """Return ``value`` if it is one of ``choices``."""
    try:
        known = value in choices
    except (TypeError, ValueError, RuntimeError):  # unhashable, or an array with no one truth value
        known = False
    if not known:
        raise ValueError(f"{name}: got {value!r}, needs one of {', '.join(map(repr, choices))}")
    return value


def tensor(
    name: str, value: Any, *, floating: bool = True, dtype: torch.dtype | None = None
) -> Tensor:
    """Return ``value`` as a finite tensor (floating point unless told otherwise).

    With ``dtype`` the numbers are read at that precision, so that a Python ``0.1`` does not pass
    through torch's default float32 first.
    """
    if isinstance(value, np.ndarray):
        value = np.array(value, order="C")  # torch takes neither reversed nor read-only arrays
    try:
        value = torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name}: got {type(value).__name__}, needs numbers ({error})") from error
    if floating and not value.is_floating_point():
        raise TypeError(f"{name}: got dtype {value.dtype}, needs a floating-point dtype")
    if value.numel() == 0:
        raise ValueError(f"{name}: got an empty tensor of shape {tuple(value.shape)}, needs data")
    if not torch.isfinite(value).all():
        raise ValueError(f"{name}: got NaN or infinite values, needs finite ones")
    return value


def positive(name: str, value: Any, *, zero: bool = False) -> Tensor:
    """Return ``value`` as a tensor whose entries are all positive (or zero, if ``zero``)."""
    value = tensor(name, value)
    if (value < 0).any() or (not zero and (value == 0).any()):
        need = "values >= 0" if zero else "values > 0"
        raise ValueError(f"{name}: got a smallest value of {value.min().item():g}, needs {need}")
    return value


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """Return ``value`` as an ``int`` within ``low <= value <= high``."""
    kind = type(value).__name__
    if isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        raise TypeError(f"{name}: got {value!r} of type {kind}, needs an int")
    try:
        number = operator.index(value)  # also NumPy's integers and tensors of one integer
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: got {value!r} of type {kind}, needs an int") from error
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"
        raise ValueError(f"{name}: got {number}, needs an integer in {bounds}")
    return number


def sample_shape(value: Any, low: int = 1) -> torch.Size:
    """Return the argument ``sample_shape``, a size or several, each >= ``low``, as a shape."""
    sizes = [value] if isinstance(value, int) else list(value)
    return torch.Size(integer("sample_shape", size, low=low) for size in sizes)


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return one finite real number within ``low <= value <= high`` as a ``float``."""
    wrong = (bool, str, complex, np.bool_, np.complexfloating)  # the last loses its imaginary part
    if isinstance(value, wrong) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: got {value!r} of type {type(value).__name__}, needs a number")
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # several; 10**400
        raise TypeError(f"{name}: got {type(value).__name__}, needs one number") from error
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"{name}: got {number:g}, needs a finite number in [{low:g}, {high:g}]")
    return number


def positive_real(name: str, value: Any) -> float:
    """Return one finite real number > 0 as a ``float``."""
    number = real(name, value, low=0)
    if number == 0:
        raise ValueError(f"{name}: got 0, needs a number > 0")
    return number


def same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless the two tensors have one shape."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name}: got shape {tuple(value.shape)}, needs {tuple(other.shape)} like {other_name}"
        )


def location_scale(
    name: str, batch: torch.Size, like: Tensor, loc: Any, scale: Any
) -> tuple[Tensor, Tensor, torch.Size]:
    """Return ``loc`` and ``scale`` > 0 in the dtype and on the device of ``like``, and the shape to
    which they and ``batch``, the batch shape of the argument ``name``, broadcast."""
    loc = tensor("loc", loc, dtype=like.dtype).to(like.device)
    scale = positive("scale", tensor("scale", scale, dtype=like.dtype)).to(like.device)
    try:
        return loc, scale, torch.broadcast_shapes(batch, loc.shape, scale.shape)
    except RuntimeError as error:
        shapes = f"{tuple(batch)}, {tuple(loc.shape)} and {tuple(scale.shape)}"
        raise ValueError(
            f"{name}, loc, scale: got batch shapes {shapes}, needs shapes that broadcast"
        ) from error


def uniform_grid(name: str, value: Any) -> Tensor:
    """Return ``value`` as equally spaced increasing float64 points, shape (N,) with N >= 3."""
    value = tensor(name, value, dtype=torch.float64)
    if value.ndim != 1 or len(value) < 3:
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, needs (N,) with N >= 3")
    spacing = value.diff()
    # 1e-3 leaves room for a grid that was made in float32.
    if (spacing <= 0).any() or (spacing - spacing.mean()).abs().max() > 1e-3 * spacing.mean():
        raise ValueError(f"{name}: got unequal or decreasing spacings, needs a uniform grid")
    return value


def gray_images(name: str, value: Any) -> Tensor:
    """Return ``value``, shape (N, H, W) or (N, 1, H, W) within [-1, 1], as float32 (N, H, W)."""
    images = tensor(name, value).detach().cpu().float()
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3:
        raise ValueError(
            f"{name}: got shape {tuple(images.shape)}, needs (N, H, W) or (N, 1, H, W)"
        )
    if images.abs().max() > 1:
        low, high = images.min().item(), images.max().item()
        raise ValueError(f"{name}: got values in [{low:.3g}, {high:.3g}], needs [-1, 1]")
    return images
