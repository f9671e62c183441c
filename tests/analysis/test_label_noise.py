"""Wrong labels are planted among drawn descriptors; the margins are held against fits that leave each photo out."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.label_noise import MOST, estimate_label_noise, leave_one_out_margins


def drawn(
    n: int, *, apart: float, flipped: float = 0.0, n_classes: int = 2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of classes `apart` standard deviations from one another, of which some got another's label."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    x = draw.normal(size=(n, 40))
    x[np.arange(n), labels] += apart
    wrong = draw.random(n) < flipped
    return x, np.where(wrong, (labels + 1) % n_classes, labels)


def test_margins_are_those_of_classifiers_that_left_the_photo_out() -> None:
    """The closed form gives what fitting a ridge without the photo gives, to 1 in a thousand of the margins' spread."""
    from sklearn.linear_model import Ridge

    x, y = drawn(60, apart=2.0)
    found = leave_one_out_margins(x, y)
    best = None
    scaled = (x - x.mean(axis=0)) / np.sqrt(np.square(x - x.mean(axis=0)).sum(axis=1).mean())
    signs = np.where(y == 1, 1.0, -1.0)
    for penalty in 10.0 ** np.arange(-3, 4):
        scores = np.empty(len(y))
        for i in range(len(y)):
            others = np.arange(len(y)) != i
            scores[i] = Ridge(alpha=penalty).fit(scaled[others], signs[others]).predict(scaled[i : i + 1])[0]
        error = np.square(scores - signs).mean()
        if best is None or error < best[0]:
            best = (error, scores * signs)
    assert best is not None
    np.testing.assert_allclose(found, best[1], atol=1e-3 * best[1].std())


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_the_planted_share_is_found(share: float) -> None:
    """Of 400 photos of two classes well apart, the share of flipped labels is found to 6 in a hundred, and is clear."""
    noise = estimate_label_noise(*drawn(400, apart=4.0, flipped=share))
    assert noise is not None
    assert noise.share == pytest.approx(share, abs=0.06)
    assert noise.likelihood_ratio > 30


def test_overlapping_classes_are_not_wrong_labels() -> None:
    """Of 20 sets of classes that overlap so much that a fifth of the photos err, at most one is suspected."""
    suspected = 0
    for seed in range(20):
        noise = estimate_label_noise(*drawn(300, apart=1.2, seed=seed))
        assert noise is not None
        suspected += noise.likelihood_ratio > 8 and noise.share >= 0.08
    assert suspected <= 1


def test_three_classes_and_many_photos() -> None:
    """More classes than two, and more photos than are looked at, give an estimate all the same."""
    noise = estimate_label_noise(*drawn(MOST + 500, apart=4.0, flipped=0.2, n_classes=3))
    assert noise is not None
    assert noise.n_photos == MOST
    assert noise.share == pytest.approx(0.2, abs=0.08)


def test_too_few_photos_give_no_estimate() -> None:
    """19 photos, and photos of one class, say nothing of labels."""
    x, y = drawn(60, apart=4.0)
    assert estimate_label_noise(x[:19], y[:19]) is None
    assert estimate_label_noise(x, np.zeros(60, int)) is None


@pytest.mark.parametrize("share_of_small", [0.1, 0.2])
def test_a_small_class_is_not_wrong_labels(share_of_small: float) -> None:
    """Photos of a class outnumbered nine or four to one are not taken for mislabelled ones of the large class."""
    for seed in range(6):
        draw = np.random.default_rng(seed)
        labels = (draw.random(300) < share_of_small).astype(int)
        x = draw.normal(size=(300, 40))
        x[np.arange(300), labels] += 1.0
        noise = estimate_label_noise(x, labels)
        assert noise is not None
        assert noise.likelihood_ratio < 8
