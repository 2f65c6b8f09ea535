"""Make the artifacts of the chapter "DDPM = Bayes + denoising" from nothing.

    python book/artifacts/ddpm-bayes/make.py --out book/artifacts/ddpm-bayes

On one GPU with at least 15 GB: bfloat16 from compute capability 8 on, else float16 with loss
scaling. ``--preset smoke`` does everything in a few steps on a CPU and proves nothing but that the
script runs. ``--stage`` runs one part (the others' files are taken from ``--out``): features,
digits, hanzi, measure; each leaves its times in ``times.json`` until ``measure`` writes the card.
``--again`` names other seeds with which all of it is run too, of which the metrics are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import measure
import numpy as np
import torch

from kexue import data, diffusion, nets, runtime, schedule

HANZI = Path(data.__file__).with_name("data_files") / "hanzi32.npz"
COUNTS = (10, 20, 50, 100, 250, 1000)
STATES = (1000, 900, 800, 700, 600, 500, 400, 300, 200, 100, 40, 0)

FULL = {
    "features_digits": dict(steps=1200, batch=256),
    "features_hanzi": dict(steps=3000, batch=1024),
    "digits": dict(steps=800, batch=512, lr=2e-3, weight_decay=0.1, decay=0.99, schedule="su"),
    "hanzi": dict(steps=7000, batch=512, lr=2e-3, weight_decay=0.1, decay=0.999, schedule="cosine"),
    "unet_digits": dict(channels=(48, 80), dropout=0.1, join="add", skip=False),
    "unet_hanzi": dict(channels=(40, 80, 120), dropout=0.3, join="add", skip=True),
    "samples": 2048,
    "counts": COUNTS,
}
SMOKE = {
    "features_digits": dict(steps=10, batch=32),
    "features_hanzi": dict(steps=2, batch=8),
    "digits": dict(steps=20, batch=32, lr=2e-3, decay=0.99, schedule="su"),
    "hanzi": dict(steps=3, batch=4, lr=2e-3, decay=0.99, schedule="cosine"),
    "unet_digits": dict(channels=(16, 16), blocks=1, skip=False),
    "unet_hanzi": dict(channels=(8, 8, 16), blocks=1, join="add", skip=True),
    "samples": 40,
    "counts": (2, 3),
}


class Run:
    """One run of this script: where it writes, what it has timed."""

    def __init__(self, out: Path, preset: str, seed: int) -> None:
        self.out, self.preset, self.seed = out, preset, seed
        self.p = FULL if preset == "full" else SMOKE
        self.device, self.precision = runtime.device(), runtime.precision()
        self.clock, self.notes = time.perf_counter(), {}

    def images(self, name: str, split: str) -> data.Images:
        return data.load(name, split)

    def train_set(self, name: str) -> torch.Tensor:
        return self.images(name, "train").x.to(self.device)

    def test_set(self, name: str) -> torch.Tensor:
        return self.images(name, "test").x.to(self.device)

    def load(self, name: str) -> torch.nn.Module:
        return nets.load(self.out / f"{name}.safetensors").to(self.device)

    def say(self, text: str) -> None:
        print(f"[{time.perf_counter() - self.clock:6.1f} s] {text}", flush=True)

    def note(self, name: str, **values) -> None:
        """Keep what a stage measured about itself, for the card."""
        path = self.out / "times.json"
        notes = json.loads(path.read_text()) if path.is_file() else {}
        notes[name] = values
        path.write_text(json.dumps(notes, indent=1))
        self.say(f"{name}: {values}")

    def fast(self, model: torch.nn.Module, shape: tuple):
        """The model for sampling: recorded once on a GPU, in half precision."""
        x = torch.zeros((measure.BATCH, *shape), device=self.device)
        return nets.replay(model, x, self.precision)


def features(run: Run) -> None:
    """Two classifiers whose features measure the samples.

    The digits' sees the training split only. The characters' learns to tell apart all 3,755, held
    out or not, under warping: it is a ruler, and a ruler must not know which half was trained on.
    """
    train, test = run.images("digits", "train"), run.images("digits", "test")
    model = nets.Classifier(8, 10, (32, 64, 64), 64).to(run.device)
    x, y = train.x.to(run.device), train.y.to(run.device)
    for _, loss in nets.fit(model, x, y, **run.p["features_digits"], seed=run.seed):  # noqa: B007
        pass
    nets.save(model, run.out / "digits-classifier.safetensors")
    with torch.no_grad():
        p = model(test.x.to(run.device)).softmax(1).cpu()
    accuracy = (p.argmax(1) == test.y).float().mean().item()
    run.note("digits_classifier", accuracy=accuracy, confidence=p.max(1).values.mean().item())

    start = time.perf_counter()
    x = data.load("hanzi").x.to(run.device)
    model = nets.Classifier(32, len(x), (32, 64, 128, 256), 64).to(run.device)
    y = torch.arange(len(x), device=run.device)
    fit = nets.fit(model, x, y, **run.p["features_hanzi"], augment=measure.warp, seed=run.seed)
    for _, loss in fit:  # noqa: B007
        pass
    nets.save(model, run.out / "hanzi-features.safetensors")
    with torch.no_grad():
        generator = torch.Generator(run.device).manual_seed(run.seed + 1)
        warped = measure.warp(x, generator).split(512)
        right = (torch.cat([model(w).argmax(1) for w in warped]) == y).float().mean().item()
    seconds = time.perf_counter() - start
    run.note("hanzi_features", loss=loss.item(), accuracy_warped=right, seconds=seconds)


def train(run: Run, name: str) -> None:
    """Train the U-Net on one set; write the averaged weights and the loss curve."""
    torch.manual_seed(run.seed)
    options = dict(run.p[name])
    s = schedule.discrete(options.pop("schedule"))
    decay, x0 = options.pop("decay"), run.train_set(name)
    architecture = dict(run.p[f"unet_{name}"])
    known = s if architecture.pop("skip") else None
    model = nets.UNet(1, **architecture, schedule=known)
    model = model.to(run.device)
    ema, losses, start, held_out, test = nets.EMA(model, decay), [], None, [], run.test_set(name)
    options |= dict(
        ema=ema, seed=run.seed, precision=run.precision, graph=run.device.type == "cuda"
    )
    begin = time.perf_counter()
    for step, loss in nets.train(model, x0, s, **options):
        losses.append(loss)
        if step == 2:  # recorded and warm
            start = time.perf_counter() if loss.item() else None
        if step % max(1, options["steps"] // 20) == 0:
            held_out.append((step, measure.held_out_loss(ema.model, test, s)))
            now = torch.stack(losses[-200:]).mean().item()
            run.say(f"{name} {step:6d} loss {now:.4f}, held out {held_out[-1][1]:.4f}")
    end = time.perf_counter()
    curve = torch.stack(losses).float().cpu().numpy()
    runtime.write_npz(
        run.out / f"{name}-loss.npz",
        loss=curve.astype(np.float16),
        held_out_step=np.array([step for step, _ in held_out], np.int32),
        held_out_loss=np.array([loss for _, loss in held_out], np.float32),
    )
    nets.save(ema.model, run.out / f"{name}.safetensors")
    count = sum(p.numel() for p in model.parameters())
    rate = (options["steps"] - 2) * options["batch"] / (end - start)
    memory = torch.cuda.max_memory_allocated() / 1e6 if run.device.type == "cuda" else None
    run.note(
        f"{name}_training", parameters=count, steps=options["steps"], batch=options["batch"],
        images_per_second=rate, seconds=end - begin, seconds_recording=start - begin,
        peak_memory_mb=memory, epochs=options["steps"] * options["batch"] / len(x0),
    )  # fmt: skip


def table(run: Run, name: str, model, s, classifier, shares) -> tuple[list, torch.Tensor, dict]:
    """Quality for every number of steps and both variances; the samples that are kept, and poor."""
    real = {"train": run.train_set(name), "test": run.test_set(name)}
    shape, kept = tuple(real["train"].shape[1:]), {}
    eps = run.fast(model, shape)
    rows = []
    for variance in ("posterior", "forward"):
        for steps in run.p["counts"]:
            start = time.perf_counter()
            n = run.p["samples"]
            x = measure.draw(eps, s, n, shape, steps, variance, run.seed + 10, run.device)
            x = measure.to_levels(x, measure.LEVELS[name])
            row = dict(steps=steps, variance=variance)
            row |= measure.quality(x, classifier, real, shares)
            row["seconds"] = round(time.perf_counter() - start, 2)
            rows.append(row)
            kept[steps, variance] = x
            run.say(f"{name} { ({k: v for k, v in row.items() if k != 'shares'}) }")
    return rows, real, kept


def strips(run: Run, model, s, n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """States x_t on the way, and what the model took for x_0 there: (n, states, H, W) each."""
    shape, seen, guessed = (1, 32, 32), [], []
    generator = torch.Generator().manual_seed(run.seed + 5)
    x_T = torch.randn((n, *shape), generator=generator).to(run.device)
    times = s.timesteps(1000 if run.preset == "full" else 50)
    for t, x in diffusion.ddpm(model, x_T, s, times, "posterior", generator):
        if t in STATES:
            seen.append(x)
            with torch.no_grad():
                alpha, sigma = (float(a) for a in s(t))
                guessed.append((x - sigma * model(x, t)) / alpha if t else x)
    return torch.cat(seen, 1).cpu(), torch.cat(guessed, 1).cpu()


def evaluate(run: Run) -> None:
    """Measure both models; write samples, strips, metrics and the card."""
    metrics, best = {}, (run.p["counts"][-2], "posterior")
    for name, ruler in (("digits", "digits-classifier"), ("hanzi", "hanzi-features")):
        model, classifier = run.load(name), run.load(ruler)
        s, test = schedule.discrete(run.p[name]["schedule"]), run.images(name, "test")
        shares = None
        if name == "digits":
            y = torch.cat([run.images(name, "train").y, test.y])
            shares = (torch.bincount(y) / len(y)).to(run.device)
        rows, real, kept = table(run, name, model, s, classifier, shares)
        m = metrics[name] = {"schedule": s.name, "table": rows, "kept": list(best)}
        m["real"] = measure.quality(real["test"], classifier, {"train": real["train"]}, shares)
        mixed = real["train"][torch.randperm(len(real["train"]))]  # two halves: what chance does
        halves = mixed.tensor_split(2)
        other = measure.quality(halves[0], classifier, {"half": halves[1]}, None)
        m["real"]["frechet_halves"] = other["frechet_half"]
        for split, x in real.items():
            m[f"loss_{split}"] = measure.held_out_loss(model, x, s)
        shown, poor = kept[best][:512], kept[run.p["counts"][0], "posterior"]
        m["novelty"] = measure.novelty(kept[best], real["train"], real["test"], poor, classifier)
        distance, index = measure.nearest(shown, real["train"])
        arrays = {
            "samples": measure.to_bytes(shown[:, 0]).cpu().numpy(),
            "nearest": index.int().cpu().numpy(),  # in data.load(name, "train").x
            "nearest_distance": distance[:, 0].half().cpu().numpy(),
        }
        if name == "hanzi":
            seen, guessed = strips(run, model, s)
            arrays["strip_times"] = np.array([t for t in STATES if t in s.timesteps(
                1000 if run.preset == "full" else 50).tolist()], np.int32)  # fmt: skip
            arrays["strip_x_t"] = measure.to_bytes(seen, -3, 3).numpy()
            arrays["strip_x0"] = measure.to_bytes(guessed).numpy()
        runtime.write_npz(run.out / f"{name}-samples.npz", **arrays)
        run.say(f"{name} { ({k: v for k, v in m.items() if k != 'table'}) }")
    notes = run.out / "times.json"
    metrics["runs"] = json.loads(notes.read_text()) if notes.is_file() else {}
    metrics["seed"] = run.seed
    (run.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")


def card(run: Run, again: list[int]) -> None:
    """The run card with the hash of every file the book reads."""
    metrics = json.loads((run.out / "metrics.json").read_text())
    runs = metrics["runs"]
    seconds = sum(part.get("seconds", 0) for part in runs.values())
    files = [*run.out.glob("*.safetensors"), *run.out.glob("*.npz")]
    files += run.out.glob("*metrics.json")  # other seeds' too
    runtime.run_card(
        seed=run.seed, seconds=seconds, preset="full" if run.preset == "full" else "quick",
        precision=run.precision, files=sorted(files),
        command=f"python book/artifacts/ddpm-bayes/make.py --seed {run.seed}"
        + "".join([" --again", *(f" {seed}" for seed in again)] if again else ""),
        hanzi_sha256=sha256(HANZI.read_bytes()).hexdigest(),
        data_license={name: data.load(name).license for name in ("digits", "hanzi")},
        training_peak_memory_mb=runs.get("hanzi_training", {}).get("peak_memory_mb"),
        hanzi_training_seconds=runs.get("hanzi_training", {}).get("seconds"),
        digits_training_seconds=runs.get("digits_training", {}).get("seconds"),
    ).to_json(run.out / "card.json")  # fmt: skip


STAGES = ("features", "digits", "hanzi", "measure")


def make(run: Run, stages: list[str], again: list[int]) -> None:
    """Run these parts, in ``run.out``."""
    runtime.seed_everything(run.seed)
    for stage in stages:
        if stage == "features":
            features(run)
        elif stage == "measure":
            evaluate(run)
            card(run, again)
        else:
            train(run, stage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES)
    args = parser.parse_args()
    whole = set(args.stage) == set(STAGES)
    with runtime.replacing(args.out) as folder:
        for path in [] if whole else args.out.glob("*"):  # what the other parts made
            if path.suffix in (".safetensors", ".json", ".npz"):
                shutil.copy2(path, folder)
        for seed in args.again if whole else []:
            with tempfile.TemporaryDirectory() as other:
                make(Run(Path(other), args.preset, seed), STAGES, [])
                for kind in ("metrics", "card"):
                    shutil.copy2(Path(other) / f"{kind}.json", folder / f"seed{seed}-{kind}.json")
        make(Run(folder, args.preset, args.seed), args.stage, args.again if whole else [])
        if "measure" in args.stage:
            (folder / "times.json").unlink(missing_ok=True)
    if "measure" in args.stage:  # they are on the card; no later run is to read them
        (args.out / "times.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
