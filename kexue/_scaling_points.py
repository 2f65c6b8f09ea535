"""Losses and exponents that others published, a part of the room `data`: numbers with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kexue import _bundled, _check

#: Names of the sets that :func:`loss_points` knows, and how the trained models' corpus is stored.
OPENLM = {"openlm-c4": "C4", "openlm-redpajama": "RedPajama", "openlm-refinedweb": "RefinedWeb"}
NAMES = (*OPENLM, "chinchilla")


@dataclass(frozen=True, eq=False, repr=False)
class LossPoints:
    """Losses of M language models with what one needs to use and to cite them.

    Parameters
    ----------
    parameters : float64 tensor of shape (M,), N with embeddings.
    tokens : float64 tensor of shape (M,), D, the tokens that the model was trained on.
    losses : float64 tensor of shape (M,), nats a token.
    name : the name that :func:`loss_points` knows the set by.
    source : who measured it and where it is described.
    license : the terms, and where they are stated.
    without_embeddings : float64 tensor of shape (M,), N without embeddings, where it is known.

    >>> loss_points("chinchilla")
    LossPoints('chinchilla': 245 models)
    """

    parameters: Tensor
    tokens: Tensor
    losses: Tensor
    name: str
    source: str
    license: str
    without_embeddings: Tensor | None = None

    def __len__(self) -> int:
        return len(self.losses)

    def __repr__(self) -> str:
        return f"LossPoints({self.name!r}: {len(self)} models)"


def loss_points(name: str) -> LossPoints:
    """Measured losses of language models of many sizes; bundled, so that it needs no network.

    Parameters
    ----------
    name : one of

        - ``"openlm-c4"``, ``"openlm-redpajama"``, ``"openlm-refinedweb"``: 34, 35 and 35 models
          of 11 million to 6.9 billion parameters, trained on the corpus of that name, on 5 to 640
          tokens a parameter; all losses are on the validation set of C4;
        - ``"chinchilla"``: 245 models of Hoffmann et al. (2022), read off the graphics of their
          Figure 4, the loss off a color; the tokens are training FLOP / (6 N). The five of the
          largest losses were trained very briefly; Besiroglu et al. leave them out.

    Raises
    ------
    ValueError
        For an unknown name.

    >>> points = loss_points("openlm-c4")
    >>> len(points), f"{points.losses.min():.2f} nats"
    (34, '2.38 nats')
    """
    _check.one_of("name", name, NAMES)
    stored = _bundled.load("scaling_points")
    if name == "chinchilla":
        n, flop, losses = torch.from_numpy(stored["chinchilla"]).unbind(1)
        return LossPoints(
            parameters=n,
            tokens=flop / (6 * n),
            losses=losses,
            name=name,
            source=(
                "J. Hoffmann et al. (2022), Training Compute-Optimal Large Language Models, "
                "arXiv:2203.15556, Figure 4, as read off by T. Besiroglu, E. Erdil, M. Barnett and "
                "J. You (2024), Chinchilla Scaling: A replication attempt, arXiv:2404.10102, "
                "https://github.com/epoch-research/analyzing-chinchilla"
            ),
            license="none is stated; these are numbers that were measured, not their presentation",
        )
    rows = torch.from_numpy(stored["openlm"])[stored["corpus"] == list(OPENLM).index(name)]
    n, without, tokens, losses = rows.unbind(1)
    return LossPoints(
        parameters=n,
        tokens=tokens,
        losses=losses,
        name=name,
        source=(
            "S. Y. Gadre et al. (2024), Language models scale reliably with over-training and on "
            f"downstream tasks, arXiv:2403.08540, models trained on {OPENLM[name]}, "
            "https://github.com/mlfoundations/scaling"
        ),
        license="MIT, copyright 2024 mlfoundations",
        without_embeddings=without,
    )


class ExponentPair(NamedTuple):
    """What one paper found for one task: L falls as N^-alpha_n and as D^-alpha_d."""

    paper: str
    task: str
    alpha_n: float
    alpha_d: float
    source: str


def scaling_exponents() -> tuple[ExponentPair, ...]:
    """Published pairs of exponents, of parameters and of data: 16 of six papers, as collected by
    Epoch (https://epochai.org/blog/scaling-laws-literature-review) in ``scaling-laws.csv`` of
    https://github.com/ejmichaud/quantization-model (MIT, commit 4f4f1a2), and one refit.

    Two entries need care. Rows 122 and 123 of the list, Ardalani et al., are data and parameters,
    in this order; the figure of arXiv:2303.13506 has them the other way round, here they are as
    their rows say. And the list gives the first exponent of Rosenfeld et al. to parameters; in
    their formula it appears to belong to the number of samples, so that the nine pairs may have to
    be exchanged.

    >>> pairs = scaling_exponents()
    >>> len(pairs), sum(pair.alpha_d > pair.alpha_n for pair in pairs)
    (17, 7)
    """
    return _PAIRS


def _rosenfeld(task: str, alpha_n: float, alpha_d: float) -> ExponentPair:
    return ExponentPair("Rosenfeld et al. (2020)", task, alpha_n, alpha_d, "arXiv:1909.12673")


def _gordon(task: str, alpha_n: float, alpha_d: float) -> ExponentPair:
    return ExponentPair(
        "Gordon et al. (2021)", task, alpha_n, alpha_d, "doi:10.18653/v1/2021.emnlp-main.478"
    )


_PAIRS = (
    _rosenfeld("PTB", 0.81, 0.34),
    _rosenfeld("WikiText-2", 1.01, 0.22),
    _rosenfeld("WikiText-103", 0.74, 0.56),
    _rosenfeld("ImageNet", 0.75, 0.61),
    _rosenfeld("CIFAR-10", 0.66, 0.53),
    _rosenfeld("CIFAR-100", 0.70, 0.51),
    _rosenfeld("DTD", 0.40, 1.16),
    _rosenfeld("Aircraft", 1.10, 0.83),
    _rosenfeld("UCF101", 0.93, 0.54),
    ExponentPair("Kaplan et al. (2020)", "language", 0.076, 0.095, "arXiv:2001.08361"),
    ExponentPair("Hoffmann et al. (2022)", "language", 0.34, 0.28, "arXiv:2203.15556"),
    _gordon("translation, Ru-En", 0.11, 0.38),
    _gordon("translation, De-En", 0.13, 0.35),
    _gordon("translation, Zh-En", 0.12, 0.43),
    ExponentPair("Droppo and Elibol (2021)", "speech", 0.016, 0.019, "arXiv:2106.09488"),
    ExponentPair("Ardalani et al. (2022)", "recommendation", 4.0, 0.1, "arXiv:2208.08489"),
    # Not in the list: the points of Hoffmann et al. fitted again, from the authors' notebook.
    ExponentPair("Besiroglu et al. (2024)", "language", 0.3473, 0.3672, "arXiv:2404.10102"),
)
