"""The parts of the GPU room; the room itself, which needs a GPU, is `make gpu-room`."""

import json
import os
import re
from contextlib import nullcontext

import nbformat
import pytest

from kexue.site import status
from tools import gpu_room

TORCH = """
from types import SimpleNamespace as NS
__version__, version, limits, held = "2.11.0", NS(cuda="13.0"), {}, [0, 0]
def touch(mb):
    held[0], held[1] = held[0] + 1e6 * mb, max(held[1], mb)
def attention(enabled):
    limits["flash"] = enabled
cuda = NS(
    is_initialized=lambda: held[0] > 0, is_available=lambda: True, synchronize=lambda: None,
    memory_stats=lambda: {"allocated_bytes.all.allocated": held[0]},
    max_memory_allocated=lambda: 1e6 * held[1],
    reset_peak_memory_stats=lambda: held.__setitem__(1, 0),
    get_device_properties=lambda k: NS(total_memory=60e9), get_device_capability=lambda: (9, 0),
    set_per_process_memory_fraction=lambda share: limits.update(share=share),
)
matmul = NS(allow_tf32=True)
backends = NS(cuda=NS(matmul=matmul, enable_flash_sdp=attention, enable_cudnn_sdp=attention),
              cudnn=NS(allow_tf32=True))
get_num_threads = lambda: 16
"""
RUNTIME = """
import os
precision = lambda: "torch.float16"
preset = lambda quick, full: os.environ["KEXUE_PRESET"]
device = lambda: type("Device", (), {"type": "cuda"})
"""
CODE = """
import os, torch
torch.touch(300)
print(os.getcwd(), os.environ["KEXUE_EXPLORE"], os.environ.get("TORCHDYNAMO_DISABLE"))
print(torch.limits, torch.backends.cuda.matmul.allow_tf32, len(os.sched_getaffinity(0)))
print(torch.cuda.get_device_capability(0))
"""


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Two notebooks, one of which fails, and a package and a torch that stand for the real ones."""
    code = nbformat.v4.new_code_cell
    cells = [nbformat.v4.new_markdown_cell("# A"), code(CODE, id="uses"), code("1", id="idle")]
    (tmp_path / "part").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "part" / "a.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=[code("1 / 0")]), tmp_path / "b.ipynb")
    site = tmp_path / ".site"
    (site / "kexue").mkdir(parents=True)
    (site / "kexue" / "__init__.py").touch()
    (site / "kexue" / "runtime.py").write_text(RUNTIME, encoding="utf-8")
    (site / "torch.py").write_text(TORCH, encoding="utf-8")
    monkeypatch.setattr(gpu_room, "installed", lambda folder: nullcontext(site))
    monkeypatch.setattr(gpu_room, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(gpu_room, "RECORD", tmp_path / "room.json")
    monkeypatch.setenv("KEXUE_DEVICE", "cpu")
    return tmp_path


@pytest.fixture
def half_busy(tmp_path, monkeypatch):
    """An nvidia-smi that says that the GPU computes half of the time."""
    smi = tmp_path / ".bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nwhile echo 50; do sleep 0.1; done", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(smi.parent), prepend=os.pathsep)


def test_a_notebook_runs_within_the_limits_of_a_t4(shelf, half_busy, capsys, monkeypatch):
    kept, record = {}, gpu_room.record
    monkeypatch.setattr(gpu_room, "record", lambda nb, *a: kept.update(nb=nb) or record(nb, *a))
    assert gpu_room.main(["--preset", "quick", "--t4"]) == 1
    out = capsys.readouterr().out
    assert "part/a: " in out and "300 MB, float16" in out and "b: " in out
    assert "ZeroDivisionError" in out and not gpu_room.RECORD.exists()
    assert "uses: 0." in out and "idle" not in out, "cells that use the GPU are named"
    where, limits, capability = kept["nb"].cells[1].outputs[0].text.splitlines()
    folder, live, compiled = where.split()
    assert (live, compiled) == ("live", "1") and not folder.startswith(str(gpu_room.ROOT))
    took, busy = re.search(r"part/a: (\S+) s.*busy: (\S+) s", out).groups()
    assert float(busy) == pytest.approx(float(took) / 2, abs=0.1)
    assert limits.startswith("{'share': 0.25, 'flash': False} False")
    assert int(limits.split()[-1]) <= 2 and capability == "(7, 5)"


def probed(*states):
    """A notebook that ran: what its probes printed, (seconds, on the GPU, MB), one a cell."""
    at, nb = 100.0, gpu_room.with_probes(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1") for _ in states]), False
    )  # fmt: skip
    says = [{"at": at, "gpu": False, "peak": 0.0}]
    for seconds, gpu, peak in states:
        at += seconds
        says.append({"at": at, "gpu": gpu, "peak": peak})
    for cell, said in zip([*nb.cells[0:1], *nb.cells[2::2]], says, strict=False):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=json.dumps(said))]
    end = {"precision": "float16", "preset": "full", "threads": 2}
    nb.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=json.dumps(end))]
    return nb


def test_cells_that_use_the_gpu_are_added_up():
    nb = probed((0.5, False, 0.0), (7.0, True, 300.0), (0.25, True, 900.0), (2.0, False, 50.0))
    found = gpu_room.record(nb, 11.0, 3.0)
    assert (found["seconds"], found["gpu_seconds"], found["busy_seconds"]) == (11.0, 7.2, 3.0)
    assert found["peak_memory_mb"] == 900.0 and found["precision"] == "float16"
    assert list(found["cells"].values()) == [[7.0, 300.0], [0.2, 900.0], [2.0, 50.0]]


def test_the_estimate_is_the_stated_rule():
    took = {"device": "NVIDIA H100 80GB HBM3", "seconds": 100.0, "gpu_seconds": 40.0}
    assert gpu_room.t4_seconds(took | {"busy_seconds": 8.0}) == round(8 * 3350 / 320 + 92 * 2)
    assert gpu_room.t4_seconds(took | {"busy_seconds": None}) == round(40 * 3350 / 320 + 60 * 2)
    assert gpu_room.t4_seconds(took | {"device": "NVIDIA X9"}) is None
    page = (gpu_room.ROOT / "book" / "status.md").read_text(encoding="utf-8")
    assert "estimate" in page and f"{3350 / 320:.1f}" in page


def test_without_a_gpu_nothing_is_stored(shelf):
    for asked in ([], ["--preset", "quick", "--store"]):
        with pytest.raises(SystemExit, match="no GPU here"):
            gpu_room.main(asked)
    with pytest.raises(SystemExit, match="run make colab"):
        gpu_room.main(["none"])


def test_what_is_stored_is_what_the_pages_read(shelf):
    gpu_room.keep("part/a", "full", {"seconds": 2.0})
    gpu_room.keep("part/a", "t4", {"t4_seconds": 9})
    gpu_room.keep("b", "full", {"seconds": 3.0})
    found = status.tried(gpu_room.RECORD, "/somewhere/book/part/a")
    assert found == {"full": {"seconds": 2.0}, "t4": {"t4_seconds": 9}}
    assert status.tried(gpu_room.RECORD, "book/part/c") == {}
    assert status.tried(shelf / "none.json", "b") == {}
