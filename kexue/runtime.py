"""Where a chapter runs and what it leaves behind: device, seed, preset, run card, artifact.

A chapter says ``steps = preset(quick=200, full=20_000)`` and nothing else about the machine: on a
CPU it runs the quick preset, on a GPU the full one. A result that took a GPU is frozen as an
*artifact*, ``book/artifacts/<slug>/``, with a *run card* beside it that says on what, with what
and from which revision it was made and what its files hash to; :func:`artifact` returns a file
only if its hash is the one on the card.

=====================  ==========================================================================
environment variable   effect
=====================  ==========================================================================
``KEXUE_DEVICE``       ``cpu``, ``cuda``, ``cuda:1``, ...: use this device
``KEXUE_PRESET``       ``quick`` or ``full``: use this preset whatever the device
``KEXUE_QUIET``        ``1``: no progress bars (set while notebooks are executed to be stored)
``KEXUE_REVISION``     the git revision, where there is no git to ask (a copy on a GPU machine)
=====================  ==========================================================================
"""

from __future__ import annotations

import http.client
import os
import platform
import random
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from kexue import __version__, _check, _processes, _run_card
from kexue._run_card import RunCard, replacing, write_npz

__all__ = [
    *("REPOSITORY", "RunCard", "artifact", "device", "precision", "preset", "progress"),
    *("run_card", "seed_everything"),
    "replacing",
    "write_npz",
]

#: Where the book lives. `make set-repository URL=...` rewrites this line with `_config.yml`.
REPOSITORY = "https://github.com/kexue-book/kexue"

T = TypeVar("T")


def device() -> torch.device:
    """The device to compute on: ``KEXUE_DEVICE`` if set, else the first GPU if any, else the CPU.

    Each process of ``torchrun`` gets a GPU of its own.

    Raises
    ------
    ValueError
        If ``KEXUE_DEVICE`` names a device that torch does not know or that is not there.
    """
    name = os.environ.get("KEXUE_DEVICE") or (
        _processes.gpu() if torch.cuda.is_available() else "cpu"
    )
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)  # the only question that every backend answers
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"KEXUE_DEVICE: got {name!r}, needs a device that is there, such as 'cpu' ({reason})"
        ) from error
    return chosen


def precision() -> torch.dtype:
    """The dtype to train in on :func:`device`.

    bfloat16 from compute capability 8 (A100, H100) on, float16 on older GPUs (T4), float32 on the
    CPU. `torch.cuda.is_bf16_supported()` is not asked: it says yes where bfloat16 is emulated.
    """
    if device().type != "cuda":
        return torch.float32
    major, _ = torch.cuda.get_device_capability(device())
    return torch.bfloat16 if major >= 8 else torch.float16


def seed_everything(seed: int = 0) -> torch.Generator:
    """Seed `random`, NumPy and torch (all devices); return a CPU generator seeded the same.

    Parameters
    ----------
    seed : integer in [0, 2**32 - 1] (NumPy's range).

    >>> g = seed_everything(7)
    >>> a = torch.randn(2, generator=g)
    >>> bool((a == torch.randn(2, generator=seed_everything(7))).all())
    True
    """
    seed = _check.integer("seed", seed, 0, 2**32 - 1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def preset(quick: T, full: T) -> T:
    """Return ``quick`` on a CPU and ``full`` on a GPU; ``KEXUE_PRESET`` overrides.

    Raises
    ------
    ValueError
        If ``KEXUE_PRESET`` is neither ``quick`` nor ``full``.
    """
    return {"quick": quick, "full": full}[_preset_name()]


def _preset_name() -> str:
    name = os.environ.get("KEXUE_PRESET") or ("quick" if device().type == "cpu" else "full")
    return _check.one_of("KEXUE_PRESET", name, ("quick", "full"))


def progress(iterable: Iterable[T], description: str = "", total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar that appears only if the loop takes more than two seconds.

    Parameters
    ----------
    iterable : anything to loop over.
    description : a word or two in front of the bar.
    total : the number of items, where ``len(iterable)`` is not known.

    With ``KEXUE_QUIET=1`` nothing is ever written, so that stored outputs hold no timings.

    >>> sum(progress(range(4)))
    6
    """
    if not isinstance(iterable, Iterable):
        raise TypeError(f"iterable: got {type(iterable).__name__}, needs something to loop over")
    if total is not None:
        _check.integer("total", total, low=0)
    from tqdm import tqdm

    quiet = os.environ.get("KEXUE_QUIET", "") not in ("", "0")
    return tqdm(
        iterable,
        desc=description or None,
        total=total,
        delay=2,
        disable=quiet or _processes.rank() > 0,
    )


def run_card(
    *,
    seed: int,
    seconds: float,
    preset: str | None = None,
    precision: torch.dtype | str = torch.float32,
    files: Iterable[str | Path] = (),
    **metrics: Any,
) -> RunCard:
    """Describe a run that has just ended, in the process that did it.

    Parameters
    ----------
    seed, seconds : what it was seeded with and how long it took (wall seconds).
    preset : ``"quick"`` or ``"full"``; by default the one that :func:`preset` picks here.
    precision : the dtype it was trained in.
    files : what it wrote; the card holds their sha256 under their names without folder.
    metrics : whatever else was measured; numbers, strings, lists of them.

    Raises
    ------
    ValueError, TypeError
        For negative or non-finite seconds, a metric that JSON cannot hold, two files of one name.

    >>> card = run_card(seed=0, seconds=1.5, preset="quick", loss=0.25)
    >>> card.seed, card.preset, card.precision, card.metrics
    (0, 'quick', 'float32', {'loss': 0.25})
    """
    where = device()
    gpu = where.type == "cuda"
    smi = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    driver = (_run_card.command(*smi) or "unknown").splitlines()[0] if gpu else None
    revision, dirty = _run_card.revision()
    if isinstance(files, str | bytes | Path):
        raise TypeError(f"files: got {files!r}, needs a list of paths")
    hashes: dict[str, str] = {}
    for path in map(Path, files):
        if path.name in hashes:
            raise ValueError(f"files: got two named {path.name!r}, needs different names")
        hashes[path.name] = _run_card.sha256(path)
    return RunCard(
        device=torch.cuda.get_device_name(where) if gpu else _run_card.cpu(),
        driver=driver,
        torch=torch.__version__,
        cuda=torch.version.cuda if gpu else None,
        python=platform.python_version(),
        precision=str(precision).removeprefix("torch."),
        seed=_check.integer("seed", seed, 0, 2**32 - 1),
        preset=_check.one_of("preset", preset or _preset_name(), ("quick", "full")),
        seconds=round(_check.real("seconds", seconds, low=0), 3),
        peak_memory_mb=_run_card.peak_memory_mb(where),
        revision=revision,
        dirty=dirty,
        date=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        files=hashes,
        metrics={name: _run_card.plain(name, value) for name, value in metrics.items()},
    )


def artifact(slug: str, name: str) -> Path:
    """The path of ``book/artifacts/<slug>/<name>``, once its sha256 is the one on the run card.

    In a checkout of the book it is the file there. Elsewhere (Colab, say) it is downloaded once
    from :data:`REPOSITORY`, at the revision that is installed, into torch's hub cache.

    Parameters
    ----------
    slug : the chapter's name, such as ``"ddpm-bayes"``.
    name : a file's name, such as ``"unet.safetensors"``, or ``"card.json"`` for the card itself.

    Raises
    ------
    FileNotFoundError
        If there is no such artifact, or its file has not been made yet; the message says how to.
    ValueError
        If the file is not the one that the card describes.
    ConnectionError
        If a download fails; the message says what to do next.
    """
    for argument, value in {"slug": slug, "name": name}.items():
        if not isinstance(value, str):
            raise TypeError(f"{argument}: got {type(value).__name__}, needs a string")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(f"{argument}: got {value!r}, needs a plain name without folders")
    shelf = _shelf()
    local = shelf is not None
    folder = (shelf if local else _cache()) / slug
    card = folder / "card.json"
    if local and not card.is_file():
        known = sorted(path.parent.name for path in shelf.glob("*/card.json"))
        raise FileNotFoundError(f"slug: got {slug!r}, needs one with a run card: {known}")
    if not local and not card.is_file():
        _download(slug, card.name, card)
    if name == card.name:
        return card
    files = RunCard.from_json(card).files
    _check.one_of("name", name, sorted(files))
    path = folder / name
    if not path.is_file():
        if local:
            raise FileNotFoundError(
                f"{path} is on the run card but not here; restore it with git, or make it again "
                f"with `python book/artifacts/{slug}/make.py`"
            )
        _download(slug, name, path)
    got = _run_card.sha256(path)
    if got != files[name]:
        if not local:
            path.unlink()  # so that the next call downloads it again
        todo = "restore it with git" if local else "call again to download it again"
        raise ValueError(f"{path}: got sha256 {got}, needs {files[name]} (card.json); {todo}")
    return path


def _shelf() -> Path | None:
    """`book/artifacts` of the checkout that this file, or else the working directory, is in."""
    for start in (Path(__file__), Path.cwd() / "here"):
        for parent in start.resolve().parents:
            if (parent / "book" / "artifacts").is_dir() and (parent / "kexue").is_dir():
                return parent / "book" / "artifacts"
    return None


def _source() -> str:
    """The revision to download from: the one at hand, or else the tag of this version."""
    return _run_card.revision()[0] or f"v{__version__}"


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "kexue" / "artifacts" / _source()


def _download(slug: str, name: str, path: Path) -> None:
    url = f"{REPOSITORY}/raw/{_source()}/book/artifacts/{slug}/{name}"
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise ConnectionError(f"{url}: the server answered {error}; try again later") from error
        raise FileNotFoundError(
            f"{url} is not there: no artifact {slug}/{name} in this revision; to have the newest, "
            f"install the package again (pip install --upgrade git+{REPOSITORY}) and restart"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"{slug}/{name} could not be downloaded ({error}); try again with a network, work in a "
            f"checkout of {REPOSITORY}, or put {url} by hand at {path}"
        ) from error
    _run_card.write(path, content)
