"""Train a head on ready features and keep an honest history. Imports Keras and TensorFlow when called.

Each epoch is one compiled graph (Keras model, loss and optimizer inside): Keras' `fit` takes two to four times as
long on these small steps (docs/log.md). At each epoch's end the same weights score the clean train photos and the
validation photos by one function, in inference mode, as plain cross-entropy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.errors import DivergedError
from imgreg.features.tta import CLEAN, tta_views
from imgreg.heads.batch_norm import moving_statistics, statistics_updater, with_momentum
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.checkpoint import Checkpoint
from imgreg.heads.ensemble import Arrays, joined, separated
from imgreg.heads.forward import both_classes, cross_entropies, score
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.optimizer import build_optimizer, epoch_rates
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.views import IntArray, Labelled, Views
from imgreg.runs.history import Epoch, History

STEPS_A_CALL = 32  # between two of them a signal is heard
KEPT_BYTES = 3 * 2**28  # of train features, and a third as much of validation features; beyond it they are read anew


@dataclass(frozen=True)
class FittedHead:
    """A head as it stood at its best epoch, and how it came there; of a cross-validated training, its heads.

    heads            of each head its arrays, named layer/array
    blocks           of each head the convolutions that were fine-tuned with it; none where the frozen base is kept
    finetuned_from   the first fine-tuning epoch; None without
    """

    heads: tuple[Arrays, ...]
    history: History
    n_parameters: int
    blocks: tuple[Arrays, ...] = ()
    finetuned_from: int | None = None


@dataclass(frozen=True)
class Fold:
    """What one head is trained on, and the photos that it is scored on: rows of `train` and of `val`."""

    train: IntArray
    val: IntArray


def fit_head(
    recipe: Recipe,
    *,
    train: Labelled,
    val: Labelled,
    folds: Sequence[Fold] = (),
    n_classes: int,
    seed: int,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
    resume_from: Checkpoint | None = None,
    keep: Callable[[Callable[[], Checkpoint]], None] | None = None,
    monitor: LayerMonitor | None = None,
) -> FittedHead:
    """Train by the recipe; the epoch of the lowest plain validation cross-entropy is kept.

    With several folds a head is trained for each, epoch by epoch together. An epoch's scores are over all photos: a
    photo's validation score is that of the head which was not trained on it, its train score the mean over the others.
    All heads are kept at the same epoch.

    folds     by default one, of all photos
    seed      one seed in; initial weights, dropout and order get local generators: same machine, same bits
    on_step   called every 32 gradient steps; what it raises ends the training
    begun     where an earlier call with the same arguments stood: this one goes on there, and comes out the same
    keep      called at each epoch's end with what takes a checkpoint
    monitor   records the layers of the first head; what it records stands in the history
    raises    DivergedError if a loss or a weight becomes NaN or infinite, with the epochs before it and their best
              head; FeatureError if a feature is NaN or infinite
    """
    folds = folds or [Fold(np.arange(len(train.labels)), np.arange(len(val.labels)))]
    scored = tta_views(mirror=recipe.prediction.mirror)
    of_train = Views(train, kept_bytes=KEPT_BYTES, first=scored)
    of_val = Views(val, kept_bytes=KEPT_BYTES // 3, first=scored)
    shared = _SharedModel(recipe, train, n_classes=n_classes, feature_shape=of_train.feature_shape)
    heads = [shared.new_head(fold, seed=_head_seed(seed, k)) for k, fold in enumerate(folds)]

    epochs: list[Epoch] = []
    val_probabilities: list[NDArray[np.float32]] = []
    train_true_class: list[NDArray[np.float32]] = []
    best: tuple[Arrays, ...] = ()
    best_loss = math.inf
    if resume_from is not None:
        assert resume_from.history.train_true_class is not None  # a checkpoint has it
        n_values = len(resume_from.variables) // len(heads)
        for k, head in enumerate(heads):
            shared.put(head, resume_from.variables[k * n_values : (k + 1) * n_values])
        epochs += resume_from.history.epochs
        val_probabilities += list(resume_from.history.val_probabilities)
        train_true_class += list(resume_from.history.train_true_class)
        best = separated(resume_from.best_weights, n_heads=len(heads))
        best_loss = resume_from.history.best.val_loss
        if monitor is not None:
            monitor.rows += resume_from.history.layers
    for row in epochs:
        for head in heads:
            head.draw.permutation(len(head.fold.train))  # as it was in that epoch
        if on_epoch is not None:
            on_epoch(row)

    def history() -> History:
        recorded = monitor.rows if monitor is not None else []  # maybe of an epoch in which another head diverged
        layers = tuple(row for row in recorded if row.epoch <= len(epochs))
        return History(tuple(epochs), np.stack(val_probabilities), np.stack(train_true_class), layers)

    def checkpoint() -> Checkpoint:
        return Checkpoint([value for head in heads for value in shared.values(head)], joined(best), history())

    def fitted() -> FittedHead:
        n_parameters = len(heads) * sum(math.prod(v.shape) for v in shared.model.trainable_variables)
        return FittedHead(best, history(), n_parameters=n_parameters)

    patience = recipe.training.patience_epochs
    for number in range(len(epochs) + 1, recipe.training.epochs + 1):
        val_losses = [row.val_loss for row in epochs]
        if patience and epochs_since_better(val_losses, min_delta=recipe.training.min_delta) >= patience:
            break
        started = time.perf_counter()
        view = 1 + (number - 1) % recipe.n_views if recipe.n_views else CLEAN
        done: list[HeadEpoch] = []
        for head in heads:
            shared.load(head)
            n_steps = math.ceil(len(head.fold.train) / recipe.training.batch_size)
            rates = epoch_rates(recipe.schedule, epoch=number, n_steps=n_steps, val_losses=val_losses)
            objective = shared.train_epoch(of_train, head, view=view, rates=rates, on_step=on_step)
            shared.settle_statistics(of_train, head)
            one = HeadEpoch(
                objective=objective,
                weight_penalty=float(weight_penalty(shared.model)),
                learned=shared.answer(of_train, head.fold.train, scored=scored),
                predicted=shared.answer(of_val, head.fold.val, scored=scored),
            )
            if (what := not_finite(shared.model, one)) is not None:
                raise DivergedError(
                    f"training diverged in epoch {number}: {what} NaN or infinite "
                    f"(learning rate {rates[0]:g}). Lower it, e.g. --learning-rate "
                    f"{recipe.optimizer.learning_rate / 10:g}.",
                    kept=fitted() if epochs else None,
                )
            done.append(one)
            if monitor is not None and head is heads[0]:
                monitor.record(shared.model, train=train, rows=head.fold.train, epoch=number)
        predicted, own = pooled(done, folds=folds, train=train, val=val)
        row = epoch_row(done, predicted, number=number, rate=float(rates[0]), folds=folds, train=train, val=val)
        epochs.append(replace(row, seconds=time.perf_counter() - started))
        val_probabilities.append(predicted)
        train_true_class.append(own)
        if row.val_loss < best_loss:
            best_loss, best = row.val_loss, tuple(shared.arrays(head) for head in heads)
        if on_epoch is not None:
            on_epoch(epochs[-1])
        if keep is not None:
            keep(checkpoint)
    return fitted()


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


def _head_seed(seed: int, k: int) -> int:
    """Of head k, counted from 0; the first has the training's own."""
    return seed if k == 0 else int(np.random.default_rng([seed, k]).integers(2**31))


@dataclass(eq=False)
class _Head:
    """One head between its epochs; `stored` are its variables while another head's are in the shared model."""

    fold: Fold
    draw: np.random.Generator
    stored: list[NDArray[Any]] | None = None


@dataclass(frozen=True)
class HeadEpoch:
    """What one head gives at an epoch's end; probabilities are of its own train and validation photos."""

    objective: float
    weight_penalty: float
    learned: NDArray[np.float32]
    predicted: NDArray[np.float32]


class _SharedModel:
    """One compiled model and optimizer, into which each head's variables are put for its epoch.

    Compiling takes seconds a model, exchanging the variables some milliseconds.
    """

    def __init__(self, recipe: Recipe, train: Labelled, *, n_classes: int, feature_shape: tuple[int, int, int]) -> None:
        self._recipe, self._train, self._n_classes, self._feature_shape = recipe, train, n_classes, feature_shape
        self._holder: _Head | None = None
        self._update_statistics: Callable[[Views, IntArray], None] | None = None

    def new_head(self, fold: Fold, *, seed: int) -> _Head:
        """A head with its initial weights, scaling included."""
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        recipe, head = self._recipe, _Head(fold, np.random.default_rng([seed, 1]))
        settings = with_momentum(recipe.head, n_steps=math.ceil(len(fold.train) / recipe.training.batch_size))
        model = build_head(settings, feature_shape=self._feature_shape, n_classes=self._n_classes, seed=seed)
        if recipe.head.scaling != "none":
            plan = plan_head(recipe.head, n_classes=self._n_classes)
            fit_scaling(model, recipe.head.scaling, plan=plan, train=self._train.some(fold.train))
        if self._holder is None:
            self.model, self._holder = model, head
            self._optimizer = build_optimizer(recipe.optimizer, variables=model.trainable_variables)
            by_size = moving_statistics(model) if recipe.head.batch_norm_momentum == "auto" else ()
            smoothing = recipe.training.label_smoothing
            self._step = compiled_epoch(model, self._optimizer, label_smoothing=smoothing, by_size=by_size)
            self._forward = compiled_answer(model)
            if "batch_norm_statistics" not in recipe.head.idle() and recipe.head.batch_norm_statistics == "precise":
                self._update_statistics = statistics_updater(model)
            self._variables = [*model.variables, *self._optimizer.variables]
            self._unused = [np.array(v.numpy()) for v in self._optimizer.variables]  # as they are before any step
        else:
            head.stored = [*(np.array(v.numpy()) for v in model.variables), *self._unused]
        return head

    def load(self, head: _Head) -> None:
        """Put a head's variables into the model, and store those of the head before."""
        if self._holder is head:
            return
        assert self._holder is not None  # the first head's since it was made
        assert head.stored is not None  # of every head that is not in the model
        self._holder.stored = [np.array(v.numpy()) for v in self._variables]
        for variable, value in zip(self._variables, head.stored, strict=True):
            variable.assign(value)
        self._holder, head.stored = head, None

    def put(self, head: _Head, values: list[NDArray[Any]]) -> None:
        """Replace a head's variables."""
        if self._holder is not head:
            head.stored = values
            return
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def values(self, head: _Head) -> list[NDArray[Any]]:
        """Copies of a head's variables: the model's, then the optimizer's."""
        return [np.array(v.numpy()) for v in self._variables] if head.stored is None else head.stored

    def arrays(self, head: _Head) -> Arrays:
        """Copies of a head's weights, named layer/array."""
        if head.stored is None:
            return weights_by_name(self.model)
        return weights_by_name(self.model, values=head.stored)

    def train_epoch(
        self,
        photos: Views,
        head: _Head,
        *,
        view: int,
        rates: NDArray[np.float32],
        on_step: Callable[[], None] | None,
    ) -> float:
        """Take a head's steps of one epoch. returns the mean objective"""
        rows = head.fold.train
        batch_size = min(self._recipe.training.batch_size, len(rows))
        order = rows[head.draw.permutation(len(rows))]
        objectives, done = [], 0
        for features, labels, portion in photos.portions(view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(portion), STEPS_A_CALL * batch_size):
                if on_step is not None:
                    on_step()
                some = portion[start : start + STEPS_A_CALL * batch_size].astype(np.int32)
                part = rates[done : (done := done + math.ceil(len(some) / batch_size))]
                objectives.append(len(some) * float(self._step(features, classes, some, batch_size, part)))
        return math.fsum(objectives) / len(order)

    def settle_statistics(self, photos: Views, head: _Head) -> None:
        """Recompute BatchNormalization's statistics over a head's train photos, where the recipe asks for it."""
        if self._update_statistics is not None:
            self._update_statistics(photos, head.fold.train)

    def answer(self, photos: Views, rows: IntArray, *, scored: Sequence[int]) -> NDArray[np.float32]:
        """(len(rows), n_classes) probabilities in inference mode, the mean over the test-time views."""
        answers = [self._forward(photos, view, rows) for view in scored]
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)


def pooled(
    done: Sequence[HeadEpoch], *, folds: Sequence[Fold], train: Labelled, val: Labelled
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put the heads' answers together.

    returns   (n_val, n_classes), each photo by the head that was not trained on it; (n_train,), each photo's own class,
              the geometric mean over the heads that were
    """
    if len(done) == 1 and len(folds[0].train) == len(train.labels):
        (one,) = done
        return one.predicted, one.learned[np.arange(len(train.labels)), train.labels]
    predicted = np.zeros((len(val.labels), done[0].predicted.shape[1]), np.float32)
    logs, counts = np.zeros(len(train.labels)), np.zeros(len(train.labels))
    for fold, one in zip(folds, done, strict=True):
        predicted[fold.val] = one.predicted
        logs[fold.train] -= cross_entropies(one.learned, train.labels[fold.train])
        counts[fold.train] += 1
    return predicted, np.exp(logs / np.maximum(counts, 1)).astype(np.float32)


def epoch_row(
    done: Sequence[HeadEpoch],
    predicted: NDArray[np.float32],
    *,
    number: int,
    rate: float,
    folds: Sequence[Fold],
    train: Labelled,
    val: Labelled,
) -> Epoch:
    """One epoch's figures over all heads, without the seconds it took."""
    learned = [score(one.learned, train.labels[fold.train]) for one, fold in zip(done, folds, strict=True)]
    shares = np.array([len(fold.train) for fold in folds]) / sum(len(fold.train) for fold in folds)
    val_loss, val_accuracy = score(predicted, val.labels)
    return Epoch(
        epoch=number,
        learning_rate=float(f"{rate:.7g}"),  # seven digits are float32's: 0.001, not 0.00100000004
        objective=float(shares @ [one.objective for one in done]),
        train_loss=float(shares @ [loss for loss, _ in learned]),
        train_accuracy=float(shares @ [accuracy for _, accuracy in learned]),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        weight_penalty=float(np.mean([one.weight_penalty for one in done])),
        seconds=0.0,
    )


def compiled_epoch(model: Any, optimizer: Any, *, label_smoothing: float = 0.0, by_size: Sequence[Any] = ()) -> Any:
    """Some steps over photos in the given order: (features, labels, order, batch_size, rates) -> mean objective.

    by_size   moving statistics that a smaller last batch changes by that much less
    rates     (n_steps,) float32, the learning rate of each step

    The weights' update is compiled by XLA, with the penalty's gradient in it: it passes over the weights once, where
    TensorFlow's own kernels do some ten times. The penalty's value stays outside: XLA sums on one core.
    """
    import tensorflow as tf

    variables = model.trainable_variables
    watched = [layer for layer in model.layers if layer.activity_regularizer is not None]

    def update(gradients: Any) -> None:
        with tf.GradientTape() as tape:
            of_weights = weight_penalty(model)
        pairs = zip(gradients, tape.gradient(of_weights, variables), strict=True)
        optimizer.apply([of_loss if share is None else of_loss + share for of_loss, share in pairs], variables)

    apply = tf.function(update, jit_compile=True)

    def train_epoch(features: Any, labels: Any, order: Any, batch_size: Any, rates: Any) -> Any:
        n_photos = tf.shape(order)[0]
        total = tf.constant(0.0)
        for start in tf.range(0, n_photos, batch_size):
            rows = order[start : start + batch_size]
            optimizer.learning_rate = rates[start // batch_size]
            batch = tf.cast(tf.gather(features, rows), tf.float32)
            before = [tf.identity(variable) for variable in by_size]
            with tf.GradientTape() as tape:
                predicted = model(batch, training=True)
                loss = smoothed_cross_entropy(tf.gather(labels, rows), predicted, label_smoothing=label_smoothing)
                if watched:  # penalties on activations, which these layers noted in the call above
                    loss += tf.add_n([part for layer in watched for part in layer.losses])
            share = tf.cast(tf.shape(rows)[0], tf.float32) / tf.cast(batch_size, tf.float32)
            for variable, value in zip(by_size, before, strict=True):
                variable.assign(value + share * (variable - value))
            objective = loss + weight_penalty(model)
            apply(tape.gradient(loss, variables))
            total += objective * tf.cast(tf.shape(rows)[0], tf.float32)
        return total / tf.cast(n_photos, tf.float32)

    return tf.function(train_epoch, reduce_retracing=True)


def smoothed_cross_entropy(labels: Any, predicted: Any, *, label_smoothing: float) -> Any:
    """What training minimizes of a batch, a scalar tensor: the mean cross-entropy against smoothed labels."""
    import keras
    import tensorflow as tf

    if predicted.shape[-1] == 1:  # sigmoid
        target = tf.cast(labels, tf.float32)[:, None]
        return tf.reduce_mean(keras.losses.binary_crossentropy(target, predicted, label_smoothing=label_smoothing))
    if not label_smoothing:
        return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, predicted))
    wanted = tf.one_hot(labels, predicted.shape[-1])
    return tf.reduce_mean(keras.losses.categorical_crossentropy(wanted, predicted, label_smoothing=label_smoothing))


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


def weight_penalty(model: Any) -> Any:
    """The L1 and L2 terms of the weights as they are, a scalar tensor."""
    import tensorflow as tf

    terms = [v.regularizer(v) for v in model.trainable_variables if v.regularizer is not None]
    return tf.add_n([tf.constant(0.0), *terms])


def compiled_answer(model: Any) -> Callable[[Views, int, IntArray], NDArray[np.float32]]:
    """Probabilities of some photos' view in inference mode, in portions that bound the memory."""
    import tensorflow as tf

    forward = tf.function(lambda batch: model(tf.cast(batch, tf.float32), training=False), reduce_retracing=True)

    def answer(views: Views, view: int, wanted: IntArray) -> NDArray[np.float32]:
        predicted = np.concatenate(
            [
                forward(_rows(features, rows[start : start + 512])).numpy()
                for features, _, rows in views.portions(view, wanted, multiple=512)
                for start in range(0, len(rows), 512)
            ]
        )
        return both_classes(predicted) if predicted.shape[1] == 1 else predicted

    return answer


def _rows(features: Any, rows: IntArray) -> Any:
    """Some rows of a tensor, as a slice where they follow one another."""
    import tensorflow as tf

    if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return features[int(rows[0]) : int(rows[-1]) + 1]
    return tf.gather(features, rows)
