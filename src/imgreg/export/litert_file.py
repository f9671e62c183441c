"""LiteRT, formerly TensorFlow Lite: model.tflite of built-in operators alone, run by ai-edge-litert."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from imgreg.export.litert_metadata import classifier_metadata, with_metadata
from imgreg.export.parity import Answer, UInt8Array
from imgreg.export.source import Dtype, Source

_LABELS = "labels.txt"


def write(source: Source, folder: Path, *, dtype: Dtype) -> None:
    """Convert the SavedModel. The converter refuses what built-in operators cannot express."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(source.saved_model))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if dtype == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    card = source.saved.card
    metadata = classifier_metadata(
        name=source.metadata["run"],
        description=f"Image classifier with the classes {', '.join(card.classes)}.",
        version=source.metadata["imgreg"],
        image_size=card.image_size,
        labels_file=_LABELS,
    )
    (folder / "model.tflite").write_bytes(with_metadata(converter.convert(), metadata))
    _attach(folder / "model.tflite", source)


def _attach(model: Path, source: Source) -> None:
    """Append labels.txt and metadata.json as a zip file, as TensorFlow Lite's metadata format attaches files."""
    files = {
        _LABELS: "".join(f"{label}\n" for label in source.saved.card.classes),
        "metadata.json": json.dumps(source.metadata, indent=2, ensure_ascii=False),
    }
    with zipfile.ZipFile(model, "a") as attached:
        for name, text in files.items():
            attached.writestr(zipfile.ZipInfo(name), text)  # without a time: the same run gives the same bytes


def load(folder: Path) -> Answer:
    """Load it in an interpreter without Flex operators: a model that needs them does not load."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "model.tflite"))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(photos: UInt8Array) -> np.ndarray:
        interpreter.resize_tensor_input(given["index"], photos.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], photos)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(answer["index"]))

    return run
