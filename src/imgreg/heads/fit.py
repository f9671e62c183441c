"""Train a head on ready features and keep an honest history. Imports Keras and TensorFlow when called.

Each epoch is one compiled graph (Keras model, loss and optimizer inside): Keras' `fit` takes two to four times as
long on these small steps (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from imgreg.config import Recipe
from imgreg.heads.batch_norm import moving_statistics, statistics_updater, with_momentum
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.checkpoint import Checkpoint
from imgreg.heads.ensemble import Arrays, separated
from imgreg.heads.epochs import NO_HOOKS, EpochTask, Exchanged, HeadState, Hooks, Phase, SplitViews, train_together
from imgreg.heads.optimizer import build_optimizer, epoch_rates
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.steps import compiled_answer, compiled_epoch
from imgreg.heads.training_curves import Curves, FittedHead, Fold, SplitFeatures
from imgreg.heads.views import Labelled, Views
from imgreg.runs.history import History

STEPS_A_CALL = 32  # between two of them a signal is heard


def fit_head(recipe: Recipe, data: SplitFeatures, *, seed: int, hooks: Hooks = NO_HOOKS) -> FittedHead:
    """Train by the recipe, and keep the heads of the epoch that it says: the best or the last.

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
    views = SplitViews(recipe, data)
    model = _HeadModel(recipe, data, feature_shape=views.train.feature_shape, seed=seed)
    start = FittedHead((), History((), np.empty(0, np.float32)), n_parameters=len(data.folds) * model.n_parameters)
    if (checkpoint := hooks.resume_from) is not None:
        start = _resumed(checkpoint, n_heads=len(data.folds), n_parameters=start.n_parameters)
        if hooks.monitor is not None:
            hooks.monitor.rows += start.history.layers
        for row in start.history.epochs:
            if hooks.on_epoch is not None:
                hooks.on_epoch(row)
        if start.finetuned_from is not None:
            return start  # `finetune` resumes there
        model.resume(model.heads, checkpoint.variables, n_epochs=len(start.history.epochs))
    curves = Curves(data, start, monitor=hooks.monitor)
    training = recipe.training
    phase = Phase(
        1,
        training.epochs,
        patience_epochs=training.patience_epochs,
        min_delta=training.min_delta,
        keeps_last=training.keep == "last" and not training.patience_epochs,
    )
    return train_together(model, model.heads, curves, phase=phase, views=views, hooks=hooks)


def _resumed(checkpoint: Checkpoint, *, n_heads: int, n_parameters: int) -> FittedHead:
    """What an interrupted training had found."""
    return FittedHead(
        heads=separated(checkpoint.best_weights, n_heads=n_heads),
        history=checkpoint.history,
        n_parameters=n_parameters,
        blocks=separated(checkpoint.best_blocks, n_heads=n_heads) if checkpoint.best_blocks else (),
        finetuned_from=checkpoint.finetuned_from,
    )


def _head_seed(seed: int, k: int) -> int:
    """Of head k, counted from 0; the first has the training's own."""
    return seed if k == 0 else int(np.random.default_rng([seed, k]).integers(2**31))


class _HeadModel(Exchanged):
    """The head as one compiled model and optimizer, and the variables of each fold's head."""

    def __init__(self, recipe: Recipe, data: SplitFeatures, *, feature_shape: tuple[int, int, int], seed: int) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        self._recipe, self._n_classes, self._shape = recipe, data.n_classes, feature_shape
        draws = [(fold, _head_seed(seed, k)) for k, fold in enumerate(data.folds)]
        self.keras = model = self._initial(*draws[0], train=data.train)
        self.n_parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
        self._optimizer = build_optimizer(recipe.optimizer, variables=model.trainable_variables)
        settled = "batch_norm_momentum" in recipe.head.idle() or recipe.head.batch_norm_momentum != "auto"
        by_size = () if settled else moving_statistics(model)
        smoothing = recipe.training.label_smoothing
        self._step = compiled_epoch(model, self._optimizer, label_smoothing=smoothing, by_size=by_size)
        self._update_statistics = None
        if "batch_norm_statistics" not in recipe.head.idle() and recipe.head.batch_norm_statistics == "precise":
            self._update_statistics = statistics_updater(model)
        super().__init__([*model.variables, *self._optimizer.variables], forward=compiled_answer(model))
        unused = [np.array(v.numpy()) for v in self._optimizer.variables]  # as they are before any step
        self.heads = []
        for number, (fold, own_seed) in enumerate(draws):
            of_head = self._initial(fold, own_seed, train=data.train) if number else model
            stored = [*(np.array(v.numpy()) for v in of_head.variables), *unused]
            self.heads.append(HeadState(fold, np.random.default_rng([own_seed, 1]), stored))

    def _initial(self, fold: Fold, seed: int, *, train: Labelled) -> Any:
        """A head with its initial weights, scaling included."""
        head, batch_size = self._recipe.head, self._recipe.training.batch_size
        settings = with_momentum(head, n_steps=math.ceil(len(fold.train) / batch_size))
        model = build_head(settings, feature_shape=self._shape, n_classes=self._n_classes, seed=seed)
        if head.scaling != "none":
            plan = plan_head(head, n_classes=self._n_classes)
            fit_scaling(model, head.scaling, plan=plan, train=train.some(fold.train))
        return model

    def arrays(self, head: HeadState) -> tuple[Arrays, Arrays]:
        """Copies of a head's weights, named layer/array, and no convolutions."""
        return weights_by_name(self.keras, values=head.stored), {}

    def train_epoch(
        self, photos: Views, head: HeadState, *, task: EpochTask, on_step: Callable[[], None] | None
    ) -> tuple[float, float]:
        """Take a head's steps of one epoch. Gives the mean objective and the first learning rate."""
        rows = head.fold.train
        batch_size = min(self._recipe.training.batch_size, len(rows))
        n_steps = math.ceil(len(rows) / batch_size)
        rates = epoch_rates(self._recipe.schedule, epoch=task.number, n_steps=n_steps, val_losses=task.val_losses)
        order = rows[head.draw.permutation(len(rows))]
        objectives, done = [], 0
        for features, labels, portion in photos.portions(task.view, order, multiple=batch_size):
            classes = labels.astype(np.int32)
            for start in range(0, len(portion), STEPS_A_CALL * batch_size):
                if on_step is not None:
                    on_step()
                some = portion[start : start + STEPS_A_CALL * batch_size].astype(np.int32)
                part = rates[done : (done := done + math.ceil(len(some) / batch_size))]
                objectives.append(len(some) * float(self._step(features, classes, some, batch_size, part)))
        if self._update_statistics is not None:
            self._update_statistics(photos, rows)
        return math.fsum(objectives) / len(order), float(rates[0])

    def divergence(self, number: int, what: str, *, rate: float) -> str:
        """The message for a training that diverged."""
        return (
            f"training diverged in epoch {number}: {what} NaN or infinite (learning rate {rate:g}). Lower it, e.g. "
            f"--learning-rate {self._recipe.optimizer.learning_rate / 10:g}."
        )
