"""Small real data in one call, bundled where possible and downloaded where not.

=================  =======  ==========  ===========================================================
name               images   size        where from
=================  =======  ==========  ===========================================================
``digits``         1,797    1 x 8 x 8   scanned handwritten digits inside scikit-learn; no network
``hanzi``          3,755    1 x 32 x 32 Chinese characters of GB2312 level 1, bundled; no network
``mnist``          70,000   1 x 28 x 28 handwritten digits, by torchvision; needs a network once
``fashion-mnist``  70,000   1 x 28 x 28 clothes, by torchvision; needs a network once
=================  =======  ==========  ===========================================================

Every set comes back as :class:`Images`: float32 pixels in [-1, 1] with the name, the source and
the license beside them, because a figure that shows data must say whose data it is.

Two sets of plain numbers, for laws in one dimension, need no network either: :func:`china` (273,280
gray levels) and :func:`sf_temps` (8,759 temperatures); their docstrings say whose they are. Two
texts to read byte by byte, ``topics`` and ``stdlib``, are Python's own: :func:`text`. Losses of
language models that others measured are in :func:`loss_points`, exponents that they found in
:func:`scaling_exponents`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kexue import _bundled, _check
from kexue._scaling_points import ExponentPair, LossPoints, loss_points, scaling_exponents
from kexue._text import Text, text

__all__ = [
    "ExponentPair",
    "Images",
    "LossPoints",
    "Text",
    "china",
    "load",
    "loss_points",
    "names",
    "scaling_exponents",
    "sf_temps",
    "text",
]

#: Seed of the fixed split of the digits into 1,437 for training and 360 for testing.
DIGITS_SPLIT_SEED = 0
DIGITS_TEST_SIZE = 360


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A set of images with what one needs to use and to cite it.

    Parameters
    ----------
    x : float32 tensor of shape (N, C, H, W), values in [-1, 1].
    y : int64 tensor of shape (N,), indices into ``labels``; None where there are no classes.
    name : the name that :func:`load` knows it by.
    source : who made it and where it is described.
    license : the terms, and where they are stated.
    labels : one string a class.

    Raises
    ------
    TypeError, ValueError
        If a field has another dtype, shape or range.

    >>> x, y = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    >>> tiny = Images(x, y, name="tiny", source="here", license="CC0", labels=("a", "b"))
    >>> tiny
    Images('tiny': 2 x 1 x 4 x 4, 2 classes)
    >>> len(tiny)
    2
    """

    x: Tensor
    y: Tensor | None
    name: str
    source: str
    license: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check.tensor("x", self.x)
        if self.x.dtype != torch.float32:
            raise TypeError(f"x: got dtype {self.x.dtype}, needs torch.float32")
        if self.x.ndim != 4:
            raise ValueError(f"x: got shape {tuple(self.x.shape)}, needs (N, C, H, W)")
        if self.x.abs().max() > 1:
            low, high = self.x.aminmax()
            raise ValueError(f"x: got values in [{low:g}, {high:g}], needs values in [-1, 1]")
        if self.y is None:
            return
        _check.tensor("y", self.y, floating=False)
        if self.y.dtype != torch.int64:
            raise TypeError(f"y: got dtype {self.y.dtype}, needs torch.int64")
        if self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"y: got shape {tuple(self.y.shape)}, needs ({len(self.x)},), one label an image"
            )
        low, high = (int(v) for v in self.y.aminmax())
        if low < 0 or high >= len(self.labels):
            raise ValueError(
                f"y: got labels in [{low}, {high}], needs indices into labels, "
                f"which has {len(self.labels)} entries"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x.shape))
        return f"Images({self.name!r}: {shape}, {len(self.labels)} classes)"


def load(name: str, split: str | None = None) -> Images:
    """Load a set of images by name.

    Parameters
    ----------
    name : one of :func:`names`.
    split : ``"train"``, ``"test"``, or None for both together. The digits are split once and for
        all into 1,437 and 360, stratified by class, from seed ``DIGITS_SPLIT_SEED``; the characters
        by the mask stored with them; the others as published.

    Returns
    -------
    Images
        ``x`` of shape (N, C, H, W), float32 in [-1, 1]: -1 is the smallest and 1 the largest value
        that a pixel of the stored set can take (no statistics of the set are used).

    Raises
    ------
    ValueError
        For an unknown name or split.
    ImportError
        If torchvision is needed and missing.
    ConnectionError
        If a download fails; the message says what to do next.

    >>> digits = load("digits", split="train")
    >>> digits
    Images('digits': 1437 x 1 x 8 x 8, 10 classes)
    >>> digits.x.min().item(), digits.x.max().item()
    (-1.0, 1.0)
    """
    _check.one_of("name", name, names())
    _check.one_of("split", split, (None, "train", "test"))
    return _LOADERS[name](split)


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows.

    >>> names()
    ('digits', 'hanzi', 'mnist', 'fashion-mnist')
    """
    return tuple(_LOADERS)


def china(channel: str = "gray") -> Tensor:
    """Pixels of the photograph china.jpg: float32 (427, 640), whole numbers from 0 to 255.

    ``channel``: ``"red"``, ``"green"``, ``"blue"`` as stored, or ``"gray"``, the luma
    0.299 R + 0.587 G + 0.114 B of ITU-R BT.601, rounded.

    Photograph by danielbuechele (https://www.flickr.com/photos/danielbuechele/6061409035/),
    CC BY 2.0, as scikit-learn states, in whose wheel it is.

    Raises:
        ValueError: an unknown channel.

    >>> china("red").shape
    torch.Size([427, 640])
    """
    from sklearn.datasets import load_sample_image

    colors = ("red", "green", "blue")
    _check.one_of("channel", channel, ("gray", *colors))
    pixels = torch.tensor(load_sample_image("china.jpg")).double()
    if channel == "gray":
        return (pixels @ torch.tensor([0.299, 0.587, 0.114]).double()).round().float()
    return pixels[..., colors.index(channel)].float()


def sf_temps() -> Tensor:
    """Temperatures of a mean year at San Francisco Airport: float32 (8759,), degrees Fahrenheit.

    One number an hour in order of time, each a 30-year average rounded to 0.1 degrees (NOAA hourly
    normals, station USW00023234, public domain; by way of vega_datasets 0.9.0). Neighbors in time
    are alike: the numbers are not independent draws. The hour when clocks go forward is missing.

    >>> temperatures = sf_temps()
    >>> f"{temperatures.min():.1f} to {temperatures.max():.1f} F"
    '45.6 to 72.2 F'
    """
    return torch.tensor(_bundled.load("sf_temps")["tenths"]).float() / 10


def _digits(split: str | None) -> Images:
    from sklearn.datasets import load_digits

    pixels, y = load_digits(return_X_y=True)
    keep = _keep(_stratified_test_mask(y, DIGITS_TEST_SIZE, DIGITS_SPLIT_SEED), split)
    x = torch.from_numpy(pixels[keep]).float().reshape(-1, 1, 8, 8) / 8 - 1  # counts 0..16 of 4x4
    return Images(
        x=x,
        y=torch.from_numpy(y[keep]).long(),
        name="digits",
        source=(
            "E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI "
            "Machine Learning Repository, doi:10.24432/C50P49; the test set, inside scikit-learn"
        ),
        # scikit-learn's description of the set (datasets/descr/digits.rst) names the source and
        # states no terms; its wheel is BSD-3-Clause; the terms of the data are those of UCI.
        license="CC BY 4.0 (UCI); distributed inside scikit-learn (BSD-3-Clause)",
        labels=tuple("0123456789"),
    )


def _hanzi(split: str | None) -> Images:
    stored = _bundled.load("hanzi32")
    images, codepoints = stored["images"], stored["codepoints"]
    test, meta = stored["test"], json.loads(str(stored["meta"]))
    keep = _keep(test, split)
    return Images(
        x=_from_bytes(torch.from_numpy(images[keep])),
        y=torch.from_numpy(np.flatnonzero(keep)).long(),  # every character is a class of its own
        name="hanzi",
        source=f"{meta['what']}; {meta['font']}, {meta['source']}",
        license=f"font: {meta['font_license']}",
        labels=tuple(map(chr, codepoints.tolist())),
    )


def _mnist(split: str | None) -> Images:
    return _torchvision(
        "mnist",
        "MNIST",
        split,
        source="Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits",
        # As the documentation of Keras states (tf.keras.datasets.mnist.load_data).
        license="CC BY-SA 3.0, copyright Y. LeCun and C. Cortes (as Keras documents it)",
        labels=tuple("0123456789"),
    )


def _fashion_mnist(split: str | None) -> Images:
    return _torchvision(
        "fashion-mnist",
        "FashionMNIST",
        split,
        source="H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747",
        license="MIT, copyright Zalando SE",
        labels=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    )


def _torchvision(name: str, dataset: str, split: str | None, **about) -> Images:
    # Lazily: torchvision is not a dependency (its builds must match torch's to the digit).
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:  # RuntimeError: a build for another torch
        raise ImportError(
            f"{name}: needs torchvision, which cannot be imported here ({error}); install the "
            "build that matches your torch (https://pytorch.org), or use load('digits') or "
            "load('hanzi'), which need no network"
        ) from error
    root = Path(torch.hub.get_dir()) / "kexue"
    parts = []
    for train in {"train": (True,), "test": (False,), None: (True, False)}[split]:
        try:
            parts.append(getattr(datasets, dataset)(root=str(root), train=train, download=True))
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"{name}: could not be downloaded to {root} ({error}); try again with a network, "
                "or use load('digits') or load('hanzi'), which need none"
            ) from error
    return Images(
        x=_from_bytes(torch.cat([part.data for part in parts])),
        y=torch.cat([torch.as_tensor(part.targets) for part in parts]).long(),
        name=name,
        **about,
    )


def _from_bytes(images: Tensor) -> Tensor:
    """Bytes (N, H, W) to float32 (N, 1, H, W): 0 to -1 and 255 to 1."""
    return images[:, None].float() / 127.5 - 1


def _keep(test: np.ndarray, split: str | None) -> np.ndarray:
    return {"train": ~test, "test": test, None: np.ones_like(test)}[split]


def _stratified_test_mask(y: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Choose ``size`` test items so that each class keeps its share (largest remainders)."""
    share = np.bincount(y) * size / len(y)
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: size - take.sum()]] += 1
    # RandomState, not default_rng: NumPy promises that its stream never changes.
    rng = np.random.RandomState(seed)
    test = np.zeros(len(y), dtype=bool)
    for label, number in enumerate(take):
        test[rng.permutation(np.flatnonzero(y == label))[:number]] = True
    return test


_LOADERS: dict[str, Callable[[str | None], Images]] = {
    "digits": _digits,
    "hanzi": _hanzi,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
}
