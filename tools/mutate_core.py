"""Mutate the arithmetic of kexue's numerical core and report, room by room, what its tests notice.

``python tools/mutate_core.py`` runs mutmut (a fork for each mutant, only the tests that reach it)
on copies of the rooms under ``_build/mutate-core``; the working tree is not touched. mutmut is
installed there, too, so that it need not be among the requirements of the book. Interrupted, it
goes on where it was if nothing changed since; ``--seconds`` stops a room after a time and reports
what was reached. Lines that only raise or word an error are left alone.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "_build" / "mutate-core"
ROOMS = ("schedule", "density", "diffusion")
TOOL = (
    "mutmut==3.8.1", "libcst==1.9.0", "rich==15.0.0", "setproctitle==1.3.8", "textual==8.2.8",
)  # fmt: skip
SETTINGS = """
[tool.pytest.ini_options]
addopts = "-q -p no:cacheprovider"
filterwarnings = ["error"]
markers = ["gpu: needs a CUDA device"]

[tool.mutmut]
source_paths = ["kexue/"]
only_mutate = ["kexue/{room}/*", "kexue/{room}.py"]
also_copy = ["kexue/", "tests/"]
pytest_add_cli_args_test_selection = {tests}
do_not_mutate_patterns = ['raise \\w+', '^\\s*f?"', '_check\\.']
track_dependencies = false
use_git_change_detection = false
"""
OPERATORS = {"+", "-", "*", "/", "//", "%", "@", "**", "<", "<=", ">", ">=", "==", "!="}
FATES = {0: "survived", 1: "killed", 3: "killed", 33: "not reached", None: "not run"}


def main(arguments: list[str] | None = None) -> int:
    """Test the rooms and print a score for each; return 1 if a room was not tested at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=ROOMS, metavar="room")
    parser.add_argument("--seconds", type=float, help="limit a room")
    parser.add_argument("--show", action="store_true", help="print the arithmetic that survives")
    options = parser.parse_args(arguments)
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"room: got {', '.join(sorted(unknown))}, needs one of {', '.join(ROOMS)}")
    tool = install()
    empty = False
    for room in options.rooms:
        folder = prepare(room)
        run(folder, tool, options.seconds)
        fates, changes = read(folder), differences(folder)
        empty |= not any(fate in ("killed", "survived") for fate in fates.values())
        print(summary(f"{room}, arithmetic", {n: f for n, f in fates.items() if changes[n][0]}))
        print(summary(f"{room}, everything", fates), flush=True)
        if options.show:
            for name in (n for n, fate in fates.items() if fate == "survived" and changes[n][0]):
                print(f"    {name.split('__mutmut')[0]}: {changes[name][1]}", flush=True)
    return int(empty)


def install() -> Path:
    """Install mutmut beside its work, once."""
    tool = WORK / "tool"
    if not tool.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tool)]
        subprocess.run([*command, *TOOL], check=True)
    return tool


def prepare(room: str) -> Path:
    """Copy what the room's tests need, unless it is there unchanged; return the folder."""
    folder = WORK / room
    tests = sorted((ROOT / "tests").glob(f"test_{room}*.py"))
    if not tests:
        raise FileNotFoundError(f"room: no tests/test_{room}*.py to run")
    tests.append(ROOT / "tests" / "conftest.py")
    state = hashlib.sha256()
    for path in [*sorted((ROOT / "kexue").rglob("*.py")), *tests]:
        state.update(path.read_bytes())
    stamp = folder / "state.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state.hexdigest():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "vendor")
    shutil.copytree(ROOT / "kexue", folder / "kexue", ignore=ignore)
    (folder / "tests").mkdir()
    for path in tests:
        shutil.copy(path, folder / "tests")
    names = json.dumps([f"tests/{path.name}" for path in tests[:-1]])
    text = SETTINGS.replace("{room}", room).replace("{tests}", names)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    stamp.write_text(state.hexdigest(), encoding="utf-8")
    return folder


def mutmut(folder: Path, tool: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run a mutmut command in the folder, one thread, at the lowest priority."""
    environment = {**os.environ, "PYTHONPATH": str(tool), "OMP_NUM_THREADS": "1"}
    command = ["nice", "-n", "19", sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False, **options)


def run(folder: Path, tool: Path, seconds: float | None) -> None:
    """Test the mutants that were not tested yet, for at most so many seconds."""
    with open(folder / "log.txt", "a", encoding="utf-8") as log:
        try:
            mutmut(
                folder, tool, "run", "--max-children", "1", timeout=seconds, stdout=log, stderr=log
            )
        except subprocess.TimeoutExpired:
            print(f"{folder.name}: stopped after {seconds:g} s; run it again to go on")


def read(folder: Path) -> dict[str, str]:
    """Return mutant -> fate from mutmut's own files."""
    fates = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        codes = json.loads(path.read_text(encoding="utf-8")).get("exit_code_by_key", {})
        fates |= {name: FATES.get(code, "timed out or crashed") for name, code in codes.items()}
    return fates


def differences(folder: Path) -> dict[str, tuple[bool, str]]:
    """Return mutant -> (is its change one of arithmetic?, the change in words).

    Arithmetic: only numbers, + - * / ** // % @ and comparisons changed. The rest changes strings,
    keywords, types, devices or puts None in place of a value.
    """
    found = {}
    for path in sorted((folder / "mutants" / "kexue").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "__mutmut_orig" not in text:
            continue
        module = ".".join(path.relative_to(folder / "mutants").with_suffix("").parts)
        code = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
                code[node.name], node.name = node, "f"
        for name, node in code.items():
            stem, _, number = name.rpartition("__mutmut_")
            if number.isdigit():
                origin = ast.unparse(code[stem + "__mutmut_orig"])
                found[f"{module.removesuffix('.__init__')}.{name}"] = compare(
                    origin, ast.unparse(node)
                )
    return found


def compare(old: str, new: str) -> tuple[bool, str]:
    """Whether two sources differ in arithmetic only, and how.

    >>> compare("y = a + 2 * b", "y = a - 2 * b")
    (True, 'y = a + 2 * b  ->  y = a - 2 * b')
    >>> compare("y = f(a, 2)", "y = f(a, None)")[0]
    False
    """
    tokens = [
        [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline)]
        for text in (old, new)
    ]
    matcher = difflib.SequenceMatcher(None, *tokens, autojunk=False)
    changed = {
        token
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag != "equal"
        for token in [*tokens[0][a:b], *tokens[1][c:d]]
    }
    arithmetic = all(token in OPERATORS or token[:1].isdigit() for token in changed)
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    sides = {"-": [], "+": []}
    for line in lines:
        if line[0] in sides:
            sides[line[0]].append(line[2:].strip())
    return arithmetic, "  ->  ".join(" ".join(side) for side in sides.values())


def summary(room: str, fates: dict[str, str]) -> str:
    """One line: the score and what it leaves out.

    >>> summary("a", {"1": "killed", "2": "survived", "3": "not reached"})
    'a: 1 of 2 mutants killed (50 %); 1 not reached'
    """
    killed = sum(fate in ("killed", "timed out or crashed") for fate in fates.values())
    total = killed + sum(fate == "survived" for fate in fates.values())
    text = f"{room}: {killed} of {total} mutants killed ({100 * killed / max(total, 1):.0f} %)"
    for fate in ("timed out or crashed", "not reached", "not run"):
        if count := sum(f == fate for f in fates.values()):
            text += f"; {count} {fate}"
    return text


if __name__ == "__main__":
    sys.exit(main())
