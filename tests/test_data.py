"""The data are what they claim to be, and a set that is not there says what to do."""

import hashlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_sample_image

from kexue import data

BUNDLED = ("digits", "hanzi")
TINY = data.Text(torch.arange(3, dtype=torch.uint8), "tiny", "here", "CC0")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_split_is_a_partition(name):
    whole, train, test = (data.load(name, split) for split in (None, "train", "test"))

    def rows(images):
        pairs = zip(images.x.numpy(), images.y.tolist(), strict=True)
        return sorted((label, image.tobytes()) for image, label in pairs)

    assert len(train) + len(test) == len(whole)
    assert sorted(rows(train) + rows(test)) == rows(whole)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_set_says_whose_it_is(name):
    images = data.load(name)
    assert images.name == name and images.source and images.license
    assert images.x.dtype == torch.float32 and images.y.dtype == torch.int64


def test_digits_are_scikit_learns_pixel_for_pixel():
    images, raw = data.load("digits"), load_digits()
    assert np.array_equal((images.x[:, 0].numpy() + 1) * 8, raw.images)
    assert np.array_equal(images.y.numpy(), raw.target)
    assert "UCI ML hand-written digits" in raw.DESCR  # the source we state is the one it states


def test_the_split_of_the_digits_is_fixed_and_stratified():
    whole, test = data.load("digits"), data.load("digits", "test")
    assert (len(whole) - len(test), len(test)) == (1437, 360)
    share = torch.bincount(whole.y) * 360 / 1797
    assert (torch.bincount(test.y) - share).abs().max() < 1
    # Stored results depend on this very split: it must not drift with a library's version.
    pixels = ((test.x + 1) * 8).to(torch.uint8).numpy().tobytes()
    assert (
        hashlib.sha256(pixels).hexdigest()
        == "1b67ee694ed7567d766d2c192d7a3f5665d3b5797afde4dcad1cc115de0f1431"
    )


@given(st.lists(st.integers(0, 4), min_size=1), st.floats(0, 1), st.integers(0, 9))
def test_a_stratified_split_takes_from_every_class_its_share(labels, fraction, seed):
    y, size = np.array(labels), round(fraction * len(labels))
    mask = data._stratified_test_mask(y, size, seed)
    assert mask.sum() == size
    share = np.bincount(y, minlength=5) * size / len(y)
    assert np.abs(np.bincount(y[mask], minlength=5) - share).max() < 1


def test_hanzi_are_the_characters_of_gb2312_level_1():
    images = data.load("hanzi")
    assert images.x.shape == (3755, 1, 32, 32)
    # Level 1 is rows 16 to 55 of the code table, the last one up to cell 89.
    codes = [(row, cell) for row in range(16, 56) for cell in range(1, 95 if row < 55 else 90)]
    level_1 = "".join(bytes([160 + row, 160 + cell]).decode("gb2312") for row, cell in codes)
    assert sorted(images.labels) == sorted(level_1)
    assert images.y.tolist() == list(range(3755))  # each character is a class of its own


def test_hanzi_are_drawn_each_its_own_way():
    x = data.load("hanzi").x
    ink = (x > 0).flatten(1).float().mean(1)
    assert len({image.numpy().tobytes() for image in x}) == 3755
    assert ink.min() > 0.01 and ink.max() < 0.6
    border = torch.cat([x[..., 0], x[..., -1], x[..., 0, :], x[..., -1, :]], dim=-1)
    assert (border < 0).float().mean() > 0.99  # light on dark, and nothing cut off
    one, many = (data.load("hanzi").labels.index(c) for c in "一籍")
    assert ink[one] < ink[many] / 3


def test_a_part_of_the_hanzi_keeps_its_labels():
    test = data.load("hanzi", "test")
    whole = data.load("hanzi")
    assert test.labels == whole.labels
    assert torch.equal(test.x, whole.x[test.y])


# Unknown names


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_an_unknown_name_is_refused(name):
    if name in data.names():
        return
    with pytest.raises(ValueError, match=r"^name: got [\s\S]*, needs one of 'digits', 'hanzi'"):
        data.load(name)


@given(st.text() | st.booleans() | st.integers() | st.lists(st.text()))
def test_an_unknown_split_is_refused(split):
    if split in ("train", "test"):
        return
    with pytest.raises(ValueError, match=r"^split: got [\s\S]*, needs one of None, 'train'"):
        data.load("digits", split)


# torchvision, which need not be there, replaced by one that says what it was asked


class Fake:
    """MNIST as torchvision hands it over: bytes and targets, an image of 0 and one of 255."""

    asked: list = []  # noqa: RUF012

    def __init__(self, root, train, download):
        Fake.asked.append((Path(root), train, download))
        self.data = torch.stack([torch.full((28, 28), v, dtype=torch.uint8) for v in (0, 255)])
        self.targets = torch.tensor([0, 9]) if train else torch.tensor([3, 4])


def pretend(monkeypatch, dataset):
    module = types.ModuleType("torchvision")
    module.datasets = types.SimpleNamespace(MNIST=dataset, FashionMNIST=dataset)
    monkeypatch.setitem(sys.modules, "torchvision", module)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_bytes_become_minus_one_to_one(monkeypatch, tmp_path, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Fake, "asked", [])
    pretend(monkeypatch, Fake)
    images = data.load(name)
    assert images.x.shape == (4, 1, 28, 28)
    assert [image.unique().tolist() for image in images.x] == [[-1.0], [1.0], [-1.0], [1.0]]
    assert images.y.tolist() == [0, 9, 3, 4]
    assert len(data.load(name, "train")) == len(data.load(name, "test")) == 2
    assert [train for _, train, _ in Fake.asked] == [True, False, True, False]
    assert all(tmp_path in root.parents and download for root, _, download in Fake.asked)


def test_without_torchvision_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"mnist: needs torchvision.*install.*load\('digits'\)"):
        data.load("mnist")


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("Error downloading x.gz")])
def test_without_a_network_it_says_what_to_do(monkeypatch, error):
    def offline(**_):
        raise error

    pretend(monkeypatch, offline)
    with pytest.raises(ConnectionError, match=r"mnist: could not be downloaded.*load\('digits'\)"):
        data.load("mnist", "test")


def test_a_missing_bundle_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(data._bundled, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"hanzi32.npz.*install kexue again"):
        data.load("hanzi")
    with pytest.raises(FileNotFoundError, match=r"sf_temps.npz.*install kexue again"):
        data.sf_temps()


# Numbers


def test_china_is_the_photograph_and_its_luma():
    photograph = load_sample_image("china.jpg")
    colors = [data.china(color) for color in ("red", "green", "blue")]
    assert np.array_equal(torch.stack(colors, -1).numpy(), photograph)
    gray, mix = data.china(), 0.299 * colors[0] + 0.587 * colors[1] + 0.114 * colors[2]
    assert gray.dtype == torch.float32 and gray.shape == (427, 640) and gray.frac().eq(0).all()
    assert (gray - mix).abs().max() < 0.5001 and gray.min() >= 0 and gray.max() <= 255
    # The name in our docstring is the one that scikit-learn gives.
    about = Path(sklearn.datasets.__file__).parent / "images/README.txt"
    assert "danielbuechele" in about.read_text().split("flower")[0]
    assert "licenses/by/2.0" in about.read_text()


@pytest.mark.parametrize("channel", ["Gray", "", None, 0, "red "])
def test_an_unknown_channel_is_refused(channel):
    with pytest.raises(ValueError, match=r"^channel: got .*, needs one of 'gray', 'red'"):
        data.china(channel)


def test_temperatures_are_tenths_and_follow_the_sun():
    x = data.sf_temps()
    assert x.dtype == torch.float32 and x.shape == (8759,)
    assert (10 * x - (10 * x).round()).abs().max() < 1e-4 and len(x.unique()) == 266
    days = x[: 24 * 72].reshape(72, 24).mean(0)  # before the missing hour of 14 March
    assert days.argmin() in (6, 7) and days.argmax() in (13, 14, 15)
    january, september = x[: 24 * 31].mean(), x[5831 : 5831 + 24 * 30].mean()
    assert 45 < january < 52 < 60 < september < 66
    assert (x.diff().abs() < 4).all()  # in order of time
    meta = json.loads(str(data._bundled.load("sf_temps")["meta"]))
    assert "public domain" in meta["license"] and "USW00023234" in meta["station"]


# Images checks its fields

GOOD = {
    "x": torch.zeros(2, 1, 3, 3),
    "y": torch.tensor([0, 1]),
    "name": "a",
    "source": "b",
    "license": "c",
    "labels": ("zero", "one"),
}


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("x", torch.zeros(2, 1, 3, 3).double(), "x: got dtype torch.float64"),
        ("x", torch.zeros(2, 1, 3, 3).byte(), "x: got dtype torch.uint8"),
        ("x", torch.zeros(2, 3, 3), r"x: got shape \(2, 3, 3\), needs \(N, C, H, W\)"),
        ("x", torch.zeros(0, 1, 3, 3), "x: got an empty tensor"),
        ("x", torch.full((2, 1, 3, 3), torch.nan), "x: got NaN"),
        ("x", torch.full((2, 1, 3, 3), 1.5), r"x: got values in \[1.5, 1.5\], needs .*\[-1, 1\]"),
        ("y", torch.zeros(2), "y: got dtype torch.float32, needs torch.int64"),
        ("y", torch.zeros(3).long(), r"y: got shape \(3,\), needs \(2,\)"),
        ("y", torch.tensor([0, 2]), r"y: got labels in \[0, 2\], needs indices into labels"),
        ("y", torch.tensor([-1, 0]), r"y: got labels in \[-1, 0\]"),
    ],
)
def test_images_refuse_what_they_cannot_be(field, value, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        data.Images(**{**GOOD, field: value})


@given(st.integers(1, 5), st.integers(1, 4), st.floats(-1, 1, width=32))
def test_images_take_what_they_can_be(n, size, value):
    images = data.Images(**{**GOOD, "x": torch.full((n, 3, size, size), value), "y": None})
    assert len(images) == n and images.y is None


# Text


@pytest.mark.parametrize("name", ["topics", "stdlib"])
def test_a_text_is_split_in_two_and_says_whose_it_is(name):
    whole, train, test = (data.text(name, split) for split in (None, "train", "test"))
    assert torch.equal(torch.cat([train.tokens, test.tokens]), whole.tokens)
    assert len(train) == len(whole) * 9 // 10
    assert sys.version.split()[0] in whole.source and "PSF" in whole.license
    assert len({whole.sha256, train.sha256, test.sha256}) == 3
    assert whole.sha256 == hashlib.sha256(bytes(whole.tokens.tolist())).hexdigest()


def test_topics_are_those_of_help_in_order():
    from pydoc_data.topics import topics

    content = bytes(data.text("topics").tokens.tolist()).decode()
    assert content.startswith(topics["assert"]) and content.endswith(topics["yield"])
    assert all(topics[name] in content for name in ("lambda", "for", "class"))
    assert len(content) == sum(map(len, topics.values())) + len(topics) - 1


def test_stdlib_holds_whole_modules_and_neither_tests_nor_what_was_installed():
    text = data.text("stdlib").tokens.numpy().tobytes()
    for module in (hashlib, json, types):
        assert Path(module.__file__).read_bytes() in text
    assert len(text) > 4_000_000
    assert Path(pytest.__file__).read_bytes() not in text
    assert b"build_time_vars" + b" = {" not in text  # what the build wrote about its machine


@given(st.integers(1, 20), st.integers(2, 60))
def test_windows_predict_every_byte_at_most_once_and_in_order(length, size):
    if length >= size:
        return
    text = data.Text(torch.arange(size, dtype=torch.uint8), "a", "b", "c")
    windows = text.windows(length)
    assert windows.shape == ((size - 1) // length, length + 1) and windows.dtype == torch.int64
    predicted = windows[:, 1:].flatten()
    assert torch.equal(predicted, torch.arange(1, len(predicted) + 1))
    assert torch.equal(windows[1:, 0], windows[:-1, -1])


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: data.text("news"), ValueError, "name"),
        (lambda: data.text("topics", "validation"), ValueError, "split"),
        (lambda: data.Text(torch.zeros(3), "a", "b", "c"), TypeError, "tokens"),
        (lambda: data.Text(TINY.tokens[None], "a", "b", "c"), TypeError, "tokens"),
        (lambda: TINY.windows(0), ValueError, "length"),
        (lambda: TINY.windows(3), ValueError, "length"),
    ],
)
def test_a_bad_text_is_named(call, error, name):
    with pytest.raises(error, match=rf"^{name}: "):
        call()
