"""The exported base cut at an inner layer, or with fine-tuned convolutions beside its own. OpenVINO alone, no Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgreg.errors import ArtefactError
from imgreg.features.blocks import LAST_LAYER, Arrays, block_of, frozen_layer, tuned_layers
from imgreg.lazy_imports import load_openvino

_POOLS = tuple(f"block{n}_pool" for n in range(1, 6))


def with_blocks(network: Any, *, layer: str = LAST_LAYER, blocks: Sequence[Arrays] = ()) -> Any:
    """Rebuild an exported VGG16 on its own first layers.

    Parameters
    ----------
    network : openvino.Model
        As `export_base` writes it, of a fixed size.
    layer : str
        The pooling whose output is given.
    blocks : sequence of Arrays
        Fine-tuned convolutions; all of the same block.

    Returns
    -------
    openvino.Model
        (1, size, size, 3) uint8 -> (1, h, w, c) of the layer; with blocks (1, 1 + n_blocks, h, w, c), first by the base
        as it is, then with each of the blocks in place of its own.
    """
    ov = load_openvino()
    ops = ov.opset13
    pools = [node for node in network.get_ordered_ops() if node.get_type_name() == "MaxPool"]
    if len(pools) != len(_POOLS):
        raise ArtefactError(f"the exported base has {len(pools)} poolings, expected {len(_POOLS)}. Clear the cache.")
    ends = [pools[_POOLS.index(layer)].output(0)]  # its second gives places
    if blocks:
        start = pools[_POOLS.index(frozen_layer(block_of(blocks[0])))].output(0)
        ends += [_tail(ops, start, block) for block in blocks]
    last = [ops.transpose(end, np.array([0, 2, 3, 1], np.int64)) for end in ends]
    output = ops.concat([ops.unsqueeze(x, np.int64(1)) for x in last], 1) if blocks else last[0]
    return ov.Model([ops.result(output)], network.get_parameters(), "vgg16")


def _tail(ops: Any, start: Any, block: Arrays) -> Any:
    x = start
    for name in tuned_layers(block_of(block)):
        if name.endswith("pool"):
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
            continue
        kernel = np.ascontiguousarray(block[f"{name}/kernel"].transpose(3, 2, 0, 1))
        x = ops.convolution(x, ops.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1])
        x = ops.relu(ops.add(x, ops.constant(block[f"{name}/bias"].reshape(1, -1, 1, 1))))
    return x
