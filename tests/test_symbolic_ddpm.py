"""The derivation of DDPM from Bayes' rule, done with `kexue.symbolic`, and that it can fail.

Amplitudes: one step x_t = a x_{t-1} + b eps; from the data x_t = A x_0 + B eps; A1, B1 at t - 1.
Nothing uses a**2 + b**2 = 1 unless it says so.
"""

import functools
import itertools
from types import SimpleNamespace

import pytest
import sympy as sp

from kexue.symbolic import (
    Gaussian,
    complete_square,
    condition,
    equal,
    expectation,
    log_mass,
    marginal,
    symbols,
)

a, b = symbols(r"\alpha_t \beta_t", positive=True)
A, B = symbols(r"\bar{\alpha}_t \bar{\beta}_t", positive=True)
A1, B1 = symbols(r"\bar{\alpha}_{t-1} \bar{\beta}_{t-1}", positive=True)
s, sigma = symbols(r"s \sigma_t", positive=True)
x, y, x0, mu, eps, eps_hat, z = symbols(
    r"x_t x_{t-1} x_0 \mu \varepsilon \epsilon_\theta z", real=True
)

BARS = {A: a * A1, B: sp.sqrt(a**2 * B1**2 + b**2)}
UNIT = {b: sp.sqrt(1 - a**2), B1: sp.sqrt(1 - A1**2)}  # variance preserving, as in the article

POSTERIOR = Gaussian(a * B1**2 / B**2 * x + A1 * b**2 / B**2 * x0, B1**2 * b**2 / B**2)


WRONG = {
    "step mean": dict(step=Gaussian(a * y * sp.Rational(3, 2), b**2)),
    "step variance": dict(step=Gaussian(a * y, b**2 * sp.Rational(3, 2))),
    "step deviation as variance": dict(step=Gaussian(a * y, b)),
    "earlier mean": dict(before=Gaussian(A1 * x0 * sp.Rational(3, 2), B1**2)),
    "earlier variance": dict(before=Gaussian(A1 * x0, B1**2 * sp.Rational(3, 2))),
    "alpha bar": dict(bars={**BARS, A: a * A1 * sp.Rational(3, 2)}),
    "beta bar": dict(bars={**BARS, B: sp.sqrt(a**2 * B1**2 + b**2) * sp.Rational(3, 2)}),
}


@functools.cache
def chain(wrong=None):
    """The premises and all that follows from them by Bayes' rule, nothing typed in."""
    premises = {
        "step": Gaussian(a * y, b**2),  # law of x_t given x_{t-1}
        "before": Gaussian(A1 * x0, B1**2),  # law of x_{t-1} given x_0
        "bars": BARS,
    } | WRONG.get(wrong, {})
    step, before, bars = premises.values()
    now = Gaussian(A * x0, B**2)  # law of x_t given x_0
    bayes = step.log(x) + before.log(y) - now.log(x)
    posterior = complete_square(bayes, y)
    at_guess = posterior.mean.subs(x0, (x - B * eps_hat) / A)
    exact = posterior.mean.subs(x0, (x - B * eps) / A)
    loss = expectation(
        Gaussian(mu, sigma**2).log(y) - Gaussian(mu + z, sigma**2).log(y),
        {y: Gaussian(mu, sigma**2)},
    ).subs(z, at_guess - exact)
    data = Gaussian(0, s**2)
    previous = marginal(data, before, x0, y)
    reverse = condition(previous, step, y, x)
    return SimpleNamespace(
        bars=bars, now=now, bayes=bayes, posterior=posterior, at_guess=at_guess, loss=loss,
        step=step, before=before, previous=previous, reverse=reverse,
    )  # fmt: skip


def weight(snr_before, snr_now):
    return (snr_before - snr_now) / 2


CLAIMS = {  # every stated result of the chain: (derived, stated)
    "marginal": lambda c: (marginal(c.before, c.step, y, x), c.now),
    "posterior": lambda c: (c.posterior, POSTERIOR),
    "posterior with its normalizer": lambda c: (c.bayes, POSTERIOR.log(y)),
    "Bayes' quotient has mass 1": lambda c: (log_mass(c.bayes, y), 0),
    "eps mean": lambda c: (c.at_guess, (x - b**2 / B * eps_hat) / a),
    "eps weight": lambda c: (
        c.loss.subs(sigma, sp.sqrt(POSTERIOR.var)),
        b**2 / (2 * a**2 * B1**2) * (eps - eps_hat) ** 2,
    ),
    "SNR weight": lambda c: (
        c.loss.subs(sigma, sp.sqrt(POSTERIOR.var)),
        weight(A1**2 / B1**2, A**2 / B**2) * (B / A * (eps - eps_hat)) ** 2,
    ),
    "reverse variance for N(0, s^2)": lambda c: (
        c.reverse.var,
        b**2 * (A1**2 * s**2 + B1**2) / (A**2 * s**2 + B**2),
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_each_result_is_proved_without_unit_variance(name):
    c = chain()
    verdict = equal(*CLAIMS[name](c), given=c.bars)
    assert verdict.status == "proved", verdict


# What a result does not rest on, and rightly survives.
IMMUNE = {("posterior", "alpha bar")}  # it enters through the normalizer only


@pytest.mark.parametrize("name, wrong", list(itertools.product(CLAIMS, WRONG)))
def test_a_wrong_premise_refutes_what_rests_on_it(name, wrong):
    c = chain(wrong)
    verdict = equal(*CLAIMS[name](c), given=c.bars)
    assert verdict.status == ("proved" if (name, wrong) in IMMUNE else "differs")
    if verdict.status == "differs":
        assert verdict.point and verdict.left != verdict.right


def test_unrolling_by_induction_and_variance_preservation():
    first = marginal(Gaussian(a * x0, b**2), Gaussian(A * y, B**2), y, x)  # base case and step
    assert equal(first, Gaussian(a * A * x0, A**2 * b**2 + B**2))
    assert equal(BARS[A] ** 2 + BARS[B] ** 2, 1, UNIT)  # 1 at t - 1 and 1 for the step give 1 at t
    assert equal(a**2 + b**2, 1).status == "differs"


def test_precisions_add_in_bayes_rule():
    c = chain()
    assert equal(1 / c.posterior.var, a**2 / b**2 + 1 / B1**2)
    assert equal(c.posterior, condition(c.before, c.step, y, x))


def test_the_key_cancellation():
    left = a * B1**2 / B**2 + A1 * b**2 / (A * B**2)
    assert equal(left, 1 / a, BARS)
    assert equal(left, 1 / a).status == "differs"  # it needs the recursion of the bars


def test_gaussian_data_at_its_limits():
    reverse = chain().reverse
    var = reverse.var.subs({B1: UNIT[B1], b: UNIT[b]})
    assert equal(sp.limit(reverse.var, s, 0), POSTERIOR.var, BARS)
    assert equal(sp.limit(reverse.var, s, sp.oo), b**2 / a**2)
    assert equal(reverse.var.subs(s, 1), b**2, UNIT)
    assert equal(reverse.mean.subs(s, 1), a * x, UNIT)
    assert equal(reverse.var.subs(s, 1), b**2).status == "differs"  # needs unit variance
    grows = sp.factor(sp.diff(reverse.var, s))
    assert grows.is_positive
    assert equal(var.subs(s, 2), b**2, {b: UNIT[b]}).status == "differs"


def test_reverse_mean_and_variance_from_the_denoiser():
    """E[x_{t-1}|x_t] is the posterior mean at E[x_0|x_t]; variances add (D7, item 2)."""
    c = chain()
    denoiser = condition(Gaussian(0, s**2), c.now, x0, x)
    guess = c.posterior.mean.subs(x0, denoiser.mean)
    gamma = A1 * b**2 / B**2
    assert equal(sp.diff(c.posterior.mean, x0), gamma, BARS)
    total = Gaussian(guess, c.posterior.var + gamma**2 * denoiser.var)
    assert equal(c.reverse, total, BARS)
    two_levels = {y: c.posterior, x0: denoiser}  # law of y given x_0, then of x_0
    mean = expectation(y, two_levels)
    assert equal(mean, c.reverse.mean, BARS)
    assert equal(expectation(y**2, two_levels) - mean**2, c.reverse.var, BARS)


def test_best_noise_prediction_is_the_score():
    now = Gaussian(A * x0, B**2)
    best = (x - A * condition(Gaussian(mu, s**2), now, x0, x).mean) / B
    score = sp.diff(marginal(Gaussian(mu, s**2), now, x0, x).log(x), x)
    assert equal(best, -B * score)


def test_tweedie_for_any_data_law():
    """p'(x) = (A E[x_0|x] - x) p / B^2 with an undefined data density."""
    p0 = sp.Function("p_0", positive=True)(x0)
    kernel = p0 * Gaussian(A * x0, B**2).density(x)
    line = (x0, -sp.oo, sp.oo)
    p, first = sp.Integral(kernel, line), sp.Integral(x0 * kernel, line)
    assert equal(p.diff(x), (A * first - x * p) / B**2)
    assert equal(p.diff(x), (A * first + x * p) / B**2).status == "differs"


def test_any_ddim_variance_has_the_right_marginal():
    """D7, item 1: kappa x_t + gamma x_0 with any sigma <= B1 returns to the law at t - 1."""
    kappa = sp.sqrt(B1**2 - sigma**2) / B
    kernel = Gaussian(kappa * x + (A1 - A * kappa) * x0, sigma**2)
    law = marginal(Gaussian(A * x0, B**2), kernel, x, y)
    assert equal(law, Gaussian(A1 * x0, B1**2))
    ddpm = {sigma: sp.sqrt(POSTERIOR.var), **BARS}
    assert equal(kernel.mean, POSTERIOR.mean, ddpm)


def test_excess_kl_of_a_wrong_variance():
    """D7, item 7: (rho - 1 - log rho)/2 with rho = optimal variance / used variance."""
    rho, v = symbols(r"\rho v", positive=True)
    right, used = Gaussian(mu, rho * v), Gaussian(mu, v)
    kl = expectation(right.log(y) - used.log(y), {y: right})
    assert equal(kl, (rho - 1 - sp.log(rho)) / 2)
