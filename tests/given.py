"""Values that tests are given: a trial, a baseline, and a classifier whose features are its probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from imgreg.runs.summary import Baseline, Difference
from imgreg.runs.trial import Trial


class Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose features are its probabilities."""

    def __init__(self, n_classes: int = 2) -> None:
        self.n_classes = n_classes
        self.classes_ = np.arange(n_classes)

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Given:
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return features

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features.argmax(axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def a_trial(**changes: Any) -> Trial:
    """A trial of three epochs on two test photos."""
    usual = Trial(
        recipe="plain",
        repeat=0,
        fold=0,
        n_train=64,
        n_val=16,
        best_epoch=2,
        best_val_loss=0.5,
        test_loss=0.5,
        test_accuracy=0.8,
        train_losses=(0.6, 0.3, 0.1),
        val_losses=(0.7, 0.5, 0.6),
        test_labels=(0, 1),
        test_probabilities=((0.8, 0.2), (0.3, 0.7)),
    )
    return usual.model_copy(update=changes)


def a_baseline(*, low: float | None, mean: float = 0.1, high: float | None = 0.2, **changes: Any) -> Baseline:
    """A logistic regression, with the head's loss less its own, and the interval of that."""
    usual = Baseline(
        name="logistic-regression-means",
        loss=0.3,
        train_loss=0.2,
        accuracy=0.8,
        low=0.7,
        high=0.9,
        note="",
        loss_difference=Difference(mean=mean, low=low, high=high),
        accuracy_difference=Difference(mean=0, low=-0.1, high=0.1),
    )
    return usual.model_copy(update=changes)
