"""A study's grid: every recipe on every repeat, from the kept cells or trained now over kept features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imgreg.config import Settings
from imgreg.data.index import PhotoIndex, labels_of
from imgreg.data.resample import Repeat
from imgreg.data.split import Split
from imgreg.errors import DivergedError
from imgreg.features.cache import FeatureCache
from imgreg.heads.checkpoint import checkpointer, forget_checkpoint, read_checkpoint
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import score
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS, Trial, TrialStore
from imgreg.training.checkpoints import checkpoint_path, photos_digest, training_key
from imgreg.training.dataset import Dataset, Repeats
from imgreg.training.fit import Prepared, finetune_on, labelled, prepare, test_answers


@dataclass(frozen=True)
class Grid:
    """What was asked for, as far as it could be trained."""

    trials: dict[str, list[Trial]]  # recipe -> a cell a repeat
    apart: dict[str, str]  # recipes whose loss became no number, with the words for it
    n_trained: int
    n_kept: int


def run_trials(
    laid: Repeats,
    *,
    settings: Sequence[Settings],
    cache_bytes: int | None,
    resume: bool | None = None,
    watcher: Watcher,
) -> Grid:
    """Every recipe on every repeat: kept cells are taken, missing ones trained, repeat by repeat, and kept.

    resume   False: train all of them anew; True: tell if nothing of them is kept
    """

    index, drawn, base = laid.index, laid.drawn, laid.base
    store = TrialStore(cache_folder() / TRIALS)
    keys = []
    for repeat in drawn:
        named = partial(training_key, photos=photos_digest(repeat.split), classes=index.classes, identity=base.identity)
        keys.append([named(one, head_seed=_seed(one, repeat)) for one in settings])
    found = [[None if resume is False else store.get(key) for key in row] for row in keys]
    n_cells, n_kept = len(drawn) * len(settings), sum(trial is not None for row in found for trial in row)
    if resume and not n_kept:
        watcher.say("No interrupted training of these photos and settings was found; starting from the beginning.")
    n_done = n_kept
    trials: dict[str, list[Trial]] = {one.recipe.name: [] for one in settings}
    apart: dict[str, str] = {}
    everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)  # each trains in some repeat
    with FeatureCache(cache_folder(), say=watcher.say, limit_bytes=cache_bytes) as cache:
        prepared = {
            one.recipe.name: prepare(everyone, base=base, settings=one, cache=cache, watcher=watcher)
            for i, one in enumerate(settings)
            if any(row[i] is None for row in found)
        }
        for repeat, row, row_keys in zip(drawn, found, keys, strict=True):
            for one, kept, key in zip(settings, row, row_keys, strict=True):
                recipe = one.recipe.name
                if recipe in apart:
                    continue
                where = f"{recipe}, repeat {repeat.number}" + (f".{repeat.fold}" if repeat.fold else "")
                if kept is None:
                    tell = partial(watcher.step, "training heads", n_done, n_cells, where)
                    try:
                        kept = _train_trial(
                            index, prepared[recipe], repeat, key=key, resume=resume, tell=tell, say=watcher.say
                        )
                    except DivergedError as error:
                        forget_checkpoint(checkpoint_path(key))
                        if one is settings[0]:
                            raise
                        apart[recipe] = f"{where}: {error} The recipe is left out."
                        watcher.say(apart[recipe])
                        continue
                    store.put(key, kept)
                    forget_checkpoint(checkpoint_path(key))
                    n_done += 1
                    watcher.step("training heads", n_done, n_cells, where)
                trials[recipe].append(kept.model_copy(update={"recipe": recipe}))
    whole = {name: row for name, row in trials.items() if name not in apart}
    return Grid(whole, apart, n_trained=n_done - n_kept, n_kept=n_kept)


def _train_trial(
    index: PhotoIndex,
    prepared: Prepared,
    repeat: Repeat,
    *,
    key: str,
    resume: bool | None,
    tell: Callable[[], None],
    say: Callable[[str], None],
) -> Trial:

    recipe, source, classes, split = prepared.settings.recipe, prepared.source, index.classes, repeat.split
    fitted = fit_head(
        recipe,
        train=labelled(split.train, classes=classes, source=source, augmenter=prepared.augmenter),
        val=labelled(split.val, classes=classes, source=source),
        n_classes=len(classes),
        seed=_seed(prepared.settings, repeat),
        on_epoch=lambda _: tell(),
        on_step=tell,
        resume_from=None if resume is False else read_checkpoint(checkpoint_path(key)),
        keep=checkpointer(checkpoint_path(key), say=say),
    )
    if prepared.finetuning is not None:
        fitted = finetune_on(
            prepared.finetuning,
            fitted,
            recipe=recipe,
            split=split,
            classes=classes,
            augmenter=prepared.augmenter,
            seed=_seed(prepared.settings, repeat),
            on_epoch=lambda _: tell(),
            on_step=tell,
        )
    labels = labels_of(split.test, classes)
    predicted = test_answers(
        split.test, fitted, source=source, finetuning=prepared.finetuning, recipe=recipe, classes=classes
    )
    loss, accuracy = score(predicted, labels)
    history = fitted.history
    own = history.train_true_class
    assert own is not None  # fit_head keeps it
    right = own > 0.5
    return Trial(
        recipe=recipe.name,
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
