"""A limit on the work of a computation that has no limit of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class TooLong(BaseException):
    """Raised inside the computation; no ``except Exception`` on the way may swallow it."""


def bounded(compute: Callable[[], T], events: int) -> T | None:
    """``compute()``, or None if it makes more than ``events`` calls and returns of functions.

    SymPy's algebra cannot say in advance how long it takes. Work is counted, not time, so that the
    answer is the same on a slow machine; a million events take about a second. Python's profiling
    hook does the counting, in the thread that asks; under a profiler there is no limit.
    """
    if sys.getprofile() is not None:
        return compute()
    left = events

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooLong  # Python takes the hook away before it goes on

    sys.setprofile(count)
    try:
        return compute()
    except TooLong:
        return None
    finally:
        sys.setprofile(None)
