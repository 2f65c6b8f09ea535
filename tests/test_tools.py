"""The tools that run notebooks, serve the book and run the stages."""

import copy
import socket
import urllib.request
from pathlib import Path
from threading import Thread

import nbformat
import pytest

from tools import notebooks as nbs
from tools import serve, stages


def untidy():
    """A notebook as an editor leaves it: random ids, times, widget state, split streams."""
    v4 = nbformat.v4
    stream = v4.new_output("stream", name="stdout", text="a\n")
    view = v4.new_output(
        "display_data", data={nbs.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "Slider()"}
    )
    svg = "<svg>\n <metadata>\n  <date>now</date>\n </metadata>\n <g/>  \n</svg>\n"
    picture = v4.new_output("display_data", data={"image/svg+xml": svg})
    only_view = v4.new_output("display_data", data={nbs.WIDGET_VIEW: {"model_id": "2"}})
    cells = [
        v4.new_markdown_cell("# Title"),
        v4.new_code_cell("old", metadata={"tags": ["setup"]}, execution_count=7),
        v4.new_code_cell(
            "print('a')",
            execution_count=9,
            outputs=[stream, copy.deepcopy(stream), view, only_view, picture],
            metadata={"execution": {"iopub.execute_input": "2026"}, "tags": ["keep"]},
        ),
    ]
    meta = {"widgets": {"state": 1}, "language_info": {"name": "python", "version": "3.11.7"}}
    nb = v4.new_notebook(cells=cells, metadata=meta)
    nb.cells[0].id = nb.cells[1].id = "same"
    return nb


def test_normalize_leaves_nothing_random():
    nb = nbs.normalize(untidy())
    nbformat.validate(nb)
    _, setup, last = nb.cells
    assert setup.source == nbs.setup_cell()
    assert [setup.execution_count, last.execution_count] == [1, 2]
    assert len({cell.id for cell in nb.cells}) == 3
    assert last.metadata == {"tags": ["keep"]}
    assert [o.get("text") for o in last.outputs] == ["a\na\n", None, None]
    assert last.outputs[1].data == {"text/plain": "Slider()"}
    assert last.outputs[2].data == {"image/svg+xml": "<svg>\n<g/>\n</svg>\n"}
    assert "widgets" not in nb.metadata
    assert nb.metadata.language_info == {"name": "python"}
    assert nbs.text_of(nbs.normalize(copy.deepcopy(nb))) == nbs.text_of(nb)


def test_a_slim_picture_keeps_its_places_to_a_hundredth():
    svg = '<svg>\n  <path d="M 1.23456 -0.001 \n    L 20 -3.999\n" id="p1.23456"/>\n'
    svg += ' <use x="10.5000" transform="scale(0.015625)"/>\n</svg>\n'
    slim = '<svg>\n<path d="M 1.23 0\nL 20 -4\n" id="p1.23456"/>\n'
    slim += '<use x="10.5" transform="scale(0.015625)"/>\n</svg>\n'
    assert nbs.slim_svg(svg) == slim
    assert nbs.slim_svg(slim) == slim


def test_a_change_of_code_makes_outputs_stale_a_change_of_words_does_not():
    nb = nbs.normalize(untidy())
    assert nbs.is_stale(nb)
    nb.metadata["kexue"] = {"code": nbs.code_hash(nb)}
    nb.cells[0].source = "# Another title"
    nb.cells[1].source = "another setup"
    assert not nbs.is_stale(nb)
    nb.cells[2].source += "\n"
    assert nbs.is_stale(nb)


def test_running_twice_changes_nothing(tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    code = "import os\n\nprint(os.environ['KEXUE_DEVICE'], os.getcwd())\n1 / 3"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(nb, path)
    assert nbs.main(["--check", str(path)]) == 1
    assert nbs.main([str(path)]) == 0
    first = path.read_text(encoding="utf-8")
    cell = nbformat.reads(first, as_version=4).cells[0]
    assert cell.outputs[0].text == f"cpu {tmp_path}\n"
    assert cell.outputs[1].data["text/plain"] == "0.3333333333333333"
    assert nbs.main([str(path)]) == 0
    assert "not run, unchanged" in capsys.readouterr().out
    assert nbs.main(["--all", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == first
    assert nbs.main(["--check", str(path)]) == 0


def test_what_a_run_took_is_stored_and_stays_until_something_changes(tmp_path):
    """CPU seconds are those of the kernel, children included; the memory is its own."""
    path = tmp_path / "a.ipynb"
    burn = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    hold = "held = bytes(range(1, 201)) * 1_000_000"
    cells = [nbformat.v4.new_code_cell(code) for code in (child, hold)]
    head = nbformat.v4.new_markdown_cell("| | |\n|---|---|\n| Runs in | ? |\n| Next | row |")
    nbformat.write(nbformat.v4.new_notebook(cells=[head, *cells]), path)
    assert nbs.main([str(path)]) == 0
    nb = nbformat.read(path, 4)
    run = nb.metadata.kexue.run
    assert len(nb.cells) == 3 and nb.cells[2].outputs == []
    assert run.cpu_seconds >= 1.5 and run.seconds >= 1.5  # the kernel alone: under 1.2
    assert 200 < run.peak_memory_mb < 400
    assert run.device.startswith("CPU (") and run.device.endswith("1 thread")
    assert (run.preset, run.torch) == ("quick", None)
    rows = nb.cells[0].source.split("\n")
    assert f"{run.cpu_seconds:.0f} s of CPU time" in rows[2] and rows[3] == "| Next | row |"

    first = path.read_text(encoding="utf-8")
    path.write_text(first.replace(str(run.cpu_seconds), "77.7"), encoding="utf-8")
    assert nbs.main(["--check", str(path)]) == 1  # the line on the page is not the record's
    assert nbs.main([str(path)]) == 0
    second = path.read_text(encoding="utf-8")
    assert "| Runs in | 78 s of CPU time" in second
    assert nbs.main(["--all", str(path)]) == 0  # outputs unchanged: so is the record
    assert path.read_text(encoding="utf-8") == second
    assert nbs.main(["--measure", str(path)]) == 0
    assert nbformat.read(path, 4).metadata.kexue.run.cpu_seconds != 77.7


def test_serve(tmp_path):
    (tmp_path / "index.html").write_text("a book", encoding="utf-8")
    with serve.server(str(tmp_path), 0) as httpd:
        thread = Thread(target=httpd.serve_forever)
        thread.start()
        host, port = httpd.server_address
        with urllib.request.urlopen(f"http://{host}:{port}/") as answer:
            assert answer.read() == b"a book"
        httpd.shutdown()
        thread.join()


def test_serve_says_what_to_do_about_a_taken_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit, match=r"is in use. Try another: make serve PORT="):
            serve.server(str(tmp_path), taken.getsockname()[1])


@pytest.mark.parametrize("port", ["abc", "-1", "99999"])
def test_serve_refuses_what_is_no_port(tmp_path, port):
    with pytest.raises(SystemExit, match=r"PORT: got .*needs a number from 0 to 65535"):
        serve.main(str(tmp_path), port)


def test_stages_stop_at_the_first_failure(tmp_path, monkeypatch, capfd):
    make = "one:\n\t@echo '5 passed, 1 skipped in 0.1s'\ntwo:\n\t@exit 3\nthree:\n\t@echo third\n"
    Path(tmp_path / "Makefile").write_text(make, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBS", "1")
    assert stages.main(["one", "three"]) == 0
    assert "5 passed, 1 skipped in" in capfd.readouterr().out.splitlines()[-1]
    assert stages.main(["one", "two", "three"]) != 0
    out = capfd.readouterr().out
    assert "FAILED in two" in out
    assert "stage two failed, 5 passed" in out.splitlines()[-1]
    assert "third" not in out


def test_stages_run_two_at_a_time(tmp_path, monkeypatch, capfd):
    """Each of the first two waits for the other's file: one after the other they would hang."""
    wait = "for i in $$(seq 100); do test -e {} && exit 0; sleep 0.1; done; exit 1"
    make = "".join(
        f"{own}:\n\t@touch {own}.here; {wait.format(other + '.here')}\n"
        for own, other in [("left", "right"), ("right", "left")]
    )
    Path(tmp_path / "Makefile").write_text(make + "late:\n\t@echo '2 passed in 0.1s'\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBS", "2")
    assert stages.main(["left", "right", "late"]) == 0
    assert "2 passed in" in capfd.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("asked", ["0", "-1", "many"])
def test_stages_refuse_what_is_no_number_of_jobs(asked, monkeypatch):
    monkeypatch.setenv("JOBS", asked)
    with pytest.raises(SystemExit, match=r"JOBS: got .*needs a number"):
        stages.main(["one"])
