"""A study's grid: every recipe on every repeat, from the cache or trained now on cached features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imgreg.config import Settings
from imgreg.data.index import labels_of
from imgreg.data.resample import Repeat
from imgreg.data.split import Split
from imgreg.errors import DivergedError
from imgreg.features.cache import FeatureCache
from imgreg.heads.checkpoint import checkpointer, forget_checkpoint, read_checkpoint
from imgreg.heads.epochs import Hooks
from imgreg.heads.forward import score
from imgreg.heads.training_curves import FittedHead
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS, Trial, TrialStore
from imgreg.session import Session
from imgreg.training.cache import open_cache
from imgreg.training.checkpoints import checkpoint_path, photos_digest, training_key
from imgreg.training.dataset import Dataset, ResampledDataset
from imgreg.training.fit import Prepared, fit_split, predict_with, prepare


@dataclass(frozen=True)
class Grid:
    """What was asked for, as far as it could be trained.

    Attributes
    ----------
    trials : dict of str to list of Trial
        Recipe to its trials, one a repeat.
    diverged : dict of str to str
        Recipes that are left out because their loss became NaN or infinite, with a message.
    n_trained, n_kept : int
        Trials trained now, and taken from the cache.
    """

    trials: dict[str, list[Trial]]
    diverged: dict[str, str]
    n_trained: int
    n_kept: int


def run_trials(resampled: ResampledDataset, *, settings: Sequence[Settings], session: Session) -> Grid:
    """Train every recipe on every repeat, repeat by repeat; trials that are in the cache are taken from there.

    Parameters
    ----------
    settings : sequence of Settings
        One a recipe, the control first.
    session : Session
        With `resume` False all are trained again; with True a message says so if none is in the cache.

    Raises
    ------
    DivergedError
        If the control's loss becomes NaN or infinite; any other recipe is left out.
    """
    repeats, watcher = resampled.repeats, session.watcher
    store = TrialStore(cache_folder() / TRIALS)
    keys = [[_key(one, repeat, resampled) for one in settings] for repeat in repeats]
    found = [[None if session.resume is False else store.get(key) for key in row] for row in keys]
    n_trials, n_kept = len(repeats) * len(settings), sum(trial is not None for row in found for trial in row)
    if session.resume and not n_kept:
        watcher.say("No interrupted training of these photos and settings was found; starting from the beginning.")
    n_done = n_kept
    trials: dict[str, list[Trial]] = {one.recipe.name: [] for one in settings}
    diverged: dict[str, str] = {}
    with open_cache(session) as cache:
        missing = [one for i, one in enumerate(settings) if any(row[i] is None for row in found)]
        prepared = _prepared(missing, resampled, cache=cache, watcher=watcher)
        for repeat, row, row_keys in zip(repeats, found, keys, strict=True):
            for recipe, trial, key in zip(trials, row, row_keys, strict=True):
                if recipe in diverged:
                    continue
                where = f"{recipe}, repeat {repeat.number}" + (f".{repeat.fold}" if repeat.fold else "")
                if trial is None:
                    tell = partial(watcher.step, "training heads", n_done, n_trials, where)
                    try:
                        trial = _train_trial(prepared[recipe], repeat, key=key, session=session, tell=tell)
                    except DivergedError as error:
                        forget_checkpoint(checkpoint_path(key))
                        if recipe == settings[0].recipe.name:
                            raise
                        diverged[recipe] = f"{where}: {error} The recipe is left out."
                        watcher.say(diverged[recipe])
                        continue
                    store.put(key, trial)
                    forget_checkpoint(checkpoint_path(key))
                    n_done += 1
                    watcher.step("training heads", n_done, n_trials, where)
                trials[recipe].append(trial.model_copy(update={"recipe": recipe}))
    whole = {name: row for name, row in trials.items() if name not in diverged}
    return Grid(whole, diverged, n_trained=n_done - n_kept, n_kept=n_kept)


def _key(settings: Settings, repeat: Repeat, resampled: ResampledDataset) -> str:
    return training_key(
        settings,
        head_seed=_seed(settings, repeat),
        photos=photos_digest(repeat.split),
        classes=resampled.index.classes,
        identity=resampled.base.identity,
    )


def _prepared(
    settings: Sequence[Settings], resampled: ResampledDataset, *, cache: FeatureCache, watcher: Watcher
) -> dict[str, Prepared]:
    """Each recipe with the features of all photos, augmented views too: each photo trains in some repeat."""
    index = resampled.index
    everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)
    return {
        one.recipe.name: prepare(everyone, base=resampled.base, settings=one, cache=cache, watcher=watcher)
        for one in settings
    }


def _train_trial(prepared: Prepared, repeat: Repeat, *, key: str, session: Session, tell: Callable[[], None]) -> Trial:
    """Train one head, or resume it, and score it on the test photos. raises DivergedError"""
    path = checkpoint_path(key)
    hooks = Hooks(
        on_epoch=lambda _: tell(),
        on_step=tell,
        resume_from=None if session.resume is False else read_checkpoint(path),
        keep=checkpointer(path, say=session.watcher.say),
    )
    fitted = fit_split(prepared, repeat.split, seed=_seed(prepared.settings, repeat), hooks=hooks)
    if fitted.warning:
        session.watcher.say(f"{prepared.settings.recipe.name}, repeat {repeat.number}: {fitted.warning}")
    return _trial(prepared, repeat, fitted)


def _trial(prepared: Prepared, repeat: Repeat, fitted: FittedHead) -> Trial:
    split, history = repeat.split, fitted.history
    labels = labels_of(split.test, prepared.classes)
    predicted = predict_with(prepared, fitted, split.test)
    loss, accuracy = score(predicted, labels)
    own = history.train_true_class
    assert own is not None  # fit_head keeps it
    right = own > 0.5
    return Trial(
        recipe=prepared.settings.recipe.name,
        repeat=repeat.number,
        fold=repeat.fold,
        n_train=len(split.train),
        n_val=len(split.val),
        best_epoch=history.best.epoch,
        best_val_loss=history.best.val_loss,
        test_loss=loss,
        test_accuracy=accuracy,
        train_losses=tuple(history.column("train_loss").tolist()),
        val_losses=tuple(history.column("val_loss").tolist()),
        test_labels=tuple(labels.tolist()),
        test_probabilities=tuple(map(tuple, predicted.astype(np.float64).round(7).tolist())),
        train_own_last=tuple(own[-1].astype(np.float64).round(7).tolist()),
        train_forgotten=tuple((right[:-1] & ~right[1:]).sum(axis=0).tolist()),
    )


def _seed(settings: Settings, repeat: Repeat) -> int:
    """Of initial weights, order and dropout: another each repeat, the same for every recipe."""
    return int(np.random.default_rng([settings.seed, repeat.number, repeat.fold]).integers(2**32))
