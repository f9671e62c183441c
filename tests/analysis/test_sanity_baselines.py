"""Controls: what they say, and when they are reported."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.sanity_baselines import (
    accuracy_interval,
    linear_probabilities,
    majority_probabilities,
    sanity_warnings,
)
from imgreg.runs.summary import SanityBaseline


def control(name: str, accuracy: float, *, n: int = 100) -> SanityBaseline:
    low, high = accuracy_interval(round(accuracy * n), n)
    return SanityBaseline(name=name, loss=0.5, accuracy=accuracy, low=low, high=high)


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
    ("colours", "head", "n", "told"),
    [
        (0.95, 0.96, 100, True),
        (0.80, 0.97, 100, False),
        (0.80, 0.97, 1000, True),
        (0.70, 0.95, 1000, False),
        (0.54, 0.50, 200, False),
        (0.80, 0.70, 100, True),
    ],
)
def test_colours_that_solve_the_task_are_reported(colours: float, head: float, n: int, told: bool) -> None:
    """Told where even the lower bound accounts for half of what the head gains over a constant answer."""
    sanity_baselines = [control("majority", 0.5, n=n), control("colour-histogram", colours, n=n)]
    found = sanity_warnings(sanity_baselines, accuracy=head, largest_share=0.5, on="validation")
    assert len(found) == told
    if told:
        assert f"{colours:.0%} of the validation photos (95 % interval {sanity_baselines[1].low:.0%}" in found[0]
        assert f"the head: {head:.0%}, always the largest class: 50%" in found[0]


def test_file_facts_are_told_earlier_than_colours() -> None:
    """They show nothing of a photo: a third is enough."""
    both = [control("colour-histogram", 0.72, n=1000), control("file-metadata", 0.72, n=1000)]
    (told,) = sanity_warnings(both, accuracy=0.95, largest_share=0.5, on="test")
    assert told.startswith("Sanity baseline file-metadata: file size, format and camera metadata alone")


def test_a_constant_answer_is_that_of_the_photos_scored() -> None:
    """Where most validation photos are of the class that is rare in training, calling all so is no achievement."""
    both = [control("majority", 0.3, n=400), control("colour-histogram", 0.7, n=400)]
    assert sanity_warnings(both, accuracy=0.7, largest_share=0.7, on="validation") == ()
    assert len(sanity_warnings(both, accuracy=0.7, largest_share=0.5, on="validation")) == 1


def test_shuffled_labels_solve_no_task() -> None:
    """Whatever they reach."""
    assert sanity_warnings([control("shuffled-labels", 0.99)], accuracy=0.99, largest_share=0.5, on="test") == ()
