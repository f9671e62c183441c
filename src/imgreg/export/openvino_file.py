"""OpenVINO's format: model.xml and model.bin, run by OpenVINO in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imgreg.export.parity import Answer
from imgreg.export.source import Dtype, Source
from imgreg.lazy_imports import load_openvino


def write(source: Source, folder: Path, *, dtype: Dtype) -> None:
    """Convert the SavedModel. The metadata goes into the section imgreg of its rt_info."""
    ov = load_openvino(converter=True)
    model = ov.convert_model(str(source.saved_model))
    model.inputs[0].set_names({"photos"})
    model.outputs[0].set_names({"probabilities"})
    _round_by_arithmetic(model)
    for key, value in source.metadata.items():
        model.set_rt_info(value, ["imgreg", key])
    ov.save_model(model, folder / "model.xml", compress_to_fp16=dtype == "float16")


def _round_by_arithmetic(model: Any) -> None:
    """Replace the casts of features to float16 and back, which the CPU plugin would drop, by Veltkamp's splitting.

    With c = 8193 x, c - (c - x) is x rounded to the 11 bits that float16 keeps. 8192 is exact in float16 too.

    References
    ----------
    Dekker 1971, doi:10.1007/BF01397083.
    """
    ov = load_openvino()
    ops = ov.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_output_element_type(0) == ov.Type.f16:
            x = node.input_value(0)
            scaled = ops.add(ops.multiply(x, np.float32(8192)), x)
            rounded = ops.subtract(scaled, ops.subtract(scaled, x)).output(0)
            for back in list(node.output(0).get_target_inputs()):
                for target in list(back.get_node().output(0).get_target_inputs()):
                    target.replace_source_output(rounded)


def load(folder: Path) -> Answer:
    """Load it for the CPU. Without the hint a processor with bfloat16 would compute in that."""
    ov = load_openvino()
    model = ov.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: np.array(model(photos)[0])
