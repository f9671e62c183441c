"""Controls: what can be had without looking at what the photos show, beside what the head reaches.

In: a few plain numbers a photo and its class. Out: probabilities, and words on what they mean. Refuses to know: photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.curves import CONFIDENCE
from imgreg.runs.summary import Control

INVERSE_PENALTY = 0.03  # scikit-learn's C, on standardized numbers
SOLVES = 0.8  # of what the head gains over the majority class (imgreg's own choice)
_WORDS = {"colour-histogram": "a photo's colours alone", "file-metadata": "size, format and camera data alone"}

Float64Array = NDArray[np.float64]


def majority_probabilities(train_labels: NDArray[np.integer], *, n: int, n_classes: int) -> Float64Array:
    """(n, n_classes): the train photos' class shares, whatever the photo."""
    shares = np.bincount(train_labels, minlength=n_classes) / len(train_labels)
    return np.tile(shares, (n, 1))


def linear_probabilities(train: Float64Array, train_labels: NDArray[np.integer], other: Float64Array) -> Float64Array:
    """What scikit-learn's logistic regression on standardized numbers says of other photos, (n_other, n_classes).

    train, other   (n, k), with the same k numbers a photo

    The penalty is fixed: one searched by cross-validation did no better on real photos (docs/log.md) and took fifty
    times as long.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=1000))
    model.fit(train, train_labels)
    return np.asarray(model.predict_proba(other), dtype=np.float64)


def accuracy_interval(n_right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, exact.

    source   Clopper & Pearson 1934

    >>> tuple(round(bound, 3) for bound in accuracy_interval(8, 10))
    (0.444, 0.975)
    """
    from scipy.stats import binomtest

    found = binomtest(n_right, n).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def control_warnings(controls: Sequence[Control], *, accuracy: float, on: str) -> tuple[str, ...]:
    """A sentence for each control that solves the task.

    controls   all on the same photos as `accuracy`, the head's
    on         which photos, e.g. validation
    """
    majority = next((one.accuracy for one in controls if one.name == "majority"), None)
    if majority is None:
        return ()
    lines = []
    for one in controls:
        if one.name not in _WORDS or one.low <= majority:
            continue
        if one.accuracy - majority >= SOLVES * max(accuracy - majority, 0.0):
            lines.append(
                f"Control {one.name}: {_WORDS[one.name]} tell the classes apart in {one.accuracy:.0%} of the {on} "
                f"photos (the head: {accuracy:.0%}, the largest class: {majority:.0%}). The head may have learned "
                "backgrounds or sources: look for photos of each class that differ in nothing else."
            )
    return tuple(lines)
