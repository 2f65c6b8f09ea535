"""``python -m kexue doctor``: what it says under conditions that are not this machine's."""

import platform
import re
import socket
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import torch

from kexue import __main__, doctor, plot, runtime
from kexue.doctor import GOOD, NOTE, PROBLEM

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No variable of the tests' own, no GPU, and an error for whoever asks another machine."""
    for name in ("KEXUE_DEVICE", "KEXUE_PRESET", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def refuse(*arguments, **options):
        raise AssertionError("the doctor asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def said(level=None):
    return " ".join(f.text for f in doctor.examine() if level in (None, f.level))


def fake_versions(monkeypatch, **versions):
    """Let packages have these versions; None: not installed."""
    real = metadata.version

    def version(name):
        have = versions.get(name.replace("-", "_"), real(name))
        if have is None:
            raise metadata.PackageNotFoundError(name)
        return have

    monkeypatch.setattr(metadata, "version", version)


def fake_gpu(monkeypatch, name="Tesla T4", memory=15.8e9, capability=(7, 5)):
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda n, device=None, **more: empty(n, **more))
    card = SimpleNamespace(name=name, total_memory=memory)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda where: card)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where=None: capability)


def test_all_is_well_without_a_gpu(capsys):
    assert doctor.main() == 0
    out = capsys.readouterr().out
    assert "Ready." in out and "!!" not in out
    assert "no GPU" in out and "quick preset" in out
    assert (
        str(runtime._shelf()) in out.replace("\n      ", " ").replace(" ", "") or runtime._shelf()
    )


def test_it_looks_at_every_requirement_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = doctor.required()
    lines = {name + (f">={oldest}" if oldest else "") for name, oldest in wanted.items()}
    assert lines == set(project["dependencies"])
    assert project["requires-python"] == f">={'.'.join(map(str, doctor.OLDEST_PYTHON))}"
    for name in wanted:
        assert f"{name} {metadata.version(name)}" in said(GOOD)


def test_from_a_checkout_that_is_not_installed_it_reads_the_project_file(monkeypatch):
    installed = doctor.required()

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert doctor.required() == installed


def test_missing_and_old_packages_come_with_the_command_that_helps(monkeypatch, capsys):
    fake_versions(monkeypatch, safetensors=None, matplotlib="3.7.5", scipy="0.19")
    assert doctor.main() == 1
    out = " ".join(capsys.readouterr().out.split())
    assert 'safetensors is missing. Install it: python -m pip install "safetensors>=0.4"' in out
    assert "matplotlib 3.7.5 is too old. Upgrade it: python -m pip install --upgrade" in out
    assert 'install --upgrade "matplotlib>=3.8"' in out
    assert "2 things have to be put right first" in out
    assert "scipy 0.19" in said(GOOD), "no oldest version is asked"


def test_the_setup_cell_says_in_a_sentence_what_is_too_old(monkeypatch, recwarn):
    with matplotlib.rc_context():
        plot.setup()
        assert not recwarn, "nothing is, here"
        fake_versions(monkeypatch, ipywidgets="7.6.5", anywidget=None)
        plot.setup()
    old, missing = sorted(str(w.message) for w in recwarn)[::-1]
    assert re.fullmatch(r"ipywidgets 7.6.5 is too old. Upgrade it: .*ipywidgets>=7.7.*", old)
    assert missing.startswith("anywidget is missing. Install it: ")
    assert all(w.filename == __file__ for w in recwarn), "the cell is named, not the package"


@pytest.mark.parametrize("version", [None, "1.13.1+cu117"])
def test_without_a_torch_that_will_do_the_device_is_left_alone(monkeypatch, version):
    fake_versions(monkeypatch, torch=version)
    monkeypatch.setattr(doctor, "device", lambda: pytest.fail("asked torch"))
    assert "torch" in said(PROBLEM) and "not looked at" in said(NOTE)


def test_it_runs_where_nothing_is_installed():
    """A bare Python: every package is missing, and that is said instead of a traceback."""
    command = [sys.executable, "-S", "-m", "kexue", "doctor"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.count("is missing. Install it: python -m pip install") >= 10


def test_a_torch_that_does_not_load_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch is installed but does not start" in said(PROBLEM)


def test_python_too_old(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.4")
    assert "Python 3.10.4 is too old" in doctor.python().text
    assert doctor.python().level == PROBLEM


def test_a_t4_gets_the_full_preset_and_half_precision(monkeypatch):
    fake_gpu(monkeypatch)
    assert "GPU: Tesla T4, 16 GB, compute capability 7.5" in said(GOOD)
    assert "cuda, float16, the full preset" in said(GOOD)
    assert "memory runs out" not in said()


def test_a_newer_gpu_gets_bfloat16_and_a_small_one_a_warning(monkeypatch):
    fake_gpu(monkeypatch, name="Small", memory=6e9, capability=(8, 6))
    assert "cuda, bfloat16, the full preset" in said(GOOD)
    assert "KEXUE_PRESET=quick" in said(NOTE) and "memory runs out" in said(NOTE)


def test_variables_that_override_are_named(monkeypatch):
    monkeypatch.setenv("KEXUE_PRESET", "full")
    assert "KEXUE_PRESET=full asks for it" in said(GOOD)
    fake_gpu(monkeypatch)
    monkeypatch.setenv("KEXUE_DEVICE", "cpu")
    assert "KEXUE_DEVICE asks for the CPU" in said(NOTE)


@pytest.mark.parametrize("name, value", [("KEXUE_PRESET", "huge"), ("KEXUE_DEVICE", "gpu")])
def test_a_variable_that_cannot_be_met_stops_and_says_how_to_undo_it(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert f"{name}: got {value!r}" in said(PROBLEM) and f"unset {name}" in said(PROBLEM)


def test_why_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "built for CUDA 12.8 and finds none" in said(NOTE)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/" + name)
    assert "built without CUDA" in said(NOTE) and "get-started/locally" in said(NOTE)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20260819")
    assert "Change runtime type" in said(NOTE)
    fake_versions(monkeypatch, tqdm=None)
    assert "%pip install tqdm" in said(PROBLEM)


def test_little_memory_is_a_note(monkeypatch):
    sizes = {"SC_PHYS_PAGES": 500_000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(doctor.os, "sysconf", sizes.__getitem__)
    assert "only 2.0 GB of memory" in said(NOTE)


def test_outside_of_a_checkout_it_says_where_results_come_from(monkeypatch):
    monkeypatch.setattr(runtime, "_shelf", lambda: None)
    assert f"downloaded when a chapter asks for one, from {runtime.REPOSITORY}" in said(GOOD)


def test_the_command_line(capsys):
    assert __main__.main(["-h"]) == 0
    assert "python -m kexue doctor" in capsys.readouterr().out
    assert __main__.main([]) == __main__.main(["doctor", "x"]) == 2
    assert __main__.main(["doctor"]) == 0
