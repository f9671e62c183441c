"""A head's layers with their output shapes and numbers of parameters, as Keras' model.summary() lists them.

In: a head's settings, or its plan. Out: rows. Needs no Keras, and knows nothing of how the rows are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgreg.features.backbone import feature_shape
from imgreg.heads.plan import Layer, plan_head

if TYPE_CHECKING:
    from imgreg.config import Head

_KERAS = {  # kind of layer -> class of keras.layers, as heads/build.py builds it
    "flatten": "Flatten",
    "avg": "GlobalAveragePooling2D",
    "max": "GlobalMaxPooling2D",
    "flatten+max": "Lambda",
    "scaling": "BatchNormalization",
    "dense": "Dense",
    "activation": "Activation",
    "batch_normalization": "BatchNormalization",
    "layer_normalization": "LayerNormalization",
    "group_normalization": "GroupNormalization",
    "instance_normalization": "GroupNormalization",
    "dropout": "Dropout",
}
_PER_CHANNEL = {  # parameters of each channel or unit: all, and those that are trained
    "scaling": (2, 0),  # mean and variance, fitted before training
    "batch_normalization": (4, 2),  # gamma and beta; the moving mean and variance are not trained
    "layer_normalization": (2, 2),
    "group_normalization": (2, 2),
    "instance_normalization": (2, 2),
}


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a head.

    Attributes
    ----------
    name : str
        As in model.json.
    kind : str
        Its class in keras.layers.
    detail : str
        The activation's function or the dropout's rate; else empty.
    output_shape : tuple of int
        Without the batch's dimension.
    n_parameters, n_trainable : int
        All its parameters, and those that training changes.
    """

    name: str
    kind: str
    detail: str
    output_shape: tuple[int, ...]
    n_parameters: int
    n_trainable: int


def summarize_head(head: Head, *, image_size: int = 224) -> tuple[LayerSummary, ...]:
    """List the layers of a head on VGG16's features of photos of `image_size` pixels in two classes.

    >>> from imgreg.config import Head
    >>> for row in summarize_head(Head(units=(16,))):
    ...     print(row.name, row.output_shape, row.n_parameters)
    pool (25088,) 0
    hidden_1 (16,) 401424
    activation_1 (16,) 0
    classes (2,) 34
    probabilities (2,) 0
    """
    return summarize_plan(plan_head(head, n_classes=2), feature_shape=feature_shape(image_size))


def summarize_plan(plan: Sequence[Layer], *, feature_shape: tuple[int, int, int]) -> tuple[LayerSummary, ...]:
    """List the layers of a plan, as a run's model.json holds it, on features of this shape."""
    rows = []
    shape: tuple[int, ...] = feature_shape
    for layer in plan:
        n_inputs = shape[-1]
        shape = _output_shape(layer, shape)
        if layer.kind == "dense":
            n_parameters = n_trainable = (n_inputs + 1) * shape[-1]
        else:
            n_parameters, n_trainable = (n * shape[-1] for n in _PER_CHANNEL.get(layer.kind, (0, 0)))
        detail = layer.function or ("" if layer.rate is None else f"{layer.rate:g}")
        kind = _KERAS.get(layer.kind, layer.kind)
        rows.append(LayerSummary(layer.name, kind, detail, shape, n_parameters, n_trainable))
    return tuple(rows)


def _output_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    if layer.kind == "dense":
        assert layer.units is not None  # plan_head gives every Dense layer its units
        return (layer.units,)
    if layer.kind == "flatten":
        return (math.prod(shape),)
    if layer.kind == "flatten+max":
        return (math.prod(shape) + shape[-1],)
    return shape[-1:] if layer.kind in ("avg", "max") else shape


def count_trainable(rows: Sequence[LayerSummary]) -> int:
    """Trainable parameters of all layers together."""
    return sum(row.n_trainable for row in rows)


def summary_lines(rows: Sequence[LayerSummary]) -> list[str]:
    """The rows as a table of plain text, with the sums beneath."""
    table = [("layer", "type", "output shape", "parameters")]
    for row in rows:
        kind = f"{row.kind} ({row.detail})" if row.detail else row.kind
        table.append((row.name, kind, shape_in_words(row), f"{row.n_parameters:,}"))
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}"
        for name, kind, shape, count in table
    ]
    n_all, n_trainable = sum(row.n_parameters for row in rows), count_trainable(rows)
    return [*lines, f"Parameters: {n_all:,}, of which trainable: {n_trainable:,}."]


def shape_in_words(row: LayerSummary) -> str:
    """
    >>> shape_in_words(LayerSummary("pool", "Flatten", "", (7, 7, 512), 0, 0))
    '7 x 7 x 512'
    """
    return " x ".join(map(str, row.output_shape))
