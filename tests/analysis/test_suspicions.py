"""Twins across the split, and labels that look wrong, beside what the curves say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imgreg.analysis.label_noise import LabelNoise
from imgreg.analysis.split_duplicates import TWINS, SplitDuplicates, find_split_duplicates
from imgreg.analysis.suspicions import LABEL_NOISE, LEAKAGE
from imgreg.analysis.verdict import judge

LABELS = np.arange(40) % 2
TRAIN = np.full(10, 0.2)


def duplicates(n_found: int, *, n_val: int = 40) -> SplitDuplicates:
    similarity = np.full(n_val, 0.5)
    similarity[:n_found] = 0.99
    return SplitDuplicates(np.zeros(n_val, int), similarity)


def test_nearest_by_centred_cosine() -> None:
    """The twin is the train photo of the highest cosine, the train photos' mean taken off, as scikit-learn has it."""
    from sklearn.metrics.pairwise import cosine_similarity

    draw = np.random.default_rng(0)
    train, val = 5 + draw.normal(size=(2100, 32)), 5 + draw.normal(size=(1500, 32))
    val[3], val[1400] = train[7] + 0.05, train[9] * 1.001
    found = find_split_duplicates(val, train)
    cosines = cosine_similarity(val - train.mean(axis=0), train - train.mean(axis=0))
    np.testing.assert_array_equal(found.nearest, cosines.argmax(axis=1))
    np.testing.assert_allclose(found.similarity, cosines.max(axis=1), atol=1e-9)
    assert np.flatnonzero(found.found).tolist() == [3, 1400]
    assert (found.similarity[found.found] >= TWINS).all()


def test_leakage_says_what_validation_is_worth_without_twins(plant) -> None:
    """With 10 of 40 twins at a loss of 0.1 and the others at 0.5 the loss without duplicates is given: 0.50 instead of
    0.40."""
    cross_entropy = np.full((10, 40), 0.5)
    cross_entropy[:, :10] = 0.1
    (found,) = judge(plant(TRAIN, cross_entropy), val_labels=LABELS, duplicates=duplicates(10)).suspicions
    assert found.kind == LEAKAGE
    assert "10 of 40" in found.sentence
    assert "0.50 instead of 0.40" in found.sentence
    assert found.evidence["val_loss_of_duplicates"] == pytest.approx(0.1, abs=1e-6)
    assert found.evidence["val_loss_without_duplicates"] == pytest.approx(0.5, abs=1e-6)


def test_a_single_twin_is_no_suspicion(plant) -> None:
    """One twin among 40 validation photos is not worth a word; two are."""
    history = plant(TRAIN, np.full((10, 40), 0.3))
    assert judge(history, val_labels=LABELS, duplicates=duplicates(1)).suspicions == ()
    assert judge(history, val_labels=LABELS, duplicates=duplicates(2)).suspicions != ()


def test_all_validation_photos_twins(plant) -> None:
    """Where every validation photo has a twin nothing is left to validate on, and the evidence holds no NaN."""
    (found,) = judge(plant(TRAIN, np.full((10, 40), 0.3)), val_labels=LABELS, duplicates=duplicates(40)).suspicions
    assert "no other photo is left" in found.sentence
    assert found.evidence["val_loss_without_duplicates"] is None


@pytest.mark.parametrize(
    ("share", "ratio", "suspected"), [(0.2, 20.0, True), (0.2, 5.0, False), (0.03, 20.0, False), (0.08, 8.0, True)]
)
def test_label_noise_must_be_clear_and_large(plant, share: float, ratio: float, suspected: bool) -> None:
    """Both the share and its evidence are asked for."""
    noise = LabelNoise(share=share, likelihood_ratio=ratio, n_photos=100)
    found = judge(plant(TRAIN, np.full((10, 40), 0.3)), val_labels=LABELS, noise=noise).suspicions
    assert [it.kind for it in found] == ([LABEL_NOISE] if suspected else [])


def test_nobody_looked(plant) -> None:
    """Without features there is no suspicion, and the curves are judged all the same."""
    found = judge(plant(TRAIN, np.full((10, 40), 0.3)), val_labels=LABELS)
    assert found.suspicions == ()
    assert math.isfinite(found.evidence["rise"])
