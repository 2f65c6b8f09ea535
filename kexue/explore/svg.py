"""Matplotlib's paths, colors, text and pixels as SVG has them."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.colors import rgb2hex
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

LETTER = {
    Path.MOVETO: "M",
    Path.LINETO: "L",
    Path.CURVE3: "Q",
    Path.CURVE4: "C",
    Path.CLOSEPOLY: "Z",
}
INK, PAPER = "currentColor", "var(--kx-paper, #fff)"
CAPS = {"butt": "butt", "round": "round", "projecting": "square"}


@lru_cache(maxsize=2048)
def layout(s: str, prop, ismath: bool, fontset: str) -> tuple[tuple[str, float, float, float], ...]:
    """Return the glyphs of a line of text: (outline, x, y, scale), in 1/100 of the font size."""
    if ismath:
        run, outlines, rules = text_to_path.get_glyphs_mathtext(prop, s)
    else:
        run, outlines, rules = text_to_path.get_glyphs_with_font(text_to_path._get_font(prop), s)
    glyphs = [
        (path_data(*outlines[name], 10), round(x, 1), round(y, 1), round(scale, 3))
        for name, x, y, scale in run
        if len(outlines[name][0])
    ]
    glyphs += [(path_data(np.asarray(v), c, 10), 0, 0, 1) for v, c in rules]
    return tuple(glyphs)


def trace(path: Path, transform, simplify: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and codes of a transformed path, broken where it is not finite."""
    path = path.cleaned(transform=transform, remove_nans=True, simplify=simplify, curves=True)
    keep = path.codes != Path.STOP
    return path.vertices[keep], path.codes[keep]


def commands(codes) -> str:
    """Return run-length coded drawing commands.

    >>> commands([Path.MOVETO, Path.LINETO, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.CLOSEPOLY])
    'M1L2Q1Z1'
    """
    out, k = [], 0
    while k < len(codes):
        code = codes[k]
        step = {Path.CURVE3: 2, Path.CURVE4: 3}.get(code, 1)
        run = k
        while run < len(codes) and codes[run] == code:
            run += step
        out.append(f"{LETTER[code]}{(run - k) // step}")
        k = run
    return "".join(out)


def path_data(vertices, codes, scale: float, digits: int = 0) -> str:
    """Return SVG path data of vertices times ``scale``, rounded to ``digits`` decimals."""
    rounded = np.round(np.asarray(vertices, float) * scale, digits)
    numbers = [f"{v:.{digits}f}" if digits else str(int(v)) for v in rounded.ravel()]
    out, k = [], 0
    while k < len(codes):
        step = {Path.CURVE3: 2, Path.CURVE4: 3}.get(codes[k], 1)
        letter = LETTER[codes[k]]
        out.append(letter if letter == "Z" else letter + " ".join(numbers[2 * k : 2 * (k + step)]))
        k += step
    return "".join(out)


def color(rgb) -> str:
    """Return a color for the page: black and white follow the theme, the rest is data."""
    value = rgb2hex(rgb[:3])
    return {"#000000": INK, "#ffffff": PAPER}.get(value, value)


def attributes(gc, face) -> tuple:
    """Return SVG attributes for a graphics context, or () for what leaves no mark."""
    forced = gc.get_alpha() if gc.get_forced_alpha() else None
    out: list[tuple[str, Any]] = []
    fill_alpha = 0.0
    if face is not None:
        fill_alpha = forced if forced is not None else (face[3] if len(face) == 4 else 1.0)
    out.append(("fill", color(face) if fill_alpha else "none"))
    if 0 < fill_alpha < 1:
        out.append(("fill-opacity", round(float(fill_alpha), 3)))
    rgb, width = gc.get_rgb(), gc.get_linewidth()
    alpha = forced if forced is not None else rgb[3]
    if width and alpha:
        out += [("stroke", color(rgb)), ("stroke-width", round(float(width), 3))]
        out += [
            ("stroke-linejoin", str(gc.get_joinstyle())),
            ("stroke-linecap", CAPS[str(gc.get_capstyle())]),
        ]
        if alpha < 1:
            out.append(("stroke-opacity", round(float(alpha), 3)))
        offset, dashes = gc.get_dashes()
        if dashes is not None:
            out.append(("stroke-dasharray", " ".join(f"{d:.2f}" for d in dashes)))
            out.append(("stroke-dashoffset", round(float(offset or 0), 2)))
    elif not fill_alpha:
        return ()
    return tuple(out)


def compress(pixels: np.ndarray) -> tuple[str, bytes]:
    """Return (MIME type, bytes) of an RGBA image: exact PNG if it has few colors, else WebP."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    colors = image.getcolors(256)
    if colors is not None and all(c[3] == 255 for _, c in colors):
        image = image.convert("RGB").quantize(
            max(len(colors), 2), method=Image.Quantize.MEDIANCUT, dither=0
        )
        image.save(out, "PNG", optimize=True)
        return "image/png", out.getvalue()
    image.save(out, "PNG", optimize=True)
    if min(pixels.shape[:2]) > 64:
        lossy = io.BytesIO()
        image.save(lossy, "WEBP", quality=85, method=6)
        if len(lossy.getvalue()) < 0.7 * len(out.getvalue()):
            return "image/webp", lossy.getvalue()
    return "image/png", out.getvalue()
