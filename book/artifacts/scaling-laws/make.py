"""Make the artifact of the chapter on scaling laws from nothing: 360 networks on sparse parities.

    python book/artifacts/scaling-laws/make.py --out book/artifacts/scaling-laws

Twenty widths and twelve sizes of data for each of eight exponents alpha, all models of a direction
at once; the main alpha with three seeds and then, with the same seeds, again. Then the exponents of
the loss, measured, and predicted with infinitely many and with K tasks. Needs one GPU. ``--preset
smoke`` does everything in a few steps on a CPU and proves nothing but that the script runs.
``--stage`` makes some parts again and takes the others from ``--out``; what is done is stored after
every stage, and metrics.json says from which revision each was made. ``fits`` needs no GPU. Arrays
and fields: the docstrings of the modules beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import ask
import laws
import numpy as np
import recipes
import runs

from kexue import _run_card, runtime

FILES = ("curves.npz", "subtasks.npz")
LARGE = ("subtasks", "data_subtasks")  # arrays of the second file


def stored(out: Path) -> tuple[dict, dict[str, dict]]:
    """Metrics, and the arrays of each stage by name, as they are in a folder."""
    metrics = json.loads((out / "metrics.json").read_text())
    stages: dict[str, dict] = {}
    for name in FILES:
        with np.load(out / name) as file:
            for key, array in file.items():
                stage, _, field = key.rpartition("/")
                stages.setdefault(stage, {})[field] = array
    return metrics, stages


def store(out: Path, metrics: dict, stages: dict[str, dict], card: runtime.RunCard) -> None:
    """All files at once, the card last."""
    flat = {f"{s}/{f}": a for s, arrays in stages.items() for f, a in arrays.items()}
    with runtime.replacing(out) as folder:
        for name, large in zip(FILES, (False, True), strict=True):
            some = {k: a for k, a in flat.items() if (k.rpartition("/")[2] in LARGE) == large}
            runtime.write_npz(folder / name, **some)
        (folder / "metrics.json").write_text(json.dumps(short(metrics), indent=1) + "\n")
        names = ("metrics.json", *FILES)
        hashes = {name: _run_card.sha256(folder / name) for name in names}
        replace(card, files=hashes).to_json(folder / "card.json")


def short(value):
    """Numbers to six digits, lists of numbers in one line of JSON being too much to ask."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", nargs="+", help="such as 0.4, '0.2, K = 100' or fits")
    args = parser.parse_args()
    full, gpu = args.preset == "full", runtime.device().type == "cuda"
    recipe = recipes.FULL if full else recipes.SMOKE
    windows = recipes.WINDOWS if full else recipes.SMOKE_WINDOWS
    known = [*map(str, recipe["order"]), *recipe["ablation"], "fits"]
    todo = args.stage or [*known[:-1], str(recipe["main"]), "fits"]
    if unknown := set(todo) - set(known):
        parser.error(f"--stage: got {sorted(unknown)}, needs some of {known}")
    clock = time.perf_counter()
    runtime.seed_everything(args.seed)
    metrics, stages = {"seed": args.seed, "made": {}, "seconds": {}, "runs": {}}, {}
    if args.stage and (args.out / "card.json").is_file():
        metrics, stages = stored(args.out)
    metrics |= dict(recipe=recipe, windows=windows, paper=recipes.PAPER)

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - clock:6.1f} s] {text}", flush=True)

    for name in todo:
        begin = time.perf_counter()
        say(name)
        if name == "fits":
            metrics["fits"] = ask.fits(stages, recipe, windows, 1000 if full else 20)
        else:
            before, arrays = metrics["runs"].get(name), stages.get(name)
            metrics["runs"][name], stages[name] = runs.stage(name, recipe, args.seed, say)
            if before and before["seeds"][0] == args.seed and "sizes" in arrays:
                stages[name] |= laws.before(arrays)
            metrics.pop("fits", None)  # they were of other curves
        metrics["made"][name] = _run_card.revision()[0]
        metrics["seconds"][name] = round(time.perf_counter() - begin, 2)
        if set(todo) == {"fits"}:  # what was trained was trained elsewhere
            card = runtime.RunCard.from_json(args.out / "card.json")
            card = replace(card, metrics=card.metrics | dict(made=metrics["made"]))
        else:
            trained = [s for n, s in metrics["seconds"].items() if n != "fits"]
            card = runtime.run_card(
                seed=args.seed, seconds=sum(trained), precision="float16" if gpu else "float32",
                preset="full" if full else "quick", made=metrics["made"],
                command=f"python book/artifacts/scaling-laws/make.py --seed {args.seed}",
                data_license="drawn by this package, MIT",
            )  # fmt: skip
        store(args.out, metrics, stages, card)
        say(f"{name}: {metrics['seconds'][name]} s")
    say("done")


if __name__ == "__main__":
    main()
