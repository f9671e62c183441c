"""Train a head on ready features and keep an honest history. Imports Keras and TensorFlow when called.

Each epoch is one compiled graph (Keras model, loss and optimizer inside): Keras' `fit` takes two to four times as
long on these small steps (docs/log.md). At each epoch's end the same weights score the clean train photos and the
validation photos by one function, in inference mode, as plain cross-entropy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.errors import DivergedError
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.checkpoint import Checkpoint
from imgreg.heads.forward import score
from imgreg.heads.optimizer import build_optimizer, epoch_rates
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.views import Labelled, Views
from imgreg.runs.history import Epoch, History

STEPS_A_CALL = 32  # between two of them a signal is heard
KEPT_BYTES = 3 * 2**28  # of train features, and a third as much of validation features; beyond it they are read anew


@dataclass(frozen=True)
class FittedHead:
    """A head as it stood at its best epoch, and how it came there."""

    weights: Mapping[str, NDArray[np.float32]]
    history: History
    n_parameters: int


def fit_head(
    recipe: Recipe,
    *,
    train: Labelled,
    val: Labelled,
    n_classes: int,
    seed: int,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
    begun: Checkpoint | None = None,
    keep: Callable[[Callable[[], Checkpoint]], None] | None = None,
) -> FittedHead:
    """Train by the recipe; the epoch of the lowest plain validation cross-entropy is kept.

    seed      one seed in; initial weights, dropout and order get local generators: same machine, same bits
    on_step   called every 32 gradient steps; what it raises ends the training
    begun     where an earlier call with the same arguments stood: this one goes on there, and comes out the same
    keep      called at each epoch's end with what takes a checkpoint
    raises    DivergedError if a loss or a weight becomes NaN or infinite, with the epochs before it and their best
              head; FeatureError if a feature is NaN or infinite
    """
    of_train, of_val = Views(train, kept_bytes=KEPT_BYTES), Views(val, kept_bytes=KEPT_BYTES // 3)
    model = build_head(recipe.head, feature_shape=of_train.feature_shape, n_classes=n_classes, seed=seed)

    if recipe.head.scaling != "none" and begun is None:
        fit_scaling(model, recipe.head.scaling, plan=plan_head(recipe.head, n_classes=n_classes), train=train)

    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    optimizer = build_optimizer(recipe.optimizer, variables=model.trainable_variables)
    train_epoch = compiled_epoch(model, optimizer, label_smoothing=recipe.training.label_smoothing)
    answer = _compiled_answer(model)
    batch_size = recipe.training.batch_size
    n_steps = math.ceil(len(train.labels) / batch_size)
    draw = np.random.default_rng([seed, 1])

    variables = [*model.variables, *optimizer.variables]
    epochs: list[Epoch] = []
    val_probabilities: list[NDArray[np.float32]] = []
    train_own_probabilities: list[NDArray[np.float32]] = []
    every_train = np.arange(len(train.labels))
    best_weights: Mapping[str, NDArray[np.float32]] = {}
    best_loss, best_epoch = math.inf, 0
    if begun is not None:
        assert begun.history.train_own_probabilities is not None  # a checkpoint has it
        for variable, value in zip(variables, begun.variables, strict=True):
            variable.assign(value)
        epochs += begun.history.epochs
        val_probabilities += list(begun.history.val_probabilities)
        train_own_probabilities += list(begun.history.train_own_probabilities)
        best_weights, best_loss, best_epoch = begun.best_weights, begun.history.best.val_loss, begun.history.best.epoch
    for row in epochs:
        draw.permutation(len(train.labels))  # as it was in that epoch
        if on_epoch is not None:
            on_epoch(row)

    def history() -> History:
        return History(tuple(epochs), np.stack(val_probabilities), np.stack(train_own_probabilities))

    def checkpoint() -> Checkpoint:
        return Checkpoint([np.asarray(variable.numpy()) for variable in variables], best_weights, history())

    def fitted() -> FittedHead:
        n_parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
        return FittedHead(best_weights, history(), n_parameters=n_parameters)

    patience = recipe.training.patience_epochs
    for number in range(len(epochs) + 1, recipe.training.epochs + 1):
        if patience and number - 1 - best_epoch >= patience:
            break
        started = time.perf_counter()
        order = draw.permutation(len(train.labels))
        view = 1 + (number - 1) % recipe.n_views if recipe.n_views else 0
        losses = [row.val_loss for row in epochs]
        rates = epoch_rates(recipe.optimizer, epoch=number, n_steps=n_steps, val_losses=losses)
        objectives, done = [], 0
        for features, labels, rows in of_train.portions(view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(rows), STEPS_A_CALL * batch_size):
                if on_step is not None:
                    on_step()
                some = rows[start : start + STEPS_A_CALL * batch_size].astype(np.int32)
                part = rates[done : (done := done + math.ceil(len(some) / batch_size))]
                objectives.append(len(some) * float(train_epoch(features, classes, some, batch_size, part)))
        objective = math.fsum(objectives) / len(order)
        learned, predicted = answer(of_train), answer(of_val)
        train_loss, train_accuracy = score(learned, train.labels)
        val_loss, val_accuracy = score(predicted, val.labels)
        if (what := _not_finite(model, (objective, train_loss, val_loss), (learned, predicted))) is not None:
            raise DivergedError(
                f"training diverged in epoch {number}: {what} NaN or infinite "
                f"(learning rate {rates[0]:g}). Lower it, e.g. --learning-rate "
                f"{recipe.optimizer.learning_rate / 10:g}.",
                kept=fitted() if epochs else None,
            )
        epochs.append(
            Epoch(
                epoch=number,
                learning_rate=float(f"{rates[0]:.7g}"),  # seven digits are float32's: 0.001, not 0.00100000004
                objective=objective,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                weight_penalty=float(_weight_penalty(model)),
                seconds=time.perf_counter() - started,
            )
        )
        val_probabilities.append(predicted)
        train_own_probabilities.append(learned[every_train, train.labels])
        if val_loss < best_loss:
            best_loss, best_epoch, best_weights = val_loss, number, weights_by_name(model)
        if on_epoch is not None:
            on_epoch(epochs[-1])
        if keep is not None:
            keep(checkpoint)
    return fitted()


def compiled_epoch(model: Any, optimizer: Any, *, label_smoothing: float = 0.0) -> Any:
    """Some steps over photos in the given order: (features, labels, order, batch_size, rates) -> mean objective.

    rates   (n_steps,) float32, the learning rate of each step

    The weights' update is compiled by XLA, with the penalty's gradient in it: it passes over the weights once, where
    TensorFlow's own kernels do some ten times. The penalty's value stays outside: XLA sums on one core.
    """
    import keras
    import tensorflow as tf

    variables = model.trainable_variables
    watched = [layer for layer in model.layers if layer.activity_regularizer is not None]

    def cross_entropy(labels: Any, predicted: Any) -> Any:
        if not label_smoothing:
            return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, predicted))
        wanted = tf.one_hot(labels, predicted.shape[-1])
        return tf.reduce_mean(keras.losses.categorical_crossentropy(wanted, predicted, label_smoothing=label_smoothing))

    def update(gradients: Any) -> None:
        with tf.GradientTape() as tape:
            of_weights = _weight_penalty(model)
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
            with tf.GradientTape() as tape:
                predicted = model(batch, training=True)
                loss = cross_entropy(tf.gather(labels, rows), predicted)
                if watched:  # penalties on activations, which these layers noted in the call above
                    loss += tf.add_n([part for layer in watched for part in layer.losses])
            objective = loss + _weight_penalty(model)
            apply(tape.gradient(loss, variables))
            total += objective * tf.cast(tf.shape(rows)[0], tf.float32)
        return total / tf.cast(n_photos, tf.float32)

    return tf.function(train_epoch, reduce_retracing=True)


def _not_finite(
    model: Any, losses: Sequence[float], predicted: Sequence[NDArray[np.float32]]
) -> Literal["the loss became", "the weights became"] | None:
    """What is no longer a finite number after an epoch; None if all is well.

    The weights are looked at for themselves: a gradient that is not finite stays in them, whereas the loss may come out
    finite because some processors' relu turns NaN into 0.
    """
    import tensorflow as tf

    if not all(map(math.isfinite, losses)) or not all(np.isfinite(rows).all() for rows in predicted):
        return "the loss became"
    weights = [v for v in model.variables if v.dtype == "float32"]  # not the state of dropout's seeds
    if not all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in weights):
        return "the weights became"
    return None


def _weight_penalty(model: Any) -> Any:
    """The L1 and L2 terms of the weights as they are, a scalar tensor."""
    import tensorflow as tf

    terms = [v.regularizer(v) for v in model.trainable_variables if v.regularizer is not None]
    return tf.add_n([tf.constant(0.0), *terms])


def _compiled_answer(model: Any) -> Callable[[Views], NDArray[np.float32]]:
    """Probabilities of the clean photos in inference mode, in portions that bound the memory."""
    import tensorflow as tf

    forward = tf.function(lambda batch: model(tf.cast(batch, tf.float32), training=False), reduce_retracing=True)

    def answer(views: Views) -> NDArray[np.float32]:
        everyone = np.arange(len(views.photos.labels))
        return np.concatenate(
            [
                forward(features[start : start + 512]).numpy()
                for features, _, rows in views.portions(0, everyone, multiple=512)
                for start in range(0, len(rows), 512)
            ]
        )

    return answer
