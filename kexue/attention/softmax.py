r"""Softmax attention into whose logits noise can be put.

s_i = scale q . k_i, p = softmax(s), o = sum_i p_i v_i (eq-attn-softmax); with noise, p is the
softmax of s + eps (eq-attn-noisy). Written out, not fused: the chapter reads logits and weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kexue import _check
from kexue.attention.noise import Noise, broadcasts

__all__ = ["attention", "logits", "perturb"]


def logits(
    q: Tensor,
    k: Tensor,
    *,
    causal: bool = False,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    r"""s = scale q k^T, shape (B, H, T, S); -inf where a key is hidden.

    Args:
        q, k: (B, H, T, D) and (B, H, S, D), of one floating dtype.
        causal: query t sees the keys 0 to t only.
        mask: broadcasts to (B, H, T, S): true where a key may be seen, or numbers that are added.
        scale: 1/sqrt(D) by default.

    In float32 for half types: a logit of 100 in bfloat16 is off by up to 1/4. Values are not
    looked at, a NaN goes through: the check would wait for the device at every call.

    >>> logits(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4), causal=True)
    tensor([[[[2., -inf],
              [2., 2.]]]])
    """
    _heads(q, k)
    wide = torch.promote_types(q.dtype, torch.float32)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else _check.real("scale", scale)
    s = (q.to(wide) * scale) @ k.to(wide).mT
    if mask is not None:
        if not isinstance(mask, Tensor) or not (
            mask.dtype == torch.bool or mask.is_floating_point()
        ):
            got = getattr(mask, "dtype", type(mask).__name__)
            raise TypeError(f"mask: got {got}, needs a tensor of bool or floating-point numbers")
        broadcasts("mask", mask, s.shape)
        s = s.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else s + mask.to(wide)
    if causal:
        seen = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril()
        s = s.masked_fill(~seen, -math.inf)
    return s


def perturb(logits: Tensor, noise: Noise, generator: torch.Generator | None = None) -> Tensor:
    """s + eps, one draw of ``noise`` for every logit   (eq-attn-noisy).

    A row that lost all its keys (``Drop``) is left as it was.
    """
    if not isinstance(noise, Noise):
        raise TypeError(f"noise: got {noise!r}, needs a law such as Normal(0.5)")
    eps = noise.sample(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
    return restored(logits, logits + eps)


def restored(logits: Tensor, noisy: Tensor) -> Tensor:
    """``noisy``, but ``logits`` in the rows of it in which no key is left."""
    return torch.where((noisy == -math.inf).all(-1, keepdim=True), logits, noisy)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    noise: Noise | None = None,
    causal: bool = False,
    mask: Tensor | None = None,
    scale: float | None = None,
    drop: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""o = softmax(scale q k^T + eps) v, shape (B, H, T, E).

    Args:
        q, k, v: (B, H, T, D), (B, H, S, D) and (B, H, S, E), of one floating dtype.
        noise: the law of eps; none by default. With ``Drop`` it is dropout of logits.
        causal, mask, scale: see ``logits``.
        drop: dropout of weights, in [0, 1): a weight is 0 with this probability, else divided by
            1 - drop; the weights then no longer sum to one.
        generator: of the noise; torch's own by default. Dropout of weights takes it too.

    Without noise it is ``torch.nn.functional.scaled_dot_product_attention``, computed in float32
    for half types. A row that may see no key gets the output 0, as there (torch from 2.5 on).

    >>> from kexue.attention import Common, Normal
    >>> q, k, v = torch.randn(3, 1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    >>> moved = attention(q, k, v, noise=Common(Normal(9.0))) - attention(q, k, v)
    >>> bool(moved.abs().max() < 1e-5)
    True
    """
    _heads(q, k, v)
    drop = _check.real("drop", drop, low=0)
    if drop >= 1:
        raise ValueError(f"drop: got {drop:g}, needs a number in [0, 1)")
    s = logits(q, k, causal=causal, mask=mask, scale=scale)
    if noise is not None:
        s = perturb(s, noise, generator)
    blind = (s == -math.inf).all(-1, keepdim=True)
    p = s.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)
    if drop:
        source = generator.device if generator is not None else p.device
        u = torch.rand(p.shape, generator=generator, device=source).to(p.device)
        p = p * (u >= drop) / (1 - drop)
    return (p @ v.to(p.dtype)).to(q.dtype)


def _heads(q: Tensor, k: Tensor, v: Tensor | None = None) -> None:
    """Check shapes and dtypes, values aside."""
    given = {"q": q, "k": k} if v is None else {"q": q, "k": k, "v": v}
    for name, x in given.items():
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.dtype != q.dtype:
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"{name}: got {got}, needs a floating-point tensor, one dtype for all")
        if x.ndim != 4:
            raise ValueError(f"{name}: got shape {tuple(x.shape)}, needs (B, H, T, D)")
        if x.numel() == 0:
            raise ValueError(f"{name}: got an empty tensor of shape {tuple(x.shape)}, needs data")
        if x.shape[:2] != q.shape[:2]:
            raise ValueError(
                f"{name}: got shape {tuple(x.shape)}, needs the B and H of q, {tuple(q.shape)}"
            )
    if k.shape[3] != q.shape[3]:
        raise ValueError(f"k: got shape {tuple(k.shape)}, needs the D of q, {tuple(q.shape)}")
    if v is not None and v.shape[2] != k.shape[2]:
        raise ValueError(f"v: got shape {tuple(v.shape)}, needs the S of k, {tuple(k.shape)}")
