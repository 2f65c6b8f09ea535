"""The stored experiments of the softmax chapter: a wrong file, weight or number fails here."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue import nets, runtime
from kexue.nets import language_loss

SLUG = "softmax-attention"
FOLDER = Path(__file__).parents[2] / "book" / "artifacts" / SLUG
TOOLS = ("compare", "recipes", "predicted", "noisy", "rounding", "entropies", "excerpt", "lengths")
CARD = runtime.RunCard.from_json(FOLDER / "card.json")
METRICS = json.loads((FOLDER / "metrics.json").read_text())
SIZES = ("tiny", "large")
RUNS = [(name, run) for name in SIZES for run in METRICS[name]["noise"]]


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(runtime.artifact(SLUG, name)) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model() -> nets.LanguageModel:
    return nets.load(runtime.artifact(SLUG, "tiny.safetensors")).requires_grad_(False)


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return torch.from_numpy(arrays("excerpt.npz")["windows"]).long()


def at(rows: list[dict], **what) -> dict:
    (found,) = (r for r in rows if all(r[key] == value for key, value in what.items()))
    return found


def test_every_file_is_the_one_on_the_card():
    there = {p.name for p in FOLDER.iterdir() if p.suffix in (".safetensors", ".npz")}
    assert there | {"metrics.json"} == set(CARD.files)
    for name in CARD.files:
        assert runtime.artifact(SLUG, name).is_file()
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) < 3_000_000
    assert CARD.preset == "full" and CARD.revision and CARD.dirty is False
    assert set(METRICS["made"]) == {"noise", "lengths"} and CARD.seconds < 1200


def test_the_models_are_of_the_sizes_stated(tools):
    for name in SIZES:
        m, recipe = METRICS[name], tools["recipes"].FULL[name]
        model = nets.LanguageModel(**recipe["model"])
        assert sum(p.numel() for p in model.parameters()) == m["parameters"]
        assert m["config"] == model.config and m["steps"] == recipe["train"]["steps"]
        assert len(m["runs"]) == len(m["noise"]) == 3
        for run, noise in zip(m["runs"], m["noise"], strict=True):
            assert noise["loss"] == pytest.approx(run["loss_validation"], abs=1e-4)
    assert METRICS["tiny"]["parameters"] == 132_352 and METRICS["large"]["parameters"] > 10_000_000


# The small model again, on a CPU ------------------------------------------------------------------


def test_the_stored_model_has_the_loss_and_the_sensitivity_measured(tools, model, windows):
    """On the excerpt to the digit; the excerpt agrees with the whole text within its error bars."""
    want, got = METRICS["excerpt"], tools["excerpt"].measure(model, windows)
    assert got["loss"] == pytest.approx(want["loss"], abs=1e-4)
    assert abs(got["common"]) < 1e-6
    whole = METRICS["tiny"]["noise"][0]
    assert abs(got["loss"] - whole["loss"]) < 3 * want["loss_se"]
    for row in got["noise"]:
        same, stored = (at(r, sigma=row["sigma"]) for r in (whole["all"], want["noise"]))
        assert row["increase"] == pytest.approx(stored["increase"], rel=2e-3)
        assert abs(row["increase"] - same["increase"]) < 3 * row["se"]
        assert abs(row["kl"] - same["kl"]) < 3 * row["kl_se"]
    plain = language_loss(model, windows).mean().item()  # torch's own attention
    assert plain == pytest.approx(got["loss"], abs=1e-5)


def test_the_prediction_is_the_second_order_of_the_divergence(tools, model, windows):
    """kl / sigma^2 at sigma -> 0 is ``fisher``, in float64, where sigma can be small.

    With sigma = 0.02 what is left out is of relative size sigma^2; the labels that ``fisher`` draws
    and the noise that ``kl`` draws leave a few per cent.
    """
    model, few = copy.deepcopy(model).double(), windows[:96]
    found = tools["predicted"].measure(model, few, torch.Generator().manual_seed(0), 16, 48)
    scale = tools["noisy"].Scale(model, few, 96, draws=8)
    row = scale.under(tools["noisy"].A.Normal(0.02))
    total = {kind: np.sum(found[kind]) for kind in ("fisher", "weights", "n_eff", "heavy")}
    assert row["kl"] / 0.02**2 == pytest.approx(total["fisher"], rel=0.05)
    assert total["heavy"] < total["weights"] < total["n_eff"]


def test_rounding_is_the_noise_it_is_taken_for(tools):
    """Errors of uniform numbers are at most half their step D; their variance is D^2 / 12."""
    r, x = tools["rounding"], torch.linspace(-9, 9, 100_001)
    for kind in r.FP8:
        error = (r.cast(x, kind) - x) / r.float_step(x, kind)
        assert error.abs().max() <= 0.5 and 12 * error.square().mean() == pytest.approx(1, abs=1e-3)
        assert r.float_step(torch.zeros(1), kind) < 0.01  # 0 is exact, its neighbors are close
    s = torch.randn(1, 1, 2000, 64, generator=torch.Generator().manual_seed(0))
    s[..., 40:] = -math.inf
    for mode in ("int4", "e4m3", "e4m3 - max"):
        error = (r.round_logits(s, mode) - s)[..., :40]
        variance = r.logit_variance(s, mode).expand_as(s)
        assert (variance[..., 40:] == 0).all()
        assert error.square().sum() == pytest.approx(variance.sum().item(), rel=0.02)
        assert torch.equal(r.round_logits(s, mode)[..., 40:], s[..., 40:])


def test_entropies_are_those_of_the_stored_model(tools, model, windows):
    """A row's numbers again from the excerpt; the formula is exact where all logits are equal."""
    stored = arrays("entropy.npz")
    found = tools["entropies"].by_row(model, windows, 128)
    for key in ("entropy", "inverse_n_eff"):
        want = stored[f"tiny_trained_{key}"]
        np.testing.assert_allclose(found[key].numpy(), want, atol=0.15)
        assert abs(found[key].numpy() - want).mean() < 0.03
    assert np.allclose(stored["tiny_fresh_entropy"][..., 0], 0, atol=1e-6)  # one key


# What the chapter says of it ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_ratios_follow_from_what_was_measured(tools, name, run):
    again = tools["compare"].short(tools["compare"].ratios(run))
    for key in ("ratio", "ratio_kl"):
        for a, b in zip(again["all"], run["comparison"]["all"], strict=True):
            assert a[key] == pytest.approx(b[key], rel=1e-3)


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_small_noise_is_nearly_free_and_common_noise_is_free(name, run):
    increase = {r["sigma"]: r["increase"] for r in run["all"]}
    assert increase[0.25] < 0.01 < 0.03 < increase[1.0] and increase[0.5] < 0.1
    assert increase[3.0] > 0.3 and list(increase.values()) == sorted(increase.values())
    for row in run["common"]:
        assert abs(row["increase"]) < 1e-6
    for row in run["all"]:
        assert row["se_draws"] < 0.03 * row["increase"]


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_the_divergence_is_predicted_and_n_eff_alone_says_twice_as_much(name, run):
    """At small sigma Gauss-Newton is exact, the weights give it within 5 %, n_eff says double."""
    for sigma in (0.125, 0.25):
        ratio = at(run["comparison"]["all"], sigma=sigma)["ratio_kl"]
        assert ratio["fisher"] == pytest.approx(1, abs=0.04)
        assert ratio["weights"] == pytest.approx(1, abs=0.05)
        assert 0.5 < ratio["n_eff"] < 0.6 and ratio["heavy"] > 2
    half = at(run["comparison"]["all"], sigma=0.5)["ratio_kl"]
    assert 0.45 < half["n_eff"] < 0.5  # the bar of a factor 2, missed by a little
    for found in run["comparison"]["heads"]:
        assert found["by_kl"]["weights"]["spearman"] > 0.9
        assert found["by_kl"]["fisher"]["within_2"] == found["heads"]


def test_sigma_squared_is_closer_than_v_eta_where_few_keys_count():
    for _, run in RUNS:
        row = at(run["comparison"]["all"], sigma=1.0)
        assert abs(math.log(row["ratio_kl_sigma2"]["fisher"])) < 0.15
        assert row["ratio_kl"]["fisher"] < 0.7


def test_what_the_loss_pays_less_than_the_divergence_is_overconfidence():
    """Loss over prediction: 1 where the model knows how much it knows, less where it does not."""
    large, tiny = METRICS["large"], METRICS["tiny"]
    ratio = {}
    for name, case in {
        "main": large["noise"][0],
        "read": large["training_text"],
        "T": large["calibrated"],
        "overfit": large["overfit"]["validation_text"],
        "overfit, read": large["overfit"]["training_text"],
        "overfit, T": large["overfit"]["calibrated"],
        "tiny": tiny["noise"][0],
    }.items():
        ratio[name] = at(case["comparison"]["all"], sigma=0.125)["ratio"]["full"]
        assert at(case["comparison"]["all"], sigma=0.125)["ratio_kl"]["fisher"] == pytest.approx(
            1, abs=0.04
        )
        ratio[name, "sure"] = case["loss"] - case["own"]
    assert ratio["overfit"] < 0.6 < ratio["main"] < 0.85 < 0.95 < ratio["read"] < 1.15
    assert ratio["main"] < ratio["T"] < 1 and ratio["overfit"] < ratio["overfit, T"] < 1
    assert 0.95 < ratio["overfit, read"] < 1.15 and 0.95 < ratio["tiny"] < 1.15
    assert ratio["overfit", "sure"] > ratio["main", "sure"] > 0.1
    for name in ("T", "overfit, T"):
        assert abs(ratio[name, "sure"]) < 1e-3  # at the best T the two agree on average
    for name in ("read", "overfit, read", "tiny"):
        assert abs(ratio[name, "sure"]) < 0.06


def test_equal_v_eta_is_not_equal_harm_where_few_keys_count():
    """Symmetric laws cost in proportion to their variance; dropping costs ten times as much."""
    for name, run in RUNS:
        for sigma in (0.25, 0.5):
            normal = at(run["all"], sigma=sigma)["kl"] / sigma**2
            for law in ("laplace", "uniform"):
                row = at(run["laws"], law=law, sigma=sigma)
                assert row["kl"] / row["variance"] == pytest.approx(normal, rel=0.06)
            drop = at(run["laws"], law="drop", sigma=sigma)["kl"]
            assert drop > 10 * at(run["all"], sigma=sigma)["kl"], name


def test_rounding_costs_what_its_variance_says():
    for name in SIZES:
        for row in METRICS[name]["rounding"][0]["rows"]:
            assert row["variance_share"] == pytest.approx(1, abs=0.03)
            tolerance = 0.25 if row["mode"] == "int3" else 0.07
            assert row["kl"] == pytest.approx(row["shared"], rel=tolerance)
            assert row["increase"] < row["kl"] + 3 * row["se"] + 0.02
        rows = METRICS[name]["rounding"][0]["rows"]
        shifted, plain = (at(rows, what="logits", mode=m)["kl"] for m in ("e4m3 - max", "e4m3"))
        assert shifted < 0.05 * plain


def test_entropy_follows_the_formula_before_training_and_not_after():
    for name in SIZES:
        error = {
            when: [
                abs(r["entropy"] - r["gaussian_entropy"]) for r in METRICS[name]["entropy"][when]
            ]
            for when in ("fresh", "trained")
        }
        assert max(error["fresh"]) < 0.1 and np.mean(error["trained"]) > 1
        for when in error:
            for r in METRICS[name]["entropy"][when]:
                assert r["gaussian_entropy"] == pytest.approx(
                    math.log(r["n"]) - r["variance"] / 2, abs=1e-3
                )
                assert 0 <= r["entropy"] <= math.log(r["n"]) and 1 <= r["n_eff"] <= r["n"]


def test_longer_texts_are_harder_and_the_factor_changes_nothing_up_to_the_length_trained_on():
    for name in SIZES:
        found = METRICS["lengths"][name]
        cases = {(r["position"], r["trained"], r["test"], r["seed"]) for r in found["rows"]}
        for position, trained, test, seed in cases:
            key = dict(position=position, trained=trained, seed=seed)
            loss = [at(found["rows"], **key, test=test, multiple=m)["loss"] for m in (1, 2, 4, 8)]
            assert loss[0] < loss[1] < loss[2] and loss[3] > 1.2 * loss[0]
            if trained == "plain":
                assert loss[0] == at(found["rows"], **key, test="plain", multiple=1)["loss"]


def test_the_factor_is_one_up_to_the_length_and_then_the_logarithm(tools):
    """The hook against logits multiplied by hand."""
    q, k, v = torch.randn(3, 2, 2, 12, 4, generator=torch.Generator().manual_seed(0))
    for name, power in (("plain", 0), ("log", 1), ("sqrt", 0.5)):
        for everywhere in (False, True):
            got = tools["lengths"].scaled(name, 4, everywhere)(q, k, v, 0)
            for n in range(1, 13):
                f = (math.log(n) / math.log(4)) ** power if everywhere or n > 4 else 1.0
                p = (f * q[:, :, n - 1 : n] @ k[:, :, :n].mT / 2).softmax(-1)
                torch.testing.assert_close(got[:, :, n - 1 : n], p @ v[:, :, :n])
