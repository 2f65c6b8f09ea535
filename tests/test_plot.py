"""The house style: deterministic bytes, colors readable on both themes, honest pictures."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from kexue import plot


@pytest.fixture(autouse=True)
def style():
    matplotlib.use("svg")
    with matplotlib.rc_context():
        plot.setup()
        yield
    plt.close("all")


def svg_of(draw) -> str:
    fig, ax = plt.subplots()
    draw(ax)
    out = io.StringIO()
    fig.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def luminance(color: str) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("color", plot.COLORS)
@pytest.mark.parametrize("paper", ["#ffffff", "#14181e"])
def test_colors_keep_the_contrast_that_graphics_need(color, paper):
    low, high = sorted([luminance(color), luminance(paper)])
    assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.2, 1.4.11


def test_a_figure_gives_the_same_bytes_twice():
    first, second = (svg_of(lambda ax: ax.plot([0, 1], [1, 0], label="$x_t$")) for _ in range(2))
    assert first == second
    assert "dc:date" not in first


def test_setup_is_the_only_thing_that_changes_the_style():
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        plot.ink(torch.zeros(1, 2, 2), 1)
        assert matplotlib.rcParams["axes.spines.top"]
        plot.setup()
        assert not matplotlib.rcParams["axes.spines.top"]


def test_ink_puts_every_pixel_where_it_belongs():
    images = torch.linspace(-1, 1, 5 * 2 * 3).reshape(5, 1, 2, 3)
    sheet = plot.ink(images, 2, gap=1)
    assert sheet.shape == (3 * 3 - 1, 2 * 4 - 1, 4)
    assert (sheet[..., :3] == 0).all()
    for k in range(5):
        tile = sheet[(k // 2) * 3 : (k // 2) * 3 + 2, (k % 2) * 4 : (k % 2) * 4 + 3, 3]
        assert np.array_equal(tile, (images[k, 0] * 127.5 + 127.5).round().numpy())
    assert (sheet[6:, 4:] == 0).all()  # the sixth place stays empty
    assert np.array_equal(plot.ink(images, 2, invert=True), plot.ink(-images, 2))


def test_strip_marks_its_ink_and_names_its_rows():
    svg = svg_of(lambda ax: plot.strip(ax, torch.zeros(4, 8, 8), 2, rows=["up", "down"]))
    assert 'id="kx-ink-0"' in svg
    with pytest.raises(ValueError, match="rows: got 1 names, needs 2"):
        svg_of(lambda ax: plot.strip(ax, torch.zeros(4, 8, 8), 2, rows=["up"]))


@pytest.mark.parametrize(
    ("images", "columns", "message"),
    [
        (torch.zeros(4, 4), 2, r"images: got shape \(4, 4\)"),
        (torch.zeros(0, 4, 4), 2, "images: got an empty tensor"),
        (torch.full((1, 4, 4), 1.5), 2, r"images: got values in \[1.5, 1.5\]"),
        (torch.full((1, 4, 4), torch.nan), 2, "images: got NaN"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), 2, "images: got dtype torch.int64"),
        (torch.zeros(1, 4, 4), 0, "columns: got 0"),
        (torch.zeros(1, 4, 4), 2.0, "columns: got 2.0 of type float"),
    ],
)
def test_bad_pictures_are_refused(images, columns, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plot.ink(images, columns)


def test_a_table_is_a_table_everywhere():
    table = plot.Table(["K", "$W_2$"], [[1, 1.0132], [10, "none"]], spec=".3g")
    assert repr(table) == "K   $W_2$\n1   1.01\n10  none"
    assert table._repr_markdown_() == "| K | $W_2$ |\n| --- | --- |\n| 1 | 1.01 |\n| 10 | none |"
    with pytest.raises(ValueError, match="rows: row 1 has 1 cells, needs 2"):
        plot.Table(["a", "b"], [[1, 2], [3]])
