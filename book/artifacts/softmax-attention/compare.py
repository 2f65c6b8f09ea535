"""Measured over predicted, from the numbers of one run alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import spearmanr

KINDS = ("full", "fisher", "weights", "n_eff", "heavy")
SECOND = KINDS[1:]  # of the divergence, whose first order is zero
CALIBRATED_AT = 0.25


def ratios(run: dict) -> dict:
    """The increase under Normal(sigma) on all logits, and on single heads, over each prediction.

    A prediction is V times its sum per unit of V, with V = e^{sigma^2} - 1 (``ratio``) or sigma^2
    (``ratio_sigma2``); ``ratio_kl``: the same of the divergence. ``constant``: V c times the sum
    over heads of <1 / n_eff>, c from sigma = 0.25.
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
            ratio_kl={k: row["kl"] / predicted[k] for k in SECOND},
            ratio_kl_sigma2={k: row["kl"] / small[k] for k in SECOND},
            relative_se=row["se_draws"] / row["increase"],
            relative_se_kl=row["kl_se_draws"] / row["kl"],
        ))  # fmt: skip
    out = dict(constant=c, all=whole, heads=[])
    for sigma in sorted({r["sigma"] for r in run.get("heads", ())}):
        rows = [r for r in run["heads"] if r["sigma"] == sigma]
        place = tuple(np.array([r[key] for r in rows]) for key in ("layer", "head"))
        want = {kind: math.expm1(sigma**2) * t[place] for kind, t in table.items()}
        out["heads"].append(dict(
            sigma=sigma, heads=len(rows),
            by={kind: head_by_head(rows, w, "increase", "se_draws") for kind, w in want.items()},
            by_kl={kind: head_by_head(rows, want[kind], "kl", "kl_se_draws") for kind in SECOND},
        ))  # fmt: skip
    return out


def head_by_head(rows: list[dict], want: np.ndarray, what: str, error: str) -> dict:
    """Rank correlation, and the ratios of those heads that are not lost in their own noise."""
    got, se = (np.array([r[key] for r in rows]) for key in (what, error))
    each = (got / want)[got > 3 * se]
    return dict(
        spearman=spearmanr(got, want).statistic, sum=got.sum() / want.sum(), resolved=len(each),
        median=np.median(each) if len(each) else None, low=each.min() if len(each) else None,
        high=each.max() if len(each) else None, within_2=int(((each > 0.5) & (each < 2)).sum()),
    )  # fmt: skip


def short(value: Any) -> Any:
    """Six digits of every float, NumPy's numbers as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
