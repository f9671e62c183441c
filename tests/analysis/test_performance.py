"""What a report says of the kept head on the photos it is scored on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from imgreg.analysis.performance import Scored, most_telling, performance, reliability


def scored(labels: list[int], of_second: list[float]) -> Scored:
    p = np.array([[1 - x, x] for x in of_second], np.float32)
    return Scored("val", tuple(range(len(labels))), np.array(labels), p)


def test_thresholds_of_two_classes_count_what_they_say() -> None:
    """At 0.5, of three called bees two are: precision 2/3, recall 2/3, specificity 1/2, accuracy 3/5; at 0.9 none is
    called, and no precision is made up."""
    found = performance(scored([1, 1, 1, 0, 0], [0.8, 0.6, 0.3, 0.7, 0.2]), classes=("ants", "bees"))
    assert found is not None
    at = {row.at: row for row in found.thresholds}
    half = at[0.5]
    assert (half.share, half.precision, half.recall) == pytest.approx((3 / 5, 2 / 3, 2 / 3))
    assert (half.specificity, half.accuracy) == pytest.approx((1 / 2, 3 / 5))
    assert (at[0.9].share, at[0.9].precision, at[0.9].recall) == (0, None, 0)


def test_more_classes_may_be_left_open() -> None:
    """Of three classes: the share that gets an answer from each confidence on, and how many of those are right."""
    p = np.array([[0.9, 0.05, 0.05], [0.2, 0.55, 0.25], [0.7, 0.2, 0.1]], np.float32)
    found = performance(Scored("test", (0, 1, 2), np.array([0, 1, 2]), p), classes=("a", "b", "c"))
    assert found is not None
    rows = {row.at: (row.share, row.precision) for row in found.thresholds}
    assert rows[0.0] == pytest.approx((1, 2 / 3))
    assert rows[0.6] == pytest.approx((2 / 3, 1 / 2))
    assert rows[0.95] == (0, None)
    assert [curve.name for curve in found.curves] == ["a", "b", "c"]


def test_a_class_without_photos_has_no_scores() -> None:
    """A ROC curve of nothing is not drawn."""
    assert performance(scored([1, 1], [0.8, 0.6]), classes=("ants", "bees")) is None


def test_reliability_bins_hold_every_photo_and_an_exact_interval() -> None:
    """As many photos in each bin, in order of confidence; the interval is Clopper and Pearson's."""
    draw = np.random.default_rng(0)
    p = draw.uniform(0.5, 1, 80)
    right = draw.random(80) < p
    bins = reliability(np.where(right, 1, 0), np.column_stack([1 - p, p]))
    assert [one.n_photos for one in bins] == [10] * 8
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    assert sum(one.accuracy * one.n_photos for one in bins) == pytest.approx(right.sum())
    exact = binomtest(round(bins[0].accuracy * 10), 10).proportion_ci(0.95)
    assert (bins[0].low, bins[0].high) == pytest.approx((exact.low, exact.high))
    assert sum(one.low <= one.confidence <= one.high for one in bins) >= 7  # it is calibrated


def test_few_photos_make_few_bins() -> None:
    """Seven photos are one bin, not seven of one."""
    assert [one.n_photos for one in reliability(np.zeros(7, int), np.full((7, 2), 0.5))] == [7]


def test_of_too_many_classes_the_worst_are_drawn() -> None:
    """Twelve classes, one of them never found: it is among the six drawn, and these keep their order."""
    labels = np.repeat(np.arange(12), 4)
    p = np.full((48, 12), 0.01)
    p[np.arange(48), labels] = 0.89
    p[labels == 7] = np.roll(p[labels == 7], 1, axis=1)
    found = performance(Scored("val", tuple(range(48)), labels, p), classes=tuple(f"k{i:02}" for i in range(12)))
    assert found is not None
    names = [curve.name for curve in most_telling(found.curves, limit=6)]
    assert "k07" in names
    assert names == sorted(names)
    assert len(names) == 6
