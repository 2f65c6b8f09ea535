"""One seed of the study: train the codec, fit four models to every position, code the held-out.

The presets are here; ``make.py`` runs the seeds and writes the files.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import codec
import coder
import measure
import numpy as np
import torch
import torch.nn.functional as F

from kexue import data

FULL = {
    "prices": (150.0, 3000.0, 10),  # of a squared error, in bits: lowest, highest, how many
    "codec": dict(width=48, latents=16, blocks=2),
    "train": dict(steps=2700, batch=256, lr=2e-3),
    "images": (30, 100, 300, 3380),
    "images_again": (100, 3380),  # for the spread over seeds
    "terms": (1, 2, 4, 8, 14, 20, 28),  # 14 has as many parameters as the deep prior
    "penalties": (0.0, 1e-4, 1e-3),
    "filters": (3, 3),
    "dfp_steps": 1000,
    "kept": 320,
}
SMOKE = FULL | {
    "prices": (40.0, 400.0, 2),
    "codec": dict(width=8, latents=2, blocks=1),
    "train": dict(steps=30, batch=16, lr=5e-3),
    "images": (100, 300),
    "images_again": (300,),
    "terms": (1, 2, 4),
    "penalties": (0.0, 1e-4),
    "dfp_steps": 30,
    "kept": 24,
}
MODELS = ("logistic", "dfp", "fourier", "histogram")


class Run:
    """One seed: the codec it trains, the positions, and what was measured."""

    def __init__(self, preset: str, seed: int, device: torch.device, precision) -> None:
        self.p = FULL if preset == "full" else SMOKE
        self.seed, self.device, self.precision = seed, device, precision
        limit = self.p["images"][-1]
        self.x = data.load("hanzi", "train").x[:limit].to(device)
        self.x_test = data.load("hanzi", "test").x[: limit // 9].to(device)
        self.settings = {
            "logistic": [()],
            "dfp": [()],
            "fourier": [(n, c) for n in self.p["terms"][1:] for c in self.p["penalties"]],
            "histogram": [(eps,) for eps in measure.PSEUDO],
        }
        self.clock = time.perf_counter()

    def say(self, text: str) -> None:
        print(f"[seed {self.seed}, {time.perf_counter() - self.clock:6.1f} s] {text}", flush=True)

    def tables(self, name: str, counts: list, settings: list, share: float = 1.0) -> list:
        """One table a group. Models that are trained by steps take all groups as one batch."""
        if name == "histogram":
            return [measure.histogram(c, *s) for c, s in zip(counts, settings, strict=True)]
        if name == "fourier":
            laws = [measure.fourier(c, *s) for c, s in zip(counts, settings, strict=True)]
            return [measure.masses(law, c.shape[1]) for law, c in zip(laws, counts, strict=True)]
        sizes = [c.new_full((len(c),), c.shape[1]) for c in counts]
        padded = [F.pad(c, (0, measure.SIZES[-1] - c.shape[1])) for c in counts]
        both = torch.cat(padded), torch.cat(sizes)
        if name == "dfp":
            steps = max(1, int(share * self.p["dfp_steps"]))
            table = measure.factorized(*both, self.p["filters"], steps, self.seed)
        else:
            table = measure.logistic(*both)
        parts = table.split([len(c) for c in counts])
        return [part[:, : c.shape[1]] for part, c in zip(parts, counts, strict=True)]

    def gather(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """One number a position (P,) from one tensor a group."""
        out = torch.zeros(len(self.low), dtype=torch.float64, device=self.device)
        for group, part in zip(self.groups, parts, strict=True):
            out[group.index] = part.double().to(self.device)
        return out

    def timed(self, work: Callable) -> tuple:
        """What ``work`` returns, and its seconds, with the device's queue emptied."""
        wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        done = work()
        wait()
        return done, time.perf_counter() - start


def train(run: Run) -> dict:
    """Train the autoencoders; leave ``run.codec`` and the integers (n, P) of both splits."""
    torch.manual_seed(run.seed)
    low, high, rates = run.p["prices"]
    prices = torch.logspace(np.log10(low), np.log10(high), rates, device=run.device)
    run.codec = codec.Codec(rates, **run.p["codec"]).to(run.device)
    options = run.p["train"] | dict(seed=run.seed, precision=run.precision)

    def loop() -> None:
        for step, bits, error in codec.train(run.codec, run.x, prices, **options):
            if step % max(1, options["steps"] // 8) == 0:
                run.say(f"step {step}: bits {bits.round().tolist()}, error {error.tolist()}")

    _, seconds = run.timed(loop)
    run.codec.half().float()  # stored in half precision: measure what is stored
    run.q, run.q_test = (codec.latents(run.codec, x) for x in (run.x, run.x_test))
    run.rates, run.per_rate = rates, run.q[0, 0].numel()
    train, test = run.q.flatten(1), run.q_test.flatten(1)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(run.seed))
    run.groups = measure.groups(train[order.to(run.device)], test)
    run.low, run.size = measure.alphabets(train)
    run.symbols = (test - run.low).clamp(min=0).minimum(run.size - 1)
    parameters = sum(w.numel() for w in run.codec.parameters()) // rates
    return dict(
        prices=prices.tolist(), rates=rates, positions=train.shape[1], shape=list(run.q.shape[1:]),
        parameters_each=parameters, seconds=seconds, steps=options["steps"],
        batch=options["batch"], images_train=len(train), images_test=len(test),
        alphabets={g.size: len(g.index) for g in run.groups},
        clamped=(run.symbols + run.low != test).double().mean().item(),
    )  # fmt: skip


def compare(run: Run, n: int) -> dict[str, dict]:
    """Fit every model to the first ``n`` training images of every position; bits held out."""
    result, groups = {}, run.groups
    fit, judge = zip(*(measure.sample(g, n) for g in groups), strict=True)
    counts = [g.count(g.train[:n]) for g in groups]
    for name in MODELS:
        trials: list[dict] = [{} for _ in groups]
        for setting in run.settings[name]:
            # four terms a symbol are enough, even for a law that is all in one bin
            able = [
                k for k, g in enumerate(groups) if name != "fourier" or setting[0] <= 4 * g.size
            ]
            tables = run.tables(name, [fit[k] for k in able], [setting] * len(able), share=0.5)
            for k, table in zip(able, tables, strict=True):
                trials[k][setting] = table
        floors = (0.0,) if name == "histogram" else measure.FLOORS
        chosen = [measure.cheapest(t, j, floors) for t, j in zip(trials, judge, strict=True)]
        settings = [c[:-1] for c in chosen]
        with warnings.catch_warnings(record=True) as caught:  # of fits that did not come to rest
            warnings.simplefilter("always")
            tables, seconds = run.timed(lambda m=name, s=settings: run.tables(m, counts, s))
        tables = [measure.floored(t, c[-1]) for t, c in zip(tables, chosen, strict=True)]
        cost = [measure.bits(t, g.count(g.test)) for t, g in zip(tables, groups, strict=True)]
        result[name] = dict(
            bits=run.gather(cost), tables=tables, seconds=seconds,
            chosen={g.size: c for g, c in zip(groups, chosen, strict=True)},
            warnings=[str(w.message) for w in caught],
        )  # fmt: skip
        run.say(f"{n} images, {name}: {result[name]['bits'].mean():.4f} bits, {seconds:.2f} s")
    return result


def parameters(name: str, size: int, setting: list) -> int:
    """Free real numbers of one density."""
    if name == "dfp":
        return measure.FactorizedPrior.count(FULL["filters"])
    return {"logistic": 2, "histogram": size - 1, "fourier": 2 * setting[0]}[name]


def by_terms(run: Run) -> list[dict]:
    """One N for every position: bits held out and seconds, for each N."""
    rows, counts = [], [g.count(g.train) for g in run.groups]
    for N in run.p["terms"]:
        every = [(N, 0.0)] * len(counts)
        tables, seconds = run.timed(lambda s=every: run.tables("fourier", counts, s))
        cost = [
            measure.bits(measure.floored(t, 1e-4), g.count(g.test))
            for t, g in zip(tables, run.groups, strict=True)
        ]
        mean = run.gather(cost).mean().item()
        rows.append(dict(terms=N, parameters=2 * N, bits=mean, seconds=seconds))
        run.say(f"N = {N}: {mean:.4f} bits, {seconds:.2f} s")
    return rows


def one_by_one(run: Run, chosen: dict, number: int = 32) -> dict:
    """Seconds a density when each is fitted alone, on this device and on one core of a CPU."""
    result = {"number": number}
    threads = torch.get_num_threads()
    places = [(g, k) for g in range(len(run.groups)) for k in range(len(run.groups[g].index))]
    dice = np.random.default_rng(run.seed)
    few = [places[i] for i in dice.choice(len(places), number, replace=False)]
    for where in dict.fromkeys((run.device.type, "cpu")):
        torch.set_num_threads(1 if where == "cpu" else threads)
        spent = []
        for g, k in few[:4] + few:  # the first four warm up
            row, setting = run.counts[g][0][k : k + 1].to(where), chosen[run.groups[g].size][:-1]
            spent.append(run.timed(lambda c=row, s=setting: measure.fourier(c, *s))[1])
        result[where] = sum(spent[4:]) / number
    torch.set_num_threads(threads)
    return result


def encode(run: Run, tables: list[torch.Tensor], model_bits: torch.Tensor) -> tuple[dict, list]:
    """Write the held-out integers of every rate as bytes, read them back, rebuild the images."""
    frequency = torch.zeros(len(run.low), max(measure.SIZES), dtype=torch.int32)
    for group, table in zip(run.groups, tables, strict=True):
        frequency[group.index.cpu(), : group.size] = measure.frequencies(table).cpu()
    frequency, size = frequency.numpy(), run.size.cpu().numpy()
    symbols, n = run.symbols.cpu().numpy(), len(run.symbols)
    rows, back = [], np.empty_like(symbols)
    for r in range(run.rates):
        mine = slice(r * run.per_rate, (r + 1) * run.per_rate)
        laws = coder.models(frequency[mine], size[mine])
        words, write = run.timed(lambda s=symbols[:, mine], m=laws: coder.encode(s, m))
        back[:, mine], read = run.timed(lambda w=words, m=laws: coder.decode(w, m, n))
        bits = model_bits[mine].sum().item() * n
        rows.append(dict(bytes=4 * len(words), model_bits=bits, overhead=32 * len(words) / bits - 1,
                         seconds_write=write, seconds_read=read))  # fmt: skip
    if not np.array_equal(back, symbols):
        raise RuntimeError("the range coder did not give back the symbols it was given")
    q = (torch.from_numpy(back).to(run.device) + run.low).view(run.q_test.shape)
    rebuilt, direct = (codec.images(run.codec, v) for v in (q, run.q_test))
    error, unclamped = (
        (v - run.x_test).square().mean((0, 2, 3)).tolist() for v in (rebuilt, direct)
    )
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "overhead"}
    for row, e, u in zip(rows, error, unclamped, strict=True):
        row |= dict(error=e, error_unclamped=u)
    seconds = {way: total.pop(f"seconds_{way}") for way in ("write", "read")}
    speed = {f"megasymbols_per_second_{way}": symbols.size / s / 1e6 for way, s in seconds.items()}
    speed |= {f"mb_per_second_{way}": total["bytes"] / s / 1e6 for way, s in seconds.items()}
    about = dict(library="constriction", version=coder.VERSION,
                 precision_bits=24, table_bits=16, symbols=symbols.size, lossless=True,
                 overhead=8 * total["bytes"] / total["model_bits"] - 1)  # fmt: skip
    run.frequency, run.rebuilt = frequency, rebuilt
    return about | total | speed, rows


def measured(run: Run, again: bool = False) -> dict:
    """Everything of one seed; ``again`` with fewer numbers of images."""
    metrics = {"seed": run.seed, "codec": train(run)}
    run.say(f"{metrics['codec']}")
    counts = [(g.count(g.train), g.count(g.test)) for g in run.groups]
    entropies = [run.gather([measure.entropy(c[k]) for c in counts]) for k in (0, 1)]
    run.counts, run.entropy = counts, entropies[0]
    metrics["entropy"] = {
        "train": entropies[0].mean().item(), "test": entropies[1].mean().item(),
        "alive": (entropies[0] > 0.1).double().mean().item(),
        "edges": np.arange(0, 6.25, 0.25).tolist(),
        "histogram": torch.histc(entropies[0].float(), 24, 0, 6).int().tolist(),
        "modes": torch.bincount(run.gather([measure.modes(c) for c, _ in counts]).long()).tolist(),
    }  # fmt: skip
    curve = []
    for n in run.p["images_again" if again else "images"]:
        result = compare(run, n)
        means = {name: r["bits"].mean().item() for name, r in result.items()}
        curve.append(dict(images=n, bits=means))
    run.result = result
    metrics["by_images"] = curve
    metrics["models"] = {
        name: dict(
            bits=r["bits"].mean().item(), seconds=r["seconds"],
            densities_per_second=len(run.low) / r["seconds"],
            parameters=sum(
                parameters(name, g.size, r["chosen"][g.size]) * len(g.index) for g in run.groups
            ) / len(run.low),
            chosen=r["chosen"],
            warnings=r["warnings"],
        )
        for name, r in result.items()
    }  # fmt: skip
    metrics["by_terms"] = by_terms(run)
    fit = metrics["models"]["fourier"]
    alone = metrics["one_by_one"] = one_by_one(run, fit["chosen"])
    alone["batch"] = fit["seconds"] / len(run.low)
    metrics["coder"], rows = encode(run, result["fourier"]["tables"], result["fourier"]["bits"])
    for r, row in enumerate(rows):
        mine = slice(r * run.per_rate, (r + 1) * run.per_rate)
        row |= dict(
            price=metrics["codec"]["prices"][r],
            alive=(run.entropy[mine] > 0.1).double().mean().item(),
            entropy_train=run.entropy[mine].mean().item(),
            entropy_test=entropies[1][mine].mean().item(),
            bits={name: v["bits"][mine].mean().item() for name, v in result.items()},
        )
    metrics["rates"] = rows
    run.say(f"coder {metrics['coder']}")
    return metrics
