"""Argument checks shared by every room: each names the argument, what it got and what it needs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor


def one_of(name: str, value: Any, choices: Collection) -> Any:
    """Return ``value`` if it is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, needs one of {', '.join(map(repr, choices))}")
    return value


def tensor(name: str, value: Any, *, floating: bool = True) -> Tensor:
    """Return ``value`` as a finite tensor (floating point unless told otherwise)."""
    try:
        value = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: got {type(value).__name__}, needs numbers") from error
    if floating and not value.is_floating_point():
        raise TypeError(f"{name}: got dtype {value.dtype}, needs a floating-point dtype")
    if value.numel() == 0:
        raise ValueError(f"{name}: got an empty tensor of shape {tuple(value.shape)}, needs data")
    if value.is_floating_point() and not torch.isfinite(value).all():
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
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: got {value!r} of type {type(value).__name__}, needs an int")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{name}: got {value}, needs an integer in [{low}, {high}]")
    return value


def same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless the two tensors have one shape."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name}: got shape {tuple(value.shape)}, needs {tuple(other.shape)} like {other_name}"
        )
