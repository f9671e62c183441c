"""Train VGG16's last convolutions on, together with heads that are trained already. Imports Keras when called.

In: heads at the epoch that was kept, and the features at the last layer that stays frozen. Out: the same heads, and
their convolutions, at the epoch that the recipe keeps, and the history with the new epochs behind the old. Both are
scored as the heads were: clean photos, in inference mode, plain cross-entropy.

BatchNormalization stays as the head's training left it: its moving statistics, gamma and beta do not change, so that
a rate of 0 changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Optimizer, Recipe
from imgreg.errors import DivergedError
from imgreg.features.backbone import tail
from imgreg.features.blocks import Arrays, block_of, count_tuned, tuned_layers
from imgreg.features.engines import Precision
from imgreg.heads.build import build_head, set_weights, weights_by_name
from imgreg.heads.epochs import NO_HOOKS, EpochTask, Exchanged, HeadState, Hooks, Phase, SplitViews, train_together
from imgreg.heads.optimizer import build_optimizer, epoch_rates
from imgreg.heads.steps import compiled_answer, smoothed_cross_entropy, weight_penalty
from imgreg.heads.training_curves import Curves, FittedHead, SplitFeatures
from imgreg.heads.views import Labelled, Views


@dataclass(frozen=True)
class Unfrozen:
    """The part of the base that is trained on.

    Attributes
    ----------
    block : mapping
        The base's own convolutions, named layer/array, where each head's begin.
    precision : Precision
        Of the frozen base. The convolutions are computed in it too, forward and backward, but for int8, where they are
        computed in float32; their weights and Adam's moments are float32.
    """

    block: Arrays
    precision: Precision = "float32"


def finetune(
    recipe: Recipe, fitted: FittedHead, data: SplitFeatures, *, unfrozen: Unfrozen, seed: int, hooks: Hooks = NO_HOOKS
) -> FittedHead:
    """Train the heads and the block on, and keep those of the epoch that the recipe says: the last or the best.

    The best, by plain validation cross-entropy, may be an epoch of the frozen base; then its heads are kept, and no
    block. Early stopping keeps the best. Where fine-tuning diverges, the epochs before are the result, with a warning
    in it.

    Parameters
    ----------
    fitted : FittedHead
        By the same recipe, photos and folds; of an interrupted fine-tuning what `fit_head` gives with the same
        `hooks.resume_from`.
    data : SplitFeatures
        Features at the last frozen layer.
    hooks : Hooks
        Its callbacks and monitor are for the head's own epochs, and are not called here.

    Raises
    ------
    FeatureError
        If a feature is NaN or infinite.
    """
    views = SplitViews(recipe, data)
    model = _TunedModel(recipe, unfrozen, feature_shape=views.train.feature_shape, n_classes=data.n_classes, seed=seed)
    heads = [
        HeadState(fold, np.random.default_rng([seed, k, 2]), model.values_of(arrays, unfrozen.block))
        for k, (fold, arrays) in enumerate(zip(data.folds, fitted.heads, strict=True))
    ]
    phase = Phase(
        fitted.finetuned_from or len(fitted.history.epochs) + 1,
        recipe.finetune.epochs,
        patience_epochs=recipe.finetune.patience_epochs,
        keeps_last=recipe.training.keep == "last" and not recipe.finetune.patience_epochs,
    )
    if hooks.resume_from is not None and fitted.finetuned_from is not None:
        model.resume(heads, hooks.resume_from.variables, n_epochs=len(fitted.history.epochs) + 1 - phase.first)
    n_parameters = fitted.n_parameters + len(heads) * count_tuned(block_of(unfrozen.block))
    start = replace(fitted, n_parameters=n_parameters, finetuned_from=phase.first)
    hooks = replace(hooks, monitor=None, callbacks=(), on_epoch=hooks.on_finetune_epoch or hooks.on_epoch)
    try:
        return train_together(model, heads, Curves(data, start), phase=phase, views=views, hooks=hooks)
    except DivergedError as error:
        if not isinstance(error.kept, FittedHead):
            raise
        return replace(error.kept, warning=f"{error} The best epoch before that was kept.")


def tuned_answers(
    photos: Labelled, *, recipe: Recipe, fitted: FittedHead, precision: Precision, n_classes: int
) -> NDArray[np.float32]:
    """Average the probabilities of fine-tuned heads and the recipe's test-time views, (n, n_classes).

    Parameters
    ----------
    photos : Labelled
        Features at the last frozen layer.
    """
    data = SplitFeatures(photos, photos, n_classes)
    views = SplitViews(recipe, data)
    unfrozen, shape = Unfrozen(fitted.blocks[0], precision), views.val.feature_shape
    model = _TunedModel(recipe, unfrozen, feature_shape=shape, n_classes=n_classes, seed=0)
    answers, (everything,) = [], data.folds
    for head, block in zip(fitted.heads, fitted.blocks, strict=True):
        model.load(HeadState(everything, np.random.default_rng(0), model.values_of(head, block)))
        answers.append(model.answer(views.val, everything.val, scored=views.scored))
    return np.asarray(np.mean(answers, axis=0, dtype=np.float32))


class _TunedModel(Exchanged):
    """The unfrozen convolutions and the head in one compiled model, into which each fold's variables are put."""

    def __init__(
        self,
        recipe: Recipe,
        unfrozen: Unfrozen,
        *,
        feature_shape: tuple[int, int, int],
        n_classes: int,
        seed: int,
    ) -> None:
        import keras
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        self._recipe = recipe
        start = keras.Input(feature_shape, name="features")
        convolved = tail(
            start, unfrozen.block, dtype="mixed_bfloat16" if unfrozen.precision == "bfloat16" else "float32"
        )
        self._head = build_head(recipe.head, feature_shape=convolved.shape[1:], n_classes=n_classes, seed=seed)
        x = convolved
        for layer in self._head.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
            x = layer(x)
        self.keras = keras.Model(start, x, name="tuned")
        names = [name for name in tuned_layers(block_of(unfrozen.block)) if not name.endswith("pool")]
        self._convolutions = dict(
            zip(names, (i for i in self.keras.layers if isinstance(i, keras.layers.Conv2D)), strict=True)
        )
        of_block = [v for layer in self._convolutions.values() for v in layer.trainable_variables]
        of_head = list(self._head.trainable_variables)
        self._trained = [*of_block, *of_head]
        settings = recipe.finetune
        parts = [(of_block, settings.learning_rate), (of_head, settings.head_learning_rate)]
        self._optimizers = [
            (build_optimizer(Optimizer(name="adam"), variables=variables), variables, rate) for variables, rate in parts
        ]
        self._step = self._compiled_step(label_smoothing=recipe.training.label_smoothing)
        state = [v for optimizer, _, _ in self._optimizers for v in optimizer.variables]
        super().__init__([*self.keras.variables, *state], forward=compiled_answer(self.keras))
        self._unused = [np.array(v.numpy()) for v in state]  # as they are before any step

    def values_of(self, head: Arrays, block: Arrays) -> list[NDArray[Any]]:
        """The variables of a head and a block that no step was taken with."""
        set_weights(self._head, head)
        for name, layer in self._convolutions.items():
            layer.set_weights([block[f"{name}/kernel"], block[f"{name}/bias"]])
        return [*(np.array(v.numpy()) for v in self.keras.variables), *self._unused]

    def arrays(self, head: HeadState) -> tuple[Arrays, Arrays]:
        """Copies of a head's weights and of its convolutions."""
        self.load(head)
        block = {
            f"{name}/{part}": np.array(v.numpy())
            for name, layer in self._convolutions.items()
            for part, v in zip(("kernel", "bias"), layer.variables, strict=True)
        }
        return weights_by_name(self._head), block

    def train_epoch(
        self, photos: Views, head: HeadState, *, task: EpochTask, on_step: Callable[[], None] | None
    ) -> tuple[float, float]:
        """Take a head's steps of one epoch. Gives the mean objective and the head's first learning rate."""
        settings, batch_size, rows = self._recipe.finetune, self._recipe.training.batch_size, head.fold.train
        order = rows[head.draw.permutation(len(rows))]
        schedule = Optimizer(learning_rate=1, schedule=settings.schedule, decay_epochs=settings.epochs)
        n_steps, epoch = math.ceil(len(order) / batch_size), len(task.val_losses) + 1
        factors = epoch_rates(schedule, epoch=epoch, n_steps=n_steps, val_losses=())
        objectives, done = [], 0
        for features, labels, portion in photos.portions(task.view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(portion), batch_size):
                if on_step is not None:
                    on_step()
                some = portion[start : start + batch_size].astype(np.int32)
                for optimizer, _, rate in self._optimizers:
                    optimizer.learning_rate = rate * float(factors[done])
                done += 1
                objectives.append(len(some) * float(self._step(features, classes, some)))
        return math.fsum(objectives) / len(order), float(factors[0]) * settings.head_learning_rate

    def divergence(self, number: int, what: str, *, rate: float) -> str:
        """The message for fine-tuning that diverged."""
        of_block = self._recipe.finetune.learning_rate
        return (
            f"fine-tuning diverged in epoch {number}: {what} NaN or infinite (learning rate {of_block:g}, of the "
            f"head {rate:g}). Lower it, e.g. --set finetune.learning_rate={of_block / 10:g}."
        )

    def _compiled_step(self, *, label_smoothing: float) -> Any:
        """One step on some photos: (features, labels, rows) -> objective."""
        import tensorflow as tf

        model, optimizers, variables = self.keras, self._optimizers, self._trained
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
            for optimizer, own, _ in optimizers:
                optimizer.apply([next(gradients) for _ in own], own)
            return objective

        return tf.function(step, reduce_retracing=True)
