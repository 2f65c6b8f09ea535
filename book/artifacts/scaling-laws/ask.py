"""All that is computed from the stored curves, on any CPU: the part ``fits`` of metrics.json."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from laws import DIRECTIONS, RESAMPLES, compare, curve, jumps, measured, power_law, predicted
from runs import THRESHOLDS, crossing

from kexue.scaling import QuantaModel, exponent, fit_quanta

RHO = {"measured": "rho", "interval": "rho_interval"}


def times(arrays: dict, alpha: float, n_tasks: int) -> dict:
    """When single tasks are learned: S_k of both thresholds, and D_k, against p_k."""
    p = QuantaModel(alpha, n_tasks).frequency(torch.arange(1, n_tasks + 1))
    at = torch.from_numpy(arrays["learned_at"])
    found = {f"steps, {t} bits": jumps(at[i], p) for i, t in enumerate(THRESHOLDS)}
    if "sizes" in arrays:
        losses = torch.from_numpy(arrays["data_subtasks"]).float()
        D_k = crossing(torch.from_numpy(arrays["sizes"]), losses, THRESHOLDS[0])
        found[f"data, {THRESHOLDS[0]} bits"] = jumps(D_k, p)
    return found


def per_quantum(arrays: dict) -> dict:
    """How many tasks are learned at each width in the end, the parameters that each of them took,
    how much of its loss a width still lost while the steps doubled for the last time, and which
    share of the n tasks that the widest learned are among the n most used."""
    learned = arrays["learned"][-1].mean(-1)
    half = np.abs(np.log(arrays["steps"] / (arrays["steps"][-1] / 2))).argmin()
    drop = 1 - (arrays["losses"][-1] / arrays["losses"][half]).mean(-1)
    fit = power_law(torch.tensor(arrays["parameters"]), torch.tensor(1 / learned.clip(1)))
    ranks = np.flatnonzero(arrays["subtasks"][-1] < THRESHOLDS[0])  # the widest model's, first seed
    return dict(
        learned=learned.tolist(), growth=fit.exponent, still=drop.tolist(),
        in_order=float((ranks < len(ranks)).mean()) if len(ranks) else 1.0,
        parameters_each=(arrays["parameters"] / learned.clip(1)).tolist(),
    )  # fmt: skip


def twice(arrays: dict, alpha: float, n_tasks: int, windows: dict, n: int) -> list[dict]:
    """What was measured in a stage that was trained twice with the same seeds, both times.

    Exponents, and how far the losses are apart, as standard deviations of their logarithms: those
    of one seed from one time to the other (``times``), and those of one time from seed to seed
    (``over_seeds``). Then rho of the steps.
    """
    found = []
    for direction in DIRECTIONS:
        whole = curve(arrays, alpha, n_tasks, direction)
        now = whole.window(**next(iter(windows[direction].values())))
        then = torch.from_numpy(arrays[f"before_{direction}"]).double()
        then = then[:, torch.isin(whole.at, now.at)]
        both = now.y[: len(then)]  # the first time there may have been fewer seeds
        rows = measured([replace(now, y=y) for y in (then, both)], n)
        row = {name: [r[name] for r in rows] for name in ("measured", "interval")}
        row |= dict(times=float(((both / then).log().square().mean() / 2).sqrt()))
        row |= dict(over_seeds=float(now.y.log().var(0).mean().sqrt()), seeds=len(then))
        found.append(dict(of=direction) | row)
    p = QuantaModel(alpha, n_tasks).frequency(torch.arange(1, n_tasks + 1))
    rows = [jumps(torch.from_numpy(arrays[k][0]), p) for k in ("before_learned_at", "learned_at")]
    both = {name: [r[which] for r in rows] for name, which in RHO.items() if which in rows[0]}
    return [*found, dict(of="rho", seeds=len(arrays["learned_at"][0])) | both]


def own_law(c, rho: float) -> dict:
    """The truncated law itself fitted to one curve: does it give its alpha back?"""
    direction = c.direction if rho == 1 else "steps"
    fit = fit_quanta(
        c.x, c.y, n_tasks=c.n_tasks, direction=direction, rho=rho, resamples=100,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return dict(
        alpha=c.alpha, direction=c.direction, rho=rho, fitted=fit.alpha,
        interval=list(fit.interval), scale=fit.scale,
    )  # fmt: skip


def directions(
    whole: dict, n_tasks: int, main: float, rho: dict, counted: dict, windows: dict, n: int
):
    """Every way of asking, the one fixed beforehand first in its direction.

    Early stopping is of the mean loss; in the last case every task has its own (``stopped``), which
    a threshold is about.
    """
    cases = []
    for direction in DIRECTIONS:
        ways = [(1.0, "loss", None)]
        for i, (window, bounds) in enumerate(windows[direction].items()):
            curves = [
                curve(arrays, alpha, n_tasks, direction).window(**bounds)
                for alpha, arrays in whole.items()
            ]
            rows = measured(curves, n)
            more = [(1.0, "last", None), (1.0, "counted", counted[direction]["1"])]
            if direction in rho:
                more.append((rho[direction], "loss", None))
                more.append((rho[direction], "counted", counted[direction]["rho"]))
            for way in ways + more if i == 0 else ways:
                case = compare(curves, rows, main, *way)
                cases.append(dict(direction=direction, window=window, stopped="mean") | case)
    window, bounds = next(iter(windows["data"].items()))
    curves = []
    for alpha, arrays in whole.items():
        low = curve(arrays, alpha, n_tasks, "data").window(**bounds).at[0]  # the same sizes
        each = arrays | dict(data_losses=arrays["data_each"][None])
        curves.append(curve(each, alpha, n_tasks, "data").window(low=low))
    case = compare(curves, measured(curves, n), main, *ways[0])
    return [*cases, dict(direction="data", window=window, stopped="each task") | case]


def ablated(stages: dict, alpha: float, n_tasks: int, cases: list, windows: dict, n: int) -> list:
    """One alpha, several numbers of tasks: exponents beside predictions with the same constants.

    Of parameters the same number of units a quantum: with every task a unit has one input more.
    """
    found = []
    unit = stages[str(alpha)]["parameters"][-1] / stages[str(alpha)]["widths"][-1]
    for case in cases:
        direction, window = case["direction"], next(iter(windows[case["direction"]]))
        if direction == "data" or case["window"] != window or case["calibrated_by"] != "loss":
            continue
        for name, arrays in stages.items():
            of, _, K = name.partition(", K = ")
            if float(of) != alpha:
                continue
            K, scale = int(K or n_tasks), case["scale"]["truncated"]
            if direction == "parameters":
                scale *= arrays["parameters"][-1] / arrays["widths"][-1] / unit
            c = curve(arrays, alpha, K, direction).window(**windows[direction][window])
            (row,) = measured([c], n)
            losses = predicted(c, scale, case["rho"], K)
            some = losses > 0
            row |= dict(n_tasks=K, direction=direction, rho=case["rho"], scale=float(scale))
            row |= dict(infinite=exponent(alpha, direction, case["rho"]))
            row |= dict(truncated=power_law(c.x[some], losses[some]).exponent)
            found.append(row | dict(truncated_points=int(some.sum())))
    return sorted(found, key=lambda row: (row["direction"], row["rho"], row["n_tasks"]))


def fits(stages: dict[str, dict], recipe: dict, windows: dict, resamples: int = RESAMPLES) -> dict:
    """Everything, from the arrays of the stages by name; the laws' own fits take minutes."""
    K, main = recipe["task"]["n_tasks"], recipe["main"]
    whole = dict(sorted((float(n), a) for n, a in stages.items() if "," not in n))
    single = {str(alpha): times(arrays, alpha, K) for alpha, arrays in whole.items()}
    by_width = {str(alpha): per_quantum(arrays) for alpha, arrays in whole.items()}
    at = single[str(main)]
    rho = {d: at[f"{d}, 0.5 bits"]["rho"] for d in ("steps", "data")}
    each = np.array(by_width[str(main)]["parameters_each"])
    counted = {d: at[f"{d}, 0.5 bits"]["scale"] for d in ("steps", "data")}
    counted["parameters"] = {"1": float(np.exp(np.log(each).mean()))}
    cases = directions(whole, K, main, rho, counted, windows, resamples)
    first = {d: next(c for c in cases if c["direction"] == d) for d in DIRECTIONS}
    own = [
        own_law(curve(arrays, alpha, K, d).window(**next(iter(windows[d].values()))), r)
        for alpha, arrays in whole.items()
        if alpha in recipe["own"]
        for d in DIRECTIONS
        for r in sorted({1.0, rho.get(d, 1.0)})
    ]
    again = {
        str(alpha): twice(arrays, alpha, K, windows, resamples)
        for alpha, arrays in whole.items()
        if "before_steps" in arrays
    }
    altered = {float(n.partition(",")[0]) for n in stages if "," in n}
    return dict(
        tasks=single, widths=by_width, rho=rho, counted=counted, cases=cases, own_law=own,
        twice=again,
        ablation=[r for a in altered for r in ablated(stages, a, K, cases, windows, resamples)],
        claim={d: first[d]["closer_at_low"] for d in DIRECTIONS},
        holds=all(case["closer_at_low"] for case in first.values()),
    )  # fmt: skip
