"""Explorers: what is drawn is what was plotted, the same bytes every time, errors that help."""

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

matplotlib.use("agg")
import ipywidgets
import matplotlib.pyplot as plt

from kexue.explore import Explorer, interact
from kexue.explore.controls import control, controls
from kexue.explore.frames import Layout, draw
from kexue.explore.pack import Frame, pack, unpack
from kexue.explore.page import DATA
from kexue.explore.record import UNIT, Primitive, Scene
from kexue.explore.stored import differences

ROOT = Path(__file__).parent.parent
X = np.linspace(0.0, 1.0, 40)


def wave(f=2.0):
    """A sine wave"""
    _, axes = plt.subplots(figsize=(3, 2))
    axes.plot(X, np.sin(f * X))
    axes.set(xlim=(0, 1), ylim=(-1.5, 1.5))


def explore(fn, **options):
    """Return the explorer, without what it displays."""
    with contextlib.redirect_stdout(io.StringIO()):
        return interact(fn, **options).explorer


def stored(explorer):
    """Return the page's JSON and the unpacked frames."""
    page = json.loads(DATA.search(explorer.html)[1])
    return page, *unpack(base64.b64decode(page["data"]))


# -- parameters ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "abbreviation",
    [
        (0, 9),
        (0, 10, 2),
        (0.0, 4.0, 0.5),
        (-3.0, 7.0),
        7,
        -2.5,
        0,
        True,
        ["a", "b"],
        {"one": 1, "two": 2},
        [("x", 1.5), ("y", 2.5)],
    ],
)
def test_abbreviations_mean_what_they_mean_in_ipywidgets(abbreviation):
    """Same kind of control, same limits, same default."""
    ours = control("p", abbreviation)
    theirs = ipywidgets.interactive.widget_from_abbrev(abbreviation)
    if ours.kind == "range":
        assert (ours.low, ours.high) == (theirs.min, theirs.max)
        assert ours.integer == isinstance(theirs, ipywidgets.IntSlider)
        assert ours.step == pytest.approx(theirs.step)
        assert ours.value == pytest.approx(theirs.value)
    else:
        assert ours.values[ours.start] == theirs.value
    theirs.close()


@pytest.mark.parametrize(
    ("widget", "kind", "value"),
    [
        (lambda: ipywidgets.IntSlider(3, 1, 9), "range", 3),
        (lambda: ipywidgets.FloatLogSlider(10.0, min=-2, max=2, step=0.5), "range", 10.0),
        (lambda: ipywidgets.Checkbox(True), "check", True),
        (lambda: ipywidgets.Dropdown(options={"a": 1, "b": 2}, value=2), "select", 2),
        (lambda: ipywidgets.RadioButtons(options=["a", "b"]), "select", "a"),
        (lambda: ipywidgets.SelectionSlider(options=[("x", 1), ("y", 2)], value=2), "select", 2),
        (lambda: ipywidgets.Play(2, min=0, max=5, interval=70), "range", 2),
    ],
)
def test_widgets_as_parameters(widget, kind, value):
    made = widget()
    found = control("p", made)
    made.close()
    assert found.kind == kind
    assert (found.value if kind == "range" else found.values[found.start]) == value
    if type(made).__name__ == "Play":
        assert found.interval == 70


def test_defaults_fixed_and_annotations():
    def f(a, b: bool, c=3.0, d=None, e="red"):
        pass

    found, constant = controls(f, {"a": ipywidgets.fixed(5)}, {}, {})
    assert [(c.name, c.kind) for c in found] == [("b", "check"), ("c", "range")]
    assert constant == {"a": 5, "d": None, "e": "red"}


def test_signature_default_starts_the_slider_and_is_stored():
    found, _ = controls(lambda t=37: None, {"t": (1, 1000)}, {}, {})
    found[0].grid(4, 1)
    assert found[0].values == [1, 37, 334, 667, 1000]
    assert found[0].start == 1


BAD = {
    "unknown": (dict(g=(0, 1)), ValueError, r"g: .*no such parameter.*f"),
    "reversed": (dict(f=(3, 1)), ValueError, r"f: .*reversed range \(3, 1\).*low < high"),
    "empty": (dict(f=(2.0, 2.0)), ValueError, r"f: .*empty range"),
    "step 0": (dict(f=(0.0, 1.0, 0.0)), ValueError, r"f: got step 0.*> 0"),
    "wide step": (dict(f=(0, 3, 7)), ValueError, r"f: got step 7, larger"),
    "four numbers": (dict(f=(1, 2, 3, 4)), ValueError, r"f: .*needs \(low, high\)"),
    "nan": (dict(f=(0.0, float("nan"))), ValueError, r"f: .*finite"),
    "no choice": (dict(f=[]), ValueError, r"f: got no choices"),
    "text": (dict(f="abc"), ValueError, r"f: .*text box.*list of choices"),
    "object": (dict(f=object()), TypeError, r"f: .*needs a \(low, high\) tuple"),
    "frames name": (dict(f=(0, 9), frames={"g": 3}), ValueError, r"frames: 'g'.*needs one of: f"),
    "frames 1": (dict(f=(0, 9), frames=1), ValueError, r"frames: 'f' got 1.*at least 2"),
    "frames outside": (dict(f=(0, 9), frames=[1, 12]), ValueError, r"frames: 'f' got \[12\]"),
    "frames type": (dict(f=(0, 9), frames="many"), TypeError, r"frames: 'f' got 'many'"),
    "too many": (
        dict(f=(0, 9999), frames=5000),
        ValueError,
        r"5001? frames?|f: 5000 = 5000 frames, needs at most 1000.*frames=\{'f': 1000\}",
    ),
    "too large": (
        dict(f=(0.0, 9.0), frames=5, limit=500),
        ValueError,
        r"frames: got \d frames of wave, [\d,]+ bytes as curves.*'f' fewer.*raise limit",
    ),
    "mode": (dict(f=(0, 9), mode="curve"), ValueError, r"mode: got 'curve'"),
    "play": (dict(f=(0, 9), play="g"), ValueError, r"play: 'g' is no slider"),
    "label": (dict(f=(0, 9), labels={"g": "G"}), ValueError, r"labels: 'g'"),
    "name": (dict(f=(0, 9), caption="C", name="fig wave"), ValueError, r"name: got 'fig wave'"),
    "names": (dict(f=(0, 9), caption="C", name=["fig"]), ValueError, r"name: got \['fig'\]"),
    "name alone": (dict(f=(0, 9), name="fig-wave"), ValueError, r"name: got .*needs caption="),
    "coarse blend": (
        dict(f=(0.0, 40.0), frames=4, interpolate=True),
        ValueError,
        r"interpolate: .*off by [\d.]+%.*needs 1.0%.*f: \d now",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_at_the_call(name):
    options, error, message = BAD[name]
    with pytest.raises(error, match=message):
        explore(wave, **options)


def test_functions_that_do_not_draw():
    with pytest.raises(ValueError, match="drew nothing"):
        explore(lambda k: None, k=(0, 2))
    with pytest.raises(ValueError, match="nothing in it"):
        explore(lambda k: plt.figure(), k=(0, 2))
    with pytest.raises(ValueError, match="drew 2 figures"):
        explore(lambda k: [plt.figure().add_subplot().plot([k]) for _ in range(2)], k=(0, 2))
    shared = plt.figure()
    shared.add_subplot().plot([1, 2])
    with pytest.raises(ValueError, match="drew twice on one figure"):
        explore(lambda k: shared, k=(0, 2))
    plt.close(shared)
    with pytest.raises(ValueError, match="no parameter to move"):
        explore(lambda: plt.plot([1]))
    with pytest.raises(TypeError, match="fn: got 3"):
        interact(3, k=(0, 1))


def test_a_failing_frame_fails_the_call():
    def f(k):
        plt.plot([1 / (k - 2)])

    with pytest.raises(ZeroDivisionError) as caught:
        explore(f, k=(0, 4))
    assert "f(k=2)" in caught.value.__notes__[0]


def test_open_figures_of_the_caller_stay():
    mine = plt.figure()
    explore(wave, f=(1.0, 2.0), frames=2)
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


# -- what is drawn is what was plotted -------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(
    y=arrays(float, 12, elements=st.floats(-1, 1, width=32)),
    log=st.booleans(),
    marker=st.sampled_from(["", "o", "^"]),
)
def test_drawn_numbers_are_the_plotted_numbers(y, log, marker):
    """Undo the axes' transform: every vertex is the datum, within half a unit of storage."""
    x = np.linspace(1, 5, 12)
    kept = {}

    def f(k):
        figure, axes = plt.subplots(figsize=(4, 3))
        axes.plot(x, y + 2, marker=marker, ls="" if marker else "-", color="#123456")
        axes.set_xscale("log" if log else "linear")
        axes.set(xlim=(0.5, 6), ylim=(0.5, 3.5))
        kept["axes"] = axes
        return figure

    _, frame = draw(f, {"k": 1}, Layout())
    _, (primitives,) = unpack(pack([frame], (0, 0, 288, 216)))
    kind = "marks" if marker else "path"
    mine = [p for p in primitives if "#123456" in p["style"][0].values() and p["kind"] == kind]
    assert len(mine) == 1
    axes = kept["axes"]
    axes.figure.dpi = 72
    truth = axes.transData.transform(np.c_[x, y + 2])
    assert np.abs(mine[0]["x"] - truth[:, 0]).max() <= 0.5 / UNIT + 1e-9
    assert np.abs(216 - mine[0]["y"] - truth[:, 1]).max() <= 0.5 / UNIT + 1e-9


def test_every_artist_is_kept():
    """Bars, fills, scatter, rules, text, legend, dashes: each is there with its style."""

    def f(k):
        _, (a, b) = plt.subplots(1, 2)
        a.bar([0, 1, 2], [1, 2, 3], color="#aa0001")
        a.fill_between(X, X, color="#aa0002", alpha=0.25)
        a.axhline(1.5, ls="--", color="#aa0003", lw=2.5)
        b.scatter(X, X, c="#aa0004", label=r"$\bar\alpha_t$")
        b.plot(X, np.where(X < 0.5, X, np.nan), color="#aa0005")
        b.annotate("here", (0.5, 0.5), (0.2, 0.8), arrowprops={"color": "#aa0006"})
        b.set_title("two")
        b.legend()

    _, frame = draw(f, {"k": 1}, Layout())
    by = {}
    for p in frame.scene.primitives:
        for _, value in p.style[0]:
            if str(value).startswith("#aa"):
                by.setdefault(value, []).append((p, dict(p.style[0])))
    assert frame.scene.obstacle == "" and not frame.scene.has_images
    assert len(by["#aa0001"]) == 3 and all(p.shape == "M1L3Z1" for p, _ in by["#aa0001"])
    assert by["#aa0002"][0][1]["fill-opacity"] == 0.25
    rule, style = by["#aa0003"][0]
    assert style["stroke-width"] == 2.5 and style["stroke-dasharray"]
    assert rule.shape == "M1L1" and rule.y[0] == rule.y[1]
    assert max(len(p.x) for p, _ in by["#aa0004"]) == len(X)
    assert by["#aa0005"][0][0].shape == f"M1L{np.sum(X < 0.5) - 1}"
    assert "#aa0006" in by
    said = [p.shape[0] for p in frame.scene.primitives if p.kind == "text"]
    assert {"here", "two", r"$\bar\alpha_t$"} <= set(said)


def test_images_and_meshes_keep_their_pixels():
    pixels = np.arange(12).reshape(3, 4) / 11

    def f(k):
        _, (a, b) = plt.subplots(1, 2)
        a.imshow(pixels, cmap="gray", interpolation="none")
        b.pcolormesh(pixels, cmap="gray")

    from PIL import Image

    _, frame = draw(f, {"k": 1}, Layout())
    first, second = (p for p in frame.scene.primitives if p.kind == "image")
    wanted = plt.get_cmap("gray")(pixels, bytes=True)[..., 0]
    for p, top_first in ((first, wanted), (second, wanted[::-1])):  # a mesh's first row is lowest
        (mime, data), columns, rows, matrix = p.shape
        image = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        assert (mime, columns, rows) == ("image/png", 4, 3)
        assert matrix[0] > 0 and matrix[1] == matrix[2] == 0 != matrix[3]
        np.testing.assert_array_equal(image if matrix[3] > 0 else image[::-1], top_first)
    assert explore(f, k=(0, 3)).mode == "frames"


def test_fallback_to_pictures():
    def hatched(k=1):
        plt.bar([0, 1], [k, 2], hatch="//")

    assert explore(hatched, k=(0, 3)).mode == "frames"
    with pytest.raises(ValueError, match="mode: 'curves' cannot draw a hatch"):
        explore(hatched, k=(0, 3), mode="curves")
    *_, frames = stored(explore(wave, f=(1.0, 2.0), frames=3, mode="frames"))
    assert [[p["kind"] for p in frame] for frame in frames] == [["image"]] * 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6), min_size=1, max_size=3
        ),
        min_size=1,
        max_size=4,
    )
)
def test_pack_and_unpack_are_inverse(numbers):
    """Any integers, however large, whatever repeats or changes length between frames."""
    frames = [
        Frame(
            Scene(
                [
                    Primitive("path", ((("fill", "none"),), ""), "M1", tuple(v), tuple(v[::-1]))
                    for v in f
                ]
            ),
            [("text", str(f))],
        )
        for f in numbers
    ]
    header, out = unpack(pack(frames, (0, 0, 1, 1)))
    assert [[(p["x"] * UNIT).tolist() for p in f] for f in out] == numbers
    assert [[(p["y"] * UNIT).tolist() for p in f] for f in out] == [
        [v[::-1] for v in f] for f in numbers
    ]
    assert [[header["texts"][k] for k in part] for part in header["parts"]] == [
        [["text", str(f)]] for f in numbers
    ]


# -- what is stored --------------------------------------------------------------------------
def test_same_bytes_twice():
    one, two = (explore(wave, f=(1.0, 3.0), frames=4, caption="A wave.") for _ in range(2))
    assert one is not two and one.html == two.html


def test_stored_figure_speaks_without_scripts():
    e = explore(
        wave,
        f=(1.0, 3.0, 0.25),
        frames=3,
        caption="A wave of $f$ < 4.",
        units={"f": "Hz"},
        labels={"f": "frequency"},
        alt=lambda f: f'A sine of "{f}" hertz',
    )
    assert 'alt="A sine of &quot;2.0&quot; hertz"' in e.html
    assert "A wave of" in e.html and "&lt; 4." in e.html and r"\(f\)" in e.html
    assert "can be moved: frequency from 1.00 Hz to 3.00 Hz." in e.html
    assert re.search(
        r'<img src="data:image/png;base64,[^"]+" alt="[^"]+" width="\d+" height="\d+">', e.html
    )
    assert "<script>" not in e.html and "style=" not in e.html and "http" not in e.html
    page, _, frames = stored(e)
    assert page["alt"] == [
        'A sine of "1.0" hertz',
        'A sine of "2.0" hertz',
        'A sine of "3.0" hertz',
    ]
    assert page["controls"][0]["at"] == [1.0, 2.0, 3.0] and len(frames) == 3


def test_grid_is_row_major_and_complete():
    seen = []

    def f(a, b=False, c="x"):
        seen.append((a, b, c))
        print(a, b, c)

    e = explore(f, a=(0, 2), b=False, c=["x", "y"])
    _, header, _ = stored(e)
    said = [header["texts"][k[0]][1] for k in header["parts"]]
    assert said == [f"{a} {b} {c}" for a in (0, 1, 2) for b in (False, True) for c in "xy"]
    assert len(seen) == 12  # each frame once


def test_text_and_formulas():
    import sympy

    x = sympy.Symbol("x")

    def power(n):
        print("n =", n)
        return x**n

    _, header, _ = stored(explore(power, n=(2, 4)))
    kinds = [[header["texts"][k][0] for k in part] for part in header["parts"]]
    assert kinds == [["text", "html"]] * 3
    assert header["texts"][1][1].startswith("<math") and "<msup>" in header["texts"][1][1]


def test_blending_error_is_measured():
    """Multilinear blending is exact for what is linear in the parameter, and says so."""

    def line(a=0.5):
        _, axes = plt.subplots()
        axes.plot([0, 1], [0, a])
        axes.set(xlim=(0, 1), ylim=(0, 1))

    e = explore(line, a=(0.0, 1.0), frames=3, interpolate=True)
    assert e.error < 1.1 / UNIT / 200
    curved = explore(wave, f=(1.0, 2.0), frames=5, interpolate=0.05)
    fine = explore(wave, f=(1.0, 2.0), frames=9, interpolate=0.05)
    assert 2.5 < curved.error / fine.error < 5.5  # second order in the grid's step


def test_blending_needs_unchanging_text():
    def titled(a=0.5):
        wave(a)
        plt.title(f"a = {a:g}")

    with pytest.raises(ValueError, match=r"interpolate: .*text 'a = .*fixed axis limits"):
        explore(titled, a=(0.0, 1.0), frames=3, interpolate=True)


def test_stored_outputs_are_compared_by_content():
    base = explore(wave, f=(1.0, 3.0), frames=3).html

    def nudged(by):
        def wave(f=2.0):
            """A sine wave"""
            _, axes = plt.subplots(figsize=(3, 2))
            axes.plot(X, np.sin(f * X) + by)
            axes.set(xlim=(0, 1), ylim=(-1.5, 1.5))

        return explore(wave, f=(1.0, 3.0), frames=3).html

    assert differences(base, base) == []
    assert differences(base, nudged(1e-3)) == [] and nudged(1e-3) != base
    assert differences(base, nudged(0.1))[0].startswith("frame 0: a curve moved by")
    assert differences(base, explore(wave, f=(1.0, 3.0), frames=4).html)
    assert differences(base, base.replace("A sine", "A cosine"))


# -- with a kernel ---------------------------------------------------------------------------
def test_answers_over_the_full_range():
    e = explore(wave, f=(1.0, 3.0), frames=3)
    data, alt = e.answer([1.3])
    _, (scene,) = unpack(data)
    assert alt == "A sine wave. f = 1.3."
    line = max((p for p in scene if p["kind"] == "path"), key=lambda p: len(p["x"]))
    _, (expected,) = unpack(pack([draw(wave, {"f": 1.3}, e.layout)[1]], e.box))
    other = max((p for p in expected if p["kind"] == "path"), key=lambda p: len(p["x"]))
    np.testing.assert_array_equal(line["y"], other["y"])


def test_widget_answers_messages_and_shows_errors(monkeypatch):
    from kexue.explore.live import widget_class

    def answer(positions):
        if positions == [2]:
            raise ValueError("t: too late")
        return b"bytes", "alt"

    sent = []
    widget = widget_class()("{}", answer)
    monkeypatch.setattr(widget, "send", lambda *message: sent.append(message))
    widget.reply(widget, {"kind": "draw", "id": 1, "at": [1]}, [])
    widget.reply(widget, {"kind": "draw", "id": 2, "at": [2]}, [])
    widget.reply(widget, {"kind": "other"}, [])
    assert sent == [
        ({"id": 1, "at": [1], "alt": "alt"}, [b"bytes"]),
        ({"id": 2, "at": [2], "error": "ValueError: t: too late"},),
    ]
    widget.close()


def test_only_what_colab_has():
    """No name that ipywidgets 7.7 or anywidget 0.9 lack; colab's own widget manager untouched."""
    newer = ("TagsInput", "ColorsInput", "FloatsInput", "IntsInput", "Stack", "DatetimePicker")
    newer += ("NaiveDatetimePicker", "TimePicker", "GridspecLayout", "experimental", "jslink")
    sources = "".join(p.read_text() for p in (ROOT / "kexue" / "explore").glob("*.py"))
    for name in newer:
        assert not re.search(rf"\b{name}\b", sources), name
    assert not re.search(r"^\s*(from|import) ipywidgets", sources, re.MULTILINE)


def test_in_colab_nothing_is_stored(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    calls = []

    def f(k=2):
        calls.append(k)
        wave(k)

    e = Explorer(f, OPTIONS, {"k": (0, 9)})
    assert calls == [2] and e.html == "" and "text/html" not in e.bundle()[0]
    monkeypatch.setenv("KEXUE_EXPLORE", "stored")  # a page that is about what is stored
    assert Explorer(f, OPTIONS, {"k": (0, 9)}).html


OPTIONS = dict(
    frames=None,
    alt=None,
    caption="",
    name="",
    labels={},
    units={},
    play=(),
    mode="auto",
    interpolate=False,
    limit=None,
)


def test_importing_is_cheap():
    """Neither matplotlib's state nor a widget library is loaded before an explorer is made."""
    code = "import sys, kexue.explore; sys.exit(any(m in sys.modules for m in sys.argv[1:]))"
    names = ["anywidget", "ipywidgets", "matplotlib.pyplot", "sympy"]
    assert subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT).returncode == 0
