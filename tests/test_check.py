"""The argument checks: what is fine passes unchanged, what is not is named."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue import _check

NOT_NUMBERS = [None, "1", b"1", {}, [], object(), [[1.0], [1.0, 2.0]], [10**400], ["a"]]
CHECKS = [_check.tensor, _check.positive, _check.real, _check.integer]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_no_number_is_named(check, value):
    with pytest.raises((TypeError, ValueError), match=r"^width: got "):
        check("width", value)


@pytest.mark.parametrize("check", [_check.tensor, _check.positive, _check.real])
@given(bad=st.sampled_from([math.nan, math.inf, -math.inf]), good=st.lists(st.floats(0.5, 2)))
def test_one_bad_value_anywhere_is_found(check, bad, good):
    for value in (torch.tensor([*good, bad]), np.array([bad, *good])) if good else (bad,):
        with pytest.raises((TypeError, ValueError), match=r"^width: got "):
            check("width", value)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_a_tensor_passes_unchanged_and_uncopied(numbers):
    value = torch.tensor(numbers)
    assert _check.tensor("x", value) is value
    assert torch.equal(_check.tensor("x", numbers), value)
    assert torch.equal(_check.tensor("x", np.array(numbers, np.float32)), value)


def test_arrays_that_torch_refuses_or_warns_about():
    backwards = np.arange(3.0)[::-1]
    frozen = np.arange(3.0)
    frozen.setflags(write=False)
    assert _check.tensor("x", backwards).tolist() == [2.0, 1.0, 0.0]
    assert _check.tensor("x", frozen).tolist() == [0.0, 1.0, 2.0]


def test_a_python_number_keeps_its_precision_where_one_is_asked_for():
    assert _check.tensor("x", 0.1, dtype=torch.float64).item() == 0.1
    assert _check.tensor("x", 0.1).item() != 0.1  # float32, torch's default


def test_integers_are_no_floating_point_unless_told_otherwise():
    with pytest.raises(TypeError, match=r"^x: got dtype torch.int64, needs a floating-point dtype"):
        _check.tensor("x", torch.arange(3))
    assert _check.tensor("x", [1, 2], floating=False).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"^x: got NaN or infinite"):
        _check.tensor("x", torch.tensor([1j, complex("nan")]), floating=False)


@given(st.lists(st.floats(-2, 2), min_size=1))
def test_positive_means_all_of_them(numbers):
    value = torch.tensor(numbers, dtype=torch.float64)
    for zero in (False, True):
        if min(numbers) > 0 or (zero and min(numbers) == 0):
            assert _check.positive("variance", value, zero=zero) is value
        else:
            with pytest.raises(ValueError, match=r"^variance: got a smallest value of "):
                _check.positive("variance", value, zero=zero)


@given(st.integers(-20, 20), st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9))
def test_integers_within_their_range(value, low, high):
    inside = (low is None or value >= low) and (high is None or value <= high)
    for kind in (int, np.int64, torch.tensor):
        if inside:
            got = _check.integer("steps", kind(value), low, high)
            assert type(got) is int and got == value
        else:
            with pytest.raises(ValueError, match=f"^steps: got {value}, needs an integer in "):
                _check.integer("steps", kind(value), low, high)


@pytest.mark.parametrize("value", [True, 1.0, np.True_, torch.tensor(True), torch.tensor([1, 2])])
def test_truth_values_and_floats_are_no_integers(value):
    with pytest.raises(TypeError, match=r"^steps: got .*, needs an int"):
        _check.integer("steps", value)


@given(st.floats(-3, 3))
def test_real_numbers_within_their_range(value):
    for kind in (float, np.float64, lambda v: torch.tensor(v, dtype=torch.float64)):
        if 0 <= value <= 1:
            got = _check.real("eta", kind(value), 0, 1)
            assert type(got) is float and got == value
        else:
            with pytest.raises(ValueError, match=r"^eta: got .*, needs a finite number"):
                _check.real("eta", kind(value), 0, 1)


@pytest.mark.parametrize("value", [True, np.True_, 1j, np.complex64(1j), torch.ones(2)], ids=repr)
def test_what_is_not_one_real_number(value):
    with pytest.raises(TypeError, match=r"^eta: got .*, needs "):
        _check.real("eta", value)


def test_positive_real_numbers():
    got = _check.positive_real("tau", np.float32(0.5))
    assert got == 0.5 and isinstance(got, float)
    for value, needs in ((0, "a number > 0"), (-0.0, "a number > 0"), (-1e-300, "finite")):
        with pytest.raises(ValueError, match=rf"^tau: got .*, needs .*{needs}"):
            _check.positive_real("tau", value)


@pytest.mark.parametrize("value", ["c", None, 1, [], {}, np.zeros(2), torch.zeros(2)], ids=repr)
def test_one_of_names_the_choices(value):
    with pytest.raises(ValueError, match=r"^mode: got .*, needs one of 'a', 'b'"):
        _check.one_of("mode", value, ("a", "b"))
    with pytest.raises(ValueError, match=r"^mode: got .*, needs one of 'a', 'b'"):
        _check.one_of("mode", value, {"a": 1, "b": 2})


def test_one_of_returns_the_choice():
    assert _check.one_of("mode", "b", ("a", "b")) == "b"
    assert _check.one_of("split", None, (None, "train")) is None


def test_same_shape():
    _check.same_shape("x", torch.zeros(2, 3), "y", torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"^x: got shape \(2, 3\), needs \(3, 2\) like y"):
        _check.same_shape("x", torch.zeros(2, 3), "y", torch.zeros(3, 2))
