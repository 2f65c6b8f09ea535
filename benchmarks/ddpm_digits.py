"""Digits out of noise on a CPU: seconds of training until the samples are as good.

``python benchmarks/ddpm_digits.py``; ``--smoke`` takes a few steps and proves that it runs. The
clock is CPU seconds of training on one thread. Three contestants see the same 1,437 digits of
8 x 8, the same noise levels and the same simple loss:

1. the U-Net of smalldiffusion as shipped (1.0 M parameters): its own ``training_loop`` on a
   DataLoader, AdamW at the step size and with the moving average of its example on FashionMNIST;
   batches of 16, because those of the example, 1024, allow a step in four seconds;
2. the U-Net tuned: our loop, that is the data in one tensor, no loader, fused AdamW, the step size
   along a cosine, a shorter moving average. Of step sizes 1e-3 and 3e-3 and batches 16 and 64
   the best. What does not help: channels_last (a fifth slower here), torch.compile (no
   faster for convolutions on a CPU, and a minute of CPU time to compile);
3. ``kexue.nets.MLP`` in ``kexue.nets.train``, the chapter's network and settings.

Quality is the Frechet distance to the held-out digits, in the features of the chapter's classifier,
of 720 samples: averaged weights, our sampler, the same noise, the same 20 steps for all. The time
to a level is that from which on a run stays there (the distance is not monotone), interpolated
between evaluations, log against log. A level that a peer does not reach gives its whole time, a
lower bound, and the table says "at least". What levels mean: ``about`` in the JSON holds the
distances of the training digits, of normal noise with the digits' means and covariances, about 14,
which anything that draws digits must beat, and of plain noise. The bar stands at the lowest level
that a peer reaches, for a lower bound at the highest.

Before the clock starts, their loss and ours must be one number for their network, and their sampler
and ours must walk one path. The bound of a time is the products of its steps, forward and twice
back, at the rate of a large product.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from _peers import load
from _table import Median, Row, cpu_seconds, report
from torch import Tensor, nn

from kexue import data, diffusion, nets, runtime
from kexue.density import frechet_distance
from kexue.schedule import expand_like, su

S = su()
TRAIN, TEST = data.load("digits", "train").x, data.load("digits", "test").x
JUDGE = nets.load(runtime.artifact("ddpm-bayes", "digits-classifier.safetensors"))
SAMPLES, STEPS = 720, 20
LEVELS = (12.0, 10.0, 8.0, 6.0)  # Frechet distances to reach
GROWTH = 1.4  # how much later each next evaluation is; those of a U-Net take seconds


class Theirs(nn.Module):
    """smalldiffusion's U-Net, called as we call a denoiser: eps = model(x_t, t).

    Theirs adds noise to x_0 and does not shrink it, so that its state is x_t / alpha_t at the noise
    level sigma_t / alpha_t; ``Scaled`` shrinks the input back to x_t.
    """

    def __init__(self) -> None:
        super().__init__()
        library = load("smalldiffusion")
        self.net = library.Scaled(library.Unet)(
            8, 1, 1, ch=32, ch_mult=(1, 2), attn_resolutions=(4,)
        )
        alpha, sigma = S(torch.arange(S.T + 1))
        self.register_buffer("alpha", alpha.float())
        self.register_buffer("level", (sigma / alpha).float())

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        t = torch.as_tensor(t).expand(len(x_t))
        return self.net(x_t / expand_like(self.alpha[t], x_t), expand_like(self.level[t], x_t))


def shipped(model: Theirs, ema: nets.EMA, batch: int, steps: int, seed: int) -> Iterator[None]:
    """Their loop, as their example drives it."""
    library = load("smalldiffusion")
    levels = library.Schedule(model.level[1:])
    loader = torch.utils.data.DataLoader(TRAIN, batch_size=batch, shuffle=True)
    epochs = math.ceil(steps / len(loader))
    for _ in library.training_loop(loader, model.net, levels, epochs=epochs, lr=7e-4):
        ema.update()
        yield


def ours(lr: float) -> Callable[..., Iterator]:
    """Our loop."""

    def loop(model: nn.Module, ema: nets.EMA, batch: int, steps: int, seed: int) -> Iterator:
        return nets.train(model, TRAIN, S, steps=steps, batch=batch, lr=lr, ema=ema, seed=seed)

    return loop


@dataclass
class Contestant:
    """A network, its loop and what was measured: (CPU seconds, steps, distance) of every run."""

    make: Callable[[], nn.Module]
    loop: Callable[..., Iterator]
    batch: int
    decay: float  # of the moving average
    horizon: float  # CPU seconds of a run
    first: float  # CPU seconds at the first evaluation
    runs: list[list[tuple[float, int, float]]] = field(default_factory=list)

    def pace(self) -> float:
        """CPU seconds of a step once warm."""
        model, times, start = self.make(), [], time.process_time()
        for _ in zip(range(8), self.loop(model, nets.EMA(model), self.batch, 8, 0), strict=False):
            times.append(time.process_time() - start)
            start = time.process_time()
        return statistics.median(times[2:])

    def run(self, seed: int) -> None:
        """Train until its CPU seconds are over; the clock stands still for evaluations."""
        torch.manual_seed(seed)
        steps = max(4, round(self.horizon / self.pace()))
        model, points, spent, due = self.make(), [], 0.0, self.first
        ema, start = nets.EMA(model, self.decay), time.process_time()
        for step, _ in enumerate(self.loop(model, ema, self.batch, steps, seed), 1):
            now = spent + time.process_time() - start
            last = now >= self.horizon or step == steps
            if now >= due or last:
                points.append((now, step, distance(draw(ema.model))))
                print(f"  {now:6.1f} s, step {step}: {points[-1][2]:.2f}", file=sys.stderr)
                spent, due, start = now, GROWTH * due, time.process_time()
                while due < now:
                    due *= GROWTH
            if last:
                break
        self.runs.append(points)

    def until(self, level: float) -> tuple[Median | None, int]:
        """Median CPU seconds and steps to a level; None where a run does not reach it."""
        seconds, steps = zip(*(crossing(points, level) for points in self.runs), strict=True)
        return (None if None in seconds else Median(seconds)), int(statistics.median(steps))


def crossing(points: list[tuple[float, int, float]], level: float) -> tuple[float | None, int]:
    """From when on a run stays at ``level`` or below, log against log, and the step there.

    >>> crossing([(0.5, 5, 3.0), (1.0, 10, 8.0), (4.0, 40, 2.0)], 4.0)
    (2.0, 20)
    """
    above = [k for k, (_, _, value) in enumerate(points) if value > level]
    if not above:
        return points[0][:2]
    if above[-1] == len(points) - 1:
        return None, points[-1][1]
    (s, n, high), (t, m, low) = points[above[-1] : above[-1] + 2]
    share = math.log(high / level) / math.log(high / low)
    seconds, steps = (math.exp(math.log(a) + share * math.log(b / a)) for a, b in ((s, t), (n, m)))
    return round(seconds, 9), round(steps)


@torch.no_grad()
def draw(model: nn.Module) -> Tensor:
    """Samples of a network, always from the same noise."""
    dice = torch.Generator().manual_seed(1)
    x_T = torch.randn(SAMPLES, 1, 8, 8, generator=dice)
    *_, (_, x) = diffusion.ddpm(model, x_T, S, S.timesteps(STEPS), generator=dice)
    return x


@torch.no_grad()
def distance(x: Tensor) -> float:
    """Frechet distance to the held-out digits."""
    return frechet_distance(JUDGE.features(x.clamp(-1, 1)), JUDGE.features(TEST))


def normal() -> Tensor:
    """Samples of the normal law with the means and covariances of the training digits."""
    flat = TRAIN.flatten(1).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    z = torch.randn(SAMPLES, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = flat.mean(0) + (z * values.clamp(min=0).sqrt()) @ vectors.T
    return x.float().view(-1, 1, 8, 8)


def check() -> None:
    """One loss, and one path from noise to digit, by their code and by ours."""
    library, model = load("smalldiffusion"), Theirs().eval()
    t, noise = torch.linspace(1, S.T, 32).long(), torch.randn(32, 1, 8, 8)
    sigma = expand_like(model.level[t], noise)
    loss = model.net.get_loss(TRAIN[:32], sigma, noise)
    torch.testing.assert_close(loss, diffusion.loss(model, TRAIN[:32], S, t, noise))

    times, noise = S.timesteps(5), torch.randn(6, 4, 1, 8, 8)
    supply = iter(noise[1:])
    model.net.rand_input = lambda batch: next(supply)
    levels, x_T = model.level[times], noise[0]
    *_, theirs = library.samples(model.net, levels, mu=0.5, xt=x_T / model.alpha[times[0]])
    *_, (_, x) = diffusion.ddpm(model, x_T, S, times, noise=noise[1:])
    torch.testing.assert_close(theirs, x, rtol=1e-3, atol=1e-3)


def matmul_rate() -> float:
    """Operations each CPU second of a large product."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / min(cpu_seconds(lambda: a @ a, 3)[1])


def rows_of(contestants: dict[str, Contestant], rate: float) -> list[Row]:
    """Time to each level that we reach, then what 45 s give."""
    mine, rows = contestants["ours"], []
    weights = sum(p.numel() for p in mine.make().parameters() if p.ndim > 1)
    peers = {name: c for name, c in contestants.items() if c is not mine}
    lowest = {
        name: min((level for level in LEVELS if other.until(level)[0]), default=LEVELS[0])
        for name, other in peers.items()
    }
    for level in LEVELS:
        seconds, steps = mine.until(level)
        if seconds is None:
            continue
        limit = 6 * weights * mine.batch * steps / rate
        for name, other in peers.items():
            took, _ = other.until(level)
            goals = (10, 30) if level == lowest[name] else (None, None)
            label = f"digits to distance {level:g}" + ("" if took else ", at least")
            theirs = took or Median(points[-1][0] for points in other.runs)
            rows.append(Row(label, name, "CPU s", theirs, seconds, *goals, limit))
    ends = Median(points[-1][2] for points in mine.runs)
    for name, other in peers.items():
        theirs = Median(points[-1][2] for points in other.runs)
        rows.append(Row("  at the end of the runs", name, "distance", theirs, ends))
    last = mine.runs[0][-1][0]
    rows.append(Row(f"digits, after {last:.0f} CPU s", "-", "distance", None, ends, 6))
    return rows


def main() -> int:
    """Check, train in turns, print; return the number of bars missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps; nothing is stored")
    parser.add_argument("--seconds", type=float, default=100, help="CPU seconds of a peer's run")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    seconds, horizon = (0.4, 0.4) if given.smoke else (given.seconds, 45)
    if given.smoke:
        global SAMPLES, STEPS
        SAMPLES, STEPS = 80, 2
    torch.manual_seed(0)
    check()
    contestants = {
        "smalldiffusion, as shipped": Contestant(Theirs, shipped, 16, 0.999, seconds, seconds / 12),
        "smalldiffusion's U-Net, tuned": Contestant(
            Theirs, ours(3e-3), 16, 0.99, seconds, seconds / 12
        ),
        "ours": Contestant(
            lambda: nets.MLP((1, 8, 8), 192, 3), ours(4e-3), 256, 0.99, horizon, horizon / 60
        ),
    }
    for seed in range(given.seeds):
        for name, contestant in contestants.items():
            print(f"{name}, seed {seed}", file=sys.stderr)
            contestant.run(seed)
    rows = rows_of(contestants, matmul_rate())
    if given.smoke:
        return 0
    known = {
        "training digits": TRAIN,
        "normal law": normal(),
        "noise": torch.randn(SAMPLES, 1, 8, 8),
    }
    curves = {
        f"{name}, seed {seed}": [{"seconds": a, "step": b, "frechet": c} for a, b, c in points]
        for name, contestant in contestants.items()
        for seed, points in enumerate(contestant.runs)
    }
    about = {"distance of": {name: distance(x) for name, x in known.items()}, "curves": curves}
    about["parameters"] = {
        name: sum(p.numel() for p in c.make().parameters()) for name, c in contestants.items()
    }
    about |= {"samples": SAMPLES, "sampling steps": STEPS, "seeds": given.seeds}
    return report("ddpm_digits", rows, **about)


if __name__ == "__main__":
    sys.exit(main())
