"""Train heads epoch by epoch and score each epoch honestly, whatever part of the network is being trained.

In: a compiled model into which each head's variables are put in turn, photos, and what is special about this stage.
Out: the heads of the best epoch and the history. Must not know: how the model is built, and how its steps are taken.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.errors import DivergedError
from imgreg.features.tta import CLEAN, tta_views
from imgreg.heads.checkpoint import Checkpoint
from imgreg.heads.compiled import weight_penalty
from imgreg.heads.ensemble import Arrays, joined, separated
from imgreg.heads.epoch_scores import Fold, HeadData, HeadEpoch, epoch_row, epochs_since_better, not_finite, pooled
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.views import IntArray, Views
from imgreg.runs.history import Epoch, History

KEPT_BYTES = 3 * 2**28  # of train features, and a third as much of validation features; beyond it they are read anew


@dataclass(frozen=True)
class FittedHead:
    """Heads as they stood at their best epoch, and how they came there; several of a cross-validated training.

    Attributes
    ----------
    heads : tuple of Arrays
        Of each head its arrays, named layer/array.
    blocks : tuple of Arrays
        Of each head the convolutions that were fine-tuned with it; none where the frozen base is kept.
    finetuned_from : int or None
        The first fine-tuning epoch; None without.
    warning : str
        Why fine-tuning ended early, where its loss became NaN or infinite; else empty.
    """

    heads: tuple[Arrays, ...]
    history: History
    n_parameters: int
    blocks: tuple[Arrays, ...] = ()
    finetuned_from: int | None = None
    warning: str = ""


@dataclass(frozen=True)
class Hooks:
    """What happens while heads are trained.

    Attributes
    ----------
    on_epoch : callable, optional
        Gets each epoch's row; after a resume first those of the epochs before.
    on_step : callable, optional
        Called several times an epoch; what it raises ends the training.
    resume_from : Checkpoint, optional
        Where an interrupted training of the same heads stood: this one goes on there, and comes out the same.
    keep : callable, optional
        Called at each epoch's end with what takes a checkpoint.
    monitor : LayerMonitor, optional
        Records the layers of the first head; what it records is in the history.
    callbacks : sequence of keras.callbacks.Callback
        Called at the beginning and end of training and of each epoch, with the figures of the history: loss, accuracy,
        val_loss, val_accuracy. Their model holds the first head, and its stop_training ends the training.
    """

    on_epoch: Callable[[Epoch], None] | None = None
    on_step: Callable[[], None] | None = None
    resume_from: Checkpoint | None = None
    keep: Callable[[Callable[[], Checkpoint]], None] | None = None
    monitor: LayerMonitor | None = None
    callbacks: Sequence[Any] = ()


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class Stage:
    """What one stage of a training does in its own way.

    Attributes
    ----------
    first, last : int
        Numbers of its epochs.
    patience_epochs : int
        Epochs without a better validation loss among its own after which it ends; 0: never.
    min_delta : float
        How much lower, in nats, counts as better.
    rates : callable
        (epoch, n_steps, validation losses of its epochs) -> (n_steps,) float32 learning rates.
    diverged : callable
        (epoch, what is not finite, learning rate) -> the message.
    """

    first: int
    last: int
    patience_epochs: int
    min_delta: float
    rates: Callable[[int, int, Sequence[float]], NDArray[np.floating]]
    diverged: Callable[[int, str, float], str]


@dataclass(frozen=True)
class Photos:
    """The photos of a training as tensors, and the test-time views that they are scored by."""

    data: HeadData
    train: Views
    val: Views
    scored: tuple[int, ...]


def open_photos(data: HeadData, *, recipe: Recipe) -> Photos:
    """Keep the views that are scored each epoch in memory first."""
    scored = tuple(tta_views(mirror=recipe.prediction.mirror))
    train = Views(data.train, kept_bytes=KEPT_BYTES, first=scored)
    return Photos(data, train, Views(data.val, kept_bytes=KEPT_BYTES // 3, first=scored), scored)


@dataclass(eq=False)
class HeadState:
    """One head between its epochs; `stored` are its variables while another head's are in the shared model."""

    fold: Fold
    draw: np.random.Generator
    stored: list[NDArray[Any]] | None = None


class SharedModel(ABC):
    """One compiled model and its optimizers, into which each head's variables are put for its epoch.

    Compiling takes seconds a model, exchanging the variables some milliseconds.

    Attributes
    ----------
    keras : keras.Model
    variables : list of keras.Variable
        All that a head's next step depends on: the model's, then the optimizers'.
    n_trainable : int
        Trainable parameters of one head, and of its convolutions where these are trained.
    holder : HeadState or None
        Whose variables are in the model.
    """

    keras: Any
    variables: list[Any]
    n_trainable: int
    forward: Callable[[Views, int, IntArray], NDArray[np.float32]]
    holder: HeadState | None = None

    @abstractmethod
    def train_epoch(
        self,
        photos: Views,
        head: HeadState,
        *,
        view: int,
        rates: NDArray[np.floating],
        on_step: Callable[[], None] | None,
    ) -> float:
        """Take a head's steps of one epoch, once it is loaded. Gives the mean objective."""

    @abstractmethod
    def kept(self, heads: Sequence[HeadState]) -> tuple[tuple[Arrays, ...], tuple[Arrays, ...]]:
        """Copies of the heads' arrays, and of their convolutions where these are trained."""

    def load(self, head: HeadState) -> None:
        """Put a head's variables into the model, and store those of the head before."""
        if self.holder is head:
            return
        assert head.stored is not None  # of every head that is not in the model
        if self.holder is not None:
            self.holder.stored = self._copies()
        for variable, value in zip(self.variables, head.stored, strict=True):
            variable.assign(value)
        self.holder, head.stored = head, None

    def put(self, head: HeadState, values: list[NDArray[Any]]) -> None:
        """Replace a head's variables."""
        if self.holder is not head:
            head.stored = values
            return
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def values(self, head: HeadState) -> list[NDArray[Any]]:
        """Copies of a head's variables."""
        return self._copies() if head.stored is None else head.stored

    def answer(self, photos: Views, rows: IntArray, *, scored: Sequence[int]) -> NDArray[np.float32]:
        """(len(rows), n_classes) probabilities in inference mode, the mean over the test-time views."""
        answers = [self.forward(photos, view, rows) for view in scored]
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)

    def _copies(self) -> list[NDArray[Any]]:
        return [np.array(v.numpy()) for v in self.variables]


def resume(
    checkpoint: Checkpoint, model: SharedModel, heads: Sequence[HeadState], *, first: int, hooks: Hooks
) -> FittedHead:
    """Bring heads to where a checkpoint of the same training found them, and tell the hooks of the epochs so far.

    Parameters
    ----------
    first : int
        The stage's first epoch.
    """
    n_values = len(checkpoint.variables) // len(heads)
    for k, head in enumerate(heads):
        model.put(head, list(checkpoint.variables[k * n_values : (k + 1) * n_values]))
        for _ in range(first, len(checkpoint.history.epochs) + 1):
            head.draw.permutation(len(head.fold.train))  # as it was in that epoch
    if hooks.monitor is not None:
        hooks.monitor.rows[:] = checkpoint.history.layers
    if hooks.on_epoch is not None:
        for row in checkpoint.history.epochs:
            hooks.on_epoch(row)
    return kept_of(checkpoint, n_heads=len(heads))


def kept_of(checkpoint: Checkpoint, *, n_heads: int) -> FittedHead:
    """The best heads of a checkpoint."""
    return FittedHead(
        heads=separated(checkpoint.best_weights, n_heads=n_heads),
        history=checkpoint.history,
        n_parameters=0,
        blocks=separated(checkpoint.best_blocks, n_heads=n_heads) if checkpoint.best_blocks else (),
        finetuned_from=checkpoint.finetuned_from,
    )


def train_stage(
    model: SharedModel,
    heads: Sequence[HeadState],
    photos: Photos,
    *,
    recipe: Recipe,
    stage: Stage,
    hooks: Hooks,
    start: FittedHead | None = None,
) -> FittedHead:
    """Train heads epoch by epoch together; the epoch of the lowest plain validation cross-entropy is kept.

    Parameters
    ----------
    start : FittedHead, optional
        The best heads and the history before.

    Raises
    ------
    DivergedError
        If a loss or a weight becomes NaN or infinite, with the epochs before it and their best heads.
    """
    log = _Log(start, n_parameters=len(heads) * model.n_trainable, monitor=hooks.monitor)
    callbacks = _callback_list(hooks.callbacks, model=model.keras, n_epochs=stage.last)

    def checkpoint() -> Checkpoint:
        best, variables = log.fitted(), [value for head in heads for value in model.values(head)]
        return Checkpoint(
            variables, joined(best.heads), best.history, joined(best.blocks) if best.blocks else {}, best.finetuned_from
        )

    for number in range(len(log.epochs) + 1, stage.last + 1):
        val_losses = [row.val_loss for row in log.epochs[stage.first - 1 :]]
        waited = epochs_since_better(val_losses, min_delta=stage.min_delta)
        if stage.patience_epochs and waited >= stage.patience_epochs:
            break
        if callbacks is not None:
            callbacks.on_epoch_begin(number - 1)
        started = time.perf_counter()
        done: list[HeadEpoch] = []
        for head in heads:
            n_steps = math.ceil(len(head.fold.train) / recipe.training.batch_size)
            rates = stage.rates(number, n_steps, val_losses)
            one = _head_epoch(model, head, photos, view=_view(recipe, number), rates=rates, on_step=hooks.on_step)
            if (what := not_finite(model.keras, one)) is not None:
                raise DivergedError(
                    stage.diverged(number, what, float(rates[0])), kept=log.fitted() if log.epochs else None
                )
            done.append(one)
            if hooks.monitor is not None and head is heads[0]:
                hooks.monitor.record(model.keras, train=photos.data.train, rows=head.fold.train, epoch=number)
        predicted, own = pooled(done, photos.data)
        row = epoch_row(done, predicted, photos.data, number=number, rate=float(rates[0]))
        log.add(replace(row, seconds=time.perf_counter() - started), predicted, own)
        if row.val_loss < log.best_loss:
            log.best_loss = row.val_loss
            log.heads, log.blocks = model.kept(heads)
        if stage.first > 1:
            log.finetuned_from = stage.first
        if hooks.on_epoch is not None:
            hooks.on_epoch(log.epochs[-1])
        if hooks.keep is not None:
            hooks.keep(checkpoint)
        if callbacks is not None:
            model.load(heads[0])
            callbacks.on_epoch_end(number - 1, _figures(row))
            if model.keras.stop_training:
                break
    if callbacks is not None:
        callbacks.on_train_end(_figures(log.epochs[-1]))
    return log.fitted()


class _Log:
    """The epochs so far, and the heads of the best."""

    def __init__(self, start: FittedHead | None, *, n_parameters: int, monitor: LayerMonitor | None) -> None:
        history = start.history if start else None
        self.epochs = list(history.epochs) if history else []
        self.best_loss = history.best.val_loss if history else math.inf
        self.heads = start.heads if start else ()
        self.blocks = start.blocks if start else ()
        self.finetuned_from = start.finetuned_from if start else None
        self._val_probabilities = list(history.val_probabilities) if history else []
        self._train_true_class: list[NDArray[np.float32]] = []
        if history:
            assert history.train_true_class is not None  # it was trained here
            self._train_true_class = list(history.train_true_class)
        self._layers = list(history.layers) if history and monitor is None else []
        self._n_parameters, self._monitor = n_parameters, monitor

    def add(self, row: Epoch, predicted: NDArray[np.float32], own: NDArray[np.float32]) -> None:
        self.epochs.append(row)
        self._val_probabilities.append(predicted)
        self._train_true_class.append(own)

    def fitted(self) -> FittedHead:
        # the monitor may have seen an epoch in which another head diverged
        recorded = self._layers if self._monitor is None else self._monitor.rows
        layers = tuple(row for row in recorded if row.epoch <= len(self.epochs))
        history = History(
            tuple(self.epochs), np.stack(self._val_probabilities), np.stack(self._train_true_class), layers
        )
        return FittedHead(self.heads, history, self._n_parameters, self.blocks, self.finetuned_from)


def _view(recipe: Recipe, number: int) -> int:
    return 1 + (number - 1) % recipe.n_views if recipe.n_views else CLEAN


def _head_epoch(
    model: SharedModel,
    head: HeadState,
    photos: Photos,
    *,
    view: int,
    rates: NDArray[np.floating],
    on_step: Callable[[], None] | None,
) -> HeadEpoch:
    model.load(head)
    objective = model.train_epoch(photos.train, head, view=view, rates=rates, on_step=on_step)
    return HeadEpoch(
        objective=objective,
        weight_penalty=float(weight_penalty(model.keras)),
        learned=model.answer(photos.train, head.fold.train, scored=photos.scored),
        predicted=model.answer(photos.val, head.fold.val, scored=photos.scored),
    )


def _callback_list(callbacks: Sequence[Any], *, model: Any, n_epochs: int) -> Any:
    """Keras' own container, told that training begins; None without callbacks."""
    if not callbacks:
        return None
    import keras

    model.stop_training = False
    called = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=n_epochs, verbose=0)
    called.on_train_begin()
    return called


def _figures(row: Epoch) -> dict[str, float]:
    return {
        "loss": row.train_loss,
        "accuracy": row.train_accuracy,
        "val_loss": row.val_loss,
        "val_accuracy": row.val_accuracy,
    }
