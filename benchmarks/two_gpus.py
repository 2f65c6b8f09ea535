"""One GPU against several: the same batches, the same losses, how much faster.

    python benchmarks/two_gpus.py    # as many processes as there are GPUs, at least two

Trains the U-Net on the characters and the language model on text, as one process and then as
several under ``torchrun``, with the same seed and the same batch for all together. In float32 the
loss curves have to agree to rounding, which training enlarges: they may part by a tenth of what a
curve moves from one step to the next. With coarser rounding (TF32, torch's own choice for
convolutions; half precision; that recorded as a CUDA graph, which is how the chapters' results are
made) they part by more, and speed is what counts. Without two GPUs it does a few steps in two
processes on the CPU, stores nothing, and its times say nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean

import torch
from _table import Median, Row, report, show

from kexue import _processes, data, nets, runtime, schedule

FULL = {
    "unet": dict(model=dict(channels=(40, 80, 120), join="add"), steps=60, batch=1024),
    "language": dict(model=dict(width=384, heads=6, depth=6, context=256), steps=60, batch=128),
}
SMOKE = {
    "unet": dict(model=dict(channels=(8, 16), blocks=1), steps=6, batch=8),
    "language": dict(model=dict(width=16, heads=2, depth=1, context=8), steps=6, batch=8),
}
NAMES = {"unet": "U-Net", "language": "language model"}
WARM = 20  # steps before the clock starts, at most a third of them
EVERY = 4  # steps for one reading of the clock


def losses(name: str, how: str, recipe: dict) -> dict:
    """Train; the loss of every step, and seconds a step once warm, read several times."""
    where = runtime.device()
    precision = torch.float32 if how in ("float32", "TF32") else runtime.precision()
    torch.backends.cudnn.allow_tf32 = how != "float32"
    runtime.seed_everything(0)
    options = dict(steps=recipe["steps"], batch=recipe["batch"], precision=precision)
    if name == "unet":
        law = schedule.cosine(T=1000)
        model = nets.UNet(1, **recipe["model"], schedule=law).to(where)
        x0 = data.load("hanzi", "train").x.to(where)
        options |= dict(graph=how == "CUDA graph")
        run = nets.train(model, x0, law, lr=2e-3, **options)
    else:
        model = nets.LanguageModel(**recipe["model"]).to(where)
        text = data.text("stdlib", "train").tokens.to(where)
        run = nets.train_language(model, text, lr=1e-3, **options)
    curve, read, warm = [], [], min(WARM, recipe["steps"] // 3)
    for step, loss in run:
        curve.append(loss)
        if step >= warm and (step - warm) % EVERY == 0:
            loss.item()  # waits for the device
            read.append(time.perf_counter())
    seconds = [(after - before) / EVERY for before, after in pairwise(read)]
    return {"losses": torch.stack(curve).tolist(), "seconds": seconds}


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


def compare(name: str, how: str, many: int) -> list[Row]:
    """Train by one process and by ``many``: their times, and how far their losses part."""
    one, all_ = started(1, name, how), started(many, name, how)
    curve = one["losses"]
    apart = max(abs(a - b) / a for a, b in zip(curve, all_["losses"], strict=True))
    moves = [abs(a - b) / a for a, b in pairwise(curve)]
    path, times = f"{NAMES[name]}, {how}", [Median(run["seconds"]) for run in (one, all_)]
    rows = [Row(path, f"one process, we: {many}", "s / step", *times, bar=1, aim=many)]
    bar = mean(moves) / 10 if how == "float32" else None
    return [*rows, Row("  losses part by at most", "-", "relative", None, apart, bar)]


def main() -> int:
    """Print and store a table; with ``--part``, be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs=3, metavar=("MODEL", "HOW", "FILE"))
    part = parser.parse_args().part
    gpus = torch.cuda.device_count() if runtime.device().type == "cuda" else 0
    recipes = FULL if gpus > 1 else SMOKE
    if part:
        found = losses(*part[:2], recipes[part[0]])
        if _processes.rank() == 0:
            Path(part[2]).write_text(json.dumps(found), encoding="utf-8")
        return 0
    kinds = [("unet", "float32"), ("language", "float32")]
    if gpus > 1:
        kinds += [("unet", "TF32"), ("unet", "half"), ("language", "half"), ("unet", "CUDA graph")]
    rows = []
    for name, how in kinds:
        rows += compare(name, how, max(2, gpus))
        show(row.stored() for row in rows[-2:])
    if gpus < 2:
        return sum(not row.met for row in rows)
    how = {f"{kind}_{key}": r[key] for kind, r in FULL.items() for key in ("steps", "batch")}
    return report("two_gpus", rows, precision="float32, bfloat16", gpus=gpus, **how)


if __name__ == "__main__":
    sys.exit(main())
