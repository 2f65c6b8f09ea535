"""Mutate the arithmetic of kexue's numerical core and report, room by room, what its tests notice.

``python tools/mutate_core.py`` runs mutmut (a fork for each mutant, only the tests that reach it,
the fastest first) on copies of the rooms under ``_build/mutate-core``; the working tree is not
touched. mutmut is installed there, too, so that it need not be among the requirements of the book.
Interrupted, it goes on where it was if nothing changed since; ``--seconds`` stops a room after a
time and reports what was reached. Lines that only raise or word an error are left alone. ``--all``
also mutates strings, keywords and the like.

A mutant that survives is printed. If no test could ever tell it from the original, it belongs into
``mutate_core_equivalent.txt`` with the reason, and is then listed as equivalent.
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
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "_build" / "mutate-core"
ROOMS = ("schedule", "density", "diffusion")  # or one module of them, as density.mixture
RUNNER = Path(__file__).resolve().with_name("mutate_core_run.py")
EQUIVALENT = Path(__file__).resolve().with_name("mutate_core_equivalent.txt")
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
only_mutate = ["kexue/{room}/{module}.py"]
also_copy = ["kexue/", "tests/"]
pytest_add_cli_args_test_selection = {tests}
do_not_mutate_patterns = ['raise \\w+', '^\\s*f?"', '_check\\.']
track_dependencies = false
use_git_change_detection = false
"""
OPERATORS = {"+", "-", "*", "/", "//", "%", "@", "**", "<", "<=", ">", ">=", "==", "!="}
OPERATORS |= {"+=", "-=", "*=", "/="}
FATES = {0: "survived", 1: "killed", 3: "killed", 33: "not reached", None: "not run"}
UNDECIDED = ("timed out or crashed", "not reached", "not run")  # listed, and no part of the score


def main(arguments: list[str] | None = None) -> int:
    """Test the rooms and print a score for each; return 1 if a room was not tested at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=ROOMS, metavar="room")
    parser.add_argument("--seconds", type=float, help="limit a room")
    parser.add_argument("--all", action="store_true", help="mutate more than arithmetic")
    options = parser.parse_args(arguments)
    if unknown := {room for room in options.rooms if room.partition(".")[0] not in ROOMS}:
        parser.error(f"room: got {', '.join(sorted(unknown))}, needs one of {', '.join(ROOMS)}")
    tool, excused = install(), equivalents()
    failed = False
    for room in options.rooms:
        folder = prepare(room, options.all)
        run(folder, tool, options.seconds, options.all)
        fates, changes = read(folder), differences(folder)
        for name, fate in fates.items():
            if fate == "survived" and (function(name), changes[name][1]) in excused:
                fates[name] = "equivalent"
        failed |= not any(fate in ("killed", "survived") for fate in fates.values())
        arithmetic = {n: f for n, f in fates.items() if changes[n][0]}
        for module in sorted({n.rpartition(".")[0] for n in arithmetic}):
            part = {n: f for n, f in arithmetic.items() if n.rpartition(".")[0] == module}
            print(summary(module, part))
        print(summary(f"{room}, arithmetic", arithmetic))
        if options.all:
            print(summary(f"{room}, everything", fates))
        for name in (n for n, fate in arithmetic.items() if fate != "killed"):
            where, change = function(name), changes[name][1]
            print(f"    {arithmetic[name]}: {where}: {change}")
            if fates[name] == "equivalent":
                print(f"        {excused[where, change]}")
        print(end="", flush=True)
    return int(failed)


def function(mutant: str) -> str:
    """The dotted name of the function that a mutant is one of.

    >>> function("kexue.density.mixture.xǁGaussianMixtureǁlog_prob__mutmut_3")
    'kexue.density.mixture.GaussianMixture.log_prob'
    >>> function("kexue.schedule.base.x_su__mutmut_12")
    'kexue.schedule.base.su'
    """
    module, _, name = mutant.rpartition("__mutmut_")[0].rpartition(".")
    name = name.removeprefix("x_") if "ǁ" not in name else name.removeprefix("xǁ")
    return f"{module}.{name.replace('ǁ', '.')}"


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str], str]:
    """(function, change) -> the reason why no test can tell that mutant from the original.

    The file holds three lines an entry: the function, the change as it is printed, the reason.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) % 3:
        raise ValueError(f"{path.name}: got {len(lines)} lines, needs three an entry")
    return {(lines[i], lines[i + 1]): lines[i + 2] for i in range(0, len(lines), 3)}


def install() -> Path:
    """Install mutmut beside its work, once."""
    tool = WORK / "tool"
    if not tool.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tool)]
        subprocess.run([*command, *TOOL], check=True)
    return tool


def prepare(room: str, every: bool = False) -> Path:
    """Copy what the room's tests need, unless it is there unchanged; return the folder."""
    folder = WORK / room
    room, _, module = room.partition(".")
    tests = sorted((ROOT / "tests").glob(f"test_{room}*.py"))
    if not tests:
        raise FileNotFoundError(f"room: no tests/test_{room}*.py to run")
    tests.append(ROOT / "tests" / "conftest.py")
    state = hashlib.sha256(f"{every}{SETTINGS}".encode())
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
    text = SETTINGS.replace("{room}", room).replace("{module}", module or "*")
    text = text.replace("{tests}", names)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    stamp.write_text(state.hexdigest(), encoding="utf-8")
    return folder


def run(folder: Path, tool: Path, seconds: float | None, every: bool) -> None:
    """Test the mutants that were not tested yet, one at a time, for at most so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(tool), "OMP_NUM_THREADS": "1"}
    command = ["nice", "-n", "19", sys.executable, "-P", str(RUNNER), *["--all"][: int(every)]]
    options = {"cwd": folder, "env": environment, "check": False, "timeout": seconds}
    with open(folder / "log.txt", "a", encoding="utf-8") as log:
        try:
            subprocess.run(
                [*command, "run", "--max-children", "1"], stdout=log, stderr=log, **options
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
    count = Counter(fates.values())
    total = count["killed"] + count["survived"]
    share = f"{100 * count['killed'] / max(total, 1):.0f} %"
    text = f"{room}: {count['killed']} of {total} mutants killed ({share})"
    for fate in ("equivalent", *UNDECIDED):
        if count[fate]:
            text += f"; {count[fate]} {fate}"
    return text


if __name__ == "__main__":
    sys.exit(main())
