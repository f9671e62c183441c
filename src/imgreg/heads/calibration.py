"""What a run keeps to calibrate and qualify its answers: a temperature, held-out scores, train photos' descriptors.

The numbers are in model.json, the arrays in calibration.safetensors, which is checked like the head: size, hash,
shapes, values. Must not know: how the numbers were found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from imgreg.errors import ArtefactError
from imgreg.runs.files import read_regular

Float16Array = NDArray[np.float16]
Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.floating]

FILE = "calibration.safetensors"
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
MIN_REFERENCES, MAX_REFERENCES = 20, 2000  # train photos, 1 KB each
MAX_HELD_OUT = 20_000  # probabilities, of all classes together: 80 KB
_HEADER_BYTES = 4096  # more than the header of two arrays takes

_HeldOut = Annotated[int, msgspec.Meta(ge=0, le=MAX_HELD_OUT)]
_References = Annotated[int, msgspec.Meta(ge=0, le=MAX_REFERENCES)]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The part of model.json that says how probabilities are calibrated and what calibration.safetensors holds."""

    temperature: Annotated[float, msgspec.Meta(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)] = 1.0
    n_held_out: tuple[_HeldOut, ...]  # of each class
    n_references: _References
    novelty_threshold: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None  # a cosine distance
    sha256: str = ""


@dataclass(frozen=True)
class CalibrationArrays:
    """What calibration.safetensors holds.

    held_out     of each class the probabilities of held-out photos' true class, after temperature, ascending float32
    references   (n, n_channels) float16, descriptors of train photos
    """

    held_out: tuple[Float32Array, ...]
    references: Float16Array


def apply_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Soften (above 1) or sharpen (below 1) probabilities; the order of the classes stays.

    Parameters
    ----------
    probabilities : (n, n_classes) float
        Rows sum to 1.
    temperature : float

    Returns
    -------
    (n, n_classes) float64
        softmax(log p / temperature): float64, so that two classes a rounding apart in float32 stay apart. The array
        that was given where the temperature is 1.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599.

    Examples
    --------
    >>> apply_temperature(np.array([[0.9, 0.1]]), 2.0)
    array([[0.75, 0.25]])
    """
    if temperature == 1:
        return probabilities
    p = np.asarray(probabilities, dtype=np.float64)
    scaled = np.log(p.clip(np.finfo(np.float32).tiny)) / temperature  # a float32 softmax gives exact zeros
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def save_calibration(
    folder: Path, arrays: CalibrationArrays, *, temperature: float, threshold: float | None
) -> Calibration:
    """Write calibration.safetensors; the returned part of model.json names it by its hash."""
    data = save({"held_out": np.concatenate(arrays.held_out), "references": np.ascontiguousarray(arrays.references)})
    (folder / FILE).write_bytes(data)
    return Calibration(
        temperature=temperature,
        n_held_out=tuple(map(len, arrays.held_out)),
        n_references=len(arrays.references),
        novelty_threshold=threshold,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def load_calibration(folder: Path, calibration: Calibration, *, n_channels: int) -> CalibrationArrays:
    """Read calibration.safetensors.

    Raises
    ------
    ArtefactError
        If the file is missing, too large, not the one that model.json names, or holds a value that makes no sense.
    """
    n_held_out, n_references = sum(calibration.n_held_out), calibration.n_references
    at_most = _HEADER_BYTES + 4 * n_held_out + 2 * n_references * n_channels
    try:
        data = read_regular(folder / FILE, at_most=at_most)
    except OSError as error:
        raise ArtefactError(f"{folder}/{FILE}: cannot be read ({error.strerror}). Train the run again.") from error
    if hashlib.sha256(data).hexdigest() != calibration.sha256:
        raise ArtefactError(
            f"{folder}/{FILE}: SHA-256 differs from model.json. The file was damaged or replaced: train the run again."
        )
    try:
        found = load(data)
    except SafetensorError as error:
        raise ArtefactError(f"{folder}/{FILE}: {error}.") from error
    expected = {"held_out": (np.float32, (n_held_out,)), "references": (np.float16, (n_references, n_channels))}
    if {name: (array.dtype.type, array.shape) for name, array in found.items()} != expected:
        shapes = {name: (str(array.dtype), array.shape) for name, array in found.items()}
        raise ArtefactError(f"{folder}/{FILE}: found arrays {shapes}, expected those listed in model.json.")
    held_out = tuple(np.split(found["held_out"], np.cumsum(calibration.n_held_out)[:-1]))
    if not all(((of >= 0) & (of <= 1)).all() and (np.diff(of) >= 0).all() for of in held_out):
        raise ArtefactError(f"{folder}/{FILE}: the held-out scores are not ascending probabilities.")
    if not np.isfinite(found["references"]).all():
        raise ArtefactError(f"{folder}/{FILE}: a reference is not finite.")
    return CalibrationArrays(held_out, found["references"])
