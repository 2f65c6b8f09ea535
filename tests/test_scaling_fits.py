"""Fits: on data of known law, with noise, outliers and seeds; the intervals hold what they say."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit, least_squares

from kexue.scaling import (
    QuantaModel,
    fit_joint,
    fit_power_law,
    fit_quanta,
    local_slopes,
)

F64 = torch.float64
ALPHAS = (0.1, 0.2, 0.4, 0.8)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, generator, sigma=0.05):
    return torch.exp(sigma * torch.randn(*shape, generator=generator, dtype=F64))


# Power laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exponent, constant", [(0.076, 11.5), (0.5, 3.0), (-0.3, 1e-6), (2.0, 1e9)]
)
def test_a_law_without_noise_comes_back(exponent, constant):
    x = torch.logspace(3, 9, 7, dtype=F64)
    order = torch.randperm(7, generator=rng())
    law = fit_power_law(x[order], (constant * x**-exponent)[order], resamples=20)
    assert law.exponent == pytest.approx(exponent, abs=1e-7)
    assert law.constant == pytest.approx(constant, rel=1e-5) and law.floor == 0
    assert law.interval == pytest.approx((exponent, exponent), abs=1e-6)
    torch.testing.assert_close(law.predict(x), constant * x**-exponent, rtol=1e-6, atol=0)


@pytest.mark.parametrize("floor", [1e-3, 0.2, 1.7])
def test_a_floor_without_noise_comes_back(floor):
    x = torch.logspace(1, 5, 9, dtype=F64)
    law = fit_power_law(x, floor + 4 * x**-0.4, floor=True, resamples=20)
    assert law.exponent == pytest.approx(0.4, abs=1e-5)
    assert law.constant == pytest.approx(4, rel=1e-4) and law.floor == pytest.approx(
        floor, rel=1e-3
    )
    # What a law without a floor makes of it is too flat.
    assert fit_power_law(x, floor + 4 * x**-0.4, resamples=20).exponent < 0.4


def test_where_there_is_no_floor_none_is_found():
    x = torch.logspace(1, 4, 9, dtype=F64)
    law = fit_power_law(x, 3 * x**-0.5, floor=True, resamples=20)
    assert law.floor < 1e-4 * (3 * x[-1] ** -0.5) and law.exponent == pytest.approx(0.5, abs=1e-4)


def test_normal_noise_against_scipy():
    """The estimate is scipy's by Huber's loss, and near least squares; so is the interval."""
    x = torch.logspace(1, 4, 40, dtype=F64)
    off = []
    for seed in range(5):
        y = 3 * x**-0.5 * noise(40, generator=rng(seed))
        law = fit_power_law(x, y, resamples=400, generator=rng())
        log_x, log_y = x.log().numpy(), y.log().numpy()
        residuals = log_y - law.predict(x).log().numpy()
        sigma = np.median(np.abs(residuals)) / 0.6745 * math.sqrt(40 / 38)
        theirs = least_squares(
            lambda t, log_x=log_x, log_y=log_y: log_y - t[0] + t[1] * log_x,
            [0.0, 0.0],
            loss="huber",
            f_scale=1.345 * sigma,
        )
        line, covariance = np.polyfit(log_x, log_y, 1, cov=True)
        error = math.sqrt(covariance[0, 0])
        assert abs(law.exponent - theirs.x[1]) < 0.05 * error
        off.append(abs(law.exponent + line[0]) / error)
        width = law.interval[1] - law.interval[0]
        assert width == pytest.approx(2 * 2.02 * error, rel=0.35)  # 2.02: Student's, 38 degrees
    assert np.mean(off) < 0.5


@pytest.mark.parametrize("floor", [False, True])
def test_outliers_do_not_move_it(floor):
    """Two points of twenty wrong by factors of 10 and 100, wherever they are."""
    x = torch.logspace(1, 4, 20, dtype=F64)
    clean = (0.1 * floor + 3 * x**-0.5) * noise(20, generator=rng(3), sigma=0.02)
    law = fit_power_law(x, clean, floor=floor, resamples=400, generator=rng())
    error = (law.interval[1] - law.interval[0]) / 4
    for i, j in ((0, 10), (5, 6), (9, 18)):
        wrong = clean.clone()
        wrong[i] *= 10
        wrong[j] /= 100
        moved = fit_power_law(x, wrong, floor=floor, resamples=20).exponent - law.exponent
        assert abs(moved) < 2.5 * error, (i, j)
        if not floor:
            squares = -np.polyfit(x.log(), wrong.log(), 1)[0]
            assert abs(squares - 0.5) > 5 * abs(moved)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_cover_as_they_say(seeds):
    """Of 60 intervals of level 0.8 about 48 hold the truth (standard deviation 3). With seeds
    the noise has a part that all points of a seed share, which only resampled seeds can see."""
    x, draw = torch.logspace(1, 4, 8, dtype=F64), rng(1)
    hits = 0
    for _ in range(60):
        y = 3 * x**-0.5 * noise(seeds, 8, generator=draw)
        if seeds > 1:
            y *= x ** (0.02 * torch.randn(seeds, 1, generator=draw, dtype=F64))
        else:
            y = y[0]
        low, high = fit_power_law(x, y, level=0.8, resamples=60, generator=draw).interval
        hits += low <= 0.5 <= high
    assert 40 <= hits <= 56


def test_levels_and_seeds_of_the_generator():
    x = torch.logspace(1, 4, 8, dtype=F64)
    y = 3 * x**-0.5 * noise(8, generator=rng())
    wide, narrow = (fit_power_law(x, y, level=p, generator=rng()).interval for p in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert fit_power_law(x, y, generator=rng()) == fit_power_law(x, y, generator=rng())


def test_without_resampling_there_is_no_interval():
    x = torch.logspace(1, 4, 8, dtype=F64)
    for y in (3 * x**-0.5 * noise(8, generator=rng()), 3 * x**-0.5 * noise(4, 8, generator=rng())):
        for fit in (fit_power_law, partial(fit_quanta, n_tasks=500, direction="data")):
            none, some = fit(x, y / 3, resamples=0), fit(x, y / 3, resamples=20)
            assert all(map(math.isnan, none.interval))
            assert replace(none, interval=some.interval) == some
    law = fit_joint(*grid(hoffmann, sigma=0.0, generator=rng()), resamples=0)
    assert law.draws.shape == (0, 2) and all(map(math.isnan, sum(law.intervals, ())))


# The law of quanta --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_quanta_are_told_from_a_steeper_power_law(alpha):
    """K = 500: where a power law is off by what the facts say, the truncated law is right."""
    n = torch.logspace(math.log10(2), math.log10(40), 10, dtype=F64)
    losses = QuantaModel(alpha, 500).loss(n) * noise(10, generator=rng(), sigma=0.01)
    plain = fit_power_law(4 * n, losses, resamples=20).exponent
    fit = fit_quanta(4 * n, losses, n_tasks=500, direction="parameters", resamples=200,
                     generator=rng())  # fmt: skip
    assert fit.alpha == pytest.approx(alpha, abs=0.02)
    assert fit.scale == pytest.approx(4, rel=0.1)
    assert fit.interval[0] < alpha < fit.interval[1]
    if alpha in (0.1, 0.2, 0.4):  # end to end .30, .35, .48
        assert plain - alpha == pytest.approx({0.1: 0.2, 0.2: 0.15, 0.4: 0.08}[alpha], abs=0.03)


@pytest.mark.parametrize("K", [500, None])
@pytest.mark.parametrize("direction, rho", [("parameters", 1.0), ("data", 1.0), ("steps", 0.8)])
def test_the_law_of_quanta_without_noise_comes_back(K, direction, rho):
    alpha = 0.1 if K else 0.7
    model = QuantaModel(alpha, K, before=6.0, after=2.0)
    how = {"direction": direction, "rho": rho}
    n = torch.logspace(0.1, 2.2, 9, dtype=F64)
    x = 30 * n if direction == "parameters" else 30 / model.frequency(n) ** rho
    fit = fit_quanta(x, model.loss(n), n_tasks=K, before=6.0, after=2.0, resamples=20, **how)
    assert fit.alpha == pytest.approx(alpha, abs=1e-5)
    assert fit.scale == pytest.approx(30, rel=1e-3)
    torch.testing.assert_close(fit.predict(x), model.loss(n), rtol=1e-5, atol=0)


def test_the_law_of_quanta_with_seeds_and_an_outlier():
    model, x = QuantaModel(0.4, 500), torch.logspace(2, 4.5, 8, dtype=F64)
    losses = model.predicted_loss(x, direction="data", scale=10.0) * noise(4, 8, generator=rng())
    losses[2, 5] *= 4
    fit = fit_quanta(x, losses, n_tasks=500, direction="data", resamples=200, generator=rng())
    assert fit.interval[0] < 0.4 < fit.interval[1] and fit.interval[1] - fit.interval[0] < 0.1


def test_points_where_nothing_is_learned_do_no_harm():
    """The first two sizes are too small for any quantum."""
    model = QuantaModel(0.5, 300)
    x = torch.logspace(0.5, 4, 10, dtype=F64)
    losses = model.predicted_loss(x, direction="data", scale=4.0)
    assert (losses == 1).sum() == 2
    fit = fit_quanta(x, losses, n_tasks=300, direction="data", resamples=20)
    assert fit.alpha == pytest.approx(0.5, abs=0.02)
    assert fit.predict(x[:2]).tolist() == [1, 1]


# Two resources ------------------------------------------------------------------------------------


def grid(law, *, sigma, generator):
    n = torch.logspace(7, 10, 6, dtype=F64).repeat_interleave(6)
    d = torch.logspace(8, 11, 6, dtype=F64).repeat(6)
    return n, d, law(n, d) * noise(36, generator=generator, sigma=sigma)


def hoffmann(n, d):
    return 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28


def test_joint_law_comes_back():
    n, d, losses = grid(hoffmann, sigma=0.0, generator=rng())
    law = fit_joint(n, d, losses, resamples=20)
    assert (law.alpha_n, law.alpha_d) == pytest.approx((0.34, 0.28), abs=1e-4)
    assert (law.a, law.b, law.floor) == pytest.approx((406.4, 410.7, 1.69), rel=1e-2)
    torch.testing.assert_close(law.predict(n, d), losses, rtol=1e-5, atol=0)


def test_joint_law_with_noise_against_scipy():
    """Least squares of the same curve, with its covariance: the same exponents and intervals."""
    n, d, losses = grid(hoffmann, sigma=0.005, generator=rng(1))

    def curve(x, log_a, alpha_n, log_b, alpha_d, log_floor):
        terms = log_a - alpha_n * x[0], log_b - alpha_d * x[1], np.full_like(x[0], log_floor)
        return np.logaddexp(np.logaddexp(terms[0], terms[1]), terms[2])

    start = [math.log(406.4), 0.34, math.log(410.7), 0.28, math.log(1.69)]
    found, covariance = curve_fit(
        curve, torch.stack([n, d]).log().numpy(), losses.log().numpy(), start
    )
    error = np.sqrt(np.diag(covariance))[[1, 3]]
    law = fit_joint(n, d, losses, resamples=200, generator=rng())
    assert abs(law.alpha_n - found[1]) < error[0] and abs(law.alpha_d - found[3]) < error[1]
    for (low, high), truth, size in zip(law.intervals, (0.34, 0.28), error, strict=True):
        assert low < truth < high and high - low == pytest.approx(4 * size, rel=0.5)
    assert law.draws.shape == (200, 2)


def test_joint_intervals_see_that_some_points_are_noisier():
    """Noise ten times larger at the smallest D: the draws spread as the estimates really do, over
    data sets made anew."""
    draw, found, spread = rng(2), [], []
    for _ in range(12):
        n, d, losses = grid(hoffmann, sigma=0.0, generator=draw)
        losses = losses * noise(36, generator=draw, sigma=0.005 * (1 + 9 * (d == d.min())))
        law = fit_joint(n, d, losses, resamples=60, generator=draw)
        found.append([law.alpha_n, law.alpha_d])
        spread.append(law.draws.std(0))
    ratio = torch.stack(spread).median(0).values / torch.tensor(found, dtype=F64).std(0)
    assert (ratio > 0.6).all() and (ratio < 2).all()


# Local slopes and bad input -----------------------------------------------------------------------


def test_local_slopes():
    x = torch.tensor([100.0, 1.0, 10.0], dtype=F64)
    where, slopes = local_slopes(x, 7 * x**-0.4)
    torch.testing.assert_close(where, torch.tensor([10**0.5, 10**1.5], dtype=F64))
    torch.testing.assert_close(slopes, torch.tensor([0.4, 0.4], dtype=F64))
    for y in (torch.stack([x, x**2]), [[100, 1, 10], [10_000, 1, 100]]):  # of seeds
        assert local_slopes(x, y)[1].tolist() == [[-1, -1], [-2, -2]]
    model, n = QuantaModel(0.4, 500), torch.logspace(0, 2, 400, dtype=F64)
    where, slopes = local_slopes(n, model.loss(n))
    torch.testing.assert_close(slopes, model.slope(where), rtol=1e-4, atol=0)


X = [1.0, 10.0, 100.0, 1000.0]
Y = [4.0, 3.0, 2.0, 1.0]
M = [*range(1, 9)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fit_power_law(X, [1, 0, 2, 3]), "y: got a smallest value of 0, needs values > 0"),
        (lambda: fit_power_law(X, [1, -1, 2, 3]), "y: got a smallest value of -1"),
        (lambda: fit_power_law([0, 1, 2, 3], Y), "x: got a smallest value of 0"),
        (lambda: fit_power_law(X, [1, math.nan, 2, 3]), "y: got NaN"),
        (lambda: fit_power_law(X[:2], Y[:2]), "x: got 2 different points, needs .* 3 or more"),
        (lambda: fit_power_law([1, 1, 1, 2], Y), "x: got 2 different points"),
        (lambda: fit_power_law(X[:3], Y[:3], floor=True), "x: got 3 different points, needs .* 4"),
        (lambda: fit_power_law(X, Y[:3]), r"y: got shape \(3,\), needs \(4,\) or \(S, 4\)"),
        (lambda: fit_power_law(X, Y, level=1.0), "level: got 1, needs a number between 0 and 1"),
        (lambda: fit_power_law(X, Y, resamples=3), "resamples: got 3"),
        (lambda: fit_quanta(X, Y, n_tasks=5, direction="up"), "direction: got 'up', needs one of"),
        (lambda: fit_quanta(X, Y, n_tasks=0, direction="data"), "n_tasks: got 0"),
        (lambda: fit_quanta(X, Y, n_tasks=5, direction="data", rho=2.0), "rho: got 2 for data"),
        (lambda: fit_quanta(X, Y, n_tasks=5, direction="data", before=0.0), "before: got 0"),
        (lambda: fit_quanta(X[:2], Y[:2], n_tasks=5, direction="data"), "x: got 2 different"),
        (
            lambda: fit_quanta(X, [1, 0, 2, 3], n_tasks=5, direction="data"),
            "losses: got a smallest",
        ),
        (lambda: fit_joint(X, X, Y), r"parameters: got shape \(4,\), needs \(M,\) with M >= 8"),
        (lambda: fit_joint(X * 2, X, Y * 2), r"data: got shape \(4,\), needs \(8,\)"),
        (
            lambda: fit_quanta(X, [9, 5, 2, 1.1], n_tasks=100, direction="data", after=0.3),
            r"losses: got numbers nearest to .* e\^\d+, needs numbers near one",
        ),
        (lambda: fit_quanta(X, Y, n_tasks=1, direction="data"), "n_tasks: got 1, needs 2 or more"),
        (lambda: fit_joint([1] * 8, M, M), "parameters: got 1 different, needs 3 or more"),
        (lambda: fit_joint(M, [1, 2] * 4, M), "data: got 2 different, needs 3 or more"),
        (lambda: local_slopes([1, 1, 2], [1, 2, 3]), "x: got the same point twice"),
        (lambda: fit_power_law(X, Y).predict(0.0), "x: got a smallest value of 0"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()
