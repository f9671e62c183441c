"""What is measured on curves, against independent computations."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.curves import gap_interval, memorized, slope


def test_gap_interval_is_that_of_two_means() -> None:
    """The bootstrap interval agrees with Welch's over the same photos, to a tenth of its width."""
    from scipy.stats import ttest_ind

    draw = np.random.default_rng(0)
    val, train = draw.gamma(1, 0.5, 300), draw.gamma(1, 0.1, 500)
    low, high = gap_interval(val, np.exp(-train)[None].astype(np.float32))
    welch = ttest_ind(val, train, equal_var=False).confidence_interval()
    assert low == pytest.approx(welch.low, abs=0.1 * (welch.high - welch.low))
    assert high == pytest.approx(welch.high, abs=0.1 * (welch.high - welch.low))


def test_no_interval_of_one_photo() -> None:
    """One photo, or an older run without its train photos, has no interval."""
    assert gap_interval(np.array([0.3]), np.full((1, 9), 0.5, np.float32)) == (None, None)
    assert gap_interval(np.array([0.3, 0.4]), None) == (None, None)


def test_slope_of_the_last_epochs() -> None:
    """A loss that falls by 0.02 an epoch at its end has that slope, whatever came before."""
    losses = np.concatenate([[3.0, 2.0], 1 - 0.02 * np.arange(10)])
    assert slope(losses, since=2) == pytest.approx(-0.02)
    assert slope(losses, since=11) is None


def test_memorized_are_the_photos_learned_after_the_best_epoch() -> None:
    """Of four train photos one was wrong at the best epoch and is right at the end."""
    own = np.array([[0.4, 0.6, 0.4, 0.9], [0.3, 0.6, 0.4, 0.9], [0.9, 0.6, 0.4, 0.2]], np.float32)
    assert memorized(own, best=1) == 0.25
    assert memorized(None, best=1) is None
