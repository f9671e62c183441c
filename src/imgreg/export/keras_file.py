"""The Keras format: model.keras, run by Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imgreg.export.parity import Answer
from imgreg.export.source import Dtype, Source


def write(source: Source, folder: Path, *, dtype: Dtype) -> None:  # noqa: ARG001
    """Write folder/model.keras."""
    source.model.save(folder / "model.keras")


def load(folder: Path) -> Answer:
    """Load it in Keras' safe mode, without code of imgreg."""
    import keras

    model = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    return lambda photos: np.asarray(model(photos))
