"""Entropy, support and first-order predictions: against mpmath and against exact enumeration."""

import itertools
import math

import mpmath
import pytest
import torch

from kexue.attention import (
    Common,
    Drop,
    Laplace,
    Noise,
    Normal,
    StudentT,
    Uniform,
    dropout_error,
    effective_support,
    entropy,
    predicted_bias,
    predicted_covariance,
    predicted_error,
)

F64 = torch.float64
INF, NAN = math.inf, math.nan


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def row(n, dims=3, spread=1.0, seed=0):
    """Logits (n,) and values (n, dims) that are far from zero."""
    s = spread * torch.randn(n, dtype=F64, generator=rng(seed))
    return s, 5 + torch.randn(n, dims, dtype=F64, generator=rng(seed + 1))


# Entropy and support ------------------------------------------------------------------------------

ROWS = {
    "one key": [3.0],
    "even": [0.5] * 9,
    "one-hot": [0.0, -1e4, -1e4],
    "huge": [1e4, 1e4, 1e4 - 1],
    "hidden": [0.0, -INF, 1.0, -INF],
    "nearly one-hot": [0.0, -12.0, -13.0],
    "normal": torch.randn(50, generator=rng()).mul(3).tolist(),
}


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ROWS)
def test_entropy_and_support_to_forty_digits(name, dtype):
    s = torch.tensor(ROWS[name], dtype=dtype)
    with mpmath.workdps(40):
        e = [mpmath.exp(mpmath.mpf(x)) for x in s.double().tolist() if x > -INF]
        p = [x / mpmath.fsum(e) for x in e]
        h = float(-mpmath.fsum(x * mpmath.log(x) for x in p if x > mpmath.mpf(10) ** -100))
        support = float(1 / mpmath.fsum(x**2 for x in p))
    slack = {"rel": 1e-12, "abs": 1e-15} if dtype == F64 else {"rel": 3e-6, "abs": 2e-7}
    assert entropy(s).item() == pytest.approx(h, **slack)
    assert effective_support(s).item() == pytest.approx(support, **slack)


def test_support_is_at_most_e_to_the_entropy_and_neither_sees_a_shift():
    s = 2 * torch.randn(40, 30, dtype=F64, generator=rng())
    assert (effective_support(s) <= entropy(s).exp() + 1e-12).all()
    assert entropy(s).shape == effective_support(s).shape == (40,)
    for measure in (entropy, effective_support):
        torch.testing.assert_close(measure(s + 300), measure(s), rtol=1e-11, atol=0)


# First order --------------------------------------------------------------------------------------


class Coin(Noise):
    """eps = +-size: every expectation is a sum over 2^n cases. ``size``: a number or (n,)."""

    def __init__(self, size):
        self.size = torch.as_tensor(size, dtype=F64)

    log_mean = property(lambda self: self.size.cosh().log())
    variance_ratio = property(lambda self: self.size.tanh() ** 2)

    def exactly(self, s, v):
        """Error, bias and covariance of o~."""
        signs = torch.tensor(list(itertools.product((-1, 1), repeat=len(s))), dtype=F64)
        out, o = (s + self.size * signs).softmax(-1) @ v, s.softmax(-1) @ v
        return (out - o).square().sum(-1).mean(), out.mean(0) - o, out.mT.cov(correction=0)


@pytest.mark.parametrize("n", [3, 6, 10])
def test_predictions_are_right_to_first_order_in_v_eta(n):
    """Measured / predicted - 1 goes to zero in proportion to size^2, as V_eta does."""
    s, v = row(n)
    off = []
    for size in (0.08, 0.04, 0.02):
        law = Coin(size)
        error, bias, covariance = law.exactly(s, v)
        parts = (
            error / predicted_error(s, v, law) - 1,
            (bias / predicted_bias(s, v, law) - 1).abs().max(),
            (covariance - predicted_covariance(s, v, law)).norm() / covariance.norm(),
        )
        off.append(torch.stack([part.abs() for part in parts]))
    assert (off[0] < 0.1).all()
    slopes = (off[0] / off[2]).log() / math.log(4)
    assert ((slopes - 2).abs() < 0.3).all(), slopes


def test_at_fixed_noise_the_prediction_is_right_as_support_grows():
    """All of 2^n cases by counting: n even keys of two values, where o~ is a ratio of counts."""
    law, off = Coin(0.7), []
    for half in (20, 80, 320):
        s, v = torch.zeros(2 * half, dtype=F64), torch.ones(2 * half, 1, dtype=F64)
        v[half:] = -1
        k = torch.arange(half + 1, dtype=F64)
        chance = torch.distributions.Binomial(half, torch.tensor(0.5, dtype=F64)).log_prob(k).exp()
        mass = k * math.exp(0.7) + (half - k) * math.exp(-0.7)
        out = (mass[:, None] - mass) / (mass[:, None] + mass)
        error = (chance[:, None] * chance * out**2).sum()
        off.append(abs(error / predicted_error(s, v, law) - 1).item())
    assert off[0] < 0.03
    for more, less in itertools.pairwise(off):
        assert math.log(more / less, 4) == pytest.approx(1, abs=0.1)


def test_noise_that_differs_from_key_to_key_moves_the_mean():
    """One law for all would be wrong by 100 %: the shift does not vanish with V_eta's first order
    alone but is predicted, and what is left goes down as size^4 does."""
    s, v = row(6)
    pattern, off = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.5, 1.0], dtype=F64), []
    for size in (0.1, 0.05, 0.025):
        law = Coin(size * pattern)
        error, bias, covariance = law.exactly(s, v)
        parts = (
            (error - predicted_error(s, v, law)) / size**2,
            (bias - predicted_bias(s, v, law)).norm() / size**2,
            (covariance - predicted_covariance(s, v, law)).norm() / size**2,
        )
        off.append(torch.stack([part.abs() for part in parts]))
    assert (off[2] < 2e-3).all(), off
    assert ((off[0] / off[2]).log() / math.log(4) > 1.7).all()
    # and it is no small thing: the mean moves even where n_eff is infinite
    s, v = torch.zeros(10_000, dtype=F64), torch.zeros(10_000, 1, dtype=F64)
    v[::2] = 1
    law = Normal(torch.arange(10_000) % 2.0)
    share = 1 / (1 + math.exp(0.5))  # odd keys have gained the weight e^{1/2}
    assert predicted_bias(s, v, law).item() == pytest.approx(share - 0.5, abs=1e-4)
    assert predicted_error(s, v, law).item() == pytest.approx((share - 0.5) ** 2, rel=1e-3)


def test_a_tensor_of_equal_parameters_is_a_number():
    s, v = row(8)
    for predicted in (predicted_error, predicted_bias, predicted_covariance):
        one, other = predicted(s, v, Normal(0.6)), predicted(s, v, Normal(torch.full((8,), 0.6)))
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_error_is_the_trace_of_the_covariance():
    s, v = torch.randn(2, 3, 4, 9, generator=rng()), torch.randn(2, 3, 9, 5, generator=rng())
    covariance = predicted_covariance(s, v, Uniform(1.0))
    assert covariance.shape == (2, 3, 4, 5, 5)
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(trace, predicted_error(s, v, Uniform(1.0)))


def test_shapes_are_those_of_a_product():
    """One row; many queries on the same values; rows that are each alone."""
    s, v = torch.randn(2, 4, 6, generator=rng()), torch.randn(2, 6, 3, generator=rng())
    for predicted in (predicted_error, predicted_bias, predicted_covariance):
        together = predicted(s, v, Drop(0.2))
        alone = [[predicted(s[b, t], v[b], Drop(0.2)) for t in range(4)] for b in range(2)]
        torch.testing.assert_close(together, torch.stack([torch.stack(a) for a in alone]))
    assert torch.equal(dropout_error(s, v, 0.2)[1, 2], dropout_error(s[1, 2], v[1], 0.2))


def test_one_hot_rows_keep_their_digits():
    """Error of a row with two keys, one of weight p: V p^2 (1-p)^2 |v_1 - v_2|^2 (1 + 1)."""
    v = torch.tensor([[100.0], [101.0]])
    for gap in (5.0, 10.0, 13.0):
        p = 1 / (1 + math.exp(gap))
        expected = 2 * math.expm1(0.01) * (p * (1 - p)) ** 2
        s = torch.tensor([gap, 0.0])
        assert predicted_error(s.double(), v, Normal(0.1)).item() == pytest.approx(expected, 1e-6)
        if gap < 6:  # float32 has o itself to 1e-5 only, next to |v_1 - o| = 0.007
            assert predicted_error(s, v, Normal(0.1)).item() == pytest.approx(expected, rel=2e-2)


def test_hidden_keys_and_heavy_tails():
    s, v = row(5)
    padded = torch.cat([s, torch.full((2,), -INF, dtype=F64)])
    more = torch.cat([v, torch.full((2, 3), 1e3, dtype=F64)])
    for law in (Normal(0.5), Laplace(0.7), StudentT(3.0), Drop(0.1)):
        torch.testing.assert_close(predicted_error(padded, more, law), predicted_error(s, v, law))
    assert predicted_error(s, v, StudentT(3.0)) == INF == predicted_error(s, v, Laplace(0.5))
    for law in (Common(StudentT(1.0)), Normal(0.0), Drop(0.0)):
        assert predicted_error(s, v, law) == 0
        assert (predicted_bias(s, v, law) == 0).all()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_of_weights_is_exact_and_of_logits_less(rate):
    """By enumeration of 2^n masks; and the difference is rate / (1 - rate) of
    2 o . sum p^2 v - |o|^2 sum p^2."""
    n = 8
    s, v = row(n)
    p, kept = s.softmax(-1), torch.tensor(list(itertools.product((0, 1), repeat=n)), dtype=F64)
    chance = rate ** (n - kept.sum(-1)) * (1 - rate) ** kept.sum(-1)
    o = p @ v
    error = (chance * ((kept * p / (1 - rate)) @ v - o).square().sum(-1)).sum()
    torch.testing.assert_close(dropout_error(s, v, rate), error)
    gap = dropout_error(s, v, rate) - predicted_error(s, v, Drop(rate))
    cross = 2 * o @ (p**2 @ v) - o.square().sum() * p.square().sum()
    torch.testing.assert_close(gap, rate / (1 - rate) * cross)


def test_half_types_are_read_and_computed_in_float32():
    s, v = row(40)
    for dtype in (torch.bfloat16, torch.float16):
        half = predicted_error(s.to(dtype), v.to(dtype), Normal(0.5))
        assert half.dtype == torch.float32
        exact = predicted_error(s.to(dtype).double(), v.to(dtype).double(), Normal(0.5))
        assert half.item() == pytest.approx(exact.item(), rel=1e-5)


# Bad input ----------------------------------------------------------------------------------------

S, V = torch.zeros(3), torch.ones(3, 2)


@pytest.mark.parametrize(
    "error, match, call",
    [
        (TypeError, "logits: got list", lambda: entropy([0.0])),
        (TypeError, "logits: got torch.int64", lambda: entropy(torch.arange(3))),
        (ValueError, "logits: got shape", lambda: entropy(torch.tensor(1.0))),
        (ValueError, "logits: got shape", lambda: entropy(torch.ones(2, 0))),
        (ValueError, "logits: got NaN", lambda: entropy(torch.tensor([0.0, NAN]))),
        (ValueError, "logits: got NaN, .inf", lambda: effective_support(torch.tensor([0.0, INF]))),
        (ValueError, "row of -inf", lambda: effective_support(torch.tensor([[0.0], [-INF]]))),
        (ValueError, "v: got shape", lambda: predicted_error(S, V[:2], Normal(1.0))),
        (ValueError, "v: got shape", lambda: predicted_error(S, V[:, 0], Normal(1.0))),
        (ValueError, "v", lambda: predicted_error(S.expand(2, 4, 3), V.expand(3, 3, 2), Drop(0.1))),
        (ValueError, "v: got NaN", lambda: predicted_error(S, V * NAN, Normal(1.0))),
        (TypeError, "noise", lambda: predicted_error(S, V, 0.5)),
        (ValueError, "sigma.*broadcast", lambda: predicted_error(S, V, Normal(torch.ones(2)))),
        (ValueError, "noise.*infinite", lambda: predicted_bias(S, V, Laplace(0.5))),
        (ValueError, "noise.*infinite", lambda: predicted_covariance(S, V, StudentT(9.0))),
        (ValueError, "rate: got 1", lambda: dropout_error(S, V, 1.0)),
        (ValueError, "rate", lambda: dropout_error(S, V, -0.1)),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
