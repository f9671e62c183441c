"""The head as a Keras model, from its plan. Imports Keras when called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from imgreg.config import Head
from imgreg.heads.batch_norm import KERAS_MOMENTUM
from imgreg.heads.forward import SMALLEST_NORM
from imgreg.heads.plan import Layer, layers_by_name, plan_head
from imgreg.lazy_imports import load_keras


def build_head(head: Head, *, feature_shape: tuple[int, int, int], n_classes: int, seed: int) -> Any:
    """Build the trainable part.

    feature_shape   (h, w, c) of one photo's feature map
    seed            of the initial weights and of dropout
    returns         keras.Sequential: (n, h, w, c) float32 -> (n, n_classes) float32 probabilities
    """
    return build_plan(plan_head(head, n_classes=n_classes), head=head, feature_shape=feature_shape, seed=seed)


def build_plan(plan: Sequence[Layer], *, head: Head, feature_shape: tuple[int, int, int], seed: int) -> Any:
    """Build a head from its layers, as a run's model.json holds them; initializer and penalties are those of `head`."""
    load_keras()
    import keras

    seeds = _seeds(seed)
    layers = [_keras_layer(layer, head=head, seeds=seeds) for layer in plan]
    return keras.Sequential([keras.Input(feature_shape, name="features"), *layers], name="head")


def set_weights(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Give a head of the same plan the weights that weights_by_name took from another."""
    for layer in model.layers:
        for variable in layer.variables:
            if "seed_generator" not in variable.path:
                variable.assign(weights[f"{layer.name}/{variable.name}"])


def weights_by_name(model: Any, *, values: Sequence[np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Copies of a head's weights, named layer/array as in head.safetensors.

    values   of model.variables and more, to be taken in place of those that the model holds
    """
    place = {id(variable): i for i, variable in enumerate(model.variables)}
    return {
        f"{layer.name}/{variable.name}": variable.numpy() if values is None else values[place[id(variable)]]
        for layer in model.layers
        for variable in layer.variables
        if "seed_generator" not in variable.path  # dropout's; not a weight
    }


def _keras_layer(layer: Layer, *, head: Head, seeds: Iterator[int]) -> Any:
    import keras

    own: Any = layers_by_name(head).get(layer.name, head)  # both have the same names for penalties and the momentum
    if layer.kind == "flatten":
        return keras.layers.Flatten(name=layer.name)
    if layer.kind == "avg":
        return keras.layers.GlobalAveragePooling2D(name=layer.name)
    if layer.kind == "max":
        return keras.layers.GlobalMaxPooling2D(name=layer.name)
    if layer.kind == "flatten+max":
        return _flatten_and_max(layer.name)
    if layer.kind == "scaling":
        scaling = keras.layers.BatchNormalization(epsilon=0, center=False, scale=False, name=layer.name)
        scaling.trainable = False  # it stays as scaling.py fits it
        return scaling
    if layer.kind == "activation":
        penalized = layer.name != "probabilities" and (own.activity_l1 or own.activity_l2)
        penalty = keras.regularizers.L1L2(l1=own.activity_l1, l2=own.activity_l2) if penalized else None
        return keras.layers.Activation(layer.function, activity_regularizer=penalty, name=layer.name)
    if layer.kind == "batch_normalization":
        momentum = KERAS_MOMENTUM if own.batch_norm_momentum == "auto" else own.batch_norm_momentum
        return keras.layers.BatchNormalization(momentum=momentum, epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "dropout":
        return keras.layers.Dropout(layer.rate, seed=next(seeds), name=layer.name)
    if layer.kind == "layer_normalization":
        return keras.layers.LayerNormalization(epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "group_normalization":
        return keras.layers.GroupNormalization(groups=layer.groups, epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "instance_normalization":
        return keras.layers.GroupNormalization(groups=-1, epsilon=layer.epsilon, name=layer.name)
    hidden = layer.name != "classes"
    return keras.layers.Dense(
        layer.units,
        kernel_initializer=_initializer(head.initializer, seed=next(seeds)),
        kernel_regularizer=keras.regularizers.L1L2(l1=own.l1, l2=own.l2) if hidden and (own.l1 or own.l2) else None,
        kernel_constraint=keras.constraints.MaxNorm(own.max_norm, axis=0) if hidden and own.max_norm else None,
        name=layer.name,
    )


def flatten_and_max(maps: Any) -> Any:
    """forward.py: flatten_and_max, in Keras' operations: (n, h, w, c) -> (n, h * w * c + c)"""
    import keras

    flat, most = keras.ops.reshape(maps, (-1, math.prod(maps.shape[1:]))), keras.ops.max(maps, axis=(1, 2))
    scale = math.sqrt((flat.shape[1] + most.shape[1]) / 2)
    norms = [keras.ops.maximum(keras.ops.norm(x, axis=1, keepdims=True), SMALLEST_NORM) for x in (flat, most)]
    return keras.ops.concatenate([scale * x / norm for x, norm in zip((flat, most), norms, strict=True)], axis=1)


def _flatten_and_max(name: str) -> Any:
    import keras

    def output_shape(shape: Any) -> Any:
        return (shape[0], math.prod(shape[1:]) + shape[-1])

    return keras.layers.Lambda(flatten_and_max, output_shape=output_shape, name=name)


def _initializer(name: str, *, seed: int) -> Any:
    import keras

    if name == "zeros":
        return keras.initializers.Zeros()
    return getattr(keras.initializers, "".join(part.title() for part in name.split("_")))(seed=seed)


def _seeds(seed: int) -> Iterator[int]:
    draws = np.random.default_rng([seed, 0])
    while True:
        yield int(draws.integers(2**31))
