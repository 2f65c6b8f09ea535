"""Training a DDPM U-Net on 32 x 32 characters: seconds of one GPU to equal quality.

``python benchmarks/ddpm_unet.py`` on a GPU (half an hour); ``--smoke`` on a CPU, which proves that
it runs. ``--only NAME ...`` runs some of the contestants and keeps what they measured under
``--out``; ``--report`` makes the table of what is there.

Quality is the Frechet distance to the held-out characters, in the features of the chapter's
classifier. All networks have 2.5 to 2.8 M parameters and train on the same 3,380 characters, which
lie on the GPU: no loader slows anybody down. Contestants:

- ``ours``: ``kexue.nets.UNet`` on 2 x 2 patches, ``kexue.nets.train`` with ``graph=True``; also the
  chapter's network, on pixels, to see what the patches do;
- ``<library>, as shipped``: its network, loss, noise schedule and loop with the settings of its own
  example: batch, step size, precision, moving average;
- ``<library>, tuned``: its network, compiled, in *our* loop: our parametrization, noise schedule,
  bfloat16, fused AdamW, batch, step size, number of steps and moving average. What is left is the
  network.

The clock starts after three steps (recording and compiling, whose seconds are stored) and stands
still while averaged weights are copied, at times that grow geometrically. Afterwards each copy
draws 2,048 characters: DDIM, 25 steps, x0 clipped, the same noise for all. The time to the level is
interpolated between copies, log against log; where a peer did not get there, its whole time counts,
a lower bound of what it needs, and the table says "at least". The bound of an image of training
is its products at the rate of a large one, or, if that is more, its convolutions and products
reading three inputs and writing two outputs (once forward, twice back) at the rate of a large copy.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import _peers
import torch
from _gpu import DEVICE, GPU, HALF, rates, wait, work
from _peers import NETWORKS, SHIPPED, Run
from _table import ARTIFACTS, Median, Row, needs_gpu, report
from torch import Tensor, nn

from kexue import data, nets, schedule

sys.path.insert(0, str(ARTIFACTS / "ddpm-bayes"))
import measure  # of the chapter's artifact

S = schedule.cosine()
LEVEL = 5.5  # Frechet distance to reach; the chapter's network ends at 4.5 after 237 seconds
STEPS, BATCH, LR, DECAY = 1000, 256, 2e-3, 0.995
SECONDS = {"as shipped": 60.0, "tuned": 60.0, "ours": 8.0, "ours on pixels": 16.0}  # at most
GROWTH = 1.4  # how much later the next copy is; the first comes after an eighth of the time
SAMPLES, DDIM, DRAWN = 2048, 25, 1024
OURS = {"ours": dict(channels=(64, 128), patch=2), "ours on pixels": dict(channels=(40, 80, 120))}
SEEDS = (0, 1, 2)
BARS = {"as shipped": (3, 10), "tuned": (1.5, 3), "on pixels": (None, None)}  # bar, aim


def characters(split: str) -> Tensor:
    """The characters of a split, on the device."""
    return data.load("hanzi", split).x.to(DEVICE)


def ours(x0: Tensor, seed: int, model: nn.Module, **fast) -> Run:
    """Our loop, with our network or another one."""
    model = model.to(DEVICE)
    if isinstance(model, nets.UNet):
        model = model.to(memory_format=torch.channels_last)
    ema = nets.EMA(model, DECAY)
    batch = min(BATCH, _peers.MOST)
    loop = nets.train(
        model, x0, S, steps=STEPS, batch=batch, lr=LR, ema=ema, seed=seed, precision=HALF, **fast
    )
    average = list(ema.model.parameters())
    return Run(loop, lambda: average, ema.model, ema.model, S, batch)


def contestant(name: str, x0: Tensor, seed: int = 0) -> Run:
    """By its name."""
    torch.manual_seed(seed)
    if name in OURS:
        return ours(x0, seed, nets.UNet(1, **OURS[name], join="add", schedule=S), graph=GPU)
    library, _, how = name.partition(", ")
    if how == "as shipped":
        return SHIPPED[library](x0)
    return ours(x0, seed, _peers.Ours(library, S), compile=GPU)


def warm(run: Run) -> float:
    """Three steps, in which everything is recorded or compiled, and their seconds."""
    begin = wait()
    for _ in range(3):
        next(run.steps)
    return wait() - begin


def race(run: Run, most: float) -> list[dict]:
    """Train for so many seconds; copies of the averaged weights with seconds and steps."""
    copies, due, pause, start = [], most / 8, 0.0, wait()
    for step in itertools.count(4):
        over = next(run.steps, None) is None
        if step % 10 and GPU and not over:
            continue
        now = wait() - start - pause
        ended = over or now >= most
        if ended or now >= due:
            weights = [w.detach().clone() for w in run.average()]
            copies.append({"seconds": now, "steps": step - over, "weights": weights})
            due = GROWTH * now
            pause += wait() - start - pause - now
        if ended:
            run.steps.close()
            return copies
    raise AssertionError("training ends")


@torch.no_grad()
def draw(run: Run, seed: int = 7) -> Tensor:
    """Characters by deterministic DDIM with x0 clipped to [-1, 1]."""
    run.network.eval()
    alpha, sigma = (a.float().to(DEVICE) for a in run.schedule(torch.arange(run.schedule.T + 1)))
    dice, parts = torch.Generator(DEVICE).manual_seed(seed), []
    for size in [DRAWN] * (SAMPLES // DRAWN):
        x = torch.randn((size, 1, 32, 32), generator=dice, device=DEVICE)
        for t, s in itertools.pairwise(run.schedule.timesteps(DDIM).tolist()):
            with torch.autocast(DEVICE.type, HALF, enabled=GPU):
                eps = run.eps(x, torch.full((size,), t, device=DEVICE)).float()
            guess = ((x - sigma[t] * eps) / alpha[t]).clamp(-1, 1)
            x = alpha[s] * guess + sigma[s] * (x - alpha[t] * guess) / sigma[t]
        parts.append(x)
    return measure.to_levels(torch.cat(parts), measure.LEVELS["hanzi"])


def judge(run: Run, copies: list[dict]) -> Iterator[dict]:
    """The Frechet distances of every copy."""
    ruler = nets.load(ARTIFACTS / "ddpm-bayes" / "hanzi-features.safetensors").to(DEVICE)
    real = {split: characters(split) for split in ("test", "train")}
    for copy in copies:
        with torch.no_grad():
            for parameter, weight in zip(run.network.parameters(), copy["weights"], strict=True):
                parameter.copy_(weight)
        about = {name: value for name, value in copy.items() if name != "weights"}
        yield about | measure.quality(draw(run), ruler, real, None)


def judged(name: str, seed: int, run: Run, seconds: float, copies: list[dict], out: Path) -> None:
    """What is known of one contestant with one seed, into a file."""
    about = {
        "name": name, "seed": seed, "batch": run.batch, "seconds_warm": seconds,
        "parameters": sum(p.numel() for p in run.network.parameters()),
        "seconds_image": copies[-1]["seconds"] / (copies[-1]["steps"] - 3) / run.batch,
        "curve": list(judge(run, copies)),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}, {seed}.json").write_text(json.dumps(about))
    print(name, seed, f"{1 / about['seconds_image']:.0f} img/s, warm after {seconds:.1f} s")
    for point in about["curve"]:
        print("  {seconds:8.2f} s {steps:6d} steps {frechet_test:8.2f}".format(**point), flush=True)


def reached(curve: list[dict], level: float) -> float | None:
    """Seconds to the level; None if it was not reached."""
    before = None
    for now in curve:
        if now["frechet_test"] <= level:
            if before is None:
                return now["seconds"]
            share = math.log(before["frechet_test"] / level)
            share /= math.log(before["frechet_test"] / now["frechet_test"])
            return before["seconds"] * (now["seconds"] / before["seconds"]) ** share
        before = now
    return None


def compare(runs: list[dict], level: float, speed: tuple[float, float]) -> list[Row]:
    """The rows: seconds to the level, then seconds of an image of training."""
    mine = [r for r in runs if r["name"] == "ours"]
    times = Median(reached(r["curve"], level) or math.inf for r in mine)
    images = Median(r["seconds_image"] for r in mine)
    assert math.isfinite(times), f"our network does not reach {level}"
    assert all(2.5e6 < r["parameters"] < 2.8e6 for r in runs), "the networks are not of one size"
    flops, inputs, outputs = work(nets.UNet(1, **OURS["ours"], join="add", schedule=S), ways=3)
    lowest = max(flops / speed[0], 2 * (3 * inputs + 2 * outputs) / speed[1])
    rows, others = [], [r for bar in BARS for r in runs if r["name"].endswith(bar)]
    for r in others:
        theirs = reached(r["curve"], level)
        label = "" if rows else f"U-Net to a distance of {level:g}"
        peer = r["name"] + ("" if theirs else ", at least")
        bars = next(bars for end, bars in BARS.items() if r["name"].endswith(end))
        rows.append(Row(label, peer, "CUDA s", theirs or r["curve"][-1]["seconds"], times, *bars))
    for k, r in enumerate(others):
        label = "" if k else "  an image of training"
        theirs = r["seconds_image"]
        rows.append(Row(label, r["name"], "CUDA s / image", theirs, images, limit=lowest))
    return rows


def table(out: Path, level: float) -> int:
    """The report of all that was run."""
    runs, speed = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))], rates()
    return report(
        "ddpm_unet", compare(runs, level, speed), precision=HALF, **told(runs, level, speed)
    )


def told(runs: list[dict], level: float, speed: tuple[float, float]) -> dict:
    """What is stored beside the rows."""
    return {
        "device": torch.cuda.get_device_name() if GPU else "CPU", "level": level,
        "flop_per_s": speed[0], "bytes_per_s": speed[1], "samples": SAMPLES, "ddim_steps": DDIM,
        "ours": OURS, "recipe": dict(steps=STEPS, batch=BATCH, lr=LR, decay=DECAY, schedule=S.name),
        "runs": runs,
        "curves": {
            r["name"]: [{"seconds": c["seconds"], "fd": c["frechet_test"]} for c in r["curve"]]
            for r in runs if r["seed"] == 0
        },
    }  # fmt: skip


def main() -> int:
    """Run, print; return the number of bars missed."""
    names = [
        *OURS,
        *(f"{library}, {how}" for how in ("tuned", "as shipped") for library in NETWORKS),
    ]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--out", type=Path, default=Path("_build") / "ddpm_unet")
    parser.add_argument("--report", action="store_true", help="only the table")
    parser.add_argument("--level", type=float, default=LEVEL, help="distance to reach")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    args = parser.parse_args()
    if args.smoke:
        smoke()
    elif not args.report:
        needs_gpu("ddpm_unet")
    for name in [] if args.report else args.only:
        for seed in SEEDS if name == "ours" else SEEDS[:1]:
            run = contestant(name, characters("train"), seed)
            took = warm(run)
            judged(name, seed, run, took, race(run, SECONDS[name.rpartition(", ")[2]]), args.out)
    return 0 if args.smoke else table(args.out, args.level)


def smoke() -> None:
    """Make everything small."""
    globals().update(STEPS=5, SAMPLES=4, DRAWN=4, DDIM=2, SEEDS=(0,))
    SECONDS.update(dict.fromkeys(SECONDS, 0.01))
    _peers.MOST = 2


if __name__ == "__main__":
    sys.exit(main())
