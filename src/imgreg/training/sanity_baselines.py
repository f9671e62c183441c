"""The sanity baselines of a training: the largest class, colours alone, file metadata alone, and shuffled labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.sanity_baselines import (
    accuracy_interval,
    linear_probabilities,
    majority_probabilities,
)
from imgreg.config import CHEAP_BASELINES, SHUFFLED_LABELS, Settings
from imgreg.data.index import Photo, labels_of
from imgreg.data.metadata import ImageMetadata, colour_shares, file_facts
from imgreg.data.shuffled import with_shuffled_labels
from imgreg.errors import DivergedError
from imgreg.heads.checkpoint import forget_checkpoint
from imgreg.heads.forward import score
from imgreg.progress import Watcher
from imgreg.runs.summary import SanityBaseline
from imgreg.session import Session
from imgreg.training.dataset import Dataset
from imgreg.training.fit import fit_on
from imgreg.training.prepare import Prepared
from imgreg.training.resampling import ResampledDataset
from imgreg.training.trials import run_trials


def sanity_of_run(
    names: Sequence[str], dataset: Dataset, prepared: Prepared, *, watcher: Watcher
) -> tuple[SanityBaseline, ...]:
    """Score each baseline on the validation photos of one run; shuffled-labels trains a head as the run's was."""
    split, classes = dataset.split, dataset.index.classes
    found: list[SanityBaseline] = []
    for name in names:
        watcher.step("sanity baselines", len(found), len(names), name)
        if name == SHUFFLED_LABELS:
            with _left_out_if_diverged(watcher):
                found.append(_shuffled_run(dataset, prepared, watcher=watcher))
        else:
            answers = np.zeros((len(split.val), len(classes)))
            for of_train, of_val in split.rows:
                train, other = [split.train[row] for row in of_train], [split.val[row] for row in of_val]
                answers[of_val] = _cheap(name, train, other, classes=classes)
            labels = labels_of(split.val, classes)
            loss, accuracy = score(answers, labels)
            scored = _scored(name, loss=loss, accuracy=accuracy, n=len(split.val))
            correct = tuple((answers.argmax(axis=1) == labels).tolist())
            found.append(scored.model_copy(update={"correct": correct}))
        watcher.step("sanity baselines", len(found), len(names), name)
    return tuple(found)


def sanity_of_study(
    names: Sequence[str], resampled: ResampledDataset, *, settings: Settings, session: Session
) -> tuple[SanityBaseline, ...]:
    """Score each baseline on the test photos of every repeat, and average; shuffled-labels trains the control.

    The interval is that of one repeat's test photos: repeats share photos, so it does not shrink with their number.
    """
    classes, repeats, watcher = resampled.index.classes, resampled.repeats, session.watcher
    n_test = round(fmean(len(repeat.split.test) for repeat in repeats))
    found = []
    for name in (one for one in names if one != SHUFFLED_LABELS):
        scores: list[tuple[float, float]] = []
        for repeat in repeats:
            watcher.step("sanity baselines", len(scores), len(repeats), name)
            train, test = repeat.split.train, repeat.split.test
            scores.append(score(_cheap(name, train, test, classes=classes), labels_of(test, classes)))
        watcher.step("sanity baselines", len(scores), len(repeats), name)
        loss, accuracy = np.mean(scores, axis=0)
        found.append(_scored(name, loss=loss, accuracy=accuracy, n=n_test))
    if SHUFFLED_LABELS in names:
        with _left_out_if_diverged(watcher):
            found.append(_shuffled_study(resampled, settings=settings, n=n_test, session=session))
    return tuple(found)


@contextmanager
def _left_out_if_diverged(watcher: Watcher) -> Iterator[None]:
    """A baseline that diverges must not cost the user what was trained before it."""
    try:
        yield
    except DivergedError as error:
        watcher.say(f"Sanity baseline {SHUFFLED_LABELS} skipped: {error}")


def _shuffled_study(resampled: ResampledDataset, *, settings: Settings, n: int, session: Session) -> SanityBaseline:
    shuffled = tuple(
        replace(repeat, split=with_shuffled_labels(repeat.split, seed=settings.seed + repeat.number))
        for repeat in resampled.repeats
    )
    grid = run_trials(replace(resampled, repeats=shuffled), settings=[settings], session=replace(session, resume=None))
    trials = grid.trials[settings.recipe.name]
    learned = fmean(fmean(p > 0.5 for p in trial.train_own_last) for trial in trials)
    return _scored(
        SHUFFLED_LABELS,
        loss=fmean(trial.test_loss for trial in trials),
        accuracy=fmean(trial.test_accuracy for trial in trials),
        n=n,
        note=_memorized(settings.recipe.name, learned),
    )


def _shuffled_run(dataset: Dataset, prepared: Prepared, *, watcher: Watcher) -> SanityBaseline:
    settings = prepared.settings
    shuffled = replace(dataset, split=with_shuffled_labels(dataset.split, seed=settings.seed))
    recipe = settings.recipe.model_copy(update={"name": SHUFFLED_LABELS})
    named = replace(prepared, settings=settings.model_copy(update={"recipe": recipe}))
    outcome = fit_on(shuffled, named, session=Session(watcher=watcher))
    forget_checkpoint(outcome.checkpoint)
    last = outcome.fitted.history.last
    return _scored(
        SHUFFLED_LABELS,
        loss=last.val_loss,
        accuracy=last.val_accuracy,
        n=len(dataset.split.val),
        note=_memorized(settings.recipe.name, last.train_accuracy),
    )


def _memorized(recipe: str, share: float) -> str:
    return f"{recipe} fits {share:.0%} of the shuffled train labels by its last epoch: pure memorization."


def _cheap(name: str, train: Sequence[Photo], other: Sequence[Photo], *, classes: Sequence[str]) -> NDArray[np.float64]:
    """(len(other), n_classes) probabilities of the other photos"""
    assert name in CHEAP_BASELINES
    train_labels = labels_of(train, classes)
    if name == "majority":
        return majority_probabilities(train_labels, n=len(other), n_classes=len(classes))
    numbers = sanity_features(name, (*train, *other))
    return linear_probabilities(numbers[: len(train)], train_labels, numbers[len(train) :])


def sanity_features(name: str, photos: Sequence[Photo]) -> NDArray[np.float64]:
    """What colour-histogram or file-metadata knows of each photo, (n, k)."""
    glances = [_glance_of(photo) for photo in photos]
    return np.asarray(np.sqrt(colour_shares(glances)) if name == "colour-histogram" else file_facts(glances))


def _glance_of(photo: Photo) -> ImageMetadata:
    assert photo.metadata is not None  # index_photos takes it
    return photo.metadata


def _scored(name: str, *, loss: float, accuracy: float, n: int, note: str = "") -> SanityBaseline:
    low, high = accuracy_interval(round(accuracy * n), n)
    return SanityBaseline(name=name, loss=float(loss), accuracy=float(accuracy), low=low, high=high, note=note)
