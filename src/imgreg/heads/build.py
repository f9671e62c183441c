"""The head as a Keras model, from its plan. Imports Keras when called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from imgreg.config import Head, HeadLayer
from imgreg.heads.batch_norm import KERAS_MOMENTUM
from imgreg.heads.forward import SMALLEST_NORM
from imgreg.heads.plan import Layer, plan_head
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
    given = head.layers or ()
    settings = [*(_settings(layer, head) for layer in plan[: len(plan) - len(given)]), *given]
    layers = [_keras_layer(*pair, seeds=seeds) for pair in zip(plan, settings, strict=True)]
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


def _settings(layer: Layer, head: Head) -> HeadLayer:
    """What a head that is not given layer by layer sets of one layer: no penalty on the output layer."""
    hidden = 0 if layer.name in ("classes", "probabilities") else 1
    return HeadLayer.model_construct(  # not checked: its kind may be another, and it is no setting of the user's
        kind="dense",
        initializer=head.initializer,
        l1=hidden * head.l1,
        l2=hidden * head.l2,
        max_norm=hidden * head.max_norm,
        activity_l1=hidden * head.activity_l1,
        activity_l2=hidden * head.activity_l2,
        momentum=KERAS_MOMENTUM if head.batch_norm_momentum == "auto" else head.batch_norm_momentum,
    )


def _keras_layer(layer: Layer, settings: HeadLayer, *, seeds: Iterator[int]) -> Any:
    import keras

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
        penalty = _penalty(settings.activity_l1, settings.activity_l2)
        return keras.layers.Activation(layer.function, activity_regularizer=penalty, name=layer.name)
    if layer.kind == "batch_normalization":
        return keras.layers.BatchNormalization(momentum=settings.momentum, epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "dropout":
        return keras.layers.Dropout(layer.rate, seed=next(seeds), name=layer.name)
    if layer.kind == "layer_normalization":
        return keras.layers.LayerNormalization(epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "group_normalization":
        return keras.layers.GroupNormalization(groups=layer.groups, epsilon=layer.epsilon, name=layer.name)
    if layer.kind == "instance_normalization":
        return keras.layers.GroupNormalization(groups=-1, epsilon=layer.epsilon, name=layer.name)
    return keras.layers.Dense(
        layer.units,
        kernel_initializer=_initializer(settings.initializer, seed=next(seeds)),
        kernel_regularizer=_penalty(settings.l1, settings.l2),
        kernel_constraint=keras.constraints.MaxNorm(settings.max_norm, axis=0) if settings.max_norm else None,
        name=layer.name,
    )


def _penalty(l1: float, l2: float) -> Any:
    import keras

    return keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None


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
