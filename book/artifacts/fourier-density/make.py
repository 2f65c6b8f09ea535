"""Make the artifact of the chapter on Fourier densities from nothing: 10,240 densities at once.

    python book/artifacts/fourier-density/make.py --out book/artifacts/fourier-density

Ten small autoencoders, one a rate, turn a character into 10 x 1,024 integers. Each of the 10,240
positions gets its own density, of four kinds; held-out characters say what each costs in bits; a
range coder writes them as bytes and reads them back. Needs one GPU with 15 GB: bfloat16 from
compute capability 8 on, else float16 with loss scaling. ``--preset smoke`` does everything in a few
steps on a CPU and proves nothing but that the script runs. ``--t4`` rehearses a T4.
"""

from __future__ import annotations

import argparse
import json
import time
from hashlib import sha256
from pathlib import Path

import store
import torch
from study import Run, measured

from kexue import data, runtime

HANZI = Path(data.__file__).with_name("data_files") / "hanzi32.npz"


def headline(metrics: dict) -> dict:
    """What the spread over seeds is given of."""
    return dict(
        seed=metrics["seed"], overhead=metrics["coder"]["overhead"],
        entropy_train=metrics["entropy"]["train"], entropy_test=metrics["entropy"]["test"],
        alive=metrics["entropy"]["alive"], by_images=metrics["by_images"],
        by_terms=[{k: row[k] for k in ("terms", "bits")} for row in metrics["by_terms"]],
        seconds={name: m["seconds"] for name, m in metrics["models"].items()},
        error=[row["error"] for row in metrics["rates"]],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--preset", choices=("full", "smoke"), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--t4", action="store_true", help="float16 and at most 15 GB")
    args = parser.parse_args()
    device = runtime.device()
    precision = torch.float16 if args.t4 and device.type == "cuda" else runtime.precision()
    if args.t4 and device.type == "cuda":
        share = 15e9 / torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    start, headlines = time.perf_counter(), []
    with runtime.replacing(args.out) as folder:
        for seed in args.seeds:
            runtime.seed_everything(seed)
            run = Run(args.preset, seed, device, precision)
            measures = measured(run, again=args.t4 or seed != args.seeds[0])
            headlines.append(headline(measures))
            if seed == args.seeds[0]:
                metrics = measures
                store.write(run, metrics, folder)
            del run
        metrics["seeds"] = headlines
        path = folder / "metrics.json"
        path.write_text(json.dumps(metrics, indent=1) + "\n")
        files = sorted(folder.iterdir())
        seconds = time.perf_counter() - start
        runtime.run_card(
            seed=args.seeds[0], seconds=seconds, precision=precision, files=files,
            preset="full" if args.preset == "full" else "quick",
            command="python book/artifacts/fourier-density/make.py --seeds "
            + " ".join(map(str, args.seeds)) + " --t4" * args.t4,
            hanzi_sha256=sha256(HANZI.read_bytes()).hexdigest(),
            data_license=data.load("hanzi").license,
            training_seconds=metrics["codec"]["seconds"],
            fit_seconds={name: m["seconds"] for name, m in metrics["models"].items()},
        ).to_json(folder / "card.json")  # fmt: skip
    print(f"done in {seconds:.1f} s")


if __name__ == "__main__":
    main()
