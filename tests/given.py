"""A classifier for scikit-learn and its kin whose features are its probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


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
