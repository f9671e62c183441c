"""history.py: a table that comes back as it went."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imgreg.runs.folder import values_to_csv
from imgreg.runs.history import Epoch, History, epochs_of_csv


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(
        epoch=number,
        learning_rate=1e-4,
        objective=0.1,
        train_loss=1 / 3,
        train_accuracy=0.5,
        val_loss=val_loss,
        val_accuracy=0.5,
        weight_penalty=0.0,
        seconds=0.1,
    )


HISTORY = History((epoch(1, 0.7), epoch(2, 0.5), epoch(3, 0.5)), np.zeros((3, 4, 2), np.float32))


def test_csv_keeps_every_digit() -> None:
    """Reading back what was written gives equal floats."""
    assert epochs_of_csv(values_to_csv(Epoch, HISTORY.epochs).splitlines()) == HISTORY.epochs


def test_best_is_the_first_of_the_lowest() -> None:
    """Of equal validation losses the earlier epoch is the best."""
    assert (HISTORY.best.epoch, HISTORY.last.epoch) == (2, 3)


def test_the_kept_epoch_is_the_best_unless_another_is_named() -> None:
    """A head that keeps the last epoch answers with its weights, whatever the validation loss."""
    assert (HISTORY.kept.epoch, replace(HISTORY, kept_epoch=3).kept.epoch) == (2, 3)


def test_gap_is_validation_minus_train() -> None:
    """The sign of the generalization gap is that of the literature."""
    assert HISTORY.best.gap == pytest.approx(0.5 - 1 / 3)


def test_an_empty_history_is_refused() -> None:
    """A table with a header only is no history."""
    with pytest.raises(ValueError, match="no epoch"):
        epochs_of_csv(values_to_csv(Epoch, HISTORY.epochs).splitlines()[:1])
