"""The comparison in sentences: a winner only where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.test_compare import PLAIN, REGULARIZED, scores, summary
from analysis.test_photo_effects import answering
from imgreg.analysis.compare import comparison_table
from imgreg.analysis.comparison_answer import answer
from imgreg.analysis.photo_effects import EndDifference, PhotoEffect, photo_effects


def ending(name: str, *, train_loss: float, val_loss: float):
    return summary(name, best=scores(1, 0.5, 0.2), last=scores(9, train_loss, val_loss))


def effect(name: str, *, mean: float, half: float, p: float) -> PhotoEffect:
    return PhotoEffect(
        name=name,
        control="plain",
        n_photos=40,
        mean=0.0,
        low=-1.0,
        high=1.0,
        p_holm=1.0,
        word="not enough data",
        fixed=(),
        broken=(),
        p_mcnemar=1.0,
        last=EndDifference(mean=mean, low=mean - half, high=mean + half, p_holm=p),
    )


def test_answer_names_the_run_that_ends_best() -> None:
    """The answer names the run with the lowest last validation loss, or says none beats the control."""
    assert answer(comparison_table([PLAIN, REGULARIZED])).startswith("regularized ends best: validation loss 0.45")
    assert "(25 %)" in answer(comparison_table([PLAIN, REGULARIZED]))
    assert answer(comparison_table([REGULARIZED, PLAIN])).startswith("No run ends better than regularized")
    assert "second run" in answer(comparison_table([PLAIN]))


def test_no_winner_where_figures_are_equal_as_shown() -> None:
    """0.301 and 0.299 are both shown as 0.30: no winner is named, and no share."""
    rows = comparison_table(
        [ending("plain", train_loss=0.031, val_loss=0.301), ending("l2", train_loss=0.029, val_loss=0.299)]
    )
    said = answer(rows)
    assert said.startswith("No run ends better than plain: its last validation loss is 0.30, and l2's is the same.")
    assert "%" not in said


def test_no_winner_where_the_difference_can_be_chance() -> None:
    """A lower loss wins only if the paired interval of the last epoch's losses says so."""
    rows = comparison_table([PLAIN, REGULARIZED])
    said = answer(rows, [effect("regularized", mean=-0.55, half=0.8, p=0.2)])
    assert said.startswith(
        "No run ends clearly better than plain: its last validation loss is 1.00, regularized's 0.45, and on 40 "
        "validation photos that difference can be chance (-0.55, 95 % -1.35 to +0.25)."
    )
    assert answer(rows, [effect("regularized", mean=-0.55, half=0.2, p=0.01)]).startswith("regularized ends best")


def test_a_clear_run_is_named_beside_a_lower_one_that_is_not_clear() -> None:
    """Of two that end lower than the control the one that is clear is named, and not called the best."""
    runs = [
        ending("plain", train_loss=0.1, val_loss=0.6),
        ending("l1", train_loss=0.1, val_loss=0.3),
        ending("l2", train_loss=0.2, val_loss=0.4),
    ]
    effects = [effect("l1", mean=-0.3, half=0.5, p=0.3), effect("l2", mean=-0.2, half=0.05, p=0.001)]
    assert answer(comparison_table(runs), effects).startswith("l2 ends better than plain: validation loss 0.40")


def test_an_equal_gap_is_called_the_same() -> None:
    """A gap of 0.271 instead of 0.269 has no share."""
    rows = comparison_table(
        [ending("plain", train_loss=0.131, val_loss=0.4), ending("l2", train_loss=0.029, val_loss=0.3)]
    )
    assert "validation loss 0.30 instead of plain's 0.40, and the same gap to the train loss, 0.27." in answer(rows)


def test_the_last_epochs_difference_is_paired(plant) -> None:
    """`last` is SciPy's paired t-test on the last epoch's cross-entropies, not on those of the kept head."""
    from scipy import stats

    truth = [0, 1] * 6
    control, run = answering(plant, "a", truth), answering(plant, "b", truth)
    probabilities = np.array(run.history.val_probabilities)
    shifts = np.linspace(0.05, 0.3, 12)
    probabilities[1, np.arange(12), truth] -= shifts
    run.history.val_probabilities[...] = probabilities
    (found,) = photo_effects([control, run])
    own = np.exp(-0.5) - np.array([0.0] * 12)
    test = stats.ttest_rel(-np.log(own - shifts), -np.log(own))
    interval = test.confidence_interval(0.95)
    assert found.mean == 0
    assert (found.last.mean, found.last.low, found.last.high) == pytest.approx(
        (float((np.log(own) - np.log(own - shifts)).mean()), interval.low, interval.high), rel=1e-4
    )
    assert found.last.clear
