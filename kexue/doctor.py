"""What a chapter will find on this machine: ``python -m kexue doctor``.

Says which device and preset the chapters will get, what is missing or too old and how to install
it, in words for someone who has not done this before. Needs nothing but Python, changes nothing and
asks no other machine: it also runs where torch is missing, and offline.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import textwrap
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kexue import __version__

__all__ = ["Finding", "examine", "main"]

GOOD, NOTE, PROBLEM = "ok", "note", "problem"
SIGNS = {GOOD: "  ok  ", NOTE: "  --  ", PROBLEM: "  !!  "}
OLDEST_PYTHON = (3, 11)
GPU_MEMORY = 15e9  # bytes: what the full presets were made for (a T4 has it)
MEMORY = 3e9  # bytes: what a chapter may need on a CPU, with room to spare


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``ok``, a ``note``, or a ``problem`` that stops chapters."""

    level: str
    text: str


def examine() -> list[Finding]:
    """Look at Python, the packages, the device, the memory and where stored results come from."""
    found = [python(), *packages()]
    if any(f.level == PROBLEM and re.match(r"(torch|numpy)\b", f.text) for f in found):
        return [*found, Finding(NOTE, "the device: not looked at, it needs torch and numpy")]
    found += device()
    broken = any(f.text.startswith("torch is installed but") for f in found)
    return found if broken else [*found, *memory(), results()]


def python() -> Finding:
    """Python itself."""
    have, need = platform.python_version(), ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        more = f"the book needs {need} or newer: install one from https://www.python.org/downloads"
        return Finding(PROBLEM, f"Python {have} is too old; {more}")
    return Finding(GOOD, f"Python {have}")


def required() -> dict[str, str]:
    """The packages that ``kexue`` needs, with the oldest version of each that will do."""
    try:
        lines = metadata.requires("kexue") or []
    except metadata.PackageNotFoundError:  # run from a checkout that was not installed
        import tomllib

        project = Path(__file__).parents[1] / "pyproject.toml"
        text = project.read_text(encoding="utf-8") if project.is_file() else "[project]"
        lines = tomllib.loads(text)["project"].get("dependencies", [])
    wanted = (re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", w) for w in lines if "extra ==" not in w)
    return {w[1]: w[2] or "" for w in wanted if w}


def packages() -> list[Finding]:
    """The packages: one line for those that will do, one for each that is missing or too old."""
    good, found = [], []
    for name, oldest in required().items():
        wanted = f'"{name}>={oldest}"' if oldest else name
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(Finding(PROBLEM, f"{name} is missing. Install it: {pip(wanted)}"))
            continue
        if older(have, oldest):
            text = f"{name} {have} is too old. Upgrade it: {pip('--upgrade ' + wanted)}"
            found.append(Finding(PROBLEM, text))
        else:
            good.append(f"{name} {have}")
    return [Finding(GOOD, ", ".join(good)), *found] if good else found


def older(have: str, oldest: str) -> bool:
    """Return whether a version is older than another, by its numbers.

    >>> older("2.4.0+cpu", "2.4"), older("2.10", "2.4"), older("1.13.1", "2.4"), older("1", "")
    (False, False, True, False)
    """
    numbers = [
        [int(n) for n in re.match(r"[\d.]*", v.partition("+")[0])[0].split(".") if n]
        for v in (have, oldest)
    ]
    size = max(map(len, numbers))
    left, right = (n + [0] * (size - len(n)) for n in numbers)
    return left < right


def pip(what: str) -> str:
    """The command that installs something, for where this runs."""
    return f"%pip install {what}" if on_colab() else f"python -m pip install {what}"


def on_colab() -> bool:
    """Return whether this is a Colab runtime (a command there does not import google.colab)."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def device() -> list[Finding]:
    """The device, the preset and the precision that the chapters will take."""
    try:
        import torch

        from kexue import runtime
    except (ImportError, OSError) as error:  # OSError: a library that torch brings does not load
        text = f"torch is installed but does not start ({error}). Install it anew: "
        return [Finding(PROBLEM, text + pip("--force-reinstall torch"))]
    try:
        where = runtime.device()
        size = runtime.preset("quick", "full")
        precision = str(runtime.precision()).removeprefix("torch.")
    except ValueError as error:
        name = str(error).partition(":")[0]
        text = f"{error}. To let the book choose: unset {name}, or del os.environ['{name}']"
        return [Finding(PROBLEM, text)]
    asked = [f"{v}={os.environ[v]}" for v in ("KEXUE_DEVICE", "KEXUE_PRESET") if os.environ.get(v)]
    because = f" ({', '.join(asked)} asks for it)" if asked else ""
    if where.type == "cuda":
        card = torch.cuda.get_device_properties(where)
        major, minor = torch.cuda.get_device_capability(where)
        held = f"{card.total_memory / 1e9:.0f} GB, compute capability {major}.{minor}"
        found = [Finding(GOOD, f"GPU: {card.name}, {held}")]
        if size == "full" and card.total_memory < GPU_MEMORY * 0.9:
            text = f"the full preset was made for {GPU_MEMORY / 1e9:.0f} GB; if memory runs out, "
            found.append(Finding(NOTE, f"{text}restart with KEXUE_PRESET=quick"))
    else:
        found = [Finding(NOTE, no_gpu())] if where.type == "cpu" else []
    if size == "quick":
        text = "quick preset: smaller experiments, a minute or two; what took a GPU is shown from "
        text += "stored results. KEXUE_PRESET=full runs the large ones here, slowly"
    else:
        text = "full preset: the experiments as printed. KEXUE_PRESET=quick runs smaller ones"
    return [*found, Finding(GOOD, f"chapters will use {where}, {precision}, the {text}{because}")]


def no_gpu() -> str:
    """Why torch sees no GPU here, and what to do if there should be one."""
    import torch

    cores = f"no GPU; {os.cpu_count()} CPU core{'s' if os.cpu_count() != 1 else ''}"
    if on_colab():
        return f"{cores}. To get one: Runtime > Change runtime type > T4 GPU, then run all again"
    if torch.cuda.is_available():
        return f"{cores} (there is a GPU, but KEXUE_DEVICE asks for the CPU)"
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        text = "this torch was built without CUDA, although an NVIDIA driver is here. To use the "
        return f"{cores}: {text}GPU, install torch as https://pytorch.org/get-started/locally says"
    if torch.version.cuda is not None:
        text = f"torch was built for CUDA {torch.version.cuda} and finds none. If there should be "
        return f"{cores}: {text}one, check that nvidia-smi runs, and update the driver"
    return f"{cores}. Every chapter runs without one"


def memory() -> list[Finding]:
    """The machine's memory, where the system says it."""
    try:
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows; a system that does not say
        return []
    if have < MEMORY:
        text = f"only {have / 1e9:.1f} GB of memory, and a chapter may need {MEMORY / 1e9:.0f}: "
        return [Finding(NOTE, f"{text}close other notebooks before you run one")]
    return [Finding(GOOD, f"{have / 1e9:.0f} GB of memory")]


def results() -> Finding:
    """Where the stored results of the GPU runs come from."""
    from kexue import runtime

    shelf = runtime._shelf()
    if shelf is not None:
        return Finding(GOOD, f"stored results: in this checkout, {shelf}")
    text = f"stored results: downloaded when a chapter asks for one, from {runtime.REPOSITORY} at "
    return Finding(GOOD, f"{text}{runtime._source()[:12]}, once, into {runtime._cache()}")


def main() -> int:
    """Print what was found; return 1 if something stops the chapters from running."""
    found = examine()
    print(f"Kexue {__version__}: what its chapters will find here\n")
    for finding in found:
        sign, width = SIGNS[finding.level], shutil.get_terminal_size((100, 24)).columns
        print(textwrap.fill(finding.text, width, initial_indent=sign, subsequent_indent=" " * 6))
    wrong = sum(f.level == PROBLEM for f in found)
    things = "thing has" if wrong == 1 else "things have"
    print(f"\n{wrong} {things} to be put right first (!!)." if wrong else "\nReady.")
    return 1 if wrong else 0
