"""The Sphinx extension: figures that follow the theme, alt text, nothing from another host."""

import base64
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import numpy as np
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from matplotlib.figure import Figure

from kexue.site import figures, math, typography

ROOT = Path(__file__).resolve().parent.parent
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">{}</svg>'
# The smallest PNG: one pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def drawing() -> str:
    """An SVG figure by matplotlib with a line, markers, a clip path, text and a raster image."""
    fig = Figure(figsize=(3, 2))
    left, right = fig.subplots(1, 2)
    left.plot([1, 2], [1, 2], "ko-", markerfacecolor="white")
    left.plot([1, 2], [2, 1], color="#3a7fc1")
    left.set_title("time $t$")
    right.imshow(np.eye(3))
    right.set_gid("kx-ink-1")
    file = io.StringIO()
    fig.savefig(file, format="svg")
    return file.getvalue()


@pytest.fixture(scope="module")
def inlined():
    return figures.inline_svg(drawing(), "p-3-", 'A "line" & a square')


def test_figure_is_an_image_with_a_name(inlined):
    root = ET.fromstring(inlined)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A "line" & a square'
    assert root.get("viewBox")
    assert "ns0:" not in inlined and "<?xml" not in inlined and "<!DOCTYPE" not in inlined


def test_every_id_is_prefixed_and_every_reference_resolves(inlined):
    root = ET.fromstring(inlined)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert ids and len(ids) == len(set(ids))
    assert [name for name in ids if not name.startswith("p-3-")] == []
    assert "p-3-kx-ink-1" in ids
    references = set(re.findall(r"url\(#([^)]+)\)", inlined)) | {
        node.get("href")[1:] for node in root.iter() if node.get("href", "").startswith("#")
    }
    assert references and references <= set(ids)


def test_black_and_white_follow_the_theme_and_data_colors_stay(inlined):
    assert "#000000" not in inlined and "#ffffff" not in inlined
    assert "currentColor" in inlined and "var(--kx-paper" in inlined
    assert "#3a7fc1" in inlined


def test_no_style_element_reaches_the_page(inlined):
    assert "<style" not in inlined and "<metadata" not in inlined
    assert "stroke-linejoin" in ET.fromstring(inlined).get("style")


def test_the_white_sheet_under_a_figure_goes_the_white_marker_stays(inlined):
    assert 'id="p-3-patch_1"' not in inlined
    assert 'id="p-3-patch_2"' in inlined


def test_embedded_rasters_are_untouched(inlined):
    data = re.search(r'href="data:image/png;base64,([^"]+)"', drawing())[1]
    stored = re.search(r'href="data:image/png;base64,([^"]+)"', inlined)[1]
    assert base64.b64decode(data) == base64.b64decode(stored)


def test_text_keeps_its_words():
    source = SVG.format('<text>a <tspan font-weight="bold">b</tspan> c</text>')
    assert '<text>a <tspan font-weight="bold">b</tspan> c</text>' in figures.inline_svg(
        source, "", "x"
    )


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("no markup", "not SVG"),
        ("<html></html>", "needs svg"),
        (SVG.format("<style>p {color: red}</style>"), "style sheet"),
    ],
)
def test_what_is_no_figure_is_refused(source, complaint):
    with pytest.raises(ValueError, match=complaint):
        figures.inline_svg(source, "", "x")


def test_every_font_of_katex_is_served():
    """Those that its style sheet names, as woff2, which every browser reads."""
    text = (math.KATEX / "katex.min.css").read_text(encoding="utf-8")
    named = set(re.findall(r"fonts/([\w-]+\.woff2)", text))
    assert len(named) == 20
    assert {path.name for path in (math.KATEX / "fonts").iterdir()} == named
    assert (math.KATEX / "LICENSE").is_file()


def test_a_formula_is_html_and_mathml_and_keeps_its_tex():
    made = math.typeset(r"\frac{a}{b}", display=True)
    root = ET.fromstring(f"<p>{made}</p>".replace("&nbsp;", " "))
    space = "{http://www.w3.org/1998/Math/MathML}"
    assert root.find(f".//{space}mfrac") is not None
    assert root.find(f".//{space}annotation").text == r"\frac{a}{b}"
    assert [node for node in root.iter("span") if node.get("aria-hidden") == "true"]


@pytest.mark.parametrize("tex", [r"\alhpa", r"\frac{a}", "x^", r"\begin{aligned}a"])
def test_a_formula_that_cannot_be_read_is_refused(tex):
    with pytest.raises(ValueError, match="KaTeX parse error"):
        math.typeset(tex)


def test_formulas_of_stored_html_are_typeset():
    html = '<p>\\(x\\)</p><span class="math notranslate">\\(a &lt; b\\)</span>'
    made = math.STORED.sub(lambda m: math.stored(m, None), html)
    assert made.startswith('<p>\\(x\\)</p><span class="math notranslate"><span class="katex">')
    assert "a &lt; b</annotation>" in made


def build(folder: Path, index: str, *, page: nbformat.NotebookNode | None = None, builder="html"):
    """Build a little Sphinx project with the extension; return (exit status, warnings, pages)."""
    conf = 'extensions = ["myst_nb", "kexue.site"]\nnb_execution_mode = "off"\n'
    conf += 'html_theme = "sphinx_book_theme"\nmyst_enable_extensions = ["dollarmath"]\n'
    (folder / "conf.py").write_text(conf, encoding="utf-8")
    (folder / "index.md").write_text(index, encoding="utf-8")
    if page is not None:
        nbformat.write(page, folder / "page.ipynb")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", builder]
    run = subprocess.run(
        [*command, folder, folder / "out"], capture_output=True, text=True, check=False, cwd=folder
    )
    pages = {path.stem: path.read_text("utf-8") for path in (folder / "out").glob("*.html")}
    return run.returncode, run.stderr, pages


def chapter(*alts: str | None) -> nbformat.NotebookNode:
    """A stored notebook with one SVG figure for each alt text."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Page\n\nSee {ref}`fig-a-0`.")]
    for k, alt in enumerate(alts):
        output = v4.new_output("display_data", data={"image/svg+xml": drawing(), "text/plain": "f"})
        meta = {"figure": {"caption": "Look at $t$ here.", "name": f"fig-a-{k}"}}
        if alt is not None:
            meta["image"] = {"alt": alt}
        code = {"execution_count": k + 1, "outputs": [output], "metadata": {"mystnb": meta}}
        cells.append(v4.new_code_cell("f", **code))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "widgets": {"x": 1}})


INDEX = "# Book\n\n$x^2$\n\n```{toctree}\npage\n```\n"


def test_a_page_holds_its_figures_and_names_no_other_host(tmp_path):
    status, warnings, pages = build(tmp_path, INDEX, page=chapter("A line that rises."))
    assert (status, warnings) == (0, "")
    page = pages["page"]
    assert 'role="img" aria-label="A line that rises."' in page
    assert "Look at" in page
    assert "_images" not in page
    loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"([^\"]+)\"", page)
    assert loaded
    assert [url for url in loaded if "//" in url] == []
    assert 'data-default-mode="auto"' in page
    assert '<span class="katex">' in pages["index"] and "<script" in pages["index"]
    assert (tmp_path / "out/_static/vendor/katex/fonts/KaTeX_Main-Regular.woff2").is_file()


def test_pictures_without_alt_text_fail_the_build(tmp_path):
    """Three in a notebook (one is fine), two in Markdown and two in HTML (one of each is fine)."""
    (tmp_path / "dot.png").write_bytes(base64.b64decode(PNG))
    index = INDEX + "\n![](dot.png)\n\n![A dot.](dot.png)\n\n"
    index += '<div><img src="dot.png"><img src="dot.png" alt="A dot."></div>\n'
    page = chapter("A line that rises.", None, "  ")
    status, warnings, _ = build(tmp_path, index, page=page, builder="dummy")
    assert status == 1
    lines = [line for line in warnings.splitlines() if "picture without alt text" in line]
    assert len([line for line in lines if "page.ipynb" in line]) == 2
    assert len([line for line in lines if "index.md" in line]) == 2
    assert len([line for line in lines if "HTML picture" in line]) == 1
    assert len(lines) == len(warnings.splitlines())


def test_a_cell_below_another_says_what_it_is():
    """Where a table asks for it, all cells of a row but the first begin with the column's head."""
    text = "= === =\na b   c\n= === =\n1 two 3\n= === =\n\n"
    document = publish_doctree(f".. class:: kx-labeled\n\n{text}{text}")
    with_heads, without = document.findall(nodes.table)
    typography.LabelCells(document).run()
    row, other = ([e.astext() for e in t.findall(nodes.entry)][3:] for t in (with_heads, without))
    assert row == ["1", "b\n\ntwo", "c\n\n3"] and other == ["1", "two", "3"]
    (label, _), *_ = [e.children for e in with_heads.findall(nodes.entry) if e.astext() == row[1]]
    assert label["classes"] == ["kx-label"]
