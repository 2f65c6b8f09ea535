"""Drawing 64 images of 32 x 32 in 100 steps from a U-Net: diffusers' loop, and the recorded step.

``python benchmarks/ddpm_sampling.py`` on a GPU; ``--smoke`` on a CPU, which proves that it runs.
With two sizes of diffusers' ``UNet2DModel``, untrained weights, by DDIM and by ancestral sampling:

1. diffusers in float32: the loop of its pipelines, network and ``scheduler.step``;
2. the same in bfloat16;
3. the same tuned: bfloat16, channels last, ``torch.compile(mode="reduce-overhead")``, which records
   CUDA graphs, and times that make nothing wait for the device; compiling is not on the clock;
4. ours with *their* network: ``kexue.diffusion.recorded_ddim``, bfloat16, nothing compiled;
5. ours with our network of as many parameters as their smaller one.

Before anything is timed, (4) in float32 must draw the images of (1) from the same noise. The bound
is that of the network alone: its products at the rate of a large one or, if that takes longer, its
layers' inputs, outputs and weights moved once at the rate of a large copy.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable

import _peers
import torch
from _gpu import DEVICE, GPU, HALF, rates, wait, work
from _table import Median, Row, needs_gpu, peer, report
from torch import Tensor, nn

from kexue import diffusion, nets
from kexue.schedule import DiscreteSchedule

SMOKE = "--smoke" in sys.argv
IMAGES, STEPS, REPEATS = (2, 4, 2) if SMOKE else (64, 100, 5)
SIZES = {"2.6 M": (32, 64, 96)} if SMOKE else {"2.6 M": (32, 64, 96), "23 M": (96, 192, 288)}
OURS = dict(channels=(64, 128), patch=2, join="add")
ETA = {"DDIM": 0.0, "DDPM": 1.0}
Draw = Callable[[Tensor, torch.Generator], Tensor]


def planner(kind: str):
    """diffusers' scheduler: times 999, 989, ..., of the linear schedule, nothing clipped."""
    library = peer("diffusers")
    make = {"DDIM": library.DDIMScheduler, "DDPM": library.DDPMScheduler}[kind]
    scheduler = make(timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(STEPS, device=DEVICE)
    return scheduler


def theirs(network: nn.Module, kind: str, tuned: bool = False) -> Draw:
    """(1), (2), (3): the loop of ``DDIMPipeline`` and ``DDPMPipeline``."""
    scheduler = planner(kind)
    dtype = next(network.parameters()).dtype
    times = scheduler.timesteps
    pairs = list(zip(times, times.tolist() if tuned else times, strict=True))

    @torch.no_grad()
    def draw(x: Tensor, dice: torch.Generator) -> Tensor:
        x = x.to(dtype)
        for t, known in pairs:
            eps = network(x, t).sample
            x = scheduler.step(eps, known, x, generator=dice).prev_sample
        return x.float()

    return draw


def ours(network: nn.Module, kind: str, precision: torch.dtype = torch.float32) -> Draw:
    """(4), (5)."""
    schedule = DiscreteSchedule.from_alpha_bar(planner(kind).alphas_cumprod.double())
    like = torch.zeros(IMAGES, 1, 32, 32, device=DEVICE)
    model = network
    if not isinstance(network, nets.Denoiser):
        dtype = next(network.parameters()).dtype

        def model(x: Tensor, t: Tensor) -> Tensor:
            return network(x.to(dtype), t - 1, return_dict=False)[0]

    times = schedule.timesteps(STEPS)
    return diffusion.recorded_ddim(model, like, schedule, times, ETA[kind], precision)


def timed(draw: Draw) -> Median:
    """Seconds of a call, from the noise to the images on the device."""
    times = []
    dice = torch.Generator(DEVICE)
    for _ in range(REPEATS + 2):
        x = torch.randn(IMAGES, 1, 32, 32, device=DEVICE)
        start = wait()
        draw(x, dice)
        times.append(wait() - start)
    return Median(times[2:])


def deviation(network: nn.Module, kind: str) -> float:
    """How far (4) is from (1), relative to the images, from the same noise in float32."""
    x = torch.randn(IMAGES, 1, 32, 32, device=DEVICE)
    a, b = (
        draw(x, torch.Generator(DEVICE).manual_seed(1))
        for draw in (theirs(network, kind), ours(network, kind))
    )
    return ((a - b).norm() / a.norm()).item()


def floor(network: nn.Module, speed: tuple[float, float]) -> float:
    """Least seconds of the network in all steps."""
    flops, read, written = work(network)
    weights = sum(p.numel() for p in network.parameters())
    moved = 2 * (IMAGES * (read + written) + weights)
    return STEPS * max(IMAGES * flops / speed[0], moved / speed[1])


def compare(size: str, channels: tuple[int, ...], speed: tuple[float, float]) -> list[Row]:
    """Check, then time, for one size of their network."""
    torch.manual_seed(0)
    network = _peers.diffusers(channels).to(DEVICE).eval()
    off = max(deviation(network, kind) for kind in ETA)
    assert off < 1e-3, f"the images differ by {off}"
    half = copy.deepcopy(network).to(HALF)
    tuned = copy.deepcopy(half).to(memory_format=torch.channels_last)
    if not SMOKE:
        tuned = torch.compile(tuned, mode="reduce-overhead", fullgraph=True)
    mine = copy.deepcopy(half).to(memory_format=torch.channels_last)
    unet = nets.UNet(1, **OURS, T=1000).to(DEVICE, memory_format=torch.channels_last).eval()
    rows = []
    for kind in ETA:
        peers = {
            "diffusers fp32": (timed(theirs(network, kind)), 5, 10),
            "diffusers bf16": (timed(theirs(half, kind)), 5, 10),
            "diffusers compiled": (timed(theirs(tuned, kind, tuned=True)), 1.3, 2),
        }
        entrants = [(f"{kind}, their {size}", timed(ours(mine, kind)), floor(network, speed))]
        if channels == (32, 64, 96):
            quick = timed(ours(unet, kind, HALF))
            entrants.append((f"{kind}, our 2.5 M for their {size}", quick, floor(unet, speed)))
        for label, seconds, least in entrants:
            for k, (name, (time, bar, aim)) in enumerate(peers.items()):
                row = Row("" if k else label, name, "CUDA s", time, seconds, bar, aim, least)
                rows.append(row)
    return [*rows, Row("  images differ by", "-", "relative", None, off, 1e-3)]


def main() -> int:
    """Check, time, print; return the number of bars missed."""
    if not SMOKE:
        needs_gpu("ddpm_sampling")
    speed, rows = rates(), []
    torch.backends.cuda.matmul.allow_tf32 = False
    for size, channels in SIZES.items():
        rows += compare(size, channels, speed)
    device = torch.cuda.get_device_name() if GPU else "CPU"
    about = {"device": device, "flop_per_s": speed[0], "bytes_per_s": speed[1]}
    about |= {"images": IMAGES, "steps": STEPS, "ours": OURS}
    if SMOKE:
        return 0
    return report("ddpm_sampling", rows, precision=HALF, **about)


if __name__ == "__main__":
    sys.exit(main())
