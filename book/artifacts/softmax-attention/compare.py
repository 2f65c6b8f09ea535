"""Measured over predicted, from the numbers of one run alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import spearmanr

KINDS = ("full", "fisher", "weights", "n_eff")
CALIBRATED_AT = 0.25


def ratios(run: dict) -> dict:
    """The increase under Normal(sigma) on all logits, and on single heads, over each prediction.

    A prediction is V times its sum per unit of V, with V = e^{sigma^2} - 1 (``ratio``) or sigma^2
    (``ratio_sigma2``). ``constant``: V c sum over heads of <1 / n_eff>, c from sigma = 0.25.
    """
    table = {kind: np.array(run["prediction"][kind]) for kind in (*KINDS, "inverse_n_eff")}
    (at,) = (r for r in run["all"] if r["sigma"] == CALIBRATED_AT)
    c = at["increase"] / (at["variance_ratio"] * table["inverse_n_eff"].sum())
    table["constant"] = c * table.pop("inverse_n_eff")
    whole = []
    for row in run["all"]:
        predicted = {k: row["variance_ratio"] * t.sum() for k, t in table.items()}
        small = {k: row["sigma"] ** 2 * t.sum() for k, t in table.items()}
        whole.append(dict(
            sigma=row["sigma"],
            ratio={k: row["increase"] / p for k, p in predicted.items()},
            ratio_sigma2={k: row["increase"] / p for k, p in small.items()},
            relative_se=row["se_draws"] / row["increase"],
        ))  # fmt: skip
    out = dict(constant=c, all=whole, heads=[])
    for sigma in sorted({r["sigma"] for r in run["heads"]}):
        rows = [r for r in run["heads"] if r["sigma"] == sigma]
        got, se = (np.array([r[key] for r in rows]) for key in ("increase", "se_draws"))
        place = tuple(np.array([r[key] for r in rows]) for key in ("layer", "head"))
        found = dict(sigma=sigma, heads=len(rows), resolved=int((got > 3 * se).sum()), by={})
        for kind, t in table.items():
            want = math.expm1(sigma**2) * t[place]
            each = (got / want)[got > 3 * se]  # of what is not lost in its own noise
            found["by"][kind] = dict(
                spearman=spearmanr(got, want).statistic, sum=got.sum() / want.sum(),
                median=np.median(each) if len(each) else None,
                low=each.min() if len(each) else None, high=each.max() if len(each) else None,
                within_2=int(((each > 0.5) & (each < 2)).sum()),
            )  # fmt: skip
        out["heads"].append(found)
    return out


def short(value: Any) -> Any:
    """Six digits of every float, NumPy's numbers as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
