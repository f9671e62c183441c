"""forward.py: NumPy answers as Keras does, for every kind of head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgreg.config import Head
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.forward import flatten_and_max, probabilities, score
from imgreg.heads.plan import plan_head

FEATURES = np.random.default_rng(0).normal(0, 2, (20, 3, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("pool", ["flatten", "avg", "max"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("normalization", ["none", "before_activation", "after_activation", "after_dropout"])
def test_numpy_answers_as_keras(pool: str, activation: str, normalization: str) -> None:
    """Every pool, activation and place of BatchNormalization, after its statistics have moved."""
    head = Head.model_validate(
        {
            "pool": pool,
            "activation": activation,
            "normalization": normalization,
            "units": (7, 6),
            "dropout": 0.5,
        }
    )
    model = build_head(head, feature_shape=(3, 3, 5), n_classes=3, seed=1)
    for _ in range(3):
        model(FEATURES, training=True)
    expected = np.asarray(model(FEATURES, training=False))
    found = probabilities(FEATURES, plan=plan_head(head, n_classes=3), weights=weights_by_name(model))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_flatten_and_max_answers_as_keras() -> None:
    """On maps as relu leaves them, some of them all zero, NumPy and Keras agree and every answer is finite."""
    head = Head(pool="flatten+max", units=(7,), normalization="before_activation")
    model = build_head(head, feature_shape=(3, 3, 5), n_classes=3, seed=1)
    maps = 40 * np.maximum(FEATURES, 0)
    maps[:2] = 0
    for _ in range(3):
        model(maps, training=True)
    found = probabilities(maps, plan=plan_head(head, n_classes=3), weights=weights_by_name(model))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, np.asarray(model(maps, training=False)), atol=1e-5)


def test_flatten_and_max_is_blind_to_a_maps_scale() -> None:
    """Map and maxima have the same length, whatever the photo's scale; the mean square of all values is 1."""
    pooled = flatten_and_max(FEATURES)
    assert pooled.shape == (20, 3 * 3 * 5 + 5)
    lengths = np.linalg.norm(pooled[:, :45], axis=1), np.linalg.norm(pooled[:, 45:], axis=1)
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    np.testing.assert_allclose(np.square(pooled).mean(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(flatten_and_max(7 * FEATURES), pooled, rtol=1e-5)
    assert (flatten_and_max(np.zeros((2, 3, 3, 5), np.float32)) == 0).all()


@pytest.mark.parametrize("kind", ["layer", "group"])
@pytest.mark.parametrize("place", ["before_activation", "after_activation", "after_dropout"])
@pytest.mark.parametrize("on_map", [{}, {"map_normalization": "instance"}])
def test_numpy_normalizes_as_keras(kind: str, place: str, on_map: dict[str, str]) -> None:
    """Layer, group and instance normalization, wherever they stand, with gamma and beta that have moved.

    Keras takes the variance as E[x²] - E[x]², which in float32 costs a digit where a group's values are close.
    """
    head = Head.model_validate(
        {"units": (8, 4), "normalization": place, "normalization_kind": kind, "dropout": (0.5, 0.0), **on_map}
        | ({"groups": 2} if kind == "group" else {})
    )
    model = build_head(head, feature_shape=(3, 3, 5), n_classes=3, seed=1)
    draw = np.random.default_rng(2)
    for layer in model.layers:
        for variable in getattr(layer, "trainable_variables", []):
            variable.assign(variable + draw.normal(0, 0.3, variable.shape))
    expected = np.asarray(model(FEATURES, training=False))
    found = probabilities(FEATURES, plan=plan_head(head, n_classes=3), weights=weights_by_name(model))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_score_is_keras_cross_entropy() -> None:
    """score equals Keras' categorical cross-entropy and accuracy, also where a probability is 0."""
    import keras

    p = np.random.default_rng(0).dirichlet([0.3, 0.3, 0.3], 50)
    p[0] = [0, 1, 0]
    labels = np.arange(50) % 3
    loss, accuracy = score(p, labels)
    assert loss == pytest.approx(float(np.mean(keras.losses.sparse_categorical_crossentropy(labels, p))), abs=1e-5)
    assert accuracy == (p.argmax(1) == labels).mean()


@pytest.mark.parametrize(
    ("head", "layers"),
    [
        ({"units": []}, "pool classes probabilities"),
        (
            {"normalization": "before_activation", "dropout": 0.1},
            "pool hidden_1 normalization_1 activation_1 dropout_1 classes probabilities",
        ),
        (
            {"units": [4, 4], "dropout": [0.0, 0.5], "map_normalization": "instance", "scaling": "min_max"},
            "map_normalization pool scaling hidden_1 activation_1 hidden_2 activation_2 dropout_2 "
            "classes probabilities",
        ),
        (
            {"normalization": "after_activation", "dropout": 0.1},
            "pool hidden_1 activation_1 normalization_1 dropout_1 classes probabilities",
        ),
        (
            {"normalization": "after_dropout", "dropout": 0.1},
            "pool hidden_1 activation_1 dropout_1 normalization_1 classes probabilities",
        ),
    ],
)
def test_layers_stand_where_the_recipe_says(head: dict[str, Any], layers: str) -> None:
    """The Keras model has the planned layers, in order."""
    model = build_head(Head.model_validate(head), feature_shape=(3, 3, 5), n_classes=2, seed=0)
    assert " ".join(layer.name for layer in model.layers) == layers


def test_penalties_lie_on_hidden_kernels_only() -> None:
    """L1 and L2 are Keras' own sums over the hidden kernels, neither biases nor the last layer."""
    model = build_head(Head(units=(7,), l1=0.01, l2=0.1), feature_shape=(3, 3, 5), n_classes=2, seed=0)
    kernel = weights_by_name(model)["hidden_1/kernel"].astype(np.float64)
    assert float(sum(model.losses)) == pytest.approx(
        0.01 * np.abs(kernel).sum() + 0.1 * np.square(kernel).sum(), rel=1e-5
    )
