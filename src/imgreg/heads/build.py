"""The head as a Keras model, from its plan. Imports Keras when called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from imgreg.config import Head
from imgreg.heads.plan import Layer, plan_head
from imgreg.startup import load_keras


def build_head(head: Head, *, feature_shape: tuple[int, int, int], n_classes: int, seed: int) -> Any:
    """Build the trainable part.

    feature_shape   (h, w, c) of one photo's feature map
    seed            of the initial weights (Glorot uniform, Keras' default) and of dropout
    returns         keras.Sequential: (n, h, w, c) float32 -> (n, n_classes) float32 probabilities
    """
    load_keras()
    import keras

    seeds = _seeds(seed)
    layers = [_keras_layer(layer, head=head, seeds=seeds) for layer in plan_head(head, n_classes=n_classes)]
    return keras.Sequential([keras.Input(feature_shape, name="features"), *layers], name="head")


def weights_by_name(model: Any) -> dict[str, np.ndarray]:
    """Copies of a head's weights, named layer/array as in head.safetensors."""
    return {
        f"{layer.name}/{variable.name}": variable.numpy()  # a copy
        for layer in model.layers
        for variable in layer.variables
        if "seed_generator" not in variable.path  # dropout's; not a weight
    }


def _keras_layer(layer: Layer, *, head: Head, seeds: Iterator[int]) -> Any:
    import keras

    if layer.kind == "flatten":
        return keras.layers.Flatten(name=layer.name)
    if layer.kind == "avg":
        return keras.layers.GlobalAveragePooling2D(name=layer.name)
    if layer.kind == "max":
        return keras.layers.GlobalMaxPooling2D(name=layer.name)
    if layer.kind == "activation":
        return keras.layers.Activation(layer.function, name=layer.name)
    if layer.kind == "batch_normalization":
        return keras.layers.BatchNormalization(epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "dropout":
        return keras.layers.Dropout(layer.rate, seed=next(seeds), name=layer.name)
    penalized = layer.name != "classes" and (head.l1 or head.l2)
    return keras.layers.Dense(
        layer.units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        kernel_regularizer=keras.regularizers.L1L2(l1=head.l1, l2=head.l2) if penalized else None,
        name=layer.name,
    )


def _seeds(seed: int) -> Iterator[int]:
    draws = np.random.default_rng([seed, 0])
    while True:
        yield int(draws.integers(2**31))
