"""Diffusion: Bayes by brute force, diffusers as the oracle, and laws known in closed form."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from kexue.density import GaussianMixture
from kexue.diffusion import (
    convert,
    ddim,
    ddim_step,
    ddpm,
    ddpm_step,
    elbo_weight,
    exact_eps,
    loss,
    posterior,
    recorded_ddim,
    reverse_variance,
)
from kexue.schedule import Cosine, DiscreteSchedule, Linear, cosine, ho_linear, su

F64 = torch.float64
S = su()
SCHEDULES = [su(), ho_linear(), cosine(50), Linear(), Cosine()]
TARGETS = ["eps", "x0", "v", "score"]
NAN = math.nan
TWO_MODES = GaussianMixture(
    torch.tensor([0.5, 0.5], dtype=F64),
    torch.tensor([-1.0, 1.0], dtype=F64),
    torch.tensor([0.04, 0.04], dtype=F64),
)
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def pairs(schedule, low=0.0, high=1.0):
    """Times s < t, both within a part of the schedule."""
    if isinstance(schedule, DiscreteSchedule):
        time = st.integers(math.ceil(low * schedule.T), math.floor(high * schedule.T))
    else:
        time = st.floats(low, high).filter(lambda t: t == 0 or t > 1e-9)
    return st.tuples(time, time).filter(lambda p: p[0] != p[1]).map(lambda p: (max(p), min(p)))


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# One reverse step is Bayes' rule -----------------------------------------------------------


@schedules
@settings(max_examples=15)
@given(data=st.data(), x_t=st.floats(-2, 2), x0=st.floats(-2, 2))
def test_posterior_is_bayes_rule(schedule, data, x_t, x0):
    """log p(x_s|x_t,x_0) - log p(x_t|x_s) - log p(x_s|x_0) is -log p(x_t|x_0), whatever x_s."""
    t, s = data.draw(pairs(schedule, 0.1, 0.9))
    x_t, x0 = (torch.tensor(v, dtype=F64) for v in (x_t, x0))
    mean, variance = posterior(x_t, x0, schedule, t, s)
    a, b = schedule.step(t, s)
    assume(b > 1e-4)
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    x_s = mean + variance.sqrt() * torch.linspace(-6, 6, 13, dtype=F64)
    left = Normal(mean, variance.sqrt()).log_prob(x_s)
    right = Normal(a * x_s, b).log_prob(x_t) + Normal(alpha_s * x0, sigma_s).log_prob(x_s)
    right = right - Normal(alpha_t * x0, sigma_t).log_prob(x_t)
    torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(1 / variance, a**2 / b**2 + 1 / sigma_s**2)


def test_posterior_at_the_data_is_a_point_and_takes_a_time_for_each_sample():
    x_t, x0 = randn(2, 3, 4)
    mean, variance = posterior(x_t, x0, S, 7, 0)
    torch.testing.assert_close(mean, x0)
    assert (variance == 0).all()
    t, s = torch.tensor([5, 800, 1000]), torch.tensor([4, 700, 0])
    mean, variance = posterior(x_t, x0, S, t, s)
    for i in range(3):
        one = posterior(x_t[i], x0[i], S, t[i], s[i])
        torch.testing.assert_close(mean[i], one[0])
        torch.testing.assert_close(variance[i].squeeze(), one[1].squeeze())


@schedules
@settings(max_examples=15)
@given(data=st.data(), d=st.floats(0, 50))
def test_reverse_variance_is_that_of_gaussian_data(schedule, data, d):
    """Var[x_s | x_t] = posterior variance + (coefficient of x_0)^2 Var[x_0 | x_t]."""
    t, s = data.draw(pairs(schedule))
    zero, one = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)
    gain, variance = posterior(zero, one, schedule, t, s)
    law = GaussianMixture(one, zero, d * one)
    given_x_t = law.posterior_variance(zero, *schedule(t))
    ours = reverse_variance(schedule, t, s, d)
    torch.testing.assert_close(ours, (variance + gain**2 * given_x_t)[0], rtol=1e-9, atol=1e-15)


@schedules
@settings(max_examples=15)
@given(data=st.data())
def test_reverse_variance_grows_from_posterior_through_forward_and_beyond(schedule, data):
    t, s = data.draw(pairs(schedule, 0.0, 0.95))
    a, b = schedule.step(t, s)
    assume(b > 1e-6)
    spread = torch.tensor([0.0, 0.3, 1.0, 4.0, 1e12], dtype=F64)
    v = reverse_variance(schedule, t, s, spread)
    zeros = torch.zeros(1, dtype=F64)
    torch.testing.assert_close(v[0], posterior(zeros, zeros, schedule, t, s)[1])
    torch.testing.assert_close(v[2], b**2)
    torch.testing.assert_close(v[4], b**2 / a**2, rtol=1e-6, atol=0)
    assert (v.diff() >= -1e-15).all()


def test_forward_variance_is_no_bound_even_for_unit_variance_data():
    """Pointwise in x_t, Var[x_s | x_t] of two modes at +-0.98 with std 0.2 reaches 1.23 b^2."""
    law = GaussianMixture(TWO_MODES.weights, 0.98 * TWO_MODES.means, TWO_MODES.variances)
    assert law.variance.item() == pytest.approx(1, abs=1e-3)
    x, worst = torch.linspace(-3, 3, 601, dtype=F64), 0.0
    for t in range(2, 1001, 2):
        gain, tilde = posterior(torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64), S, t, t - 1)
        total = tilde + gain**2 * law.posterior_variance(x, *S(t))
        worst = max(worst, (total.max() / S.step(t, t - 1)[1] ** 2).item())
    assert worst == pytest.approx(1.23, abs=0.005)


# The table of predictions ------------------------------------------------------------------


@pytest.mark.parametrize("source", TARGETS)
@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=20)
@given(alpha=st.floats(0.01, 1), sigma=st.floats(0.01, 2), x=st.floats(-3, 3), e=st.floats(-3, 3))
def test_conversions_from_first_principles_and_back(source, target, alpha, sigma, x, e):
    x0, eps = torch.tensor([x], dtype=F64), torch.tensor([e], dtype=F64)
    x_t = alpha * x0 + sigma * eps
    truth = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma}
    there = convert(truth[source], x_t, alpha, sigma, source=source, target=target)
    torch.testing.assert_close(there, truth[target], rtol=1e-6, atol=1e-8)
    back = convert(there, x_t, alpha, sigma, source=target, target=source)
    torch.testing.assert_close(back, truth[source], rtol=1e-6, atol=1e-8)


# What cannot be known: at sigma = 0 there is no noise, at alpha = 0 no trace of the data.
IMPOSSIBLE = {
    "sigma": {("x0", "eps"), ("x0", "v"), ("x0", "score"), ("eps", "score"), ("v", "score")},
    "alpha": {("eps", "x0"), ("eps", "v"), ("score", "x0"), ("score", "v")},
}


@pytest.mark.parametrize("zero", IMPOSSIBLE)
@pytest.mark.parametrize("source", TARGETS)
@pytest.mark.parametrize("target", TARGETS)
def test_conversions_at_the_ends_of_time(zero, source, target):
    x0, eps = randn(2, 4)
    alpha, sigma = (1.0, 0.0) if zero == "sigma" else (0.0, 1.0)
    x_t = alpha * x0 + sigma * eps
    truth = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps}

    def call():
        return convert(truth[source], x_t, alpha, sigma, source=source, target=target)

    if (source, target) in IMPOSSIBLE[zero]:
        with pytest.raises(ValueError, match=f"^{zero}: got 0, needs a nonzero {zero}"):
            call()
    elif not (zero == "sigma" and source == "score" and target != "score"):
        # A score at sigma = 0 would be infinite, so there is none to convert from.
        torch.testing.assert_close(call(), truth[target])


def test_conversions_sample_by_sample():
    x_t, value = randn(2, 3, 2, 2)
    alpha, sigma = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.3, 0.8, 0.99])
    got = convert(value, x_t, alpha, sigma, source="v", target="x0")
    for i in range(3):
        one = convert(value[i], x_t[i], alpha[i], sigma[i], source="v", target="x0")
        torch.testing.assert_close(got[i], one)


@schedules
def test_exact_eps_is_minus_sigma_times_the_score(schedule):
    t = 30 if isinstance(schedule, DiscreteSchedule) else 0.3
    x = randn(7)
    eps = exact_eps(TWO_MODES, schedule)(x, t)
    alpha, sigma = schedule(t)
    torch.testing.assert_close(eps, -sigma * TWO_MODES.noised(alpha, sigma).score(x))


# The steps are those of diffusers ----------------------------------------------------------
# Their index i is our time i + 1, and the end, "previous index -1", is our time 0. Their tables are
# float32; ours are taken from theirs (from_alpha_bar) so that only the step itself is compared.


def diffusers_ddpm(kind, name, precise=False):
    scheduler = DDPMScheduler(beta_schedule=name, variance_type=kind, clip_sample=False)
    if precise:  # the same formulas in float64
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
        scheduler.one = torch.tensor(1.0, dtype=F64)
    return scheduler, DiscreteSchedule.from_alpha_bar(scheduler.alphas_cumprod.double())


@pytest.mark.parametrize(
    "kind, variance", [("fixed_small", "posterior"), ("fixed_large", "forward")]
)
@pytest.mark.parametrize("name", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("steps", [1000, 50, 7])
@pytest.mark.parametrize("precise", [False, True], ids=["float32", "float64"])
def test_ddpm_step_is_diffusers(kind, variance, name, steps, precise):
    """Every t of the chain. `fixed_small` clamps the variance at 1e-20; it would matter only at the
    last step, where neither adds noise (diffusers: `if t > 0`).

    Their formulas in float64 agree with ours to 1e-10. As shipped, in float32, they are up to 8e-5
    from their own float64, near the data: 1 - alpha_bar_t / alpha_bar_{t-1} keeps three digits of
    the small variance of one step. Ours in float32 stays within 1e-6.
    """
    scheduler, schedule = diffusers_ddpm(kind, name, precise)
    scheduler.set_timesteps(steps)
    dtype, tolerance = (F64, 1e-10) if precise else (torch.float32, 1e-4)
    x_t, eps = randn(2, 2, 1, 3, 3, dtype=dtype)
    indices = scheduler.timesteps.tolist()
    for index in indices if precise else indices[:20] + indices[20:-20:9] + indices[-20:]:
        t, s = index + 1, max(index - 1000 // steps, -1) + 1  # `previous_timestep`
        theirs = scheduler.step(eps, index, x_t, generator=torch.Generator().manual_seed(index))
        noise = randn(*x_t.shape, seed=index, dtype=dtype)
        ours = ddpm_step(x_t, eps, schedule, t, s, variance, noise)
        # At the first index alpha is 0.006, or 5e-5 for the cosine: x0 is in the hundreds or more,
        # and its rounding with it.
        size = max(1.0, theirs.prev_sample.abs().max().item())
        error = (ours - theirs.prev_sample).abs().max().item()
        assert error <= tolerance * size, (index, error)
        if not precise:
            x_64, eps_64, noise_64 = x_t.double(), eps.double(), noise.double()
            exact = ddpm_step(x_64, eps_64, schedule, t, s, variance, noise_64)
            assert (ours - exact).abs().max() <= 1e-6 * size, index


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1000, 50, 7])
@pytest.mark.parametrize("precise", [False, True], ids=["float32", "float64"])
def test_ddim_step_is_diffusers(eta, steps, precise):
    """`set_alpha_to_one` (the default) makes the state before index 0 the data, our time 0."""
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=True)
    if precise:
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    schedule = DiscreteSchedule.from_alpha_bar(scheduler.alphas_cumprod.double())
    scheduler.set_timesteps(steps)
    dtype, tolerance = (F64, 1e-10) if precise else (torch.float32, 1e-5)
    x_t, eps, noise = randn(3, 2, 1, 3, 3, dtype=dtype)
    for index in scheduler.timesteps.tolist():
        previous = index - 1000 // steps
        theirs = scheduler.step(eps, index, x_t, eta=eta, variance_noise=noise).prev_sample
        ours = ddim_step(x_t, eps, schedule, index + 1, max(previous, -1) + 1, eta, noise)
        size = max(1.0, theirs.abs().max().item())
        assert (ours - theirs).abs().max() <= tolerance * size, index


def test_a_whole_chain_inside_diffusers():
    """The same model and noise give the same samples: our loop, their scheduler in their loop."""
    scheduler, schedule = diffusers_ddpm("fixed_large", "linear")
    model, x = exact_eps(TWO_MODES, schedule), randn(64, dtype=torch.float32)
    noise = [randn(64, seed=i, dtype=torch.float32) for i in range(100)]
    scheduler.set_timesteps(100)
    times = [index + 1 for index in scheduler.timesteps.tolist()] + [0]
    *_, (t, ours) = ddpm(model, x, schedule, times, "forward", noise=noise)
    for i, index in enumerate(scheduler.timesteps.tolist()):
        eps = model(x, torch.tensor(index + 1))
        x = scheduler.step(
            eps[:, None], index, x[:, None], generator=torch.Generator().manual_seed(i)
        ).prev_sample[:, 0]
    assert t == 0
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


# Steps -------------------------------------------------------------------------------------


@schedules
@settings(max_examples=15)
@given(data=st.data())
def test_ddpm_mean_is_the_posterior_mean_of_the_predicted_data(schedule, data):
    t, s = data.draw(pairs(schedule, 0.01, 0.95))
    x_t, eps = randn(2, 5)
    x0 = convert(eps, x_t, *schedule(t), source="eps", target="x0")
    mean, variance = posterior(x_t, x0, schedule, t, s)
    noise = randn(5, seed=1)
    ours = ddpm_step(x_t, eps, schedule, t, s, noise=noise)
    size = x0.abs().max().item() + 1
    torch.testing.assert_close(ours, mean + variance.sqrt() * noise, rtol=0, atol=1e-11 * size)
    same = ddim_step(x_t, eps, schedule, t, s, eta=1.0, noise=noise)
    torch.testing.assert_close(ours, same, rtol=0, atol=1e-11 * size)


def test_ddim_adds_no_noise_unless_asked():
    x_t, eps = randn(2, 5)
    step = ddim_step(x_t, eps, S, 500, 400)
    assert torch.equal(step, ddim_step(x_t, eps, S, 500, 400, eta=0.0))
    assert torch.equal(step, ddim_step(x_t, eps, S, 500, 400, noise=randn(5, seed=1)))


@schedules
@settings(max_examples=15)
@given(data=st.data(), eta=st.floats(0, 1))
def test_ddim_keeps_the_marginal(schedule, data, eta):
    """With the true eps, x_s has the law of alpha_s x_0 + sigma_s eps': squared noise adds up."""
    t, s = data.draw(pairs(schedule, 0.01, 0.95))
    x0, eps = torch.tensor([[1.3], [0.0]], dtype=F64), torch.tensor([[0.0], [1.0]], dtype=F64)
    x_t = schedule.add_noise(x0, eps, t)
    zero, one = torch.zeros(2, 1, dtype=F64), torch.ones(2, 1, dtype=F64)
    mean = ddim_step(x_t, eps, schedule, t, s, eta, zero)
    spread = ddim_step(x_t, eps, schedule, t, s, eta, one) - mean
    alpha_s, sigma_s = schedule(s)
    torch.testing.assert_close(mean[0, 0], alpha_s * 1.3, rtol=1e-8, atol=1e-8)
    total = mean[1, 0] ** 2 + spread[1, 0] ** 2
    torch.testing.assert_close(total, sigma_s**2, rtol=1e-6, atol=1e-8)


def test_the_last_step_adds_no_noise():
    x_t, eps, noise = randn(3, 4)
    for variance in ("posterior", "forward", 0.7):
        end = ddpm_step(x_t, eps, S, 20, 0, variance, noise)
        x0 = convert(eps, x_t, *S(20), source="eps", target="x0")
        torch.testing.assert_close(end, x0)
        assert not torch.equal(ddpm_step(x_t, eps, S, 20, 1, variance, noise), end)
    batch = ddpm_step(x_t, eps, S, torch.full((4,), 20), torch.tensor([0, 1, 0, 1]), 0.7, noise)
    torch.testing.assert_close(batch[::2], x0[::2])  # a time for each sample


def test_variance_by_name_number_tensor():
    x_t, eps, noise = randn(3, 4)
    b = S.step(500, 400)[1].item()
    by_name = ddpm_step(x_t, eps, S, 500, 400, "forward", noise)
    for value in (b**2, torch.full((4,), b**2)):
        torch.testing.assert_close(ddpm_step(x_t, eps, S, 500, 400, value, noise), by_name)


# Training ----------------------------------------------------------------------------------


def test_loss_is_the_mean_square_written_out():
    x0, noise = randn(2, 4, 3)
    t = torch.tensor([1, 10, 500, 1000])

    def model(x_t, t):
        assert t.shape == (4,) and t.dtype == torch.int64
        return x_t * t[:, None] / 1000

    by_hand = sum(
        ((noise[i] - (S.alpha(t[i]) * x0[i] + S.sigma(t[i]) * noise[i]) * t[i] / 1000) ** 2).sum()
        for i in range(4)
    )
    torch.testing.assert_close(loss(model, x0, S, t, noise), by_hand / 12)
    weighted = loss(model, x0, S, t, noise, weight=lambda t: (t == 10) * 4.0)
    one = loss(lambda x, _: x * 0.01, x0[1:2], S, torch.tensor([10]), noise[1:2])
    torch.testing.assert_close(weighted, one)


def test_loss_of_the_exact_model_is_the_conditional_variance_and_stationary():
    """E|eps - eps*|^2 = alpha^2 / sigma^2 E Var[x_0 | x_t], and any factor c on eps* costs more."""
    x0, noise = TWO_MODES.sample((200_000,)), randn(200_000)
    model, t = exact_eps(TWO_MODES, S), 150
    alpha, sigma = S(t)
    x_t = S.add_noise(x0, noise, t)
    error = (noise - model(x_t, t)).square()
    expected = (alpha / sigma) ** 2 * TWO_MODES.posterior_variance(x_t, alpha, sigma)
    difference = error - expected
    assert difference.mean().abs() < 5 * difference.std() / 200_000**0.5
    best = loss(model, x0, S, torch.full((200_000,), t), noise).item()
    assert best == pytest.approx(error.mean().item(), rel=1e-12)
    for c in (0.9, 1.1):
        assert loss(lambda x, t, c=c: c * model(x, t), x0, S, t, noise) > best


@pytest.mark.parametrize("schedule", [S, Linear()], ids=repr)
def test_loss_draws_all_times_and_repeats(schedule):
    seen = []

    def model(x_t, t):
        seen.append(t)
        return torch.zeros_like(x_t)

    x0 = torch.zeros(5000, 1)
    one, two = (loss(model, x0, schedule, generator=torch.Generator().manual_seed(4)) for _ in "12")
    assert one == two and one.item() == pytest.approx(1, abs=0.1)  # E eps^2
    end = 1000 if schedule is S else 1
    assert seen[0].min() > 0 and seen[0].max() <= end
    assert seen[0].double().mean().item() == pytest.approx(end / 2, rel=0.03)
    assert seen[0].is_floating_point() == (schedule is not S)


@pytest.mark.parametrize("schedule", [su(3), Linear()], ids=repr)
def test_loss_draws_one_time_a_sample_from_the_first_to_the_last(schedule):
    seen = []

    def model(x_t, t):
        seen.append(t)
        return torch.zeros_like(x_t)

    loss(model, torch.zeros(500, 2, 3), schedule)
    assert seen[0].shape == (500,)
    if isinstance(schedule, DiscreteSchedule):
        assert seen[0].unique().tolist() == [1, 2, 3]


def test_loss_never_draws_the_time_of_the_data():
    """Half precision draws an exact 0 from [0, 1) about once in 2,000: it must become t = 1."""
    seen = []

    def model(x_t, t):
        seen.append(t)
        return torch.zeros_like(x_t)

    loss(model, torch.zeros(20_000, 1, dtype=torch.float16), Linear())
    assert seen[0].min() > 0 and seen[0].max() == 1


def test_loss_trains():
    w = torch.zeros((), requires_grad=True)
    loss(lambda x, t: w * x, torch.zeros(64, 2), S).backward()
    assert w.grad < 0  # with data at 0, eps is a positive multiple of x_t


@schedules
@settings(max_examples=15)
@given(data=st.data(), wrong=st.floats(-2, 2))
def test_elbo_weight_is_the_divergence_of_the_two_steps(schedule, data, wrong):
    t, s = data.draw(pairs(schedule, 0.02, 0.9))
    assume(schedule.step(t, s)[1] > 1e-3)
    x0, eps = (torch.tensor([v], dtype=F64) for v in (0.7, -0.4))
    x_t = schedule.add_noise(x0, eps, t)
    mean, variance = posterior(x_t, x0, schedule, t, s)
    model = ddpm_step(x_t, eps + wrong, schedule, t, s, noise=torch.zeros(1, dtype=F64))
    std = variance.sqrt()
    kl = kl_divergence(Normal(mean, std), Normal(model, std))[0]
    ours = elbo_weight(schedule, t, s) * wrong**2
    torch.testing.assert_close(ours, kl, rtol=1e-6, atol=1e-10)
    of_x0 = elbo_weight(schedule, t, s, of="x0")
    torch.testing.assert_close(of_x0, (schedule.snr(s) - schedule.snr(t)) / 2, rtol=1e-7, atol=0)


def test_elbo_weights_telescope():
    """The x0 weights sum to (SNR at the first s - SNR at T) / 2, however many steps are taken."""
    for n in (10, 333, 999):
        times = S.timesteps(n, stop=1)
        total = elbo_weight(S, times[:-1], times[1:], of="x0").sum()
        torch.testing.assert_close(total, (S.snr(1) - S.snr(1000)) / 2)


# Samplers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [ddpm, ddim])
@pytest.mark.parametrize("schedule", [S, Linear()], ids=repr)
def test_samplers_yield_every_state(sampler, schedule):
    times = schedule.timesteps(6)
    x = randn(5, 2)
    law = GaussianMixture([1.0], [[2.0, -1.0]], [1e-8])
    states = list(sampler(exact_eps(law, schedule), x, schedule, times))
    assert [t for t, _ in states] == times.tolist() and torch.equal(states[0][1], x)
    end = states[-1][1]
    assert type(states[0][0]) is (int if schedule is S else float) and end.shape == (5, 2)
    torch.testing.assert_close(
        end, torch.tensor([2.0, -1.0], dtype=F64).expand(5, 2), atol=1e-3, rtol=0
    )
    assert [t for t, _ in sampler(exact_eps(law, schedule), x, schedule, times[2:5])] == times[
        2:5
    ].tolist()


def test_samplers_repeat_take_injected_noise_and_leave_gradients_alone():
    model, x, times = exact_eps(TWO_MODES, S), randn(9), [1000, 600, 100, 0]

    def end(**options):
        return list(ddpm(model, x, S, times, **options))[-1][1]

    seeded = [end(generator=torch.Generator().manual_seed(8)) for _ in range(2)]
    assert torch.equal(*seeded)
    rng = torch.Generator().manual_seed(8)
    injected = [torch.randn(9, generator=rng, dtype=F64) for _ in range(3)]
    assert torch.equal(end(noise=injected), seeded[0])
    assert torch.equal(
        end(noise=injected, variance=lambda t, s: S.step(t, s)[1] ** 2),
        end(noise=injected, variance="forward"),
    )
    with pytest.raises(ValueError, match=r"^noise: got too few"):
        end(noise=injected[:2])
    chain = ddpm(model, x.requires_grad_(), S, times)
    next(chain)
    assert not next(chain)[1].requires_grad and torch.is_grad_enabled()


def test_deterministic_ddim_draws_nothing():
    model, before = exact_eps(TWO_MODES, S), torch.get_rng_state()
    one, two = (list(ddim(model, X[:, 0], S, [900, 300, 0])) for _ in "12")
    assert torch.equal(one[-1][1], two[-1][1]) and torch.equal(torch.get_rng_state(), before)
    ends = [list(ddim(model, X[:, 0], S, [900, 300, 0], eta=1.0))[-1][1] for _ in "12"]
    assert not torch.equal(*ends)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("schedule", [S, Linear()], ids=repr)
def test_the_recorded_sampler_is_the_sampler(schedule, eta):
    """The same states from the same noise, also a second time, and with gaps in the times."""
    model, times = exact_eps(TWO_MODES, schedule), schedule.timesteps(9)[[0, 1, 4, 5, 9]]
    run = recorded_ddim(model, torch.zeros(7, dtype=F64), schedule, times, eta)
    for seed in (1, 2):
        x = randn(7)
        *_, (_, end) = ddim(
            model, x, schedule, times, eta, generator=torch.Generator().manual_seed(seed)
        )
        torch.testing.assert_close(run(x, torch.Generator().manual_seed(seed)), end)
    before = x.clone()
    assert torch.equal(run(x, torch.Generator()), run(x, torch.Generator()))
    assert torch.equal(x, before) and not run(x.requires_grad_()).requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to record on")
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_recording_changes_no_sample(eta):
    w = randn(6, 6).float().cuda()

    def model(x, t):
        return torch.tanh(x @ w) * (t / 1000)[:, None]

    x = randn(5, 6).float().cuda()
    run = recorded_ddim(model, torch.zeros_like(x), S, S.timesteps(20), eta)
    for seed in (1, 2):
        dice = [torch.Generator("cuda").manual_seed(seed) for _ in "ab"]
        *_, (_, end) = ddim(model, x, S, S.timesteps(20), eta, generator=dice[0])
        torch.testing.assert_close(run(x, dice[1]), end, rtol=1e-4, atol=1e-4)


def test_ddim_converges_at_first_order_to_the_flow_of_gaussian_data():
    """For N(0, d) the flow scales x by the standard deviations: x_0 = x_T sqrt(d / var_T)."""
    law, schedule = GaussianMixture([1.0], [0.0], [4.0]), Linear()
    x, errors = torch.ones(1, dtype=F64), []
    exact = 2 / law.noised(*schedule(1)).variance.sqrt().item()
    for n in (100, 200, 400):
        *_, (_, end) = ddim(exact_eps(law, schedule), x, schedule, schedule.timesteps(n))
        errors.append(abs(end.item() - exact))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_ancestral_sampling_of_unit_gaussian_data_is_exact_with_the_forward_variance():
    model = exact_eps(GaussianMixture([1.0], [0.0], [1.0]), S)
    *_, (_, x) = ddpm(model, randn(100_000), S, [1000, 500, 30], "forward")
    assert abs(x.mean()) < 5 / 100_000**0.5
    assert abs(x.var() - 1) < 5 * (2 / 100_000) ** 0.5
    *_, (_, x) = ddpm(model, randn(100_000), S, [1000, 500, 30], "posterior")
    assert x.var() < 0.9  # right for a point, too narrow here


# Bad input ---------------------------------------------------------------------------------

X = torch.zeros(3, 2)
BAD_TENSORS = st.sampled_from(
    [None, "x", torch.zeros(3, 2, dtype=torch.int64), torch.zeros(0, 2), torch.full((3, 2), NAN)]
)
WRONG_SHAPES = st.sampled_from([torch.zeros(3), torch.zeros(2, 3), torch.zeros(3, 2, 1)])
CALLS = {
    ("posterior", "x_t"): lambda bad: posterior(bad, X, S, 5, 4),
    ("posterior", "x0"): lambda bad: posterior(X, bad, S, 5, 4),
    ("convert", "value"): lambda bad: convert(bad, X, 0.6, 0.8, source="v", target="eps"),
    ("convert", "x_t"): lambda bad: convert(X, bad, 0.6, 0.8, source="v", target="eps"),
    ("loss", "x0"): lambda bad: loss(lambda x, t: x, bad, S),
    ("loss", "noise"): lambda bad: loss(lambda x, t: x, X, S, 5, bad if bad is not None else "x"),
    ("ddpm_step", "x_t"): lambda bad: ddpm_step(bad, X, S, 5, 4),
    ("ddpm_step", "eps"): lambda bad: ddpm_step(X, bad, S, 5, 4),
    ("ddpm_step", "noise"): lambda bad: ddpm_step(
        X,
        X,
        S,
        5,
        4,
        "forward",
        "x" if bad is None else bad,  # None draws the noise
    ),
    ("ddim_step", "x_t"): lambda bad: ddim_step(bad, X, S, 5, 4),
    ("ddim_step", "eps"): lambda bad: ddim_step(X, bad, S, 5, 4),
    ("ddpm", "x_T"): lambda bad: ddpm(lambda x, t: x, bad, S, [5, 0]),
    ("ddim", "x_T"): lambda bad: ddim(lambda x, t: x, bad, S, [5, 0]),
}


@pytest.mark.parametrize("call", CALLS, ids=".".join)
@settings(max_examples=10)
@given(bad=BAD_TENSORS)
def test_bad_tensors_are_named(call, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{call[1]}: got "):
        CALLS[call](bad)


@pytest.mark.parametrize(
    "call", [c for c in CALLS if c[1] in ("x0", "eps", "noise") and c[0] != "loss"]
)
@settings(max_examples=5)
@given(bad=WRONG_SHAPES)
def test_wrong_shapes_are_named(call, bad):
    with pytest.raises(ValueError, match=f"^{call[1]}: got shape"):
        CALLS[call](bad)


@settings(max_examples=25)
@given(t=st.integers(-3, 1005), s=st.integers(-3, 1005))
def test_steps_refuse_bad_times(t, s):
    assume(not 0 <= s < t <= 1000)
    for call in (
        lambda: posterior(X, X, S, t, s),
        lambda: reverse_variance(S, t, s, 1.0),
        lambda: elbo_weight(S, t, s),
        lambda: ddpm_step(X, X, S, t, s),
        lambda: ddim_step(X, X, S, t, s),
        lambda: ddpm(lambda x, t: x, X, S, [t, s]),
    ):
        with pytest.raises(ValueError, match=r"^(t|s|timesteps): "):
            call()


def zero_model(x, t):
    return torch.zeros_like(x)


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: ddpm_step(X, X, S, 5, 4, "learned"), "variance"),
        (lambda: ddpm_step(X, X, S, 5, 4, -0.1), "variance"),
        (lambda: ddpm_step(X, X, S, 5, 4, NAN), "variance"),
        (lambda: ddpm_step(X, X, S, 5, 4, torch.ones(2)), "variance"),
        (lambda: ddpm_step(X, X, S, torch.tensor([5, 6]), 4), "t"),
        (lambda: ddpm_step(X, X, Cosine(), 1.0, 0.5), "t"),
        (lambda: ddim_step(X, X, Cosine(), 1.0, 0.5), "t"),
        (lambda: ddim_step(X, X, Cosine(), 1e-200, 0.0), "t"),
        (lambda: posterior(X, X, Cosine(), 1e-200, 0.0), "t"),
        (lambda: reverse_variance(Cosine(), 1e-200, 0.0, 0.0), "t"),
        (lambda: ddim_step(X, X, S, 5, 4, 1.1), "eta"),
        (lambda: ddim_step(X, X, S, 5, 4, -0.1), "eta"),
        (lambda: ddim(zero_model, X, S, [5, 0], eta=2), "eta"),
        (lambda: recorded_ddim(zero_model, X, S, [5, 0], eta=2), "eta"),
        (lambda: recorded_ddim(zero_model, X, S, [0, 5]), "timesteps"),
        (lambda: recorded_ddim(zero_model, torch.tensor(0.0), S, [5, 0]), "x_T"),
        (lambda: recorded_ddim(zero_model, X, S, [5, 0])(X[:1]), "x_T"),
        (lambda: ddpm(zero_model, X, S, [5, 0], "learned"), "variance"),
        (lambda: ddpm(zero_model, X, S, [5]), "timesteps"),
        (lambda: ddpm(zero_model, X, S, [0, 5]), "timesteps"),
        (lambda: ddpm(zero_model, X, S, [5, 5, 0]), "timesteps"),
        (lambda: ddpm(zero_model, X, S, [5.0, 0.0]), "timesteps"),
        (lambda: ddpm(zero_model, X, S, [[5, 0]]), "timesteps"),
        (lambda: ddpm(zero_model, X, S, 7), "timesteps"),
        (lambda: ddpm(zero_model, torch.tensor(0.0), S, [5, 0]), "x_T"),
        (lambda: list(ddpm(lambda x, t: x[:1], X, S, [5, 0])), r"model\(x_t, t\)"),
        (lambda: list(ddpm(lambda x, t: x / 0, X, S, [5, 0])), "eps"),
        (lambda: loss(lambda x, t: x[:1], X, S), r"model\(x_t, t\)"),
        (lambda: loss(zero_model, torch.tensor(1.0), S), "x0"),
        (lambda: loss(zero_model, X, S, torch.tensor([1, 2])), "t"),
        (lambda: loss(zero_model, X, S, 1001), "t"),
        (lambda: loss(zero_model, X, S, weight=lambda t: t * NAN), r"weight\(t\)"),
        (lambda: loss(zero_model, X, S, weight=lambda t: -t), r"weight\(t\)"),
        (lambda: elbo_weight(S, 1, 0), "s"),
        (lambda: elbo_weight(S, 2, 1, of="v"), "of"),
        (lambda: reverse_variance(S, 2, 1, -1.0), "data_variance"),
        (lambda: reverse_variance(S, 2, 1, NAN), "data_variance"),
        (lambda: convert(X, X, 0.6, 0.8, source="velocity", target="x0"), "source"),
        (lambda: convert(X, X, 0.6, 0.8, source="v", target="data"), "target"),
        (lambda: convert(X, X, NAN, 0.8, source="v", target="x0"), "alpha"),
        (lambda: convert(X, X, 0.6, torch.ones(2), source="v", target="x0"), "sigma"),
        (lambda: convert(X, X, 0.0, 0.0, source="v", target="x0"), "sigma"),
    ],
)
def test_bad_arguments_are_named(call, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: "):
        call()
