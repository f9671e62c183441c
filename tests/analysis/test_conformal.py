"""conformal.py: MAPIE's sets, their coverage in each class, and no set where there are too few photos."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier

from given import Given
from imgreg.analysis import conformal
from imgreg.analysis.conformal import (
    conformal_thresholds,
    held_out_scores,
    max_confidence,
    min_held_out,
    prediction_sets,
)


def drawn(n: int, *, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, n_classes, n)
    logits = draw.normal(0, 1, (n, n_classes))
    logits[np.arange(n), labels] += 1.0 + labels  # classes of unequal difficulty
    e = np.exp(logits)
    return labels, e / e.sum(axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:.*your conformalization dataset has less labels")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95])
def test_sets_are_mapies(confidence: float, n_classes: int) -> None:
    """A class is in the set just where MAPIE, conformalized on that class' photos alone, puts it into its set.

    MAPIE has no class-conditional mode; this is its definition (Vovk et al. 2005), made of the mode that it has.
    """
    labels, p = drawn(157, n_classes=n_classes, seed=1)
    _, new = drawn(500, n_classes=n_classes, seed=2)
    held_out = held_out_scores(labels, p, n_classes=n_classes)
    ours = prediction_sets(new, thresholds=conformal_thresholds(held_out, confidence=confidence))
    for k in range(n_classes):
        peer = SplitConformalClassifier(Given(n_classes), confidence_level=confidence, prefit=True)
        peer.conformalize(p[labels == k], labels[labels == k])
        theirs = peer.predict_set(new)[1][:, k, 0]
        assert 0 < theirs.sum() < len(new)
        np.testing.assert_array_equal(ours[:, k], theirs)


@pytest.mark.parametrize("confidence", [0.8, 0.9])
def test_each_class_is_covered(confidence: float) -> None:
    """Over 2,000 draws of 19 photos a class, the true class is in the set as often as promised, in the hard class too,
    and not more than 1 / 20 oftener."""
    pools = drawn(20_000, n_classes=2, seed=3)
    draw = np.random.default_rng(4)
    members = [np.flatnonzero(pools[0] == k) for k in range(2)]
    hits = np.zeros(2)
    for _ in range(2000):
        picked = [draw.choice(rows, 20, replace=False) for rows in members]
        held_out = [np.sort(pools[1][rows[1:], k]).astype(np.float32) for k, rows in enumerate(picked)]
        thresholds = conformal_thresholds(held_out, confidence=confidence)
        new = np.array([pools[1][rows[0]] for rows in picked])
        hits += np.diag(prediction_sets(new, thresholds=thresholds))
    noise = 3 * np.sqrt(confidence * (1 - confidence) / 2000)
    assert (hits / 2000 > confidence - noise).all()
    assert (hits / 2000 < confidence + 1 / 20 + noise).all()


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_least_number_is_just_enough(confidence: float) -> None:
    """With that many photos there is a threshold, their lowest score; with one fewer there is none."""
    n = min_held_out(confidence)
    scores = np.linspace(0.1, 0.9, n, dtype=np.float32)
    assert conformal_thresholds([scores], confidence=confidence) == scores[0]
    with pytest.raises(ValueError, match=f"fewer than {n} held-out"):
        conformal_thresholds([scores, scores[1:]], confidence=confidence)


@pytest.mark.parametrize("n_photos", [1, 5, 9, 19, 47, 98])
def test_the_highest_confidence_is_allowed(n_photos: int) -> None:
    """The level that is named to the user needs no more photos than there are, one percent more does."""
    level = max_confidence(n_photos)
    assert min_held_out(level) <= n_photos < min_held_out(level + 0.01)


def test_a_large_set_keeps_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a class keeps a random draw of its scores, not its lowest; the other class keeps all."""
    monkeypatch.setattr(conformal, "MAX_HELD_OUT", 200)
    p = np.linspace(0, 1, 1010)
    labels = np.r_[np.zeros(1000, int), np.ones(10, int)]
    kept, other = held_out_scores(labels, np.stack([p, 1 - p], axis=1), n_classes=2)
    assert (len(kept), len(other)) == (100, 10)
    assert (np.diff(kept) >= 0).all()
    assert 0.4 < kept.mean() < 0.6
