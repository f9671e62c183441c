"""Features drawn by hand: two classes that a linear head can tell apart, roughly."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.heads.views import Labelled


def draw(n: int, *, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    clean = (rng.normal(0, 1, (n, 2, 2, 6)) + 0.5 * labels[:, None, None, None]).astype(np.float16)

    def features(view: int, rows: np.ndarray) -> np.ndarray:
        if view == 0:
            return clean[rows]
        return (clean + np.random.default_rng([seed, view]).normal(0, 0.5, clean.shape)).astype(np.float16)[rows]

    return Labelled(features, labels)


@pytest.fixture(scope="session")
def train_set() -> Labelled:
    return draw(50, seed=1)


@pytest.fixture(scope="session")
def val_set() -> Labelled:
    return draw(30, seed=2)
