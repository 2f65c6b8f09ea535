"""The files beside the package that the room `data` hands out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).with_name("data_files")


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"{name}: {path.name} is not beside the package; install kexue again from its "
            "repository"
        )
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
