"""The compiled graphs that heads are trained and scored by. Imports Keras and TensorFlow when called.

In: a Keras model, an optimizer, features. Out: objectives and probabilities. Knows nothing of recipes and histories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.forward import both_classes
from imgreg.heads.views import IntArray, Views


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
