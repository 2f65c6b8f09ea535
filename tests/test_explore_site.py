"""Explorers as Sphinx' figures: numbers, references, and what LaTeX makes of them."""

import contextlib
import io
import json
import re
import shutil
import sys
from unittest import mock

import nbformat
import numpy as np
import pytest
from docutils import nodes
from matplotlib.figure import Figure
from PIL import Image

from kexue.explore import interact
from kexue.explore.page import inline
from kexue.site import paper
from kexue.site.explorers import caption

NAMES = ["fig-wave", "fig-plot", "fig-noise", "fig-power"]
CONVERTERS = [tool for tool in paper.TOOLS if shutil.which(tool)]
# Where no converter is installed, this stands in, so that the other tests of LaTeX run.
WRITE = "import sys; open(sys.argv[1], 'w').write('%PDF')"
STAND_IN = {} if CONVERTERS else {sys.executable: ["-c", WRITE, "{to}"]}
CAPTION = "A wave of $f<4$ & more, 50 % of it."
TEXT = """# Numbers

{numref}`fig-plot`, {numref}`fig-wave`, {numref}`fig-noise`, {numref}`fig-power`;
{ref}`in words <fig-wave>`.
"""


def wave(f=2.0):
    """A sine wave"""
    axes = Figure(figsize=(3, 2)).subplots()
    axes.plot(np.sin(f * np.linspace(0, 6, 50)))
    return axes


def noise(k=1):
    """Eight by eight gray values"""
    axes = Figure(figsize=(3, 2)).subplots()
    axes.imshow(np.random.default_rng(k).normal(size=(64, 64)), cmap="viridis")
    return axes


def power(n=2):
    """A power of x"""
    import sympy

    print("n <", n + 1)
    return sympy.Symbol("x") ** n


def table(n=2):
    """A table"""

    class Table:
        def _repr_html_(self):
            return f"<table><tr><td>{n}</td></tr></table>"

    return Table()


def explorer(fn, meta=None, **options):
    """Return a cell with a stored explorer."""
    with contextlib.redirect_stdout(io.StringIO()):
        bundle, _ = interact(fn, **options).explorer.bundle()
    output = nbformat.v4.new_output("display_data", data=bundle)
    return nbformat.v4.new_code_cell(
        "interact(...)", outputs=[output], execution_count=1, metadata={"mystnb": meta or {}}
    )


def plain():
    """Return a cell with a stored SVG figure that holds pixels."""
    figure = Figure(figsize=(3, 2))
    figure.subplots().imshow(np.eye(4), interpolation="none")
    file = io.StringIO()
    figure.savefig(file, format="svg")
    data = {"image/svg+xml": file.getvalue(), "text/plain": "<Figure size>"}
    output = nbformat.v4.new_output("display_data", data=data)
    meta = {"figure": {"name": "fig-plot", "caption": "A plot."}, "image": {"alt": "A diagonal"}}
    return nbformat.v4.new_code_cell(
        "plot()", outputs=[output], execution_count=1, metadata={"mystnb": meta}
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return build(builder) -> folder of a page with figures and explorers, built cleanly."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    meta = {"figure": {"name": "fig-noise", "caption": "Noise, see {numref}`fig-wave`."}}
    cells = [
        nbformat.v4.new_markdown_cell(TEXT),
        explorer(wave, f=(1.0, 3.0), frames=3, caption=CAPTION, name="fig-wave"),
        plain(),
        explorer(noise, meta, k=(0, 2), mode="frames", caption="Not shown."),
        explorer(wave, f=(1.0, 3.0), frames=2),
        explorer(power, n=(1, 3), caption="A power.", name="fig-power"),
        explorer(table, n=(1, 3)),
    ]
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "index.ipynb")
    options = {
        "extensions": ["myst_nb", "kexue.site"],
        "nb_execution_mode": "off",
        "numfig": True,
        "suppress_warnings": ["myst-nb.lexer"],
        "myst_enable_extensions": ["dollarmath"],
        "nb_render_markdown_format": "myst",
    }

    def build(builder):
        folder, said = out / builder, io.StringIO()
        stand_in = mock.patch.dict(paper.TOOLS, STAND_IN)
        with patch_docutils(), docutils_namespace(), stand_in:
            arguments = (source, None, folder, out / f"{builder}-trees", builder, options)
            Sphinx(*arguments, status=None, warning=said).build()
        assert said.getvalue() == ""
        return folder

    return build


@pytest.fixture(scope="module")
def figures(built):
    """The figures of the HTML page."""
    page = (built("html") / "index.html").read_text(encoding="utf-8")
    assert 'src="_static/explore.js' in page
    links = re.findall(r'href="#(fig-\w+)"><span class="std std-(?:num)?ref">([^<]+)', page)
    assert links[:5] == [
        ("fig-plot", "Fig. 2"),
        ("fig-wave", "Fig. 1"),
        ("fig-noise", "Fig. 3"),
        ("fig-power", "Fig. 4"),
        ("fig-wave", "in words"),
    ]
    return re.findall(r"<figure\b.*?</figure>", page, flags=re.DOTALL)


def test_explorers_count_as_figures(figures):
    """Numbered in one series with the plots, as far as they have a caption; one caption each."""
    heads = [(f'id="{name}"', f"Fig. {k} ") for k, name in enumerate(NAMES, 1)]
    named = [f for f in figures if "id=" in f]
    assert len(figures) == 6 and len(named) == 4
    for figure, (label, number) in zip(named, heads, strict=True):
        assert label in figure and f'<span class="caption-number">{number}</span>' in figure
    assert [f.count("<figcaption") for f in figures] == [1] * 6
    assert [f.count("<figure") for f in figures] == [1] * 6


def test_captions_keep_their_formulas(figures):
    assert 'A wave of <span class="math notranslate nohighlight"><span class="katex">' in figures[0]
    assert "f&lt;4</annotation>" in figures[0]
    assert "&amp; more, 50 % of it." in figures[0]
    assert "Not shown" not in figures[2] and ">Fig. 1</span></a>." in figures[2]


def test_every_explorer_keeps_its_script_data_and_its_hint(figures):
    explorers = [f for f in figures if "kx-explorer" in f]
    assert len(explorers) == 5
    for figure in explorers:
        (data,) = re.findall(r'class="kx-data">(.*?)</script>', figure, flags=re.DOTALL)
        assert json.loads(data)["controls"]
        assert figure.count("On the page these can be moved:") == 1
        assert figure.count('class="kx-stage"') == figure.count('class="kx-controls"') == 1


def test_captions_can_be_translated(built):
    said = (built("gettext") / "index.pot").read_text(encoding="utf-8")
    assert f'msgid "{CAPTION}"' in said and 'msgid "A power."' in said


@pytest.mark.parametrize(
    "text", ["plain", "a $b$", r"$a_1$, 5 \$ < \"x\" & $\mu>0$.", "*as* `it` is"]
)
def test_a_caption_comes_back_from_what_is_stored(text):
    parts = caption(inline(text)).children
    said = "".join(f"${n.astext()}$" if isinstance(n, nodes.math) else n.astext() for n in parts)
    assert said == text.replace(r"\$", "$")


def test_paper_has_one_still_figure_each(built):
    """LaTeX gets the picture of the default values, the caption, and what can be moved."""
    folder = built("latex")
    (tex,) = (p.read_text(encoding="utf-8") for p in folder.glob("*.tex"))
    figures = re.findall(r"\\begin\{figure\}.*?\\end\{figure\}", tex, flags=re.DOTALL)
    assert len(figures) == 6
    for figure, name in zip([f for f in figures if r"\label" in f], NAMES, strict=True):
        assert rf"\label{{\detokenize{{index:{name}}}}}" in figure
    first = figures[0]
    assert r"\caption{A wave of \(f<4\) \& more, 50 \% of it.}" in first
    assert "On the page these can be moved: f from 1.0 to 3.0." in first
    assert r"width=275\sphinxpxdimen" in first
    for figure, size in ((first, (413, 269)), (figures[2], (276, 272))):
        (name,) = re.findall(r"includegraphics\S*\{\{(\w+)\}\.png\}", figure)
        with Image.open(folder / f"{name}.png") as image:
            assert image.format == "PNG" and np.allclose(image.size, size, atol=2)
            assert len(np.unique(np.asarray(image.convert("L")))) > 10  # something is drawn
    power, words = figures[4:]
    assert r"n \textless{} 3" in power and "x^{2}" in power  # printed text and the formula
    assert "A table. n = 2." in words and r"\caption" not in words


@pytest.mark.skipif(not CONVERTERS, reason=f"none of {', '.join(paper.TOOLS)} is installed")
def test_stored_svg_becomes_pdf(built):
    folder = built("latex")
    (picture,) = folder.glob("*.pdf")
    assert picture.stem in next(folder.glob("*.tex")).read_text(encoding="utf-8")
    pdf = picture.read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Interpolate true" not in pdf  # its pixels stay pixels
    assert b"/Subtype /Image" in pdf
    start = int(re.findall(rb"startxref\s+(\d+)", pdf)[-1])
    assert pdf[start:].startswith(b"xref") or b"/XRef" in pdf[start : start + 400]  # offsets hold


def test_a_missing_or_failing_converter_is_a_warning(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(paper.log, "warning", lambda text, *a, **k: said.append(text % a))
    converter = object.__new__(paper.VectorPictures)
    monkeypatch.setattr(paper, "TOOLS", {"no-such-tool": []})
    assert not converter.is_available()
    assert "need one of no-such-tool" in said.pop()
    monkeypatch.setattr(paper, "TOOLS", {"ls": ["{source}"]})
    assert converter.is_available()
    assert not converter.convert(str(tmp_path / "absent.svg"), str(tmp_path / "out.pdf"))
    assert said[0].startswith("absent.svg: ls: ")
