"""Noise for one step after the other, written into one buffer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["NOISES", "Noise"]

# Each law of noise and the weak order up to which it may stand for a normal law: order 1 needs the
# moments 1 to 3 of N(0, 1), order 2 the moments 1 to 5 (Kloeden and Platen 1992, section 14.2).
NOISES = {"normal": math.inf, "two-point": 1, "three-point": 2}
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Noise:
    """Independent draws of mean 0 and variance 1, in the dtype and on the device of ``like``.

    "normal"; "two-point", +1 or -1; "three-point", sqrt(3), 0 or -sqrt(3) with 1/6, 2/3 and 1/6.
    ``draw`` returns the same buffer every time, filled anew; it is drawn on the device of the
    generator, where there is one, so that a seed means the same on every device.
    """

    def __init__(
        self, law: str, shape: torch.Size, like: Tensor, generator: torch.Generator | None
    ) -> None:
        device = like.device if generator is None else generator.device
        self.law, self.generator, self.device = law, generator, like.device
        self.eps = torch.empty(shape, dtype=like.dtype, device=device)
        if law != "normal":  # a random int64 is two or four words, or one, as wide as a number
            size, count = like.element_size(), self.eps.numel()
            self.bits = torch.empty(-(-count * size // 8), dtype=torch.int64, device=device)
            self.words = self.bits.view(_WORDS[size])[:count].view(shape)
            self.one = torch.ones((), dtype=like.dtype, device=device)
            self.width, self.left = 8 * size, 0  # bits in a word; coin flips left in them

    def draw(self) -> Tensor:
        """The noise of the next step."""
        if self.law == "normal":
            self.eps.normal_(generator=self.generator)
        elif self.law == "two-point":
            # Every bit is a coin flip: first the signs of the words; the next bits take their
            # place when each word is added to itself.
            if self.left == 0:
                self._fill()
                self.left = self.width
            else:
                self.words.add_(self.words)
            self.left -= 1
            torch.copysign(self.one, self.words.view(self.eps.dtype), out=self.eps)
        else:
            # Uniform on [-3/4, 3/4) and rounded: +-1 with probability 1/6 each, else 0.
            self._fill()
            self.eps.copy_(self.words).mul_(0.75 * 0.5 ** (self.width - 1))
            self.eps.round_().mul_(math.sqrt(3))
        return self.eps.to(self.device)

    def _fill(self) -> None:
        self.bits.random_(-(2**63), None, generator=self.generator)
