"""One GPU against several: the same batches, the same losses, how much faster.

    python benchmarks/two_gpus.py    # as many processes as there are GPUs, at least two

Trains the U-Net on the characters and the language model on text, as one process and then as
several under ``torchrun``, with the same seed and the same batch for all together. In float32 the
loss curves have to agree to rounding; in half precision, and recorded as a CUDA graph, which is how
the chapters' results are made, speed is what counts. Without two GPUs it does a few steps in two
processes on the CPU: the curves are compared, the speed says nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from kexue import _processes, data, nets, runtime, schedule

FULL = {
    "unet": dict(model=dict(channels=(40, 80, 120), join="add"), steps=120, batch=1024),
    "language": dict(model=dict(width=384, heads=6, depth=6, context=256), steps=120, batch=128),
}
SMOKE = {
    "unet": dict(model=dict(channels=(8, 16), blocks=1), steps=6, batch=8),
    "language": dict(model=dict(width=16, heads=2, depth=1, context=8), steps=6, batch=8),
}
WARM = 20  # steps before the clock starts, at most a third of them


def losses(name: str, how: str, recipe: dict) -> dict:
    """Train; the loss of every step, and steps a second once warm."""
    where = runtime.device()
    precision = torch.float32 if how == "float32" else runtime.precision()
    runtime.seed_everything(0)
    options = dict(steps=recipe["steps"], batch=recipe["batch"], precision=precision)
    if name == "unet":
        law = schedule.cosine(T=1000)
        model = nets.UNet(1, **recipe["model"], schedule=law).to(where)
        x0 = data.load("hanzi", "train").x.to(where)
        options |= dict(graph=how == "graph")
        run = nets.train(model, x0, law, lr=2e-3, **options)
    else:
        model = nets.LanguageModel(**recipe["model"]).to(where)
        text = data.text("stdlib", "train").tokens.to(where)
        run = nets.train_language(model, text, lr=1e-3, **options)
    curve, warm = [], min(WARM, recipe["steps"] // 3)
    for step, loss in run:
        curve.append(loss)
        if step == warm:
            loss.item()  # waits for the device
            start = time.perf_counter()
    curve = torch.stack(curve).tolist()
    return {"losses": curve, "rate": (recipe["steps"] - warm) / (time.perf_counter() - start)}


def started(processes: int, name: str, how: str) -> dict:
    """The same by so many processes of ``torchrun``; 1: without it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "losses.json"
        command = [sys.executable]
        if processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += [f"--nproc-per-node={processes}"]
        subprocess.run([*command, __file__, "--part", name, how, str(out)], check=True)
        return json.loads(out.read_text(encoding="utf-8"))


def main() -> None:
    """Print a table; with ``--part``, be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs=3, metavar=("MODEL", "HOW", "FILE"))
    part = parser.parse_args().part
    gpus = torch.cuda.device_count() if runtime.device().type == "cuda" else 0
    recipes = FULL if gpus > 1 else SMOKE
    if part:
        found = losses(*part[:2], recipes[part[0]])
        if _processes.rank() == 0:
            Path(part[2]).write_text(json.dumps(found), encoding="utf-8")
        return
    many = max(2, gpus)
    where = f"{gpus} x {torch.cuda.get_device_name()}" if gpus > 1 else "CPU, a few steps"
    print(f"1 against {many} processes ({where}), torch {torch.__version__}")
    kinds = [("unet", "float32"), ("language", "float32")]
    if gpus > 1:
        kinds += [("unet", "half"), ("unet", "graph"), ("language", "half")]
    for name, how in kinds:
        one, all_ = started(1, name, how), started(many, name, how)
        pairs = list(zip(one["losses"], all_["losses"], strict=True))
        apart = max(abs(a - b) / a for a, b in pairs)
        moves = [abs(a - b) / a for a, (b, _) in zip(one["losses"][:-1], pairs[1:], strict=True)]
        print(
            f"{name:9} {how:8} {one['rate']:7.2f} -> {all_['rate']:7.2f} steps/s, "
            f"{all_['rate'] / one['rate']:.2f} times as fast; losses apart by {apart:.1e} at most "
            f"(from step to step they move by {sum(moves) / len(moves):.1e})",
            flush=True,
        )


if __name__ == "__main__":
    main()
