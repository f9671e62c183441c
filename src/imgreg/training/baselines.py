"""The baselines of a training: logistic regression on the clean features of the same train photos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.baselines import FLATTENED, MEANS, Predicted, StudyBaseline, study_baseline
from imgreg.analysis.logistic_regression import (
    INVERSE_PENALTIES,
    MAX_TRAIN_PHOTOS,
    LogisticRegressionFit,
    fit_logistic_regression,
    stratified_subset,
)
from imgreg.data.index import Photo, labels_of
from imgreg.data.split import Split
from imgreg.features.extract import FeatureSource, extract
from imgreg.heads.forward import score
from imgreg.progress import Watcher
from imgreg.runs.trial import Trial
from imgreg.session import Session
from imgreg.training.cache import open_cache
from imgreg.training.resampling import ResampledDataset

_PORTION = 512  # photos whose whole features are in memory at once


def baselines_of_split(
    split: Split, *, classes: Sequence[str], source: FeatureSource, watcher: Watcher
) -> tuple[Predicted, ...]:
    """Let each baseline answer the validation photos; with cross-validation one a fold, as a head."""
    folds: list[tuple[Predicted, ...]] = []
    for of_train, of_val in split.rows:
        watcher.step("baselines", len(folds), len(split.rows), "")
        train, val = [split.train[row] for row in of_train], [split.val[row] for row in of_val]
        folds.append(predict_baselines(train, val, classes=classes, source=source, watcher=watcher))
    watcher.step("baselines", len(folds), len(folds), "")
    if len(folds) == 1 or not all(folds):
        return folds[0] if len(folds) == 1 else ()
    order = np.argsort(np.concatenate([of_val for _, of_val in split.rows]))
    return tuple(
        Predicted(
            name=same[0].name,
            probabilities=np.concatenate([one.probabilities for one in same])[order],
            train_loss=fmean(one.train_loss for one in same),
            note=f"In each fold: {same[0].note}"
            if len({one.note for one in same}) == 1
            else "C chosen separately in each fold.",
        )
        for same in zip(*folds, strict=True)
    )


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
        None of them, with a warning, where a class has a single train photo: no penalty can be chosen then.
    """
    labels = labels_of(train, classes)
    if int(np.bincount(labels, minlength=len(classes)).min()) < 2:
        watcher.say(
            "Baselines skipped: choosing the regularization strength of logistic regression needs 2 train "
            "photos per class."
        )
        return ()
    rows = stratified_subset(labels, n_most=MAX_TRAIN_PHOTOS)
    features = np.concatenate(list(_portions([train[row] for row in rows], source=source)))
    names = {"map": (FLATTENED, MEANS), "avg": (MEANS,), "max": (FLATTENED,)}[source.base.stored]
    fits = [fit_logistic_regression(_pooled(features, name), labels[rows]) for name in names]
    answers = [
        [fit.probabilities(_pooled(portion, name)) for name, fit in zip(names, fits, strict=True)]
        for portion in _portions(other, source=source)
    ]
    return tuple(
        Predicted(name, np.concatenate(found), fit.train_loss, _note(fit, n_train=len(train)))
        for name, fit, found in zip(names, fits, zip(*answers, strict=True), strict=True)
    )


def baselines_of_study(
    resampled: ResampledDataset, trials: Mapping[str, Sequence[Trial]], *, session: Session
) -> tuple[StudyBaseline, ...]:
    """Fit each baseline on the train photos of every repeat, and compare each recipe with it on the test photos.

    Parameters
    ----------
    trials : mapping of str to sequence of Trial
        The trials of each recipe, in the order of the repeats.
    """
    index, repeats, watcher = resampled.index, resampled.repeats, session.watcher
    classes = index.classes
    scores: dict[str, list[tuple[float, float]]] = {}
    with open_cache(session) as cache:
        source = FeatureSource(cache, base=resampled.base.identity)
        extract(
            {photo: [(0, None)] for photo in index.photos},
            source=source,
            load=resampled.base.engine_or_workers,
            on_view=watcher.stage("computing features"),
            on_block=watcher.stage("checking cached features"),
        )
        warnings: list[str] = []
        for done, repeat in enumerate(repeats):
            watcher.step("baselines", done, len(repeats), "")
            train, test = repeat.split.train, repeat.split.test
            quiet = Watcher(say=warnings.append)
            for one in predict_baselines(train, test, classes=classes, source=source, watcher=quiet):
                scores.setdefault(one.name, []).append(score(one.probabilities, labels_of(test, classes)))
        watcher.step("baselines", len(repeats), len(repeats), "")
    for line in dict.fromkeys(warnings):
        watcher.say(line)
    recipes = {name: [trial.test_loss for trial in row] for name, row in trials.items()}
    return tuple(
        study_baseline(
            name,
            losses=[loss for loss, _ in row],
            accuracies=[accuracy for _, accuracy in row],
            recipes=recipes,
            n_train=fmean(len(repeat.split.train) for repeat in repeats),
            n_test=fmean(len(repeat.split.test) for repeat in repeats),
        )
        for name, row in scores.items()
        if len(row) == len(repeats)
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
        f"C = {fit.inverse_penalty:g}, chosen from {lowest:g} to {highest:g} by cross-validation within the train "
        f"photos{some}."
    )
