"""Laws of noise against quadrature and draws; attention against torch's."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import stdtr
from torch.nn import functional

from kexue.attention import (
    Common,
    Drop,
    Laplace,
    Normal,
    StudentT,
    Uniform,
    attention,
    logits,
    perturb,
)

F64 = torch.float64
INF, NAN = math.inf, math.nan


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# Laws ---------------------------------------------------------------------------------------------

DENSITY = {
    Normal: lambda x, s: math.exp(-(x**2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi)),
    Laplace: lambda x, b: math.exp(-abs(x) / b) / (2 * b),
    Uniform: lambda x, w: (abs(x) <= w / 2) / w,
}


def moment(law, parameter, power):
    """E e^{power eps} by adaptive quadrature."""
    edge = parameter * {Uniform: 0.5, Normal: 30, Laplace: 300}[law]

    def tilted(x):
        return DENSITY[law](x, parameter) * math.exp(power * x)

    return sum(quad(tilted, *ends, epsabs=0, epsrel=1e-11)[0] for ends in ((-edge, 0), (0, edge)))


@pytest.mark.parametrize(
    "law, parameter",
    [(Normal, 0.1), (Normal, 1.7), (Laplace, 0.05), (Laplace, 0.4), (Uniform, 0.3), (Uniform, 5.0)],
)
def test_moments_of_a_law_by_quadrature(law, parameter):
    first, second = (moment(law, parameter, power) for power in (1, 2))
    noise = law(parameter)
    assert noise.log_mean.item() == pytest.approx(math.log(first), rel=1e-9)
    assert noise.variance_ratio.item() == pytest.approx(second / first**2 - 1, rel=1e-7)


@pytest.mark.parametrize("law, variance", [(Normal, 1), (Laplace, 2), (Uniform, 1 / 12)])
def test_small_noise_of_one_variance_is_one_noise(law, variance):
    """V_eta / Var(eps) -> 1 and 2 ln E e^eps / Var(eps) -> 1, down to where digits are lost."""
    for size, slack in ((1e-2, 1e-3), (1e-5, 1e-9)):
        noise, expected = law(size), variance * size**2
        assert noise.variance_ratio.item() == pytest.approx(expected, rel=slack)
        assert noise.log_mean.item() == pytest.approx(expected / 2, rel=slack, abs=3e-16)
    assert law(0.0).variance_ratio == 0 and law(0.0).log_mean == 0


def test_the_two_forms_of_the_uniform_law_meet():
    below, above = (Uniform(2 * x).variance_ratio.item() for x in (0.05, 0.05 * (1 + 1e-9)))
    assert below == pytest.approx(above, rel=1e-8)
    assert Uniform(2000.0).log_mean.item() == pytest.approx(1000 - math.log(2000))


def test_where_moments_are_infinite():
    assert Laplace(0.4999).variance_ratio < INF and Laplace(0.5).variance_ratio == INF
    assert Laplace(0.55).variance_ratio == INF
    assert Laplace(0.9999).log_mean < INF and Laplace(1.0).log_mean == INF == Laplace(3.0).log_mean
    assert StudentT(30.0, 0.01).variance_ratio == INF == StudentT(30.0, 0.01).log_mean
    assert Common(StudentT(1.0)).variance_ratio == 0 == Common(StudentT(1.0)).log_mean


CUMULATIVE = {
    "Normal": (Normal(0.7), torch.distributions.Normal(0.0, 0.7).cdf),
    "Laplace": (Laplace(0.7), torch.distributions.Laplace(0.0, 0.7).cdf),
    "Uniform": (Uniform(0.7), lambda x: x / 0.7 + 0.5),
    "StudentT": (
        StudentT(2.5, 0.7),
        lambda x: torch.from_numpy(stdtr(2.5, x.numpy() / 0.7)),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", CUMULATIVE)
def test_draws_have_their_law(name, dtype):
    """Kolmogorov's distance; and neighbors, in both axes, know nothing of one another."""
    law, cdf = CUMULATIVE[name]
    draws = law.sample((200, 300), generator=rng(), dtype=dtype)
    assert draws.dtype == dtype and draws.shape == (200, 300)
    u = cdf(draws.double())
    sorted_u, n = u.flatten().sort().values, u.numel()
    distance = (sorted_u - torch.arange(n) / n).abs().max() * math.sqrt(n)
    assert distance < 1.95, "p < 0.001"
    for axis in (0, 1):
        one, other = u.narrow(axis, 0, 199) - 0.5, u.narrow(axis, 1, 199) - 0.5
        assert (12 * one * other).mean().abs() < 4 / math.sqrt(one.numel())


def test_draws_of_drop_and_common():
    drop = Drop(0.3).sample((1000, 100), generator=rng())
    assert set(drop.unique().tolist()) == {-INF, 0.0}
    assert abs((drop == 0).float().mean() - 0.7) < 4 * math.sqrt(0.21 / drop.numel())
    assert Drop(0.3).log_mean.item() == pytest.approx(math.log(0.7))
    assert Drop(0.3).variance_ratio.item() == pytest.approx(0.7 / 0.7**2 - 1)
    common = Common(Laplace(2.0)).sample((500, 7), generator=rng())
    assert (common == common[:, :1]).all()
    assert torch.equal(common[:, 0], Laplace(2.0).sample((500, 1), generator=rng())[:, 0])


@pytest.mark.parametrize("law", [Normal, Laplace, Uniform, lambda s: StudentT(3.0, s)])
def test_a_parameter_per_key_scales_the_same_draw(law):
    sizes = torch.tensor([0.0, 0.5, 2.0])
    draws = law(sizes).sample((50, 3), generator=rng())
    torch.testing.assert_close(draws, law(1.0).sample((50, 3), generator=rng()) * sizes)
    assert law(sizes).variance_ratio.shape == law(sizes).log_mean.shape == (3,)
    for k, size in enumerate(sizes.tolist()):
        assert law(sizes).variance_ratio[k] == law(size).variance_ratio


def test_a_rate_per_key():
    dropped = Drop(torch.tensor([0.0, 0.5, 0.9])).sample((9000, 3), generator=rng()) == -INF
    torch.testing.assert_close(
        dropped.double().mean(0), torch.tensor([0.0, 0.5, 0.9], dtype=F64), atol=0.02, rtol=0
    )


# Attention ----------------------------------------------------------------------------------------

TOLERANCE = {F64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


def heads(dtype=F64, queries=7, keys=7, size=5):
    q = torch.randn(2, 3, queries, size, dtype=F64, generator=rng(1))
    k, v = torch.randn(2, 2, 3, keys, size, dtype=F64, generator=rng(2))
    return q.to(dtype), k.to(dtype), v.to(dtype)


def hidden(keys=7):
    """A mask: a third of the keys; the first query sees none."""
    mask = torch.rand(2, 1, 7, keys, generator=rng(3)) > 0.3
    mask[:, :, 0] = False
    return mask


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True},
        {"scale": 0.05},
        {"mask": hidden()},
        {"mask": torch.randn(7, 7, generator=rng(4))},
        {"mask": torch.where(hidden(), 0.0, -INF)},
    ],
    ids=["plain", "causal", "scale", "hidden", "added", "minus infinity"],
)
def test_without_noise_it_is_torch(options, dtype):
    q, k, v = heads(dtype)
    theirs = {{"mask": "attn_mask", "causal": "is_causal"}.get(a, a): b for a, b in options.items()}
    if theirs.get("attn_mask", hidden()).dtype != torch.bool:
        theirs["attn_mask"] = theirs["attn_mask"].to(dtype)
    expected = functional.scaled_dot_product_attention(q, k, v, **theirs)
    got = attention(q, k, v, **options)
    assert got.dtype == dtype
    torch.testing.assert_close(got, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    if options.get("mask", torch.ones(())).ndim == 4:
        assert (got[:, :, 0] == 0).all(), "a query that sees nothing"


@pytest.mark.parametrize("causal", [False, True])
def test_queries_and_keys_of_different_number(causal):
    q, k, _ = heads(queries=4, keys=9)
    v = torch.randn(2, 3, 9, 6, dtype=F64, generator=rng())
    expected = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, causal=causal), expected)


def test_a_mask_and_causal_both_hide():
    q, k, v = heads()
    both = hidden() & torch.ones(7, 7, dtype=torch.bool).tril()
    torch.testing.assert_close(
        attention(q, k, v, mask=hidden(), causal=True), attention(q, k, v, mask=both)
    )


def test_half_precision_loses_only_the_rounding_of_inputs():
    """Logits of hundreds: in bfloat16 arithmetic the weights would be off by e^{1/2}."""
    for dtype, slack in ((torch.bfloat16, 4e-3), (torch.float16, 5e-4)):
        q, k, v = (16 * heads(dtype)[0], *heads(dtype)[1:])
        assert logits(q, k).dtype == torch.float32 and logits(q, k).abs().max() > 50
        expected = attention(q.double(), k.double(), v.double())
        error = (attention(q, k, v).double() - expected).abs().max()
        assert error < slack * v.double().abs().max()


def test_gradients_are_those_of_torch():
    ours, theirs = ([x.clone().requires_grad_() for x in heads()] for _ in range(2))
    attention(*ours, mask=hidden()).square().sum().backward()
    functional.scaled_dot_product_attention(*theirs, attn_mask=hidden()).square().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_noise_is_a_mask_of_noise():
    q, k, v = heads()
    eps = Normal(0.8).sample((2, 3, 7, 7), generator=rng(5), dtype=F64)
    for causal in (False, True):
        seen = torch.ones(7, 7, dtype=torch.bool).tril() if causal else torch.ones(()).bool()
        mask = torch.where(seen, eps, -INF)
        expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        got = attention(q, k, v, noise=Normal(0.8), causal=causal, generator=rng(5))
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("law", [Normal(5.0), StudentT(1.0), Uniform(30.0)])
def test_common_noise_is_free(law):
    q, k, v = heads()
    got = attention(q, k, v, noise=Common(law), causal=True, generator=rng(6))
    torch.testing.assert_close(got, attention(q, k, v, causal=True), atol=1e-9, rtol=1e-9)
    assert (attention(q, k, v, noise=law, causal=True, generator=rng(6)) - got).abs().max() > 0.1


def test_dropped_logits_renormalize_and_no_row_goes_empty():
    """Every output is a mean of some of the values it may see; a single key always stays."""
    n, rate, draws = 3, 0.6, 20_000
    s = torch.zeros(draws, n)
    p = perturb(s, Drop(rate), rng()).softmax(-1)
    torch.testing.assert_close(p.sum(-1), torch.ones(draws))
    kept = (p > 0).sum(-1)
    torch.testing.assert_close(p.amax(-1) * kept, torch.ones(draws))
    for count in range(1, n + 1):
        chance = math.comb(n, count) * 0.4**count * rate ** (n - count) + (count == n) * rate**n
        error = math.sqrt(chance * (1 - chance) / draws)
        assert abs((kept == count).double().mean() - chance) < 4 * error
    q, k, v = heads()
    out = attention(q, k, v, noise=Drop(0.9), causal=True, generator=rng())
    torch.testing.assert_close(out[:, :, 0], v[:, :, 0])
    assert torch.isfinite(out).all()


def test_dropped_weights_do_not_renormalize():
    q, k, v = heads()
    ones = torch.ones_like(v)
    weights = attention(q, k, torch.eye(7, dtype=F64).expand(2, 3, 7, 7))
    dropped = attention(q, k, torch.eye(7, dtype=F64).expand(2, 3, 7, 7), drop=0.4, generator=rng())
    ratio = dropped / weights
    assert set(ratio.mul(0.6).round(decimals=9).unique().tolist()) == {0.0, 1.0}
    sums = attention(q, k, ones, drop=0.4, generator=rng())
    torch.testing.assert_close(sums[..., 0], dropped.sum(-1))
    assert (sums - 1).abs().max() > 0.1
    torch.testing.assert_close(attention(q, k, v, drop=0.0), attention(q, k, v))


def test_the_stream_is_the_generators():
    q, k, v = heads()
    run = [attention(q, k, v, noise=Normal(1.0), drop=0.1, generator=rng(s)) for s in (1, 1, 2)]
    assert torch.equal(run[0], run[1]) and not torch.equal(run[0], run[2])


# Bad input ----------------------------------------------------------------------------------------

Q = torch.ones(1, 2, 3, 4)
BOOL = torch.ones(3, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    "error, match, call",
    [
        (ValueError, "sigma: got -1", lambda: Normal(-1.0)),
        (ValueError, "sigma", lambda: Normal(NAN)),
        (ValueError, "sigma", lambda: Normal(torch.tensor([0.1, -0.1]))),
        (ValueError, "sigma", lambda: Normal(torch.tensor([]))),
        (TypeError, "sigma", lambda: Normal("1")),
        (TypeError, "sigma", lambda: Normal([0.1, 0.2])),
        (ValueError, "scale", lambda: Laplace(INF)),
        (ValueError, "width", lambda: Uniform(-0.1)),
        (ValueError, "df: got 0", lambda: StudentT(0.0)),
        (ValueError, "scale", lambda: StudentT(1.0, -1.0)),
        (ValueError, "rate: got 1,", lambda: Drop(1.0)),
        (ValueError, "rate", lambda: Drop(-0.1)),
        (ValueError, "rate: got 1.5", lambda: Drop(torch.tensor([0.5, 1.5]))),
        (TypeError, "law", lambda: Common(0.5)),
        (TypeError, "law", lambda: Common(Drop(0.5))),
        (ValueError, r"sigma.*\(2,\).*\(5, 3\)", lambda: Normal(torch.ones(2)).sample((5, 3))),
        (ValueError, "rate", lambda: Drop(torch.ones(2, 1) / 2).sample((3,))),
        (ValueError, "sigma", lambda: Normal(torch.ones(4, 3)).sample((3,))),
        (ValueError, "shape", lambda: Common(Normal(1.0)).sample(())),
        (ValueError, "sample_shape", lambda: Normal(1.0).sample((-1,))),
        (TypeError, "q: got list", lambda: attention([1.0], Q, Q)),
        (TypeError, "k", lambda: logits(Q, Q.double())),
        (TypeError, "q", lambda: logits(Q.long(), Q.long())),
        (ValueError, "q", lambda: logits(Q[0], Q[0])),
        (ValueError, "k", lambda: logits(Q, Q[..., :3])),
        (ValueError, "k", lambda: logits(Q, Q[:, :1])),
        (ValueError, "v", lambda: attention(Q, Q, Q[:, :, :2])),
        (TypeError, "v", lambda: attention(Q, Q, Q.double())),
        (ValueError, "q: got an empty", lambda: logits(Q[:, :, :0], Q)),
        (ValueError, "k: got an empty", lambda: logits(Q, Q[:, :, :0])),
        (ValueError, "mask", lambda: attention(Q, Q, Q, mask=BOOL[:2])),
        (ValueError, "mask", lambda: attention(Q, Q, Q, mask=BOOL.expand(2, 1, 1, 3, 3))),
        (TypeError, "mask", lambda: attention(Q, Q, Q, mask=BOOL.long())),
        (TypeError, "mask", lambda: attention(Q, Q, Q, mask=[[True]])),
        (ValueError, "scale", lambda: attention(Q, Q, Q, scale=NAN)),
        (ValueError, "drop: got 1", lambda: attention(Q, Q, Q, drop=1.0)),
        (ValueError, "drop", lambda: attention(Q, Q, Q, drop=-0.1)),
        (TypeError, "noise: got 0.5", lambda: attention(Q, Q, Q, noise=0.5)),
        (TypeError, "noise", lambda: perturb(Q, Normal)),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()
