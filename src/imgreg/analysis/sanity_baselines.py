"""Baselines that ignore the image content, beside what the head reaches.

In: a few plain numbers a photo and its class. Out: probabilities, and words on what they mean. Must not know: photos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgreg.analysis.curves import CONFIDENCE
from imgreg.runs.summary import SanityBaseline

INVERSE_PENALTY = 0.03  # scikit-learn's C, on standardized numbers
# Of what is gained over a constant answer, the share that makes a warning (imgreg's own choice). Colours belong
# to what a photo shows, and clearly account for 23 to 41 % of a perfect score on five sets of real photos; the facts of
# the files do not, and account for less than a quarter.
EXPLAINS = {"colour-histogram": 1 / 2, "file-metadata": 1 / 3}
LEAST_GAIN = 0.2  # over a constant answer; a head that gains less has hardly anything for a control to explain
IN_WORDS = {
    "colour-histogram": "a photo's colours alone",
    "file-metadata": "file size, format and camera metadata alone",
}

Float64Array = NDArray[np.float64]


def majority_probabilities(train_labels: NDArray[np.integer], *, n: int, n_classes: int) -> Float64Array:
    """(n, n_classes): the train photos' class shares, whatever the photo."""
    shares = np.bincount(train_labels, minlength=n_classes) / len(train_labels)
    return np.tile(shares, (n, 1))


def linear_probabilities(train: Float64Array, train_labels: NDArray[np.integer], other: Float64Array) -> Float64Array:
    """What scikit-learn's logistic regression on standardized numbers says of other photos, (n_other, n_classes).

    The penalty is fixed: one searched by cross-validation did no better on real photos (docs/log.md) and took fifty
    times as long.

    Parameters
    ----------
    train, other : (n, k)
        With the same k numbers a photo.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=1000))
    model.fit(train, train_labels)
    return np.asarray(model.predict_proba(other), dtype=np.float64)


def accuracy_interval(n_right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, exact.

    References
    ----------
    Clopper & Pearson 1934.

    Examples
    --------
    >>> tuple(round(bound, 3) for bound in accuracy_interval(8, 10))
    (0.444, 0.975)
    """
    from scipy.stats import binomtest

    found = binomtest(n_right, n).proportion_ci(CONFIDENCE, method="exact")
    return float(found.low), float(found.high)


def explains(name: str, *, low: float, largest_share: float, reached: float) -> bool:
    """Whether a control accounts for enough of an accuracy to doubt what it was reached by.

    Parameters
    ----------
    name : str
        A key of EXPLAINS.
    low : float
        Lower bound of the control's accuracy, so that chance raises no alarm.
    largest_share : float
        Of the photos that are of the most frequent class: what a constant answer reaches.
    reached : float
        The accuracy in question; 1 where nothing is trained yet.
    """
    return low - largest_share >= EXPLAINS[name] * max(reached - largest_share, LEAST_GAIN)


def sanity_warnings(
    sanity_baselines: Sequence[SanityBaseline], *, accuracy: float, largest_share: float, on: str
) -> tuple[str, ...]:
    """A sentence for each control that accounts for much of what the head reaches.

    Parameters
    ----------
    sanity_baselines : sequence of SanityBaseline
        All on the same photos as `accuracy`, the head's.
    largest_share : float
        Of these photos that are of the most frequent class.
    on : str
        Which photos these are, e.g. validation.
    """
    return tuple(
        f"Sanity baseline {one.name}: {IN_WORDS[one.name]} tell the classes apart in {one.accuracy:.0%} of the {on} "
        f"photos (95 % interval {one.low:.0%} to {one.high:.0%}; the head: {accuracy:.0%}, always the largest class: "
        f"{largest_share:.0%}). The head may have learned backgrounds or photo sources: collect photos of each class "
        "that do not differ in these."
        for one in sanity_baselines
        if one.name in EXPLAINS and explains(one.name, low=one.low, largest_share=largest_share, reached=accuracy)
    )


def largest_share(labels: ArrayLike) -> float:
    """Share of the photos that are of the most frequent class.

    >>> largest_share([0, 0, 1])
    0.666...
    """
    counts = np.bincount(np.asarray(labels))
    return float(counts.max() / counts.sum())
