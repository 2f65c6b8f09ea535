"""The targets are those of the tutorial: equal weights, means and widths in their ranges."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.density import multimodal


@given(st.integers(1, 60), st.integers(0, 10**6))
def test_weights_means_and_widths(K, seed):
    law, largest = multimodal(K, seed), 10 / (6 * K)
    assert law.weights.shape == (K,) and law.weights.dtype == torch.float64
    assert law.weights.eq(1 / K).all() and (law.means >= -0.5).all() and (law.means < 0.3).all()
    sigma = law.variances.sqrt() / largest
    assert sigma.min() > 0.25 - 1e-12 and sigma.max() < 0.35 + 1e-12


def test_a_seed_is_one_law_and_another_seed_another():
    assert torch.equal(multimodal(10, 3).means, multimodal(10, 3).means)
    assert not torch.equal(multimodal(10, 3).means, multimodal(10, 4).means)
    # Means and widths are drawn apart, and fill their ranges.
    law = multimodal(4000)
    assert abs(law.means.mean() + 0.1) < 0.02 and law.means.max() - law.means.min() > 0.79
    both = torch.corrcoef(torch.stack([law.means, law.variances]))
    assert both[0, 1].abs() < 0.06


def test_there_are_many_modes():
    y = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    p = multimodal(10).log_prob(y).exp()
    assert torch.trapezoid(p, y).item() == pytest.approx(1, abs=1e-12)
    peaks = ((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])).sum()
    assert 3 <= peaks <= 10


@pytest.mark.parametrize(
    "arguments, argument",
    [((0,), "K"), ((2.0,), "K"), ((None,), "K"), ((3, -1), "seed"), ((3, math.pi), "seed")],
)
def test_bad_input_is_named(arguments, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: got"):
        multimodal(*arguments)
