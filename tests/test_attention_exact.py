"""Error and bias under strong noise: the integral, the draws and enumeration know nothing of one
another."""

import itertools
import math

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
    error,
    predicted_bias,
    predicted_error,
    sweep,
)
from kexue.attention import simulate as simulate_module
from kexue.attention._transform import nodes, transform

F64 = torch.float64
INF, NAN = math.inf, math.nan
LAWS = [
    *(Normal(0.02), Normal(0.5), Normal(1.0), Normal(3.0)),
    *(Laplace(0.2), Laplace(0.6), Laplace(2.0), Uniform(0.3), Uniform(8.0)),
    *(Drop(0.05), Drop(0.3), Drop(0.9), Common(Normal(2.0))),
]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def row(n, dims=3, spread=1.0, seed=0):
    s = spread * torch.randn(n, dtype=F64, generator=rng(seed))
    return s, 2 + torch.randn(n, dims, dtype=F64, generator=rng(seed + 1))


# The integral -------------------------------------------------------------------------------------


def two_keys(s, v, law):
    """E |o~ - o|^2 and E o~ - o for two keys, by the law's own points in two dimensions."""
    eps, weights = nodes(law)
    gap = s[0] - s[1] + eps[:, None] - eps
    lost = torch.isinf(eps)[:, None] & torch.isinf(eps)
    move = torch.sigmoid(torch.where(lost, s[0] - s[1], gap)) - torch.sigmoid(s[0] - s[1])
    chance, step = weights[:, None] * weights, v[0] - v[1]
    return (chance * move**2).sum() * step.square().sum(), (chance * move).sum() * step


@pytest.mark.parametrize("gap", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_two_keys_by_a_double_sum(law, gap):
    s, v = torch.tensor([gap, 0.0], dtype=F64), row(2)[1]
    slack = 3e-4 if isinstance(law, Drop | Laplace) else 2e-6
    mse, bias = two_keys(s, v, law)
    found = sweep(s, v, [law])
    assert found.mse.shape == (1,) and found.bias.shape == (1, 3)
    torch.testing.assert_close(found.mse[0], mse, rtol=slack, atol=1e-20)
    torch.testing.assert_close(found.bias[0], bias, rtol=slack, atol=1e-9 * float(v.norm()))


@pytest.mark.parametrize("rate", [0.02, 0.4, 0.9])
def test_dropped_keys_by_enumeration(rate):
    """The integral leaves out rows without keys; a row that keeps them all instead is the same."""
    n = 9
    s, v = row(n)
    kept = torch.tensor(list(itertools.product((0, 1), repeat=n)), dtype=F64)
    chance = rate ** (n - kept.sum(-1)) * (1 - rate) ** kept.sum(-1)
    kept[0] = 1
    off = (s + kept.log()).softmax(-1) @ v - s.softmax(-1) @ v
    mse, bias = sweep(s, v, [Drop(rate)])
    torch.testing.assert_close(mse[0], (chance * off.square().sum(-1)).sum(), rtol=2e-4, atol=0)
    torch.testing.assert_close(bias[0], chance @ off, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("n, spread", [(4, 1.0), (40, 3.0), (400, 1.0), (400, 9.0)])
def test_against_draws(n, spread):
    s, v = row(n, spread=spread)
    found = sweep(s, v, LAWS)
    assert found.mse.dtype == F64
    for law, mse, bias in zip(LAWS, *found, strict=True):
        drawn = error(s, v, law, 4000, rng(5))
        z = (drawn.mse - mse) / drawn.mse_error
        if isinstance(law, Common):
            assert mse < 1e-20 and drawn.mse < 1e-20
            continue
        assert abs(z) < 4.5, (law, z)
        assert ((drawn.bias - bias).abs() < 4.5 * drawn.bias_error + 1e-7).all(), law


def test_small_noise_is_first_order():
    for n in (5, 200):
        s, v = row(n)
        for size in (1e-2, 1e-3):
            for law in (Normal(size), Uniform(size), Laplace(size)):
                mse, bias = sweep(s, v, [law])
                assert mse[0] == pytest.approx(predicted_error(s, v, law).item(), rel=40 * size**2)
                expected = predicted_bias(s, v, law)
                assert (bias[0] - expected).norm() < (40 * size**2 + 1e-4) * expected.norm()
    assert (sweep(s, v, [Normal(0.0), Drop(0.0)]).mse < 1e-25).all()


def test_grid_of_logits_does_not_show():
    """A shift of the row moves nothing but rounding, nor does another order of its keys or a hidden
    key; a key of no weight that makes the grid longer moves it by what the grid is off."""
    s, v = row(30, spread=4.0)
    whole = sweep(s, v, [Normal(1.0)]).mse
    for shift in (0.01, 0.11, 100.0):
        torch.testing.assert_close(
            sweep(s + shift, v, [Normal(1.0)]).mse, whole, rtol=1e-10, atol=0
        )
    order = torch.randperm(30, generator=rng())
    torch.testing.assert_close(sweep(s[order], v[order], [Normal(1.0)]).mse, whole)
    padded = torch.cat([s, torch.tensor([-INF, -39.0], dtype=F64)])
    more = torch.cat([v, v[:1] + 1, v[:1]])
    torch.testing.assert_close(sweep(padded, more, [Normal(1.0)]).mse, whole, rtol=2e-6, atol=0)


def test_shapes_blocks_and_precision(monkeypatch):
    from kexue.attention import exact

    s, v = torch.randn(2, 3, 5, 20, generator=rng()), torch.randn(2, 1, 20, 4, generator=rng())
    laws = [Normal(0.3), Drop(0.2)]
    found = sweep(s, v, laws)
    assert found.mse.shape == (2, 2, 3, 5) and found.bias.shape == (2, 2, 3, 5, 4)
    alone = sweep(s[1, 2, 3].double(), v[1, 0].double(), laws)
    torch.testing.assert_close(found.mse[:, 1, 2, 3].double(), alone.mse, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.bias[:, 1, 2, 3].double(), alone.bias, rtol=1e-3, atol=1e-6)
    monkeypatch.setattr(exact, "SIZE", {"cpu": 1})
    torch.testing.assert_close(sweep(s, v, laws).mse, found.mse)
    for name in ("SIZE", "ROWS", "LAWS"):  # as on a GPU: all at once
        monkeypatch.setattr(exact, name, {})
    torch.testing.assert_close(sweep(s, v, laws).mse, found.mse)
    half = sweep(s.half(), v.half(), laws).mse
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, sweep(s.half().float(), v.half().float(), laws).mse)


def test_rows_of_one_key_do_not_move():
    """Causal rows in float32: the first sees one key; and no square is negative."""
    s = torch.randn(6, 6, generator=rng()).masked_fill(~torch.ones(6, 6).bool().tril(), -INF)
    mse, bias = sweep(s, row(6)[1].float(), [Normal(0.5), Drop(0.3)])
    assert (mse >= 0).all() and (mse[:, 0] < 1e-5).all() and (mse[:, 1:] > 1e-3).all()
    assert (bias[:, 0].abs() < 1e-5).all()


def test_transform_has_its_limits():
    """phi(y) = E e^{-w}: to first order in e^y from the law's moments; first -> E e^eps."""
    for law in LAWS[:-1]:
        if not law.variance_ratio.isfinite():
            continue
        found = transform(law, torch.tensor([-45.0], dtype=F64))
        mean = law.log_mean.exp()
        slack = {"rel": 1e-6 if not isinstance(law, Normal) or law.sigma < 2 else 1e-3}
        assert found.first.item() == pytest.approx(mean.item(), **slack)
        assert -found.log_phi.item() == pytest.approx(mean.item(), **slack)
        variance = (law.variance_ratio * mean**2).item()
        assert found.variance.item() == pytest.approx(variance, **slack)


# Draws --------------------------------------------------------------------------------------------


class Coin(Noise):
    """eps = +-size."""

    def __init__(self, size):
        self.size = torch.as_tensor(size, dtype=F64)

    log_mean = property(lambda self: self.size.cosh().log())
    variance_ratio = property(lambda self: self.size.tanh() ** 2)

    def _draw(self, shape, options):
        return self.size.to(options["dtype"]) * (2 * (torch.rand(shape, **options) < 0.5) - 1)


@pytest.mark.parametrize("size", [0.2, 2.0, [0.1, 2.0, 0.0, 1.0, 0.5]])
def test_draws_against_enumeration(size):
    """Also noise that differs from key to key; and the standard errors are those of the law."""
    s, v = row(5)
    law, draws = Coin(size), 10_000
    signs = torch.tensor(list(itertools.product((-1, 1), repeat=5)), dtype=F64)
    off = (s + law.size * signs).softmax(-1) @ v - s.softmax(-1) @ v
    squares = off.square().sum(-1)
    found = error(s, v, law, draws, rng())
    assert abs(found.mse - squares.mean()) < 4 * found.mse_error
    assert found.mse_error == pytest.approx(
        squares.std(correction=0).item() / math.sqrt(draws), rel=0.1
    )
    assert ((found.bias - off.mean(0)).abs() < 4 * found.bias_error).all()
    plain = off.std(0, correction=0) / math.sqrt(draws)
    assert (found.bias_error < plain * (0.4 if size == 0.2 else 1.5)).all()


def test_blocks_of_draws_are_merged():
    x = 1e4 + torch.randn(1000, 3, dtype=F64, generator=rng())
    merged = simulate_module._Mean()
    for part in x.split([1, 500, 498, 1]):
        merged.add(part)
    mean, standard_error = merged.result()
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(standard_error, x.std(0) / math.sqrt(1000), rtol=1e-10, atol=0)


def test_draws_in_blocks_are_as_many(monkeypatch):
    s, v = row(5)
    whole = error(s, v, Normal(0.5), 4000, rng())
    monkeypatch.setattr(simulate_module, "BLOCK", 7 * 5)
    parts = error(s, v, Normal(0.5), 4000, rng(1))
    assert abs(whole.mse - parts.mse) < 4 * math.sqrt(2) * whole.mse_error
    assert parts.mse_error == pytest.approx(whole.mse_error.item(), rel=0.2)


def test_heavy_tails_are_drawn_without_first_order():
    s, v = row(5)
    found = error(s, v, StudentT(2.0), 3000, rng())
    assert all(torch.isfinite(x).all() for x in found)
    with_heads = error(s.expand(2, 3, 4, 5), v.expand(2, 3, 5, 3), Laplace(0.9), 10, rng())
    assert with_heads.mse.shape == (2, 3, 4) and with_heads.bias_error.shape == (2, 3, 4, 3)


def test_dropped_logits_do_less_harm_than_dropped_weights_where_values_share_a_part():
    s, v = row(200)
    logits_dropped = sweep(s, v + 5, [Drop(0.2)]).mse[0]
    assert logits_dropped < 0.1 * dropout_error(s, v + 5, 0.2)


# Bad input ----------------------------------------------------------------------------------------

S, V = torch.zeros(3), torch.ones(3, 2)


@pytest.mark.parametrize(
    "exception, match, call",
    [
        (TypeError, "laws", lambda: sweep(S, V, Normal(1.0))),
        (TypeError, "laws", lambda: sweep(S, V, [])),
        (TypeError, "laws", lambda: sweep(S, V, [0.5])),
        (ValueError, "noise: got StudentT", lambda: sweep(S, V, [StudentT(3.0)])),
        (ValueError, "noise.*number", lambda: sweep(S, V, [Normal(torch.ones(3))])),
        (ValueError, "v: got shape", lambda: sweep(S, V[:2], [Normal(1.0)])),
        (ValueError, "logits", lambda: sweep(S * NAN, V, [Normal(1.0)])),
        (ValueError, "draws: got 1", lambda: error(S, V, Normal(1.0), 1)),
        (TypeError, "draws", lambda: error(S, V, Normal(1.0), 2.5)),
        (TypeError, "noise", lambda: error(S, V, 1.0, 10)),
        (ValueError, "sigma", lambda: error(S, V, Normal(torch.ones(2)), 10)),
        (ValueError, "v: got NaN", lambda: error(S, V * INF, Normal(1.0), 10)),
    ],
)
def test_bad_input(exception, match, call):
    with pytest.raises(exception, match=match):
        call()


@pytest.mark.parametrize("d", [10, 20, 45, 55])
def test_drops_that_leave_only_a_deep_key(d):
    """Against the mean over all 2^6 patterns of drops, keys up to 85 nats below the heaviest."""
    s = torch.tensor([0.0, -d, -d - 1, -d - 2.5, -d - 10, -d - 30], dtype=torch.float64)
    v = torch.randn(6, 2, generator=rng(3), dtype=torch.float64)
    o, total = s.softmax(-1) @ v, 0.0
    for kept in itertools.product([0, 1], repeat=6):
        chance = math.prod(0.7 if k else 0.3 for k in kept)
        if any(kept):  # a row that loses all its keys counts as unharmed
            left = s.masked_fill(~torch.tensor(kept, dtype=torch.bool), -math.inf)
            total += chance * (left.softmax(-1) @ v - o).square().sum().item()
    assert sweep(s, v, [Drop(0.3)]).mse.item() == pytest.approx(total, rel=1e-5)
    with pytest.raises(ValueError, match="logits: got keys 90 nats below"):
        sweep(s - (s < -d - 29) * (60 - d), v, [Drop(0.3)])
