"""The baselines of a training: logistic regression on the clean features of the same train photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.baselines import FLATTENED, MEANS, Predicted
from imgreg.analysis.logistic_regression import (
    INVERSE_PENALTIES,
    MAX_TRAIN_PHOTOS,
    LogisticRegressionFit,
    fit_logistic_regression,
    stratified_subset,
)
from imgreg.features.extract import FeatureSource
from imgreg.photos.index import Photo, labels_of
from imgreg.workflows.watch import Watcher

_PORTION = 512  # photos whose whole features stand in memory at once


def predict_baselines(
    train: Sequence[Photo],
    other: Sequence[Photo],
    *,
    classes: Sequence[str],
    source: FeatureSource,
    watcher: Watcher,
) -> tuple[Predicted, ...]:
    """Fit each baseline on the train photos and let it answer the others.

    The clean features of all these photos have to be in the cache. Where pooled features are stored, they are all
    there is, and one baseline is fitted.

    Returns
    -------
    tuple of Predicted
        None of them, which is told, where a class has a single train photo: no penalty can be chosen then.
    """
    labels = labels_of(train, classes)
    if int(np.bincount(labels, minlength=len(classes)).min()) < 2:
        watcher.say("Baselines are left out: choosing the penalty of logistic regression takes 2 train photos a class.")
        return ()
    rows = stratified_subset(labels, n_most=MAX_TRAIN_PHOTOS)
    features = np.concatenate(list(_portions([train[row] for row in rows], source=source)))
    names = {"map": (FLATTENED, MEANS), "avg": (MEANS,), "max": (FLATTENED,)}[source.base.stored]
    fits: list[LogisticRegressionFit] = []
    for name in names:
        watcher.step("baselines", len(fits), len(names), name)
        fits.append(fit_logistic_regression(_pooled(features, name), labels[rows]))
        watcher.step("baselines", len(fits), len(names), name)
    answers = [
        [fit.probabilities(_pooled(portion, name)) for name, fit in zip(names, fits, strict=True)]
        for portion in _portions(other, source=source)
    ]
    return tuple(
        Predicted(name, np.concatenate(found), _note(fit, n_train=len(train)))
        for name, fit, found in zip(names, fits, zip(*answers, strict=True), strict=True)
    )


def _pooled(features: NDArray[np.float16], name: str) -> NDArray[np.floating]:
    return features.mean(axis=(1, 2), dtype=np.float32) if name == MEANS else features.reshape(len(features), -1)


def _portions(photos: Sequence[Photo], *, source: FeatureSource) -> Iterator[NDArray[np.float16]]:
    """Clean features, (n, h, w, c)."""
    for start in range(0, len(photos), _PORTION):
        yield source.read(photos[start : start + _PORTION], 0)


def _note(fit: LogisticRegressionFit, *, n_train: int) -> str:
    some = "" if fit.n_train == n_train else f" on {fit.n_train} of the {n_train} train photos"
    lowest, highest = INVERSE_PENALTIES[0], INVERSE_PENALTIES[-1]
    return (
        f"C = {fit.inverse_penalty:g}, of {lowest:g} to {highest:g}, by cross-validation inside the train photos{some}."
    )
