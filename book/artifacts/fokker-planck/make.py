"""Make the artifact of the chapter on the Fokker-Planck equation from nothing.

    python book/artifacts/fokker-planck/make.py --out book/artifacts/fokker-planck

Four experiments: Euler steps a second of the Ornstein-Uhlenbeck process; rates at which particles
become right; a character diffused and brought back with the exact score, 10^7 particles; the same
with a small learned score. Needs one GPU of 40 GB. ``--preset smoke`` does everything with a few
particles on a CPU and proves nothing but that the script runs. ``--stage`` makes some parts again
and takes the others from ``--out``; metrics.json says from which revision each was made.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import learned
import numpy as np
import plane
import rates
import throughput
import torch

from kexue import _run_card, data, runtime

HANZI = Path(data.__file__).with_name("data_files") / "hanzi32.npz"


def narrow(array: torch.Tensor) -> np.ndarray:
    """Counts as uint16 where they fit, else int32."""
    array = array.cpu()
    if array.dtype != torch.int64:
        return array.numpy()
    return array.numpy().astype(np.uint16 if array.max() < 2**16 else np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    stages = ("throughput", "rates", "plane")
    parser.add_argument("--stage", choices=(*stages, "coupled"), nargs="+", default=stages)
    args = parser.parse_args()
    device, full = runtime.device(), args.preset == "full"
    runtime.seed_everything(args.seed)
    clock, arrays, model = time.perf_counter(), {}, None
    metrics = {"seed": args.seed, "made": {}, "seconds": {}}
    if set(args.stage) != set(stages):
        metrics = json.loads((args.out / "metrics.json").read_text())
    for stage in args.stage:
        metrics["made"][stage] = _run_card.revision()[0]

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - clock:6.1f} s] {text}", flush=True)

    def timed(name: str, work) -> None:
        begin = time.perf_counter()
        metrics[name] = work()
        metrics["seconds"][name] = round(time.perf_counter() - begin, 2)
        say(f"{name}: {metrics['seconds'][name]} s")

    law, size = plane.flow(), plane.FULL if full else plane.SMOKE
    n, steps, repeats = (2**27, 256, 5) if full else (2**12, 256, 2)
    shared = (device, args.seed)
    if "throughput" in args.stage:
        timed("throughput", lambda: throughput.measure(device, n, steps, repeats, args.seed, say))
    if "rates" in args.stage:
        timed("rates", lambda: rates.measure(device, args.preset, args.seed, say))
    if "coupled" in args.stage:  # a part of "rates"
        metrics["rates"]["coupled"] = rates.second_order(device, args.preset, args.seed, say)
    if "plane" in args.stage:
        timed("forward", lambda: plane.there(law, size, *shared, arrays))
        timed("back", lambda: plane.returned(law, size, *shared, say))
        timed("pictures", lambda: plane.pictures(law, size, *shared, arrays))

        def learn() -> dict:
            nonlocal model
            found, model = learned.measure(law, args.preset, *shared, arrays, say)
            return found

        timed("learned", learn)
        metrics["law"] = dict(
            character=plane.CHARACTER, components=len(law.weights), box=plane.BOX,
            width=law.variances[0].sqrt().item(), cells=plane.CELLS, kept=list(plane.KEPT),
        )  # fmt: skip

    peak = _run_card.peak_memory_mb(device)
    metrics["peak_memory_mb"] = max(peak, metrics.get("peak_memory_mb", 0))  # of all stages
    with runtime.replacing(args.out) as folder:
        if model is not None:
            runtime.write_npz(folder / "plane.npz", **{k: narrow(v) for k, v in arrays.items()})
            model.save(folder / "score.safetensors")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        names = ("metrics.json", "plane.npz", "score.safetensors")
        files = [(folder if (folder / n).is_file() else args.out) / n for n in names]
        card = runtime.run_card(
            seed=args.seed, seconds=sum(metrics["seconds"].values()), precision=torch.float32,
            preset="full" if full else "quick", files=files,
            command=f"python book/artifacts/fokker-planck/make.py --seed {args.seed}",
            hanzi_sha256=sha256(HANZI.read_bytes()).hexdigest(),
            data_license=data.load("hanzi").license,
            training_seconds=metrics["learned"]["training"]["seconds"], made=metrics["made"],
        )  # fmt: skip
        replace(card, peak_memory_mb=metrics["peak_memory_mb"]).to_json(folder / "card.json")
    say("done")


if __name__ == "__main__":
    main()
