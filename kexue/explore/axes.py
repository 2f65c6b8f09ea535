"""Axes that look like those of the frame before are not drawn again.

Ticks, their labels and their lines take most of a frame's time, and under a slider they mostly
stay. :class:`AxisMemory` keeps what one axis of a figure drew, with the state it was drawn from:
all that the axis, its ticks, locators, formatters and labels hold, its place and limits, the spines
beside it, and matplotlib's settings. An axis of the next figure in the same state is not drawn, its
recording is. What the state cannot describe (an object of the user's own, say) is drawn every time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axis import XAxis, YAxis
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.transforms import BboxBase, Transform

if TYPE_CHECKING:
    from kexue.explore.record import Recorder, Scene

# Where an object belongs and whom it tells of changes; what it drew itself on.
ASIDE = {
    *("axis", "_axes", "_parent_figure", "_callbacks", "callbacks", "stale_callback", "_stale"),
    *("_renderer", "_remove_method", "_marker_function", "_parents", "_invalid"),
}
PROBES = np.array([[0.1, 0.2], [0.7, 0.9], [3.0, 5.0]])


class UnknownError(Exception):
    """Something whose state cannot be told."""


def state(value: Any) -> Any:
    """Return what can be compared with ``==`` in place of ``value``; raise ``UnknownError`` if not.

    >>> state([1, np.arange(2.0)]) == state([1, np.arange(2.0)])
    True
    """
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex)):
        return value
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [state(v) for v in value]
    if isinstance(value, dict):
        return [(k, state(v)) for k, v in value.items() if k not in ASIDE]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, BboxBase):
        return value.get_points().tolist()
    if isinstance(value, Transform):  # what it does, not what it is made of
        return value.transform(PROBES).tolist()
    if type(value).__module__.startswith("matplotlib.") and hasattr(value, "__dict__"):
        return type(value).__qualname__, state(vars(value))
    raise UnknownError(type(value))


def axis_state(axis: Any) -> Any:
    """Return all that decides how an axis is drawn."""
    axes = axis.axes
    if type(axis) not in (XAxis, YAxis):
        raise UnknownError(type(axis))
    spines = [
        (name, s.get_visible(), s.get_linewidth(), state(s.get_position()), state(s.get_bounds()))
        for name, s in axes.spines.items()
    ]
    least = None if axis.get_scale() == "linear" else float(axis.get_minpos())
    place = axes.bbox.get_points().tolist(), axes.viewLim.get_points().tolist(), least
    return place, spines, state(axis)


class AxisMemory:
    """What the axes of the figures before drew, by their place in the figure."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, str], tuple[Any, Scene]] = {}
        self.settings: dict[str, Any] = {}

    @contextmanager
    def using(self, figure: Any) -> Iterator[None]:
        """Have the figure's axes drawn from memory where they are as before."""
        if dict.__ne__(mpl.rcParams, self.settings):
            self.settings = dict.copy(mpl.rcParams)
            self.kept.clear()
        laid_out = isinstance(figure.get_layout_engine(), (PlaceHolderLayoutEngine, type(None)))
        aligned = any(list(g) for g in figure._align_label_groups.values())
        plain = laid_out and not aligned and not figure.subfigs
        replaced = []
        for number, one in enumerate(figure.axes if plain else ()):
            if one.get_axes_locator() is None:
                one.apply_aspect()
                for axis in (one.xaxis, one.yaxis):
                    try:
                        now = figure.get_size_inches().tolist(), axis_state(axis)
                    except UnknownError:
                        continue
                    axis.draw = self.drawer(axis, (number, type(axis).__name__), now)
                    replaced.append(axis)
        try:
            yield
        finally:
            for axis in replaced:
                del axis.draw

    def drawer(self, axis: Any, slot: tuple[int, str], now: Any) -> Any:
        """Return what draws the axis in place of its method."""

        def draw(renderer: Recorder) -> None:
            found = self.kept.get(slot)
            if found is None or found[0] != now:
                scene = renderer.apart(lambda: type(axis).draw(axis, renderer))
                self.kept[slot] = found = now, scene
            renderer.scene.take(found[1])
            axis.stale = False

        return draw
