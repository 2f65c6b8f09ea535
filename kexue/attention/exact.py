r"""Error and bias of attention under noise without drawing any: one integral for a row.

With w_i = e^{s_i + eps_i} and u_i = v_i - o, the output moves by sum w_i u_i / sum w_i. Written
with 1 / Z^2 = int t e^{-tZ} dt, its square is averaged key by key. At y_i = ln t + s_i let, with
w = e^{y_i + eps} and phi = E e^{-w}, A_i = E[w e^{-w}] / phi and B_i = E[w^2 e^{-w}] / phi - A_i^2:

E |o~ - o|^2 = int prod_i phi(y_i) ( |sum_i A_i u_i|^2 + sum_i B_i |u_i|^2 ) d ln t
E o~ - o     = int prod_i phi(y_i) sum_i A_i u_i d ln t

That holds for independent noise of any law, of any strength. Keys matter through smooth functions
of their logit alone, so they are first gathered on a grid of logits, ``_gather``: after that a law
costs nearly nothing, whatever n is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from kexue.attention._transform import F64, Transform, averaged, nodes
from kexue.attention.measures import rows_and_values
from kexue.attention.noise import Noise

__all__ = ["Moments", "sweep"]

STEP = 0.25  # of the grid of logits
EVERY = 2  # ln t is summed in steps twice as long: its integrands are as smooth as that
STENCIL = 8  # grid points to which a key is given: Lagrange's polynomials of degree 7
DEEPEST = 85.0  # nats below the heaviest key; farther down, float32 has no weights
# A CPU works in its cache; other devices take much at once, for their time goes into launches.
SIZE = {"cpu": 2**20}  # numbers in a block; 2**28 on other devices
ROWS = {"cpu": 256}  # rows that share the work on the laws; 2**13 on other devices
LAWS = {"cpu": 1}  # whose functions are found at once; all of them on other devices


class Moments(NamedTuple):
    """What ``sweep`` returns, for K laws."""

    mse: Tensor  # E |o~ - o|^2, shape (K, ..., T)
    bias: Tensor  # E o~ - o, shape (K, ..., T, D)


def sweep(logits: Tensor, v: Tensor, laws: Sequence[Noise]) -> Moments:
    r"""E |o~ - o|^2 and E o~ - o exactly, for every row and every law: no draws, no expansion.

    Args:
        logits: (..., T, n), -inf where a key is hidden; or one row, (n,).
        v: (..., n, D), finite; or (n, D).
        laws: K laws of noise, each with a number for its parameter: Normal, Laplace, Uniform, Drop,
            Common. (With ``Drop`` a row that loses all its keys counts as unharmed, see there.)

    The relative error is that of the grid, 1e-6, for Drop and Laplace up to 2e-4 in rows of few
    keys; in float32 also some 1e-7 |v|^2. Half types are computed in float32.

    Raises:
        TypeError, ValueError: shapes that do not fit; a law of another kind; a key so far below the
            heaviest, in any row, that the grid does not reach it.

    >>> from kexue.attention import Normal, predicted_error
    >>> s, v, laws = torch.zeros(1000), torch.eye(1000), [Normal(0.1), Normal(1.0), Normal(2.0)]
    >>> first_order = torch.stack([predicted_error(s, v, law) for law in laws])
    >>> sweep(s, v, laws).mse / first_order
    tensor([1.0000, 0.9893, 0.5236])
    """
    s, v, single = rows_and_values(logits, v)
    if isinstance(laws, Noise) or not all(isinstance(law, Noise) for law in laws) or not laws:
        raise TypeError(f"laws: got {laws!r}, needs a list of laws such as [Normal(0.5)]")
    lead = torch.broadcast_shapes(s.shape[:-2], v.shape[:-2])
    s = s.expand(*lead, *s.shape[-2:]).reshape(-1, *s.shape[-2:])
    v = v.expand(*lead, *v.shape[-2:]).reshape(-1, *v.shape[-2:])
    s = s.log_softmax(-1)
    top = s.max().item()
    depth = top - s[s > -math.inf].min().item()
    if depth > DEEPEST:
        raise ValueError(
            f"logits: got keys {depth:.0f} nats below the heaviest, needs at most {DEEPEST:.0f}; "
            "hide such keys with -inf"
        )
    grid = math.ceil(depth / STEP) + STENCIL
    tables = _tables(laws, grid, top, s)
    # Rows are gathered some at a time; many then share the work on the laws.
    kind, (T, n) = s.device.type, s.shape[-2:]
    size, rows = SIZE.get(kind, 2**28), ROWS.get(kind, 2**13)
    block, heads = max(1, size // (grid * n)), max(1, rows // T)
    parts = []
    for some, values in zip(s.split(heads), v.split(heads), strict=True):
        few = max(1, block // T)
        gathered = [
            _gather(part, value, top, grid)
            for head, value in zip(some.split(few), values.split(few), strict=True)
            for part in head.split(block, 1)
        ]
        parts.append(_moments(torch.cat(gathered), *tables, size))
    shape = (len(laws), *lead, s.shape[-2])
    mse = torch.cat([mse for mse, _ in parts], 1).reshape(shape)
    bias = torch.cat([bias for _, bias in parts], 1).reshape(*shape, v.shape[-1])
    return Moments(mse[..., 0], bias[..., 0, :]) if single else Moments(mse, bias)


def _gather(s: Tensor, v: Tensor, top: float, grid: int) -> Tensor:
    """Rows of log weights (H, R, n) and values (H, n, D), gathered on logits top, top - STEP, ...:
    sums of p times v - o, |v - o|^2 and 1, shape (H R, G, D + 2).

    Each key is shared out among ``STENCIL`` grid points, so that polynomials of its logit are kept.
    """
    p = s.exp()
    v = v - v.mean(-2, keepdim=True)
    o = (p @ v)[..., None, :]
    place = ((top - s) / STEP).clamp(max=grid - STENCIL)  # hidden keys
    ends = torch.stack(place.aminmax()).tolist()  # where these rows begin and how far they go
    near = int(ends[0])
    size = math.ceil(ends[1]) - near + STENCIL
    place -= near
    first = (place.floor() - (STENCIL // 2 - 1)).clamp(min=0)
    index = first.long()[..., None, :] + torch.arange(STENCIL, device=s.device)[:, None]
    spread = s.new_zeros(len(s), s.shape[1] * size, s.shape[-1])
    spread.unflatten(1, (-1, size)).scatter_(2, index, _shares(place - first, p))
    columns = torch.cat([v, v.square().sum(-1, keepdim=True), torch.ones_like(v[..., :1])], -1)
    values, squares, mass = (
        (spread @ columns).unflatten(1, (-1, size)).split([v.shape[-1], 1, 1], -1)
    )
    squares = squares - 2 * values @ o.mT + mass * o.square().sum(-1, keepdim=True)
    sums = torch.cat([values - mass * o, squares, mass], -1)
    return functional.pad(sums, (0, 0, near, grid - near - size)).flatten(0, 1)


def _shares(x: Tensor, p: Tensor) -> Tensor:
    """p (..., n) times the polynomials that are 1 at one of 0, ..., STENCIL - 1 and 0 at the others
    (Lagrange's), at x (..., n); shape (..., STENCIL, n)."""
    factors = [x - k for k in range(STENCIL)]
    below = list(itertools.accumulate(factors[:-1], torch.mul, initial=p))
    above = list(itertools.accumulate(factors[:0:-1], torch.mul, initial=torch.ones_like(p)))[::-1]
    scale = [math.prod(k - j for j in range(STENCIL) if j != k) for k in range(STENCIL)]
    return torch.stack([a * b / c for a, b, c in zip(below, above, scale, strict=True)], -2)


def _tables(laws: Sequence[Noise], grid: int, top: float, like: Tensor) -> tuple[Tensor, Transform]:
    """Times t (K, M), and the laws' functions at ln t + logit of a grid point, (K, M, G).

    Zeros fill up what a law has less than M: at t = 0 nothing is added.
    """
    where = like.device if like.is_cuda else "cpu"  # other devices may have no float64
    # The sums have one p: the second one of p^2 is a function of the logit, too.
    weight = torch.exp(top - STEP * torch.arange(grid, device=where, dtype=F64))
    times, functions = [], []
    at_once = LAWS.get(like.device.type, len(laws))
    for start in range(0, len(laws), at_once):
        rules = [nodes(law) for law in laws[start : start + at_once]]
        ends = [_times(*rule, grid) for rule in rules]
        low, count = torch.tensor(ends, dtype=F64).to(where).T[..., None]
        step = torch.arange(-grid + 1, max(many for _, many in ends), device=where, dtype=F64)
        # All that ln t + logit can be, top aside: rows are read from it. A law's last ln t repeats.
        log_t = low + STEP * torch.minimum(step, count - 1)
        points = (pad_sequence(list(parts), True).to(where) for parts in zip(*rules, strict=True))
        found = averaged(*points, log_t + top)
        log_phi, first, variance = (part.unfold(-1, grid, EVERY).flip(-1) for part in found)
        at = slice(grid - 1, None, EVERY)
        times += torch.exp(log_t[:, at]).where(step[at] < count, 0.0)
        functions += torch.stack([log_phi, first, variance * weight], 2)
    t, parts = (pad_sequence(some, True).to(like) for some in (times, functions))
    return t, Transform(*parts.unbind(2))


def _times(eps: Tensor, weights: Tensor, grid: int) -> tuple[float, int]:
    """The first ln t of a law with these points, and how many steps of ``STEP`` it takes."""
    deep = grid * STEP if eps.isinf().any() else 0.0  # where the last key may be a light one
    eps = eps[eps.isfinite() & (weights > 1e-17)]
    low = -max(eps.max().item(), 0) - 18
    return low, math.ceil((5 - eps.min().item() + deep - low) / STEP)


def _moments(sums: Tensor, t: Tensor, table: Transform, size: int) -> tuple[Tensor, Tensor]:
    """Mean square (K, R) and mean (K, R, D) of o~ - o, from sums on the grid."""
    pull, square, mass = sums[..., :-2], sums[..., -2], sums[..., -1]
    log_phi, first, variance = table
    t = t[:, None]
    chance = torch.exp(t * (mass @ log_phi.mT)) * STEP * EVERY  # prod_i phi d ln t, (K, R, M)
    total, spread = t * (mass @ first.mT), t**2 * (square @ variance.mT)
    first = t.mT * first
    # The times that matter for some row, judged by two sums that are quickly had.
    sizes = torch.stack([chance * total.square(), chance * spread])
    live = (sizes > 1e-9 * sizes.nan_to_num(0).amax(-1, keepdim=True)).any(2).any(0)  # (K, M)
    first = first.masked_fill(~live[..., None], 0)  # where t is beyond float32, too
    chance, spread = (part.masked_fill(~live[:, None], 0) for part in (chance, spread))
    columns = pull.transpose(0, 1).flatten(1)  # (G, R D), so that many times take one product
    some = max(1, size // columns.shape[1])
    moved = [
        (part @ columns).unflatten(1, (len(pull), -1)).square().sum(-1)
        for part in first[live].split(some)
    ]
    spread.mT[live] += torch.cat(moved)
    mse = (chance * spread).sum(-1)
    bias = (chance @ first).transpose(0, 1) @ pull  # (R, K, D)
    return mse.clamp(min=0), bias.transpose(0, 1)  # below 0 is rounding: a row of one key
