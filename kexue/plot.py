"""One house style for every figure: axes in, axes out.

Colors are a color-blind-safe set (after Okabe and Ito) moved to a middle luminance, so that a
line keeps a contrast of at least 3:1 on white paper and on the site's dark background alike.
Black means "ink": the site replaces it by the page's own text color.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kexue import doctor
from kexue._check import gray_images, integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "COLORS",
    "GRAY",
    "GREEN",
    "OCHRE",
    "PURPLE",
    "RED",
    "Table",
    "ink",
    "setup",
    "strip",
]

BLUE, RED, GREEN, PURPLE, OCHRE, GRAY = COLORS = (
    "#3a7fc1",
    "#d6592b",
    "#2b9470",
    "#a766a3",
    "#ad7d0f",
    "#7d7d7d",
)

STYLE = {
    "figure.figsize": (6.4, 3.2),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,  # for what an SVG must rasterize
    "font.size": 10.5,
    "font.family": "sans-serif",
    "mathtext.fontset": "cm",
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": f"cycler('color', {list(COLORS)})",
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "patch.linewidth": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "image.interpolation": "none",  # pixels are data: show them as they are
    "svg.fonttype": "path",  # the page needs no font of ours
    "svg.hashsalt": "kexue",  # the same figure gives the same bytes
}


def setup() -> None:
    """Switch matplotlib to the house style and notebooks to vector figures.

    Figures come out as SVG without a date, so that running a notebook twice stores the same
    bytes. Call it in the setup cell; outside a notebook only the style changes. As it is called
    before anything else, it warns of packages that are missing or too old for the chapters.
    """
    import matplotlib

    for found in doctor.packages():
        if found.level == doctor.PROBLEM:
            warnings.warn(f"{found.text} (until then, cells that need it fail)", stacklevel=2)

    matplotlib.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", bbox_inches="tight", metadata={"Date": None})


def ink(images, columns: int, gap: int = 3, *, invert: bool = False) -> np.ndarray:
    """Tile gray images into one RGBA sheet of black ink on nothing.

    Parameters
    ----------
    images : array or tensor, shape (N, H, W) or (N, 1, H, W)
        Ink per pixel in [-1, 1]: -1 is paper, 1 is full ink. Values outside are an error, since a
        sampler that leaves the range should be seen doing so: clamp on the page, in plain sight.
    columns : int
        Images in a row; the last row may be shorter.
    gap : int
        Blank pixels between images.
    invert : bool
        Exchange ink and paper, for data whose strokes are stored dark.

    Returns
    -------
    numpy.ndarray, uint8, shape (rows * (H + gap) - gap, columns * (W + gap) - gap, 4)
        Show it with ``ax.imshow``. Color is black and the opacity carries the picture, so the page
        shows through and the dark theme can turn the ink white.

    Raises
    ------
    TypeError, ValueError
        For other shapes, an empty set, values that are not finite or leave [-1, 1].
    """
    columns, gap = integer("columns", columns, 1), integer("gap", gap, 0)
    images = gray_images("images", images)
    opacity = ((-images if invert else images) * 127.5 + 127.5).round().byte().numpy()
    count, height, width = opacity.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for k, image in enumerate(opacity):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        sheet[top : top + height, left : left + width, 3] = image
    return sheet


def strip(ax: Axes, images, columns: int, *, rows: Sequence[str] | None = None, **options) -> Axes:
    """Draw images as one sheet of ink on ``ax``, with a name at the left of each row if given.

    ``options`` go to :func:`ink`. The axes lose their frame and ticks. Raises ``ValueError``
    unless ``rows`` names every row of the sheet.
    """
    sheet = ink(images, columns, **options)
    ax.imshow(sheet)
    ax.set_axis_off()
    ax.set_gid(f"kx-ink-{ax.figure.axes.index(ax)}")  # the site's dark theme turns this ink white
    if rows is not None:
        gap = options.get("gap", 3)
        count = -(-len(images) // columns)
        if len(rows) != count:
            raise ValueError(f"rows: got {len(rows)} names, needs {count}, one for each row")
        step = (sheet.shape[0] + gap) / count
        for k, name in enumerate(rows):
            ax.text(-gap, step * k + (step - gap) / 2, name, ha="right", va="center")
    return ax


class Table:
    """Rows under a header: a real table on the page and in Jupyter, aligned text elsewhere.

    Numbers are written by ``spec`` (``"g"``-like format); strings stay as they are. Raises
    ``ValueError`` for a row that is not as long as the header.

    >>> Table(["K", "error"], [[1, 1.0132], [10, 0.25]], spec=".3g")
    K   error
    1   1.01
    10  0.25
    """

    def __init__(
        self, header: Sequence[str], rows: Iterable[Sequence], *, spec: str = ".4g"
    ) -> None:
        self.header = list(header)
        self.rows = [[c if isinstance(c, str) else format(c, spec) for c in row] for row in rows]
        for k, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(f"rows: row {k} has {len(row)} cells, needs {len(self.header)}")

    def __repr__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (map(str.ljust, line, widths) for line in lines)
        return "\n".join("  ".join(line).rstrip() for line in padded)

    def _repr_markdown_(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
