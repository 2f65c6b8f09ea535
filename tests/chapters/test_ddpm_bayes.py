"""The claims of book/diffusion/ddpm-bayes, guarded through kexue and the stored records."""

from pathlib import Path

import pytest
import sympy as sp
import torch

from kexue import diffusion, schedule
from kexue.density import GaussianMixture, kl_on_grid, wasserstein2_on_grid

NOTEBOOK = Path(__file__).parents[2] / "book" / "diffusion" / "ddpm-bayes.ipynb"
F64 = torch.float64
SU = schedule.su(T=1000)


def bumps(place: float, width: float) -> GaussianMixture:
    means = torch.tensor([-place, place], dtype=F64)
    return GaussianMixture([0.5, 0.5], means, torch.full((2,), width**2, dtype=F64))


def formula(record: dict):
    """The stated expression of a record as a function of the chapter's amplitudes."""
    expression = sp.sympify(record["srepr"][0])
    names = r"\alpha_t \beta_t \bar{\alpha}_t \bar{\beta}_t \bar{\alpha}_{t-1} \bar{\beta}_{t-1}"
    symbols = sp.symbols(names, positive=True)
    rest = sorted(expression.free_symbols - set(symbols), key=str)
    return sp.lambdify([*symbols, *rest], expression, "math"), [str(r) for r in rest]


@pytest.mark.parametrize("t", [2, 10, 500, 1000])
def test_the_checked_formulas_are_the_code(records, t):
    """Formula = code: what was proved, evaluated, against what kexue.diffusion does."""
    (a, b), (alpha, sigma), (alpha_s, sigma_s) = SU.step(t, t - 1), SU(t), SU(t - 1)
    amplitudes = [float(v) for v in (a, b, alpha, sigma, alpha_s, sigma_s)]
    x_t, x0, eps = torch.tensor([0.3]).double(), torch.tensor([-0.8]).double(), torch.tensor([1.7])
    mean, variance = diffusion.posterior(x_t, x0, SU, t, t - 1)

    evaluate, rest = formula(records["eq-ddpm-posterior-mean"])
    assert rest == ["x_0", "x_t"]
    assert evaluate(*amplitudes, x0.item(), x_t.item()) == pytest.approx(mean.item(), rel=1e-12)

    evaluate, rest = formula(records["eq-ddpm-posterior-variance"])
    assert rest == []
    assert evaluate(*amplitudes) == pytest.approx(variance.item(), rel=1e-12)

    evaluate, rest = formula(records["eq-ddpm-eps-mean"])
    assert rest == [r"\epsilon_\theta", "x_t"]
    step = diffusion.ddpm_step(x_t, eps.double(), SU, t, t - 1, noise=torch.zeros(1).double())
    assert evaluate(*amplitudes, eps.item(), x_t.item()) == pytest.approx(step.item(), rel=1e-12)

    evaluate, rest = formula(records["eq-ddpm-data-variance"])
    assert rest == ["r"]
    expected = diffusion.reverse_variance(SU, t, t - 1, 2.5**2).item()
    assert evaluate(*amplitudes, 2.5) == pytest.approx(expected, rel=1e-12)


def test_every_numbered_equation_has_one_record_and_most_are_checked(records, labels):
    assert sorted(labels) == sorted(records)
    kinds = [record["kind"] for record in records.values()]
    assert kinds.count("proved") >= 15 and kinds.count("measured") >= 1


def toy(steps: int, variance: str) -> tuple[float, float, float]:
    """KL, W2 and the standard deviation of the K-step sampler with a perfect denoiser."""
    law, x = bumps(1.0, 0.2), torch.linspace(-6, 6, 2401, dtype=F64)
    *_, (_, q) = diffusion.chain_on_grid(law, SU, SU.timesteps(steps, stop=1), x, variance)
    p, q = law.noised(*SU(1)).log_prob(x).exp(), q / torch.trapezoid(q, x)
    spread = torch.trapezoid(q * x**2, x) - torch.trapezoid(q * x, x) ** 2
    return kl_on_grid(p, q, x), wasserstein2_on_grid(p, q, x), spread.sqrt().item()


def test_one_jump_returns_the_mean():
    _, distance, spread = toy(1, "posterior")
    assert distance > 0.9 and spread < 0.01


def test_many_corrections_recover_both_bumps_and_the_yardstick_picks_the_variance():
    few = {v: toy(10, v) for v in ("posterior", "forward")}
    many = {v: toy(50, v) for v in ("posterior", "forward")}
    for v in few:
        assert many[v][0] < few[v][0] / 5 and many[v][1] < 0.05
    assert few["forward"][0] < few["posterior"][0]  # KL prefers the wide steps ...
    assert few["posterior"][1] < few["forward"][1]  # ... and W2 the narrow ones


def true_variance(law, x_t, t, s):
    (_, beta), (alpha_s, sigma_s), (alpha_t, sigma_t) = SU.step(t, s), SU(s), SU(t)
    doubt = law.posterior_variance(x_t, alpha_t, sigma_t)
    return (beta * sigma_s / sigma_t) ** 2 + (alpha_s * beta**2 / sigma_t**2) ** 2 * doubt


def test_beta_squared_bounds_the_average_but_not_each_point():
    law, x = bumps(0.98, (1 - 0.98**2) ** 0.5), torch.linspace(-5, 5, 2001, dtype=F64)
    assert law.variance.item() == pytest.approx(1, abs=1e-6)
    ratio = true_variance(law, x, 36, 35) / SU.step(36, 35)[1] ** 2
    assert ratio.max() == pytest.approx(1.2365, abs=1e-3)


@pytest.mark.parametrize("place", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("t", "s"), [(36, 35), (100, 50), (1000, 900)])
def test_gaussian_data_leave_the_most_doubt(place, t, s):
    law, x = bumps(place, 0.2), torch.linspace(-8, 8, 4001, dtype=F64)
    p_t = law.noised(*SU(t)).log_prob(x).exp()
    average = torch.trapezoid(p_t * true_variance(law, x, t, s), x)
    lower = diffusion.reverse_variance(SU, t, s, 0)
    assert lower <= average <= diffusion.reverse_variance(SU, t, s, law.variance)


def test_the_true_law_of_a_step_back_has_the_mean_and_variance_of_the_page():
    """eq-ddpm-mean-exact and eq-ddpm-total-variance against Bayes' rule on a grid."""
    law, (t, s) = bumps(1.0, 0.2), (400, 350)
    y = torch.linspace(-4, 4, 8001, dtype=F64)
    (a, b), (alpha_t, sigma_t) = SU.step(t, s), SU(t)
    for x_t in (-0.7, 0.0, 0.4):
        weight = torch.softmax(
            law.noised(*SU(s)).log_prob(y) - ((x_t - a * y) / b) ** 2 / 2, dim=0
        )  # p(x_s | x_t), by eq-ddpm-bayes
        mean = (weight * y).sum()
        at = torch.tensor([x_t], dtype=F64)
        guess = law.posterior_mean(at, alpha_t, sigma_t)
        torch.testing.assert_close(diffusion.posterior(at, guess, SU, t, s)[0], mean[None])
        variance = (weight * (y - mean) ** 2).sum()
        torch.testing.assert_close(true_variance(law, at, t, s), variance[None])
