"""The run card, a part of the room `runtime`: what it holds, its file and table, what fills it.

Showing a card asks the machine nothing: read from its file it looks the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kexue import _processes


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, content: bytes) -> None:
    """Write a file at once: a reader, or a crash, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp makes it readable by its owner only
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder for the files of an artifact; where the block ends well, they take their places.

    Until then ``out`` is as it was: an interrupted run changes nothing. The card comes last,
    because it vouches for the rest. Of several processes the first one's files are taken. Runs may
    work beside each other: only what a killed run of this machine has left is removed.
    """
    if _processes.rank():
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    out.mkdir(parents=True, exist_ok=True)
    mine = f".unfinished-{platform.node()}-"  # a folder that machines share has runs of others too
    for left in out.glob(".unfinished-*-*"):
        owner, process, _ = left.name.rsplit("-", 2)
        if f"{owner}-" == mine and not _alive(int(process)):  # killed
            shutil.rmtree(left, ignore_errors=True)  # another run may be at it
    with tempfile.TemporaryDirectory(dir=out, prefix=f"{mine}{os.getpid()}-") as name:
        folder = Path(name)
        yield folder
        for path in sorted(folder.iterdir(), key=lambda path: path.name == "card.json"):
            os.replace(path, out / path.name)


def _alive(process: int) -> bool:
    """Whether a process of this number runs on this machine; where that cannot be asked, yes."""
    if os.name != "posix":  # signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        pass
    return True


def write_npz(path: Path, **arrays: Any) -> None:
    """Write an npz whose bytes depend on the arrays alone (LZMA, no dates), at once.

    Raises
    ------
    ValueError
        If there is no array, or one of objects, which could not be read without pickle.
    """
    if not arrays:
        raise ValueError("arrays: got none, needs at least one, by name")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_LZMA
            file.writestr(info, member.getvalue())
    write(Path(path), archive.getvalue())


@dataclass(frozen=True)
class RunCard:
    """On what, with what and from which revision a result was made; see `runtime.run_card`.

    Attributes
    ----------
    device, driver, cuda : the GPU's name with its driver and CUDA; on a CPU, None for the last two.
    torch, python : versions.
    precision, seed, preset : how it was run.
    seconds : wall seconds.
    peak_memory_mb : largest memory held, 10^6 bytes; tensors on a GPU, the process on a CPU.
    revision, dirty : the git commit, and whether tracked files differed from it.
    date : UTC, ISO 8601.
    files : file name to sha256.
    metrics : whatever else was measured.

    In a notebook it shows itself as a small table, which is the same every time it is read.
    """

    device: str
    driver: str | None
    torch: str
    cuda: str | None
    python: str
    precision: str
    seed: int
    preset: str
    seconds: float
    peak_memory_mb: float | None
    revision: str | None
    dirty: bool | None
    date: str
    files: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the card as JSON; with a ``path``, also write it there at once."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            write(Path(path), text.encode())
        return text

    @classmethod
    def from_json(cls, path: str | Path) -> RunCard:
        """Read a card that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the file is no JSON object with exactly a card's fields.
        """
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:  # not JSON, or not UTF-8
            raise ValueError(f"path: got {path}, needs a run card in JSON ({error})") from error
        expected = {f.name for f in fields(cls)}
        got = set(stored) if isinstance(stored, dict) else {type(stored).__name__}
        if got != expected:
            missing, unknown = sorted(expected - got), sorted(got - expected)
            raise ValueError(f"path: {path} lacks fields {missing} and has unknown {unknown}")
        for name in ("files", "metrics"):
            if not isinstance(stored[name], dict):
                raise ValueError(f"path: {path} has {name} = {stored[name]!r}, needs an object")
        return cls(**stored)

    def _rows(self) -> list[tuple[str, str]]:
        software = f"torch {self.torch}, Python {self.python}"
        if self.cuda:
            software += f", CUDA {self.cuda}, driver {self.driver or 'unknown'}"
        memory = "not measured" if self.peak_memory_mb is None else f"{self.peak_memory_mb:,.0f} MB"
        revision = (self.revision or "not under git")[:12] + (" and changes" if self.dirty else "")
        rows = [
            ("device", self.device),
            ("software", software),
            ("run", f"{self.preset} preset, {self.precision}, seed {self.seed}"),
            ("time and memory", f"{self.seconds:,.1f} s, {memory}"),
            ("made", f"{self.date[:10]} from revision {revision}"),
        ]
        rows += [
            (name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value))
            for name, value in self.metrics.items()
        ]
        return rows + [(name, f"sha256 {digest[:12]}…") for name, digest in self.files.items()]

    def _repr_markdown_(self) -> str:
        cells = (
            [cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in self._rows()
        )
        rows = "\n".join(f"| {name} | {value} |" for name, value in cells)
        return f"| run card | |\n|---|---|\n{rows}\n"

    def _repr_html_(self) -> str:
        """Five rows; what was measured and the files' hashes are folded below them."""

        # No colors: the page's own table style serves light and dark.
        def table(rows: list[tuple[str, str]], caption: str = "") -> str:
            cells = "".join(
                f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows
            )
            return f'<table class="run-card">{caption}<tbody>{cells}</tbody></table>'

        rows = self._rows()
        head = table(rows[:5], "<caption>Run card</caption>")
        if not rows[5:]:
            return head
        return f"{head}<details><summary>figures and files</summary>{table(rows[5:])}</details>"


def installed_commit() -> str | None:
    """The commit that pip installed the package from (PEP 610), if it did."""
    try:
        origin = json.loads(metadata.distribution("kexue").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        return None
    return origin.get("vcs_info", {}).get("commit_id")


def revision() -> tuple[str | None, bool | None]:
    """The commit this file belongs to, and whether tracked files differ from it (None: unknown)."""
    stated = os.environ.get("KEXUE_REVISION")
    if stated:  # as `git describe --always --abbrev=40 --dirty --exclude '*'` writes it
        return stated.removesuffix("-dirty"), stated.endswith("-dirty")
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # git would answer for any repository around site-packages
        return installed_commit(), None
    git = ("git", "--no-optional-locks", "-C", str(root))
    commit = command(*git, "rev-parse", "HEAD")
    changes = command(*git, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def command(*arguments: str) -> str | None:
    """What a command prints, or None if it is missing or fails."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cpu() -> str:
    """What computes when there is no GPU (no model name: it would say nothing of the speed)."""
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"


def peak_memory_mb(where: torch.device) -> float | None:
    """The most memory held so far, 10^6 bytes: torch's tensors on a GPU, this process on a CPU."""
    if where.type == "cuda":
        return round(torch.cuda.max_memory_allocated(where) / 1e6, 1)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def plain(name: str, value: Any) -> Any:
    """A metric as JSON will give it back (tensors and arrays as numbers and lists)."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: got {value!r}, needs something JSON can hold") from error
