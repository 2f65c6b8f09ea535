"""``make artifact``: the arguments are the card's, the files are held against the new card."""

import json
import shutil

import pytest

from kexue import runtime
from tools import artifact
from tools.book import ROOT

MAKE = """
import argparse, hashlib, json, sys
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, default=Path(__file__).parent)
parser.add_argument("--preset", default="full")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
text = json.dumps(vars(args), default=str)
(args.out / "metrics.json").write_text(text)
card = json.loads(Path(__file__).with_name("card.json").read_text())
card["files"] = {"metrics.json": hashlib.sha256(text.encode()).hexdigest()}
card["metrics"] = {"command": f"python book/artifacts/toy/make.py --seed {args.seed}"}
(args.out / "card.json").write_text(json.dumps(card))
sys.exit(7 if args.seed == 13 else 0)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An artifact of its own, once made with seed 5, as if on a GPU."""
    monkeypatch.setattr(artifact, "SHELF", tmp_path / "shelf")
    monkeypatch.setattr(artifact, "TRIED", tmp_path / "tried")
    folder = tmp_path / "shelf" / "toy"
    folder.mkdir(parents=True)
    (folder / "make.py").write_text(MAKE, encoding="utf-8")
    stored = json.loads((ROOT / "book/artifacts/ddpm-bayes/card.json").read_text(encoding="utf-8"))
    stored |= {"files": {}, "metrics": {"command": "python book/artifacts/toy/make.py --seed 5"}}
    (folder / "card.json").write_text(json.dumps(stored), encoding="utf-8")
    monkeypatch.setenv("KEXUE_DEVICE", "cpu")
    return folder


def on_gpu(monkeypatch):
    """Let this machine have a GPU, as far as the plan can see."""
    gpu = type("Device", (), {"type": "cuda"})()
    monkeypatch.setattr(runtime, "device", lambda: gpu)


def test_it_is_made_as_the_card_says_and_where_it_is_stored(toy, monkeypatch, capfd):
    on_gpu(monkeypatch)
    assert artifact.main(["toy"]) == 0
    made = json.loads((toy / "metrics.json").read_text())
    assert (made["seed"], made["preset"], made["out"]) == (5, "full", str(toy))
    assert "1 files in 256 s, 15,226 MB on NVIDIA H100" in capfd.readouterr().out
    assert artifact.arguments_of("toy") == ["--seed", "5"], "the next run is the same again"


def test_without_a_gpu_it_says_so_and_what_can_be_done(toy):
    before = (toy / "card.json").read_bytes()
    with pytest.raises(SystemExit, match=r"made on a GPU and there is none here.*--preset smoke"):
        artifact.main(["toy"])
    assert (toy / "card.json").read_bytes() == before


def test_a_trial_leaves_the_stored_files_alone(toy):
    before = (toy / "card.json").read_bytes()
    assert artifact.main(["toy", "--preset", "smoke"]) == 0
    assert (toy / "card.json").read_bytes() == before and not (toy / "metrics.json").exists()
    assert (artifact.TRIED / "toy" / "metrics.json").is_file()


def test_another_folder_can_be_asked_for(toy, tmp_path):
    assert artifact.main(["toy", "--preset=smoke", f"--out={tmp_path / 'here'}"]) == 0
    assert (tmp_path / "here" / "card.json").is_file() and not artifact.TRIED.exists()


def test_what_was_made_on_a_cpu_is_made_on_a_cpu(toy):
    card = json.loads((toy / "card.json").read_text()) | {"device": "CPU (x86_64), 1 thread(s)"}
    (toy / "card.json").write_text(json.dumps(card))
    assert artifact.main(["toy"]) == 0


def test_a_script_that_fails_and_files_that_are_not_the_cards(toy, monkeypatch, capsys):
    on_gpu(monkeypatch)
    assert artifact.main(["toy", "--seed", "13"]) == 7
    assert artifact.main(["toy", "--seed", "1"]) == 0
    (toy / "metrics.json").write_text("{}")
    assert artifact.verified(toy) == [
        f"{toy / 'metrics.json'}: not the file that the card describes"
    ]
    (toy / "metrics.json").unlink()
    assert artifact.verified(toy) == [f"{toy / 'metrics.json'}: on the card, not there"]
    monkeypatch.setattr(artifact, "LARGEST", 5)
    assert artifact.main(["toy"]) == 1
    assert "more than 5" in capsys.readouterr().out
    shutil.rmtree(toy)
    assert artifact.verified(toy) == [f"{toy}: no run card was written"]


def test_an_unknown_chapter_lists_the_known(toy):
    with pytest.raises(SystemExit, match=r"CHAPTER: got 'none', needs one of toy"):
        artifact.main(["none"])


def test_every_stored_artifact_has_a_plan(monkeypatch):
    """The real ones: each has a make.py that takes the arguments on its card."""
    on_gpu(monkeypatch)
    names = artifact.chapters()
    stored = {path.parent.name for path in artifact.SHELF.glob("*/card.json")}
    assert stored <= set(names)
    for name in stored:
        given, folder = artifact.plan(name, [])
        assert folder == artifact.SHELF / name
        script = (folder / "make.py").read_text(encoding="utf-8")
        assert [w for w in given if w.startswith("--") and w not in script] == [], (name, given)
