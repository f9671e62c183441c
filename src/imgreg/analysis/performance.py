"""The kept head on the photos it is scored on: ROC, precision and recall, calibration, thresholds.

In: true classes and probabilities. Out: points and rows. Must not know: photos, heads, how they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.curves import CONFIDENCE
from imgreg.analysis.metrics import Metrics, measure
from imgreg.runs.folder import Run

N_BINS = 8  # of the reliability diagram, as many photos in each
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """A run's kept head on the photos that it is scored on: the test photos where there are some, else validation's.

    Attributes
    ----------
    rows : tuple of int
        Of run.split, one a photo.
    labels : (n,) int64
    probabilities : (n, n_classes)
    """

    side: str  # test or val
    rows: tuple[int, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class ClassCurve:
    """One class against the rest."""

    name: str
    false_positive_rate: Float64Array
    true_positive_rate: Float64Array
    recall: Float64Array
    precision: Float64Array
    roc_auc: float
    average_precision: float
    share: float  # of the photos that are of this class: the precision of calling all so


@dataclass(frozen=True)
class Bin:
    """Photos of like confidence: its mean, and how many were right, with a 95 % interval (Clopper and Pearson)."""

    confidence: float
    accuracy: float
    low: float
    high: float
    n_photos: int


@dataclass(frozen=True)
class Threshold:
    """Two classes: the second is answered from this probability on. More: the likeliest is, others are left open."""

    at: float
    share: float  # of the photos that are called the second class; of more classes, that get an answer
    precision: float | None  # None where nothing is called; of more classes the accuracy of the answers
    recall: float | None = None
    specificity: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Performance:
    """Everything about one head on the photos it is scored on."""

    side: str
    metrics: Metrics
    curves: tuple[ClassCurve, ...]
    bins: tuple[Bin, ...]
    thresholds: tuple[Threshold, ...]


def scored_photos(run: Run) -> Scored:
    """The photos that a run's kept head is evaluated on."""
    side: Literal["test", "val"] = "test" if run.test_probabilities is not None else "val"
    rows = tuple(i for i, row in enumerate(run.split) if row.on(side))
    labels = np.array([run.summary.classes.index(run.split[i].label) for i in rows], dtype=np.int64)
    kept = run.history.val_probabilities[run.summary.kept_epoch - 1]
    return Scored(side, rows, labels, kept if run.test_probabilities is None else run.test_probabilities)


def performance(scored: Scored, *, classes: tuple[str, ...]) -> Performance | None:
    """Everything a report shows of a head on labelled photos; None where a class has no photo there."""
    true, p = scored.labels, np.asarray(scored.probabilities, dtype=np.float64)
    if len(np.unique(true)) < len(classes):
        return None
    counted = range(1, 2) if len(classes) == 2 else range(len(classes))
    return Performance(
        side=scored.side,
        metrics=measure(true, p, classes=classes),
        curves=tuple(_curve(classes[k], true == k, p[:, k]) for k in counted),
        bins=reliability(true, p),
        thresholds=_of_two(true, p[:, 1]) if len(classes) == 2 else _of_many(true, p),
    )


def reliability(labels: NDArray[np.integer], probabilities: Float64Array) -> tuple[Bin, ...]:
    """Does a head that says 80 % hit 80 %? Photos by the probability of the class answered, as many in each bin.

    References
    ----------
    DeGroot & Fienberg 1983; equal-mass bins as in Nixon et al. 2019, arXiv:1904.01685.
    """
    from scipy.stats import binomtest

    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    bins = []
    for members in np.array_split(order, max(min(N_BINS, len(order) // 5), 1)):
        hits = int(right[members].sum())
        interval = binomtest(hits, len(members)).proportion_ci(CONFIDENCE)
        mean = float(confidence[members].mean())
        bins.append(Bin(mean, hits / len(members), float(interval.low), float(interval.high), len(members)))
    return tuple(bins)


def _curve(name: str, positive: NDArray[np.bool_], scores: Float64Array) -> ClassCurve:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    false, true, _ = roc_curve(positive, scores)
    precision, recall, _ = precision_recall_curve(positive, scores)
    return ClassCurve(
        name=name,
        false_positive_rate=false,
        true_positive_rate=true,
        recall=recall[::-1],
        precision=precision[::-1],
        roc_auc=float(roc_auc_score(positive, scores)),
        average_precision=float(average_precision_score(positive, scores)),
        share=float(positive.mean()),
    )


def _of_two(true: NDArray[np.integer], p: Float64Array) -> tuple[Threshold, ...]:
    rows = []
    for at in THRESHOLDS:
        called, actual = p >= at, true == 1
        hits = int((called & actual).sum())
        rows.append(
            Threshold(
                at=at,
                share=float(called.mean()),
                precision=hits / int(called.sum()) if called.any() else None,
                recall=hits / int(actual.sum()),
                specificity=float((~called & ~actual).sum() / (~actual).sum()),
                accuracy=float((called == actual).mean()),
            )
        )
    return tuple(rows)


def _of_many(true: NDArray[np.integer], p: Float64Array) -> tuple[Threshold, ...]:
    sure, right = p.max(axis=1), p.argmax(axis=1) == true
    return tuple(
        Threshold(at, float((sure >= at).mean()), float(right[sure >= at].mean()) if (sure >= at).any() else None)
        for at in CONFIDENCES
    )


def most_telling(curves: Sequence[ClassCurve], *, limit: int) -> tuple[ClassCurve, ...]:
    """The classes with the lowest areas, if there are too many to draw; in the order given."""
    worst = sorted(range(len(curves)), key=lambda i: curves[i].roc_auc)[:limit]
    return tuple(curves[i] for i in sorted(worst))
