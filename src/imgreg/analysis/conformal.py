"""Prediction sets with a guaranteed coverage: class-conditional (Mondrian) split conformal prediction.

In: held-out probabilities of the true class, a confidence level. Out: thresholds, and the classes a photo may have.
Must not know: photos, files. NumPy alone, so that predict starts quickly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgreg.heads.calibration import MAX_HELD_OUT

Float32Array = NDArray[np.float32]


def min_held_out(confidence: float) -> int:
    """Return how many held-out photos each class needs.

    Examples
    --------
    >>> min_held_out(0.9), min_held_out(0.95)
    (9, 19)
    """
    return math.ceil(1 / (1 - confidence) - 1 - 1e-9)


def max_confidence(n_photos: int) -> float:
    """Return the highest confidence level, in whole percent, that `n_photos` held-out photos of a class allow.

    Examples
    --------
    >>> max_confidence(9), max_confidence(30), max_confidence(1)
    (0.9, 0.96, 0.5)
    """
    return math.floor(100 * n_photos / (n_photos + 1) + 1e-9) / 100


def held_out_scores(labels: ArrayLike, probabilities: ArrayLike, *, n_classes: int) -> tuple[Float32Array, ...]:
    """Sort the probability of the true class, class by class.

    Parameters
    ----------
    labels : (n,) int
        True classes, 0..n_classes-1.
    probabilities : (n, n_classes) float
        Of photos that the head was not trained on.

    Returns
    -------
    n_classes arrays of float32, ascending
        At most MAX_HELD_OUT values in all; of more, a random draw, which leaves the coverage as it is.

    Examples
    --------
    >>> held_out_scores([0, 0, 1], [[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]], n_classes=2)
    (array([0.25, 0.5 ], dtype=float32), array([0.5], dtype=float32))
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float32)
    draw = np.random.default_rng(0)
    limit = MAX_HELD_OUT // n_classes
    scores = []
    for k in range(n_classes):
        of_class = p[true == k, k]
        if len(of_class) > limit:
            of_class = draw.choice(of_class, limit, replace=False)
        scores.append(np.sort(of_class))
    return tuple(scores)


def conformal_thresholds(held_out: Sequence[Float32Array], *, confidence: float) -> NDArray[np.float32]:
    """Return the least probability with which a class is in the prediction set.

    A class of n held-out photos has the floor((n + 1)(1 - confidence))-th smallest of their scores as its threshold: a
    new photo of that class then has its class in the set with a probability of at least `confidence`.

    Parameters
    ----------
    held_out : n_classes arrays of float32
        As `held_out_scores` gives them.
    confidence : float
        In (0, 1).

    Returns
    -------
    (n_classes,) float32

    Raises
    ------
    ValueError
        If a class has fewer than `min_held_out(confidence)` photos.

    References
    ----------
    Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World", section 4.5 (Mondrian); Sadinle, Lei &
    Wasserman 2019, doi:10.1080/01621459.2017.1395341 (the score).

    Examples
    --------
    >>> conformal_thresholds([np.arange(1, 10, dtype=np.float32) / 10], confidence=0.9)
    array([0.1], dtype=float32)
    """
    if min(len(scores) for scores in held_out) < min_held_out(confidence):
        raise ValueError(f"a class has fewer than {min_held_out(confidence)} held-out photos")
    ranks = [math.floor((len(scores) + 1) * (1 - confidence) + 1e-9) for scores in held_out]
    return np.array([scores[rank - 1] for scores, rank in zip(held_out, ranks, strict=True)], dtype=np.float32)


def prediction_sets(probabilities: ArrayLike, *, thresholds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which classes each photo may belong to: none, one or several.

    Parameters
    ----------
    probabilities : (n, n_classes) float
    thresholds : (n_classes,) float32

    Returns
    -------
    (n, n_classes) bool

    Examples
    --------
    >>> thresholds = np.array([0.3, 0.6], dtype=np.float32)
    >>> prediction_sets([[0.9, 0.1], [0.35, 0.65], [0.5, 0.5]], thresholds=thresholds)
    array([[ True, False],
           [ True,  True],
           [ True, False]])
    """
    return np.asarray(np.asarray(probabilities, dtype=np.float32) >= thresholds)
