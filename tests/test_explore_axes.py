"""Axes that are not drawn again: only what looks the same is taken from memory."""

import contextlib

import matplotlib
import numpy as np
import pytest
from matplotlib.axis import XAxis
from matplotlib.ticker import FuncFormatter, MultipleLocator, ScalarFormatter

matplotlib.use("agg")
import matplotlib.pyplot as plt

from kexue.explore import axes as remembered
from kexue.explore.record import record


def drawn(change=None, memory=None):
    """The scene of a figure with two panels, changed before it is drawn."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2.5))
    left.plot([1, 2, 3], [1, 4, 2])
    left.set(xlim=(1, 3), ylim=(1, 5), xlabel="$x$", ylabel="y")
    right.plot([1, 2], [2, 1])
    right.set(xlim=(1, 2), ylim=(1, 2), title="T")
    with contextlib.ExitStack() as stack:
        if change is not None:
            change(left, stack)
        scene = record(figure, memory)
    plt.close(figure)
    return scene


CHANGES = {
    "limits": lambda a, _: a.set_xlim(1, 4),
    "inverted": lambda a, _: a.invert_yaxis(),
    "scale": lambda a, _: a.set_yscale("log"),
    "locator": lambda a, _: a.xaxis.set_major_locator(MultipleLocator(0.25)),
    "formatter": lambda a, _: a.yaxis.set_major_formatter("{x:.3f}"),
    "formatter's setting": lambda a, _: a.yaxis.set_major_formatter(ScalarFormatter(useOffset=3)),
    "a function formats": lambda a, _: a.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "a")),
    "words for ticks": lambda a, _: a.set_xticks([1, 2], labels=["one", "two"]),
    "size of labels": lambda a, _: a.tick_params(labelsize=7),
    "color of a label": lambda a, _: a.get_xticklabels()[1].set_color("r"),
    "direction": lambda a, _: a.tick_params(axis="y", direction="in"),
    "on top": lambda a, _: a.xaxis.tick_top(),
    "minor ticks": lambda a, _: a.minorticks_on(),
    "grid": lambda a, _: a.grid(True),
    "grid's line": lambda a, _: a.grid(True, linestyle=":"),
    "label": lambda a, _: a.set_xlabel("$z$"),
    "label's font": lambda a, _: a.yaxis.label.set_fontweight("bold"),
    "label's place": lambda a, _: a.xaxis.set_label_coords(0.9, 0.5),
    "label's distance": lambda a, _: setattr(a.yaxis, "labelpad", 9),
    "spine's place": lambda a, _: a.spines["left"].set_position(("axes", 0.5)),
    "place": lambda a, _: a.set_position([0.2, 0.2, 0.3, 0.6]),
    "aspect": lambda a, _: a.set_aspect(0.2),
    "size": lambda a, _: a.figure.set_size_inches(6, 3),
    "hidden": lambda a, _: a.xaxis.set_visible(False),
    "aligned": lambda a, _: (
        a.set_yticks([1, 5], labels=["wide", "words"]),
        a.figure.align_labels(),
    ),
    "settings": lambda a, s: s.enter_context(plt.rc_context({"xtick.major.size": 9})) or a.cla(),
    "settings while drawing": lambda _, s: s.enter_context(
        plt.rc_context({"axes.formatter.useoffset": False, "axes.unicode_minus": False})
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_axis_is_drawn_as_it_is(name):
    memory = remembered.AxisMemory()
    same = [drawn(memory=memory) for _ in range(3)]
    assert same[0] == same[1] == same[2] == drawn()
    for _ in range(2):  # and once more, when the changed one is remembered
        assert drawn(CHANGES[name], memory) == drawn(CHANGES[name])
    assert drawn(memory=memory) == same[0]
    if name != "settings while drawing":
        assert drawn(CHANGES[name]) != same[0], "nothing to see"


def test_what_is_as_before_is_not_drawn_again(monkeypatch):
    """Teeth: without the memory both horizontal axes are drawn, with it those that changed."""
    count = []
    draw = XAxis.draw
    monkeypatch.setattr(XAxis, "draw", lambda self, r: count.append(self) or draw(self, r))
    memory = remembered.AxisMemory()
    for expected in (2, 0, 0):
        count.clear()
        drawn(memory=memory)
        assert len(count) == expected
    drawn(CHANGES["limits"], memory)
    assert len(count) == 1


def test_an_object_that_cannot_be_compared_is_said_to_be_unknown():
    for value in (object(), print, np.array([object()]), {"a": [FuncFormatter(print)]}):
        with pytest.raises(remembered.UnknownError):
            remembered.state(value)
    assert remembered.state(np.float64(1)) != remembered.state(np.float64(2))
    assert remembered.state((1, "1")) != remembered.state((1, 1))
