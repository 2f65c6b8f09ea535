"""Logits or keys in few bits: rounding taken for noise, its cost predicted and measured.

Rounding to steps of size D is taken for uniform noise of variance D^2 / 12, independent of what is
rounded. Integers of b bits: 2^b steps between the least and the largest logit of a row, or between
the two signs of the largest entry of a key. fp8: a cast; the step is that of the number's own
exponent, so that the noise is not the same for all keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from noisy import Scale, attend_with, same
from predicted import layers
from torch import Tensor
from torch.nn import functional as F

from kexue.attention import logits

BITS = (8, 6, 5, 4, 3)
#: dtype, bits of the fraction, least exponent of a normal number
FP8 = {"e4m3": (torch.float8_e4m3fn, 3, -6), "e5m2": (torch.float8_e5m2, 2, -14)}


def seen(s: Tensor) -> Tensor:
    return s > -math.inf


def logit_step(s: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The least logit of each row and the step of its grid."""
    high = s.amax(-1, keepdim=True)
    low = torch.where(seen(s), s, high).amin(-1, keepdim=True)
    return low, (high - low) / (2**bits - 1)


def float_step(x: Tensor, kind: str) -> Tensor:
    """Spacing of the fp8 numbers around x."""
    _, fraction, least = FP8[kind]
    exponent = torch.frexp(x.abs()).exponent - 1  # x = m 2^exponent, 1 <= m < 2
    exponent = torch.where(x == 0, least, exponent.clamp(min=least))  # frexp(0) is (0, 0)
    return torch.exp2(exponent.to(x.dtype) - fraction)


def cast(x: Tensor, kind: str) -> Tensor:
    return x.to(FP8[kind][0]).to(x.dtype)


def round_logits(s: Tensor, mode: str) -> Tensor:
    """``int8`` and the like, ``e4m3``, ``e5m2``, or ``e4m3 - max`` (the largest logit is 0)."""
    if mode.startswith("int"):
        low, step = logit_step(s, int(mode[3:]))
        near = low + ((s - low) / step).round() * step
        return torch.where(seen(s) & (step > 0), near, s)
    kind, _, shifted = mode.partition(" - ")
    top = s.amax(-1, keepdim=True) if shifted else torch.zeros_like(s[..., :1])
    return torch.where(seen(s), cast(s - top, kind) + top, s)


def logit_variance(s: Tensor, mode: str) -> Tensor:
    """Variance of the error, (B, H, T, T): 0 where no logit is, and at both ends of a grid."""
    if mode.startswith("int"):
        low, step = logit_step(s, int(mode[3:]))
        inner = seen(s) & (s > low) & (s < s.amax(-1, keepdim=True))
        return torch.where(inner, step.square() / 12, 0.0)
    kind, _, shifted = mode.partition(" - ")
    s = s - s.amax(-1, keepdim=True) if shifted else s
    return torch.where(seen(s), float_step(torch.where(seen(s), s, 1.0), kind).square() / 12, 0.0)


def key_step(k: Tensor, mode: str) -> Tensor:
    if mode.startswith("int"):
        return k.abs().amax(-1, keepdim=True) / (2 ** (int(mode[3:]) - 1) - 1)
    return float_step(k, mode)


def round_keys(k: Tensor, mode: str) -> Tensor:
    if not mode.startswith("int"):
        return cast(k, mode)
    step = key_step(k, mode)
    return torch.where(step > 0, (k / step).round() * step, k)


def key_variance(k: Tensor, mode: str) -> Tensor:
    """Of every entry; the largest one of a key is an end of its integer grid and has no error."""
    variance = (key_step(k, mode).square() / 12).expand_as(k)
    if not mode.startswith("int"):
        return variance
    return torch.where(k.abs() < k.abs().amax(-1, keepdim=True), variance, 0.0)


def modes() -> list[tuple[str, str]]:
    integers = [f"int{b}" for b in BITS]
    more = [*integers, *FP8, *(f"{kind} - max" for kind in FP8)]
    return [("logits", m) for m in more] + [("keys", m) for m in (*integers, *FP8)]


def attend_rounded(what: str, mode: str) -> Callable:
    if what == "logits":
        return attend_with(lambda s, layer: round_logits(s, mode))
    plain = attend_with(same)
    return lambda q, k, v, layer: plain(q, round_keys(k, mode), v, layer)


def predictions(
    model, windows: Tensor, generator: torch.Generator, labels: int, part: int
) -> dict[tuple[str, str], Tensor]:
    """Per byte: (fisher, bias, shared), a mean over windows.

    ``shared``, for keys only: one error of a key is met by every later query, so that their
    gradients add before they are squared, 1/2 sum_k D^2/12 E_y|dl/dk|^2; for logits it is fisher.
    """
    total = {mode: torch.zeros(3, dtype=torch.float64) for mode in modes()}
    for batch in windows.split(part):
        for layer in layers(model, batch, generator, labels):
            scale2 = 1 / layer.q.shape[-1]
            for what, mode in total:
                if what == "logits":
                    variance = logit_variance(layer.s, mode)
                else:
                    entry = key_variance(layer.k, mode)
                    variance = scale2 * layer.q.square() @ entry.mT
                    shared = (entry * layer.key2).sum() / 2
                fisher = layer.fisher(variance).sum()
                both = (fisher, layer.bias(variance).sum(), fisher if what == "logits" else shared)
                total[what, mode] += torch.stack(both).double().cpu()
    return {mode: t / windows[:, 1:].numel() for mode, t in total.items()}


def error_share(model, windows: Tensor) -> dict[tuple[str, str], float]:
    """Measured variance of the logits' errors over the predicted one, over all rows with 3 keys."""
    found = {}
    for what, mode in modes():
        got = want = 0.0

        def attend(q: Tensor, k: Tensor, v: Tensor, layer: int, what=what, mode=mode) -> Tensor:
            nonlocal got, want
            s = logits(q, k, causal=True)
            if what == "logits":
                error, variance = round_logits(s, mode) - s, logit_variance(s, mode)
            else:
                error = logits(q, round_keys(k, mode), causal=True) - s
                variance = q.square() @ key_variance(k, mode).mT / q.shape[-1]
            kept = seen(s)[..., 2:, :]
            got += error[..., 2:, :][kept].square().sum().item()
            want += variance.expand_as(s)[..., 2:, :][kept].sum().item()
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

        with torch.no_grad():
            model(windows[:, :-1], attend)
        found[what, mode] = got / want
    return found


def measure(
    model, windows: Tensor, generator: torch.Generator, labels: int, part: int, say: Callable
) -> dict:
    """A row for each way: predicted and measured increase on the same windows."""
    scale = Scale(model, windows, part)
    predicted = predictions(model, windows, generator, labels, part)
    shares, rows = error_share(model, windows[:part]), []
    for what, mode in modes():
        found = scale.increase([[attend_rounded(what, mode)]])
        fisher, bias, shared = predicted[what, mode].tolist()
        rows.append(dict(
            what=what, mode=mode, **{k: found[k] for k in ("increase", "se", "kl", "kl_se")},
            fisher=fisher, bias=bias, shared=shared, predicted=shared + bias,
            variance_share=shares[what, mode],
        ))  # fmt: skip
    say(f"  rounding: {rows[3]}")
    return scale.about() | dict(rows=rows)
