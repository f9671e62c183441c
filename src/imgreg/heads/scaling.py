"""Feature scaling as a layer of the head, fitted on the train photos alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from imgreg.heads.build import weights_by_name
from imgreg.heads.forward import probabilities
from imgreg.heads.plan import Layer
from imgreg.heads.views import Labelled

PORTION = 256  # photos whose vectors are in memory at once


def fit_scaling(model: Any, kind: Literal["standardize", "min_max"], *, plan: Sequence[Layer], train: Labelled) -> None:
    """Set the scaling layer of a built head from the clean train photos.

    A feature that is the same for all of them is shifted, not stretched (as scikit-learn's StandardScaler and
    MinMaxScaler do).
    """
    before = plan[: next(i for i, layer in enumerate(plan) if layer.kind == "scaling")]
    weights = weights_by_name(model)
    everyone = np.arange(len(train.labels))
    n, total, squares, low, high = len(everyone), 0.0, 0.0, np.inf, -np.inf
    middle: Any = None  # near the mean: squares of small numbers keep their digits
    for start in range(0, n, PORTION):
        x = probabilities(train.features(0, everyone[start : start + PORTION]), plan=before, weights=weights)
        x = x.astype(np.float64)
        middle = x.mean(axis=0) if middle is None else middle
        total, squares = total + (x - middle).sum(axis=0), squares + np.square(x - middle).sum(axis=0)
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
    if kind == "standardize":
        shift, spread = middle + total / n, np.sqrt(np.maximum(squares / n - np.square(total / n), 0))
    else:
        shift, spread = low, high - low
    layer = model.get_layer("scaling")
    layer.moving_mean.assign(shift)
    layer.moving_variance.assign(np.square(np.where(spread > 1e-12, spread, 1.0)))
