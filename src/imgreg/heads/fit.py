"""Train a head on ready features and keep an honest history. Imports Keras and TensorFlow when called.

Each epoch is one compiled graph (Keras model, loss and optimizer inside): Keras' `fit` takes two to four times as
long on these small steps (docs/log.md). At each epoch's end the same weights score the clean train photos and the
validation photos by one function, in inference mode, as plain cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.heads.batch_norm import statistics_updater, with_momentum
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.compiled import compiled_answer, compiled_epoch
from imgreg.heads.ensemble import Arrays
from imgreg.heads.epoch_scores import Fold, HeadData
from imgreg.heads.optimizer import build_optimizer, epoch_rates
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.training_loop import (
    NO_HOOKS,
    FittedHead,
    HeadState,
    Hooks,
    Photos,
    SharedModel,
    Stage,
    open_photos,
    resume,
    train_stage,
)
from imgreg.heads.views import IntArray, Views

STEPS_A_CALL = 32  # between two of them a signal is heard


def fit_head(recipe: Recipe, data: HeadData, *, seed: int, hooks: Hooks = NO_HOOKS) -> FittedHead:
    """Train by the recipe; the epoch of the lowest plain validation cross-entropy is kept.

    With several folds a head is trained for each, epoch by epoch together. An epoch's scores are over all photos: a
    photo's validation score is that of the head which was not trained on it, its train score the mean over the others.
    All heads are kept at the same epoch.

    Parameters
    ----------
    seed : int
        Initial weights, dropout and order get local generators from it: same machine, same bits.

    Raises
    ------
    DivergedError
        If a loss or a weight becomes NaN or infinite, with the epochs before it and their best heads.
    FeatureError
        If a feature is NaN or infinite.
    """
    photos = open_photos(data, recipe=recipe)
    model = _HeadModel(recipe, photos)
    heads = [model.new_head(fold, seed=_head_seed(seed, k)) for k, fold in enumerate(data.folds)]
    start = None if hooks.resume_from is None else resume(hooks.resume_from, model, heads, first=1, hooks=hooks)
    return train_stage(model, heads, photos, recipe=recipe, stage=_stage(recipe), hooks=hooks, start=start)


def _stage(recipe: Recipe) -> Stage:
    def rates(epoch: int, n_steps: int, val_losses: Sequence[float]) -> NDArray[np.float32]:
        return epoch_rates(recipe.schedule, epoch=epoch, n_steps=n_steps, val_losses=val_losses)

    def diverged(epoch: int, what: str, rate: float) -> str:
        return (
            f"training diverged in epoch {epoch}: {what} NaN or infinite (learning rate {rate:g}). Lower it, e.g. "
            f"--learning-rate {recipe.optimizer.learning_rate / 10:g}."
        )

    return Stage(
        first=1,
        last=recipe.training.epochs,
        patience_epochs=recipe.training.patience_epochs,
        min_delta=recipe.training.min_delta,
        rates=rates,
        diverged=diverged,
    )


def _head_seed(seed: int, k: int) -> int:
    """Of head k, counted from 0; the first has the training's own."""
    return seed if k == 0 else int(np.random.default_rng([seed, k]).integers(2**31))


class _HeadModel(SharedModel):
    """The head on frozen features."""

    def __init__(self, recipe: Recipe, photos: Photos) -> None:
        self._recipe, self._photos = recipe, photos
        self._update_statistics: Callable[[Views, IntArray], None] | None = None

    def new_head(self, fold: Fold, *, seed: int) -> HeadState:
        """A head with its initial weights, scaling included."""
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        recipe, head = self._recipe, HeadState(fold, np.random.default_rng([seed, 1]))
        shape, n_classes = self._photos.train.feature_shape, self._photos.data.n_classes
        settings = with_momentum(recipe.head, n_steps=math.ceil(len(fold.train) / recipe.training.batch_size))
        model = build_head(settings, feature_shape=shape, n_classes=n_classes, seed=seed)
        if recipe.head.scaling != "none":
            plan = plan_head(recipe.head, n_classes=n_classes)
            fit_scaling(model, recipe.head.scaling, plan=plan, train=self._photos.data.train.some(fold.train))
        if self.holder is None:
            self._compile(model)
            self.holder = head
        else:
            head.stored = [*(np.array(v.numpy()) for v in model.variables), *self._unused]
        return head

    def _compile(self, model: Any) -> None:
        recipe = self._recipe
        optimizer = build_optimizer(recipe.optimizer, variables=model.trainable_variables)
        self.keras, self.n_trainable = model, sum(math.prod(v.shape) for v in model.trainable_variables)
        self._step = compiled_epoch(model, optimizer, label_smoothing=recipe.training.label_smoothing)
        self.forward = compiled_answer(model)
        if "batch_norm_statistics" not in recipe.head.idle() and recipe.head.batch_norm_statistics == "precise":
            self._update_statistics = statistics_updater(model)
        self.variables = [*model.variables, *optimizer.variables]
        self._unused = [np.array(v.numpy()) for v in optimizer.variables]  # as they are before any step

    def kept(self, heads: Sequence[HeadState]) -> tuple[tuple[Arrays, ...], tuple[Arrays, ...]]:
        return tuple(weights_by_name(self.keras, values=head.stored) for head in heads), ()

    def train_epoch(
        self,
        photos: Views,
        head: HeadState,
        *,
        view: int,
        rates: NDArray[np.floating],
        on_step: Callable[[], None] | None,
    ) -> float:
        """Take a head's steps, then recompute BatchNormalization's statistics where the recipe asks for it."""
        batch_size, rows = self._recipe.training.batch_size, head.fold.train
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
        if self._update_statistics is not None:
            self._update_statistics(photos, rows)
        return math.fsum(objectives) / len(order)
