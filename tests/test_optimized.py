"""What must hold under `python -O` too, where assert statements do nothing in src/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TRAIN_ARGUMENTS, paint_set
from imgreg.config import Base
from imgreg.errors import ImgregError
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone


def test_settling_reports_missing_weights_at_once(tmp_path: Path) -> None:
    """settle() chooses the weights; asserting it away would leave the error for later."""
    with pytest.raises(ImgregError, match="nowhere"):
        Backbone(Base(weights=str(tmp_path / "nowhere.safetensors")), watcher=Watcher()).settle()


def test_a_photo_is_trained_on_and_predicted(tmp_path: Path) -> None:
    """train and predict work from end to end in an optimized interpreter."""
    data = paint_set(tmp_path / "data", n_each=8)
    models = ("--models", str(tmp_path / "models"))
    for command in (
        ["train", str(data), *TRAIN_ARGUMENTS, *models],
        ["predict", str(data / "warm" / "w00.jpg"), *models],
    ):
        done = subprocess.run(
            [sys.executable, "-O", "-m", "imgreg", *command], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split()
