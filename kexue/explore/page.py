"""The stored output: one HTML figure with a picture, its caption and the data for the controls.

No script runs from it and no style attribute is needed, so it passes a strict content-security
policy and the sanitizers of notebook viewers, which leave the picture and the caption.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from kexue.explore.capture import static_html
from kexue.explore.controls import Control

DATA = re.compile(r'<script type="application/json" class="kx-data">(.*?)</script>', re.DOTALL)


def digits(c: Control) -> int:
    """Return how many decimals tell the values of a slider apart, at most 6."""
    if c.integer or c.kind != "range":
        return 0
    values = [c.low, c.step, *c.values] if not c.base else [0]
    return next(
        (d for d in range(6) if all(abs(round(v, d) - v) < 1e-9 * max(1, abs(v)) for v in values)),
        6,
    )


def spec(c: Control) -> dict[str, Any]:
    """Return what the page must know about a control."""
    out: dict[str, Any] = {"name": c.name, "kind": c.kind, "label": c.label, "start": c.start}
    if c.kind == "range":
        out |= {"at": [float(f"{p:.12g}") for p in c.positions], "low": c.low, "high": c.high}
        out |= {
            "step": c.step,
            "digits": digits(c),
            "unit": c.unit,
            "interval": c.interval,
            "base": c.base,
        }
    else:
        out |= {"texts": c.texts}
    return out


def show_value(c: Control, value: Any) -> str:
    """Return a value as the page's readout shows it."""
    if c.kind != "range":
        return c.texts[c.values.index(value)]
    number = f"{value:.3g}" if c.base else f"{value:.{digits(c)}f}"
    return number + (f" {c.unit}" if c.unit else "")


def hint(controls: Sequence[Control]) -> str:
    """Return the line that says, in print, what can be moved on the page."""
    said = []
    for c in controls:
        if c.kind == "range":
            said.append(
                f"{c.label} from {show_value(c, c.at(c.low))} to {show_value(c, c.at(c.high))}"
            )
        elif c.kind == "check":
            said.append(f"{c.label} on or off")
        else:
            said.append(f"{c.label}: {', '.join(c.texts)}")
    return f"On the page these can be moved: {'; '.join(said)}."


def inline(text: str) -> str:
    """Return a caption as HTML; ``$x$`` becomes a formula for the page to typeset.

    >>> inline("a < $b$")
    'a &lt; <span class="math notranslate nohighlight">\\\\(b\\\\)</span>'
    """
    pieces = re.split(r"(?<!\\)\$([^$]+)\$", text)
    for k in range(0, len(pieces), 2):
        pieces[k] = escape(pieces[k].replace(r"\$", "$"))
    for k in range(1, len(pieces), 2):
        pieces[k] = f'<span class="math notranslate nohighlight">\\({escape(pieces[k])}\\)</span>'
    return "".join(pieces)


def payload(controls: Sequence[Control], alts: Sequence[str], data: bytes, **more: Any) -> str:
    """Return the JSON that ``explore.js`` reads, safe inside a script element."""
    page = {"controls": [spec(c) for c in controls], **more, "alt": list(alts)}
    page["data"] = base64.b64encode(data).decode()
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def html(
    controls: Sequence[Control],
    still: tuple[str, bytes] | None,
    box: tuple | None,
    parts: list[tuple[str, str]],
    alt: str,
    caption: str,
    name: str,
    data: str,
) -> str:
    """Return the figure: the still picture or text of the default values, caption, data."""
    shown = static_html(parts)
    if still is not None and box is not None:
        width, height = (round((b - a) * 4 / 3) for a, b in ((box[0], box[2]), (box[1], box[3])))
        source = f"data:{still[0]};base64,{base64.b64encode(still[1]).decode()}"
        shown = f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}">{shown}'
    said = f"{inline(caption)} " if caption else ""
    named = f' data-name="{escape(name)}"' if name else ""  # an id would be there twice on a page
    return (
        f'<figure class="kx-explorer"{named}>\n'
        f'<div class="kx-controls" data-rows="{len(controls)}"></div>\n'
        f'<div class="kx-stage">{shown}</div>\n'
        f'<figcaption>{said}<span class="kx-hint">{escape(hint(controls))}</span></figcaption>\n'
        f'<script type="application/json" class="kx-data">{data}</script>\n</figure>'
    )


def wire(text: str) -> int:
    """Return the bytes of a text on the wire, compressed by gzip as web servers do."""
    return len(gzip.compress(text.encode(), 6, mtime=0))
