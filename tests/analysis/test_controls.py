"""Controls: what they say, and when they are told."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.controls import (
    accuracy_interval,
    control_warnings,
    linear_probabilities,
    majority_probabilities,
)
from imgreg.runs.summary import Control


def control(name: str, accuracy: float, *, n: int = 100) -> Control:
    low, high = accuracy_interval(round(accuracy * n), n)
    return Control(name=name, loss=0.5, accuracy=accuracy, low=low, high=high)


def test_majority_answers_the_class_shares() -> None:
    """Whatever the photo, its probabilities are the train photos' shares; a class without a photo has 0."""
    found = majority_probabilities(np.array([0, 0, 0, 1]), n=3, n_classes=3)
    np.testing.assert_array_equal(found, [[0.75, 0.25, 0]] * 3)


def test_logistic_regression_is_near_the_best_line() -> None:
    """On two Gaussian classes and 29 columns of noise it answers nine photos in ten as Bayes would."""
    draw = np.random.default_rng(0)
    labels = np.arange(1200) % 2
    x = draw.normal(size=(1200, 30))
    x[:, 0] += 2 * labels - 1
    found = linear_probabilities(x[:400], labels[:400], x[400:])
    assert ((found[:, 1] > 0.5) == (x[400:, 0] > 0)).mean() > 0.9
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_class_of_one_photo_is_no_error() -> None:
    """A class of a single train photo is still answered."""
    x = np.random.default_rng(0).normal(size=(9, 4))
    found = linear_probabilities(x, np.array([0] * 8 + [1]), x)
    assert found.shape == (9, 2)


def test_interval_is_scipy_s_beta() -> None:
    """Clopper and Pearson's bounds are quantiles of beta distributions."""
    from scipy.stats import beta

    assert accuracy_interval(70, 100) == pytest.approx((beta.ppf(0.025, 70, 31), beta.ppf(0.975, 71, 30)))


@pytest.mark.parametrize(
    ("colours", "head", "told"),
    [(0.95, 0.96, True), (0.90, 0.97, True), (0.70, 0.95, False), (0.52, 0.53, False), (0.80, 0.70, True)],
)
def test_colours_that_solve_the_task_are_told(colours: float, head: float, told: bool) -> None:
    """Told where colours clearly beat the largest class and give four fifths of what the head gains over it."""
    controls = [control("majority", 0.5), control("colour-histogram", colours), control("file-metadata", 0.5)]
    found = control_warnings(controls, accuracy=head, on="validation")
    assert len(found) == told
    if told:
        assert f"{colours:.0%} of the validation photos (the head: {head:.0%}" in found[0]


def test_without_the_largest_class_nothing_is_told() -> None:
    """There is nothing to measure against, and shuffled labels solve no task."""
    assert control_warnings([control("colour-histogram", 0.99)], accuracy=0.99, on="test") == ()
    both = [control("majority", 0.5), control("shuffled-labels", 0.99)]
    assert control_warnings(both, accuracy=0.99, on="test") == ()
