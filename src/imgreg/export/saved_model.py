"""TensorFlow's format: a SavedModel folder, run by TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from imgreg.export.parity import Answer
from imgreg.export.source import Dtype, Source


def write(source: Source, folder: Path, *, dtype: Dtype) -> None:  # noqa: ARG001
    """Write folder/model/."""
    shutil.copytree(source.saved_model, folder / "model")


def load(folder: Path) -> Answer:
    """Load it by TensorFlow."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / "model"))
    return lambda photos: np.asarray(model.serve(photos))
