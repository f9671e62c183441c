"""One trial: a recipe on a split, trained in this process or in a worker, and kept in the cache when it is done."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgreg.config import Settings
from imgreg.data.index import PhotoIndex, labels_of
from imgreg.data.reading import naming_machine
from imgreg.data.resample import Repeat
from imgreg.errors import DivergedError
from imgreg.features.block_worker import refuse_other_bits
from imgreg.features.cache import FeatureCache
from imgreg.heads.checkpoint import checkpointer, forget_checkpoint, read_checkpoint
from imgreg.heads.epochs import Hooks
from imgreg.heads.forward import score
from imgreg.heads.training_curves import FittedHead
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS, Trial, TrialStore
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.cache import open_cache
from imgreg.training.checkpoints import VERSIONS_OF, checkpoint_path
from imgreg.training.dataset import Dataset
from imgreg.training.fit import fit_split, predict_with
from imgreg.training.prepare import Prepared, prepare
from imgreg.training.workers import stop_without_parent

KEEP_SECONDS = 86_400.0  # features on a worker's machine: the other workers there may be reading them


@dataclass(frozen=True)
class TrialTask:
    """One trial to train, with all that another process needs for it; the features are in the cache or the store.

    Attributes
    ----------
    key : str
        Of the trial, and of its checkpoint.
    cache : Path or None
        The cache folder; None for that of the machine that trains, and the store that IMGREG_CACHE names.
    cache_bytes : int or None
        As in Session, for such a machine.
    intact : frozenset of str
        Blocks of the feature cache that need not be checked again.
    index : Path or None
        A copy of the feature cache's index, for a worker on another machine.
    expected : mapping of str to str, optional
        `made_with` of the command, which such a worker must equal.
    """

    settings: Settings
    repeat: Repeat
    key: str
    classes: tuple[str, ...]
    base: Backbone
    resume: bool | None
    cache: Path | None
    cache_bytes: int | None
    intact: frozenset[str]
    index: Path | None = None
    expected: Mapping[str, str] | None = None

    @property
    def recipe(self) -> str:
        return self.settings.recipe.name

    @property
    def where(self) -> str:
        """Words for messages."""
        return f"{self.recipe}, repeat {self.repeat.number}" + (f".{self.repeat.fold}" if self.repeat.fold else "")


@dataclass(frozen=True)
class TrialResult:
    """A trained trial, and what the user must know of it."""

    trial: Trial
    said: tuple[str, ...]


def train_trial(task: TrialTask, prepared: Prepared, *, tell: Callable[[], None], say: Callable[[str], None]) -> Trial:
    """Train one head, or resume it, score it on the test photos, and keep that in the cache. raises DivergedError"""
    path = checkpoint_path(task.key)
    hooks = Hooks(
        on_epoch=lambda _: tell(),
        on_step=tell,
        resume_from=None if task.resume is False else read_checkpoint(path),
        keep=checkpointer(path, say=say),
    )
    try:
        fitted = fit_split(prepared, task.repeat.split, seed=trial_seed(task.settings, task.repeat), hooks=hooks)
    except DivergedError:
        forget_checkpoint(path)
        raise
    if fitted.warning:
        say(f"{task.recipe}, repeat {task.repeat.number}: {fitted.warning}")
    trial = _trial(prepared, task.repeat, fitted)
    TrialStore(cache_folder() / TRIALS).put(task.key, trial)
    forget_checkpoint(path)
    return trial


def train_in_worker(task: TrialTask) -> TrialResult:
    """Train a trial in a process that does nothing else, on one core; its features are read from the cache.

    Raises
    ------
    DivergedError
        If a loss became NaN or infinite.
    MachineError
        If this is another machine, whose processor or libraries would compute other bits, or which lacks the store.
    """
    if task.expected is not None:
        refuse_other_bits(task.base.identity, expected=task.expected, packages=VERSIONS_OF)
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    said: list[str] = []
    dataset = Dataset(PhotoIndex(Path(), (), (), task.classes), task.repeat.split, (), 0.0)
    with _features(task, say=said.append) as cache:
        watcher = Watcher(say=said.append)
        prepared = prepare(dataset, base=task.base, settings=task.settings, cache=cache, watcher=watcher)
        try:
            trial = train_trial(task, prepared, tell=stop_without_parent, say=said.append)
        except DivergedError as error:
            raise DivergedError(str(error)) from None  # without the heads that it kept
    return TrialResult(trial, tuple(said))


@contextmanager
def _features(task: TrialTask, *, say: Callable[[str], None]) -> Iterator[FeatureCache]:
    """The cache with a task's features: this machine's own with the store, or the folder that the task names."""
    if task.cache is None:
        watcher = Watcher(say=lambda line: say(f"{socket.gethostname()}: {line}"))
        session = Session(cache_bytes=task.cache_bytes, watcher=watcher)
        with naming_machine(), open_cache(session, keep_seconds=KEEP_SECONDS) as cache:
            yield cache
        return
    os.environ["IMGREG_CACHE"] = str(task.cache)
    with FeatureCache(task.cache, say=say, limit_bytes=sys.maxsize, intact=task.intact, index=task.index) as cache:
        yield cache


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


def trial_seed(settings: Settings, repeat: Repeat) -> int:
    """Of initial weights, order and dropout: another each repeat, the same for every recipe."""
    return int(np.random.default_rng([settings.seed, repeat.number, repeat.fold]).integers(2**32))
