"""Questions that a page can ask and score by itself, without a kernel and without a script."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

from torch import Tensor

from kexue._check import gray_images, integer, tensor

__all__ = ["Guess", "guess"]

_STYLE = """\
.kx-guess{margin:1rem 0;counter-reset:hit miss}
.kx-guess-grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(52px,1fr));gap:6px;
 max-width:calc(var(--kx-columns)*58px)}
.kx-guess label{position:relative;display:block;cursor:pointer;text-align:center;font-size:.7rem}
.kx-guess-grid img{width:100%;max-width:60px;image-rendering:pixelated;padding:4px;margin:0;
 border:2px solid #8884;border-radius:6px;background:none}
.kx-guess-grid input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;
 cursor:pointer}
.kx-guess-grid input:checked~img{border-color:#3a7fc1;background:#3a7fc133}
.kx-guess-grid input:focus-visible~img{outline:3px solid #3a7fc1;outline-offset:2px}
.kx-guess-grid span{visibility:hidden}
.kx-guess:has(.kx-reveal:checked) .kx-guess-grid span{visibility:visible}
.kx-guess:has(.kx-reveal:checked) .kx-yes~img{border-style:dashed;border-color:#d6592b}
.kx-yes:checked{counter-increment:hit}
.kx-no:checked{counter-increment:miss}
.kx-score::after{content:counter(hit) " of " attr(data-total) " found, " counter(miss)
 " accused in error"}
.kx-guess .kx-show{display:inline-flex;gap:.4em;align-items:center;font-size:.9rem;min-height:44px}
html[data-theme=dark] .kx-guess-grid img{filter:invert(1)}
html[data-theme=dark] .kx-guess-grid input:checked~img{border-color:#c5803e;background:#c5803e33}
@media print{.kx-guess .kx-show,.kx-guess .kx-score{display:none}}
"""


@dataclass(frozen=True)
class Guess:
    """A sheet of pictures to accuse, which keeps the score; made by :func:`guess`.

    Shown as HTML it works wherever HTML is shown: the tiles are check boxes, and the score is a
    pair of CSS counters. Nothing has to be running.
    """

    pictures: tuple[bytes, ...]
    answers: tuple[bool, ...]
    columns: int
    truth: str
    lie: str

    def _repr_html_(self) -> str:
        tiles = "".join(
            map(self._tile, range(1, len(self.pictures) + 1), self.pictures, self.answers)
        )
        return (
            f'<figure class="kx-guess" style="--kx-columns:{self.columns}"><style>{_STYLE}</style>'
            f'<div class="kx-guess-grid" role="group" aria-label="mark the {escape(self.lie)}">'
            f'{tiles}</div><p class="kx-score" role="status" data-total="{sum(self.answers)}"></p>'
            '<label class="kx-show"><input type="checkbox" class="kx-reveal"> show the answers'
            "</label></figure>"
        )

    def _tile(self, number: int, picture: bytes, answer: bool) -> str:
        data = base64.b64encode(picture).decode()
        return (
            f'<label><input type="checkbox" class="{"kx-yes" if answer else "kx-no"}" '
            f'aria-label="picture {number} is {escape(self.lie)}">'
            f'<img alt="picture {number}" src="data:image/png;base64,{data}">'
            f"<span>{escape(self.lie if answer else self.truth)}</span></label>"
        )

    def __repr__(self) -> str:
        return f"{len(self.pictures)} pictures, {sum(self.answers)} of them {self.lie}: which?"


def guess(
    images: Tensor,
    answers: Tensor,
    *,
    columns: int = 10,
    truth: str = "real",
    lie: str = "invented",
) -> Guess:
    """A sheet of pictures; the reader marks those believed to be ``lie`` and sees the score.

    Parameters
    ----------
    images : tensor, shape (N, H, W) or (N, 1, H, W)
        Ink per pixel in [-1, 1]: -1 is paper, 1 full ink.
    answers : tensor of bool, shape (N,)
        True where the picture is ``lie``. Needs at least one of each kind.
    columns : int
        Tiles in a row where the screen is wide enough.

    Raises
    ------
    TypeError, ValueError
        For other shapes or dtypes, values outside [-1, 1], or a question without a choice.
    """
    from PIL import Image  # comes with matplotlib

    columns = integer("columns", columns, 1)
    images = gray_images("images", images)
    answers = tensor("answers", answers, floating=False)
    if tuple(answers.shape) != (len(images),) or str(answers.dtype) != "torch.bool":
        raise ValueError(
            f"answers: got {answers.dtype} of shape {tuple(answers.shape)}, needs bool of shape "
            f"({len(images)},)"
        )
    if answers.all() or not answers.any():
        raise ValueError(f"answers: all are {answers[0].item()}, needs at least one of each kind")
    pictures = []
    for opacity in (images * 127.5 + 127.5).round().byte().numpy():
        sheet = Image.merge("LA", (Image.new("L", opacity.shape[::-1]), Image.fromarray(opacity)))
        sheet.save(out := io.BytesIO(), "png", optimize=True)
        pictures.append(out.getvalue())
    return Guess(tuple(pictures), tuple(answers.tolist()), columns, truth, lie)
