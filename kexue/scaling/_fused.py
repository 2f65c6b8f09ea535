"""A stack's training step on a GPU: Triton kernels that leave nothing of size (B, units) in memory.

``errors_kernel`` makes a tile of hidden units, uses it for the logits, drops it. ``sums_kernel``
makes the tile again, keeps which units are on, and adds inputs times errors. Making it twice costs
less than writing and reading it. ``update_kernel`` is Adam.

The samples of a batch are in the order of their tasks. Cut into blocks that share a *chunk* of C
tasks, they need only C columns for a one-hot task beside their bits and a 1 for the biases: one
matrix product of N = n_bits + 1 + C columns, a power of two, does for all inputs.

0 and 1 are exact in float16; weights and errors are rounded to its 11 bits as they enter a product,
as in TF32. Sums are in float32, those over the batch in no fixed order: two runs of one seed agree
to rounding only, until training has blown the difference up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kexue.scaling._wide import Wide

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # a CPU build of torch
    triton = None

    def jit(function):
        """Nothing to compile with."""
        return function


ROWS, COLS = 128, 32  # samples and units of a tile
PARTS = 4  # programs that share the samples of two tiles of units
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Adam's, as in torch


def usable(device: torch.device, n_bits: int) -> bool:
    """Whether the kernels run there: Triton, a GPU from Ampere on, tiles of at most 128 columns."""
    if triton is None or device.type != "cuda" or n_bits > 111:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


@jit
def inputs_kernel(
    tasks, bits, labels, starts, x_ptr, y_ptr, chunk_ptr, batch, n_bits, C, chunks,
    CHUNKS: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """x = bits, 1, one-hot task within its chunk, for one block; y = label, or 2 for no sample."""
    b, blocks, group = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    c = tl.arange(0, CHUNKS)
    low = tl.load(starts + group * (chunks + 1) + c, mask=c < chunks, other=0)
    high = tl.load(starts + group * (chunks + 1) + c + 1, mask=c < chunks, other=0)
    count = (high - low + ROWS - 1) // ROWS  # blocks of each chunk
    i = b - (tl.cumsum(count, 0) - count)
    mine = (i >= 0) & (i < count)  # true for one chunk, or for none: a block without samples
    chunk = tl.sum(tl.where(mine, c, 0))
    rows = tl.sum(tl.where(mine, low + i * ROWS, 0)) + tl.arange(0, ROWS)
    inside = rows < tl.sum(tl.where(mine, high, 0))
    rows += group * batch
    k = tl.arange(0, N)[None, :]
    task = tl.load(tasks + rows, mask=inside, other=0) - chunk * C
    hot = (k == n_bits) | (k == n_bits + 1 + task[:, None])
    here = inside[:, None] & (k < n_bits)
    bit = tl.load(bits + rows[:, None] * n_bits + k, mask=here, other=0)
    to = (group * blocks + b) * ROWS + tl.arange(0, ROWS)
    tl.store(x_ptr + to[:, None] * N + k, (bit + hot.to(tl.uint8)).to(tl.float16))
    tl.store(y_ptr + to, tl.load(labels + rows, mask=inside, other=2))
    tl.store(chunk_ptr + group * blocks + b, chunk)


@jit
def errors_kernel(
    x_ptr, y_ptr, chunk_ptr, W, head, offset, stops, errors, units, n_bits, C,
    SHARED: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """errors[m, i] = sigmoid(d_im) - y_i for the samples of a block and network m."""
    b, blocks, m = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    block = b if SHARED else m * blocks + b
    rows = block * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, N)
    place = k + tl.where(k > n_bits, tl.load(chunk_ptr + block) * C, 0)
    x = tl.load(x_ptr + rows[:, None] * N + k[None, :])
    d = tl.zeros((ROWS, COLS), tl.float32)
    for tile in range(tl.load(stops + m), tl.load(stops + m + 1)):
        cols = tile * COLS + tl.arange(0, COLS)[None, :]
        z = tl.dot(x, tl.load(W + place[:, None] * units + cols))
        d += tl.maximum(z, 0) * tl.load(head + cols)
    y = tl.load(y_ptr + rows)
    error = tl.where(y < 2, tl.sigmoid(tl.sum(d, 1) + tl.load(offset + m)) - y, 0)
    tl.store(errors + (m * blocks + b) * ROWS + tl.arange(0, ROWS), error)


@jit
def sums_kernel(
    x_ptr, chunk_ptr, W, errors, owner, S, units, n_bits, C, blocks, share,
    SHARED: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """S[b, j] += sum_i x_ib [z_ij > 0] error_im, for two tiles of units and ``share`` blocks.

    The tiles may belong to two networks m and m2, if these share their samples.
    """
    cols = tl.program_id(0) * 2 * COLS + tl.arange(0, 2 * COLS)[None, :]
    m = tl.load(owner + tl.program_id(0) * 2 * COLS)
    m2 = tl.load(owner + tl.program_id(0) * 2 * COLS + COLS)
    left = tl.arange(0, 2 * COLS)[None, :] < COLS
    start = 0 if SHARED else m * blocks
    k = tl.arange(0, N)
    i = tl.arange(0, ROWS)
    first = tl.program_id(1) * share
    chunk = tl.load(chunk_ptr + start + first)
    total = tl.zeros((N, 2 * COLS), tl.float32)
    for b in range(first, tl.minimum(first + share, blocks)):
        now = tl.load(chunk_ptr + start + b)
        if now != chunk:  # the sums over its tasks are complete
            hot = k > n_bits
            place = k + tl.where(hot, chunk * C, 0)
            tl.atomic_add(S + place[:, None] * units + cols, total, mask=hot[:, None])
            total = tl.where(hot[:, None], 0, total)
            chunk = now
        x = tl.load(x_ptr + ((start + b) * ROWS + i)[:, None] * N + k[None, :])
        place = k + tl.where(k > n_bits, now * C, 0)
        z = tl.dot(x, tl.load(W + place[:, None] * units + cols))
        error = tl.load(errors + (m * blocks + b) * ROWS + i)[:, None]
        error2 = tl.load(errors + (m2 * blocks + b) * ROWS + i)[:, None]
        on = tl.where(z > 0, tl.where(left, error, error2), 0).to(x.dtype)
        total = tl.dot(tl.trans(x), on, total)
    place = k + tl.where(k > n_bits, chunk * C, 0)
    tl.atomic_add(S + place[:, None] * units + cols, total)


@jit
def update_kernel(
    first, W, S, mean, square, head, head_grad, count, rows, units, lr, batch,
    BETA1: tl.constexpr, BETA2: tl.constexpr, EPS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Adam for ``first``, whose gradient is S v / batch; dl/dv by Euler; W = first; S = 0."""
    cols = tl.program_id(0) * COLS + tl.arange(0, COLS)[None, :]
    v = tl.load(head + cols) / batch
    t = tl.load(count)
    rate = lr / (1 - tl.exp2(t * tl.log2(BETA1 + 0.0)))
    scale = 1 / tl.sqrt(1 - tl.exp2(t * tl.log2(BETA2 + 0.0)))
    euler = tl.zeros((ROWS, COLS), tl.float32)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)[:, None]
        inside = row < rows
        at = row * units + cols
        p = tl.load(first + at, mask=inside, other=0)
        s = tl.load(S + at, mask=inside, other=0)
        euler += p * s
        g = s * v
        a = BETA1 * tl.load(mean + at, mask=inside, other=0) + (1 - BETA1) * g
        b = BETA2 * tl.load(square + at, mask=inside, other=0) + (1 - BETA2) * g * g
        p -= rate * a / (tl.sqrt(b) * scale + EPS)
        tl.store(mean + at, a, mask=inside)
        tl.store(square + at, b, mask=inside)
        tl.store(first + at, p, mask=inside)
        tl.store(W + at, p.to(tl.float16), mask=inside)
        tl.store(S + at, tl.zeros_like(s), mask=inside)
    tl.store(head_grad + cols, (tl.sum(euler, 0) / batch)[None, :])


class Fused(Wide):
    """A :class:`Wide` layer trained by the kernels above.

    ``shared``: whether all networks get the same batches; the padding is smaller then.
    """

    def __init__(self, n_bits, n_tasks, widths, seeds, device, lr, shared=True) -> None:
        pads = (COLS if shared else 2 * COLS, 2 * COLS)
        super().__init__(n_bits, n_tasks, widths, seeds, device, torch.float32, *pads)
        self.lr = lr
        self.N = triton.next_power_of_2(n_bits + 17)
        self.C = self.N - n_bits - 1
        self.chunks = triton.cdiv(n_tasks, self.C)
        units = self.first.shape[1]
        # Rows for whole chunks: those of no task stay zero.
        self.W = torch.zeros(n_bits + 1 + self.chunks * self.C, units, device=device).half()
        self.W[: len(self.first)] = self.first
        self.S = torch.zeros(self.W.shape, device=device)
        self.mean, self.square = torch.zeros_like(self.first), torch.zeros_like(self.first)
        self.count = torch.zeros((), device=device)
        stops = [0, *(mine.stop // COLS for mine in self.columns)]  # in tiles
        self.stops = torch.tensor(stops, dtype=torch.int32, device=device)
        self.owner = self.member.argmax(0).int()
        self.edges = torch.arange(0, (self.chunks + 1) * self.C, self.C, device=device)
        self.head.grad = torch.zeros_like(self.head)

    def gradients(self, tasks: Tensor, bits: Tensor, labels: Tensor) -> None:
        """Set ``grad`` of v and c; ``first`` makes its step at once."""
        batch, (rows, units) = tasks.shape[-1], self.first.shape
        self.offset.grad = self.sums(tasks, bits, labels).div_(batch)
        self.count += 1
        update_kernel[units // COLS,](
            self.first, self.W, self.S, self.mean, self.square, self.head, self.head.grad,
            self.count, rows, units, self.lr, batch, BETA1, BETA2, EPS, 64, COLS, num_warps=8,
        )  # fmt: skip

    def sums(self, tasks: Tensor, bits: Tensor, labels: Tensor) -> Tensor:
        """Add to S; return the sums of the errors, (networks,)."""
        batch, shared, device = tasks.shape[-1], tasks.ndim == 1, tasks.device
        groups, units = tasks.numel() // batch, self.first.shape[1]
        blocks = triton.cdiv(batch, ROWS) + self.chunks  # no chunk leaves more than one unfilled
        edges = self.edges.expand(*tasks.shape[:-1], -1).contiguous()
        starts = torch.searchsorted(tasks, edges, out_int32=True)
        x = torch.empty(groups, blocks, ROWS, self.N, dtype=torch.float16, device=device)
        if x.numel() >= 2**31:  # the kernels count in 32 bits
            raise ValueError(
                f"batch: got {batch} for each of {groups} networks, needs fewer in all than "
                f"{2**31 // self.N}"
            )
        y = torch.empty(groups, blocks, ROWS, dtype=torch.uint8, device=device)
        chunk = torch.empty(groups, blocks, dtype=torch.int32, device=device)
        inputs_kernel[blocks, groups](
            tasks, bits, labels, starts, x, y, chunk, batch, self.n_bits, self.C, self.chunks,
            triton.next_power_of_2(self.chunks), self.N, ROWS,
        )  # fmt: skip
        errors = torch.empty(len(self.columns), blocks * ROWS, device=device)
        errors_kernel[blocks, len(self.columns)](
            x, y, chunk, self.W, self.head, self.offset, self.stops, errors,
            units, self.n_bits, self.C, shared, self.N, ROWS, COLS,
        )  # fmt: skip
        share = triton.cdiv(blocks, PARTS)
        sums_kernel[units // (2 * COLS), triton.cdiv(blocks, share)](
            x, chunk, self.W, errors, self.owner, self.S, units, self.n_bits, self.C, blocks, share,
            shared, self.N, ROWS, COLS, num_stages=2,
        )  # fmt: skip
        return errors.sum(1)
