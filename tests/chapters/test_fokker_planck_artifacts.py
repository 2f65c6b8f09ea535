"""The stored experiments of the Fokker-Planck chapter: a wrong file, count or number fails here."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline, make_interp_spline

from kexue import runtime
from kexue.fokker_planck import TEST_FUNCTIONS, platen_step

SLUG = "fokker-planck"
FOLDER = Path(__file__).parents[2] / "book" / "artifacts" / SLUG
TOOLS = ("plane", "rates", "throughput", "learned")
CARD = runtime.RunCard.from_json(FOLDER / "card.json")
METRICS = json.loads((FOLDER / "metrics.json").read_text())
WAYS, RATES = METRICS["throughput"]["ways"], METRICS["rates"]
N = METRICS["forward"]["particles"]


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(runtime.artifact(SLUG, "plane.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def law(tools):
    return tools["plane"].flow()


def test_every_file_is_the_one_on_the_card():
    there = {p.name for p in FOLDER.iterdir() if p.suffix in (".safetensors", ".npz")}
    assert there | {"metrics.json"} == set(CARD.files)
    for name in CARD.files:
        assert runtime.artifact(SLUG, name).is_file()
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) < 3_000_000
    assert CARD.preset == "full" and CARD.revision and CARD.dirty is False
    assert set(METRICS["made"]) == {"throughput", "rates", "coupled", "plane"}
    assert CARD.seconds < 900


# Throughput ---------------------------------------------------------------------------------------


def rate(name: str) -> float:
    """Particle-steps a second from the raw seconds: the median run."""
    row = WAYS[name]
    return row["particles"] * row["steps"] / float(np.median(row["seconds"]))


def test_rates_follow_from_the_raw_seconds():
    for name, row in WAYS.items():
        assert len(row["seconds"]) == METRICS["throughput"]["repeats"]
        assert row["rate"] == pytest.approx(rate(name), rel=1e-12)
        assert max(row["seconds"]) < 1.3 * min(row["seconds"]), name  # nothing else was running


def test_registers_beat_memory_and_what_then_limits_is_the_noise():
    limit = METRICS["throughput"]["copy_bytes_per_second"] / 8
    assert 2.5e12 < 8 * limit < 3.35e12  # no more than the chip's memory has on paper
    assert rate("compiled, state in registers") > 1e10
    assert rate("compiled, one step a kernel, no noise") == pytest.approx(limit, rel=0.1)
    assert rate("eager") < 0.25 * limit < rate("compiled, one step a kernel") < limit
    assert rate("kernel") > 2 * limit
    assert rate("kernel") > 0.85 * rate("kernel, only noise")  # the noise takes most of it
    assert rate("kernel, two-point") > 3 * rate("kernel")
    assert rate("compiled, state in registers") > 5 * rate("torchsde")


def test_the_discrete_process_has_its_exact_moments(tools):
    """Mean and variance of every way within 4.5 standard errors; ``exact`` against a recursion."""
    T = tools["throughput"]
    seen = 0
    for row in WAYS.values():
        for name in ("z_mean", "z_variance"):
            if name in row:
                seen, _ = seen + 1, row[name]
                assert abs(row[name]) < 4.5
    assert seen >= 20
    mean, variance, fourth = T.START, 0.0, 0.0
    for _ in range(37):
        mean, variance, fourth = (
            T.A * mean,
            T.A**2 * variance + T.B**2,
            T.A**4 * fourth - 2 * T.B**4,
        )
    assert T.exact(37, two_point=True) == pytest.approx((mean, variance, fourth), rel=1e-12)
    assert T.exact(37)[2] == 0


# Rates --------------------------------------------------------------------------------------------

GRID = np.linspace(-4, 4, 1001)
HERMITE = tuple(np.polynomial.hermite_e.hermegauss(24))
LAWS = {"normal": HERMITE, "two-point": (np.array([-1.0, 1.0]), np.ones(2))}


def exact_error(step: str, noise: str, steps: int) -> np.ndarray:
    """Error of E phi(x_1) of the scheme itself, without particles, for every test function.

    u(x) = E phi(x_1 | x) goes backward through the steps, as the coefficients of a quintic spline.
    """
    h, g = 1 / steps, 0.8
    nodes, weights = LAWS[noise]
    spline = make_interp_spline(GRID, GRID, k=5)
    collocate = BSpline.design_matrix(GRID, spline.t, 5).toarray()
    operator = 0
    for z, w in zip(nodes, weights / weights.sum(), strict=True):
        f = GRID - GRID**3
        y = GRID + f * h + g * math.sqrt(h) * z
        if step == "platen_step":  # Heun
            y = GRID + (f + y - y**3) * h / 2 + g * math.sqrt(h) * z
        operator = operator + w * BSpline.design_matrix(y.clip(-4, 4), spline.t, 5).toarray()
    power = np.linalg.matrix_power(operator @ np.linalg.inv(collocate), steps)
    phi = np.stack([TEST_FUNCTIONS[n](torch.from_numpy(GRID)).numpy() for n in RATES["functions"]])
    z, w = HERMITE
    start = BSpline.design_matrix(-1 + 0.2 * z, spline.t, 5).toarray() @ np.linalg.inv(collocate)
    values = (w / w.sum()) @ start @ power @ phi.T
    return values - [RATES["references"]["double well"][n]["value"] for n in RATES["functions"]]


def plain(case: str, step: str, noise: str) -> dict:
    (found,) = (
        r for r in RATES["plain"] if (r["case"], r["step"], r["noise"]) == (case, step, noise)
    )
    return found


def coupled(case: str) -> dict:
    (found,) = (r for r in RATES["coupled"] if r["case"] == case)
    return found


def slopes(h, error, se) -> tuple[np.ndarray, np.ndarray]:
    """Of log |error| against log h with weights (error / se)^2, one column a test function."""
    x, y, w = np.log(h)[:, None], np.log(np.abs(error)), (np.abs(error) / np.array(se)) ** 2
    x = x - (w * x).sum(0) / w.sum(0)
    return (w * x * y).sum(0) / (w * x**2).sum(0), (w * x**2).sum(0) ** -0.5


def test_references_are_converged():
    for case in RATES["references"].values():
        assert all(value["change"] < 1e-7 for value in case.values())
    fine = [abs(e) for e in exact_error("platen_step", "normal", 1024)]
    assert max(fine) < 3e-7  # a scheme of order 2 with 1,024 steps meets the finite volumes


@pytest.mark.parametrize("noise", ["normal", "two-point"])
def test_euler_has_the_errors_that_it_must_have_and_order_one(noise):
    found = plain("double well", "euler_step", noise)
    rows = found["rows"]
    for row in rows:
        z = (np.array(row["error"]) - exact_error("euler_step", noise, row["steps"])) / row["se"]
        assert np.abs(z).max() < 4.5
        assert (np.abs(row["error"]) > 10 * np.array(row["se"])).all()
    h, error, se = ([r[k] for r in rows] for k in ("steps", "error", "se"))
    slope, _ = slopes(1 / np.array(h), np.array(error), se)
    assert np.abs(slope - 1).max() < 0.15


def test_platen_has_the_differences_that_it_must_have_and_order_two():
    rows = coupled("double well")["rows"]
    for row in rows:
        exact = [exact_error("platen_step", "normal", k * row["steps"]) for k in (1, 2)]
        z = (np.array(row["difference"]) - (exact[0] - exact[1])) / row["se"]
        assert np.abs(z).max() < 4.5
    for case in ("double well", "geometric Brownian motion"):
        rows = coupled(case)["rows"]
        h, error, se = ([r[k] for r in rows] for k in ("steps", "difference", "se"))
        assert (np.abs(error) > 10 * np.array(se)).all()
        slope, spread = slopes(1 / np.array(h), np.array(error), se)
        assert np.abs(slope - 2).max() < 0.15 and spread.max() < 0.03
    for row in plain("double well", "platen_step", "normal")["rows"]:
        z = (np.array(row["error"]) - exact_error("platen_step", "normal", row["steps"])) / row[
            "se"
        ]
        assert np.abs(z).max() < 4.5


def test_noise_that_depends_on_the_state_has_the_same_orders():
    rows = plain("geometric Brownian motion", "euler_step", "normal")["rows"]
    h, error, se = ([r[k] for r in rows] for k in ("steps", "error", "se"))
    slope, _ = slopes(1 / np.array(h), np.array(error), se)
    assert np.abs(slope - 1).max() < 0.15
    finest = coupled("geometric Brownian motion")["finest"]
    for k, name in enumerate(RATES["functions"]):
        value = RATES["references"]["geometric Brownian motion"][name]["value"]
        assert abs(finest["mean"][k] - value) < 1e-4 + 4.5 * finest["se"][k]


def test_sampling_error_falls_like_the_root_of_the_number():
    s = RATES["sampling"]
    n, rms = np.array(s["sizes"]), np.array(s["rms"])
    assert n[0] <= 1100 and n[-1] >= 1e8
    slope = np.polyfit(np.log(n), np.log(rms), 1)[0]
    assert np.abs(slope + 0.5).max() < 0.05
    constant = rms * n[:, None] ** 0.5  # the standard deviation of phi(x_1), at every size
    assert (constant.max(0) / constant.min(0)).max() < 2


# The plane ----------------------------------------------------------------------------------------


def boxes(tools, law, wide: bool):
    """Exact masses (6, 128, 128) at the kept times, in the box of the stored histograms."""
    plane = tools["plane"]
    return torch.stack(
        [
            plane.coarser(plane.mass(plane.VP.law(t, law), plane.WIDE, 2 * plane.CELLS))
            for t in METRICS["law"]["kept"]
        ]
    )


@pytest.mark.parametrize("name", ["forward", "back_ode", "back_sde"])
def test_histograms_are_those_measured(tools, law, stored, name):
    """Nearly everything is in the box; the distances in metrics.json follow from the counts."""
    counts, exact = torch.from_numpy(stored[name].astype(np.int64)), boxes(tools, law, True)
    assert counts.shape == exact.shape
    inside = counts.sum((1, 2)) / N
    assert ((1 - inside) - (1 - exact.sum((1, 2)))).abs().max() < 1e-5
    if name == "forward":
        rows = [r["particles_exact"] for r in METRICS["forward"]["rows"]]
    else:
        rows = [r for r in METRICS["pictures"]["rows"] if r["route"] == name[5:]]
    for t, c, p, row in zip(METRICS["law"]["kept"], counts, exact, rows, strict=True):
        got = tools["plane"].distances(c, N, p)
        assert {k: row[k] for k in got} == pytest.approx(got, rel=1e-6, abs=1e-9)
        assert row["l1"] < (1.1 if name != "back_sde" else 2.3) * row["l1_floor"]
        if t < 0.1:  # teeth: a mirrored character; later there is none left
            assert tools["plane"].distances(c.flip(0), N, p)["l1"] > 5 * row["l1"]


def test_histograms_have_the_exact_moments(tools, law, stored):
    """Mean and covariance at every time, with Sheppard's correction for the width of a cell."""
    plane, side = tools["plane"], 2 * 4.8 / 128
    center = torch.linspace(-4.8 + side / 2, 4.8 - side / 2, 128, dtype=torch.float64)
    for t, counts in zip(METRICS["law"]["kept"], stored["forward"].astype(float), strict=True):
        p = torch.from_numpy(counts / counts.sum())
        now = plane.VP.law(t, law)
        for axis, q in enumerate((p.sum(1), p.sum(0))):
            mean = (q * center).sum()
            variance = (q * (center - mean) ** 2).sum() - side**2 / 12
            assert abs(mean - now.mean[axis]) < 5 / N**0.5
            # 2,000 Euler steps leave a part of about beta dt / 4 of the variance
            assert variance == pytest.approx(now.variance[axis].item(), rel=4e-3)
        correlation = center @ p @ center - (p.sum(1) @ center) * (p.sum(0) @ center)
        assert abs(correlation - now.covariance[0, 1]) < 5 / N**0.5


def test_finite_volumes_meet_the_exact_law(tools, law, stored):
    exact, cells = boxes(tools, law, True), torch.from_numpy(stored["cells"])
    for p, q, row in zip(exact, cells, METRICS["forward"]["rows"], strict=True):
        assert (p - q).abs().sum() == pytest.approx(row["cells_exact"], abs=2e-6)  # float32
        assert row["cells_exact"] < 1e-3 and abs(row["mass"] - 1) < 1e-12 and row["least"] >= 0


def test_back_with_the_exact_score_every_route_arrives():
    floor = METRICS["back"]["perfect"]
    rows = {(r["route"], r["times"], r["steps"]): r for r in METRICS["back"]["rows"]}
    routes = sorted({k[0] for k in rows})
    assert len(routes) == 6
    for route in routes:
        few, many = rows[route, "squares", 10], rows[route, "squares", 250]
        assert few["chi2"] > 50 * many["chi2"] and many["l1"] < 1.7 * floor["l1"]
    for route in ("ODE, Heun", "SDE 1, Platen"):  # second order: nothing is left to see
        many = rows[route, "squares", 250]
        assert many["l1"] < 1.03 * floor["l1"] and abs(many["chi2"]) < 3e-5
        assert abs(many["log_p"] - floor["log_p"]) < 5 * floor["log_p_se"]
    for route in ("ODE, Euler", "SDE 0.5, Euler", "SDE 1, Euler", "SDE 1.5, Euler"):
        # chi2 is a square: (1 / steps)^2 for a method of order 1
        ratio = rows[route, "squares", 50]["chi2"] / rows[route, "squares", 250]["chi2"]
        assert math.log(ratio) / math.log(5) == pytest.approx(2, abs=0.2)


def test_paths_start_together_and_the_ode_can_be_walked_again(tools, law, stored):
    plane = tools["plane"]
    ode, sde = (torch.from_numpy(stored[f"paths_{k}"]).float() for k in ("ode", "sde"))
    assert ode.shape == sde.shape == (200, 33, 2) and torch.equal(ode[:, 0], sde[:, 0])
    length = [x.diff(dim=1).norm(dim=-1).sum(1).mean() for x in (ode, sde)]
    assert length[1] > 2 * length[0]
    steps = METRICS["pictures"]["path_steps"]
    one = plane.stepper(plane.ExactScore(law, torch.device("cpu")), 0.0, platen_step)
    end = plane.back(one, ode[:40, 0].clone(), plane.times(steps))
    # the start is rounded to half precision, and the flow may double a distance on the way
    assert (end - ode[:40, -1]).norm(dim=-1).median() < 2e-3


# The learned score --------------------------------------------------------------------------------


def test_the_stored_network_errs_as_measured(tools, law):
    """E |s - exact|^2 under the law at three times, on the CPU in float32."""
    learned, plane = tools["learned"], tools["plane"]
    model = learned.Score.load(runtime.artifact(SLUG, "score.safetensors"))
    count = sum(w[0].numel() for w in model.parameters())
    assert count == METRICS["learned"]["training"]["parameters"] < 100_000
    rows = METRICS["learned"]["girsanov"]["rows"]
    for row in (rows[8], rows[16], rows[30]):
        now, n = plane.VP.law(row["t"], law), 20_000
        x = torch.stack([plane.seeded(now, n, s, torch.device("cpu")) for s in range(3)])
        error = learned.score_error(model, law, row["t"], x)
        assert error.tolist() == pytest.approx(row["error"], rel=0.3)  # heavy tails
        shuffled = model(x, torch.tensor(row["t"])).roll(1, 1)  # teeth: other points' scores
        assert (shuffled - model(x, torch.tensor(row["t"]))).square().sum(-1).mean() > 1


def test_the_bound_follows_and_holds_for_the_sde_but_not_for_the_ode():
    g, points = METRICS["learned"]["girsanov"], 64
    u = (np.arange(points) + 0.5) / points
    assert [r["t"] for r in g["rows"]] == pytest.approx(u**2)
    error = np.array([r["error"] for r in g["rows"]])
    weight = np.array([r["g2"] for r in g["rows"]]) * u / points
    assert weight @ error == pytest.approx(g["bound"], rel=1e-5)
    assert [r["g2"] for r in g["rows"]] == pytest.approx(0.1 + 19.9 * u**2)
    rows = {(r["route"], r["steps"]): r for r in METRICS["learned"]["rows"]}
    floor = METRICS["learned"]["perfect"]["kl_pq"]
    kl = {route: rows[route, 250]["kl_pq"] - floor for route in ("SDE 1, Euler", "ODE, Heun")}
    assert kl["SDE 1, Euler"] < min(g["bound"]) < kl["ODE, Heun"]


def test_few_steps_or_a_poor_score_which_dominates():
    """KL(p || q) less its floor: the two errors add, at 10 Euler steps the steps, at 250 learning.

    Not by chi2, whose cells depend on the number of particles (here there are fewer).
    """
    floor = {k: METRICS[k]["perfect"]["kl_pq"] for k in ("back", "learned")}
    exact, both = (
        {(r["route"], r["steps"]): r["kl_pq"] - floor[k] for r in METRICS[k]["rows"] if squares(r)}
        for k in ("back", "learned")
    )
    for route, steps in both:
        learning = both[route, 250] - exact[route, 250]
        assert both[route, steps] == pytest.approx(exact[route, steps] + learning, rel=0.2)
        if "Euler" in route:
            assert exact[route, 10] > 10 * learning
        assert learning > 3 * exact[route, 250]
    assert both["ODE, Heun", 250] > 3 * both["SDE 1, Euler", 250]


def squares(row: dict) -> bool:
    return row.get("times", "squares") == "squares"


def test_learned_histograms_are_the_ones_measured(tools, law, stored):
    plane, n = tools["plane"], METRICS["learned"]["particles"]
    exact = plane.coarser(plane.mass(law))
    for name, route in (("ode", "ODE, Heun"), ("sde", "SDE 1, Euler")):
        counts = torch.from_numpy(stored[f"learned_{name}"].astype(np.int64))
        got = plane.distances(plane.coarser(counts), n, exact)
        (row,) = (
            r
            for r in METRICS["learned"]["rows"]
            if r["route"] == route and r["steps"] == METRICS["learned"]["rows"][-1]["steps"]
        )
        assert got["kl_pq"] == pytest.approx(row["each_kl_pq"][0], rel=1e-6)  # of seed 0
        assert abs(got["l1"] - row["l1"]) <= 2 * row["l1_sd"]
