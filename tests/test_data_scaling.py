"""Published losses and exponents: what was stored is what the sources say, and fits as they fit."""

import json

import pytest
import torch

from kexue import data
from kexue.scaling import fit_joint

NAMES = ("openlm-c4", "openlm-redpajama", "openlm-refinedweb", "chinchilla")


@pytest.mark.parametrize("name, models", [*zip(NAMES, (34, 35, 35, 245), strict=True)])
def test_points_are_whole_and_say_whose_they_are(name, models):
    points = data.loss_points(name)
    assert len(points) == models and repr(points) == f"LossPoints('{name}': {models} models)"
    for column in (points.parameters, points.tokens, points.losses):
        assert column.shape == (models,) and column.dtype == torch.float64
        assert torch.isfinite(column).all() and (column > 0).all()
    assert points.losses.min() > 1.8 and points.losses.max() < 12  # nats a token
    assert "arXiv:24" in points.source and points.license


def test_openlm_was_trained_on_multiples_of_twenty_tokens_a_parameter():
    multiples = {0.25, 0.5, 1, 2, 4, 8, 16, 32}
    for name in NAMES[:3]:
        points = data.loss_points(name)
        assert points.parameters.unique().tolist() == [
            10569312, 78914048, 153677376, 411616256, 1439795200, 6889410560,
        ]  # fmt: skip
        assert set((points.tokens / points.parameters / 20).tolist()) <= multiples
        assert (points.without_embeddings < points.parameters).all()
        # More tokens help, size by size, within the luck of a run.
        for n in points.parameters.unique():
            own = points.parameters == n
            losses = points.losses[own][points.tokens[own].argsort()]
            assert (losses.diff() < 0.03).all()
    assert "MIT" in points.license
    stored = json.loads(str(data._bundled.load("scaling_points")["meta"]))
    assert "a003c49" in stored["openlm"] and "9225883" in stored["chinchilla"]


def test_chinchilla_fits_as_its_authors_fitted():
    """Besiroglu et al. print, without the five largest losses, alpha_n = 0.347, alpha_d = 0.367
    and a floor of 1.817; theirs is another width of Huber's loss."""
    points = data.loss_points("chinchilla")
    kept = points.losses < points.losses.sort().values[-5]
    law = fit_joint(
        points.parameters[kept],
        points.tokens[kept],
        points.losses[kept],
        resamples=100,
        generator=torch.Generator().manual_seed(0),
    )
    assert kept.sum() == 240
    assert law.alpha_n == pytest.approx(0.3473, abs=0.01)
    assert law.alpha_d == pytest.approx(0.3672, abs=0.01)
    assert law.floor == pytest.approx(1.817, abs=0.02)
    assert law.intervals[0][0] < 0.3473 < law.intervals[0][1]
    # What the quantization model forbids: data would have to fall by alpha_n / (alpha_n + 1).
    assert law.intervals[1][0] > law.alpha_n / (law.alpha_n + 1) + 0.05


def test_published_exponents():
    pairs = data.scaling_exponents()
    assert len(pairs) == 17 and len({pair.paper for pair in pairs}) == 7
    known = {(pair.paper, pair.alpha_n, pair.alpha_d) for pair in pairs}
    assert ("Kaplan et al. (2020)", 0.076, 0.095) in known
    assert ("Hoffmann et al. (2022)", 0.34, 0.28) in known
    assert ("Ardalani et al. (2022)", 4.0, 0.1) in known  # not the other way round
    assert all(pair.source.startswith(("arXiv:", "doi:")) for pair in pairs)


@pytest.mark.parametrize("name", ["Chinchilla", "", None, "c4"])
def test_an_unknown_set_is_refused(name):
    with pytest.raises(ValueError, match=r"^name: got .*, needs one of 'openlm-c4'"):
        data.loss_points(name)
