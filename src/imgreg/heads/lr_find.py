"""One learning-rate range test: a head trained for some steps while its learning rate grows from step to step.

Imports Keras and TensorFlow when called.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe
from imgreg.features.tta import CLEAN
from imgreg.heads.build import build_head
from imgreg.heads.epochs import KEPT_BYTES
from imgreg.heads.optimizer import build_optimizer
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.steps import compiled_epoch, weight_penalty
from imgreg.heads.views import IntArray, Labelled, Views

DIVERGED = 4.0  # times the lowest smoothed loss, as in fastai
_SMOOTHING = 0.9  # weight of the steps before


def sweep_learning_rates(
    recipe: Recipe,
    *,
    train: Labelled,
    n_classes: int,
    rates: NDArray[np.floating],
    seed: int,
) -> NDArray[np.float64]:
    """Train a new head by one batch at each learning rate, with the recipe's optimizer, augmentation and dropout.

    Parameters
    ----------
    train : Labelled
        Features of the train photos, the recipe's augmented views among them.
    rates : (n,) float
        Ascending; the recipe's own rate and schedule have no effect.
    seed : int
        Draws initial weights, order of the photos and dropout.

    Returns
    -------
    (m,) float64
        Training loss of each batch before its step, in nats, without the weight penalty. Shorter than `rates` where
        the smoothed loss rose to `DIVERGED` times its lowest value, or became NaN or infinite.

    References
    ----------
    Smith 2017, arXiv:1506.01186 (the range test); Howard & Gugger 2020, arXiv:2002.04688 (the stopping rule).
    """
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    views = Views(train, kept_bytes=KEPT_BYTES)
    model = build_head(recipe.head, feature_shape=views.feature_shape, n_classes=n_classes, seed=seed)
    if recipe.head.scaling != "none":
        plan = plan_head(recipe.head, n_classes=n_classes)
        fit_scaling(model, recipe.head.scaling, plan=plan, train=train)
    optimizer = build_optimizer(recipe.optimizer, variables=model.trainable_variables)
    take_step = compiled_epoch(model, optimizer, label_smoothing=recipe.training.label_smoothing)
    size, losses = min(recipe.training.batch_size, len(train.labels)), np.empty(0)
    batches = _batches(len(train.labels), size=size, n_views=recipe.n_views, seed=seed)
    for rate, (view, photos) in zip(rates, batches, strict=False):
        penalty = float(weight_penalty(model))
        features, labels, rows = next(views.portions(view, photos, multiple=size))
        step_rate = np.array([rate], dtype=np.float32)
        objective = float(take_step(features, labels.astype(np.int32), rows.astype(np.int32), size, step_rate))
        if not math.isfinite(objective):
            break
        losses = np.append(losses, objective - penalty)
        smoothed = smooth_losses(losses)
        if smoothed[-1] > DIVERGED * smoothed.min():
            break
    return losses


def smooth_losses(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Exponential moving average of the losses up to each step, corrected for its start as in Adam.

    >>> smooth_losses(np.array([1.0, 1.0, 0.0])).round(2)
    array([1.  , 1.  , 0.63])
    """
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * float(loss)
        smoothed.append(average / (1 - _SMOOTHING**step))
    return np.array(smoothed)


def _batches(n_photos: int, *, size: int, n_views: int, seed: int) -> Iterator[tuple[int, IntArray]]:
    """View and rows of whole batches, one epoch after the other, each in another order and on another view."""
    draw = np.random.default_rng([seed, 1])
    epoch = 0
    while True:
        order = draw.permutation(n_photos)
        view = 1 + epoch % n_views if n_views else CLEAN
        for start in range(0, n_photos - size + 1, size):
            yield view, order[start : start + size]
        epoch += 1
