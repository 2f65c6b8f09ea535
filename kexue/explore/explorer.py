"""The author's function, its grid of frames and the output that shows them."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kexue.explore.capture import Drawing
from kexue.explore.controls import Control, controls, nameof
from kexue.explore.frames import (
    Layout,
    blend_error,
    check_blend,
    check_size,
    draw,
    grid,
    no_garbage,
    picture,
    rasterize,
    union,
)
from kexue.explore.pack import Frame, pack
from kexue.explore.page import html, inline, payload, show_value, wire

LIMITS = {"curves": 60_000, "frames": 300_000}  # bytes on the wire
INTERVAL = 150  # milliseconds between frames that play


class Explorer:
    """What :func:`interact` displays.

    Attributes
    ----------
    controls : list of Control
        The parameters that can be moved, with their stored values.
    mode : str
        ``"curves"`` (numbers, drawn by the browser) or ``"frames"`` (pictures).
    html : str
        The stored output.
    bytes : int
        Its size on the wire, gzip-compressed.
    error : float or None
        With ``interpolate``: the largest error met at the middle of a cell, as a fraction of the
        figure's height.
    """

    def __init__(self, fn: Callable, options: dict[str, Any], params: Mapping[str, Any]) -> None:
        self.fn, self.options = fn, options
        self.mode = options["mode"]
        if self.mode not in ("auto", "curves", "frames"):  # not by _check: explore needs no torch
            raise ValueError(f"mode: got {self.mode!r}, needs 'auto', 'curves' or 'frames'")
        check_name(options["name"], options["caption"])
        self.controls, self.constant = controls(fn, params, options["labels"], options["units"])
        if not self.controls:
            raise ValueError(
                f"{nameof(fn)} has no parameter to move, needs at least one range, list or bool"
            )
        set_grids(self.controls, options["frames"])
        set_play(self.controls, options["play"])
        check_size(self.controls)
        self.error: float | None = None
        self.box: tuple | None = None
        self.layout = Layout()
        self.first = {
            c.name: c.value if c.kind == "range" else c.values[c.start] for c in self.controls
        }
        self.html, self.bytes, self.data, self.widget = "", 0, b"", None
        if store():
            self.precompute()
        else:
            drawing, frame = draw(fn, self.constant | self.first, self.layout)
            self.box = union([frame], [drawing])
            self.data = self.pack_one(drawing, frame)

    # -- without a kernel ------------------------------------------------------------------
    @no_garbage()
    def precompute(self) -> None:
        """Draw every frame of the grid and write ``html``. An error in any frame passes through."""
        where, known = grid(self.controls), set()
        start = int(
            np.ravel_multi_index(
                [c.start for c in self.controls], [len(c.values) for c in self.controls]
            )
        )
        pairs: list = [None] * len(where)
        for k in [
            start,
            *range(start),
            *range(start + 1, len(where)),
        ]:  # the default's layout is kept
            pairs[k] = draw(self.fn, self.constant | where[k], self.layout, known)
        drawings, frames = [p[0] for p in pairs], [p[1] for p in pairs]
        self.box = union(frames, drawings)
        if self.options["interpolate"]:
            self.check_interpolation(frames, where)
        obstacle = next((f.scene.obstacle for f in frames if f.scene and f.scene.obstacle), "")
        if obstacle and self.mode == "curves":
            raise ValueError(f"mode: 'curves' cannot draw {obstacle}, needs 'frames' or 'auto'")
        alts = [self.alt(arguments) for arguments in where]
        still = picture(drawings[start].figure, self.box)[:2] if drawings[start].figure else None
        page = (alts, still, frames[start])
        sizes = {}
        if self.mode != "frames" and not obstacle:
            self.mode_used = (
                "frames" if any(f.scene and f.scene.has_images for f in frames) else "curves"
            )
            self.write(pack(frames, self.box), *page)
            sizes[self.mode_used] = self.bytes
        fits = any(size <= self.limit(kind) for kind, size in sizes.items())
        if not fits and self.mode != "curves" and not self.options["interpolate"] and self.box:
            pictures = [
                rasterize(d, f, self.box) if f.scene else f
                for d, f in zip(drawings, frames, strict=True)
            ]
            packed = pack(pictures, self.box)
            if "frames" not in sizes or len(packed) < len(self.data):
                self.mode_used = "frames"
                self.write(packed, *page)
                sizes["frames"] = self.bytes
        self.check_bytes(sizes, len(frames))
        self.mode = self.mode_used
        self.data = (
            pack([frames[start]], self.box)
            if not (obstacle or self.mode == "frames")
            else self.pack_one(drawings[start], frames[start])
        )

    def write(self, data: bytes, alts: list[str], still: tuple | None, shown: Frame) -> None:
        """Set ``html``, ``bytes`` and ``data`` for packed frames."""
        more = {"blend": bool(self.options["interpolate"])}
        if self.error is not None:
            more["blend_error"] = round(self.error, 5)
        text = payload(self.controls, alts, data, **more)
        said = (self.alt(self.first), self.options["caption"], self.options["name"])
        self.html = html(self.controls, still, self.box, shown.parts, *said, text)
        self.bytes, self.data = wire(self.html), data

    def limit(self, kind: str) -> int:
        """Return the most bytes an explorer of this kind may have."""
        return self.options["limit"] or LIMITS[kind]

    def check_bytes(self, sizes: dict[str, int], count: int) -> None:
        """Raise ``ValueError`` if no way of storing the frames is small enough."""
        if any(size <= self.limit(kind) for kind, size in sizes.items()):
            return
        got = " or ".join(
            f"{size:,} bytes as {kind} (limit {self.limit(kind):,})" for kind, size in sizes.items()
        )
        widest = max(self.controls, key=lambda c: len(c.values))
        raise ValueError(
            f"frames: got {count} frames of {nameof(self.fn)}, {got}; give {widest.name!r} fewer "
            f"values than {len(widest.values)} (frames={{{widest.name!r}: "
            f"{max(2, len(widest.values) // 2)}}}), draw fewer points, or raise limit="
        )

    def check_interpolation(self, frames: list[Frame], where: list[dict]) -> None:
        """Measure the error of blending and raise ``ValueError`` if it can be seen."""
        check_blend(frames, where)
        allowed = self.options["interpolate"]
        allowed = 0.01 if allowed is True else float(allowed)
        self.error = blend_error(self.fn, self.constant, self.controls, frames, self.layout)
        if self.error > allowed:
            sizes = ", ".join(f"{c.name}: {len(c.values)}" for c in self.controls)
            raise ValueError(
                f"interpolate: between the stored values the curves are off by {self.error:.1%} "
                f"of the height, needs {allowed:.1%} or less; store more values ({sizes} now) or "
                f"leave interpolate out"
            )

    def alt(self, arguments: Mapping[str, Any]) -> str:
        """Return the text alternative for a set of values."""
        alt, arguments = self.options["alt"], {**self.constant, **arguments}
        if callable(alt):
            names = inspect.signature(alt).parameters
            if any(p.kind is p.VAR_KEYWORD for p in names.values()):
                return str(alt(**arguments))
            return str(alt(**{k: v for k, v in arguments.items() if k in names}))
        values = ", ".join(f"{c.label} = {show_value(c, arguments[c.name])}" for c in self.controls)
        lead = alt or (inspect.getdoc(self.fn) or nameof(self.fn).replace("_", " ")).split("\n")[0]
        return f"{lead.rstrip('.')}. {values}."

    # -- with a kernel ---------------------------------------------------------------------
    def pack_one(self, drawing: Drawing, frame: Frame) -> bytes:
        """Return one frame as bytes; the drawing's box only ever grows, so that it stays put."""
        box = union([frame], [drawing])
        if box is not None and self.box is not None:
            box = tuple(
                f(a, b) for f, a, b in zip((min, min, max, max), box, self.box, strict=True)
            )
        self.box = box or self.box
        if frame.scene is not None and (frame.scene.obstacle or self.options["mode"] == "frames"):
            frame = rasterize(drawing, frame, self.box)
        return pack([frame], self.box)

    def answer(self, positions: list) -> tuple[bytes, str]:
        """Return (bytes, alt text) of the frame at the controls' positions."""
        moved = {c.name: c.at(p) for c, p in zip(self.controls, positions, strict=True)}
        drawing, frame = draw(self.fn, self.constant | moved, self.layout)
        return self.pack_one(drawing, frame), self.alt(moved)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        return self.bundle()

    def bundle(self) -> tuple[dict, dict]:
        """Return the widget for front ends with a kernel and the figure for all others."""
        bundle: dict[str, Any] = {"text/plain": self.alt(self.first)}
        metadata: dict[str, Any] = {}
        if self.html:
            bundle["text/html"] = self.html
        if in_kernel():
            from kexue.explore.live import widget_class

            if self.widget is None:
                caption = inline(self.options["caption"])
                page = payload(self.controls, [self.alt(self.first)], self.data, caption=caption)
                self.widget = widget_class()(page, self.answer)
            view, metadata = view_of(self.widget)
            bundle.update(view)
        return bundle, metadata


def view_of(widget: Any) -> tuple[dict, dict]:
    """Return the widget's own view entry and its metadata (ipywidgets 7 and 8, Colab)."""
    kind = "application/vnd.jupyter.widget-view+json"
    made = widget._repr_mimebundle_()
    data, metadata = made if isinstance(made, tuple) else (made, {})
    return {kind: data[kind]}, metadata


def in_kernel() -> bool:
    """Return whether a notebook kernel is there to answer."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def store() -> bool:
    """Return whether frames are computed beforehand: always, except where nobody will store them.

    Colab's reader waits for nothing: there the kernel answers. ``KEXUE_EXPLORE=live`` does the
    same elsewhere, ``KEXUE_EXPLORE=stored`` stores on Colab too.
    """
    asked = os.environ.get("KEXUE_EXPLORE")
    return asked == "stored" or (asked != "live" and "google.colab" not in sys.modules)


def check_name(name: str, caption: str) -> None:
    """Raise ``ValueError`` unless a reference to ``name`` can show a number."""
    if name and not (isinstance(name, str) and re.fullmatch(r"[A-Za-z][\w.:-]*", name)):
        raise ValueError(
            f"name: got {name!r}, needs a label: a letter, then letters, digits, '-', '_', '.', ':'"
        )
    if name and not caption:
        raise ValueError(f"name: got {name!r} and no caption, needs caption=, which has the number")


def set_grids(found: list[Control], frames: int | Iterable | Mapping | None) -> None:
    """Choose the stored values of every slider."""
    sliders = [c for c in found if c.kind == "range"]
    if isinstance(frames, Mapping):
        for name in frames:
            if name not in [c.name for c in sliders]:
                known = ", ".join(c.name for c in sliders) or "none"
                raise ValueError(f"frames: {name!r} is no slider, needs one of: {known}")
    elif frames is not None and not isinstance(frames, int) and len(sliders) > 1:
        raise ValueError(
            "frames: got values for several sliders, needs a dictionary {name: values}"
        )
    for c in sliders:
        c.grid(frames.get(c.name) if isinstance(frames, Mapping) else frames, len(sliders))


def set_play(found: list[Control], play: str | Iterable[str]) -> None:
    """Give the named sliders a play button."""
    sliders = {c.name: c for c in found if c.kind == "range"}
    for name in [play] if isinstance(play, str) else play:
        if name not in sliders:
            raise ValueError(
                f"play: {name!r} is no slider, needs one of: {', '.join(sliders) or 'none'}"
            )
        sliders[name].interval = sliders[name].interval or INTERVAL
