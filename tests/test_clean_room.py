"""The parts of the clean room; the room, which installs Colab's packages, is `make clean-room`."""

import copy
import http.server
import threading
import urllib.error
import urllib.request

import nbformat
import pytest
import torch

from kexue import runtime
from tools import clean_room
from tools.book import ROOT
from tools.notebooks import WIDGET_VIEW


@pytest.fixture(scope="module")
def repository():
    """The address of a server that answers as the repository does."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), clean_room.Repository) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stranger_gets_a_stored_result_from_the_repository(repository, tmp_path, monkeypatch):
    """Outside of a checkout: downloaded, held against the card, and read from the cache then."""
    monkeypatch.setattr(runtime, "REPOSITORY", repository)
    monkeypatch.setattr(runtime, "_shelf", lambda: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = runtime.artifact("ddpm-bayes", "digits-loss.npz")
    assert path.is_relative_to(tmp_path)
    stored = ROOT / "book" / "artifacts" / "ddpm-bayes" / "digits-loss.npz"
    assert path.read_bytes() == stored.read_bytes()
    monkeypatch.setattr(runtime, "REPOSITORY", "http://127.0.0.1:9")
    assert runtime.artifact("ddpm-bayes", "digits-loss.npz") == path


@pytest.mark.parametrize(
    "asked",
    [
        "/raw/main/README.md",
        "/raw/main/book/artifacts/../../pyproject.toml",
        "/raw/main/book/artifacts/none/card.json",
        "/raw/main/book/artifacts/ddpm-bayes",
        "/",
    ],
)
def test_nothing_else_is_served(repository, asked):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(repository + asked)


def notebook():
    v4 = nbformat.v4
    html = v4.new_output("display_data", data={"text/html": "<b>0.5000</b>", "text/plain": "x"})
    picture = v4.new_output("display_data", data={"image/svg+xml": "<svg/>", "text/html": "<img>"})
    moves = v4.new_output("display_data", data={"text/html": '<figure class="kx-explorer">'})
    live = v4.new_output("display_data", data={WIDGET_VIEW: {"model_id": "1"}, "text/plain": "x"})
    printed = v4.new_output("stream", name="stdout", text="loss 0.12345\n")
    cells = [
        v4.new_markdown_cell("# Title"),
        v4.new_code_cell("setup()", metadata={"tags": ["setup"]}, outputs=[printed]),
        v4.new_code_cell("first()\nmore", outputs=[printed, html, picture, moves, live]),
        v4.new_code_cell("clock()", metadata={"tags": ["nbval-ignore-output"]}, outputs=[printed]),
    ]
    return v4.new_notebook(cells=cells)


def test_what_is_said_otherwise_is_found_and_what_is_drawn_otherwise_is_not():
    before = notebook()
    assert clean_room.differences(before, before) == []
    after = copy.deepcopy(before)
    for cell in after.cells[1], after.cells[3]:
        cell.outputs[0].text = "another"
    after.cells[2].outputs[0].text = "loss 0.12346\n"  # as close as the tests demand
    after.cells[2].outputs[2].data["image/svg+xml"] = "<svg>other</svg>"
    after.cells[2].outputs[3].data["text/html"] += "other"
    after.cells[2].outputs[4].data["text/plain"] = "other"
    assert clean_room.differences(before, after) == []
    for k, change in [(0, {"text": "loss 0.2"}), (1, {"data": {"text/html": "<b>0.6000</b>"}})]:
        other = copy.deepcopy(before)
        other.cells[2].outputs[k].update(change)
        assert clean_room.differences(before, other) == ["first()"]
    other = copy.deepcopy(before)
    del other.cells[2].outputs[1]
    assert clean_room.differences(before, other) == ["first()"]


def test_without_notebooks_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(clean_room, "NOTEBOOKS", tmp_path)
    with pytest.raises(SystemExit, match="run make colab"):
        clean_room.main([])
