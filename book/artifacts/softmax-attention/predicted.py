r"""The loss increase from gradients: second order in the noise, row by row.

Independent noise of variance V_i on the logits of one row moves its output o = sum_i p_i v_i by

    E[o~ - o] = sum_i V_i p_i (1/2 - p_i) (v_i - o)          (V_i = V: -V sum_i p_i^2 (v_i - o))
    Cov[o~]   = sum_i V_i p_i^2 (v_i - o)(v_i - o)^T

and the loss l by g.E[o~ - o] + tr(H Cov) / 2, with g = dl/do and H its Hessian. H is taken for the
Gauss-Newton matrix E_y[g_y g_y^T], y drawn from the model instead of read from the text. With
u_i = g.(v_i - o), per byte of text,

    fisher  = 1/2 sum_rows sum_i V_i p_i^2 E_y[u_i^2]
    bias    = sum_rows sum_i V_i p_i (1/2 - p_i) u_i
    n_eff   = 1/2 sum_rows V / n_eff sum_i p_i E_y[u_i^2]    (no bias: sum_i p_i u_i = 0)
    weights = 1/2 sum_rows V R sum_i p_i E_y[u_i^2],   R = (S2 - 2 S3 + S2^2) / (1 - S2)

``n_eff`` takes p_i^2 for p_i / n_eff, all that n_eff knows of the weights. It forgets that o is
close to the value of the heaviest key, whose u_i is therefore small. ``weights`` does not: for
values drawn independently of the weights, E u_i^2 is proportional to 1 - 2 p_i + S2, from which R
follows with S_m = sum_i p_i^m. Given S2 = 1 / n_eff, S3 lies between S2^2 (equal weights on n_eff
keys: R = 1 / n_eff, the row above) and S2^(3/2) (one heavy key, the rest spread thin):

    heavy   = as weights with R = (1 / n_eff) (sqrt(n_eff) - 1) / (sqrt(n_eff) + 1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kexue import attention as A


@dataclass
class Layer:
    """What one attention layer did on B windows, and what the loss makes of it."""

    q: Tensor  # (B, H, T, D)
    k: Tensor
    s: Tensor  # logits (B, H, T, T), -inf where masked
    p: Tensor  # weights
    u: Tensor  # g.(v_i - o), labels of the text
    u2: Tensor  # mean of u^2, labels of the model
    raw2: Tensor  # the same of g.v_i
    key2: Tensor  # mean squared gradient in each entry of k (B, H, T, D), labels of the model

    def fisher(self, variance: Tensor | float = 1.0) -> Tensor:
        """Sum over rows and windows for each head, (H,)."""
        return (variance * self.p**2 * self.u2).sum((0, 2, 3)) / 2

    def bias(self, variance: Tensor | float = 1.0) -> Tensor:
        return (variance * self.p * (0.5 - self.p) * self.u).sum((0, 2, 3))

    def _rows(self, factor: Tensor) -> Tensor:
        return (factor * (self.p * self.u2).sum(-1)).sum((0, 2)) / 2

    def n_eff(self) -> Tensor:
        return self._rows(self.p.square().sum(-1))

    def heavy(self) -> Tensor:
        S2 = self.p.square().sum(-1)
        return self._rows(S2 * (1 - S2.sqrt()) / (1 + S2.sqrt()))

    def weights(self) -> Tensor:
        S2, S3 = self.p.square().sum(-1), self.p.pow(3).sum(-1)
        # 0 / 0 where one key has all the weight: u = 0 there
        return self._rows((S2 - 2 * S3 + S2**2) / (1 - S2).clamp(min=1e-6))

    def uncentered(self) -> Tensor:
        """As ``fisher``, with |v_i| for |v_i - o|: dropout of weights."""
        return (self.p**2 * self.raw2).sum((0, 2, 3)) / 2


def layers(model, windows: Tensor, generator: torch.Generator, labels: int) -> Iterator[Layer]:
    """Every layer in turn; ``labels`` draws of all labels from the model."""
    seen = []

    def attend(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        k = k.requires_grad_()
        s = A.logits(q, k, causal=True)
        p = s.softmax(-1)
        o = p @ v
        seen.append((q, k, s, p, v, o))
        return o if o.requires_grad else o.requires_grad_()

    with torch.enable_grad():
        log_p = model(windows[:, :-1], attend).log_softmax(-1)
    keys, outputs = [t[1] for t in seen], [t[5] for t in seen]

    def gradients(y: Tensor) -> tuple[Tensor, ...]:
        nats = -log_p.gather(-1, y[..., None]).sum()
        return torch.autograd.grad(nats, [*outputs, *keys], retain_graph=True)

    def drawn() -> tuple[Tensor, ...]:
        flat = log_p.detach().exp().flatten(0, 1)
        y = torch.multinomial(flat, 1, generator=generator)
        return gradients(y.view(log_p.shape[:2]))

    true, fakes = gradients(windows[:, 1:]), [drawn() for _ in range(labels)]
    for i, tensors in enumerate(seen):
        q, k, s, p, v, o = (t.detach() for t in tensors)

        def split(g: Tensor, v: Tensor = v, o: Tensor = o) -> tuple[Tensor, Tensor]:
            """g.v_i and g.(v_i - o) for every row and key."""
            raw = g @ v.mT
            return raw, raw - (g * o).sum(-1, keepdim=True)

        u2 = raw2 = key2 = 0
        for g in fakes:
            raw, u = split(g[i])
            u2, raw2 = u2 + u.square() / labels, raw2 + raw.square() / labels
            key2 = key2 + g[len(seen) + i].square() / labels
        yield Layer(q, k, s, p, split(true[i])[1], u2, raw2, key2)


def measure(model, windows: Tensor, generator: torch.Generator, labels: int, part: int) -> dict:
    """Per unit of V_eta and per byte: each prediction by layer and head; and 1 / n_eff, entropy."""
    depth, heads = model.config["depth"], model.config["heads"]
    kinds = ("fisher", "bias", "weights", "n_eff", "heavy", "uncentered")
    names = (*kinds, "inverse_n_eff", "entropy")
    total = {name: torch.zeros(depth, heads, dtype=torch.float64) for name in names}
    for batch in windows.split(part):
        for i, layer in enumerate(layers(model, batch, generator, labels)):
            entropy = torch.special.entr(layer.p).sum((0, 2, 3))
            inverse = layer.p.square().sum((0, 2, 3))
            found = [getattr(layer, kind)() for kind in kinds]
            for name, value in zip(names, (*found, inverse, entropy), strict=True):
                total[name][i] += value.double().cpu()
    table = {name: value / windows[:, 1:].numel() for name, value in total.items()}
    table["full"] = table["fisher"] + table["bias"]
    return {name: value.tolist() for name, value in table.items()}
