"""Shortcuts: do a few numbers of each photo that do not describe its subject predict its class?

In: numbers and classes. Out: Shortcuts. Must not know: photos, networks, how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.sanity_baselines import accuracy_interval, explains, linear_probabilities

N_FOLDS = 5

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shortcut:
    """What a linear classifier reaches on photos that it was not fitted on.

    Attributes
    ----------
    name : str
        Of the control: colour-histogram or file-metadata.
    accuracy, low, high : float
        With its 95 % interval (Clopper and Pearson).
    largest_share : float
        Of the photos that are of the most frequent class: what a constant answer reaches.
    n_photos : int
    """

    name: str
    accuracy: float
    low: float
    high: float
    largest_share: float
    n_photos: int


def find_shortcut(
    name: str, numbers: Float64Array, labels: NDArray[np.integer], *, groups: NDArray[np.integer] | None = None
) -> Shortcut | None:
    """Check whether a sanity baseline's numbers predict the class, by 5-fold cross-validation.

    Parameters
    ----------
    name : str
        A key of sanity_baselines.EXPLAINS, which says how much is too much.
    numbers : (n, k) float64
    labels : (n,) int
    groups : (n,) int, optional
        Photos of the same number are the same picture, and stay in one fold.

    Returns
    -------
    Shortcut or None
        None where the numbers do not predict the class, and where there are too few photos to say so.

    Examples
    --------
    >>> labels = np.arange(60) % 2
    >>> find_shortcut("file-metadata", np.column_stack([labels, np.ones(60)]), labels).accuracy
    1.0
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(labels)) if groups is None else groups
    classes, labels = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or min(len(np.unique(groups[labels == label])) for label in range(len(classes))) < N_FOLDS:
        return None
    right = np.zeros(len(labels), dtype=bool)
    for inside, outside in StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0).split(numbers, labels, groups):
        answers = linear_probabilities(numbers[inside], labels[inside], numbers[outside]).argmax(axis=1)
        right[outside] = np.unique(labels[inside])[answers] == labels[outside]
    low, high = accuracy_interval(int(right.sum()), len(labels))
    largest = float(np.bincount(labels).max() / len(labels))
    if not explains(name, low=low, largest_share=largest, reached=1.0):
        return None
    return Shortcut(name, float(right.mean()), low, high, largest, len(labels))
