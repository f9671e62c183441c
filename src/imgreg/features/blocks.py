"""VGG16's last blocks, which fine-tuning trains on: the names, shapes and places of their layers. Imports no Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Block = Literal["block5", "block4"]
Arrays = Mapping[str, NDArray[np.float32]]  # of one set of convolutions, named layer/kernel and layer/bias

LAST_LAYER = "block5_pool"
_FROZEN = {"block5": "block4_pool", "block4": "block3_pool"}  # the last layer that stays frozen


def frozen_layer(block: Block) -> str:
    """The layer whose output the unfrozen part starts from.

    >>> frozen_layer("block5")
    'block4_pool'
    """
    return _FROZEN[block]


def tuned_layers(block: Block) -> tuple[str, ...]:
    """The layers that are trained on, in order, with the poolings between and after them.

    >>> tuned_layers("block5")
    ('block5_conv1', 'block5_conv2', 'block5_conv3', 'block5_pool')
    """
    numbers = (5,) if block == "block5" else (4, 5)
    return tuple(f"block{n}_{part}" for n in numbers for part in ("conv1", "conv2", "conv3", "pool"))


def tuned_shapes(block: Block) -> dict[str, tuple[int, ...]]:
    """Shapes of the trained arrays by name.

    >>> tuned_shapes("block4")["block4_conv1/kernel"], len(tuned_shapes("block4"))
    ((3, 3, 256, 512), 12)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name in tuned_layers(block):
        if not name.endswith("pool"):
            shapes[f"{name}/kernel"] = (3, 3, 256 if name == "block4_conv1" else 512, 512)
            shapes[f"{name}/bias"] = (512,)
    return shapes


def count_tuned(block: Block) -> int:
    """Number of weights and biases that fine-tuning the block trains.

    >>> count_tuned("block5")
    7079424
    """
    return sum(math.prod(shape) for shape in tuned_shapes(block).values())


def block_of(arrays: Arrays) -> Block:
    """Which block these arrays are of, by their names."""
    return "block4" if "block4_conv1/kernel" in arrays else "block5"
