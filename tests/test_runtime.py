"""Where a chapter runs, and that what it leaves behind can be trusted."""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kexue import _run_card, runtime

ROOT = Path(runtime.__file__).parents[1]


def card(**changes) -> runtime.RunCard:
    fields = {"seed": 0, "seconds": 1.5, "preset": "quick", **changes}
    return runtime.run_card(**fields)


# Device, precision, preset


@pytest.fixture
def bare(monkeypatch):
    """No environment variables, no GPU."""
    for name in ("KEXUE_DEVICE", "KEXUE_PRESET", "KEXUE_REVISION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return monkeypatch


@pytest.fixture
def gpu(bare):
    """As if there were a GPU of this compute capability."""

    def pretend(capability):
        bare.setattr(runtime, "device", lambda: torch.device("cuda"))
        bare.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    return pretend


def test_without_a_gpu_everything_is_quick_and_on_the_cpu(bare):
    assert runtime.device() == torch.device("cpu")
    assert runtime.precision() == torch.float32
    assert runtime.preset(quick=1, full=2) == 1


@pytest.mark.parametrize(
    "capability, dtype",
    [
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((10, 0), torch.bfloat16),
    ],
)
def test_on_a_gpu_the_preset_is_full_and_the_precision_half(gpu, capability, dtype):
    gpu(capability)
    assert runtime.preset(quick=1, full=2) == 2
    assert runtime.precision() == dtype


def test_the_environment_overrides(bare):
    bare.setenv("KEXUE_PRESET", "full")
    bare.setenv("KEXUE_DEVICE", "meta")
    assert runtime.preset(quick=1, full=2) == 2
    assert runtime.device() == torch.device("meta")


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:x", "GPU"])
def test_a_device_that_is_not_there_is_named(bare, name):
    bare.setenv("KEXUE_DEVICE", name)
    with pytest.raises(ValueError, match=f"^KEXUE_DEVICE: got '{name}', needs a device"):
        runtime.device()


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1))
def test_a_preset_of_another_name_is_refused(name):
    if name in ("quick", "full"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEXUE_PRESET", name)
        with pytest.raises(ValueError, match=r"^KEXUE_PRESET: got .*, needs one of 'quick'"):
            runtime.preset(quick=1, full=2)


# Seeds


def draw(generator) -> tuple:
    numbers = random.random(), np.random.rand(), torch.rand(()).item()
    return (*numbers, torch.rand((), generator=generator).item())


@given(st.integers(0, 2**32 - 1))
def test_one_seed_one_stream_in_every_generator(seed):
    first = draw(runtime.seed_everything(seed))
    assert draw(runtime.seed_everything(seed)) == first
    assert all(a != b for a, b in zip(first, draw(runtime.seed_everything(seed ^ 1)), strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, None, "0", True])
def test_a_seed_that_not_all_can_take_is_refused(seed):
    with pytest.raises((TypeError, ValueError), match=r"^seed: got "):
        runtime.seed_everything(seed)


# Progress


@given(st.lists(st.integers()))
def test_progress_changes_nothing(items):
    assert list(runtime.progress(items)) == items
    assert list(runtime.progress(iter(items), "words", total=len(items))) == items


@pytest.mark.parametrize("quiet, seconds, seen", [("", 0, 0), ("", 2.5, 1), ("1", 2.5, 0)])
def test_progress_shows_after_two_seconds_unless_quiet(monkeypatch, capsys, quiet, seconds, seen):
    monkeypatch.setenv("KEXUE_QUIET", quiet)
    now, clock = time.time(), iter(range(1000))
    monkeypatch.setattr("tqdm.std.time", lambda: now + next(clock) * seconds)
    assert sum(runtime.progress(range(4), "adding")) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert ("adding" in err) == bool(seen)
    assert seen or err == ""


@pytest.mark.parametrize("arguments", [(None,), (3,), ([1], "", -1), ([1], "", 1.5)])
def test_progress_refuses_what_cannot_be_looped_over(arguments):
    with pytest.raises((TypeError, ValueError), match=r"^(iterable|total): got .*, needs "):
        runtime.progress(*arguments)


# Run cards

CARD = card()
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(st.text(), plain))
def test_a_card_comes_back_from_its_file(metrics):
    made = replace(CARD, metrics=metrics)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "card.json"
        text = made.to_json(path)
        assert path.read_text("utf-8") == text
        assert runtime.RunCard.from_json(path) == made


def test_a_card_says_what_ran(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc")
    made = card(files=[tmp_path / "weights"], precision=torch.bfloat16, loss=torch.tensor(0.5))
    assert made.torch == torch.__version__
    assert made.python == ".".join(map(str, sys.version_info[:3]))
    assert made.precision == "bfloat16"
    assert made.metrics == {"loss": 0.5}
    # The digest that FIPS 180-2 prints for "abc".
    assert made.files["weights"] == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made.date)
    assert made.peak_memory_mb > 20  # megabytes: torch alone is larger


def test_a_card_names_the_commit(bare):
    head = _run_card.command("git", "-C", str(ROOT), "rev-parse", "HEAD")
    changes = _run_card.command("git", "-C", str(ROOT), "diff", "HEAD", "--quiet")
    made = card()
    assert made.revision == head
    assert made.dirty == (None if head is None else changes is None)
    bare.setenv("KEXUE_REVISION", "1234567-dirty")
    assert (card().revision, card().dirty) == ("1234567", True)
    bare.setenv("KEXUE_REVISION", "1234567")
    assert (card().revision, card().dirty) == ("1234567", False)


def test_a_card_shows_itself_the_same_every_time(tmp_path):
    made = replace(CARD, metrics={"a|b": "<b>", "loss": 1 / 3}, files={"w.safetensors": "ab" * 32})
    made.to_json(tmp_path / "card.json")
    again = runtime.RunCard.from_json(tmp_path / "card.json")
    assert again._repr_html_() == made._repr_html_()
    assert again._repr_markdown_() == made._repr_markdown_()
    assert "<b>" not in made._repr_html_() and "&lt;b&gt;" in made._repr_html_()
    assert "color" not in made._repr_html_() and "style" not in made._repr_html_()
    rows = made._repr_markdown_().splitlines()
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "0.333333" in made._repr_html_() and "sha256 abababababab" in made._repr_html_()


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"seconds": -1}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": "1"}, "seconds"),
        ({"seed": -1}, "seed"),
        ({"preset": "fast"}, "preset"),
        ({"loss": float("nan")}, "loss"),
        ({"loss": object()}, "loss"),
        ({"loss": torch.tensor([1.0, torch.inf])}, "loss"),
        ({"files": [Path("a/w"), Path("b/w")]}, "files"),
        ({"files": "weights"}, "files"),
    ],
)
def test_a_card_refuses_what_it_cannot_hold(changes, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w").touch()
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got "):
        card(**changes)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"seed": 1}', "\xff"])
def test_a_file_that_is_no_card_is_refused(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"^path: "):
        runtime.RunCard.from_json(path)
    stored = {**json.loads(CARD.to_json()), "extra": 1}
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"unknown \['extra'\]"):
        runtime.RunCard.from_json(path)
    path.write_text(json.dumps({**json.loads(CARD.to_json()), "files": ["w.bin"]}))
    with pytest.raises(ValueError, match=r"has files = \['w.bin'\], needs an object"):
        runtime.RunCard.from_json(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "card.json"
    CARD.to_json(path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        replace(CARD, seed=1).to_json(path)
    assert runtime.RunCard.from_json(path) == CARD
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]


# Artifacts, in a checkout and from the repository


def shelve(shelf: Path, content=b"weights") -> Path:
    """An artifact 'toy' with one file and its card."""
    (shelf / "toy").mkdir(parents=True)
    (shelf / "toy" / "w.bin").write_bytes(content)
    card(files=[shelf / "toy" / "w.bin"]).to_json(shelf / "toy" / "card.json")
    return shelf / "toy"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    toy = shelve(tmp_path / "book" / "artifacts")
    monkeypatch.setattr(runtime, "_shelf", lambda: tmp_path / "book" / "artifacts")
    return toy


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No checkout; the repository is a folder, asked by URL like any other."""
    monkeypatch.setenv("KEXUE_REVISION", "abc123")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "_shelf", lambda: None)
    monkeypatch.setattr(runtime, "REPOSITORY", (tmp_path / "remote").as_uri())
    return shelve(tmp_path / "remote" / "raw" / "abc123" / "book" / "artifacts")


def test_an_artifact_in_a_checkout_is_the_file_there(checkout):
    assert runtime.artifact("toy", "w.bin") == checkout / "w.bin"
    assert runtime.artifact("toy", "card.json") == checkout / "card.json"


def test_an_artifact_with_one_bit_changed_is_refused(checkout):
    (checkout / "w.bin").write_bytes(b"weightr")
    with pytest.raises(ValueError, match=r"w.bin: got sha256 .*, needs .*restore it with git"):
        runtime.artifact("toy", "w.bin")


def test_an_artifact_that_is_not_there_says_how_to_get_it(checkout):
    with pytest.raises(FileNotFoundError, match=r"slug: got 'tow', needs .*\['toy'\]"):
        runtime.artifact("tow", "w.bin")
    with pytest.raises(ValueError, match=r"name: got 'v.bin', needs one of 'w.bin'"):
        runtime.artifact("toy", "v.bin")
    (checkout / "w.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"python book/artifacts/toy/make.py"):
        runtime.artifact("toy", "w.bin")


@pytest.mark.parametrize("name", ["", "..", "../w.bin", "a/b", "/etc/passwd", "a\0b", ".w", "a\n"])
def test_an_artifact_is_never_outside_its_folder(checkout, name):
    for arguments in ((name, "w.bin"), ("toy", name)):
        with pytest.raises(ValueError, match=r"^(slug|name): got .*, needs a plain name"):
            runtime.artifact(*arguments)
    with pytest.raises(TypeError, match=r"^name: got PosixPath, needs a string"):
        runtime.artifact("toy", Path("w.bin"))


def test_an_artifact_is_downloaded_once(elsewhere, tmp_path):
    path = runtime.artifact("toy", "w.bin")
    assert path.read_bytes() == b"weights" and (tmp_path / "cache") in path.parents
    for file in elsewhere.iterdir():
        file.unlink()  # the repository is gone: the copy serves
    assert runtime.artifact("toy", "w.bin") == path


def test_a_damaged_download_is_refused_and_fetched_again(elsewhere):
    good = (elsewhere / "w.bin").read_bytes()
    (elsewhere / "w.bin").write_bytes(good[:-1])
    with pytest.raises(ValueError, match=r"w.bin: got sha256 .*call again"):
        runtime.artifact("toy", "w.bin")
    (elsewhere / "w.bin").write_bytes(good)
    assert runtime.artifact("toy", "w.bin").read_bytes() == good


def test_offline_it_says_what_to_do(elsewhere):
    (elsewhere / "card.json").unlink()
    with pytest.raises(ConnectionError, match=r"could not be downloaded.*checkout of.*by hand at"):
        runtime.artifact("toy", "w.bin")


def test_what_the_repository_does_not_have_is_not_a_network_error(elsewhere, monkeypatch):
    import urllib.error
    import urllib.request

    def answer(url, timeout):
        raise urllib.error.HTTPError(url, code, "said so", None, None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    code = 404
    with pytest.raises(FileNotFoundError, match=r"is not there: no artifact toy/card.json"):
        runtime.artifact("toy", "w.bin")
    code = 503
    with pytest.raises(ConnectionError, match=r"answered HTTP Error 503.*try again later"):
        runtime.artifact("toy", "w.bin")


def test_the_checkout_is_found_from_the_package_and_from_a_folder_inside(tmp_path):
    if (ROOT / "book" / "artifacts").is_dir():
        assert runtime._shelf() == ROOT / "book" / "artifacts"
    (tmp_path / "book" / "artifacts").mkdir(parents=True)
    (tmp_path / "book" / "diffusion").mkdir()
    (tmp_path / "kexue").mkdir()
    # A copy of the package outside any checkout, asked from a chapter's folder.
    code = (
        "import sys, pathlib; from kexue import runtime; runtime.__file__ = '/nowhere/runtime.py'\n"
        "print(runtime._shelf())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "book" / "diffusion",
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str((tmp_path / "book" / "artifacts").resolve())


STORED = sorted((ROOT / "book" / "artifacts").glob("*/card.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.parent.name)
def test_every_stored_artifact_is_the_one_on_its_card(path):
    stored = runtime.RunCard.from_json(path)
    assert stored.files, "a card without files vouches for nothing"
    for name in stored.files:
        assert runtime.artifact(path.parent.name, name).stat().st_size <= 6e6
    assert (path.parent / "make.py").is_file(), "an artifact keeps the script that makes it again"


def test_the_repository_is_named_as_in_the_books_configuration():
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    assert config["repository"]["url"] == runtime.REPOSITORY


# -- arrays that are stored ----------------------------------------------------------------------


def test_an_npz_depends_on_its_arrays_alone(tmp_path):
    arrays = dict(x=np.arange(6.0).reshape(2, 3).T, counts=np.array([1, 2], np.uint16))
    first, second = tmp_path / "a" / "one.npz", tmp_path / "two.npz"
    runtime.write_npz(first, **arrays)
    runtime.write_npz(second, **arrays)
    assert first.read_bytes() == second.read_bytes()
    back = np.load(first)
    assert back.files == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    runtime.write_npz(second, **{**arrays, "x": arrays["x"] + 1})
    assert first.read_bytes() != second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "two.npz"]  # nothing half-written


@pytest.mark.parametrize("arrays", [{}, {"x": np.array([None])}])
def test_an_npz_of_nothing_or_of_objects_is_refused_and_leaves_no_file(tmp_path, arrays):
    with pytest.raises(ValueError):
        runtime.write_npz(tmp_path / "x.npz", **arrays)
    assert list(tmp_path.iterdir()) == []
