"""What an export is made from: a run's base, heads and class names, and its Keras model with uint8 photos as input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imgreg.features.weights import Weights
from imgreg.heads.store import SavedHead

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True)
class Source:
    """A run ready to export.

    Attributes
    ----------
    saved : SavedHead
        The run's heads and model card.
    base : Weights
        VGG16's weights.
    model : keras.Model
        (n, size, size, 3) uint8 RGB -> (n, n_classes) float32 probabilities.
    saved_model : Path
        The same model as a TensorFlow SavedModel, from which LiteRT and OpenVINO convert; in a temporary folder.
    metadata : dict of str to str
        What formats with metadata carry inside.
    """

    saved: SavedHead
    base: Weights
    model: Any
    saved_model: Path
    metadata: dict[str, str]


def with_uint8_input(model: Any) -> Any:
    """The model with uint8 photos as input, named photos, and one output, named probabilities."""
    import keras

    photos = keras.Input(model.input_shape[1:], dtype="uint8", name="photos")
    answer = model(keras.ops.cast(photos, "float32"))
    return keras.Model(photos, keras.layers.Identity(name="probabilities")(answer), name="imgreg")
