"""Group normalization with what surrounds it in a U-Net; on a GPU one kernel each way.

A small network moves its images through memory far more often than it computes with them: a norm,
a scale, a shift and a SiLU one after another read and write them five times on the way forward, and
more on the way back. The two kernels here read them twice, the second time from the cache, and
write them once. They also want the channels last in memory, as the GPU's convolutions do, where
PyTorch's own norm would turn the images around before and after.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # a CPU build of torch
    triton = None

    def jit(function):
        """Nothing to compile with."""
        return function


__all__ = ["GroupNorm", "usable"]

GROUP = 8  # channels that the kernels normalize together
TILE = 4096  # numbers that a program holds at a time


def usable(x: Tensor) -> bool:
    """Whether the kernels take such images: half precision, a GPU from Ampere on, Triton."""
    if triton is None or not x.is_cuda or x.dtype not in (torch.float16, torch.bfloat16):
        return False
    if torch.compiler.is_compiling() or x.shape[1] % GROUP or x.shape[2] * x.shape[3] % 16:
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)


class GroupNorm(nn.GroupNorm):
    r"""Normalize groups of about eight channels, in the dtype that comes in.

    .. math:: y = f\big((1 + s) \odot (w \odot \hat x + b) + m\big)

    f is SiLU or nothing; s and m, the two halves of ``moves`` (B, 2 C), are zero if not given.

    Autocast would run it in float32: twice the memory traffic and two conversions around each one,
    most of the time of a network as small as this. The kernels sum in float32 whatever comes in.
    """

    def __init__(self, channels: int) -> None:
        groups = max(g for g in range(1, channels // 8 + 1) if channels % g == 0)
        super().__init__(groups, channels)

    def forward(self, x: Tensor, moves: Tensor | None = None, silu: bool = False) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        if last and self.num_channels == GROUP * self.num_groups and usable(x):
            return Fused.apply(x, self.weight, self.bias, moves, silu, self.eps)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            y = F.group_norm(x, self.num_groups, weight, bias, self.eps)
        if moves is not None:
            scale, shift = moves[:, :, None, None].chunk(2, dim=1)
            y = y * (1 + scale) + shift
        return F.silu(y) if silu else y


@jit
def over_groups(v, COLS: tl.constexpr):
    """Sum a row of COLS channels over each group; every channel gets its group's sum."""
    total = tl.sum(tl.reshape(v, (COLS // 8, 8)), 1)
    return tl.reshape(tl.broadcast_to(total[:, None], (COLS // 8, 8)), (COLS,))


@jit
def forward_kernel(
    x_ptr, y_ptr, weight, bias, moves, mean_ptr, rstd_ptr, eps,
    pixels: tl.constexpr, C: tl.constexpr, MOVED: tl.constexpr,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """COLS channels of one sample: their moments, then y."""
    n, c = tl.program_id(0), tl.program_id(1) * COLS + tl.arange(0, COLS)
    tile = n.to(tl.int64) * pixels * C + tl.arange(0, ROWS)[:, None] * C + c[None, :]
    first = tl.zeros((ROWS, COLS), tl.float32)
    second = tl.zeros((ROWS, COLS), tl.float32)
    for p in range(0, pixels, ROWS):
        x = tl.load(x_ptr + tile + p * C).to(tl.float32)
        first += x
        second += x * x
    mean = over_groups(tl.sum(first, 0), COLS) / (8 * pixels)
    square = over_groups(tl.sum(second, 0), COLS) / (8 * pixels)
    rstd = 1 / tl.sqrt(tl.maximum(square - mean * mean, 0) + eps)
    a = rstd * tl.load(weight + c)
    d = tl.load(bias + c) - mean * a
    if MOVED:
        k = 1 + tl.load(moves + n * 2 * C + c).to(tl.float32)
        a *= k
        d = d * k + tl.load(moves + n * 2 * C + C + c).to(tl.float32)
    for p in range(0, pixels, ROWS):
        z = tl.load(x_ptr + tile + p * C).to(tl.float32) * a[None, :] + d[None, :]
        y = z * tl.sigmoid(z) if SILU else z
        tl.store(y_ptr + tile + p * C, y.to(y_ptr.dtype.element_ty))
    tl.store(mean_ptr + n * C + c, mean)
    tl.store(rstd_ptr + n * C + c, rstd)


@jit
def slopes(x_ptr, dy_ptr, where, mean, rstd, a, d, SILU: tl.constexpr):
    """Normalized x and the derivative by z = a xhat + d, at the pixels ``where``."""
    xhat = (tl.load(x_ptr + where).to(tl.float32) - mean[None, :]) * rstd[None, :]
    dz = tl.load(dy_ptr + where).to(tl.float32)
    if SILU:
        z = xhat * a[None, :] + d[None, :]
        on = tl.sigmoid(z)
        dz *= on * (1 + z * (1 - on))
    return xhat, dz


@jit
def backward_kernel(
    x_ptr, dy_ptr, dx_ptr, weight, bias, moves, mean_ptr, rstd_ptr, sums, dmoves,
    pixels: tl.constexpr, C: tl.constexpr, MOVED: tl.constexpr,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """COLS channels of one sample: the sums over pixels that all gradients are made of, then dx."""
    n, c = tl.program_id(0), tl.program_id(1) * COLS + tl.arange(0, COLS)
    tile = n.to(tl.int64) * pixels * C + tl.arange(0, ROWS)[:, None] * C + c[None, :]
    mean, rstd = tl.load(mean_ptr + n * C + c), tl.load(rstd_ptr + n * C + c)
    w, b = tl.load(weight + c), tl.load(bias + c)
    a, d = w, b
    if MOVED:
        k = 1 + tl.load(moves + n * 2 * C + c).to(tl.float32)
        a = w * k
        d = b * k + tl.load(moves + n * 2 * C + C + c).to(tl.float32)
    s0 = tl.zeros((ROWS, COLS), tl.float32)
    s1 = tl.zeros((ROWS, COLS), tl.float32)
    for p in range(0, pixels, ROWS):
        xhat, dz = slopes(x_ptr, dy_ptr, tile + p * C, mean, rstd, a, d, SILU)
        s0 += dz
        s1 += dz * xhat
    S0, S1 = tl.sum(s0, 0), tl.sum(s1, 0)
    m0 = over_groups(a * S0, COLS) / (8 * pixels)
    m1 = over_groups(a * S1, COLS) / (8 * pixels)
    for p in range(0, pixels, ROWS):
        xhat, dz = slopes(x_ptr, dy_ptr, tile + p * C, mean, rstd, a, d, SILU)
        dx = rstd[None, :] * (a[None, :] * dz - m0[None, :] - xhat * m1[None, :])
        tl.store(dx_ptr + tile + p * C, dx.to(dx_ptr.dtype.element_ty))
    if MOVED:
        at = dmoves + n * 2 * C + c
        tl.store(at, (w * S1 + b * S0).to(dmoves.dtype.element_ty))
        tl.store(at + C, S0.to(dmoves.dtype.element_ty))
        S0 *= k
        S1 *= k
    tl.store(sums + n * 2 * C + c, S1)
    tl.store(sums + n * 2 * C + C + c, S0)


class Fused(torch.autograd.Function):
    """:class:`GroupNorm` by the two kernels, for images with their channels last."""

    @staticmethod
    def forward(ctx, x, weight, bias, moves, silu, eps):
        """y, and the moments for the way back."""
        B, C, H, W = x.shape
        cols = min(C & -C, 64)  # a power of two that divides C, as many rows that divide H W
        rows = min((H * W) & -(H * W), TILE // cols)
        moves = None if moves is None else moves.contiguous()
        ctx.options = dict(pixels=H * W, C=C, MOVED=moves is not None, SILU=silu)
        ctx.options |= dict(ROWS=rows, COLS=cols, num_warps=8)
        y = torch.empty_like(x)
        moments = torch.empty(2, B, C, device=x.device)
        given = (weight, bias, moves, moments[0], moments[1])
        forward_kernel[B, C // cols](x, y, *given, eps, **ctx.options)
        ctx.save_for_backward(x, weight, bias, moves, moments)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        """Gradients of x, weight, bias and moves."""
        x, weight, bias, moves, moments = ctx.saved_tensors
        B, C = x.shape[:2]
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx, sums = torch.empty_like(x), torch.empty(B, 2, C, device=x.device)
        dmoves = None if moves is None else torch.empty_like(moves)
        given = (weight, bias, moves, moments[0], moments[1], sums, dmoves)
        programs = (B, C // ctx.options["COLS"])
        backward_kernel[programs](x, dy, dx, *given, **ctx.options)
        dweight, dbias = sums.sum(0)
        return dx, dweight, dbias, dmoves, None, None
