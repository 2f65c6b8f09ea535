"""Schedules: the oracle is diffusers; the theorems are those of a variance-preserving chain."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue.schedule import (
    Cosine,
    DiscreteSchedule,
    Linear,
    Su,
    cosine,
    discrete,
    expand_like,
    ho_linear,
    su,
)

CONTINUOUS = [Cosine(), Linear(), Linear(0.0, 5.0), Su()]
DISCRETE = [su(), ho_linear(), cosine(), su(10), cosine(4)]
ALL = CONTINUOUS + DISCRETE
F64 = torch.float64


def times(schedule):
    """A strategy of times of a schedule."""
    if isinstance(schedule, DiscreteSchedule):
        return st.integers(0, schedule.T)
    return st.floats(0, 1)


def close(x, y, rel=1e-12, abs_=0.0):
    return torch.allclose(
        torch.as_tensor(x, dtype=F64), torch.as_tensor(y, dtype=F64), rtol=rel, atol=abs_
    )


# Oracles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ours, name", [(ho_linear, "linear"), (cosine, "squaredcos_cap_v2")])
@pytest.mark.parametrize("T", [20, 1000])
def test_diffusers_at_index_t_minus_one(ours, name, T):
    theirs = DDPMScheduler(num_train_timesteps=T, beta_schedule=name).alphas_cumprod.double()
    table = ours(T).alpha_bar_table
    assert table[0] == 1 and len(table) == T + 1
    assert (table[1:] - theirs).abs().max() < 1e-6
    assert close(ours(T).alpha_bar(torch.arange(1, T + 1)), table[1:])


def test_the_published_ends():
    plain = math.prod(math.sqrt(1 - 0.02 * t / 1000) for t in range(1, 1001))
    assert close(su().alpha(1000), plain)
    assert f"{su().alpha(1000):.5f}" == "0.00648"
    assert f"{ho_linear().alpha(1000):.5f}" == "0.00635"
    assert cosine().step(1000, 999)[1].item() ** 2 == pytest.approx(0.999)  # the clipped step


def test_su_first_and_last_step():
    a, b = su().step(torch.tensor([1, 500, 1000]), torch.tensor([0, 499, 999]))
    assert close(b**2, [2e-5, 0.01, 0.02], rel=1e-11) and close(a**2, [1 - 2e-5, 0.99, 0.98])


# Theorems ----------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@settings(max_examples=15)
@given(data=st.data())
def test_variance_is_preserved(schedule, data):
    t = data.draw(times(schedule))
    alpha, sigma = schedule(t)
    assert close(alpha**2 + sigma**2, 1.0, rel=1e-15, abs_=4e-16)
    assert close(schedule.alpha_bar(t), alpha**2)
    s = data.draw(times(schedule).filter(lambda s: s != t))
    a, b = schedule.step(max(s, t), min(s, t))
    assert close(a**2 + b**2, 1.0, rel=1e-15, abs_=4e-16)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@settings(max_examples=15)
@given(data=st.data())
def test_steps_compose(schedule, data):
    """(r to s) then (s to t) is (r to t), and from data it is the marginal."""
    r, s, t = sorted(data.draw(st.lists(times(schedule), min_size=3, max_size=3, unique=True)))
    (a_sr, b_sr), (a_ts, b_ts), (a, b) = (
        schedule.step(s, r),
        schedule.step(t, s),
        schedule.step(t, r),
    )
    assert close(a_ts * a_sr, a, abs_=1e-16)
    assert close(a_ts**2 * b_sr**2 + b_ts**2, b**2, abs_=1e-15)
    from_data = schedule.step(t, 0)
    assert close(from_data[0], schedule.alpha(t)) and close(from_data[1], schedule.sigma(t))


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@settings(max_examples=15)
@given(data=st.data())
def test_composition_is_associative(schedule, data):
    def then(first, second):  # x -> a x + b eps, then again, with fresh eps
        return second[0] * first[0], torch.hypot(second[0] * first[1], second[1])

    q, r, s, t = sorted(data.draw(st.lists(times(schedule), min_size=4, max_size=4, unique=True)))
    one, two, three = schedule.step(r, q), schedule.step(s, r), schedule.step(t, s)
    left, right = then(then(one, two), three), then(one, then(two, three))
    assert close(left[0], right[0], abs_=1e-16) and close(left[1], right[1])


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_signal_falls_from_data_to_noise(schedule):
    t = schedule.timesteps(4 if isinstance(schedule, DiscreteSchedule) else 100).flip(0)
    log_snr = schedule.log_snr(t)
    assert log_snr[0] == math.inf and (log_snr.diff() < 0).all()
    alpha, sigma = schedule(t[1:-1])
    assert close(log_snr[1:-1], 2 * (alpha.log() - sigma.log()), abs_=1e-12)
    assert close(schedule.snr(t[1:-1]), alpha**2 / sigma**2)
    assert schedule.alpha(0) == 1 and schedule.sigma(0) == 0


@given(st.floats(1e-150, 1))
def test_cosine_is_cosine_and_accurate_near_data(t):
    alpha, sigma = Cosine()(t)
    assert sigma.item() == pytest.approx(math.sin(math.pi / 2 * t), rel=1e-13)
    assert alpha.item() == pytest.approx(math.sin(math.pi / 2 * (1 - t)), rel=1e-13)
    assert Cosine().alpha(1.0) == 0


@pytest.mark.parametrize("schedule, rate", [(Linear(), (0.1, 20.0)), (Su(), (0.0, 20.0))])
@given(t=st.floats(1e-3, 1))
def test_rate_of_noise_by_autograd(schedule, rate, t):
    """d log alpha / dt = -beta(t) / 2 with beta linear between its ends."""
    t = torch.tensor(t, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(schedule.log_alpha(t), t)
    assert close(slope, -(rate[0] + (rate[1] - rate[0]) * t.detach()) / 2)


@pytest.mark.parametrize("t", [0.2, 0.5, 1.0])
def test_continuous_schedules_are_limits_of_the_discrete_ones(t):
    """With step noise beta(i/T)/T the discrete alpha tends to the continuous one at order 1/T."""
    errors = {"ho": [], "su": []}
    for T in (1000, 2000, 4000):
        i = round(t * T)
        ho = ho_linear(T, 0.1 / T, 20 / T)
        grid = torch.arange(1, T + 1, dtype=F64) / T
        like_su = DiscreteSchedule.from_alpha_bar((1 - 20 * grid / T).cumprod(0))
        errors["ho"].append(abs(math.log(ho.alpha(i) / Linear().alpha(t))))
        errors["su"].append(abs(math.log(like_su.alpha(i) / Su().alpha(t))))
    for name, (first, second, third) in errors.items():
        assert first / second == pytest.approx(2, rel=0.05), name
        assert second / third == pytest.approx(2, rel=0.05), name
    assert close(su().alpha(500), Su().alpha(0.5), rel=0.02)


def test_from_alpha_bar_round_trip_and_zero_terminal_snr():
    for schedule in DISCRETE:
        again = DiscreteSchedule.from_alpha_bar(schedule.alpha_bar_table[1:])
        assert close(again.alpha_bar_table, schedule.alpha_bar_table)
    zero = DiscreteSchedule.from_alpha_bar([0.5, 0.0])
    assert zero.alpha(2) == 0 and zero.sigma(2) == 1 and zero.step(2, 1)[1] == 1


def test_cosine_has_a_slope_up_to_pure_noise():
    """The form that is not used at t must not spoil the gradient: 0 times infinity is NaN."""
    t = torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(Cosine().log_alpha(t).sum(), t)
    assert close(slope[:3], -math.pi / 2 * torch.tan(math.pi / 2 * t[:3].detach()))
    assert slope[3] == -math.inf


# Shapes, values, names ---------------------------------------------------------------------


@given(T=st.integers(1, 1000), data=st.data())
def test_timesteps_of_a_discrete_schedule(T, data):
    stop = data.draw(st.integers(0, T - 1))
    n = data.draw(st.integers(1, T - stop))
    t = su(T).timesteps(n, stop)
    assert t.dtype == torch.int64 and len(t) == n + 1
    assert t[0] == T and t[-1] == stop and (t.diff() < 0).all()
    assert (t.diff().max() - t.diff().min()).abs() <= 1  # equal up to rounding


def test_timesteps_of_a_continuous_schedule():
    t = Linear().timesteps(7, stop=0.01)
    assert len(t) == 8 and t[0] == 1 and t[-1] == 0.01
    assert close(t.diff(), torch.full((7,), -0.99 / 7, dtype=F64), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_add_noise_sample_by_sample(dtype):
    x0, noise = torch.randn(2, 3, 4, 5, dtype=dtype)
    t = torch.tensor([0, 17, 1000])
    x_t = su().add_noise(x0, noise, t)
    assert x_t.dtype == dtype and torch.equal(x_t[0], x0[0])
    for i in range(3):
        alpha, sigma = su()(t[i].item())
        expected = alpha.to(dtype) * x0[i] + sigma.to(dtype) * noise[i]
        assert torch.equal(x_t[i], expected)
        assert torch.equal(su().add_noise(x0, noise, int(t[i]))[i], expected)


def test_schedules_are_values():
    assert su(30) == discrete("su", 30) != su(31) and hash(su(30)) == hash(discrete("su", 30))
    assert discrete("su") == su() == su(1000)
    assert Linear() == Linear(0.1, 20.0) != Linear(0.1, 10.0)
    assert repr(cosine(7)) == "DiscreteSchedule('cosine', T=7)"
    with pytest.raises(AttributeError):
        su().name = "other"
    with pytest.raises(AttributeError):
        Linear().beta_max = 3
    table = su().log_alpha_table.clone()
    kept = DiscreteSchedule(table)
    table[3] = 5.0  # the schedule has its own copy
    assert torch.equal(kept.log_alpha_table, su().log_alpha_table)


@pytest.mark.parametrize("index", [7, torch.tensor(7), torch.tensor(7, dtype=torch.int32)])
def test_integer_kinds(index):
    assert su().alpha(index) == su().alpha_bar_table[7].sqrt()
    assert su().alpha(torch.tensor([[7, 8]])).shape == (1, 2)


def test_one_number_stays_on_the_cpu_and_many_go_along():
    x = torch.empty(3, 2, device="meta")
    assert expand_like(torch.tensor(2.0), x).device.type == "cpu"
    assert expand_like(torch.ones(3), x).device.type == "meta"


# Bad input ---------------------------------------------------------------------------------

BAD_VALUES = st.sampled_from([-1, 1001, math.nan, math.inf, -0.5, 2.5]) | st.floats(1.0001, 1e9)
NOT_TIMES = st.sampled_from([None, "1", True, 1j, object(), [], torch.tensor(True)])


@settings(max_examples=15)
@given(bad=BAD_VALUES | NOT_TIMES)
@pytest.mark.parametrize("schedule", [Cosine(), Su(), su()], ids=repr)
@pytest.mark.parametrize("method", ["alpha", "sigma", "alpha_bar", "log_snr", "snr", "__call__"])
def test_bad_times_are_named(schedule, method, bad):
    with pytest.raises((TypeError, ValueError), match=r"^t: got "):
        getattr(schedule, method)(bad)


@pytest.mark.parametrize("schedule", [Cosine(), su()], ids=repr)
@settings(max_examples=15)
@given(data=st.data())
def test_steps_go_forward(schedule, data):
    s, t = sorted(data.draw(st.tuples(times(schedule), times(schedule))))
    with pytest.raises(ValueError, match=r"^s: got .* needs s < t"):
        schedule.step(s, t)


@pytest.mark.parametrize(
    "t, s, words",
    [(3, 5, "s: got 5 for t = 3"), ([2, 9], 4, "s: got 4 for t = 2 to 9"),
     ([1, 2, 3], [3, 4, 2], "s: got 2 to 4 for t = 1 to 3")],
)  # fmt: skip
def test_times_in_the_wrong_order_are_shown(t, s, words):
    with pytest.raises(ValueError, match=f"^{words}, needs s < t"):
        su().step(torch.tensor(t), torch.tensor(s))


@pytest.mark.parametrize("after_zero", [[-1.0, -1.0], [-1.0, -0.5], [-math.inf, -math.inf], [0.0]])
def test_a_table_must_fall_at_every_step(after_zero):
    with pytest.raises(ValueError, match=r"^log_alpha_table: needs .* strict decrease"):
        DiscreteSchedule(torch.tensor([0.0, *after_zero]))


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: su(0), "T"),
        (lambda: su(2.0), "T"),
        (lambda: cosine(-3), "T"),
        (lambda: ho_linear(10, beta_start=0.0), "beta_start"),
        (lambda: ho_linear(10, beta_end=1.0), "beta_end"),
        (lambda: ho_linear(10, beta_end=math.nan), "beta_end"),
        (lambda: discrete("quadratic"), "name"),
        (lambda: Linear(-1.0), "beta_min"),
        (lambda: Linear(2.0, 1.0), "beta_max"),
        (lambda: Linear(0.0, 0.0), "beta_max"),
        (lambda: su().timesteps(0), "n"),
        (lambda: su().timesteps(1001), "n"),
        (lambda: su().timesteps(5, stop=1000), "stop"),
        (lambda: Cosine().timesteps(5, stop=1.0), "stop"),
        (lambda: DiscreteSchedule.from_alpha_bar([0.5, 0.6]), "alpha_bar"),
        (lambda: DiscreteSchedule.from_alpha_bar([1.0, 0.6]), "alpha_bar"),
        (lambda: DiscreteSchedule.from_alpha_bar([0.5, -0.1]), "alpha_bar"),
        (lambda: DiscreteSchedule.from_alpha_bar([]), "alpha_bar"),
        (lambda: DiscreteSchedule.from_alpha_bar([[0.5]]), "alpha_bar"),
        (lambda: DiscreteSchedule(torch.tensor([0.1, -1.0])), "log_alpha_table"),
        (lambda: DiscreteSchedule(torch.tensor([0.0])), "log_alpha_table"),
        (lambda: su().add_noise(torch.ones(2), torch.ones(3), 5), "noise"),
        (lambda: su().add_noise(torch.ones(2), torch.full((2,), math.nan), 5), "noise"),
        (lambda: su().add_noise(torch.ones(2, dtype=torch.int64), torch.ones(2), 5), "x0"),
        (lambda: su().add_noise(torch.ones(2), torch.ones(2), torch.tensor([1, 2, 3])), "t"),
        (lambda: expand_like(torch.ones(3), torch.ones(2, 3)), "coefficient"),
        (lambda: expand_like("a", torch.ones(2)), "coefficient"),
        (lambda: expand_like(0.5, torch.arange(3)), "x"),
    ],
)
def test_bad_arguments_are_named(call, argument):
    with pytest.raises((TypeError, ValueError), match=f"^{argument}: "):
        call()
