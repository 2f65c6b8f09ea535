"""The claims of book/attention/softmax-attention, guarded through kexue and the stored records."""

import math
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.special import logsumexp

from kexue import attention as att

NOTEBOOK = Path(__file__).parents[2] / "book" / "attention" / "softmax-attention.ipynb"
F64 = torch.float64


def evaluate(record: dict, part: int = 0, **values: float) -> float:
    """A stated expression of a record, symbols given by their TeX names."""
    expression = sp.sympify(record["srepr"][part])
    point = {s: values[s.name] for s in expression.free_symbols if s.name in values}
    return float(expression.subs(point))


def row(seed: int = 0, n: int = 3, d: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    s = torch.randn(n, generator=generator, dtype=F64)
    return s, torch.randn(n, d, generator=generator, dtype=F64)


def test_every_numbered_equation_has_one_record_and_most_are_checked(records, labels):
    assert sorted(labels) == sorted(records)
    kinds = [record["kind"] for record in records.values()]
    assert kinds.count("proved") >= 34
    assert kinds.count("measured") >= 3


@pytest.mark.parametrize("seed", range(3))
def test_the_checked_formulas_are_the_code(records, seed):
    """Formula = code: what was proved for three tokens, against what kexue.attention does."""
    s, v = row(seed)
    p, sigma = s.softmax(-1), 0.7
    law = att.Normal(sigma)
    V = math.expm1(sigma**2)
    at = {r"V_\eta": V, "o": (p @ v).item(), r"\sigma": sigma}
    at |= {f"p_{i + 1}": p[i].item() for i in range(3)}
    at |= {f"v_{i + 1}": v[i].item() for i in range(3)}
    assert evaluate(records["eq-attn-v-normal"], **at) == pytest.approx(float(law.variance_ratio))
    error = att.predicted_error(s, v, law).item()
    assert evaluate(records["eq-attn-error"], **at) == pytest.approx(error, rel=1e-9)
    bias = att.predicted_bias(s, v, law).item()
    assert evaluate(records["eq-attn-bias"], **at) == pytest.approx(bias, rel=1e-9)
    count = att.effective_support(s).item()
    assert evaluate(records["eq-attn-neff"], **at) == pytest.approx(count, rel=1e-9)
    assert evaluate(records["eq-attn-entropy"], **at) == pytest.approx(att.entropy(s).item())
    dropped = evaluate(records["eq-attn-weight-drop"], **at | {r"V_\eta": 0.25})
    assert dropped == pytest.approx(att.dropout_error(s, v, 0.2).item(), rel=1e-9)
    assert evaluate(records["eq-attn-v-drop"], **{r"\rho": 0.2}) == pytest.approx(0.25)


@pytest.mark.parametrize(("n", "d", "scale"), [(1000, 64, 0.125), (10**6, 16, 1.0), (50, 8, 0.3)])
def test_the_laws_of_entropy_are_the_code(records, n, d, scale):
    c = evaluate(records["eq-attn-angle"], 1, **{r"\lambda": scale})
    assert evaluate(records["eq-attn-angle"], 0, c=c) == pytest.approx(scale, rel=1e-12)
    H = evaluate(records["eq-attn-sphere"], n=n, d=d, c=c)
    assert att.sphere_entropy(n, d, scale) == pytest.approx(H, rel=1e-9)
    assert att.entropy_scale(n, d, H) == pytest.approx(scale, rel=1e-9)
    assert evaluate(records["eq-attn-scale"], n=n, d=d, H=H) == pytest.approx(c**2, rel=1e-9)
    root = evaluate(records["eq-attn-root-log"], n=n, d=d, H=H)
    assert root < scale  # the parabola asks for less: it falls faster
    tau = 0.3
    M = (2 / tau) / -math.expm1(-2 / tau)
    floor = evaluate(records["eq-attn-floor"], n=n, M=M)
    assert math.log(n) - floor == pytest.approx(att.entropy_gap(tau), rel=1e-9)


def test_half_a_nat_is_lost_at_the_usual_scale():
    for d in (16, 64, 256):
        for n in (10**3, 10**6):
            lost = math.log(n) - att.sphere_entropy(n, d, d**-0.5)
            assert lost == pytest.approx(0.5, abs=0.05)


def test_the_line_through_the_origin_and_the_golden_ratio(records):
    """0.24 lambda d: 10 % right from 0.7 to 2, the golden ratio at 1."""
    golden = evaluate(records["eq-attn-golden"])
    assert golden == pytest.approx(math.log((1 + math.sqrt(5)) / 2) / 2)
    for scale in np.linspace(0.7, 2.0, 14):
        gain = math.log(10**9) - att.sphere_entropy(10**9, 4, scale)
        assert gain / 4 / scale == pytest.approx(0.24, rel=0.1)


def test_spread_and_noise_share_one_budget():
    """Within beta^2 + sigma^2 < ln(n) / 2 first order is right to a third; far out, not."""
    n, generator = 1024, torch.Generator().manual_seed(0)
    z = torch.randn(200, 1, n, generator=generator, dtype=F64)
    v = torch.randn(200, n, 1, generator=generator, dtype=F64)
    inside, outside = [], []
    for beta, sigma in ((0.5, 1.5), (1.0, 1.4), (1.5, 0.8), (2.0, 2.0), (1.0, 2.8), (2.8, 1.0)):
        law = att.Normal(sigma)
        exact = att.sweep(beta * z, v, [law]).mse.mean().sqrt().item()
        guess = math.sqrt(float(law.variance_ratio) * math.exp(beta**2) / n)
        within = beta**2 + sigma**2 < math.log(n) / 2
        (inside if within else outside).append(exact / guess)
    assert all(0.65 < ratio < 1.1 for ratio in inside), inside
    assert all(ratio < 0.5 for ratio in outside), outside


def test_the_mean_row_wins_at_a_googol_of_tokens():
    """The integral of the page at n = 10^100: nearer to the mean row's law than to the typical."""
    log_n = 100 * math.log(10)
    last = math.sqrt(2 * log_n)
    for x in (0.6, 0.65, 0.7):
        spread = x * last
        z = np.linspace(-10, (last**2 + spread**2) / (2 * spread) + 10, 1500)
        law = -(z**2) / 2 - math.log(2 * math.pi) / 2 + math.log(z[1] - z[0])
        y = np.arange(-log_n - spread**2 / 2 - 15, 8, 0.25)
        w = np.exp(np.minimum(y[:, None] + spread * z, 50.0))
        one = logsumexp(law + 2 * spread * z - w, axis=1)
        lost = np.minimum(-np.expm1(-w) @ np.exp(law), 1 - 1e-15)
        terms = log_n + 2 * y + one + math.exp(log_n) * np.log1p(-lost)
        exponent = (logsumexp(terms) + math.log(0.25)) / log_n
        mean, typical = -((1 / x - x) ** 2) / 4, -2 * (1 - x) ** 2
        assert abs(exponent - mean) < 0.6 * abs(exponent - typical)


def test_noise_that_knows_the_values_does_not_average_out(records):
    """eq-attn-shift: the output moves by Cov(eps, v) = f however many tokens there are."""
    f, n = 0.4, 200_000
    generator = torch.Generator().manual_seed(0)
    x, y, w = torch.randn(3, n, generator=generator, dtype=F64)
    s, eps = 0.6 * x + 0.5 * y, f * x + 0.3 * w
    moved = ((s + eps).softmax(-1) - s.softmax(-1)) @ x
    assert moved.item() == pytest.approx(f, abs=0.02)
    assert evaluate(records["eq-attn-shift"], f_1=f) == pytest.approx(f)


def test_weights_alone_with_the_third_moment():
    """eq-attn-moments at one heavy token: p^2 (1 - p) / (1 + p), a ninth of p^2 at 0.8."""
    p, n = 0.8, 10**5
    weights = torch.full((n,), (1 - p) / (n - 1), dtype=F64)
    weights[0] = p
    S2, S3 = (weights**2).sum(), (weights**3).sum()
    right = (S2 - 2 * S3 + S2**2) / (1 - S2)
    assert right.item() == pytest.approx(p**2 * (1 - p) / (1 + p), rel=1e-4)
    assert (S2 / right).item() == pytest.approx(9, rel=1e-3)


def test_exercises_by_brute_force():
    s, v = row(3, n=6, d=2)
    p, o = s.softmax(-1), s.softmax(-1) @ v
    for c in (-2.0, 0.5, 3.0):  # one wrong logit
        other = s.clone()
        other[0] += c
        factor = p[0] * math.expm1(c) / (1 + p[0] * math.expm1(c))
        torch.testing.assert_close(other.softmax(-1) @ v - o, factor * (v[0] - o))
    b = 0.3
    V = (1 - b**2) ** 2 / (1 - 4 * b**2) - 1
    assert float(att.Laplace(b).variance_ratio) == pytest.approx(V)
    tau = 1 / math.log(99 * 1023)
    one = torch.zeros(1024, dtype=F64)
    one[0] = 1 / tau
    assert one.softmax(-1)[0].item() == pytest.approx(0.99)
    assert math.ceil(math.log2(16 / math.sqrt(12e-4))) == 9
    assert (
        float(att.Uniform(16 / 2**9).variance_ratio)
        < 1e-4
        < float(att.Uniform(16 / 2**8).variance_ratio)
    )
