"""A law in the plane, the character "flow" in ink of Gaussians: noise, and the ways back from it.

Everything about it is exact: the law at every time, its score, its mass in every cell.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from kexue import data
from kexue.density import GaussianMixture
from kexue.fokker_planck import (
    FiniteVolumes,
    OrnsteinUhlenbeck,
    VariancePreserving,
    euler_step,
    platen_step,
    reverse,
)
from kexue.schedule import Linear

CHARACTER = "流"
SCHEDULE = Linear()
VP = VariancePreserving(SCHEDULE)
BOX, CELLS = 2.4, 128  # the data: [-2.4, 2.4]^2
WIDE = 2 * BOX  # with all the noise: [-4.8, 4.8]^2, 256^2 cells of the same size
KEPT = (0.0, 0.04, 0.09, 0.25, 0.49, 1.0)  # times of the stored histograms: squares
f64 = dict(dtype=torch.float64)


def flow(width: float = 0.5) -> GaussianMixture:
    """A Gaussian at every pixel darker than half, weighted by its ink, ``width`` pixels wide.

    Scaled so that the two variances have mean 1; float64.
    """
    images = data.load("hanzi")
    ink = (images.x[images.labels.index(CHARACTER), 0].double() + 1) / 2
    i, j = (ink > 0.5).nonzero(as_tuple=True)
    weights = ink[i, j] / ink[i, j].sum()
    means = torch.stack([j, -i], 1).double()
    means = means - weights @ means
    scale = (weights @ means.square().mean(1) + width**2).rsqrt()
    return GaussianMixture(weights, scale * means, (scale * width).square().expand(len(means)))


class ExactScore:
    """grad log p_t(x) of the noised mixture, fast: float32, one variance, times as 0-d tensors.

    sum_k r_k(x) (alpha m_k - x) / v with r = softmax(log w_k - |x - alpha m_k|^2 / (2 v)).
    Compiled, the (n, K) numbers in between are never written to memory.
    """

    def __init__(self, law: GaussianMixture, device: torch.device) -> None:
        self.m = law.means.to(device, torch.float32)
        self.log_w = law.weights.log().to(device, torch.float32)
        self.variance = law.variances[0].item()

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        log_alpha = -(SCHEDULE.beta_max - SCHEDULE.beta_min) * t**2 / 4 - SCHEDULE.beta_min * t / 2
        alpha, v = log_alpha.exp(), (2 * log_alpha).exp() * self.variance
        v = v - torch.expm1(2 * log_alpha)
        a, b = alpha * self.m[:, 0], alpha * self.m[:, 1]
        e = self.log_w - ((x[:, :1] - a) ** 2 + (x[:, 1:] - b) ** 2) / (2 * v)
        r = torch.exp(e - e.amax(1, keepdim=True))
        total = r.sum(1)
        mean = torch.stack([(r * a).sum(1) / total, (r * b).sum(1) / total], 1)
        return (mean - x) / v


def compiled(function: Callable, device: torch.device) -> Callable:
    """torch.compile on a GPU; with a copy of the code, since it keeps 8 versions of each piece."""
    if device.type != "cuda":
        return function
    function.__code__ = function.__code__.replace()
    return torch.compile(function, dynamic=False)


def compiled_score(law: GaussianMixture, device: torch.device) -> Callable:
    """The exact score as one kernel; the steps around it are cheap beside it."""
    score = ExactScore(law, device)
    return compiled(lambda x, t: score(x, t), device)


# Cells --------------------------------------------------------------------------------------------


def mass(law: GaussianMixture, box: float = BOX, cells: int = CELLS) -> Tensor:
    """Exact probability of every cell of [-box, box]^2 (cells, cells), first axis x, float64."""
    edges = torch.linspace(-box, box, cells + 1, **f64)[:, None]
    width = law.variances.reshape(len(law.means), -1)[:, 0].sqrt()
    a, b = (torch.special.ndtr((edges - law.means[:, k]) / width).diff(dim=0) for k in (0, 1))
    return torch.einsum("ik,jk,k->ij", a, b, law.weights)


def histogram(x: Tensor, box: float = BOX, cells: int = CELLS) -> Tensor:
    """Counts (cells, cells) of the particles (n, 2) in [-box, box]^2, int64 on the CPU."""
    counts = torch.zeros((cells + 2) ** 2, dtype=torch.int64, device=x.device)
    for part in x.split(2**24):
        index = ((part + box) * (cells / (2 * box))).floor().clamp(-1, cells).long() + 1
        counts += torch.bincount(index[:, 0] * (cells + 2) + index[:, 1], minlength=len(counts))
    return counts.view(cells + 2, cells + 2)[1:-1, 1:-1].cpu()


def coarser(p: Tensor, by: int = 2) -> Tensor:
    """Sums over blocks of by x by cells."""
    n = len(p) // by
    return p.reshape(n, by, n, by).sum((1, 3))


def distances(counts: Tensor, n: int, p: Tensor) -> dict[str, float]:
    """How far the law behind ``counts`` of ``n`` particles is from the cell masses ``p``.

    What lies outside the box is one more cell. ``l1``: sum |q - p|, which n particles of p itself
    do not bring below ``l1_floor`` (its expectation). ``chi2``: sum (q - p)^2 / p over cells with
    n p >= 20, less what sampling adds: unbiased, may be negative. ``kl_pq``, ``kl_qp``: nats, q
    with half a count added to every cell.
    """
    p = torch.cat([p.flatten(), (1 - p.sum()).clamp(min=0)[None]])
    c = torch.cat([counts.flatten(), (n - counts.sum())[None]]).double()
    q, smooth = c / n, (c + 0.5) / (n + 0.5 * len(c))
    floor = math.sqrt(2 / math.pi) * (p * (1 - p) / n).sqrt().sum()
    big = n * p >= 20
    chi2 = (((q - p) ** 2 - q * (1 - q) / (n - 1)) / p)[big].sum()
    return dict(
        l1=(q - p).abs().sum().item(), l1_floor=floor.item(), chi2=chi2.item(),
        kl_pq=torch.special.xlogy(p, p / smooth).sum().item(),
        kl_qp=torch.special.xlogy(q, q / p.clamp(min=1e-15)).sum().item(),
    )  # fmt: skip


def log_density(law: GaussianMixture, x: Tensor) -> tuple[float, float]:
    """Mean of log p over the particles, and its standard error."""
    m, log_w = (v.to(x.device, torch.float32) for v in (law.means, law.weights.log()))
    v = law.variances[0].item()

    def log_p(x: Tensor) -> Tensor:
        e = log_w - ((x[:, :1] - m[:, 0]) ** 2 + (x[:, 1:] - m[:, 1]) ** 2) / (2 * v)
        return e.logsumexp(1) - math.log(2 * math.pi * v)

    values = torch.cat([log_p(part) for part in x.split(2**20 if x.is_cuda else 2**14)]).double()
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


# Ways there and back ------------------------------------------------------------------------------


def times(steps: int, kind: str = "squares") -> list[float]:
    """tau = 1 - t of the way back from t = 1 to 0: t = (k / steps)^2, or equal steps of t."""
    u = torch.linspace(1, 0, steps + 1, **f64)
    return (1 - (u**2 if kind == "squares" else u)).tolist()


def stepper(score: Callable, noise: float, step: Callable) -> Callable:
    """One step back as a function of (x, tau, dtau), with its noise inside."""
    sde = reverse(VP, score, stop=1.0, noise=noise)

    def one(x: Tensor, tau: Tensor, dtau: Tensor) -> Tensor:
        return step(sde, x, tau, dtau, torch.randn_like(x) if noise else None)

    return one


@torch.no_grad()
def back(one: Callable, x: Tensor, taus: list[float], keep: tuple = ()) -> Tensor | list[Tensor]:
    """All steps; also the states at the positions ``keep`` of ``taus``, if asked for."""
    tau = torch.tensor(taus, device=x.device, **f64)
    t, dt = tau[:-1].to(x.dtype), tau.diff().to(x.dtype)  # differences before rounding
    kept = [x] if 0 in keep else []
    for k in range(len(t)):
        x = one(x, t[k], dt[k])
        if k + 1 in keep:
            kept.append(x)
    return kept if keep else x


def forward(x: Tensor, kept: tuple, steps: int, device: torch.device) -> list[Tensor]:
    """States at the times ``kept`` (0 first) of the forward SDE, ``steps`` Euler steps in all."""

    def four(x: Tensor, t: Tensor, dt: Tensor) -> Tensor:
        for k in range(4):
            x = euler_step(VP, x, t + k * dt, dt, torch.randn_like(x))
        return x

    four, states = compiled(four, device), [x]
    with torch.no_grad():
        for a, b in itertools.pairwise(kept):
            n = max(1, round(steps * (b - a) / 4))
            dt = torch.tensor((b - a) / (4 * n), dtype=x.dtype, device=device)
            for t in torch.linspace(a, b, n + 1, **f64)[:-1].to(device, x.dtype):
                x = four(x, t, dt)
            states.append(x)
    return states


def finite_volumes(law: GaussianMixture, kept: tuple, cells: int, substeps: int) -> list[Tensor]:
    """Cell masses (256, 256) of [-4.8, 4.8]^2 at the times ``kept`` by finite volumes, cells^2.

    On the clock s = -2 log alpha the rate of noise is 1, and the process is dx = -x/2 ds + dw.
    """
    grid = FiniteVolumes(OrnsteinUhlenbeck(0.5, 1.0), [(-WIDE, WIDE, cells)] * 2)
    clock = [-2 * SCHEDULE.log_alpha(t).item() for t in kept]
    p = mass(law, WIDE, cells) / grid.volume
    out = [p]
    for a, b in itertools.pairwise(clock):
        *_, p = grid.evolve(p, [a, b], substeps=substeps)
        out.append(p)
    return [coarser(p * grid.volume, cells // (2 * CELLS)) for p in out]


# Experiments --------------------------------------------------------------------------------------

FULL = dict(n=10**7, seeds=3, forward_steps=2000, counts=(10, 20, 50, 100, 250), cells=512,
            substeps=40, paths=200)  # fmt: skip
SMOKE = dict(n=2000, seeds=2, forward_steps=40, counts=(2, 10), cells=256, substeps=2, paths=5)
ROUTES = {  # name: noise, step
    "ODE, Euler": (0.0, euler_step),
    "ODE, Heun": (0.0, platen_step),
    "SDE 0.5, Euler": (0.5, euler_step),
    "SDE 1, Euler": (1.0, euler_step),
    "SDE 1, Platen": (1.0, platen_step),
    "SDE 1.5, Euler": (1.5, euler_step),
}


def seeded(law: GaussianMixture, n: int, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    k = torch.multinomial(law.weights.to(device), n, True, generator=generator)
    z = torch.randn(n, 2, generator=generator, device=device)
    return (law.means.to(device)[k] + law.variances[0].sqrt().to(device) * z).float()


def there(law: GaussianMixture, p: dict, device: torch.device, seed: int, arrays: dict) -> dict:
    """Forward: particles, finite volumes and the exact law, two by two."""
    torch.manual_seed(seed)
    n, rows = p["n"], []
    states = forward(seeded(law, n, seed, device), KEPT, p["forward_steps"], device)
    boxes = finite_volumes(law, KEPT, p["cells"], p["substeps"])
    for t, x, q in zip(KEPT, states, boxes, strict=True):
        now = VP.law(t, law)
        exact, counts = mass(now, WIDE, 2 * CELLS), histogram(x, WIDE, 2 * CELLS)
        e, c, v = (coarser(a) for a in (exact, counts, q))
        rows.append(dict(
            t=t, particles_exact=distances(c, n, e), particles_cells=(c / n - v).abs().sum().item(),
            cells_exact=(v - e).abs().sum().item(), cells_exact_fine=(q - exact).abs().sum().item(),
            mass=q.sum().item(), least=q.min().item(),
        ))  # fmt: skip
    arrays["forward"] = torch.stack([coarser(histogram(x, WIDE, 2 * CELLS)) for x in states])
    arrays["cells"] = torch.stack([coarser(q) for q in boxes]).float()
    return dict(particles=n, steps=p["forward_steps"], cells=p["cells"], substeps=p["substeps"],
                rows=rows)  # fmt: skip


def judged(x: Tensor, law: GaussianMixture, exact: Tensor) -> dict:
    """Every distance of the particles from the law at t = 0, in 64^2 cells of [-2.4, 2.4]^2."""
    counts = histogram(x)
    row = distances(coarser(counts), len(x), coarser(exact))
    row["log_p"], row["log_p_se"] = log_density(law, x)
    return row


def spread(rows: list[dict]) -> dict:
    """Mean and standard deviation over seeds of every entry."""
    out = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        out[key] = statistics.fmean(values)
        out[key + "_sd"] = statistics.stdev(values) if len(values) > 1 else None
    return out


def returned(law: GaussianMixture, p: dict, device: torch.device, seed: int, say) -> dict:
    """Back with the exact score, every route, number of steps and seed."""
    exact, last = mass(law), VP.law(1.0, law)
    score = compiled_score(law, device)
    rows, n = [], p["n"]
    seeds = [seed + 100 + s for s in range(p["seeds"])]
    perfect = spread([judged(seeded(law, n, s, device), law, exact) for s in seeds])
    for name, (noise, step) in ROUTES.items():
        one = stepper(score, noise, step)
        kinds = ("squares", "equal") if name in ("ODE, Heun", "SDE 1, Euler") else ("squares",)
        for kind in kinds:
            for steps in p["counts"]:
                found = []
                for s in seeds if kind == "squares" else seeds[:1]:
                    torch.manual_seed(s)
                    x = back(one, seeded(last, n, s, device), times(steps, kind))
                    found.append(judged(x, law, exact))
                row = dict(route=name, noise=noise, step=step.__name__, times=kind, steps=steps)
                rows.append(row | spread(found))
                shown = ("l1", "chi2", "kl_pq", "log_p")
                say(f"{name} {kind} {steps} { ({k: round(rows[-1][k], 6) for k in shown}) }")
    x = torch.randn(n, 2, device=device)
    normal = judged(back(stepper(score, 1.0, euler_step), x, times(p["counts"][-1])),
                    law, exact)  # fmt: skip
    return dict(particles=n, seeds=seeds, perfect=perfect, rows=rows, from_normal=normal,
                start="exact law at t = 1")  # fmt: skip


def pictures(law: GaussianMixture, p: dict, device: torch.device, seed: int, arrays: dict) -> dict:
    """Histograms on the way back at ``KEPT`` and paths from the same ends, for the figures."""
    last, score, rows = VP.law(1.0, law), compiled_score(law, device), []
    steps = p["counts"][-1]
    keep = tuple(round(steps * (1 - t**0.5)) for t in reversed(KEPT))
    for name, noise, step in (("ode", 0.0, platen_step), ("sde", 1.0, euler_step)):
        torch.manual_seed(seed + 200)
        one = stepper(score, noise, step)
        states = back(one, seeded(last, p["n"], seed + 200, device), times(steps), keep)[::-1]
        counts = torch.stack([coarser(histogram(x, WIDE, 2 * CELLS)) for x in states])
        arrays[f"back_{name}"] = counts
        for t, c in zip(KEPT, counts, strict=True):
            e = coarser(mass(VP.law(t, law), WIDE, 2 * CELLS))
            rows.append(dict(route=name, t=t, **distances(c, p["n"], e)))
    arrays["final"] = histogram(states[0])  # the SDE at t = 0, on the grid of the data
    fine = 32 * max(1, round(steps / 32)) if steps >= 32 else 32
    keep = tuple(range(0, fine + 1, fine // 32))
    ends = seeded(last, p["paths"], seed + 201, device)
    for name, noise, step in (("ode", 0.0, platen_step), ("sde", 1.0, euler_step)):
        torch.manual_seed(seed + 201)
        one = stepper(ExactScore(law, device), noise, step)  # not worth compiling
        paths = back(one, ends, times(fine), keep)
        arrays[f"paths_{name}"] = torch.stack(paths, 1).half()
    arrays["paths_t"] = 1 - torch.tensor(times(fine), **f64)[list(keep)]
    return dict(steps=steps, path_steps=fine, rows=rows)
