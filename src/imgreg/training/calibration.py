"""What held-out and train photos say of a head, put into its run's folder for predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.conformal import held_out_scores
from imgreg.analysis.novelty import leave_one_out_threshold
from imgreg.heads.calibration import Calibration, CalibrationArrays, apply_temperature, save_calibration


def keep_calibration(
    folder: Path,
    *,
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    references: NDArray[np.float16],
    temperature: float,
) -> Calibration:
    """Write calibration.safetensors.

    Parameters
    ----------
    labels : (n,) int
        True classes of the held-out photos.
    probabilities : (n, n_classes) float
        Theirs, as the head gives them; the scores that are kept are after temperature, as predict gives them.
    references : (n_references, n_channels) float16
        Descriptors of train photos.

    Returns
    -------
    Calibration
        The part of model.json that names the file.
    """
    calibrated = apply_temperature(probabilities, temperature)
    held_out = held_out_scores(labels, calibrated, n_classes=probabilities.shape[1])
    arrays = CalibrationArrays(held_out, references)
    return save_calibration(folder, arrays, temperature=temperature, threshold=leave_one_out_threshold(references))
