"""calibration.py: the temperature is the planted one, the reference's, and does no harm to calibrated heads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from given import Given
from imgreg.analysis.calibration import MIN_PHOTOS, calibrate, cross_validated, fit_temperature
from imgreg.analysis.metrics import calibration_error
from imgreg.heads.calibration import apply_temperature
from imgreg.heads.forward import cross_entropies


def planted(n: int, *, temperature: float, n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from softmax(z), and the probabilities softmax(z * temperature) of a head surer by that factor."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (n, n_classes))
    true = softmax(logits, axis=1)
    labels = (draw.uniform(size=(n, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return labels, softmax(logits * temperature, axis=1).astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_recovered(temperature: float, n_classes: int) -> None:
    """20,000 photos of a head that is surer by a known factor give that factor to 5 %."""
    labels, p = planted(20_000, temperature=temperature, n_classes=n_classes)
    assert fit_temperature(labels, p) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_plain_minimum_is_scikit_learns(n_classes: int) -> None:
    """Without shrinkage the calibrated probabilities are scikit-learn's, method "temperature"."""
    labels, p = planted(150, temperature=2.0, n_classes=n_classes)
    reference = CalibratedClassifierCV(FrozenEstimator(Given(n_classes)), method="temperature").fit(p, labels)
    ours = apply_temperature(p, fit_temperature(labels, p, shrinkage=0))
    np.testing.assert_allclose(ours, reference.predict_proba(p), atol=1e-3)


def test_few_photos_are_drawn_towards_one() -> None:
    """On 30 photos shrinkage leaves the temperature between 1 and the plain minimum."""
    labels, p = planted(30, temperature=3.0)
    assert 1 < fit_temperature(labels, p) < 0.9 * fit_temperature(labels, p, shrinkage=0)


def test_too_few_photos_leave_the_probabilities_as_they_are() -> None:
    """One photo fewer than the least number, and nothing is fitted: neither the temperature nor the figures after."""
    labels, p = planted(MIN_PHOTOS, temperature=4.0)
    assert fit_temperature(labels, p) > 1
    assert calibrate(labels, p).note == ""
    few = calibrate(labels[1:], p[1:])
    assert (few.temperature, few.log_loss_after) == (1.0, few.log_loss_before)
    assert f"{MIN_PHOTOS - 1} held-out photos are too few (at least {MIN_PHOTOS} needed)" in few.note


def test_a_calibrated_head_is_left_in_peace() -> None:
    """Over 200 heads that are calibrated already, 40 photos each, the cross-validated loss rises by less than 0.005."""
    rises = []
    for seed in range(200):
        scores = calibrate(*planted(40, temperature=1.0, seed=seed))
        rises.append(scores.log_loss_after - scores.log_loss_before)
    assert -0.005 < np.mean(rises) < 0.005


def test_an_overconfident_head_gains() -> None:
    """Over 50 heads three times too sure, 40 photos each, the mean cross-validated loss falls by more than 0.1."""
    falls = []
    for seed in range(50):
        scores = calibrate(*planted(40, temperature=3.0, seed=seed))
        falls.append(scores.log_loss_before - scores.log_loss_after)
    assert np.mean(falls) > 0.1


def test_figures_are_those_of_the_metrics() -> None:
    """Before: the probabilities as they are. After: each photo's at the temperature of the other folds."""
    labels, p = planted(60, temperature=3.0)
    scores, after = calibrate(labels, p), cross_validated(labels, p)
    assert scores.log_loss_before == pytest.approx(cross_entropies(p, labels).mean())
    assert scores.calibration_error_before == pytest.approx(calibration_error(labels, p))
    assert scores.log_loss_after == pytest.approx(cross_entropies(after, labels).mean())
    assert scores.calibration_error_after == pytest.approx(calibration_error(labels, after))


def test_the_figures_after_are_of_photos_left_out() -> None:
    """A photo's own label has no part in its calibrated probability."""
    labels, p = planted(40, temperature=3.0)
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    before, after = cross_validated(labels, p), cross_validated(changed, p)
    np.testing.assert_array_equal(before[7], after[7])
    assert (before != after).any()
