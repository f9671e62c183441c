"""Train VGG16's last convolutions on, together with heads that are trained already. Imports Keras when called.

In: heads at their best epoch, and the features at the last layer that stays frozen. Out: the same heads, and their
convolutions, at the best epoch of all, and the history with the new epochs behind the old. Both are scored as the heads
were: clean photos, in inference mode, plain cross-entropy.

BatchNormalization stays as the head's training left it: its moving statistics, gamma and beta do not change, so that
a rate of 0 changes nothing.
"""

from __future__ import annotations

import math
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
from imgreg.features.tta import tta_views
from imgreg.heads.build import build_head, set_weights, weights_by_name
from imgreg.heads.compiled import compiled_answer, smoothed_cross_entropy, weight_penalty
from imgreg.heads.epoch_scores import Fold, HeadData
from imgreg.heads.optimizer import build_optimizer
from imgreg.heads.training_loop import (
    KEPT_BYTES,
    NO_HOOKS,
    FittedHead,
    HeadState,
    Hooks,
    SharedModel,
    Stage,
    open_photos,
    resume,
    train_stage,
)
from imgreg.heads.views import Labelled, Views


@dataclass(frozen=True)
class Unfrozen:
    """The convolutions that are trained.

    Attributes
    ----------
    block : Arrays
        The base's own, where each head's begin.
    precision : float32 or bfloat16
        Of the convolutions, forward and backward, as of the frozen base; their weights and Adam's moments are float32.
    """

    block: Arrays
    precision: Precision = "float32"


def finetune(
    recipe: Recipe, fitted: FittedHead, data: HeadData, *, unfrozen: Unfrozen, seed: int, hooks: Hooks = NO_HOOKS
) -> FittedHead:
    """Train the heads and the block on; the epoch of the lowest plain validation cross-entropy is kept.

    Where that is an epoch of the frozen base, its heads are kept, and no block. If a loss or a weight becomes NaN or
    infinite, fine-tuning ends there, and the result's warning says so.

    Parameters
    ----------
    fitted : FittedHead
        By the same recipe, photos and folds.
    data : HeadData
        Features at the last frozen layer.
    hooks : Hooks
        on_step is called at each gradient step. A checkpoint of the head's own training is not gone on with.

    Raises
    ------
    FeatureError
        If a feature is NaN or infinite.
    """
    hooks = replace(hooks, monitor=None, callbacks=())  # both watch the head on frozen features
    photos = open_photos(data, recipe=recipe)
    model = _TunedModel(recipe, unfrozen, feature_shape=photos.train.feature_shape, n_classes=data.n_classes, seed=seed)
    heads = [
        HeadState(fold, np.random.default_rng([seed, k, 2]), model.values_of(head, unfrozen.block))
        for k, (fold, head) in enumerate(zip(data.folds, fitted.heads, strict=True))
    ]
    first = fitted.finetuned_from or len(fitted.history.epochs) + 1
    checkpoint = hooks.resume_from
    if checkpoint is not None and checkpoint.finetuned_from is not None:
        fitted = resume(checkpoint, model, heads, first=first, hooks=hooks)
    stage = _stage(recipe, first=first)
    try:
        return train_stage(model, heads, photos, recipe=recipe, stage=stage, hooks=hooks, start=fitted)
    except DivergedError as error:
        if not isinstance(error.kept, FittedHead):
            raise
        return replace(error.kept, warning=str(error))


def _stage(recipe: Recipe, *, first: int) -> Stage:
    settings = recipe.finetune

    def rates(_epoch: int, n_steps: int, _val_losses: Sequence[float]) -> NDArray[np.floating]:
        return np.full(n_steps, settings.head_learning_rate)

    def diverged(epoch: int, what: str, _rate: float) -> str:
        return (
            f"fine-tuning diverged in epoch {epoch}: {what} NaN or infinite (learning rate "
            f"{settings.learning_rate:g}). The best epoch before that is kept. Lower the rate, e.g. --set "
            f"finetune.learning_rate={settings.learning_rate / 10:g}."
        )

    return Stage(
        first=first,
        last=first + settings.epochs - 1,
        patience_epochs=settings.patience_epochs,  # the first may be worse than the frozen head's
        min_delta=0.0,
        rates=rates,
        diverged=diverged,
    )


def tuned_answers(
    photos: Labelled,
    *,
    recipe: Recipe,
    heads: Sequence[Arrays],
    blocks: Sequence[Arrays],
    precision: Precision = "float32",
    n_classes: int,
) -> NDArray[np.float32]:
    """Average the probabilities of fine-tuned heads and the recipe's test-time views.

    Parameters
    ----------
    photos : Labelled
        Features at the last frozen layer.

    Returns
    -------
    (n, n_classes) float32
    """
    scored = tta_views(mirror=recipe.prediction.mirror)
    views = Views(photos, kept_bytes=KEPT_BYTES, first=scored)
    unfrozen = Unfrozen(blocks[0], precision)
    model = _TunedModel(recipe, unfrozen, feature_shape=views.feature_shape, n_classes=n_classes, seed=0)
    rows, answers = np.arange(len(photos.labels)), []
    for head, block in zip(heads, blocks, strict=True):
        model.load(HeadState(Fold(rows, rows), np.random.default_rng(0), model.values_of(head, block)))
        answers.append(model.answer(views, rows, scored=scored))
    return np.asarray(np.mean(answers, axis=0, dtype=np.float32))


class _TunedModel(SharedModel):
    """The unfrozen convolutions and the head."""

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
        self._recipe, block = recipe, unfrozen.block
        start = keras.Input(feature_shape, name="features")
        convolved = tail(start, block, dtype="mixed_bfloat16" if unfrozen.precision == "bfloat16" else "float32")
        self._head = build_head(recipe.head, feature_shape=convolved.shape[1:], n_classes=n_classes, seed=seed)
        of_head = sum(math.prod(v.shape) for v in self._head.trainable_variables)
        self.n_trainable = of_head + count_tuned(block_of(block))
        x = convolved
        for layer in self._head.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
            x = layer(x)
        self.keras = keras.Model(start, x, name="tuned")
        names = [name for name in tuned_layers(block_of(block)) if not name.endswith("pool")]
        self._convolutions = dict(
            zip(names, (i for i in self.keras.layers if isinstance(i, keras.layers.Conv2D)), strict=True)
        )
        self._compile()

    def _compile(self) -> None:
        of_block = [v for layer in self._convolutions.values() for v in layer.trainable_variables]
        of_head = list(self._head.trainable_variables)
        settings = self._recipe.finetune
        optimizers = []
        for variables, rate in ((of_block, settings.learning_rate), (of_head, settings.head_learning_rate)):
            optimizer = build_optimizer(Optimizer(name="adam"), variables=variables)
            optimizer.learning_rate = rate
            optimizers.append((optimizer, variables))
        self._step = _compiled_step(self.keras, optimizers, label_smoothing=self._recipe.training.label_smoothing)
        self.forward = compiled_answer(self.keras)
        state = [v for optimizer, _ in optimizers for v in optimizer.variables]
        self.variables = [*self.keras.variables, *state]
        self._unused = [np.array(v.numpy()) for v in state]  # as they are before any step

    def values_of(self, head: Arrays, block: Arrays) -> list[NDArray[Any]]:
        """The variables of a head and a block that no step was taken with."""
        set_weights(self._head, head)
        for name, layer in self._convolutions.items():
            layer.set_weights([block[f"{name}/kernel"], block[f"{name}/bias"]])
        return [*(np.array(v.numpy()) for v in self.keras.variables), *self._unused]

    def kept(self, heads: Sequence[HeadState]) -> tuple[tuple[Arrays, ...], tuple[Arrays, ...]]:
        pairs = []
        for head in heads:
            self.load(head)
            block = {
                f"{name}/{part}": np.array(v.numpy())
                for name, layer in self._convolutions.items()
                for part, v in zip(("kernel", "bias"), layer.variables, strict=True)
            }
            pairs.append((weights_by_name(self._head), block))
        return tuple(head for head, _ in pairs), tuple(block for _, block in pairs)

    def train_epoch(
        self,
        photos: Views,
        head: HeadState,
        *,
        view: int,
        rates: NDArray[np.floating],
        on_step: Callable[[], None] | None,
    ) -> float:
        del rates  # each optimizer has its own, which is constant
        batch_size, rows = self._recipe.training.batch_size, head.fold.train
        order = rows[head.draw.permutation(len(rows))]
        objectives = []
        for features, labels, portion in photos.portions(view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(portion), batch_size):
                if on_step is not None:
                    on_step()
                some = portion[start : start + batch_size].astype(np.int32)
                objectives.append(len(some) * float(self._step(features, classes, some)))
        return math.fsum(objectives) / len(order)


def _compiled_step(model: Any, optimizers: Sequence[tuple[Any, list[Any]]], *, label_smoothing: float) -> Any:
    """One step on some photos: (features, labels, rows) -> objective.

    optimizers   each with its variables
    """
    import tensorflow as tf

    variables = [v for _, own in optimizers for v in own]
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
