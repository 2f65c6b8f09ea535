"""Scenes to bytes and back: every coordinate array once, as small differences.

Layout, before compression by raw deflate::

    uint32 n | n bytes of JSON | uint32 m | m bytes of varints | the images' bytes

The JSON holds the tables (styles, clips, glyphs, strings, shapes, images, texts). The varints
hold, in this order, the coordinate arrays, the primitives column by column and for each frame its
list of primitives. An array is stored as differences: first (1) or second (2) differences of
itself (kind 0, 1) or of its change against the array that stood in the same place one frame
earlier (kinds 2 to 4), whichever is smallest.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kexue.explore.record import Primitive, Scene

KINDS = ("path", "marks", "text", "image")


class Table:
    """Distinct values in order of first appearance."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        """Return the number of ``value``, a new one if it has not been seen."""
        if value not in self.numbers:
            self.numbers[value] = len(self.items)
            self.items.append(value)
        return self.numbers[value]


@dataclass
class Frame:
    """What is shown for one set of values: a scene (or none) and texts as (kind, content)."""

    scene: Scene | None = None
    parts: list[tuple[str, str]] = field(default_factory=list)


def pack(frames: Sequence[Frame], box: tuple[float, float, float, float] | None) -> bytes:
    """Return the frames as compressed bytes; the same frames always give the same bytes.

    ``box`` is (left, top, right, bottom) in points, common to all frames.
    """
    clips, styles, glyphs, strings, shapes = Table(), Table(), Table(), Table(), Table()
    images, texts, arrays, primitives = Table(), Table(), Table(), Table()
    before: dict[tuple, int] = {}  # the array that last stood at (slot, axis, length)
    stream: list[int] = []
    listed: list[list[int]] = []
    for frame in frames:
        listed.append([])
        for slot, p in enumerate(frame.scene.primitives if frame.scene else []):
            style = styles.number((p.style[0], clips.number(p.style[1]) if p.style[1] else -1))
            shape = number_of_shape(p, glyphs, strings, shapes, images)
            ends = []
            for axis, values in enumerate((p.x, p.y)):
                known = len(arrays.items)
                n = arrays.number(values)
                place = (slot, axis, len(values))
                if n == known:
                    reference = before.get(place)
                    stream += difference(values, n, reference, arrays.items)
                before[place] = n
                ends.append(n)
            row = (KINDS.index(p.kind), style, shape, *ends)
            listed[-1].append(primitives.number(row))
    table = np.array(primitives.items, dtype=np.int64).reshape(-1, 5)
    numbers = [len(arrays.items), *stream, len(table)]
    for column in table.T:
        numbers += zigzag(np.diff(column, prepend=0)).tolist()
    previous: list[int] = []
    for row in listed:
        padded = (previous + [0] * len(row))[: len(row)]
        numbers += [
            len(row),
            *zigzag(np.array(row, np.int64) - np.array(padded, np.int64)).tolist(),
        ]
        previous = row
    header = {
        "box": [round(v, 2) for v in box] if box else None,
        "clips": clips.items,
        "styles": [[dict(attributes), clip] for attributes, clip in styles.items],
        "glyphs": glyphs.items,
        "strings": strings.items,
        "shapes": shapes.items,
        "images": [[mime, len(data), *rest] for (mime, data), *rest in images.items],
        "frames": len(frames),
        "parts": [[texts.number(part) for part in frame.parts] for frame in frames],
    }
    header["texts"] = [list(part) for part in texts.items]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    body = varints(numbers)
    pixels = b"".join(data for (_, data), *_ in images.items)
    raw = struct.pack("<I", len(text)) + text + struct.pack("<I", len(body)) + body + pixels
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(raw) + engine.flush()


def number_of_shape(
    p: Primitive, glyphs: Table, strings: Table, shapes: Table, images: Table
) -> int:
    """Return the number of a primitive's shape in the table of its kind."""
    if p.kind == "text":
        s, run, size, angle = p.shape
        flat = tuple(v for outline, *place in run for v in (glyphs.number(outline), *place))
        return strings.number((s, size, angle, flat))
    return (images if p.kind == "image" else shapes).number(p.shape)


def difference(values: tuple, n: int, reference: int | None, arrays: list[tuple]) -> list[int]:
    """Return [length, kind, (distance to the reference,) differences...] of array ``n``."""
    v = np.array(values, np.int64)
    forms = [np.diff(v, prepend=0), np.diff(np.diff(v, prepend=0), prepend=0)]
    if reference is not None:
        change = v - np.array(arrays[reference], np.int64)
        forms += [change, np.diff(change, prepend=0)]
        forms.append(np.diff(forms[3], prepend=0))
    kind = min(range(len(forms)), key=lambda k: float(np.log2(1 + np.abs(forms[k])).sum()))
    back = [n - reference] if kind >= 2 else []
    return [len(values), kind, *back, *zigzag(forms[kind]).tolist()]


def zigzag(v: np.ndarray) -> np.ndarray:
    """Return 0, -1, 1, -2, ... as 0, 1, 2, 3, ...

    >>> zigzag(np.array([0, -1, 1, -2])).tolist()
    [0, 1, 2, 3]
    """
    return np.where(v < 0, -2 * v - 1, 2 * v)


def varints(numbers: Sequence[int]) -> bytes:
    """Return numbers >= 0 in base 128, low digits first, the high bit on all but the last."""
    out = bytearray()
    for n in numbers:
        while n >= 128:
            out.append(n & 127 | 128)
            n >>= 7
        out.append(n)
    return bytes(out)


def unpack(data: bytes) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """Return (tables, frames): each frame a list of primitives with float coordinates in points.

    The inverse of :func:`pack`, for tests and for comparing stored outputs; ``explore.js`` does
    the same in the browser.
    """
    from kexue.explore.record import UNIT

    raw = zlib.decompress(data, -15)
    (n,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + n])
    (m,) = struct.unpack_from("<I", raw, 4 + n)
    body, at = raw[8 + n : 8 + n + m], 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def signed(count: int) -> np.ndarray:
        z = np.array([take() for _ in range(count)], np.int64)
        return np.where(z & 1, -(z + 1) // 2, z // 2)

    arrays: list[np.ndarray] = []
    for _ in range(take()):
        length, kind = take(), take()
        reference = arrays[len(arrays) - take()] if kind >= 2 else 0
        v = signed(length)
        for _ in range({0: 1, 1: 2, 2: 0, 3: 1, 4: 2}[kind]):
            v = np.cumsum(v)
        arrays.append(v + reference)
    count = take()
    columns = [np.cumsum(signed(count)) for _ in range(5)]
    previous = np.zeros(0, np.int64)
    frames = []
    for _ in range(header["frames"]):
        length = take()
        before = np.concatenate([previous, np.zeros(length, np.int64)])[:length]
        previous = signed(length) + before
        frames.append([])
        for row in previous:
            kind, style, shape, x, y = (int(column[row]) for column in columns)
            table = {"text": "strings", "image": "images"}.get(KINDS[kind], "shapes")
            frames[-1].append(
                {
                    "kind": KINDS[kind],
                    "style": header["styles"][style],
                    "shape": header[table][shape],
                    "x": arrays[x] / UNIT,
                    "y": arrays[y] / UNIT,
                }
            )
    return header, frames
