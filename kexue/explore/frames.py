"""The frames of a grid: how many, how large, how they are drawn, whether they may be blended."""

from __future__ import annotations

import gc
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kexue.explore.axes import AxisMemory
from kexue.explore.capture import Drawing, capture
from kexue.explore.controls import Control, nameof
from kexue.explore.pack import Frame
from kexue.explore.record import UNIT, Primitive, Scene, compress, record

MAX_FRAMES = 1000
DOTS = 144  # dots per inch of pictures: two pixels a point


def check_size(controls: Sequence[Control]) -> None:
    """Raise ``ValueError`` if the grid of stored frames is too large to compute."""
    count = int(np.prod([len(c.values) for c in controls])) if controls else 1
    if count > MAX_FRAMES:
        widest = max(controls, key=lambda c: len(c.values))
        product = " x ".join(f"{c.name}: {len(c.values)}" for c in controls)
        raise ValueError(
            f"frames: got {product} = {count} frames, needs at most {MAX_FRAMES}; give "
            f"{widest.name!r} fewer values, e.g. frames={{{widest.name!r}: "
            f"{max(2, len(widest.values) * MAX_FRAMES // count)}}}, or fix a parameter"
        )


def grid(controls: Sequence[Control]) -> list[dict[str, Any]]:
    """Return the arguments of every frame, the last parameter fastest."""
    names = [c.name for c in controls]
    return [
        dict(zip(names, v, strict=True)) for v in itertools.product(*(c.values for c in controls))
    ]


class Layout:
    """Where the axes of the first figure stand, so that those of the others stand there too.

    Constrained layout moves axes by a hair when a tick label changes width, which would make the
    picture tremble under a slider, and takes half of the drawing time.
    """

    def __init__(self) -> None:
        self.key: tuple | None = None
        self.places: list = []
        self.memory = AxisMemory()

    def apply(self, figure: Any) -> None:
        """Place the figure's axes like the first one's, if it is built alike."""
        titles = any(f() for f in (figure.get_suptitle, figure.get_supxlabel, figure.get_supylabel))
        if figure.get_layout_engine() is None or figure.subfigs or titles:
            return
        key = (len(figure.axes), *figure.get_size_inches())
        if self.key is None:
            figure.draw_without_rendering()
            self.key = key
            self.places = [axes.get_position(original=True).frozen() for axes in figure.axes]
        if key == self.key:
            figure.set_layout_engine("none")
            for axes, place in zip(figure.axes, self.places, strict=True):
                axes.set_position(place)


def named(arguments: dict[str, Any]) -> str:
    """Return arguments as they would be written in a call."""
    return ", ".join(f"{k}={v!r}" for k, v in arguments.items())


@contextmanager
def no_garbage() -> Iterator[None]:
    """Do not look for garbage: among figures, all of them kept, that is a fifth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def draw(
    fn: Callable, arguments: dict[str, Any], layout: Layout, known: set[int] | None = None
) -> tuple[Drawing, Frame]:
    """Call ``fn`` and record its figure. ``known`` holds the ids of earlier figures."""
    try:
        drawing = capture(fn, arguments)
    except Exception as error:
        error.add_note(f"in the explorer's frame {nameof(fn)}({named(arguments)})")
        raise
    if drawing.figure is None:
        return drawing, Frame(None, drawing.parts)
    if known is not None:
        if id(drawing.figure) in known:
            raise ValueError(
                f"{nameof(fn)} drew twice on one figure, needs a new figure for each call "
                f"(make it inside the function)"
            )
        known.add(id(drawing.figure))
    layout.apply(drawing.figure)
    scene = record(drawing.figure, layout.memory)
    drawing.figure.set_layout_engine("none")  # a picture of it must agree with the recording
    if not scene.primitives and not scene.obstacle:
        raise ValueError(
            f"{nameof(fn)} drew nothing visible at {arguments}, needs lines, points, text ..."
        )
    return drawing, Frame(scene, drawing.parts)


def union(frames: Sequence[Frame], drawings: Sequence[Drawing], pad: float = 3) -> tuple | None:
    """Return the rectangle that holds every frame's ink, in whole points, or None without any."""
    boxes = []
    for frame, drawing in zip(frames, drawings, strict=True):
        if frame.scene is None:
            continue
        if frame.scene.obstacle:  # not all was recorded: ask matplotlib
            tight = drawing.figure.get_tightbbox()
            height = drawing.figure.get_size_inches()[1]
            ends = (tight.x0, height - tight.y1, tight.x1, height - tight.y0)
            boxes.append(tuple(72 * float(v) for v in ends))
        if np.isfinite(frame.scene.box).all():
            boxes.append(frame.scene.box)
    if not boxes:
        return None
    lows, highs = np.min(boxes, axis=0)[:2] - pad, np.max(boxes, axis=0)[2:] + pad
    return (*np.floor(lows).tolist(), *np.ceil(highs).tolist())


def picture(figure: Any, box: tuple, *, dots: int = DOTS) -> tuple[str, bytes, int, int]:
    """Return (MIME type, bytes, width, height) of a figure on white, cut to ``box``."""
    from matplotlib.transforms import Bbox
    from PIL import Image

    left, top, right, bottom = box
    height = figure.get_size_inches()[1] * 72
    region = Bbox([[left / 72, (height - bottom) / 72], [right / 72, (height - top) / 72]])
    out = io.BytesIO()
    fast = {"compress_level": 1}  # read again at once
    figure.savefig(
        out, format="png", dpi=dots, bbox_inches=region, facecolor="white", pil_kwargs=fast
    )
    image = Image.open(out).convert("RGB")
    if image.getcolors(256) is None:
        small = image.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        image = small.convert("RGB")
    mime, data = compress(np.asarray(image.convert("RGBA")))
    return mime, data, image.width, image.height


def rasterize(drawing: Drawing, frame: Frame, box: tuple) -> Frame:
    """Return the frame with its whole figure as one picture."""
    mime, data, width, height = picture(drawing.figure, box)
    left, top, right, bottom = box
    style = (("image-rendering", "auto"), ("class", "kx-sheet"))
    scale = (round((right - left) / width, 6), 0.0, 0.0, round((bottom - top) / height, 6))
    shape = ((mime, data), width, height, scale)
    at = (round(left * UNIT),), (round(top * UNIT),)
    return Frame(Scene([Primitive("image", (style, ""), shape, *at)], box), frame.parts)


def signature(p: Primitive) -> tuple:
    """Return what must agree for two primitives to be blended."""
    return p.kind, p.style, p.shape, len(p.x), len(p.y)


def check_blend(frames: Sequence[Frame], where: Sequence[dict[str, Any]]) -> None:
    """Raise ``ValueError`` unless all frames have the same parts and so can be blended."""
    first = frames[0]
    for frame, arguments in zip(frames, where, strict=True):
        if frame.parts or frame.scene is None or frame.scene.has_images or frame.scene.obstacle:
            raise ValueError(
                "interpolate: only figures of curves can be blended, needs no text output or images"
            )
        mine, other = frame.scene.primitives, first.scene.primitives
        if [signature(p) for p in mine] == [signature(p) for p in other]:
            continue
        strings = [{p.shape[0] for p in s if p.kind == "text"} for s in (mine, other)]
        change = ", ".join(map(repr, sorted(strings[0] ^ strings[1])[:4]))
        raise ValueError(
            f"interpolate: the figure at {arguments} has other parts than the first one"
            + (f" (text {change} differs)" if change else "")
            + ", needs the same lines with as many points, fixed axis limits and unchanging text"
        )


def blend_error(
    fn: Callable,
    constant: dict[str, Any],
    controls: Sequence[Control],
    frames: Sequence[Frame],
    layout: Layout,
    most: int = 48,
) -> float:
    """Return the largest error of blending at the cells' centers, as a fraction of the height.

    At most ``most`` cells are looked at, evenly spread over the grid. The error is the distance in
    the drawing between the blended and the true position of a point, both coordinates.
    """
    sizes = [len(c.values) for c in controls]
    spans = [
        range(n - 1) if c.kind == "range" else range(n)
        for c, n in zip(controls, sizes, strict=True)
    ]
    cells = list(itertools.product(*spans))
    cells = [
        cells[k]
        for k in sorted({round(v) for v in np.linspace(0, len(cells) - 1, min(most, len(cells)))})
    ]
    worst = 0.0
    for cell in cells:
        corners = [0]
        weights = [1.0]
        arguments = dict(constant)
        for c, n, k in zip(controls, sizes, cell, strict=True):
            if c.kind != "range":
                corners = [i * n + k for i in corners]
                arguments[c.name] = c.values[k]
                continue
            low, high = c.positions[k], c.positions[k + 1]
            value = c.at((low + high) / 2)
            position = c.positions_of(value)
            share = (position - low) / (high - low)
            corners = [i * n + k + j for i in corners for j in (0, 1)]
            weights = [w * s for w in weights for s in (1 - share, share)]
            arguments[c.name] = value
        _, true = draw(fn, arguments, layout)
        check_blend([frames[corners[0]], true], [{}, arguments])
        height = true.scene.box[3] - true.scene.box[1]
        mixed = [frames[i].scene.primitives for i in corners]
        for slot, p in enumerate(true.scene.primitives):
            for axis in ("x", "y"):
                blended = sum(
                    w * np.array(getattr(m[slot], axis))
                    for w, m in zip(weights, mixed, strict=True)
                )
                gap = np.abs(blended - np.array(getattr(p, axis))).max(initial=0) / UNIT
                worst = max(worst, float(gap) / height)
    return worst
