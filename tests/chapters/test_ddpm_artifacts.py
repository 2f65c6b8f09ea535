"""The stored networks of the DDPM chapter: a wrong file, weight, sample or number fails here."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kexue import data, diffusion, nets, runtime, schedule
from kexue._run_card import sha256
from kexue.density import frechet_distance

SLUG = "ddpm-bayes"
FOLDER = Path(__file__).parents[2] / "book" / "artifacts" / SLUG
WEIGHTS = ("digits", "hanzi", "digits-classifier", "hanzi-features")
OTHERS = (0, 2)  # seeds, of which the metrics are kept
CARD = runtime.RunCard.from_json(FOLDER / "card.json")
METRICS = json.loads((FOLDER / "metrics.json").read_text())
SCHEDULE = {name: schedule.discrete(METRICS[name]["schedule"]) for name in ("digits", "hanzi")}


def tool(name: str):
    spec = importlib.util.spec_from_file_location(f"ddpm_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


measure = tool("measure")


@pytest.fixture(scope="module")
def stored() -> dict[str, torch.nn.Module]:
    return {
        name: nets.load(runtime.artifact(SLUG, f"{name}.safetensors")).requires_grad_(False)
        for name in WEIGHTS
    }


def samples(name: str) -> dict[str, np.ndarray]:
    with np.load(runtime.artifact(SLUG, f"{name}-samples.npz")) as file:
        return dict(file)


def as_images(array: np.ndarray, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(array).float()[:, None] / 255 * (high - low) + low


def row(name: str, steps: int, variance: str) -> dict:
    (found,) = (
        r for r in METRICS[name]["table"] if (r["steps"], r["variance"]) == (steps, variance)
    )
    return found


def test_every_file_is_the_one_on_the_card():
    """And the card lists every file, nothing is too large, and it says where it was made."""
    there = {p.name for p in FOLDER.iterdir() if p.suffix in (".safetensors", ".npz")}
    others = {f"seed{seed}-metrics.json" for seed in OTHERS}
    assert there | others | {"metrics.json"} == set(CARD.files)
    for name in CARD.files:
        assert runtime.artifact(SLUG, name).stat().st_size <= 6_000_000
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) < 12_000_000
    assert CARD.preset == "full" and CARD.revision and CARD.dirty is False
    assert "font" in CARD.metrics["data_license"]["hanzi"]


def test_other_seeds_stay_within_the_spread_that_is_stated():
    """Their runs have cards, on the same GPU; no number is further off than the page may say."""
    runs = [METRICS]
    for seed in OTHERS:
        card = runtime.RunCard.from_json(FOLDER / f"seed{seed}-card.json")
        path = runtime.artifact(SLUG, f"seed{seed}-metrics.json")
        assert sha256(path) == card.files["metrics.json"] and card.dirty is False
        assert (card.seed, card.device, card.preset) == (seed, CARD.device, "full")
        runs.append(json.loads(path.read_text()))
    assert [run["seed"] for run in runs] == [CARD.seed, *OTHERS] == [1, 0, 2]
    entries = [
        [row["frechet_test"] for name in ("digits", "hanzi") for row in run[name]["table"]]
        for run in runs
    ]
    moved = np.ptp(entries, axis=0)
    assert len(moved) == 24 and 0 < np.median(moved) < 0.5 and moved.max() < 2
    for name in ("digits", "hanzi"):
        losses = [run[name]["loss_test"] for run in runs]
        assert 0 < np.ptp(losses) < 0.01 * losses[0]


def test_trained_within_five_minutes():
    for name in ("digits", "hanzi"):
        assert 0 < METRICS["runs"][f"{name}_training"]["seconds"] < 300


@pytest.mark.parametrize("name", ["digits", "hanzi"])
def test_held_out_loss_is_the_one_measured(stored, name):
    """The simple loss on held-out data, recomputed on the CPU; a network that guesses fails.

    2e-2: the run used tensor cores in tf32 here, and the weights are the same fp16 file.
    """
    x = data.load(name, "test").x
    got = measure.held_out_loss(stored[name], x, SCHEDULE[name])
    assert got == pytest.approx(METRICS[name]["loss_test"], rel=2e-2)
    assert METRICS[name]["loss_train"] < METRICS[name]["loss_test"]  # it knows its own data better


def test_a_wrong_weight_would_be_seen(stored):
    """Teeth: swap two equal-shaped convolutions of the digits' network; the loss above moves."""
    model = nets.load(FOLDER / "digits.safetensors")
    first, second = model.down[0][0][0], model.down[0][1][0]
    first.conv2, second.conv2 = second.conv2, first.conv2
    x = data.load("digits", "test").x
    got = measure.held_out_loss(model, x, SCHEDULE["digits"])
    assert abs(got / METRICS["digits"]["loss_test"] - 1) > 0.1


def test_loss_curves_belong_to_the_runs():
    for name in ("digits", "hanzi"):
        with np.load(runtime.artifact(SLUG, f"{name}-loss.npz")) as file:
            curve, step, held_out = file["loss"], file["held_out_step"], file["held_out_loss"]
        assert len(curve) == METRICS["runs"][f"{name}_training"]["steps"] == step[-1]
        assert np.isfinite(curve).all() and curve[-100:].mean() < curve[:20].mean() / 3
        assert held_out[-1] == pytest.approx(METRICS[name]["loss_test"], rel=2e-2)


def test_the_classifier_reads_held_out_digits(stored):
    test = data.load("digits", "test")
    accuracy = (stored["digits-classifier"](test.x).argmax(1) == test.y).float().mean().item()
    assert accuracy == pytest.approx(METRICS["runs"]["digits_classifier"]["accuracy"], abs=0.006)
    assert accuracy >= 0.97


def test_features_are_in_their_unit(stored):
    for name, ruler, split in (
        ("digits", "digits-classifier", "train"),
        ("hanzi", "hanzi-features", None),
    ):
        x = data.load(name, split).x[::4]
        variance = measure.all_features(stored[ruler], x).var(0).sum().item()
        assert variance == pytest.approx(100, rel=0.05)


def test_digit_samples_meet_the_bar(stored):
    """Claims at 250 steps, n = 2,048, and the 512 stored samples measured again."""
    claimed = row("digits", 250, "posterior")
    assert claimed["confidence"] >= 0.90 and claimed["largest_share_gap"] <= 0.04
    every = data.load("digits")
    shares = torch.bincount(every.y).float() / len(every)
    x = as_images(samples("digits")["samples"])
    got = measure.quality(x, stored["digits-classifier"], {}, shares)
    # four standard deviations of a mean over 512, and of a share of a tenth
    assert got["confidence"] == pytest.approx(claimed["confidence"], abs=0.02)
    assert got["largest_share_gap"] <= 0.04 + 4 * (0.09 / 512) ** 0.5


@pytest.mark.parametrize(
    ("name", "ruler", "levels"),
    [("digits", "digits-classifier", 17), ("hanzi", "hanzi-features", 16)],
)
def test_stored_samples_have_the_frechet_distance_claimed(stored, name, ruler, levels):
    """Fewer samples raise the distance: by about what 512 real images have against the rest."""
    x = as_images(samples(name)["samples"])
    assert torch.allclose(measure.to_levels(x, levels), x, atol=0.006)  # real images' gray levels
    train = measure.all_features(stored[ruler], data.load(name, "train").x)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    chance = frechet_distance(train[chosen[:512]], train[chosen[512:]])
    got = frechet_distance(measure.all_features(stored[ruler], x), train)
    claimed = row(name, *METRICS[name]["kept"])["frechet_train"]
    assert claimed < got < claimed + 1.2 * chance
    noise = torch.rand(512, 1, *x.shape[2:], generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert frechet_distance(measure.all_features(stored[ruler], noise), train) > 20 * got


def test_more_steps_do_not_hurt_and_few_do():
    for name in ("digits", "hanzi"):
        for variance in ("posterior", "forward"):
            few, many = row(name, 10, variance), row(name, 250, variance)
            assert many["frechet_train"] < 0.8 * few["frechet_train"]


def test_characters_are_no_copies():
    """Distances of the stored samples, computed again, against the thresholds claimed."""
    new, file = METRICS["hanzi"]["novelty"], samples("hanzi")
    train, test = data.load("hanzi", "train").x, data.load("hanzi", "test").x
    distance, index = measure.nearest(as_images(file["samples"])[:128], train)
    assert np.array_equal(index.numpy(), file["nearest"][:128])
    np.testing.assert_allclose(distance[:, 0].numpy(), file["nearest_distance"][:128], rtol=2e-3)
    assert new["samples_copies"] == 0 < file["nearest_distance"].min() - new["copy_threshold"]
    held_out, _ = measure.nearest(test, train)
    median = held_out[:, 0].median().item()
    assert median == pytest.approx(new["held_out_nearest_median"], rel=1e-4)
    assert np.median(file["nearest_distance"]) == pytest.approx(
        new["samples_nearest_median"], rel=0.03
    )
    assert np.median(file["nearest_distance"]) > median  # farther than unseen real ones


def test_the_strips_are_this_network_at_work(stored):
    """What it took for x_0 at 700, 400 and 100 follows from the stored x_t and the weights."""
    file, s = samples("hanzi"), SCHEDULE["hanzi"]
    times = file["strip_times"].tolist()
    assert times[0] == 1000 and times[-1] == 0 and len(times) == 12
    assert file["strip_x_t"].shape == file["strip_x0"].shape == (8, 12, 32, 32)
    for t in (700, 400, 100):
        k = times.index(t)
        x_t, x0 = (
            as_images(file["strip_x_t"][:, k], -3, 3),
            as_images(file["strip_x0"][:, k]),
        )
        alpha, sigma = (float(a) for a in s(t))
        got = ((x_t - sigma * stored["hanzi"](x_t, t)) / alpha).clamp(-1, 1)
        assert (got - x0).square().mean().sqrt() < 0.1
        assert (got - x0.roll(1, 0)).square().mean().sqrt() > 0.3  # and not of another strip
    end = as_images(file["strip_x_t"][:, -1], -3, 3).clamp(-1, 1)
    assert (end - as_images(file["strip_x0"][:, -1])).abs().max() < 0.02


def test_the_stored_model_draws_digits_here(stored):
    """128 samples in 20 steps on the CPU are confidently read."""
    x = measure.draw(
        stored["digits"], SCHEDULE["digits"], 128, (1, 8, 8), 20, "posterior", 0,
        torch.device("cpu"),
    )  # fmt: skip
    assert stored["digits-classifier"](x).softmax(1).max(1).values.mean() > 0.9


def test_the_collage_measure_on_a_known_case():
    """An image glued from two others has distance 0; its mirror image has not."""
    train = data.load("hanzi", "train").x[:50]
    glued = torch.cat([train[3, :, :, :13], train[7, :, :, 13:]], 2)[None]
    assert measure.collage_distance(glued, train).item() < 0.02
    assert measure.collage_distance(glued.flip(3), train).item() > 5
    assert measure.collage_distance(glued.mT, train.mT).item() < 0.02


def test_rounding_and_bytes_are_inverse_on_the_levels():
    grid = torch.linspace(-1, 1, 16)
    torch.testing.assert_close(measure.to_levels(grid, 16), grid)
    assert measure.to_bytes(grid).tolist() == [17 * k for k in range(16)]
    assert measure.to_levels(torch.tensor([-3.0, 0.9, 7.0]), 3).tolist() == [-1.0, 1.0, 1.0]


def test_ddim_of_the_stored_model_is_a_function_of_its_noise(stored):
    s = SCHEDULE["digits"]
    x_T = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    *_, (_, a) = diffusion.ddim(stored["digits"], x_T, s, s.timesteps(10))
    *_, (_, b) = diffusion.ddim(stored["digits"], x_T, s, s.timesteps(10))
    assert torch.equal(a, b)
