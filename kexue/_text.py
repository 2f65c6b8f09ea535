"""Text that is wherever Python is, a part of the room `data`: what a language model reads."""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from kexue import _check

#: Folders of the standard library that are no part of it, or that not every Python has.
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """Bytes of text with what one needs to use and to cite them.

    Parameters
    ----------
    tokens : uint8 tensor of shape (N,), the text as it is stored, one byte a token.
    name : the name that :func:`text` knows it by.
    source : where it is from; it names the Python, because the text changes with its version.
    license : the terms.

    >>> tiny = Text(torch.tensor(list(b"abcdefgh"), dtype=torch.uint8), "tiny", "here", "CC0")
    >>> tiny
    Text('tiny': 8 bytes)
    >>> tiny.windows(3).tolist()
    [[97, 98, 99, 100], [100, 101, 102, 103]]
    """

    tokens: Tensor
    name: str
    source: str
    license: str

    def __post_init__(self) -> None:
        _check.tensor("tokens", self.tokens, floating=False)
        if self.tokens.dtype != torch.uint8 or self.tokens.ndim != 1:
            got = f"{self.tokens.dtype} of shape {tuple(self.tokens.shape)}"
            raise TypeError(f"tokens: got {got}, needs torch.uint8 of shape (N,)")

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Text({self.name!r}: {len(self):,} bytes)"

    @property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal: two losses compare only where this is the same."""
        return sha256(self.tokens.cpu().numpy().tobytes()).hexdigest()

    def windows(self, length: int) -> Tensor:
        """Consecutive windows in which each byte but the first is predicted once.

        Returns int64 of shape (n, length + 1); a window begins with the last byte of the one
        before it, which is there to be read and not to be predicted again.
        """
        length = _check.integer("length", length, low=1, high=len(self) - 1)
        return self.tokens.unfold(0, length + 1, length).long()


def text(name: str, split: str | None = None) -> Text:
    """Load a text by name; none of them needs a network.

    Parameters
    ----------
    name : ``"topics"``, the language reference that Python's ``help()`` shows (0.5 MB), or
        ``"stdlib"``, the sources of the standard library without its tests (some 10 MB).
    split : ``"train"``, the first nine tenths of the bytes; ``"test"``, the rest; None for all.

    The text is the one of the Python that runs: with its minor version it changes, and so does a
    loss in its second digit. A result that is kept is kept with :attr:`Text.sha256`.

    Raises
    ------
    ValueError
        For an unknown name or split.

    >>> train, test = text("topics", "train"), text("topics", "test")
    >>> round(len(train) / len(test), 3)
    9.0
    """
    _check.one_of("name", name, _TEXTS)
    _check.one_of("split", split, (None, "train", "test"))
    content, what = _TEXTS[name]()
    at = len(content) * 9 // 10
    part = {None: content, "train": content[:at], "test": content[at:]}[split]
    return Text(
        tokens=torch.frombuffer(bytearray(part), dtype=torch.uint8),
        name=name,
        source=f"{what} of Python {platform.python_version()}",
        license="PSF-2.0, copyright Python Software Foundation",
    )


def _topics() -> tuple[bytes, str]:
    from pydoc_data.topics import topics

    return "\n".join(topics[key] for key in sorted(topics)).encode(), "pydoc_data.topics"


def _stdlib() -> tuple[bytes, str]:
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    kept = (
        path
        for path in paths
        # _sysconfigdata is written by the build and names its machine
        if not LEFT_OUT & set(path.parts) and not path.name.startswith("_sysconfigdata")
    )
    return b"\n".join((root / path).read_bytes() for path in kept), "the standard library"


_TEXTS: dict[str, Callable[[], tuple[bytes, str]]] = {"topics": _topics, "stdlib": _stdlib}
