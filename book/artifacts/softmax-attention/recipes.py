"""The language models: what they read, how large they are, how they are trained and asked."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from kexue import data, nets, runtime
from kexue.nets import LanguageModel, language_loss

#: tiny: the book's shared toy; large: as large as two minutes allow.
FULL = {
    "tiny": dict(
        text="topics", model=dict(width=64, heads=4, depth=2, context=32), seeds=3,
        train=dict(steps=300, batch=64, lr=3e-3), half=False, windows=1408, draws=16, part=704,
    ),
    "large": dict(
        text="stdlib", model=dict(width=384, heads=6, depth=6, context=256), seeds=3,
        train=dict(steps=1600, batch=64, lr=1e-3), half=True, windows=128, draws=8, part=64,
        too_long=4000,
    ),
}  # fmt: skip
SMOKE = {
    "tiny": FULL["tiny"] | dict(
        train=dict(steps=20, batch=8, lr=3e-3), seeds=2, windows=16, draws=2, part=8,
    ),
    "large": dict(
        text="stdlib", model=dict(width=32, heads=2, depth=3, context=16), seeds=1,
        train=dict(steps=10, batch=4, lr=1e-3), half=True, windows=8, draws=2, part=8,
        too_long=20,
    ),
}  # fmt: skip


def spread(windows: Tensor, n: int) -> Tensor:
    """``n`` windows, equally far apart, so that all of the text is looked at."""
    return windows[torch.linspace(0, len(windows) - 1, n).round().long()]


def held_out(
    recipe: dict, device: torch.device, n: int | None = None, split: str = "test"
) -> Tensor:
    """Windows (n, context + 1) of the validation text, or of the one trained on."""
    windows = data.text(recipe["text"], split).windows(recipe["model"]["context"])
    return spread(windows, n or recipe["windows"]).to(device)


def fresh(recipe: dict, seed: int, device: torch.device) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(**recipe["model"]).to(device)


def train(
    recipe: dict, seed: int, device: torch.device, say: Callable, **options
) -> tuple[LanguageModel, dict]:
    """A trained model, rounded to half precision (what is stored is what is measured), its record.

    The loss curve: the mean over each twentieth of the run; that of the validation text: (step,
    loss) after each tenth.
    """
    text = data.text(recipe["text"], "train").tokens.to(device)
    model, settings = fresh(recipe, seed, device), recipe["train"]
    precision = runtime.precision() if recipe["half"] else torch.float32
    asked = (held_out(recipe, device), options.get("attend"), recipe["part"])
    begin, losses, held = time.perf_counter(), [], []
    for step, loss in nets.train_language(
        model, text, **settings, **options, seed=seed, precision=precision
    ):
        losses.append(loss)
        if step % max(1, settings["steps"] // 10) == 0:
            held.append((step, losses_of(model, *asked).mean()))
    curve = torch.stack(losses).cpu()
    seconds = time.perf_counter() - begin
    model.requires_grad_(False)
    for weight in model.parameters():
        weight.copy_(weight.half().float())
    loss = losses_of(model, *asked).mean().item()
    say(f"{recipe['text']} seed {seed}: held out {loss:.4f}, {seconds:.1f} s")
    return model, dict(
        seed=seed, steps=settings["steps"], seconds=seconds, loss_validation=loss,
        loss_curve=[p.mean().item() for p in curve.tensor_split(20)],
        validation_curve=[(step, x.item()) for step, x in held],
    )  # fmt: skip


@torch.no_grad()
def losses_of(model: LanguageModel, windows: Tensor, attend, part: int) -> Tensor:
    """Mean nats a byte of each window, (S,), in parts of ``part`` windows."""
    return torch.cat([language_loss(model, w, attend).mean(1) for w in windows.split(part)])


def about(recipe: dict, precision: torch.dtype) -> dict:
    """What the chapter prints of a recipe: sizes, text, hashes."""
    train, test = (data.text(recipe["text"], split) for split in ("train", "test"))
    model = LanguageModel(**recipe["model"])
    return dict(
        config=model.config, parameters=sum(p.numel() for p in model.parameters()),
        **recipe["train"], precision=str(precision if recipe["half"] else "float32").split(".")[-1],
        text=dict(name=train.name, source=train.source, license=train.license,
                  train_bytes=len(train), test_bytes=len(test), train_sha256=train.sha256,
                  test_sha256=test.sha256),
    )  # fmt: skip
