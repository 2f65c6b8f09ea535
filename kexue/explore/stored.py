"""Compare stored explorers: what is said exactly, what is drawn within a tolerance.

A test that runs a notebook again needs this, since compressed bytes say nothing about how close
two drawings are. Pictures are not compared, as nowhere in the book; the curves are.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np

from kexue.explore.pack import unpack
from kexue.explore.page import DATA

STILL = re.compile(r'src="data:image/[a-z]+;base64,[^"]*"')
PICTURE_SIZE = re.compile(r'width="\d+" height="\d+"')


def is_explorer(html: str) -> bool:
    """Return whether an output is a stored explorer."""
    return 'class="kx-explorer"' in html and DATA.search(html) is not None


def differences(stored: str, new: str, tolerance: float = 0.5) -> list[str]:
    """Return what differs between two stored explorers, nothing if they agree.

    Parameters
    ----------
    stored, new : str
        The outputs' HTML.
    tolerance : float
        How far a drawn point may have moved, in points (1/72 inch).
    """
    pages, shells = [], []
    for html in (stored, new):
        found = DATA.search(html)
        if found is None:
            return ["no explorer data"]
        pages.append(json.loads(found[1]))
        shells.append(PICTURE_SIZE.sub("", STILL.sub("", html[: found.start()])))
    out = [] if shells[0] == shells[1] else ["caption, alternative text or static output"]
    for key in sorted({*pages[0], *pages[1]} - {"data", "blend_error"}):
        if pages[0].get(key) != pages[1].get(key):
            out.append(key)
    (a, left), (b, right) = (unpack(base64.b64decode(page["data"])) for page in pages)
    if len(left) != len(right):
        return [*out, f"number of frames: {len(left)} and {len(right)}"]
    texts = [[[h["texts"][k] for k in part] for part in h["parts"]] for h in (a, b)]
    if texts[0] != texts[1]:
        out.append("text output")
    for number, (one, two) in enumerate(zip(left, right, strict=True)):
        said = compare(one, two, tolerance)
        if said:
            out.append(f"frame {number}: {said}")
            break  # one is enough to look into
    return out


def compare(one: list[dict[str, Any]], two: list[dict[str, Any]], tolerance: float) -> str:
    """Return how two frames differ, or nothing."""
    if [p["kind"] for p in one] != [p["kind"] for p in two]:
        return "other parts"
    for p, q in zip(one, two, strict=True):
        if p["kind"] == "text" and p["shape"][0] != q["shape"][0]:
            return f"text {p['shape'][0]!r} and {q['shape'][0]!r}"
        if p["style"][0] != q["style"][0] or p["x"].shape != q["x"].shape:
            return f"another {p['kind']}"
        moved = max(np.abs(p[axis] - q[axis]).max(initial=0) for axis in ("x", "y"))
        if p["kind"] == "path" and moved > tolerance:
            return f"a curve moved by {moved:.2f} points"
        if p["kind"] == "marks" and moved > tolerance:
            return f"points moved by {moved:.2f} points"
    return ""
