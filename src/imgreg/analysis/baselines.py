"""Does a head beat logistic regression on the same features? Paired photo by photo, with intervals and words.

In: probabilities of the head and of each baseline on the same photos, and their classes. Out: Baselines and sentences.
Refuses to know: features, recipes, how anything is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgreg.analysis.controls import accuracy_interval
from imgreg.analysis.curves import uncertainty
from imgreg.heads.forward import cross_entropies
from imgreg.runs.summary import Baseline, Difference

FLATTENED = "logistic-regression-flattened"
MEANS = "logistic-regression-means"
IN_WORDS = {
    FLATTENED: "logistic regression on the same features",
    MEANS: "logistic regression on the channel means of the same features",
}


@dataclass(frozen=True)
class Predicted:
    """A baseline's probabilities of the photos that the head is scored on.

    Attributes
    ----------
    probabilities : (n, n_classes) float64
    note : str
        How it was fitted.
    """

    name: str
    probabilities: NDArray[np.float64]
    note: str


def beside_head(predicted: Predicted, *, head: ArrayLike, labels: NDArray[np.integer]) -> Baseline:
    """Score a baseline, and the head against it, on the same photos.

    Parameters
    ----------
    head : (n, n_classes)
        The head's probabilities of the same photos, in the same order.
    labels : (n,) int
        The photos' classes.
    """
    of_head, of_baseline = np.asarray(head, dtype=np.float64), predicted.probabilities
    losses = cross_entropies(of_baseline, labels)
    right = of_baseline.argmax(axis=1) == labels
    low, high = accuracy_interval(int(right.sum()), len(labels))
    return Baseline(
        name=predicted.name,
        loss=float(losses.mean()),
        accuracy=float(right.mean()),
        low=low,
        high=high,
        note=predicted.note,
        loss_difference=mean_difference(cross_entropies(of_head, labels) - losses),
        accuracy_difference=mean_difference((of_head.argmax(axis=1) == labels).astype(np.float64) - right),
    )


def mean_difference(differences: NDArray[np.float64]) -> Difference:
    """The mean of paired differences with its 95 % t-interval, None where one photo alone gives none.

    Examples
    --------
    >>> mean_difference(np.array([0.0, 1.0, 2.0, 3.0])).low
    -0.554...
    """
    mean, half = float(differences.mean()), uncertainty(differences)[1]
    if not np.isfinite(half):
        return Difference(mean=mean, low=None, high=None)
    return Difference(mean=mean, low=mean - half, high=mean + half)


def beating(baselines: Sequence[Baseline]) -> Baseline | None:
    """The baseline of the lowest loss among those whose loss is below the head's by their 95 % interval, if any."""
    clear = [one for one in baselines if (low := one.loss_difference.low) is not None and low > 0]
    return min(clear, key=lambda one: one.loss, default=None)


def baseline_sentence(baselines: Sequence[Baseline], *, head_loss: float, on: str = "validation") -> str:
    """How the head stands against the best baseline, with the interval that decides it; empty without baselines.

    Parameters
    ----------
    head_loss : float
        The head's mean loss on the photos that the baselines are scored on.
    on : str
        Which photos these are.
    """
    if not baselines:
        return ""
    worse = beating(baselines)
    one = worse or min(baselines, key=lambda it: it.loss)
    difference = one.loss_difference
    name = IN_WORDS.get(one.name, one.name)
    figures = f"{on} loss {one.loss:.3f}, the head's {head_loss:.3f}"
    if difference.low is None or difference.high is None:
        return f"Too few photos to compare the head with {name} ({figures})."
    interval = (
        f"head minus baseline {difference.mean:+.3f}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f}"
    )
    if worse:
        return f"{name[0].upper()}{name[1:]} does better here: {figures} ({interval})."
    if difference.high < 0:
        return f"The head does better than {name}: {figures} ({interval})."
    return f"No clear difference between the head and {name}: {figures} ({interval})."
