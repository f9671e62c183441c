"""What this machine's processor computes: precisions, and the kernel that the last bits of a feature depend on."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgreg.errors import MachineError
from imgreg.features.int8 import rounded
from imgreg.lazy_imports import load_keras, load_openvino

if TYPE_CHECKING:
    from imgreg.features.engines import Precision

PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # OpenVINO's; int8: of what is not quantized
_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor (AMX or AVX512-BF16).

    ONEDNN_MAX_CPU_ISA, which keeps oneDNN from newer instructions, is honoured: AVX512_CORE takes bfloat16 away.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BFLOAT16:
        return False
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@functools.cache
def has_int8() -> bool:
    """Whether OpenVINO computes correctly in int8 on this processor.

    Without VNNI or AMX it uses instructions that clip the sum of two products to 16 bits: half of what it should be at
    worst. ONEDNN_MAX_CPU_ISA, which keeps oneDNN from newer instructions, is honoured.
    """
    compiled = _small_convolution("int8")
    if not _kernel_of(compiled).endswith("I8"):
        return False
    sums = compiled(np.full((1, 64, 16, 16), 255, np.float32))[0]
    return bool(sums[0, 0, 8, 8] == 255 * 127 * 64 * 9)


def has_gpu(*, say: Callable[[str], None]) -> bool:
    """Whether TensorFlow finds a GPU; says so where there is a driver but no GPU."""
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    load_keras()
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return True
    say(
        "An NVIDIA driver is installed, but TensorFlow finds no GPU: VGG16 runs on the CPU. For GPU support: pip "
        "install 'tensorflow[and-cuda]'"
    )
    return False


@functools.cache
def convolution_kernel(precision: Precision) -> str:
    """The kernel that OpenVINO chooses for a convolution on this processor, e.g. brgconv_avx512_bf16.

    Its name tells the instruction set, on which the last bits of a sum depend; ONEDNN_MAX_CPU_ISA is honoured.

    Raises
    ------
    MachineError
        If OpenVINO has none for this precision here.
    """
    try:
        return _kernel_of(_small_convolution(precision))
    except RuntimeError as error:  # OpenVINO's
        raise MachineError(
            f"OpenVINO cannot compute in {precision} on this processor. Use --precision float32."
        ) from error


def _small_convolution(precision: Precision) -> Any:
    """(1, 64, 16, 16) float32 in, kernels of 127 everywhere, compiled for one thread."""
    ov = load_openvino()
    photo = ov.opset13.parameter([1, 64, 16, 16], np.float32)
    kernel = ov.opset13.constant(np.full((64, 64, 3, 3), 127, np.float32))
    x, y = photo, kernel
    if precision == "int8":
        x, y = rounded(photo, low=0, high=255, levels=256), rounded(kernel, low=-127, high=127, levels=255)
    output = ov.opset13.convolution(x, y, [1, 1], [1, 1], [1, 1], [1, 1])
    hints = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision], "INFERENCE_NUM_THREADS": 1}
    return ov.Core().compile_model(ov.Model([output], [photo], "convolution"), "CPU", hints)


def _kernel_of(compiled: Any) -> str:
    described = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    kernels = {one["layerType"].astype(str): one["primitiveType"].astype(str) for one in described}
    return str(kernels["Convolution"])
