"""lr_find.py: the range lies where the planted curve falls, and noise alone gives none."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.lr_find import learning_rate_answer, learning_rate_curve

RATES = np.geomspace(1e-7, 1, 140)


def planted(where: float, *, noise: float, seed: int) -> np.ndarray:
    """Falls by 0.6 around a rate, and rises from a hundred times that rate on."""
    fall = 0.6 / (1 + (RATES / where) ** 2)
    return 0.4 + fall + (RATES / (100 * where)) ** 2 + np.random.default_rng(seed).normal(0, noise, len(RATES))


@pytest.mark.parametrize("where", [1e-5, 1e-4, 1e-3])
def test_the_planted_fall_is_found(where: float) -> None:
    """The steepest rate lies within a factor of 4 of the planted one, and the range ends before the loss rises."""
    curve = learning_rate_curve(RATES, [planted(where, noise=0.03, seed=seed) for seed in range(3)])
    assert curve.low is not None
    assert curve.high is not None
    assert where / 2 <= curve.low <= 4 * where
    assert curve.low < curve.high < 100 * where
    assert curve.steepest_low <= curve.steepest <= curve.steepest_high  # type: ignore[operator]
    assert curve.low <= curve.suggested <= curve.high  # type: ignore[operator]


def test_a_flat_curve_suggests_nothing() -> None:
    """Noise around one loss is not read as a fall."""
    flat = [0.69 + np.random.default_rng(seed).normal(0, 0.02, len(RATES)) for seed in range(3)]
    curve = learning_rate_curve(RATES, flat)
    assert (curve.low, curve.high, curve.suggested) == (None, None, None)
    (answer,) = learning_rate_answer(curve, current=1e-3, command="imgreg train data")
    assert answer.startswith("No learning rate can be suggested")


@pytest.mark.parametrize(("current", "where"), [(1e-6, "below"), (1e-3, "inside"), (0.5, "above")])
def test_the_answer_places_the_recipes_own_rate(current: float, where: str) -> None:
    """Outside the range, the command that tries the suggested rate is given."""
    curve = learning_rate_curve(RATES, [planted(1e-4, noise=0.0, seed=0)])
    answer = learning_rate_answer(curve, current=current, command="imgreg train data")
    assert f"lies {where} this range" in answer[-1]
    assert (f"`imgreg train data --learning-rate {curve.suggested:g}`" in answer[-1]) == (where != "inside")
