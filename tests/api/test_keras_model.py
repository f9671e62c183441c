"""to_keras: a run's folder becomes the Keras model that answers as `imgreg predict`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import Trained, with_precision
from imgreg.api.classifier import load_classifier
from imgreg.api.keras_model import to_keras
from imgreg.api.predict import predict
from imgreg.data import decode as decoding
from imgreg.errors import ArtefactError


def test_its_probabilities_are_predicts(trained: Trained, tmp_path: Path) -> None:
    """Photo by photo, with the run's own image size, mirror image and temperature."""
    shutil.copytree(trained.folder, tmp_path / "run")
    with_precision(tmp_path / "run", "float32")
    paths = sorted((trained.data / "warm").glob("*.jpg"))[:6]
    answers = list(predict(paths, classifier=load_classifier([tmp_path / "run"])))
    expected = [[one.probabilities["cold"], one.probabilities["warm"]] for one in answers]
    model = to_keras(tmp_path / "run")
    photos = np.stack([decoding.decode_file(path, size_px=model.input_shape[1]) for path in paths])
    np.testing.assert_allclose(np.asarray(model(photos)), expected, atol=1e-5)


def test_a_damaged_run_is_refused(trained: Trained, tmp_path: Path) -> None:
    """A head whose bytes are not those that were saved becomes no model."""
    shutil.copytree(trained.folder, tmp_path / "run")
    path = tmp_path / "run" / "head.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"1234")
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        to_keras(tmp_path / "run")
