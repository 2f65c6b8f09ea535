"""Triton kernels: the Ornstein-Uhlenbeck process with its state in registers (needs a GPU).

One Philox call gives 128 random bits: four normal numbers, or 128 coin flips. torch.compile takes
one normal number from each call and leaves 96 bits; these kernels leave none.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

STEPS = {"normal": 4, "two-point": 128}  # steps for each Philox call


@triton.jit
def approx(x, NAME: tl.constexpr):
    """One instruction of the special-function unit, absolute error about 1e-6."""
    return tl.inline_asm_elementwise(NAME + ".approx.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)


@triton.jit
def box_muller(i, j, FAST: tl.constexpr):
    """Two independent normal numbers from two random uint32."""
    u = (i >> 8).to(tl.int32).to(tl.float32) * (2.0**-24) + 2.0**-25  # in (0, 1)
    angle = j.to(tl.int32, bitcast=True).to(tl.float32) * (3.14159265358979 * 2.0**-31)
    if FAST:
        r = approx(-1.3862943611198906 * approx(u, "lg2"), "sqrt")
        return r * approx(angle, "cos"), r * approx(angle, "sin")
    else:
        r = tl.sqrt(-2.0 * tl.log(u))
        return r * tl.cos(angle), r * tl.sin(angle)


@triton.jit
def flips(x, word, a, b):
    """32 steps with noise +-b: each bit of ``word`` becomes the sign bit of b."""
    size = b.to(tl.int32, bitcast=True)
    for j in tl.static_range(32):
        sign = (word << j) & 0x80000000
        x = a * x + (size ^ sign.to(tl.int32, bitcast=True)).to(tl.float32, bitcast=True)
    return x


@triton.jit
def walk(
    x_ptr, n, a, b, seed, calls,
    NOISE: tl.constexpr, FAST: tl.constexpr, ROUNDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x <- a x + b eps; ``calls`` times as many steps as one Philox call has noise for.

    NOISE "words": nothing but Philox, one word a step. "sum": noise and nothing else.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    b = tl.full((BLOCK,), 1.0, tl.float32) * b
    zero = i * 0
    for k in range(calls):
        w0, w1, w2, w3 = tl.philox(seed, i, zero + k, zero, zero, ROUNDS)
        if NOISE == "words":
            x += (w0 ^ w1 ^ w2 ^ w3).to(tl.int32, bitcast=True).to(tl.float32)
        elif NOISE == "two-point":
            x = flips(flips(flips(flips(x, w0, a, b), w1, a, b), w2, a, b), w3, a, b)
        else:
            e0, e1 = box_muller(w0, w1, FAST)
            e2, e3 = box_muller(w2, w3, FAST)
            if NOISE == "sum":
                x += (e0 + e1) + (e2 + e3)
            else:
                x = a * (a * (a * (a * x + b * e0) + b * e1) + b * e2) + b * e3
    tl.store(x_ptr + i, x, mask=i < n)


def ornstein_uhlenbeck(
    x: torch.Tensor, a: float, b: float, steps: int, seed: int, noise: str = "normal",
    fast: bool = True, rounds: int = 10, block: int = 1024,
) -> torch.Tensor:  # fmt: skip
    """``steps`` Euler steps x <- a x + b eps on the particles (n,), float32, in place."""
    each = STEPS.get(noise, 4)
    if steps % each or len(x) >= 2**31:
        raise ValueError(f"steps: got {steps}, needs a multiple of {each}; x: fewer than 2^31")
    walk[(triton.cdiv(len(x), block),)](
        x, len(x), a, b, seed, steps // each, NOISE=noise, FAST=fast, ROUNDS=rounds, BLOCK=block
    )
    return x
