"""A small learned score, and where its error comes from: learning, or too few steps.

Several networks, one a seed, are trained at once as one network with stacked weights.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import plane
import torch
from plane import SCHEDULE, VP, f64
from torch import Tensor, nn

from kexue.density import GaussianMixture

WIDTH = 0.05  # about what the network may resolve: noise below it is not worth many samples


class Score(nn.Module):
    """s(x, t) = -x + F(x, t) / c(t), F a network of Fourier features, for S seeds at once.

    -x is the score of N(0, 1), and so right at late times; c^2 = (sigma^2 + WIDTH^2) / alpha^2
    grows with the noise, so that F stays of the order of 1. x: (S, n, 2) to the same shape.
    """

    def __init__(self, seeds: int = 3, width: int = 144, depth: int = 4, features: int = 48):
        super().__init__()
        self.config = dict(seeds=seeds, width=width, depth=depth, features=features)
        frequency = torch.randn(seeds, 2, features) * torch.logspace(-0.3, 1.1, features)
        self.register_buffer("frequency", frequency)
        self.register_buffer("omega", torch.tensor([0.5, 1.0, 2.0, 4.0]))
        sizes = [2 + 2 * features + 2 * len(self.omega), *[width] * depth, 2]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in itertools.pairwise(sizes):
            self.weights.append(torch.randn(seeds, a, b) * (0 if b == 2 else a**-0.5))
            self.biases.append(torch.zeros(seeds, 1, b))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``t``: 0-d, or (S, n, 1)."""
        log_alpha = -(SCHEDULE.beta_max - SCHEDULE.beta_min) * t**2 / 4 - SCHEDULE.beta_min * t / 2
        c = ((torch.expm1(-2 * log_alpha)) + WIDTH**2 * torch.exp(-2 * log_alpha)).sqrt()
        clock = c.log() * self.omega
        # No matrix product: in tf32 it would round x to 11 bits, and high frequencies magnify that.
        z = x[..., :1] * self.frequency[:, :1] + x[..., 1:] * self.frequency[:, 1:]
        clock = torch.cat([clock.cos(), clock.sin()], -1).expand(*x.shape[:-1], -1)
        h = torch.cat([x, z.cos(), z.sin(), clock], -1)
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = nn.functional.silu(torch.baddbmm(b, h, w))
        return torch.baddbmm(self.biases[-1], h, self.weights[-1]) / c - x

    def one(self, s: int) -> Score:
        """Seed ``s`` alone."""
        single = Score(**(self.config | dict(seeds=1)))
        single.load_state_dict(
            {k: v if k == "omega" else v[s : s + 1] for k, v in self.state_dict().items()}
        )
        return single

    def save(self, path: Path) -> None:
        """Half-precision weights and the architecture, as safetensors."""
        from safetensors.torch import save

        weights = {k: w.half().contiguous() for k, w in self.state_dict().items()}
        path.write_bytes(save(weights, {"kexue": json.dumps(self.config)}))

    @classmethod
    def load(cls, path: Path) -> Score:
        from safetensors import safe_open

        with safe_open(str(path), "pt") as file:
            model = cls(**json.loads(file.metadata()["kexue"]))
            model.load_state_dict({k: file.get_tensor(k).float() for k in file.keys()})  # noqa: SIM118
        return model.eval().requires_grad_(False)


def noise_times(u: Tensor) -> Tensor:
    """Times for u in [0, 1], with log(sigma^2 / alpha^2 + WIDTH^2) uniform."""
    low, high = math.log(WIDTH**2), math.log(WIDTH**2 + math.expm1(10.05))
    y = torch.log1p((low + (high - low) * u).exp() - WIDTH**2)  # -2 log alpha = 9.95 t^2 + 0.1 t
    return (-0.1 + (0.01 + 4 * 9.95 * y).sqrt()) / (2 * 9.95)


def train(
    law: GaussianMixture, p: dict, device: torch.device, seed: int, say
) -> tuple[Score, dict]:
    """Denoising score matching, E |sigma s(x_t, t) + eps|^2; the weights' moving average."""
    torch.manual_seed(seed)
    model = Score(p["seeds"], p["width"]).to(device)
    average = [w.detach().clone() for w in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=device.type == "cuda")
    means, cumulative = law.means.to(device).float(), law.weights.cumsum(0).to(device).float()
    width, shape = law.variances[0].sqrt().item(), (p["seeds"], p["sample"])

    def loss_of() -> Tensor:
        k = torch.searchsorted(cumulative, torch.rand(shape, device=device)).clamp(
            max=len(means) - 1
        )
        x0 = means[k] + width * torch.randn(*shape, 2, device=device)
        t = noise_times(torch.rand(*shape, 1, device=device) ** 1.5)  # more of them early
        log_alpha = -9.95 * t**2 / 2 - 0.05 * t
        sigma, eps = (-torch.expm1(2 * log_alpha)).sqrt(), torch.randn_like(x0)
        out = model(log_alpha.exp() * x0 + sigma * eps, t)
        return (sigma * out + eps).square().sum(-1).mean(1).sum()  # the seeds do not mix

    fast = torch.compile(loss_of) if device.type == "cuda" else loss_of
    start, losses = time.perf_counter(), []
    for k in range(p["train"]):
        # one cycle: a short rise, then a cosine down to zero
        rate = min(1, (k + 1) / 200) * (1 + math.cos(math.pi * k / p["train"])) / 2
        optimizer.param_groups[0]["lr"] = 2e-3 * rate
        loss = fast()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            decay = min(0.999, (k + 1) / (k + 10))
            torch._foreach_lerp_(average, [w.detach() for w in model.parameters()], 1 - decay)
        if k % 50 == 0:
            losses.append(loss.detach() / p["seeds"])
        if k == p["train"] // 10:
            say(f"step {k}: loss {losses[-1].item():.4f}, {time.perf_counter() - start:.1f} s")
    with torch.no_grad():
        for w, a in zip(model.parameters(), average, strict=True):
            w.copy_(a.half().float())  # what is stored is what is measured
        for b in model.buffers():
            b.copy_(b.half().float())
    seconds = time.perf_counter() - start
    count = sum(w[0].numel() for w in model.parameters())
    say(f"trained {p['train']} steps of {shape}, {count} parameters each, {seconds:.1f} s")
    model = model.eval().requires_grad_(False)
    return model, dict(
        parameters=count, steps=p["train"], batch=p["sample"], seconds=seconds,
        loss=torch.stack(losses).tolist(), every=50,
    )  # fmt: skip


def in_parts(model: Callable, part: int) -> Callable:
    """The network applied to (S, n, 2) in parts of ``part`` particles: activations are large."""

    def score(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([model(y, t) for y in x.split(part, 1)], 1)

    return score


def score_error(model: Callable, law: GaussianMixture, t: float, x: Tensor) -> Tensor:
    """E |s - exact|^2 of every seed, (S,), over points x (S, n, 2) of the law at ``t``."""
    time, exact = torch.tensor(t, device=x.device), plane.ExactScore(law, x.device)
    target = torch.stack([torch.cat([exact(q, time) for q in y.split(2**16)]) for y in x])
    return (model(x, time) - target).square().sum(-1).mean(1)


def girsanov(
    model: Callable, law: GaussianMixture, n: int, points: int, device: torch.device, seed: int
) -> dict:
    """1/2 int_0^1 g^2 E|s - exact|^2 dt for every seed: the bound on KL(p || q) of the reverse SDE.

    For the dial lambda it is larger by (1 + lambda^2)^2 / (4 lambda^2), which is 1 at lambda = 1.
    Midpoint rule in u, t = u^2.
    """
    u = (torch.arange(points, **f64) + 0.5) / points
    rows, total = [], 0.0
    for k, t in enumerate((u**2).tolist()):
        now = VP.law(t, law)
        x = torch.stack(
            [plane.seeded(now, n, seed + 1000 * k + s, device) for s in range(model.seeds)]
        )
        error = score_error(model, law, t, x).double().cpu()
        g2 = 2 * VP.rate(t)
        total = total + 0.5 * g2 * error * 2 * u[k].item() / points
        rows.append(dict(t=t, g2=g2, error=error.tolist()))
    return dict(points=n, rows=rows, bound=total.tolist())


FULL = dict(seeds=3, width=144, sample=2**14, train=16_000, n=2**21, part=2**19,
            counts=(10, 20, 50, 100, 250), points=64, probe=2**18)  # fmt: skip
SMOKE = dict(seeds=2, width=16, sample=64, train=60, n=2000, part=1000, counts=(2, 4), points=4,
             probe=200)  # fmt: skip
ROUTES = ("ODE, Heun", "ODE, Euler", "SDE 0.5, Euler", "SDE 1, Euler")


class Fast:
    """The compiled network, in parts."""

    def __init__(self, model: Score, part: int, device: torch.device) -> None:
        self.seeds = model.config["seeds"]
        self.call = in_parts(
            torch.compile(model, dynamic=False) if device.type == "cuda" else model, part
        )

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.call(x, t)


def measure(
    law: GaussianMixture, preset: str, device: torch.device, seed: int, arrays: dict, say
) -> tuple[dict, Score]:
    p = FULL if preset == "full" else SMOKE
    torch.set_float32_matmul_precision("high")
    model, training = train(law, p, device, seed, say)
    out = dict(training=training, config=model.config, particles=p["n"], matmul="tf32", rows=[])
    with torch.no_grad():
        plain = Fast(model, p["part"], device)
        bound = out["girsanov"] = girsanov(plain, law, p["probe"], p["points"], device, seed)
        say(f"bound {bound['bound']}")
        exact, last = plane.mass(law), VP.law(1.0, law)
        seeds = [seed + 300 + s for s in range(p["seeds"])]
        starts = torch.stack([plane.seeded(last, p["n"], s, device) for s in seeds])
        perfect = [plane.judged(plane.seeded(law, p["n"], s, device), law, exact) for s in seeds]
        out["perfect"] = plane.spread(perfect)
        for route in ROUTES:
            noise, step = plane.ROUTES[route]
            sde = plane.reverse(VP, plain, stop=1.0, noise=noise)

            def one(x, tau, dtau, sde=sde, step=step, noise=noise):
                return step(sde, x, tau, dtau, torch.randn_like(x) if noise else None)

            for steps in p["counts"]:
                torch.manual_seed(seed + 400)
                x = plane.back(one, starts, plane.times(steps))
                each = [plane.judged(y, law, exact) for y in x]
                row = dict(route=route, noise=noise, step=step.__name__, steps=steps)
                out["rows"].append(row | plane.spread(each))
                out["rows"][-1]["each_kl_pq"] = [r["kl_pq"] for r in each]
                shown = ("l1", "chi2", "kl_pq", "kl_qp", "log_p")
                say(f"learned {route} {steps} "
                    f"{ ({k: round(out['rows'][-1][k], 6) for k in shown}) }")  # fmt: skip
            if route in ("ODE, Heun", "SDE 1, Euler"):
                arrays["learned_" + ("sde" if noise else "ode")] = plane.histogram(x[0])
    return out, model
