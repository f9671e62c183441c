"""Epochs of heads that train together: the loop that fit.py and finetune.py share.

In: a model that holds one head at a time, and the features of a split. Out: what training_curves.py records. Must not
know: layers, optimizers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.errors import DivergedError
from imgreg.features.tta import CLEAN, tta_views
from imgreg.heads.checkpoint import Checkpoint
from imgreg.heads.ensemble import Arrays, joined
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.steps import weight_penalty
from imgreg.heads.training_curves import Curves, FittedHead, Fold, HeadEpoch, SplitFeatures
from imgreg.heads.views import IntArray, Views
from imgreg.runs.history import Epoch

KEPT_BYTES = 3 * 2**28  # of train features, and a third as much of validation features; beyond it they are read again


@dataclass(frozen=True)
class Hooks:
    """What is called while heads train.

    Attributes
    ----------
    on_epoch : callable, optional
        Called with each epoch's figures.
    on_finetune_epoch : callable, optional
        Called with those of fine-tuning in its place.
    on_step : callable, optional
        Called every 32 gradient steps, and at each one in fine-tuning; what it raises ends the training.
    keep : callable, optional
        Called at each epoch's end with a function that takes a checkpoint.
    resume_from : Checkpoint, optional
        Of an interrupted training of the same heads; the result is the same as if it had not been interrupted.
    monitor : LayerMonitor, optional
        Records the layers of the first head, for the history.
    callbacks : sequence of keras.callbacks.Callback
        Called for the head's epochs, not for those of fine-tuning, with the figures of the history as logs. The model
        that they see holds the last fold's head.
    """

    on_epoch: Callable[[Epoch], None] | None = None
    on_finetune_epoch: Callable[[Epoch], None] | None = None
    on_step: Callable[[], None] | None = None
    keep: Callable[[Callable[[], Checkpoint]], None] | None = None
    resume_from: Checkpoint | None = None
    monitor: LayerMonitor | None = None
    callbacks: Sequence[Any] = ()


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class Phase:
    """A row of epochs with its own early stopping.

    Attributes
    ----------
    first : int
        Number of its first epoch; early stopping looks at its own epochs only.
    keeps_last : bool
        Whether the heads of its last epoch are kept, once all are done, instead of those of the best epoch.
    """

    first: int
    n_epochs: int
    patience_epochs: int
    min_delta: float = 0.0
    keeps_last: bool = False

    def is_over(self, val_losses: Sequence[float]) -> bool:
        """Whether early stopping ends it after these epochs."""
        since_better = epochs_since_better(val_losses, min_delta=self.min_delta)
        return self.patience_epochs > 0 and since_better >= self.patience_epochs


@dataclass(eq=False)
class HeadState:
    """One head between its epochs; `stored` are its variables while another head's are in the model."""

    fold: Fold
    draw: np.random.Generator
    stored: list[NDArray[Any]] | None = None


@dataclass(frozen=True)
class EpochTask:
    """What a model trains a head on in one epoch.

    Attributes
    ----------
    number : int
        Counted from 1.
    view : int
        Of the train photos.
    val_losses : sequence of float
        Of the phase's epochs before.
    """

    number: int
    view: int
    val_losses: Sequence[float]


class SplitViews:
    """The features of train and validation photos as tensors, view by view."""

    def __init__(self, recipe: Recipe, data: SplitFeatures) -> None:
        self._n_views = recipe.n_views
        self.scored = tta_views(mirror=recipe.prediction.mirror)
        self.train = Views(data.train, kept_bytes=KEPT_BYTES, first=self.scored)
        self.val = Views(data.val, kept_bytes=KEPT_BYTES // 3, first=self.scored)

    def of_epoch(self, number: int) -> int:
        """The view of the train photos that this epoch trains on."""
        return 1 + (number - 1) % self._n_views if self._n_views else CLEAN


class SharedModel(Protocol):
    """One compiled model and optimizer, into which each head's variables are put for its epoch."""

    keras: Any

    def load(self, head: HeadState) -> None: ...

    def values(self, head: HeadState) -> list[NDArray[Any]]: ...

    def arrays(self, head: HeadState) -> tuple[Arrays, Arrays]:
        """A head's weights and its fine-tuned convolutions, which may be none."""
        ...

    def train_epoch(
        self, photos: Views, head: HeadState, *, task: EpochTask, on_step: Callable[[], None] | None
    ) -> tuple[float, float]:
        """Give the mean objective and the first step's learning rate."""
        ...

    def answer(self, photos: Views, rows: IntArray, *, scored: Sequence[int]) -> NDArray[np.float32]: ...

    def divergence(self, number: int, what: str, *, rate: float) -> str: ...


class Exchanged:
    """Keras variables that hold one head's values at a time.

    Compiling takes seconds a model, exchanging the values milliseconds.
    """

    def __init__(self, variables: Sequence[Any], *, forward: Callable[[Views, int, IntArray], NDArray[np.float32]]):
        self._variables, self._forward = list(variables), forward
        self._holder: HeadState | None = None

    def load(self, head: HeadState) -> None:
        """Put a head's variables into the model, and store those of the head before."""
        if self._holder is head:
            return
        assert head.stored is not None  # of every head that is not in the model
        if self._holder is not None:
            self._holder.stored = self.values(self._holder)
        for variable, value in zip(self._variables, head.stored, strict=True):
            variable.assign(value)
        self._holder, head.stored = head, None

    def resume(self, heads: Sequence[HeadState], values: list[NDArray[Any]], *, n_epochs: int) -> None:
        """Put heads that no step was taken with where a checkpoint left them: their variables, and what they draw."""
        n_values = len(self._variables)
        for k, head in enumerate(heads):
            head.stored = values[k * n_values : (k + 1) * n_values]
            for _ in range(n_epochs):
                head.draw.permutation(len(head.fold.train))  # as it was in that epoch

    def values(self, head: HeadState) -> list[NDArray[Any]]:
        """Copies of a head's variables: the model's, then the optimizer's."""
        return [np.array(v.numpy()) for v in self._variables] if head.stored is None else head.stored

    def answer(self, photos: Views, rows: IntArray, *, scored: Sequence[int]) -> NDArray[np.float32]:
        """(len(rows), n_classes) probabilities in inference mode, the mean over the test-time views."""
        answers = [self._forward(photos, view, rows) for view in scored]
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)


def train_together(
    model: SharedModel, heads: Sequence[HeadState], curves: Curves, *, phase: Phase, views: SplitViews, hooks: Hooks
) -> FittedHead:
    """Train heads epoch by epoch, from where the curves end to the end of the phase.

    Raises
    ------
    DivergedError
        If a loss or a weight becomes NaN or infinite, with the epochs before it and their best heads.
    """
    model.keras.stop_training = False
    for callback in hooks.callbacks:
        callback.set_params({"epochs": phase.n_epochs, "verbose": 0})
        callback.set_model(model.keras)
        callback.on_train_begin()
    for number in range(len(curves.epochs) + 1, phase.first + phase.n_epochs):
        task = EpochTask(number, views.of_epoch(number), [row.val_loss for row in curves.epochs[phase.first - 1 :]])
        if phase.is_over(task.val_losses) or model.keras.stop_training:
            break
        for callback in hooks.callbacks:
            callback.on_epoch_begin(number - 1)
        started = time.perf_counter()
        done, rate = [], 0.0
        for head in heads:
            model.load(head)
            objective, rate = model.train_epoch(views.train, head, task=task, on_step=hooks.on_step)
            done.append(_score(model, head, views, objective=objective))
            if (what := not_finite(model.keras, done[-1])) is not None:
                kept = curves.fitted() if curves.epochs else None
                raise DivergedError(model.divergence(number, what, rate=rate), kept=kept)
            if hooks.monitor is not None and head is heads[0]:
                hooks.monitor.record(model.keras, train=views.train.photos, rows=head.fold.train, epoch=number)
        if curves.add(done, number=number, rate=rate, started=started):
            curves.keep([model.arrays(head) for head in heads])
        if hooks.on_epoch is not None:
            hooks.on_epoch(curves.epochs[-1])
        if hooks.keep is not None:
            hooks.keep(lambda: _checkpoint(model, heads, curves))
        for callback in hooks.callbacks:
            callback.on_epoch_end(number - 1, _logs(curves.epochs[-1]))
    if phase.keeps_last and len(curves.epochs) + 1 == phase.first + phase.n_epochs and not model.keras.stop_training:
        curves.keep([model.arrays(head) for head in heads])
    for callback in hooks.callbacks:
        callback.on_train_end(_logs(curves.epochs[-1]))
    return curves.fitted()


def _score(model: SharedModel, head: HeadState, views: SplitViews, *, objective: float) -> HeadEpoch:
    """Score the head that is in the model on its own photos."""
    return HeadEpoch(
        objective=objective,
        weight_penalty=float(weight_penalty(model.keras)),
        learned=model.answer(views.train, head.fold.train, scored=views.scored),
        predicted=model.answer(views.val, head.fold.val, scored=views.scored),
    )


def _checkpoint(model: SharedModel, heads: Sequence[HeadState], curves: Curves) -> Checkpoint:
    fitted = curves.fitted()
    return Checkpoint(
        variables=[value for head in heads for value in model.values(head)],
        best_weights=joined(fitted.heads),
        history=fitted.history,
        best_blocks=joined(fitted.blocks),
        finetuned_from=fitted.finetuned_from,
    )


def _logs(row: Epoch) -> dict[str, float]:
    """What Keras' callbacks get of an epoch."""
    figures = {"accuracy": row.train_accuracy, "loss": row.train_loss}
    return figures | {"val_accuracy": row.val_accuracy, "val_loss": row.val_loss}


def epochs_since_better(val_losses: Sequence[float], *, min_delta: float = 0.0) -> int:
    """Count the epochs since the last that was better by more than min_delta nats, as keras.callbacks.EarlyStopping.

    >>> epochs_since_better([0.9, 0.8, 0.79, 0.78]), epochs_since_better([0.9, 0.8, 0.79, 0.78], min_delta=0.05)
    (0, 2)
    """
    best, n_waited = math.inf, 0
    for loss in val_losses:
        if loss < best - min_delta:
            best, n_waited = loss, 0
        else:
            n_waited += 1
    return n_waited


def not_finite(model: Any, done: HeadEpoch) -> Literal["the loss became", "the weights became"] | None:
    """What is no longer a finite number after a head's epoch; None if all is well.

    The weights are looked at for themselves: a gradient that is not finite stays in them, whereas the loss may come out
    finite because some processors' relu turns NaN into 0.
    """
    import tensorflow as tf

    if not math.isfinite(done.objective) or not all(np.isfinite(p).all() for p in (done.learned, done.predicted)):
        return "the loss became"
    weights = [v for v in model.variables if v.dtype == "float32"]  # not the state of dropout's seeds
    if not all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in weights):
        return "the weights became"
    return None
