"""The real keras.applications.VGG16 with chosen weights and the preprocessing inside. Imports Keras when called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors.numpy import load_file

from imgreg.features.blocks import LAST_LAYER, Arrays, Block, block_of, frozen_layer, tuned_layers
from imgreg.lazy_imports import load_keras

if TYPE_CHECKING:
    from imgreg.features.weights import Weights

Preprocessing = Literal["vgg16", "rescale"]
PreprocessingName = Literal["keras.applications.vgg16.preprocess_input", "rescale 1/255"]
PREPROCESSINGS: dict[Preprocessing, PreprocessingName] = {  # as model.json and the keys of features name them
    "vgg16": "keras.applications.vgg16.preprocess_input",
    "rescale": "rescale 1/255",
}
DOWNSCALE = 32  # five 2x2 poolings
N_CHANNELS = 512


def feature_shape(size_px: int) -> tuple[int, int, int]:
    """Shape of one photo's feature map.

    >>> feature_shape(224), feature_shape(128)
    ((7, 7, 512), (4, 4, 512))
    """
    side = size_px // DOWNSCALE
    return side, side, N_CHANNELS


def build_backbone(
    weights: Weights,
    *,
    dtype: str = "float32",
    preprocessing: Preprocessing = "vgg16",
    layer: str = LAST_LAYER,
    blocks: Sequence[Arrays] = (),
) -> Any:
    """Build the frozen base for photos of any size.

    Parameters
    ----------
    layer : str, optional
        Whose output is given.
    blocks : sequence of Arrays, optional
        Fine-tuned convolutions, each set in place of the base's: the output is then (n, 1 + n_blocks, h, w, 512), first
        of the base as it is, then with each of them.
    dtype : str, optional
        float32, or mixed_bfloat16 for a GPU.
    preprocessing : Preprocessing, optional
        Of the photos, part of the model.

    Returns
    -------
    keras.Model
        (n, size, size, 3) uint8 RGB -> (n, size // 32, size // 32, 512).

    References
    ----------
    Simonyan & Zisserman 2015, arXiv:1409.1556, configuration D; keras.applications.VGG16.
    """
    load_keras()
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        vgg16 = load_vgg16(weights)
        photos = keras.Input((None, None, 3), dtype="uint8", name="photos")
        if layer != LAST_LAYER or blocks:
            vgg16 = _cut(vgg16, layer=layer, blocks=blocks)
        base = keras.Model(photos, vgg16(preprocessed(photos, preprocessing)), name="vgg16_base")
    finally:
        keras.config.set_dtype_policy(before)
    base.trainable = False
    return base


def _cut(vgg16: Any, *, layer: str, blocks: Sequence[Arrays]) -> Any:
    import keras

    given = vgg16.get_layer(layer).output
    if blocks:
        start = vgg16.get_layer(frozen_layer(block_of(blocks[0]))).output
        ends = [given, *(tail(start, block) for block in blocks)]
        given = keras.ops.stack(ends, axis=1)
    return keras.Model(vgg16.inputs, given)


def tail(start: Any, block: Arrays, *, dtype: str | None = None) -> Any:
    """Lay fine-tuned convolutions, with their poolings, over a Keras tensor.

    Parameters
    ----------
    dtype : str, optional
        Keras' policy of the convolutions; None for the policy that is set.
    """
    import keras

    x = start
    for name in tuned_layers(block_of(block)):
        if name.endswith("pool"):
            x = keras.layers.MaxPooling2D(2)(x)
            continue
        layer = keras.layers.Conv2D(N_CHANNELS, 3, padding="same", activation="relu", dtype=dtype)
        x = layer(x)
        layer.set_weights([block[f"{name}/kernel"], block[f"{name}/bias"]])
    return x


def load_vgg16(weights: Weights) -> Any:
    """The convolutions alone, frozen: keras.Model: (n, h, w, 3) float32, preprocessed -> (n, h // 32, w // 32, 512)"""
    load_keras()
    import keras

    from_file = None if weights.path.suffix == ".safetensors" else str(weights.path)
    vgg16 = keras.applications.VGG16(include_top=False, weights=from_file, input_shape=(None, None, 3))
    if from_file is None:
        arrays = load_file(weights.path)
        for layer in vgg16.layers:
            if layer.weights:
                layer.set_weights([arrays[f"{layer.name}/{part}"].astype(np.float32) for part in ("kernel", "bias")])
    vgg16.trainable = False
    return vgg16


def block_arrays(weights: Weights, block: Block) -> Arrays:
    """The base's own convolutions of a block."""
    layers = {layer.name: layer for layer in load_vgg16(weights).layers}
    arrays: dict[str, np.ndarray] = {}
    for name in tuned_layers(block):
        if not name.endswith("pool"):
            arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = layers[name].get_weights()
    return arrays


def preprocessed(photos: Any, preprocessing: Preprocessing = "vgg16") -> Any:
    """What VGG16 is given of uint8 RGB photos, (n, h, w, 3): BGR less ImageNet's channel means, or RGB in 0..1."""
    import keras

    values = keras.ops.cast(photos, "float32")
    return values / 255 if preprocessing == "rescale" else keras.applications.vgg16.preprocess_input(values)
