"""A matplotlib renderer that keeps what is drawn as numbers: paths, markers, text, images.

A figure draws itself on a :class:`Recorder` as it would on paper. What comes out is a
:class:`Scene`, in points with y downward, rounded to 1/16 point: small enough to send for every
value of a slider, exact enough that no eye finds the difference. Whatever matplotlib can draw
with paths is covered (lines, bars, fills, scatters, log axes, legends, arrows, mathtext); what it
cannot (hatches, gouraud shading, skew color meshes) is named in ``Scene.obstacle``, and the caller
falls back to a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from kexue.explore.axes import AxisMemory
from kexue.explore.svg import attributes, color, commands, compress, layout, path_data, trace

UNIT = 16  # coordinates are whole multiples of 1/UNIT point


class Primitive(NamedTuple):
    """One stroke of the pen.

    ``kind`` is ``path`` (``shape``: the commands, as ``M1L199``), ``marks`` (``shape``: SVG path
    data drawn at every point), ``text`` (``shape``: glyph run and angle) or ``image``. ``style``
    is SVG attributes and clip; ``x`` and ``y`` are integers, 1/16 point.
    """

    kind: str
    style: tuple
    shape: Any
    x: tuple[int, ...]
    y: tuple[int, ...]


@dataclass
class Scene:
    """Everything one figure draws. ``box`` is (left, top, right, bottom) in points."""

    primitives: list[Primitive] = field(default_factory=list)
    box: tuple[float, float, float, float] = (np.inf, np.inf, -np.inf, -np.inf)
    obstacle: str = ""  # what keeps the figure from being drawn in the browser, if anything

    @property
    def has_images(self) -> bool:
        """Whether a part of the figure is a grid of pixels."""
        return any(p.kind == "image" for p in self.primitives)

    def grow(self, x, y, pad: float, clip: tuple[float, ...] | None) -> None:
        """Extend ``box`` by points, kept inside the rectangle ``clip`` if there is one."""
        left, right = float(np.min(x)) - pad, float(np.max(x)) + pad
        top, bottom = float(np.min(y)) - pad, float(np.max(y)) + pad
        if clip is not None:
            left, right = np.clip([left, right], clip[0], clip[2])
            top, bottom = np.clip([top, bottom], clip[1], clip[3])
        self.widen((left, top, right, bottom))

    def widen(self, box: tuple[float, float, float, float]) -> None:
        """Extend ``box`` by another one."""
        a, b, c, d = self.box
        self.box = (min(a, box[0]), min(b, box[1]), max(c, box[2]), max(d, box[3]))

    def take(self, other: Scene) -> None:
        """Draw what another scene holds, too."""
        self.primitives += other.primitives
        self.obstacle = other.obstacle or self.obstacle
        self.widen(other.box)


def record(figure, memory: AxisMemory | None = None) -> Scene:
    """Return what ``figure`` draws, its own background left out: the page is the paper.

    Axes that look as in the figure before are taken from ``memory``.
    """
    dpi, shown = figure.dpi, figure.patch.get_visible()
    try:
        figure.dpi = 72  # one pixel is one point
        figure.patch.set_visible(False)
        recorder = recorder_for(float(figure.bbox.width), float(figure.bbox.height))
        recorder.scene, recorder.groups = Scene(), []
        with memory.using(figure) if memory else nullcontext():
            figure.draw(recorder)
    finally:
        figure.dpi = dpi
        figure.patch.set_visible(shown)
    return recorder.scene


@lru_cache(maxsize=4)
def recorder_for(width: float, height: float) -> Recorder:
    """Return the recorder of a size: matplotlib remembers text sizes renderer by renderer."""
    return Recorder(width, height)


class Recorder(RendererBase):
    """Renderer of a canvas of ``width`` x ``height`` points that fills ``scene``."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.width, self.height = float(width), float(height)
        self.scene = Scene()
        self.flip = Affine2D().scale(1, -1).translate(0, self.height)
        self.group: list | None = None
        self.groups: list[bool] = []  # open groups: whether black in it is ink, not data

    def apart(self, draw: Callable[[], None]) -> Scene:
        """Return what ``draw`` draws, which this scene does not get."""
        whole, self.scene = self.scene, Scene()
        try:
            draw()
            return self.scene
        finally:
            self.scene = whole

    # -- what matplotlib asks of a renderer ------------------------------------------------
    def get_canvas_width_height(self) -> tuple[float, float]:
        return self.width, self.height

    def points_to_pixels(self, points):
        return points

    def get_image_magnification(self) -> float:
        return 2.0  # resampled images come at 144 dots per inch

    def option_scale_image(self) -> bool:
        return True  # images without interpolation come as they are: the browser magnifies

    def open_group(self, s, gid=None) -> None:
        self.groups.append(bool(gid) and gid.startswith("kx-ink"))

    def close_group(self, s) -> None:
        self.groups.pop()

    def draw_path(self, gc, path, transform, rgbFace=None) -> None:
        if gc.get_hatch() is not None:
            self.scene.obstacle = "a hatch"
        item = (
            path,
            transform.frozen(),
            attributes(gc, rgbFace),
            self.clip(gc),
            gc.get_linewidth(),
        )
        if self.group is None:
            self.draw_one(*item)
        else:
            self.group.append(item)

    def draw_markers(self, gc, marker_path, marker_trans, path, trans, rgbFace=None) -> None:
        self.group = []
        super().draw_markers(gc, marker_path, marker_trans, path, trans, rgbFace)
        self.flush()

    def draw_path_collection(self, *args, **kwargs) -> None:
        self.group = []
        super().draw_path_collection(*args, **kwargs)
        self.flush()

    def draw_quad_mesh(
        self, gc, master_transform, columns, rows, coordinates, offsets, offset_trans, faces, *rest
    ) -> None:
        """Keep a mesh of equal upright cells (a color bar, a heat map) as an image."""
        corners = (master_transform + self.flip).transform(np.asarray(coordinates).reshape(-1, 2))
        x, y = np.moveaxis(corners.reshape(rows + 1, columns + 1, 2), -1, 0)
        even = np.ptp(x, axis=0).max() + np.ptp(y, axis=1).max() < 0.01
        for steps in (np.diff(x[0]), np.diff(y[:, 0])):
            even = even and np.ptp(steps) < 0.01 * abs(steps.mean())
        moved = np.any(offset_trans.transform(np.atleast_2d(offsets))) if len(offsets) else False
        edges = rest[-1]
        if not even or moved or len(faces) != rows * columns or (edges is not None and len(edges)):
            self.scene.obstacle = "a color mesh of unequal cells or with edges (pcolormesh)"
            return
        pixels = np.rint(np.asarray(faces) * 255).astype(np.uint8).reshape(rows, columns, 4)
        step = ((x[0, -1] - x[0, 0]) / columns, 0.0, 0.0, (y[-1, 0] - y[0, 0]) / rows)
        self.add_image(gc, pixels, (*step, x[0, 0], y[0, 0]), 1.0, "pixelated")

    def draw_gouraud_triangles(self, *args, **kwargs) -> None:
        self.scene.obstacle = "gouraud shading"

    def draw_tex(self, *args, **kwargs) -> None:
        self.scene.obstacle = "text set by TeX (usetex)"

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None) -> None:
        glyphs = layout(s, prop.copy(), bool(ismath), mpl.rcParams["mathtext.fontset"])
        if not glyphs:
            return
        size = round(prop.get_size_in_points() / self._text2path.FONT_SCALE, 4)
        alpha = gc.get_alpha() if gc.get_forced_alpha() else gc.get_rgb()[3]
        style = (
            ("fill", color(gc.get_rgb())),
            *([("fill-opacity", round(alpha, 3))] if alpha < 1 else []),
        )
        clip, bounds = self.clip(gc)
        self.add("text", (style, clip), (s, glyphs, size, round(-angle, 2)), [x], [y])
        w, h, d = self.get_text_width_height_descent(s, prop, ismath)
        turn = np.deg2rad(-angle)
        corners = np.array([(0, d), (w, d), (w, d - h), (0, d - h)])
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners = corners @ rotation + (x, y)
        self.scene.grow(corners[:, 0], corners[:, 1], 0.5, bounds)

    def draw_image(self, gc, x, y, im, transform=None) -> None:
        rows, columns = im.shape[:2]
        if not rows or not columns:
            return
        if transform is None:
            scale = self.get_image_magnification()
            matrix = Affine2D().scale(1 / scale) + Affine2D().translate(x, y)
        else:
            unit = Affine2D().scale(1 / columns, 1 / rows)
            matrix = unit + transform + Affine2D().translate(x, y)
        matrix += self.flip  # image row 0 is at the bottom, as matplotlib passes it
        (a, c, e), (b, d, f) = matrix.get_matrix()[:2]
        alpha = gc.get_alpha()
        opacity = 1.0 if alpha is None or transform is None else round(float(alpha), 3)
        smooth = "auto" if transform is None else "pixelated"
        self.add_image(gc, im, (a, b, c, d, e, f), opacity, smooth)

    def add_image(self, gc, pixels, matrix, opacity: float, rendering: str) -> None:
        """Keep RGBA pixels, to be shown by an SVG transform matrix."""
        *linear, e, f = (float(v) for v in matrix)
        style = (
            ("opacity", opacity),
            ("image-rendering", rendering),
            ("class", "kx-ink" if any(self.groups) else "kx-pixels"),
        )
        clip, bounds = self.clip(gc)
        rows, columns = pixels.shape[:2]
        shape = (compress(pixels), columns, rows, tuple(round(v, 5) for v in linear))
        self.add("image", (style, clip), shape, [e], [f])
        corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)])
        corners = corners @ np.array(linear).reshape(2, 2) + (e, f)
        self.scene.grow(corners[:, 0], corners[:, 1], 0, bounds)

    # -- how it is kept --------------------------------------------------------------------
    def add(self, kind: str, style: tuple, shape: Any, x, y) -> None:
        x, y = (
            tuple(np.rint(np.asarray(v, float) * UNIT).astype(np.int64).tolist()) for v in (x, y)
        )
        self.scene.primitives.append(Primitive(kind, style, shape, x, y))

    def draw_one(self, path, transform, style, clip, linewidth) -> None:
        simplify = path.should_simplify and len(path.vertices) > 600
        vertices, codes = trace(path, transform + self.flip, simplify)
        if not len(vertices) or not style:
            return
        points = vertices[np.asarray(codes) != Path.CLOSEPOLY]
        self.add("path", (style, clip[0]), commands(codes), points[:, 0], points[:, 1])
        self.scene.grow(points[:, 0], points[:, 1], linewidth / 2, clip[1])

    def flush(self) -> None:
        """Draw a group of paths; runs of one shape in many places become one primitive."""
        items, self.group = self.group, None
        start = 0
        while start < len(items):
            path, transform, style, clip, linewidth = items[start]
            linear = np.round(transform.get_matrix()[:2, :2], 6)
            places = [transform.get_matrix()[:2, 2]]
            stop = start + 1
            while stop < len(items):
                other, moved, *rest = items[stop]
                matrix = moved.get_matrix()
                if other is not path or rest != [style, clip, linewidth]:
                    break
                if not np.array_equal(np.round(matrix[:2, :2], 6), linear):
                    break
                places.append(matrix[:2, 2])
                stop += 1
            if stop - start == 1:
                self.draw_one(*items[start])
            elif style:
                turn = Affine2D(np.vstack([np.c_[linear, [0, 0]], [0, 0, 1]])).scale(1, -1)
                vertices, codes = trace(path, turn)
                at = self.flip.transform(np.array(places))
                at = at[np.isfinite(at).all(axis=1)]
                if len(at):
                    self.add(
                        "marks",
                        (style, clip[0]),
                        path_data(vertices, codes, 100),
                        at[:, 0],
                        at[:, 1],
                    )
                    reach = float(np.abs(vertices).max(initial=0)) + linewidth / 2
                    self.scene.grow(at[:, 0], at[:, 1], reach, clip[1])
            start = stop

    def clip(self, gc) -> tuple[str, tuple[float, ...] | None]:
        """Return the clip as path data and as a rectangle (left, top, right, bottom)."""
        path, transform = gc.get_clip_path()
        if path is not None:
            vertices, codes = trace(path, transform + self.flip)
        else:
            rectangle = gc.get_clip_rectangle()
            if rectangle is None:
                return "", None
            corners = self.flip.transform(rectangle.corners()[[0, 1, 3, 2]])
            vertices, codes = (
                np.vstack([corners, corners[:1]]),
                [Path.MOVETO] + [Path.LINETO] * 3 + [Path.CLOSEPOLY],
            )
        (left, top), (right, bottom) = vertices.min(axis=0), vertices.max(axis=0)
        return path_data(vertices, codes, 1, 2), (left, top, right, bottom)
