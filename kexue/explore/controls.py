"""What `ipywidgets.interact` accepts for a parameter, turned into a control and a grid of values.

The rules are ipywidgets': ``(low, high[, step])`` a slider, a number a slider around it, a
``bool`` a check box, a list or dictionary a drop-down, a widget itself, ``fixed(value)`` no
control at all. Nothing here makes a widget, so nothing is sent to a kernel's front end.
"""

from __future__ import annotations

import enum
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

DEFAULT_FRAMES = {1: 41, 2: 13, 3: 7}  # values of a slider, by how many sliders there are


@dataclass
class Control:
    """One parameter a reader can move.

    ``kind`` is ``range``, ``select`` or ``check``. ``values`` is the grid that is stored (for
    ``select`` the options), ``start`` the index in it of the default value. A range moves live
    from ``low`` to ``high`` by ``step``; with ``base`` the position p means base**p.
    """

    name: str
    kind: str
    label: str
    values: list[Any] = field(default_factory=list)
    start: int = 0
    texts: list[str] = field(default_factory=list)
    unit: str = ""
    low: float = 0
    high: float = 0
    step: float = 1
    value: Any = None
    integer: bool = False
    base: float = 0
    interval: int = 0  # milliseconds a frame if there is a play button, else 0

    @property
    def positions(self) -> list[float]:
        """Where the stored values stand on the slider."""
        return (
            [self.positions_of(v) for v in self.values]
            if self.kind == "range"
            else list(range(len(self.values)))
        )

    def positions_of(self, value: float) -> float:
        """Return where a value stands on the slider."""
        return math.log(value, self.base) if self.base else float(value)

    def at(self, position: float) -> Any:
        """Return the value of a position (or option number) as the function receives it."""
        if self.kind != "range":
            return self.values[int(position)]
        if self.base:
            return self.base**position
        return round(position) if self.integer else float(position)

    def snap(self, value: float) -> Any:
        """Return the slider's value nearest to ``value``."""
        p = math.log(value, self.base) if self.base else value
        p = self.low + round((p - self.low) / self.step) * self.step
        p = min(max(p, self.low), self.high)
        return self.at(p if self.integer else float(f"{p:.12g}"))

    def grid(self, frames: int | Iterable | None, sliders: int) -> None:
        """Fill ``values``: ``frames`` evenly spaced ones, or these, and always the default."""
        count = math.floor((self.high - self.low) / self.step * (1 + 1e-9) + 1e-6) + 1
        if frames is None:
            frames = min(DEFAULT_FRAMES.get(sliders, 5), count)
        if isinstance(frames, Integral) and not isinstance(frames, bool):
            if frames < 2:
                raise ValueError(f"frames: {self.name!r} got {frames}, needs at least 2 values")
            stride = (self.high - self.low) / (min(int(frames), count) - 1)
            grid = [
                self.snap(self.at_float(self.low + k * stride))
                for k in range(min(int(frames), count))
            ]
        elif isinstance(frames, Iterable) and not isinstance(frames, str):
            grid = [int(v) if self.integer and float(v).is_integer() else float(v) for v in frames]
            low, high = sorted((self.at(self.low), self.at(self.high)))
            bad = [v for v in grid if not low <= v <= high]
            if bad or len(set(grid)) < 2:
                raise ValueError(
                    f"frames: {self.name!r} got {bad or grid}, needs two or more values in "
                    f"[{low:g}, {high:g}]"
                )
        else:
            raise TypeError(
                f"frames: {self.name!r} got {frames!r}, needs a number of values or the values"
            )
        self.values = sorted({*grid, self.value})
        self.start = self.values.index(self.value)

    def at_float(self, position: float) -> float:
        """Return the value at a position without rounding to integers."""
        return self.base**position if self.base else position


def controls(
    fn: Callable, params: Mapping[str, Any], labels: Mapping[str, str], units: Mapping[str, str]
) -> tuple[list[Control], dict[str, Any]]:
    """Return the controls of ``fn``'s parameters, in its order, and the fixed arguments.

    Raises
    ------
    ValueError, TypeError
        For a name ``fn`` does not have, a parameter without a range, an empty or reversed one.
    """
    params, found, constant = dict(params), [], {}
    signature = inspect.signature(fn)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    named = [
        n
        for n, p in signature.parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    for name in params:
        if name not in named and not takes_any:
            known = ", ".join(named) or "none"
            raise ValueError(f"{name}: {nameof(fn)} has no such parameter, needs one of: {known}")
    for name in [*named, *(n for n in params if n not in named)]:
        p = signature.parameters.get(name) if name in named else None
        default = p.default if p is not None else inspect.Parameter.empty
        spec = params.get(name, default)
        if spec is inspect.Parameter.empty and p.annotation is not inspect.Parameter.empty:
            spec = resolve(p.annotation)
        if spec is inspect.Parameter.empty:
            raise ValueError(
                f"{name}: no range given for this parameter of {nameof(fn)}, needs one, e.g. (0, 1)"
            )
        if is_fixed(spec):
            constant[name] = spec.value
        elif name not in params and p is not None and default is spec and not abbreviates(spec):
            constant[name] = spec  # a default that no control can move stays as it is
        else:
            found.append(control(name, spec, default))
    for name, mapping in (("labels", labels), ("units", units)):
        for key in mapping:
            if key not in [c.name for c in found]:
                known = ", ".join(c.name for c in found)
                raise ValueError(f"{name}: {key!r} is no movable parameter, needs one of: {known}")
    for c in found:
        c.label, c.unit = labels.get(c.name, c.label), units.get(c.name, "")
    return found, constant


def abbreviates(spec: Any) -> bool:
    """Return whether ``spec``, a parameter's default, makes a control by itself."""
    return isinstance(spec, bool | Real | tuple | list | dict) or hasattr(spec, "description")


def resolve(annotation: Any) -> Any:
    """Return the abbreviation an annotation stands for."""
    if annotation in (bool, "bool"):
        return False
    if isinstance(annotation, enum.EnumMeta):
        return {option.name: option for option in annotation}
    return annotation


def control(name: str, spec: Any, default: Any = inspect.Parameter.empty) -> Control:
    """Return the control for one abbreviation; ``default`` is the function's own default."""
    if hasattr(spec, "_model_name") or hasattr(spec, "_view_name"):
        return from_widget(name, spec)
    if isinstance(spec, bool):
        start = spec if not isinstance(default, bool) else default
        return Control(name, "check", name, [False, True], int(start), ["off", "on"])
    if isinstance(spec, tuple):
        return slider(name, *numbers(name, spec), default)
    if isinstance(spec, Real):
        low, high = (-spec, 3 * spec) if spec > 0 else (3 * spec, -spec) if spec < 0 else (0, 1)
        integer = isinstance(spec, Integral)
        return slider(name, *((int if integer else float)(v) for v in (low, high)), None, spec)
    if isinstance(spec, str) or spec is str or spec in (int, float):
        raise ValueError(
            f"{name}: got {spec!r}, which would be a text box; a page can show only values known "
            f"beforehand, needs a range or a list of choices"
        )
    if isinstance(spec, Mapping):
        return choices(name, list(spec.items()), default)
    if isinstance(spec, Iterable):
        items = list(spec)
        paired = all(isinstance(i, tuple) and len(i) == 2 and isinstance(i[0], str) for i in items)
        return choices(name, items if paired and items else [(text(i), i) for i in items], default)
    raise TypeError(
        f"{name}: got {spec!r}, needs a (low, high) tuple, a list, a bool, a number or a widget"
    )


def numbers(name: str, spec: tuple) -> tuple:
    """Check a ``(low, high)`` or ``(low, high, step)`` tuple."""
    if len(spec) not in (2, 3) or not all(
        isinstance(v, Real) and not isinstance(v, bool) for v in spec
    ):
        raise ValueError(
            f"{name}: got {spec!r}, needs (low, high) or (low, high, step), all numbers"
        )
    if not all(math.isfinite(v) for v in spec):
        raise ValueError(f"{name}: got {spec!r}, needs finite numbers")
    return (*spec, None) if len(spec) == 2 else spec


def slider(
    name: str, low: Real, high: Real, step: Real | None, value: Any, base: float = 0
) -> Control:
    """Return a slider from ``low`` to ``high`` (of the exponent, if there is a ``base``)."""
    if low >= high:
        what = "empty" if low == high else "reversed"
        raise ValueError(f"{name}: got the {what} range ({low:g}, {high:g}), needs low < high")
    integer = not base and all(
        isinstance(v, Integral) for v in (low, high, 1 if step is None else step)
    )
    if step is None:
        step = (
            1
            if integer
            else (0.1 if 20 <= (high - low) / 0.1 <= 1000 else nice((high - low) / 100))
        )
    if step <= 0:
        raise ValueError(f"{name}: got step {step:g}, needs step > 0")
    if step > high - low:
        raise ValueError(f"{name}: got step {step:g}, larger than the range ({low:g}, {high:g})")
    c = Control(name, "range", name, low=low, high=high, step=step, integer=integer, base=base)
    middle = c.at((low + high) // 2 if integer else (low + high) / 2)
    given = isinstance(value, Real) and not isinstance(value, bool)
    ends = sorted((c.at(low), c.at(high)))
    c.value = c.snap(value if given and ends[0] <= value <= ends[1] else middle)
    return c


def nice(x: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest not above ``x``."""
    power = 10.0 ** math.floor(math.log10(x))
    return next(m * power for m in (5, 2, 1) if m * power <= x * (1 + 1e-9))


def choices(name: str, items: list[tuple[str, Any]], default: Any) -> Control:
    """Return a drop-down of (text, value) pairs."""
    if not items:
        raise ValueError(f"{name}: got no choices, needs at least one")
    values = [value for _, value in items]
    start = next((k for k, v in enumerate(values) if v is default or same(v, default)), 0)
    return Control(name, "select", name, values, start, [str(t) for t, _ in items])


def same(a: Any, b: Any) -> bool:
    """Return whether two options are equal, arrays counting as different."""
    try:
        return bool(a == b)
    except (TypeError, ValueError, RuntimeError):
        return False


def text(value: Any) -> str:
    """Return what a drop-down shows for a bare value."""
    return f"{value:g}" if isinstance(value, float) else getattr(value, "__name__", str(value))


def from_widget(name: str, w: Any) -> Control:
    """Return the control that does what an ipywidgets widget does."""
    kind = type(w).__name__
    if hasattr(w, "options") and hasattr(w, "index") and not isinstance(w.index, tuple):
        found = choices(name, list(zip(w._options_labels, w._options_values, strict=True)), w.value)
    elif isinstance(w.value, bool):
        found = Control(name, "check", name, [False, True], int(w.value), ["off", "on"])
    elif isinstance(w.value, Real) and hasattr(w, "min") and hasattr(w, "max"):
        base = float(w.base) if hasattr(w, "base") else 0
        found = slider(name, w.min, w.max, getattr(w, "step", None), w.value, base)
        found.interval = int(w.interval) if kind == "Play" else 0
    else:
        raise ValueError(
            f"{name}: a {kind} cannot be shown on a page, needs a slider, a choice or a check box"
        )
    found.label = getattr(w, "description", "") or name
    return found


def is_fixed(spec: Any) -> bool:
    """Return whether ``spec`` is ``ipywidgets.fixed(...)``."""
    return type(spec).__name__ == "fixed" and hasattr(spec, "value")


def nameof(fn: Callable) -> str:
    """Return a function's name for messages."""
    return getattr(fn, "__name__", repr(fn))
