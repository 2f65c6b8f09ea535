"""The files of the artifact: what the page shows and what a CPU can check again."""

from __future__ import annotations

import json
from pathlib import Path

import coder
import measure
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from kexue import runtime

EXAMPLES = 4  # of each kind: several peaks, lopsided, ordinary
SHOWN = 12  # characters kept as bytes


def examples(run, kept: int) -> Tensor:
    """Positions (kept,): first four with several peaks, on which a logistic law loses most, the
    four most lopsided and four ordinary ones, from different channels; then a random sample."""
    modes = run.gather([measure.modes(c) for c, _ in run.counts]).cpu()
    skew = run.gather([measure.skewness(c).abs() for c, _ in run.counts]).cpu()
    H = run.entropy.cpu()
    gain = (run.result["logistic"]["bits"] - run.result["fourier"]["bits"]).cpu()
    readable = (run.size.cpu() <= 32).double()
    orders = [
        (gain * readable * (modes > 1)).argsort(descending=True),
        (skew * readable * (H > 1.5)).argsort(descending=True),
        ((H - H[H > 1].median()).abs() + 10 * (modes - 1) + skew).argsort(),
    ]
    chosen: list[int] = []
    for order in orders:
        channels: set[int] = set()
        for p in order.tolist():
            if len(channels) < EXAMPLES and p // 64 not in channels and p not in chosen:
                channels.add(p // 64)
                chosen.append(p)
    rest = torch.randperm(len(H), generator=torch.Generator().manual_seed(0)).tolist()
    chosen += [p for p in rest if p not in chosen]
    return torch.tensor(chosen[:kept])


def padded(run, parts: list[Tensor], width: int, dtype: torch.dtype) -> Tensor:
    """(P, width) on the CPU, zeros on the right, from one (P_group, <= width) tensor a group."""
    out = torch.zeros(len(run.low), width, dtype=dtype)
    for group, part in zip(run.groups, parts, strict=True):
        out[group.index.cpu(), : part.shape[1]] = part.cpu().to(dtype)
    return out


def write(run, metrics: dict, folder: Path) -> None:
    """Write positions.npz, characters.npz and decoder.safetensors."""
    kept = examples(run, run.p["kept"])
    few, widest = kept[: 3 * EXAMPLES], int(run.size.max())
    chosen = run.result["fourier"]["chosen"]
    laws = [measure.fourier(c, *chosen[g.size][:-1]) for g, (c, _) in zip(
        run.groups, run.counts, strict=True)]  # fmt: skip
    a = padded(run, [law.a for law in laws], max(law.terms for law in laws) + 1, torch.complex64)
    size, symbols = run.size.cpu(), run.symbols.cpu()
    floor = run.gather([torch.full((len(g.index),), chosen[g.size][-1]) for g in run.groups])
    models = coder.models(run.frequency[kept], size[kept].numpy())
    runtime.write_npz(
        folder / "positions.npz",
        index=kept.int().numpy(),
        low=run.low.cpu()[kept].short().numpy(),
        size=size[kept].to(torch.uint8).numpy(),
        counts=padded(run, [c for c, _ in run.counts], widest, torch.int16)[kept].numpy(),
        symbols_test=symbols[:, kept].T.to(torch.uint8).numpy(),
        a=a[kept].numpy(),
        floor=floor.cpu()[kept].float().numpy(),
        frequencies=run.frequency[kept, :widest].astype(np.uint16),
        words=coder.encode(symbols[:, kept].numpy(), models),
        **{f"bits_{m}": r["bits"].cpu()[kept].float().numpy() for m, r in run.result.items()},
        **{f"table_{m}": padded(run, r["tables"], widest, torch.float32)[few].numpy()
           for m, r in run.result.items() if m != "fourier"},
    )  # fmt: skip

    r = run.rates // 2
    mine = slice(r * run.per_rate, (r + 1) * run.per_rate)
    models = coder.models(run.frequency[mine], size[mine].numpy())
    messages = [coder.encode(row[None], models) for row in symbols[:, mine].numpy()]
    metrics["coder"]["alone"] = dict(
        rate=r,
        mean_bytes=float(np.mean([4 * len(m) for m in messages])),
        overhead=32 * sum(map(len, messages)) / metrics["rates"][r]["model_bits"] - 1,
    )
    images = ((run.rebuilt[:SHOWN].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    runtime.write_npz(
        folder / "characters.npz",
        rate=np.array(r, np.int32),
        low=run.low.cpu()[mine].short().numpy(),
        size=size[mine].to(torch.uint8).numpy(),
        frequencies=run.frequency[mine, :widest].astype(np.uint16),
        words=np.concatenate(messages[:SHOWN]),
        length=np.array([len(m) for m in messages[:SHOWN]], np.int32),
        rebuilt=images.cpu().numpy(),  # of the first characters of data.load("hanzi", "test")
    )
    weights = {k: w.half().contiguous() for k, w in run.codec.one(r).decoder.state_dict().items()}
    about = json.dumps(run.codec.config | {"rates": 1})
    (folder / "decoder.safetensors").write_bytes(save(weights, {"kexue": about}))
