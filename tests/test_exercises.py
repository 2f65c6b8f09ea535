"""The guessing sheet shows what it was given and scores it without a script."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from kexue import exercises


@pytest.fixture
def sheet():
    images = torch.linspace(-1, 1, 4 * 8 * 8).reshape(4, 1, 8, 8)
    return images, exercises.guess(images, torch.tensor([True, False, False, True]), columns=2)


def test_every_picture_arrives_unchanged(sheet):
    images, page = sheet
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page._repr_html_())
    assert len(found) == 4
    for image, data in zip(images, found, strict=True):
        alpha = np.array(Image.open(io.BytesIO(base64.b64decode(data))))[..., 1]
        assert np.array_equal(alpha, (image[0] * 127.5 + 127.5).round().byte().numpy())


def test_the_boxes_know_the_answers_and_no_script_is_needed(sheet):
    html = sheet[1]._repr_html_()
    assert re.findall(r'class="kx-(yes|no)"', html) == ["yes", "no", "no", "yes"]
    assert re.findall(r"<span>(\w+)</span>", html) == ["invented", "real", "real", "invented"]
    assert 'data-total="2"' in html
    assert "<script" not in html and "onclick" not in html
    assert html == sheet[1]._repr_html_()
    assert repr(sheet[1]) == "4 pictures, 2 of them invented: which?"


def test_names_are_escaped():
    page = exercises.guess(torch.zeros(2, 4, 4), torch.tensor([True, False]), lie="<b>", truth="&")
    assert "<b>" not in page._repr_html_() and "&lt;b&gt;" in page._repr_html_()


@pytest.mark.parametrize(
    ("images", "answers", "message"),
    [
        (torch.zeros(2, 4), [True, False], r"images: got shape \(2, 4\)"),
        (torch.zeros(0, 4, 4), [True], "images: got an empty tensor"),
        (torch.full((2, 4, 4), 2.0), [True, False], r"images: got values in \[2, 2\]"),
        (torch.full((2, 4, 4), torch.inf), [True, False], "images: got NaN or infinite"),
        (torch.zeros(2, 4, 4), [True], r"answers: got torch.bool of shape \(1,\), needs bool"),
        (torch.zeros(2, 4, 4), [1, 0], "answers: got torch.int64"),
        (torch.zeros(2, 4, 4), [True, True], "answers: all are True"),
    ],
)
def test_bad_questions_are_refused(images, answers, message):
    with pytest.raises((TypeError, ValueError), match=message):
        exercises.guess(images, torch.tensor(answers))
