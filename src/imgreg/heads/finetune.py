"""Train VGG16's last convolutions on, together with heads that are trained already. Imports Keras when called.

In: heads at their best epoch, and the features at the last layer that stays frozen. Out: the same heads, and their
convolutions, at the best epoch of all, and the history with the new epochs behind the old. Both are scored as the heads
were: clean photos, in inference mode, plain cross-entropy.

BatchNormalization stays as the head's training left it: its moving statistics, gamma and beta do not change, so that
a rate of 0 changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Optimizer, Recipe
from imgreg.errors import DivergedError
from imgreg.features.backbone import tail
from imgreg.features.blocks import Arrays, block_of, count_tuned, tuned_layers
from imgreg.features.engines import Precision
from imgreg.features.tta import CLEAN, tta_views
from imgreg.heads.build import build_head, set_weights, weights_by_name
from imgreg.heads.fit import (
    KEPT_BYTES,
    FittedHead,
    Fold,
    HeadEpoch,
    compiled_answer,
    epoch_row,
    epochs_since_better,
    not_finite,
    pooled,
    smoothed_cross_entropy,
    weight_penalty,
)
from imgreg.heads.optimizer import build_optimizer
from imgreg.heads.views import IntArray, Labelled, Views
from imgreg.runs.history import Epoch, History


def finetune(
    recipe: Recipe,
    fitted: FittedHead,
    *,
    block: Arrays,
    precision: Precision = "float32",
    train: Labelled,
    val: Labelled,
    folds: Sequence[Fold] = (),
    n_classes: int,
    seed: int,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> FittedHead:
    """Train the heads and the block on; the epoch of the lowest plain validation cross-entropy is kept.

    Where that is an epoch of the frozen base, its heads are kept, and no block.

    Parameters
    ----------
    fitted : FittedHead
        By the same recipe, photos and folds.
    block : Arrays
        The base's own convolutions, where each head's begin.
    precision : float32 or bfloat16
        Of the convolutions, forward and backward, as of the frozen base; their weights and Adam's moments are float32.
    train, val : Labelled
        Features at the last frozen layer.
    on_step : callable
        Called at each gradient step; what it raises ends the training.

    Raises
    ------
    DivergedError
        If a loss or a weight becomes NaN or infinite, with the epochs before it and their best heads.
    FeatureError
        If a feature is NaN or infinite.
    """
    folds = folds or [Fold(np.arange(len(train.labels)), np.arange(len(val.labels)))]
    scored = tta_views(mirror=recipe.prediction.mirror)
    of_train = Views(train, kept_bytes=KEPT_BYTES, first=scored)
    of_val = Views(val, kept_bytes=KEPT_BYTES // 3, first=scored)
    shape = of_train.feature_shape
    model = _TunedModel(recipe, block, precision=precision, feature_shape=shape, n_classes=n_classes, seed=seed)
    members = [
        _Member(fold, np.random.default_rng([seed, k, 2]), model.values_of(head, block))
        for k, (fold, head) in enumerate(zip(folds, fitted.heads, strict=True))
    ]
    epochs = list(fitted.history.epochs)
    assert fitted.history.train_true_class is not None  # fit_head keeps it
    val_probabilities = list(fitted.history.val_probabilities)
    train_true_class = list(fitted.history.train_true_class)
    first, best, best_loss = len(epochs) + 1, fitted, fitted.history.best.val_loss
    n_parameters = fitted.n_parameters + len(folds) * count_tuned(block_of(block))

    def reached() -> FittedHead:
        history = History(tuple(epochs), np.stack(val_probabilities), np.stack(train_true_class), fitted.history.layers)
        return replace(
            best, history=history, n_parameters=n_parameters, finetuned_from=first if len(epochs) >= first else None
        )

    settings = recipe.finetune
    for number in range(first, first + settings.epochs):
        val_losses = [row.val_loss for row in epochs[first - 1 :]]  # the first may be worse than the frozen head's
        if settings.patience_epochs and epochs_since_better(val_losses) >= settings.patience_epochs:
            break
        started = time.perf_counter()
        view = 1 + (number - 1) % recipe.n_views if recipe.n_views else CLEAN
        done: list[HeadEpoch] = []
        for member in members:
            model.load(member)
            objective = model.train_epoch(of_train, member, view=view, on_step=on_step)
            one = HeadEpoch(
                objective=objective,
                weight_penalty=float(weight_penalty(model.keras)),
                learned=model.answer(of_train, member.fold.train, scored=scored),
                predicted=model.answer(of_val, member.fold.val, scored=scored),
            )
            if (what := not_finite(model.keras, one)) is not None:
                raise DivergedError(
                    f"fine-tuning diverged in epoch {number}: {what} NaN or infinite (learning rate "
                    f"{settings.learning_rate:g}). Lower it, e.g. --set finetune.learning_rate="
                    f"{settings.learning_rate / 10:g}.",
                    kept=reached(),
                )
            done.append(one)
            model.store(member)
        predicted, own = pooled(done, folds=folds, train=train, val=val)
        rate = settings.head_learning_rate
        row = epoch_row(done, predicted, number=number, rate=rate, folds=folds, train=train, val=val)
        epochs.append(replace(row, seconds=time.perf_counter() - started))
        val_probabilities.append(predicted)
        train_true_class.append(own)
        if row.val_loss < best_loss:
            best_loss = row.val_loss
            pairs = [model.arrays(member) for member in members]
            best = replace(
                best, heads=tuple(head for head, _ in pairs), blocks=tuple(convolutions for _, convolutions in pairs)
            )
        if on_epoch is not None:
            on_epoch(epochs[-1])
    return reached()


def tuned_answers(
    photos: Labelled,
    *,
    recipe: Recipe,
    heads: Sequence[Arrays],
    blocks: Sequence[Arrays],
    precision: Precision = "float32",
    n_classes: int,
) -> NDArray[np.float32]:
    """Average the probabilities of fine-tuned heads and the recipe's test-time views, (n, n_classes).

    photos   features at the last frozen layer
    """
    scored = tta_views(mirror=recipe.prediction.mirror)
    views = Views(photos, kept_bytes=KEPT_BYTES, first=scored)
    shape = views.feature_shape
    model = _TunedModel(recipe, blocks[0], precision=precision, feature_shape=shape, n_classes=n_classes, seed=0)
    rows, answers = np.arange(len(photos.labels)), []
    for head, block in zip(heads, blocks, strict=True):
        model.load(_Member(Fold(rows, rows), np.random.default_rng(0), model.values_of(head, block)))
        answers.append(model.answer(views, rows, scored=scored))
    return np.asarray(np.mean(answers, axis=0, dtype=np.float32))


@dataclass(eq=False)
class _Member:
    """One head with its block between their epochs."""

    fold: Fold
    draw: np.random.Generator
    values: list[NDArray[Any]]


class _TunedModel:
    """The unfrozen convolutions and the head in one compiled model, into which each fold's variables are put."""

    def __init__(
        self,
        recipe: Recipe,
        block: Arrays,
        *,
        precision: Precision,
        feature_shape: tuple[int, int, int],
        n_classes: int,
        seed: int,
    ) -> None:
        import keras
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        self._recipe, self._block = recipe, block_of(block)
        start = keras.Input(feature_shape, name="features")
        convolved = tail(start, block, dtype="mixed_bfloat16" if precision == "bfloat16" else "float32")
        self._head = build_head(recipe.head, feature_shape=convolved.shape[1:], n_classes=n_classes, seed=seed)
        x = convolved
        for layer in self._head.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
            x = layer(x)
        self.keras = keras.Model(start, x, name="tuned")
        names = [name for name in tuned_layers(self._block) if not name.endswith("pool")]
        self._convolutions = dict(
            zip(names, (i for i in self.keras.layers if isinstance(i, keras.layers.Conv2D)), strict=True)
        )
        of_block = [v for layer in self._convolutions.values() for v in layer.trainable_variables]
        of_head = list(self._head.trainable_variables)
        self.variables = [*of_block, *of_head]
        settings = recipe.finetune
        parts = [(of_block, settings.learning_rate), (of_head, settings.head_learning_rate)]
        self._optimizers = []
        for variables, rate in parts:
            optimizer = build_optimizer(Optimizer(name="adam"), variables=variables)
            optimizer.learning_rate = rate
            self._optimizers.append((optimizer, variables))
        self._step = self._compiled_step(label_smoothing=recipe.training.label_smoothing)
        self._forward = compiled_answer(self.keras)
        state = [v for optimizer, _ in self._optimizers for v in optimizer.variables]
        self._variables = [*self.keras.variables, *state]
        self._unused = [np.array(v.numpy()) for v in state]  # as they are before any step

    def values_of(self, head: Arrays, block: Arrays) -> list[NDArray[Any]]:
        """The variables of a head and a block that no step was taken with."""
        set_weights(self._head, head)
        for name, layer in self._convolutions.items():
            layer.set_weights([block[f"{name}/kernel"], block[f"{name}/bias"]])
        return [*(np.array(v.numpy()) for v in self.keras.variables), *self._unused]

    def load(self, member: _Member) -> None:
        """Put a member's variables into the model."""
        for variable, value in zip(self._variables, member.values, strict=True):
            variable.assign(value)

    def store(self, member: _Member) -> None:
        """Take a member's variables out of the model."""
        member.values = [np.array(v.numpy()) for v in self._variables]

    def arrays(self, member: _Member) -> tuple[Arrays, Arrays]:
        """Copies of a member's head and block."""
        self.load(member)
        block = {
            f"{name}/{part}": np.array(v.numpy())
            for name, layer in self._convolutions.items()
            for part, v in zip(("kernel", "bias"), layer.variables, strict=True)
        }
        return weights_by_name(self._head), block

    def train_epoch(self, photos: Views, member: _Member, *, view: int, on_step: Callable[[], None] | None) -> float:
        """Take a member's steps of one epoch. Gives the mean objective."""
        batch_size, rows = self._recipe.training.batch_size, member.fold.train
        order = rows[member.draw.permutation(len(rows))]
        objectives = []
        for features, labels, portion in photos.portions(view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(portion), batch_size):
                if on_step is not None:
                    on_step()
                some = portion[start : start + batch_size].astype(np.int32)
                objectives.append(len(some) * float(self._step(features, classes, some)))
        return math.fsum(objectives) / len(order)

    def answer(self, photos: Views, rows: IntArray, *, scored: Sequence[int]) -> NDArray[np.float32]:
        """(len(rows), n_classes) probabilities in inference mode, the mean over the test-time views."""
        answers = [self._forward(photos, view, rows) for view in scored]
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)

    def _compiled_step(self, *, label_smoothing: float) -> Any:
        """One step on some photos: (features, labels, rows) -> objective."""
        import tensorflow as tf

        model, optimizers, variables = self.keras, self._optimizers, self.variables
        watched = [layer for layer in model.layers if layer.activity_regularizer is not None]

        def step(features: Any, labels: Any, rows: Any) -> Any:
            batch = tf.cast(tf.gather(features, rows), tf.float32)
            with tf.GradientTape() as tape:
                predicted = model(batch, training=True)
                loss = smoothed_cross_entropy(tf.gather(labels, rows), predicted, label_smoothing=label_smoothing)
                if watched:
                    loss += tf.add_n([part for layer in watched for part in layer.losses])
                objective = loss + weight_penalty(model)
            gradients = iter(tape.gradient(objective, variables))
            for optimizer, own in optimizers:
                optimizer.apply([next(gradients) for _ in own], own)
            return objective

        return tf.function(step, reduce_retracing=True)
