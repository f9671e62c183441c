"""Prepared features and a recipe in, a trained head out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.data.index import Photo, labels_of
from imgreg.data.split import Split
from imgreg.errors import DivergedError
from imgreg.features.stored import stored_shape
from imgreg.features.tta import tta_views
from imgreg.heads.checkpoint import checkpointer
from imgreg.heads.ensemble import mean_probabilities
from imgreg.heads.epochs import NO_HOOKS, Hooks
from imgreg.heads.finetune import finetune, tuned_answers
from imgreg.heads.fit import fit_head
from imgreg.heads.graph import head_graph
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.plan import plan_head
from imgreg.heads.silencing import Silenced, silenced_scores
from imgreg.heads.training_curves import FittedHead, Fold, SplitFeatures
from imgreg.progress import Watcher
from imgreg.reports.tensorboard import LiveEvents
from imgreg.runs.history import Epoch
from imgreg.session import Session
from imgreg.training.checkpoints import checkpoint_path, photos_digest, resumable_training, training_key
from imgreg.training.dataset import Dataset
from imgreg.training.prepare import Prepared


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    Attributes
    ----------
    diverged : str
        Why training ended early, where a loss was NaN or infinite; else empty.
    checkpoint : Path
        Of no use once the run is written.
    test_probabilities : (n_test, n_classes) float32 or None
        By the kept head; None without test photos.
    val_labels : (n_val,) int
    silenced : tuple of Silenced
        Validation scores of the kept head with hidden units set to zero.
    """

    fitted: FittedHead
    diverged: str
    checkpoint: Path
    test_probabilities: NDArray[np.float32] | None
    val_labels: NDArray[np.int64]
    seconds_head: float
    silenced: tuple[Silenced, ...] = ()

    @property
    def val_probabilities(self) -> NDArray[np.float32]:
        """(n_val, n_classes) float32, each photo by the kept head that was not trained on it."""
        history = self.fitted.history
        return np.asarray(history.val_probabilities[history.kept.epoch - 1])


def fit_on(
    dataset: Dataset,
    prepared: Prepared,
    *,
    session: Session,
    on_step: Callable[[], None] | None = None,
    events: LiveEvents | None = None,
) -> Outcome:
    """Train one head on prepared features, or resume its interrupted training. Several may run at once.

    Parameters
    ----------
    on_step : callable, optional
        Called several times an epoch; what it raises ends the training.
    events : LiveEvents, optional
        TensorBoard's files, written as the head trains.

    Raises
    ------
    DivergedError
        If a loss became NaN or infinite in the first epoch; later, the best epoch before that is kept.
    """
    started = time.perf_counter()
    recipe, split, say = prepared.settings.recipe, dataset.split, session.watcher.say
    seed, base, n_epochs = prepared.settings.seed, prepared.source.base, _n_epochs(recipe)
    photos, classes = photos_digest(split), prepared.classes
    key = training_key(prepared.settings, head_seed=seed, photos=photos, classes=classes, identity=base)
    checkpoint = checkpoint_path(key)
    resume = False if session.callbacks else session.resume
    resume_from = resumable_training(checkpoint, resume=resume, what=recipe.name, n_epochs=n_epochs, say=say)
    seconds_before = float(resume_from.history.column("seconds").sum()) if resume_from else 0.0
    if events is not None:
        shape = stored_shape(base.image_size, base.stored)
        events.graph(head_graph(recipe.head, feature_shape=shape, n_classes=len(classes)))
    hooks = Hooks(
        on_epoch=_shown("training", recipe, session.watcher, events, n_epochs=recipe.training.epochs),
        on_finetune_epoch=_shown("fine-tuning", recipe, session.watcher, events, n_epochs=n_epochs),
        on_step=on_step,
        resume_from=resume_from,
        keep=None if session.callbacks else checkpointer(checkpoint, say=say),
        monitor=LayerMonitor(on_values=events.layers if events is not None else None),
        callbacks=session.callbacks,
    )
    try:
        fitted, diverged = fit_split(prepared, split, seed=seed, hooks=hooks), ""
        if fitted.warning:
            say(fitted.warning)
    except DivergedError as error:
        if not isinstance(error.kept, FittedHead):
            raise
        fitted, diverged = error.kept, str(error)
    return Outcome(
        fitted=fitted,
        diverged=diverged,
        checkpoint=checkpoint,
        test_probabilities=predict_with(prepared, fitted, split.test) if split.test else None,
        val_labels=labels_of(split.val, classes),
        seconds_head=time.perf_counter() - started + seconds_before,
        silenced=_silenced(prepared, fitted, split),
    )


def fit_split(prepared: Prepared, split: Split, *, seed: int, hooks: Hooks = NO_HOOKS) -> FittedHead:
    """Train the head of a prepared recipe on a split, and fine-tune where the recipe says so.

    Parameters
    ----------
    seed : int
        Of initial weights, order and dropout; the settings' own seed draws the views.

    Raises
    ------
    DivergedError
        If a loss or a weight becomes NaN or infinite.
    """
    recipe, finetuning = prepared.settings.recipe, prepared.finetuning
    folds, n_classes = [Fold(*rows) for rows in split.rows], len(prepared.classes)
    data = SplitFeatures(prepared.labelled(split.train, augmented=True), prepared.labelled(split.val), n_classes, folds)
    fitted = fit_head(recipe, data, seed=seed, hooks=hooks)
    if finetuning is None:
        return fitted
    deep = replace(prepared, source=finetuning.source)
    data = replace(data, train=deep.labelled(split.train, augmented=True), val=deep.labelled(split.val))
    return finetune(recipe, fitted, data, unfrozen=finetuning.unfrozen, seed=seed, hooks=hooks)


def predict_with(prepared: Prepared, fitted: FittedHead, photos: Sequence[Photo]) -> NDArray[np.float32]:
    """(n, n_classes) probabilities by the kept heads, averaged over them and the recipe's test-time views."""
    recipe, n_classes = prepared.settings.recipe, len(prepared.classes)
    if not fitted.blocks:
        test = prepared.labelled(photos)
        views = [test.all(view) for view in tta_views(mirror=recipe.prediction.mirror)]
        return mean_probabilities(views, plan=plan_head(recipe.head, n_classes=n_classes), heads=fitted.heads)
    assert prepared.finetuning is not None  # or there would be no block
    return tuned_answers(
        replace(prepared, source=prepared.finetuning.source).labelled(photos),
        recipe=recipe,
        fitted=fitted,
        precision=prepared.finetuning.unfrozen.precision,
        n_classes=n_classes,
    )


def _silenced(prepared: Prepared, fitted: FittedHead, split: Split) -> tuple[Silenced, ...]:
    """Nothing of a fine-tuned head: its features are not in the cache."""
    if fitted.blocks:
        return ()
    recipe = prepared.settings.recipe
    return silenced_scores(
        prepared.labelled(split.val),
        rows=[rows for _, rows in split.rows],
        plan=plan_head(recipe.head, n_classes=len(prepared.classes)),
        heads=fitted.heads,
        views=tta_views(mirror=recipe.prediction.mirror),
    )


def _n_epochs(recipe: Recipe) -> int:
    """Epochs of the head and of fine-tuning, at most."""
    return recipe.training.epochs + (recipe.finetune.epochs if recipe.finetune.block != "none" else 0)


def _shown(
    stage: str, recipe: Recipe, watcher: Watcher, events: LiveEvents | None, *, n_epochs: int
) -> Callable[[Epoch], None]:
    """What shows each epoch of a stage to the watcher, and to TensorBoard; `n_epochs` is the last one's number."""

    def on_epoch(row: Epoch) -> None:
        if events is not None:
            events.epoch(row)
        watcher.epoch(recipe.name, row)
        note = f"train {row.train_loss:.3f}, val. {row.val_loss:.3f}"
        watcher.step(f"{stage} {recipe.name}", row.epoch, n_epochs, note)

    return on_epoch
