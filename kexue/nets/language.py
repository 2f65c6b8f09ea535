"""A small language model over bytes, whose attention can be replaced from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kexue import _check, _processes
from kexue.nets.train import descend

__all__ = ["LanguageModel", "language_loss", "train_language"]

#: attend(q, k, v, layer) -> o, all of shape (B, H, T, D); it has to be causal by itself.
Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]

BASE = 10_000  # of the wavelengths of RoPE


def _rotate(x: Tensor) -> Tensor:
    r"""RoPE (Su et al. 2021, arXiv:2104.09864): rotate the pairs (x_j, x_{j + D/2}) by t w_j.

    .. math:: \omega_j = 10000^{-2 j / D}, \qquad j = 0, \dots, D / 2 - 1

    x: (B, H, T, D), position t = 0..T-1. The product of a rotated query and a rotated key depends
    on their positions through the difference alone.
    """
    T, D = x.shape[-2:]
    omega = BASE ** (-torch.arange(0, D, 2, device=x.device) / D)
    angle = torch.arange(T, device=x.device)[:, None] * omega
    cos, sin = angle.cos(), angle.sin()
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _causal(q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class _Block(nn.Module):
    """h + W_o attend(q, k, v), then h + W_2 gelu(W_1 h), each after a LayerNorm of its own."""

    def __init__(self, width: int, heads: int, layer: int, rope: bool) -> None:
        super().__init__()
        self.heads, self.layer, self.rope = heads, layer, rope
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor, attend: Attend) -> Tensor:
        B, T, width = h.shape
        qkv = self.qkv(self.norm_attention(h)).view(B, T, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if self.rope:
            q, k = _rotate(q).to(v.dtype), _rotate(k).to(v.dtype)
        o = attend(q, k, v, self.layer)
        h = h + self.out(o.transpose(1, 2).reshape(B, T, width))
        return h + self.down(F.gelu(self.up(self.norm_mlp(h))))


class LanguageModel(nn.Module):
    """Decoder-only transformer: bytes (B, T) to logits of the next byte (B, T, vocab).

    Args:
        width: size w of the residual stream.
        heads: number of attention heads, each of size D = width / heads.
        depth: number L of blocks: pre-LN attention, pre-LN MLP (4 x width, GELU).
        context: bytes of a training sequence; longer ones are answered all the same.
        vocab: number V of tokens.
        position: "rope" rotates queries and keys, "none" leaves the order to the causal mask.

    It has ``2 V w + L (12 w^2 + 9 w) + 2 w`` parameters: embedding and (untied) head, the blocks
    (no bias in the attention), the last LayerNorm. Weights start with standard deviation
    1 / sqrt(inputs), so that queries and keys have unit variance, and those that write to the
    residual stream are smaller by sqrt(2 L).

    >>> model = LanguageModel()
    >>> sum(p.numel() for p in model.parameters())
    132352
    >>> model(torch.zeros(1, 5, dtype=torch.long)).shape
    torch.Size([1, 5, 256])
    """

    def __init__(
        self,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        context: int = 32,
        vocab: int = 256,
        position: str = "rope",
    ) -> None:
        super().__init__()
        self.config = dict(
            width=_check.integer("width", width, low=1),
            heads=_check.integer("heads", heads, low=1),
            depth=_check.integer("depth", depth, low=1),
            context=_check.integer("context", context, low=1),
            vocab=_check.integer("vocab", vocab, low=2),
            position=_check.one_of("position", position, ("rope", "none")),
        )
        if width % heads or (position == "rope" and width // heads % 2):
            need = "an even multiple of it" if position == "rope" else "a multiple of it"
            raise ValueError(f"heads: got {heads} with width {width}, needs width to be {need}")
        self.context = context
        self.embed = nn.Embedding(vocab, width)
        rope = position == "rope"
        self.blocks = nn.ModuleList(_Block(width, heads, i, rope) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        for name, weight in self.named_parameters():
            if name.endswith(
                ("qkv.weight", "out.weight", "up.weight", "down.weight", "head.weight")
            ):
                small = (2 * depth) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1
                nn.init.normal_(weight, std=small * weight.shape[1] ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, tokens: Tensor, attend: Attend | None = None) -> Tensor:
        """``tokens``: integers below ``vocab``, shape (B, T).

        ``attend(q, k, v, layer)`` takes the place of the causal softmax attention of every block;
        all have shape (B, H, T, D), RoPE is already in q and k, and the mask is its business.
        """
        if not isinstance(tokens, Tensor) or tokens.is_floating_point():
            got = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
            raise TypeError(f"tokens: got {got}, needs a tensor of integers")
        if tokens.ndim != 2 or tokens.numel() == 0:
            raise ValueError(f"tokens: got shape {tuple(tokens.shape)}, needs (B, T), not empty")
        h = self.embed(tokens.long())
        for block in self.blocks:
            h = block(h, attend or _causal)
        return self.head(self.norm(h))


def language_loss(model: nn.Module, tokens: Tensor, attend: Attend | None = None) -> Tensor:
    r"""Nats for every predicted byte of windows (B, T + 1), shape (B, T); the loss is its mean.

    .. math:: \ell_{b t} = -\ln p_\theta(x_{b, t + 1} \mid x_{b, 1}, \dots, x_{b, t})
    """
    if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.shape[1] < 2:
        got = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"tokens: got {got}, needs a tensor of shape (B, T + 1) with T >= 1")
    logits = model(tokens[:, :-1], attend).float()
    return F.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten().long(), reduction="none"
    ).view(len(tokens), -1)


def train_language(
    model: LanguageModel,
    text: Tensor,
    *,
    steps: int,
    batch: int = 64,
    lr: float = 3e-3,
    weight_decay: float = 0.1,
    attend: Attend | None = None,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    compile: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Train ``model`` to predict the next byte of ``text``; yields (step, loss) after each step.

    A batch is ``batch`` windows of ``model.context + 1`` bytes that begin anywhere in the text.
    AdamW (betas 0.9 and 0.95), the step size as in :func:`~kexue.nets.train`; as there, the text is
    one tensor on the device, nothing is read back, and processes of ``torchrun`` share a batch.

    Args:
        model: on the device of the text.
        text: integers below the model's ``vocab``, shape (N,), N > context.
        steps, batch, lr, weight_decay: of AdamW.
        attend: see :class:`LanguageModel`.
        seed: of a generator of its own; the same seed on the same CPU gives the same weights.
        precision: float32, or bfloat16 or float16 for autocast (float16 with loss scaling).
        compile: fuse the network with ``torch.compile`` first (a minute, gained back on long runs).
    """
    if not isinstance(model, LanguageModel):
        raise TypeError(f"model: got {type(model).__name__}, needs a LanguageModel")
    text = _check.tensor("text", text, floating=False)
    if text.is_floating_point() or text.ndim != 1 or len(text) <= model.context:
        got = f"{text.dtype} of shape {tuple(text.shape)}"
        raise ValueError(f"text: got {got}, needs integers of shape (N,), N > {model.context}")
    steps, batch = _check.integer("steps", steps, low=1), _check.integer("batch", batch, low=1)
    lr, weight_decay = _check.real("lr", lr, low=0), _check.real("weight_decay", weight_decay, 0)
    seed = _check.integer("seed", seed, low=0)
    _check.one_of("precision", precision, (torch.float32, torch.bfloat16, torch.float16))
    return _train(model, text, steps, batch, lr, weight_decay, attend, seed, precision, compile)


def _train(model, text, steps, batch, lr, weight_decay, attend, seed, precision, compile):
    device, mine = text.device, _processes.part(batch)
    _processes.join(device)
    generator = torch.Generator(device).manual_seed(seed)
    within = torch.arange(model.context + 1, device=device)
    network = _processes.share(torch.compile(model) if compile else model)
    starts = len(text) - model.context  # so many windows there are

    def loss_of(step: int) -> Tensor:
        at = torch.randint(starts, (batch, 1), generator=generator, device=device)
        return language_loss(network, text[at[mine] + within], attend).mean()

    try:
        yield from descend(model, loss_of, device, steps, lr, (0.9, 0.95), weight_decay, precision)
    finally:
        model.eval()
