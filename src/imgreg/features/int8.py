"""The exported base in int8: where its activations are rounded, and from which range.

In: the exported float32 base. Out: the same network, whose convolutions but the first OpenVINO computes in int8. The
ranges come from generated pictures, so that a photo's features depend on no other photo, and the cache stays valid when
photos are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import ArtefactError
from imgreg.lazy_imports import load_openvino

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]

RANGES_VERSION = 1  # of the generated pictures and of what is made of them; part of every int8 feature's name
_MARGIN = 1.4  # unusual photos go beyond the pictures; rounding steps a little wider cost less than clipping
_STEPS_PER_OCTAVE = 8


def activation_ranges(model: Path, *, pictures: Iterable[UInt8Array], size_px: int) -> tuple[float, ...]:
    """Measure the largest output of each convolution but the last over some pictures.

    A margin is added, and they are rounded up to the next eighth of an octave: the last bits of a float32 sum, which
    depend on the processor, then decide nothing.

    Parameters
    ----------
    model : Path
        The exported base, an .xml.
    pictures : iterable of array
        Each (size_px, size_px, 3) uint8 RGB. The ranges serve every image size.

    Returns
    -------
    tuple of 12 floats
    """
    ov = load_openvino()
    ops, core = ov.opset13, ov.Core()
    network = core.read_model(model)
    network.reshape([1, size_px, size_px, 3])
    outputs = [ops.result(ops.reduce_max(relu, np.arange(4))) for relu in _of_type(network, "Relu")[:-1]]
    maxima = ov.Model(outputs, network.get_parameters(), "maxima")
    measure = core.compile_model(maxima, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = [[float(value) for value in measure(picture[None]).values()] for picture in pictures]
    largest = np.maximum(np.max(rows, axis=0) * _MARGIN, np.finfo(np.float32).tiny)
    octaves = np.ceil(np.log2(largest) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE
    return tuple(float(value) for value in 2.0**octaves)


def quantize(network: Any, *, ranges: Sequence[float]) -> None:
    """Round the inputs and the kernels of all convolutions but the first to 8 bits, in place.

    OpenVINO turns what is rounded so into int8 kernels when it compiles the network.

    Parameters
    ----------
    network : openvino.Model
        The exported base.
    ranges : sequence of float
        As `activation_ranges` gives them.

    References
    ----------
    Krishnamoorthi 2018, arXiv:1806.08342: activations a layer, kernels an output channel.
    """
    relus, convolutions = _of_type(network, "Relu"), _of_type(network, "Convolution")
    for relu, high in zip(relus[:-1], ranges, strict=True):
        readers = relu.output(0).get_target_inputs()
        eight_bits = rounded(relu, low=0, high=high, levels=256)
        for reader in readers:
            reader.replace_source_output(eight_bits.output(0))
    for convolution in convolutions[1:]:
        kernel = convolution.input_value(1)
        largest = np.abs(kernel.get_node().data).max(axis=(1, 2, 3), keepdims=True)
        largest = np.maximum(largest, np.finfo(np.float32).tiny)
        eight_bits = rounded(kernel, low=-largest, high=largest, levels=255)
        convolution.input(1).replace_source_output(eight_bits.output(0))
    network.validate_nodes_and_infer_types()


def lowest_cosine(model: Path, quantized: Any, *, pictures: Sequence[UInt8Array]) -> float:
    """How far the quantized base's features agree with the exported one's, at the picture where they agree least.

    Parameters
    ----------
    quantized : openvino.Model
        As `quantize` leaves it.
    pictures : sequence of array
        Each (size, size, 3) uint8 RGB, all of one size.
    """
    core = load_openvino().Core()
    rows = []
    for network in (core.read_model(model), quantized.clone()):
        network.reshape([1, *pictures[0].shape])
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        features = np.stack([compiled(picture[None])[0].ravel() for picture in pictures])
        rows.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    return float((rows[0] * rows[1]).sum(axis=1).min())


def rounded(x: Any, *, low: float | Float32Array, high: float | Float32Array, levels: int) -> Any:
    """An OpenVINO node that clips x to low..high and rounds it to so many levels between."""
    ops = load_openvino().opset13
    ends = [ops.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return ops.fake_quantize(x, *ends, *ends, levels)


def _of_type(network: Any, name: str) -> list[Any]:
    found = [node for node in network.get_ordered_ops() if node.get_type_name() == name]
    if len(found) != 13:  # VGG16's convolutions
        raise ArtefactError(f"the exported base has {len(found)} nodes of type {name}, expected 13. Clear the cache.")
    return found
