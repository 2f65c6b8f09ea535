"""Run lines and the status page: every number comes from a record, and a missing one is said."""

import json
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from sphinx.testing.util import SphinxTestApp

from kexue.site import status
from tools import notebooks as nbs
from tools.book import ROOT

RUN = {
    "cpu_seconds": 71.6, "seconds": 80.0, "peak_memory_mb": 913.0, "preset": "quick",
    "device": "CPU (x86_64), 1 thread", "python": "3.11.7", "torch": "2.13.0+cpu",
    "date": "2026-11-22T11:00:00Z",
}  # fmt: skip
CARD = {
    "device": "NVIDIA H100 80GB HBM3", "torch": "2.11.0+cu130", "cuda": "13.0", "seed": 1,
    "python": "3.12.3", "precision": "bfloat16", "preset": "full", "seconds": 1255.5,
    "peak_memory_mb": 15226.0, "date": "2026-11-20T06:52:17Z",
}  # fmt: skip
OTHER = CARD | {"device": "CPU (x86_64), 1 thread(s)", "cuda": None, "peak_memory_mb": None}
TRIED = {"cpu_seconds": 60.2, "seconds": 70.0, "first_figure": 8.6, "outputs_differ": 0,
         "python": "3.13.0", "torch": "2.11.0", "date": "2026-11-21T00:00:00Z"}  # fmt: skip
ON_GPU = CARD | {"seconds": 92.3, "gpu_seconds": 40.1, "peak_memory_mb": 420.0}
ROOM = {"full": ON_GPU, "t4": ON_GPU | {"seconds": 70.0, "t4_seconds": 183}}


def notebook(code="1", run=None, head="# A"):
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell(head), v4.new_code_cell(code, execution_count=1)]
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    meta |= {
        "kexue": {"code": "x"},
        "language_info": {"name": "python", "pygments_lexer": "python3"},
    }
    if run:
        meta["kexue"]["run"] = run
    return v4.new_notebook(cells=cells, metadata=meta)


@pytest.fixture
def book(tmp_path):
    """Two chapters, one of them never measured, and two artifacts, one with a second card."""
    shelf = tmp_path / "book" / "artifacts"
    for name, card in {"one/card": CARD, "one/t4-card": CARD | {"seconds": 7.0},
                       "peers/card": OTHER}.items():  # fmt: skip
        path = shelf / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(card), encoding="utf-8")
    (tmp_path / "tools").mkdir()
    record = {"set": "2026-08-19", "notebooks": {"a/one": TRIED}}
    (tmp_path / "tools" / "clean_room.json").write_text(json.dumps(record), encoding="utf-8")
    record = {"notebooks": {"a/one": ROOM}}
    (tmp_path / "tools" / "gpu_room.json").write_text(json.dumps(record), encoding="utf-8")
    pages = tmp_path / "book" / "a"
    pages.mkdir()
    nbformat.write(notebook("runtime.artifact('peers', 'x.npz')", RUN), pages / "one.ipynb")
    nbformat.write(notebook(head="# B"), pages / "two.ipynb")
    (tmp_path / "conf.py").write_text(
        'extensions = ["myst_nb", "kexue.site.status"]\nnb_execution_mode = "off"\n'
        'html_theme = "basic"\ncopyright = "none"\nexclude_patterns = ["_build"]\n'
    )
    (tmp_path / "index.md").write_text(
        "# Book\n\n```{toctree}\nbook/a/one\nbook/a/two\nstatus\n```\n"
    )
    (tmp_path / "status.md").write_text("# Status\n\n```{status-table}\n```\n")
    return tmp_path


def build(source):
    """Build; return the rows of both tables as texts."""
    app = SphinxTestApp("html", srcdir=source)
    try:
        app.build()
        assert app.warning.getvalue() == ""
        page = BeautifulSoup((app.outdir / "status.html").read_text(), "html.parser")
    finally:
        app.cleanup()
    return [
        [[" ".join(cell.text.split()) for cell in row("td")] for row in table("tr") if row("td")]
        for table in page("table")
    ]


def test_the_page_says_what_the_records_say_and_follows_them(book):
    notebooks, stored = build(book)
    assert notebooks == [
        [
            "A",
            "72 s of CPU time, 0.91 GB torch 2.13.0, Python 3.11.7, 2026-11-22",
            "60 s of CPU time, 9 s to the first figure torch 2.11.0, Python 3.13.0, 2026-11-21",
            "92 s on one NVIDIA H100 80GB HBM3, 40 s of it with the GPU, 0.42 GB "
            "about 180 s on a T4 (estimate, not measured)",
            "one: 1,256 s, 15.2 GB, one NVIDIA H100 80GB HBM3 "
            "peers: 1,256 s, memory not measured, a CPU (x86_64), 1 thread",
        ],
        [
            *("B", "not measured", "not tried with Colab's packages"),
            *("not tried on a GPU", "no stored results"),
        ],
    ]
    assert [row[:2] for row in stored] == [
        ["one", "1,256 s, 15.2 GB"],
        ["one, t4-card", "7 s, 15.2 GB"],
        ["peers", "1,256 s, memory not measured"],
    ]
    assert stored[0][3].startswith("bfloat16, full preset, seed 1 torch 2.11.0, CUDA 13.0")

    card = book / "book" / "artifacts" / "one" / "card.json"
    card.write_text(json.dumps(CARD | {"seconds": 3.0}), encoding="utf-8")
    nbformat.write(notebook(head="# B", run=RUN), book / "book" / "a" / "two.ipynb")
    notebooks, _ = build(book)  # nothing that Sphinx watches changed on the status page itself
    assert notebooks[0][4].startswith("one: 3 s") and notebooks[1][1].startswith("72 s")


def test_the_run_line_names_both_sides():
    line = status.run_line(RUN, [CARD])
    parts = "72 s of CPU time, 0.91 GB", "quick preset", "torch 2.13.0, Python 3.11.7"
    parts += "one NVIDIA H100 80GB HBM3: 1,256 s, 15.2 GB", "CUDA 13.0", "2026-11-20"
    for part in parts:
        assert part in line
    assert status.run_line(None, []) == "not measured yet"
    line = status.run_line(RUN, [CARD], ROOM).split("; ")
    assert line[1].startswith("the full preset: 92 s on one NVIDIA H100") and "CUDA 13.0" in line[1]
    assert line[2] == "about 180 s on a T4 (estimate, not measured)"
    idle = {"full": ON_GPU | {"gpu_seconds": 0.0, "peak_memory_mb": 0.0}}
    assert status.full_preset(idle) == ["92 s on one NVIDIA H100 80GB HBM3, which it does not use"]


def test_the_row_is_written_and_nothing_else_is_touched(book):
    head = "# A\n\n| | |\n|---|---|\n| Mirrors | x |\n| Runs in | typed by hand, 3 s |"
    nb = notebook(run=RUN, head=head)
    nb.cells.append(nbformat.v4.new_markdown_cell("It runs in no time."))
    status.state_run(nb, "one", book / "book" / "artifacts")
    rows = nb.cells[0].source.split("\n")
    assert rows[:5] == head.split("\n")[:5]
    assert "typed" not in rows[5] and "72 s of CPU time" in rows[5] and "1,256 s" in rows[5]
    assert nb.cells[2].source == "It runs in no time."
    again = nbformat.from_dict(nb)
    status.state_run(again, "one", book / "book" / "artifacts")
    assert again == nb


@pytest.mark.parametrize("path", nbs.notebooks(), ids=lambda path: path.stem)
def test_every_notebook_of_the_book_has_a_record_and_says_no_other_number(path):
    nb = nbformat.read(path, as_version=4)
    run = status.run_of(nb)
    assert run is not None, f"make notebooks MEASURE=1 {path}"
    assert run["preset"] == "quick" and run["device"].startswith("CPU")
    assert 0 < run["cpu_seconds"] < 600 and 50 < run["peak_memory_mb"] < 12_000
    rows = re.findall(r"^\| Runs in \|.*$", nb.cells[0].source, re.MULTILINE)
    names = status.artifacts_of(nb, path.stem, ROOT / "book" / "artifacts")
    gpu = status.tried(ROOT / "tools" / "gpu_room.json", path.with_suffix("").as_posix())
    line = status.run_line(run, status.cards(ROOT / "book" / "artifacts", names), gpu)
    assert rows in ([], [f"| Runs in | {line} |"])
