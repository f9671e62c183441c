"""OpenVINO's format: model.xml and model.bin, run by OpenVINO in float32."""

from __future__ import annotations

from pathlib import Path

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
    for key, value in source.metadata.items():
        model.set_rt_info(value, ["imgreg", key])
    ov.save_model(model, folder / "model.xml", compress_to_fp16=dtype == "float16")


def load(folder: Path) -> Answer:
    """Load it for the CPU. Without the hint a processor with bfloat16 would compute in that."""
    ov = load_openvino()
    model = ov.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: np.array(model(photos)[0])
