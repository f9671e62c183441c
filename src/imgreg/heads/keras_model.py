"""A finished classifier as one Keras model: photos -> frozen VGG16 -> heads -> probabilities, for work in Keras itself.

In: the base's weights, a plan and the heads' arrays. Out: a functional model that answers as predict does. It is made
of Keras' own layers and operations only, so it can be saved and loaded without imgreg. Imports Keras when called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgreg.config import Head
from imgreg.features.backbone import load_vgg16, preprocessed, tail
from imgreg.features.blocks import block_of, frozen_layer
from imgreg.features.stored import Stored, stored_shape
from imgreg.heads.build import build_plan, flatten_and_max, set_weights
from imgreg.heads.ensemble import Arrays
from imgreg.heads.network import Network
from imgreg.heads.plan import Layer


def photos_to_probabilities(
    network: Network,
    *,
    head: Head,
    size_px: int,
    stored: Stored = "map",
    mirror: bool = False,
    temperature: float = 1.0,
) -> Any:
    """Put base and trained heads together.

    Parameters
    ----------
    head : Head
        Settings of the head: its weight penalties and constraints, for whoever trains the model further.
    size_px : int
        Width and height of the photos.
    mirror : bool
        Average the answers over each photo and its mirror image.
    temperature : float
        Calibration: what the logarithms of the probabilities are divided by.

    Returns
    -------
    keras.Model
        (n, size_px, size_px, 3) RGB, 0..255, uint8 or float -> (n, n_classes) float32, rows sum to 1. The base is
        frozen, the heads and their blocks are trainable; not compiled.
    """
    import keras

    ops = keras.ops
    photos = keras.Input((size_px, size_px, 3), dtype="float32", name="photos")
    vgg16 = load_vgg16(network.base)
    shape = stored_shape(size_px, stored)
    views = [photos, ops.flip(photos, axis=2)] if mirror else [photos]
    if network.blocks:
        vgg16 = keras.Model(
            vgg16.inputs, vgg16.get_layer(frozen_layer(block_of(network.blocks[0]))).output, name="vgg16"
        )
        vgg16.trainable = False
    frozen = [vgg16(preprocessed(view, network.preprocessing)) for view in views]
    tails = [_tail(block, start=vgg16.output, number=number) for number, block in enumerate(network.blocks, start=1)]
    features = [[_as_stored(own(x), stored) for x in frozen] for own in tails or [lambda x: x]]
    names = ["head"] if len(network.heads) == 1 else [f"head_{n}" for n in range(1, len(network.heads) + 1)]
    trained = [
        _functional(network.plan, arrays, head=head, shape=shape, name=name)
        for name, arrays in zip(names, network.heads, strict=True)
    ]
    of_heads = features if network.blocks else features * len(trained)
    answers = [one(x) for one, of_views in zip(trained, of_heads, strict=True) for x in of_views]
    mean = answers[0] if len(answers) == 1 else keras.layers.Average(name="mean_probabilities")(answers)
    if temperature != 1:
        smallest = float(np.finfo(np.float32).tiny)
        mean = ops.softmax(ops.log(ops.maximum(mean, smallest)) / temperature)
    return keras.Model(photos, mean, name="photos_to_probabilities")


def _tail(block: Arrays, *, start: Any, number: int) -> Any:
    """Fine-tuned convolutions as a functional model, so that a photo and its mirror image share them."""
    import keras

    given = keras.Input(start.shape[1:], name="block_input")
    return keras.Model(given, tail(given, block), name=f"block_{number}")


def _as_stored(features: Any, stored: Stored) -> Any:
    """Features as training and predict read them: pooled where only that was kept, rounded to float16."""
    from keras import ops

    if stored != "map":
        features = (ops.mean if stored == "avg" else ops.max)(features, axis=(1, 2), keepdims=True)
    return ops.cast(ops.cast(features, "float16"), "float32")


def _functional(plan: Sequence[Layer], arrays: Arrays, *, head: Head, shape: tuple[int, int, int], name: str) -> Any:
    """One head as a functional model, whose output holds every class. A Lambda could not be loaded again."""
    import keras

    built = build_plan(plan, head=head, feature_shape=shape, seed=0)
    set_weights(built, arrays)
    start = x = keras.Input(shape, name="features")
    for layer, keras_layer in zip(plan, built.layers, strict=True):
        x = flatten_and_max(x) if layer.kind == "flatten+max" else keras_layer(x)
    if plan[-1].function == "sigmoid":
        x = keras.ops.concatenate([1 - x, x], axis=1)
    return keras.Model(start, x, name=name)
