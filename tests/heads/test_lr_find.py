"""lr_find.py: the range test is plain training with another rate at each step."""

from __future__ import annotations

import numpy as np

from heads.test_fit import recipe
from imgreg.heads.build import build_head
from imgreg.heads.lr_find import sweep_learning_rates
from imgreg.heads.views import Labelled


def test_the_losses_are_those_of_keras_own_training(train_set: Labelled) -> None:
    """SGD by hand on the same batches: the loss before each step, without the L2 penalty."""
    import keras
    import tensorflow as tf

    rates = np.geomspace(1e-4, 1e-2, 6)
    asked = recipe(head={"units": [8], "l2": 0.01}, optimizer={"name": "sgd", "momentum": 0.0})
    losses = sweep_learning_rates(asked, train=train_set, n_classes=2, rates=rates, seed=3)

    features, labels = train_set.all(0).astype(np.float32), train_set.labels
    model = build_head(asked.head, feature_shape=features.shape[1:], n_classes=2, seed=3)
    draw, expected = np.random.default_rng([3, 1]), []
    orders = [draw.permutation(len(labels)) for _ in rates]
    batches = [order[i : i + 16] for order in orders for i in range(0, len(labels) - 15, 16)]
    for rate, rows in zip(rates, batches, strict=False):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(labels[rows], model(features[rows], training=True))
            )
            objective = loss + tf.add_n(model.losses)
        for variable, gradient in zip(
            model.trainable_variables, tape.gradient(objective, model.trainable_variables), strict=True
        ):
            variable.assign_sub(rate * gradient)
        expected.append(float(loss))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_a_diverging_sweep_is_stopped(train_set: Labelled) -> None:
    """Steps beyond four times the lowest smoothed loss are not taken."""
    rates = np.geomspace(1e-3, 1e6, 60)
    losses = sweep_learning_rates(
        recipe(optimizer={"name": "sgd", "momentum": 0.0}), train=train_set, n_classes=2, rates=rates, seed=0
    )
    assert len(losses) < len(rates)
    assert np.isfinite(losses).all()
