"""BatchNormalization's statistics over the train photos themselves, in place of moving averages.

In: a head and its train photos. Out: the head with new statistics. Must not know: recipes, scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imgreg.config import Head
from imgreg.features.tta import CLEAN
from imgreg.heads.plan import plan_head
from imgreg.heads.views import IntArray, Views

KERAS_MOMENTUM = 0.99  # Keras' default, which averages over about 100 steps
LEAST_MOMENTUM = 0.5  # of two steps an epoch; with one step less would be the last batch's statistics alone


def with_momentum(head: Head, *, n_steps: int) -> Head:
    """Settle what momentum "auto" is: the moving statistics average over about one epoch, at most over 100 steps.

    Parameters
    ----------
    n_steps : int
        Gradient steps in an epoch.

    Examples
    --------
    >>> [with_momentum(Head(units=(8,)), n_steps=n).batch_norm_momentum for n in (1, 2, 8, 1000)]
    [0.5, 0.5, 0.875, 0.99]
    """
    if head.batch_norm_momentum != "auto":
        return head
    momentum = min(max(1 - 1 / n_steps, LEAST_MOMENTUM), KERAS_MOMENTUM)
    return head.model_copy(update={"batch_norm_momentum": momentum})


def uses_moving_statistics(head: Head) -> bool:
    """Whether a head answers by the moving averages that training left it.

    >>> uses_moving_statistics(Head()), uses_moving_statistics(Head(normalization="after_dropout"))
    (False, True)
    """
    if head.batch_norm_statistics == "precise":
        return False
    return any(layer.kind == "batch_normalization" for layer in plan_head(head, n_classes=2))


def moving_statistics(model: Any) -> tuple[Any, ...]:
    """The moving mean and variance of each BatchNormalization layer that training updates, as Keras variables."""
    return tuple(variable for layer in _trained(model) for variable in (layer.moving_mean, layer.moving_variance))


def statistics_updater(model: Any) -> Callable[[Views, IntArray], None]:
    """Give a function that recomputes the mean and variance of each BatchNormalization layer of a head.

    The moving averages of Keras lag behind the weights by about 1 / (1 - momentum) steps, and see augmented photos with
    dropout on. Recomputed over the clean train photos, with dropout off and one layer after the other, they are those
    of the head as it is scored. Training itself uses each batch's own statistics, so that it is unchanged.

    Parameters
    ----------
    model : keras.Sequential
        A head from heads.build.

    Returns
    -------
    callable
        (photos, rows) -> None, where rows are those of the train photos.

    References
    ----------
    Wu & Johnson 2021, arXiv:2105.07576, precise BatchNorm. Li et al. 2019, arXiv:1801.05134, the shift by dropout.
    """
    import tensorflow as tf

    layers = list(model.layers)
    places = [layers.index(layer) for layer in _trained(model)]

    def inputs_of(place: int) -> Any:
        def forward(batch: Any) -> Any:
            values = tf.cast(batch, tf.float32)
            for layer in layers[:place]:
                values = layer(values, training=False) if _has_modes(layer) else layer(values)
            return values

        return tf.function(forward, reduce_retracing=True)

    forwards = [(layers[place], inputs_of(place)) for place in places]

    def update(photos: Views, rows: IntArray) -> None:
        for layer, forward in forwards:
            values = np.concatenate(
                [
                    forward(tf.gather(features, part[start : start + 512])).numpy()
                    for features, _, part in photos.portions(CLEAN, rows, multiple=512)
                    for start in range(0, len(part), 512)
                ]
            ).astype(np.float64)
            layer.moving_mean.assign(values.mean(axis=0).astype(np.float32))
            layer.moving_variance.assign(values.var(axis=0).astype(np.float32))

    return update


def _has_modes(layer: Any) -> bool:
    """Whether a layer does something else while training."""
    return type(layer).__name__ in ("BatchNormalization", "Dropout")


def _trained(model: Any) -> list[Any]:
    """The BatchNormalization layers; one that scales the features is fitted once and frozen."""
    import keras

    return [it for it in model.layers if isinstance(it, keras.layers.BatchNormalization) and it.trainable]
