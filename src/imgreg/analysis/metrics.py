"""How good are probabilities on labelled photos? scikit-learn's figures, each with a bootstrap interval over photos.

In: true classes and probabilities. Out: plain numbers. Must not know: photos, heads, files.

The figures are worked out for a thousand resamples at once, as sums weighted by how often each photo was drawn;
scikit-learn's own functions, which take one resample at a time, would need ten seconds and more. tests hold each
figure against scikit-learn's, weighted too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.sanity_baselines import accuracy_interval

N_RESAMPLES = 1000
N_BINS = 15  # of the calibration error; Guo et al. 2017, arXiv:1706.04599


class Figure(BaseModel):
    """One figure with its 95 % bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class Metrics(BaseModel):
    """A classifier on labelled photos.

    With two classes precision, recall, F1 and both areas are those of the second class, as scikit-learn counts;
    with more they are means over the classes, each against the rest. `confusion[i][j]` counts photos of class i that
    were called class j. Losses are in nats.
    """

    model_config = ConfigDict(frozen=True)

    n_photos: int
    classes: tuple[str, ...]
    figures: dict[str, Figure]
    confusion: tuple[tuple[int, ...], ...]


class ClassScores(BaseModel):
    """One class against the rest, with 95 % intervals (Clopper and Pearson); None where no photo is predicted as it."""

    model_config = ConfigDict(frozen=True)

    name: str
    n_photos: int
    precision: Figure | None
    recall: Figure
    f1: float


def class_scores(metrics: Metrics) -> tuple[ClassScores, ...]:
    """Precision, recall and F1 of each class.

    >>> two = Metrics(n_photos=4, classes=("ants", "bees"), figures={}, confusion=((2, 0), (1, 1)))
    >>> [(it.name, round(it.precision.value, 2), it.recall.value, round(it.f1, 2)) for it in class_scores(two)]
    [('ants', 0.67, 1.0, 0.8), ('bees', 1.0, 0.5, 0.67)]
    """
    counts = np.array(metrics.confusion)
    hits, actual, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return tuple(
        ClassScores(
            name=name,
            n_photos=int(actual[i]),
            precision=_share(int(hits[i]), int(predicted[i])) if predicted[i] else None,
            recall=_share(int(hits[i]), int(actual[i])),
            f1=float(2 * hits[i] / (actual[i] + predicted[i])),
        )
        for i, name in enumerate(metrics.classes)
    )


def _share(n: int, of: int) -> Figure:
    low, high = accuracy_interval(n, of)
    return Figure(value=n / of, low=low, high=high)


def measure(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: tuple[str, ...],
    answers: ArrayLike | None = None,
    seed: int = 0,
) -> Metrics:
    """Score probabilities by every figure that scikit-learn has a name for.

    Parameters
    ----------
    labels : (n,) int
        0..len(classes)-1; every class occurs.
    probabilities : (n, n_classes)
        Rows sum to 1.
    answers : (n,) int, optional
        The classes answered; by default those of the highest probability.

    Returns
    -------
    Metrics
        Intervals by the percentile bootstrap: photos resampled 1,000 times, within each class.

    Raises
    ------
    ValueError
        If a class has no photo.
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    said = p.argmax(axis=1) if answers is None else np.asarray(answers)
    missing = [name for i, name in enumerate(classes) if not (true == i).any()]
    if missing:
        raise ValueError(f"no photo of class {missing[0]!r}")
    found = weighted_figures(true, p, said, weights=np.ones((1, len(true))))
    drawn = weighted_figures(true, p, said, weights=_resamples(true, seed=seed))
    bounds = {name: np.percentile(values, [2.5, 97.5]) for name, values in drawn.items()}
    counts = [[int(((true == i) & (said == j)).sum()) for j in range(len(classes))] for i in range(len(classes))]
    return Metrics(
        n_photos=len(true),
        classes=classes,
        figures={
            name: Figure(value=float(values[0]), low=float(bounds[name][0]), high=float(bounds[name][1]))
            for name, values in found.items()
        },
        confusion=tuple(map(tuple, counts)),
    )


def weighted_figures(
    true: NDArray[np.integer], p: NDArray[np.float64], said: NDArray[np.integer], *, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each figure under each row of weights, (n_rows,); as scikit-learn's functions with sample_weight.

    Parameters
    ----------
    weights : (n_rows, n)
        At least one photo of every class above 0 in each row.
    """
    n_classes = p.shape[1]
    of_truth = p[np.arange(len(p)), true].clip(1e-15, 1)
    right = said == true
    hits = np.stack([weights @ (right & (true == k)) for k in range(n_classes)])
    called = np.stack([weights @ (said == k) for k in range(n_classes)])
    actual = np.stack([weights @ (true == k) for k in range(n_classes)])
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(hits / called)  # a class never called: 0, as zero_division=0
    recall, f1 = hits / actual, 2 * hits / (called + actual)
    counted = slice(1, 2) if n_classes == 2 else slice(None)  # of two classes the second, of more the mean
    squares = np.square(p - np.eye(n_classes)[true]).sum(axis=1) / (2 if n_classes == 2 else 1)
    ranked = [_areas(true == k, p[:, k], weights) for k in (range(n_classes)[counted])]
    return {
        "accuracy": weights @ right / total,
        "balanced_accuracy": recall.mean(axis=0),
        "precision": precision[counted].mean(axis=0),
        "recall": recall[counted].mean(axis=0),
        "f1": f1[counted].mean(axis=0),
        "roc_auc": np.mean([roc for roc, _ in ranked], axis=0),
        "pr_auc": np.mean([pr for _, pr in ranked], axis=0),
        "brier": weights @ squares / total,
        "log_loss": weights @ -np.log(of_truth) / total,
        "calibration_error": _calibration_errors(p[np.arange(len(p)), said], right, weights),
    }


def calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, over 15 bins of equal width.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599.

    Examples
    --------
    >>> round(calibration_error([0, 1], [[0.8, 0.2], [0.2, 0.8]]), 6)
    0.2
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    return float(_calibration_errors(p.max(axis=1), p.argmax(axis=1) == true, np.ones((1, len(true))))[0])


def _calibration_errors(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    bins = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    surplus = weights @ ((right - confidence)[:, None] * (bins[:, None] == np.arange(N_BINS)))
    return np.asarray(np.abs(surplus).sum(axis=1) / weights.sum(axis=1))


def _areas(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas under the ROC curve and under precision over recall (the step sum, "average precision")."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of each run of equal scores
    of_positive = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    of_negative = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    tp, fp = of_positive.cumsum(axis=1), of_negative.cumsum(axis=1)
    n_positive, n_negative = tp[:, -1], fp[:, -1]
    roc = (of_negative * (tp - of_positive / 2)).sum(axis=1) / (n_positive * n_negative)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(tp / (tp + fp))  # thresholds above which a resample has no photo
    return roc, (of_positive * precision).sum(axis=1) / n_positive


def _resamples(true: NDArray[np.integer], *, seed: int) -> NDArray[np.float64]:
    """How often each photo is drawn, (N_RESAMPLES, n): as many of each class as there are."""
    draw = np.random.default_rng(seed)
    weights = np.zeros((N_RESAMPLES, len(true)))
    for label in np.unique(true):
        members = np.flatnonzero(true == label)
        weights[:, members] = draw.multinomial(len(members), np.full(len(members), 1 / len(members)), N_RESAMPLES)
    return weights
