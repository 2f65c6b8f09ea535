"""Make a chapter's stored results again: ``make artifact CHAPTER=ddpm-bayes``.

Runs ``book/artifacts/<chapter>/make.py`` with the arguments that its run card names, then holds the
new files against the new card. ``ARGS="--preset smoke"`` only tries the script, in a few steps on
a CPU, into ``_build/artifacts/<chapter>``; ``ARGS="--out FOLDER"`` leaves the stored files alone.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHELF = ROOT / "book" / "artifacts"
TRIED = ROOT / "_build" / "artifacts"
LARGEST = 6_000_000  # bytes a file


def chapters() -> list[str]:
    """Return what can be made, by name."""
    return sorted(path.parent.name for path in SHELF.glob("*/make.py"))


def arguments_of(chapter: str) -> list[str]:
    """Return the arguments with which the stored files were made, from their card.

    Of a card that does not say, the script's own defaults are taken: no arguments.
    """
    from kexue.runtime import RunCard

    path = SHELF / chapter / "card.json"
    command = RunCard.from_json(path).metrics.get("command", "") if path.is_file() else ""
    _, found, rest = str(command).partition("make.py")
    return shlex.split(rest) if found else []


def plan(chapter: str, asked: list[str]) -> tuple[list[str], Path]:
    """Return the arguments to run with, and the folder that is written.

    Raises
    ------
    SystemExit
        If the chapter has no ``make.py``, or needs a GPU and there is none.
    """
    from kexue import runtime

    if chapter not in chapters():
        raise SystemExit(f"CHAPTER: got {chapter!r}, needs one of {', '.join(chapters())}")
    script = (SHELF / chapter / "make.py").read_text(encoding="utf-8")
    given = asked or arguments_of(chapter)
    smoke = re.search(r"--preset[ =](?!full)", " ".join(given)) is not None
    out = next((given[k + 1] for k, word in enumerate(given[:-1]) if word == "--out"), None)
    out = out or next((w.partition("=")[2] for w in given if w.startswith("--out=")), None)
    folder = Path(out) if out else SHELF / chapter
    if "--out" in script and out is None:
        folder = (TRIED if smoke else SHELF) / chapter
        given = [*given, "--out", str(folder)]
    card = SHELF / chapter / "card.json"
    on_cpu = card.is_file() and runtime.RunCard.from_json(card).device.startswith("CPU")
    if runtime.device().type == "cpu" and not smoke and not on_cpu and "--preset" in script:
        raise SystemExit(
            f"{chapter} was made on a GPU and there is none here: run this where there is one, or "
            f"try the script in a few steps: make artifact CHAPTER={chapter} ARGS='--preset smoke'"
        )
    return given, folder


def verified(folder: Path) -> list[str]:
    """Return what is wrong with the files in a folder, by its run card."""
    from kexue import _run_card
    from kexue.runtime import RunCard

    if not (folder / "card.json").is_file():
        return [f"{folder}: no run card was written"]
    card, wrong = RunCard.from_json(folder / "card.json"), []
    for name, digest in card.files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{path}: on the card, not there")
        elif _run_card.sha256(path) != digest:
            wrong.append(f"{path}: not the file that the card describes")
        elif path.stat().st_size > LARGEST:
            wrong.append(f"{path}: {path.stat().st_size:,} bytes, more than {LARGEST:,}")
    memory = f", {card.peak_memory_mb:,.0f} MB" if card.peak_memory_mb is not None else ""
    print(f"{folder}: {len(card.files)} files in {card.seconds:,.0f} s{memory} on {card.device}")
    if card.dirty and folder.is_relative_to(SHELF):
        print("The card says that tracked files had changes: commit first, make it again, commit.")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Make it; return the script's exit status, or 1 if its files are not as its card says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", help="the folder's name in book/artifacts")
    options, asked = parser.parse_known_args(arguments)
    given, folder = plan(options.chapter, asked)
    command = [sys.executable, str(SHELF / options.chapter / "make.py"), *given]
    print("python", *(shlex.quote(w) for w in command[1:]), flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        return done.returncode
    wrong = verified(folder)
    print("".join(f"{line}\n" for line in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
