"""Colab's packages stay as they are: nothing that the book asks would make pip change one."""

import json
import subprocess
import urllib.error
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools import colab_freeze, test_colab_widgets
from tools.book import ROOT

KEPT = ("torch", "numpy", "ipywidgets", "ipykernel", "ipython", "anywidget")


def test_the_book_asks_for_nothing_that_colab_has_not():
    assert colab_freeze.misfits(colab_freeze.read()) == []


@pytest.mark.parametrize("name", KEPT)
def test_asking_for_more_than_colab_has_is_found(name):
    freeze = colab_freeze.read()
    have = freeze.packages[name]
    assert colab_freeze.changes([f"{name}>={have}"], freeze) == []
    newer = f"{name}>{have}"
    assert colab_freeze.changes([newer], freeze) == [f"{Requirement(newer)}: Colab has {have}"]
    assert colab_freeze.changes(["no-such-package"], freeze) == ["no-such-package: Colab has none"]


def test_the_installed_package_asks_what_the_project_file_says():
    """The wheel's own list, which is what pip reads on Colab."""
    listed = [r for r in metadata.requires("kexue") if "extra ==" not in r]
    assert set(map(Requirement, listed)) == set(map(Requirement, colab_freeze.asked()[:-1]))


def test_what_colab_has_agrees_with_itself():
    """Packages that the book asks for were installed there together: their own needs are met.

    Checked through the metadata of the same packages here, where these name the same package.
    """
    freeze = colab_freeze.read()
    for name in ("anywidget", "scikit-learn", "matplotlib", "sympy"):
        for need in map(Requirement, metadata.requires(name) or []):
            if need.marker is None:
                assert need.name.lower().replace("_", "-") in freeze.packages, (name, str(need))


def test_the_widget_test_uses_the_same_set():
    packages = colab_freeze.read().packages
    pins = dict(pin.split("==") for pin in test_colab_widgets.PINS)
    assert {"ipython", "ipykernel", "ipywidgets", "anywidget", "traitlets"} <= set(pins)
    assert pins == {name: packages[name] for name in pins}


def test_the_file_names_its_date_and_python():
    freeze = colab_freeze.read()
    assert Version(freeze.python) >= Version("3.13") and freeze.date >= "2026-08-19"
    assert len(freeze.packages) > 500


def backend_info(folder, freeze):
    """A checkout of the repository in which Colab publishes its list."""
    (folder / "pip-freeze.txt").write_text(freeze, encoding="utf-8")
    (folder / "os-info.txt").write_text("Ubuntu 22.04.5 LTS\nPython 3.14.1\n", encoding="utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "list"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return folder


def test_a_new_list_is_written_and_what_changed_is_said(tmp_path, capsys):
    lines = [f"{name}=={version}" for name, version in colab_freeze.read().packages.items()]
    lines = [line for line in lines if not line.startswith(("torch==", "numpy=="))]
    lines += ["torch @ https://x/cpu/torch-3.0.0%2Bcpu-cp314-cp314-linux.whl", "numpy==2.5.0"]
    source = backend_info(tmp_path, "# comment\n" + "\n".join(lines))
    out = tmp_path / "freeze.txt"
    out.write_text(colab_freeze.FILE.read_text(encoding="utf-8"), encoding="utf-8")
    assert colab_freeze.main(["--source", str(source), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "torch 3.0.0 (was 2.11.0)" in said and "Python 3.14.1" in said
    made = colab_freeze.read(out)
    assert (made.packages["torch"], made.python) == ("3.0.0", "3.14.1")


def test_a_list_that_does_not_fit_fails(tmp_path, capsys):
    source = backend_info(tmp_path, "torch==2.1.0\nnumpy==1.26.0\n")
    assert colab_freeze.main(["--source", str(source), "--out", str(tmp_path / "f.txt")]) == 1
    assert "torch>=2.4: Colab has 2.1.0" in capsys.readouterr().out


def test_it_is_fetched_from_where_colab_publishes_it(monkeypatch):
    answers = {
        colab_freeze.RAW + "pip-freeze.txt": "torch==2.12.0\n",
        colab_freeze.RAW + "os-info.txt": "Python 3.13.15\n",
        colab_freeze.COMMITS + "&per_page=1": json.dumps(
            [{"sha": "abcdef123", "commit": {"committer": {"date": "2026-11-01T00:00:00Z"}}}]
        ),
    }
    monkeypatch.setattr(colab_freeze, "download", answers.__getitem__)
    text = colab_freeze.fetched(None)
    assert "backend-info abcdef1 (2026-11-01)" in text and text.endswith("\ntorch==2.12.0\n")


def test_offline_the_stored_set_stays(tmp_path, monkeypatch):
    def offline(url):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(colab_freeze, "download", offline)
    out = tmp_path / "freeze.txt"
    out.write_text("kept", encoding="utf-8")
    with pytest.raises(SystemExit, match="no network"):
        colab_freeze.main(["--out", str(out)])
    assert out.read_text(encoding="utf-8") == "kept"


def test_the_clean_room_is_documented_and_records_what_it_ran():
    assert "clean-room" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
