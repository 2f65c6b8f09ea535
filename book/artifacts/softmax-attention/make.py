"""Make the artifact of the chapter on softmax attention from nothing.

    python book/artifacts/softmax-attention/make.py --out book/artifacts/softmax-attention

Two language models over bytes, of 0.13 and 10.8 million parameters, trained on text that comes with
Python; then noise on their attention logits, measured against what gradients predict; entropies;
rounding; longer texts. Needs one GPU of 40 GB. ``--preset smoke`` does everything in a few steps on
a CPU and proves nothing but that the script runs. ``--stage`` makes some parts again and takes the
others from ``--out``; metrics.json says from which revision each was made. README of its fields:
the docstrings of the modules beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import compare
import entropies
import excerpt
import lengths
import noisy
import predicted
import recipes
import rounding
import torch

from kexue import _run_card, nets, runtime

STAGES = ("noise", "lengths")


def noise(args, device, metrics: dict, arrays: dict, say) -> nets.LanguageModel:
    """Train, then everything that is asked of the trained models; returns the tiny one, seed 0."""
    book, kept = (recipes.FULL if args.preset == "full" else recipes.SMOKE), None
    for name, recipe in book.items():
        windows = recipes.held_out(recipe, device)
        found = recipes.about(recipe, runtime.precision()) | dict(runs=[], noise=[])
        for seed in range(args.seed, args.seed + recipe["seeds"]):
            model, run = recipes.train(recipe, seed, device, say)
            kept = kept or model
            found["runs"].append(run)
            result = noisy.measure(model, windows, recipe, seed, say)
            generator = torch.Generator(device).manual_seed(seed + 77)
            part = recipe["part"] // 4
            result["prediction"] = predicted.measure(model, windows, generator, 8, part)
            result["comparison"] = compare.ratios(result)
            found["noise"].append(result)
            say(f"  {compare.short(result['comparison']['all'][2])}")
            if seed == args.seed:
                found |= once(name, recipe, model, windows, generator, arrays, seed, say)
        metrics[name] = found
    return kept


def once(name, recipe, model, windows, generator, arrays: dict, seed: int, say) -> dict:
    """What is asked of one seed: rounding, entropies, and whether calibration matters."""
    device, part = windows.device, recipe["part"] // 4
    read = recipes.held_out(recipe, device, split="train")
    more = recipes.held_out(recipe, device, 4 * recipe["windows"]) if name == "large" else windows
    untrained = recipes.fresh(recipe, seed, device)
    found = dict(
        training_text=noisy.brief(model, read, recipe, generator),
        calibrated=noisy.calibrated(model, windows, recipe, generator),
        rounding=[rounding.measure(model, more, generator, 2, part, say) | dict(seed=seed)],
        entropy={
            when: entropies.measure(m, windows, part, arrays, f"{name}_{when}")
            for when, m in (("fresh", untrained), ("trained", model))
        },
    )
    say(f"  T = {found['calibrated']['temperature']:.3f}")
    if name == "tiny":
        found["laws_by_head"] = noisy.laws_by_head(model, windows, recipe)
    else:  # the same model trained for too long
        recipe = recipe | dict(train=recipe["train"] | dict(steps=recipe["too_long"]))
        model, run = recipes.train(recipe, seed, device, say)
        found["overfit"] = dict(
            run=run,
            validation_text=noisy.brief(model, windows, recipe, generator),
            training_text=noisy.brief(model, read, recipe, generator),
            calibrated=noisy.calibrated(model, windows, recipe, generator),
        )
        say(f"  overfit: T = {found['overfit']['calibrated']['temperature']:.3f}")
    return found


def longer(args, device, metrics: dict, say) -> None:
    """Length generalization, both sizes."""
    full = args.preset == "full"
    book, seeds = (recipes.FULL, range(3)) if full else (recipes.SMOKE, range(1))
    both = [(p, s) for p in ("rope", "none") for s in lengths.POWERS]
    steps = book["tiny"]["train"] | (dict(steps=1000) if full else {})
    tiny = [(p, s, k) for p, s in both for k in seeds]
    large = [(p, s, k) for p, s in both if s != "sqrt" for k in seeds[:2]]
    sizes = dict(tiny=(1400, 1400), large=(256, 64)) if full else dict(tiny=(8, 8), large=(4, 4))
    metrics["lengths"] = {}
    for name, cases in (("tiny", tiny), ("large", large)):
        recipe = book[name] | (dict(train=steps) if name == "tiny" else {})
        found = lengths.measure(recipe, cases, *sizes[name], device, say)
        metrics["lengths"][name] = found | recipe["train"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES)
    args = parser.parse_args()
    device = runtime.device()
    torch.set_float32_matmul_precision("highest")  # differences of 1e-5 nats are to be seen
    runtime.seed_everything(args.seed)
    clock, arrays, model = time.perf_counter(), {}, None
    metrics = {"seed": args.seed, "made": {}, "seconds": {}}
    if set(args.stage) != set(STAGES):
        path = args.out / "metrics.json"
        metrics = json.loads(path.read_text()) if path.is_file() else metrics

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - clock:6.1f} s] {text}", flush=True)

    for stage in args.stage:
        begin = time.perf_counter()
        if stage == "noise":
            model = noise(args, device, metrics, arrays, say)
        else:
            longer(args, device, metrics, say)
        metrics["made"][stage] = _run_card.revision()[0]
        metrics["seconds"][stage] = round(time.perf_counter() - begin, 2)
        say(f"{stage}: {metrics['seconds'][stage]} s")
    peak = _run_card.peak_memory_mb(device)
    metrics["peak_memory_mb"] = max(peak, metrics.get("peak_memory_mb", 0))  # of all stages
    with runtime.replacing(args.out) as folder:
        if model is not None:
            nets.save(model.cpu(), folder / "tiny.safetensors")
            bytes_ = excerpt.windows(256 if args.preset == "full" else 4)
            runtime.write_npz(folder / "entropy.npz", **arrays)
            runtime.write_npz(folder / "excerpt.npz", windows=bytes_.byte().numpy())
            metrics["excerpt"] = excerpt.measure(model, bytes_)
        (folder / "metrics.json").write_text(json.dumps(compare.short(metrics), indent=1) + "\n")
        names = ("metrics.json", "entropy.npz", "excerpt.npz", "tiny.safetensors")
        files = [(folder if (folder / n).is_file() else args.out) / n for n in names]
        card = runtime.run_card(
            seed=args.seed, seconds=sum(metrics["seconds"].values()), precision=torch.float32,
            preset="full" if args.preset == "full" else "quick", files=files,
            command=f"python book/artifacts/softmax-attention/make.py --seed {args.seed}",
            training_precision=metrics["large"]["precision"],
            training_seconds=[run["seconds"] for run in metrics["large"]["runs"]],
            text_sha256={n: metrics[n]["text"]["train_sha256"] for n in ("tiny", "large")},
            data_license={n: metrics[n]["text"]["license"] for n in ("tiny", "large")},
            made=metrics["made"],
        )  # fmt: skip
        replace(card, peak_memory_mb=metrics["peak_memory_mb"]).to_json(folder / "card.json")
    say("done")


if __name__ == "__main__":
    main()
