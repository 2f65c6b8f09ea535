"""Noise on the logits of a language model, and what it costs in nats a byte.

Two costs of one draw: the loss increase on the text, and ``kl``, the divergence of the next-byte
law with noise from the one without, which is the increase on text that the model itself would
write. Every difference is paired: the same windows with and without noise, through the same code.
For a symmetric law each draw is used with both signs, which removes the part linear in the noise
(its mean is zero, and it is by far the largest).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import compare
import predicted
import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from kexue import attention as A

SIGMAS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
RATES = (0.1, 0.3, 0.5)


def attend_with(change: Callable[[Tensor, int], Tensor]) -> Callable:
    """The hook whose logits (B, H, T, T) in each layer are ``change(logits, layer)``."""

    def attend(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        return change(A.logits(q, k, causal=True), layer).softmax(-1) @ v

    return attend


def same(s: Tensor, layer: int) -> Tensor:
    return s


def added(law, seed: int, sign: int, device: torch.device, where: dict | None = None) -> Callable:
    """``law`` added to the logits, to those of ``where = {layer: heads}`` if it is given."""
    generator = torch.Generator(device).manual_seed(seed)

    def noisy(s: Tensor) -> Tensor:
        if isinstance(law, A.Drop):
            return A.perturb(s, law, generator)
        return s + sign * law.sample(s.shape, generator=generator, dtype=s.dtype, device=s.device)

    def change(s: Tensor, layer: int) -> Tensor:
        if where is None:
            return noisy(s)
        if layer in where:
            s, heads = s.clone(), where[layer]
            s[:, heads] = noisy(s[:, heads])
        return s

    return change


class Scale:
    """A model on its windows: what it answers without noise is taken once."""

    @torch.no_grad()
    def __init__(self, model, windows: Tensor, part: int, draws: int = 1, seed: int = 0) -> None:
        self.model, self.parts, self.draws = model, windows.split(part), draws
        self.seed, self.device, self.bytes = seed, windows.device, windows[:, 1:].numel()
        self.log_p = [self.answer(w, attend_with(same)) for w in self.parts]
        self.clean = torch.cat([self.nats(q, w) for q, w in self.each(self.log_p)]).double()
        self.own = -torch.cat([(q.exp() * q).sum(-1).mean(1) for q in self.log_p]).double()

    def each(self, log_p: list[Tensor]) -> Iterable[tuple[Tensor, Tensor]]:
        return zip(log_p, self.parts, strict=True)

    def answer(self, windows: Tensor, attend: Callable) -> Tensor:
        return self.model(windows[:, :-1], attend).log_softmax(-1)

    @staticmethod
    def nats(log_p: Tensor, windows: Tensor) -> Tensor:
        return -log_p.gather(-1, windows[:, 1:, None])[..., 0].mean(1)

    @torch.no_grad()
    def costs(self, attend: Callable) -> Tensor:
        """Loss increase and divergence of every window, (S, 2)."""
        out = []
        for log_p, windows in self.each(self.log_p):
            log_q = self.answer(windows, attend)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1).mean(1)
            out.append(torch.stack([self.nats(log_q, windows) - self.nats(log_p, windows), kl], 1))
        return torch.cat(out).double().cpu()

    def about(self) -> dict:
        """Loss on the text, and ``own``, what the model expects it to be: its mean entropy."""
        S = len(self.clean)
        return dict(
            bytes=self.bytes, windows=S, loss=self.clean.mean().item(),
            loss_se=(self.clean.std() / math.sqrt(S)).item(), own=self.own.mean().item(),
        )  # fmt: skip

    def increase(self, attends: Iterable[Iterable[Callable]]) -> dict:
        """Mean increase over draws, each the mean of its hooks; with both standard errors.

        ``se``: over windows, as if each window were another text (paired with the clean loss).
        ``se_draws``: over draws alone, on this text.
        """
        rows = torch.stack([torch.stack([self.costs(a) for a in d]).mean(0) for d in attends])
        draws, S = rows.shape[:2]
        mean, se = rows.mean((0, 1)).tolist(), (rows.mean(0).std(0) / math.sqrt(S)).tolist()
        alone = (rows.mean(1).std(0) / math.sqrt(draws)).tolist() if draws > 1 else (None, None)
        return dict(
            increase=mean[0], se=se[0], se_draws=alone[0],
            kl=mean[1], kl_se=se[1], kl_se_draws=alone[1], draws=draws,
        )  # fmt: skip

    def under(self, law, where: dict | None = None, draws: int | None = None) -> dict:
        """The increase under a law; if it is symmetric, with both signs of each draw."""
        signs, times = ((1,), 2) if isinstance(law, A.Drop) else ((1, -1), 1)
        return self.increase(
            [attend_with(added(law, self.seed + d, sign, self.device, where)) for sign in signs]
            for d in range(times * (draws or self.draws))
        )

    def lighter(self, rate: float) -> dict:
        """Dropout of weights."""

        def attend_of(d: int) -> Callable:
            generator = torch.Generator(self.device).manual_seed(self.seed + d)
            options = dict(causal=True, drop=rate, generator=generator)
            return lambda q, k, v, layer: A.attention(q, k, v, **options)

        return self.increase([attend_of(d)] for d in range(2 * self.draws))


def matched(variance_ratio: float) -> dict[str, object]:
    """Laws of other shapes with the same V_eta, by name."""

    def solve(law, low: float, high: float):
        return law(brentq(lambda a: law(a).variance_ratio.item() - variance_ratio, low, high))

    return dict(
        laplace=solve(A.Laplace, 1e-3, 0.4999),
        uniform=solve(A.Uniform, 1e-2, 60.0),
        drop=A.Drop(variance_ratio / (1 + variance_ratio)),
    )


def normal(scale: Scale, sigmas: Iterable[float]) -> list[dict]:
    """Normal noise on all logits."""
    return [
        dict(sigma=s, variance_ratio=math.expm1(s * s), **scale.under(A.Normal(s))) for s in sigmas
    ]


def measure(model, windows: Tensor, recipe: dict, seed: int, say: Callable) -> dict:
    """All logits, other laws of equal V_eta, common noise, dropout, each layer, each head."""
    scale = Scale(model, windows, recipe["part"], recipe["draws"], seed=1000 * (seed + 1))
    count, depth = model.config["heads"], model.config["depth"]
    out = dict(seed=seed, **scale.about(), all=normal(scale, SIGMAS))
    out["common"] = [
        dict(sigma=s, **scale.under(A.Common(A.Normal(s)), draws=2)) for s in (0.5, 1.0, 3.0)
    ]
    out["laws"] = []
    for sigma in (0.25, 0.5, 1.0):
        for name, law in matched(math.expm1(sigma**2)).items():
            found = scale.under(law)
            a = float(next(iter(vars(law).values())))
            variance = dict(laplace=2 * a**2, uniform=a**2 / 12, drop=None)[name]
            row = dict(law=name, sigma=sigma, parameter=a, variance=variance)
            out["laws"].append(row | dict(variance_ratio=math.expm1(sigma**2), **found))
    out["drop"] = [
        dict(
            rate=r,
            logits=scale.under(A.Drop(r)),
            weights=scale.lighter(r),
        )
        for r in RATES
    ]
    say(f"  noise on all logits done, +{out['all'][2]['increase']:.4f} at 0.5")
    every = slice(None)
    out["layers"] = [
        dict(layer=i, sigma=s, **scale.under(A.Normal(s), {i: every}))
        for i in range(depth)
        for s in (0.5, 1.0)
    ]
    out["heads"] = [
        dict(layer=i, head=h, sigma=s, **scale.under(A.Normal(s), {i: [h]}))
        for i in range(depth)
        for h in range(count)
        for s in (0.5, 1.0)
    ]
    say("  heads done")
    return out


def brief(model, windows: Tensor, recipe: dict, generator: torch.Generator) -> dict:
    """Normal noise on all logits, small and large, and what is predicted."""
    scale = Scale(model, windows, recipe["part"], recipe["draws"], seed=7)
    out = scale.about() | dict(all=normal(scale, (0.0625, *SIGMAS[:5])))
    out["prediction"] = predicted.measure(model, windows, generator, 8, recipe["part"] // 4)
    return out | dict(comparison=compare.ratios(out))


def calibrated(model, windows: Tensor, recipe: dict, generator: torch.Generator) -> dict:
    """The same of the model whose last logits are divided by the T that is best for this text."""
    scale = Scale(model, windows, recipe["part"])

    def loss(T: float) -> float:
        parts = (scale.nats((q / T).log_softmax(-1), w) for q, w in scale.each(scale.log_p))
        return torch.cat(list(parts)).mean().item()

    T = minimize_scalar(loss, bounds=(0.5, 4.0), method="bounded").x
    model = copy.deepcopy(model)
    model.head.weight.div_(T)
    return dict(temperature=T) | brief(model, windows, recipe, generator)


def laws_by_head(model, windows: Tensor, recipe: dict, sigma: float = 0.25) -> list[dict]:
    """Four laws of the V_eta of Normal(sigma), on one head at a time."""
    scale = Scale(model, windows, recipe["part"], recipe["draws"], seed=9)
    laws = dict(normal=A.Normal(sigma), **matched(math.expm1(sigma**2)))
    return [
        dict(layer=i, head=h, law=name, sigma=sigma, **scale.under(law, {i: [h]}))
        for i in range(model.config["depth"])
        for h in range(model.config["heads"])
        for name, law in laws.items()
    ]
