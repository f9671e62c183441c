"""Histories with planted curves: the validation probabilities give exactly the planted validation loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from imgreg.runs.history import Epoch, History


def plant_history(train: np.ndarray, cross_entropy: np.ndarray) -> History:
    """train (n_epochs,) and cross_entropy (n_epochs, n_val) in nats; the classes are 0, 1, 0, 1, ..."""
    n_epochs, n_val = cross_entropy.shape
    labels = np.arange(n_val) % 2
    probabilities = np.empty((n_epochs, n_val, 2), np.float32)
    probabilities[:, np.arange(n_val), labels] = np.exp(-cross_entropy)
    probabilities[:, np.arange(n_val), 1 - labels] = 1 - np.exp(-cross_entropy)
    rows = tuple(
        Epoch(
            epoch=i + 1,
            learning_rate=1e-3,
            objective=float(t),
            train_loss=float(t),
            train_accuracy=0.9,
            val_loss=float(v),
            val_accuracy=0.8,
            weight_penalty=0.0,
            seconds=0.1,
        )
        for i, (t, v) in enumerate(zip(train, cross_entropy.mean(axis=1), strict=True))
    )
    return History(rows, probabilities)


@pytest.fixture(scope="session")
def plant() -> Callable[..., History]:
    return plant_history
