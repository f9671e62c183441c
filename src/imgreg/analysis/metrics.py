"""How good are probabilities on labelled photos? scikit-learn's figures, each with a bootstrap interval over photos.

In: true classes and probabilities. Out: plain numbers. Refuses to know: photos, heads, files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

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


def measure(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: tuple[str, ...],
    answers: ArrayLike | None = None,
    seed: int = 0,
    on_resample: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Score probabilities by every figure that scikit-learn has a name for.

    labels          (n,) int, 0..len(classes)-1; every class occurs
    probabilities   (n, n_classes), rows sum to 1
    answers         (n,) int, the classes answered; by default those of the highest probability
    returns         intervals by the percentile bootstrap: photos drawn anew 1,000 times, within each class
    raises          ValueError if a class has no photo
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    p = p / p.sum(axis=1, keepdims=True)  # float32's rows sum to 1 to seven digits, scikit-learn asks for more
    said = p.argmax(axis=1) if answers is None else np.asarray(answers)
    missing = [name for i, name in enumerate(classes) if not (true == i).any()]
    if missing:
        raise ValueError(f"no photo of class {missing[0]!r}")
    from sklearn.metrics import confusion_matrix

    found = _figures(true, p, said)
    draw = np.random.default_rng(seed)
    members = [np.flatnonzero(true == i) for i in range(len(classes))]
    drawn: list[dict[str, float]] = []
    for number in range(N_RESAMPLES):
        rows = np.concatenate([draw.choice(rows, len(rows)) for rows in members])
        drawn.append(_figures(true[rows], p[rows], said[rows]))
        if on_resample is not None:
            on_resample(number + 1, N_RESAMPLES)
    bounds = {name: np.percentile([one[name] for one in drawn], [2.5, 97.5]) for name in found}
    confusion = confusion_matrix(true, said, labels=range(len(classes)))
    return Metrics(
        n_photos=len(true),
        classes=classes,
        figures={
            name: Figure(value=value, low=float(bounds[name][0]), high=float(bounds[name][1]))
            for name, value in found.items()
        },
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, *, answers: ArrayLike | None = None) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, over 15 bins of equal width.

    source   Guo et al. 2017, arXiv:1706.04599

    >>> round(calibration_error([0, 1], [[0.8, 0.2], [0.2, 0.8]]), 6)
    0.2
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    said = p.argmax(axis=1) if answers is None else np.asarray(answers)
    confidence = p[np.arange(len(p)), said]
    bins = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    surplus = np.bincount(bins, weights=(said == true) - confidence, minlength=N_BINS)
    return float(np.abs(surplus).sum() / len(true))


def _figures(true: NDArray[Any], p: NDArray[np.float64], said: NDArray[Any]) -> dict[str, float]:
    from sklearn import metrics as sk

    n_classes = p.shape[1]
    two = n_classes == 2
    average = "binary" if two else "macro"
    precision, recall, f1, _ = sk.precision_recall_fscore_support(true, said, average=average, zero_division=0)
    of_second = p[:, 1] if two else p
    return {
        "accuracy": float(sk.accuracy_score(true, said)),
        "balanced_accuracy": float(sk.balanced_accuracy_score(true, said)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(sk.roc_auc_score(true, of_second, multi_class="ovr")),
        "pr_auc": float(sk.average_precision_score(true, of_second)),
        "brier": float(np.square(p - np.eye(n_classes)[true]).sum(axis=1).mean() / (2 if two else 1)),
        "log_loss": float(sk.log_loss(true, p, labels=range(n_classes))),
        "calibration_error": calibration_error(true, p, answers=said),
    }
