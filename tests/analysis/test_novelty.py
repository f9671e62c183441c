"""novelty.py: strangers are far, the promised share of genuine photos passes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from imgreg.analysis.novelty import (
    ACCEPTED,
    N_NEIGHBORS,
    choose_references,
    distances,
    leave_one_out_threshold,
    unit_rows,
)
from imgreg.heads.calibration import MAX_REFERENCES, MIN_REFERENCES


def of_kind(center: int, n: int, *, seed: int) -> np.ndarray:
    """Descriptors as VGG16 gives them, not negative, with five channels that stand out."""
    draw = np.random.default_rng([center, seed])
    rows = draw.gamma(1.0, 1.0, (n, 64))
    rows[:, center : center + 5] += 6
    return rows


def test_distances_are_scikit_learns() -> None:
    """The mean cosine distance to the five nearest, as NearestNeighbors finds them."""
    references, new = choose_references(of_kind(0, 40, seed=0)), of_kind(9, 10, seed=1)
    peer = NearestNeighbors(n_neighbors=N_NEIGHBORS, metric="cosine").fit(references.astype(np.float64))
    expected = peer.kneighbors(new)[0].mean(axis=1)
    np.testing.assert_allclose(distances(new, references=unit_rows(references)), expected, atol=1e-5)


def test_the_threshold_leaves_each_reference_out() -> None:
    """It is a rank of the distances that the references have to the others, as scikit-learn's leave-one-out gives."""
    references = choose_references(of_kind(0, 300, seed=0))
    peer = NearestNeighbors(n_neighbors=N_NEIGHBORS, metric="cosine").fit(references.astype(np.float64))
    own = np.sort(peer.kneighbors()[0].mean(axis=1))
    assert leave_one_out_threshold(references) == pytest.approx(own[int(np.ceil(301 * ACCEPTED)) - 1], abs=1e-5)


def test_genuine_photos_pass_and_strangers_do_not() -> None:
    """On average over 20 draws about 1 % of genuine photos are refused, and nearly all of another kind."""
    refused, caught = [], []
    for seed in range(20):
        references = choose_references(of_kind(0, 150, seed=seed))
        threshold, known = leave_one_out_threshold(references), unit_rows(references)
        refused.append((distances(of_kind(0, 200, seed=1000 + seed), references=known) > threshold).mean())
        caught.append((distances(of_kind(30, 50, seed=seed), references=known) > threshold).mean())
    assert 0.003 < np.mean(refused) < 0.017
    assert np.mean(caught) > 0.95


def test_scale_plays_no_part() -> None:
    """A photo whose features are all twice as strong is no more unlike."""
    references, new = unit_rows(choose_references(of_kind(0, 40, seed=0))), of_kind(0, 5, seed=1)
    np.testing.assert_allclose(distances(2 * new, references=references), distances(new, references=references), 1e-4)


def test_a_blank_photo_has_a_distance() -> None:
    """A photo without any feature is at distance 1, not NaN."""
    assert distances(np.zeros((1, 64)), references=unit_rows(choose_references(of_kind(0, 40, seed=0)))) == [1]


def test_references_are_bounded() -> None:
    """Of more train photos a fixed draw is kept, in their order; of fewer all."""
    rows = np.arange(MAX_REFERENCES + 500, dtype=np.float32)[:, None] / 4
    kept = choose_references(rows)
    assert kept.shape == (MAX_REFERENCES, 1)
    assert kept.dtype == np.float16
    assert (np.diff(kept[:, 0]) >= 0).all()
    assert kept[-1] > rows[MAX_REFERENCES]
    np.testing.assert_array_equal(kept, choose_references(rows))
    assert len(choose_references(rows[:30])) == 30


def test_few_photos_have_no_threshold() -> None:
    """From the least number on there is a threshold, the largest distance of all; one fewer has none."""
    references = choose_references(of_kind(0, MIN_REFERENCES, seed=0))
    assert leave_one_out_threshold(references[1:]) is None
    peer = NearestNeighbors(n_neighbors=N_NEIGHBORS, metric="cosine").fit(references.astype(np.float64))
    assert leave_one_out_threshold(references) == pytest.approx(peer.kneighbors()[0].mean(axis=1).max(), abs=1e-5)
