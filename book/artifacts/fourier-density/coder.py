"""Symbols to bytes and back: the range coder of the library constriction, one model a position.

Coder and decoder must hold the very same probabilities, to the last bit: one that was computed
anew on another machine would do for a plot and not here. So the file holds integers of 16 bits,
and both sides turn them into a model in the same way (constriction works with 24 bits inside).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import constriction
import numpy as np

VERSION = metadata.version("constriction")
Model = constriction.stream.model.Categorical


def models(frequencies: np.ndarray, size: np.ndarray) -> list[Model]:
    """One model a row of integers (P, largest M); row i has ``size[i]`` symbols."""
    return [
        Model(row[:m] / row[:m].sum(), perfect=False)
        for row, m in zip(frequencies.astype(np.float64), size, strict=True)
    ]


def encode(symbols: np.ndarray, models: Sequence[Model]) -> np.ndarray:
    """Words (uint32) of one message that holds symbols (n, P), position by position."""
    coder = constriction.stream.queue.RangeEncoder()
    for column, model in zip(symbols.T.astype(np.int32), models, strict=True):
        coder.encode(np.ascontiguousarray(column), model)
    return coder.get_compressed()


def decode(words: np.ndarray, models: Sequence[Model], n: int) -> np.ndarray:
    """Symbols (n, P) of a message."""
    coder = constriction.stream.queue.RangeDecoder(words)
    return np.stack([coder.decode(model, n) for model in models], axis=1)
