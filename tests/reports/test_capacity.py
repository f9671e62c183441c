"""Error over capacity: which recipes are drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest

from given import a_trial
from imgreg.reports.capacity import capacity_figure, capacity_in_words, capacity_points
from imgreg.runs.trial import Trial

SIZES = {"plain": 500_000, "tiny": 30_000, "small": 31_000, "large": 2_000_000, "l2": 500_000}


def trial(*, shift: float) -> Trial:
    return a_trial(train_losses=(0.6, 0.3 + shift, 0.1 + shift), val_losses=(0.7, 0.5 + shift, 0.6 + shift))


TRIALS = {name: [trial(shift=i / 10), trial(shift=i / 10 + 0.02)] for i, name in enumerate(SIZES)}


def test_only_a_group_of_different_sizes_is_drawn() -> None:
    """Heads of one size, of two, or of nearly one make no curve; those of the topic capacity do."""
    alike = {"weights": ["plain", "l2"], "two": ["plain", "tiny"]}
    assert capacity_points(TRIALS, groups=alike, n_parameters=SIZES) == ()
    close = {name: 500_000 + i for i, name in enumerate(SIZES)}
    assert capacity_points(TRIALS, groups={"all": list(SIZES)}, n_parameters=close) == ()
    groups = alike | {"capacity": ["plain", "tiny", "small", "large"]}
    points = capacity_points(TRIALS, groups=groups, n_parameters=SIZES)
    assert [point.recipe for point in points] == ["tiny", "small", "plain", "large"]
    assert capacity_points(TRIALS, groups=groups, n_parameters={}) == ()


def test_the_figure_shows_best_and_last_epoch_of_both_sides() -> None:
    """Four curves over a logarithmic number of parameters, means over the repeats; close sizes share a label."""
    points = capacity_points(TRIALS, groups={"capacity": ["plain", "tiny", "small", "large"]}, n_parameters=SIZES)
    (axes,) = capacity_figure(points).axes
    assert axes.get_xscale() == "log"
    curves = {line.get_label(): line for line in axes.get_lines()}
    shifts = np.array([0.1, 0.2, 0.0, 0.3]) + 0.01
    for label, level in (
        ("train, last epoch", 0.1),
        ("validation, last epoch", 0.6),
        ("train, best epoch", 0.3),
        ("validation, best epoch", 0.5),
    ):
        assert curves[label].get_ydata() == pytest.approx(level + shifts)
        assert list(curves[label].get_xdata()) == [30_000, 31_000, 500_000, 2_000_000]
    assert [text.get_text() for text in axes.texts] == ["tiny, small", "plain", "large"]
    assert "large, 2,000,000 parameters: train 0.610 and validation 0.810 at the best" in capacity_in_words(points)
