"""calibration.py: labels stay, what was saved is what is loaded, and anything else is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.special import softmax

from imgreg.errors import ArtefactError
from imgreg.heads.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Calibration,
    CalibrationArrays,
    apply_temperature,
    load_calibration,
    save_calibration,
)

TEMPERATURES = st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE)
ARRAYS = CalibrationArrays(
    held_out=(np.array([0.25, 0.5, 0.75], np.float32), np.array([0.5], np.float32)),
    references=np.arange(6, dtype=np.float16).reshape(2, 3),
)


def saved(folder: Path, arrays: CalibrationArrays = ARRAYS) -> Calibration:
    return save_calibration(folder, arrays, temperature=1.5, threshold=0.3)


@given(logits=st.lists(st.floats(-30, 30), min_size=2, max_size=6), temperature=TEMPERATURES)
def test_it_is_the_softmax_of_scaled_logits(logits: list[float], temperature: float) -> None:
    """Probabilities are those of the logits divided by the temperature."""
    p = softmax(np.array([logits]), axis=1)
    expected = softmax(np.array([logits]) / temperature, axis=1)
    np.testing.assert_allclose(apply_temperature(p, temperature), expected, rtol=1e-6)


@given(p=st.floats(2**-20, 1, width=32), temperature=TEMPERATURES)
def test_the_label_never_changes(p: float, temperature: float) -> None:
    """Not even of two classes whose probabilities differ by one rounding of float32."""
    above = float(np.nextafter(np.float32(p), np.float32(2)))
    row = np.array([[p, above, 0.0]], np.float32)
    assert apply_temperature(row, temperature).argmax() == 1


def test_a_temperature_of_one_changes_no_bit() -> None:
    """The array itself comes back, in float32."""
    p = np.array([[0.3, 0.7]], np.float32)
    assert apply_temperature(p, 1.0) is p


def test_certainty_stays_a_probability() -> None:
    """An exact 0 beside an exact 1, as float32 gives them, becomes no NaN."""
    softened = apply_temperature(np.array([[1.0, 0.0]], np.float32), 4.0)
    assert np.isfinite(softened).all()
    assert softened.sum() == pytest.approx(1)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Scores by class and references come back, and model.json's part survives JSON."""
    calibration = msgspec.json.decode(msgspec.json.encode(saved(tmp_path)), type=Calibration)
    assert (calibration.temperature, calibration.novelty_threshold) == (1.5, 0.3)
    arrays = load_calibration(tmp_path, calibration, n_channels=3)
    for ours, theirs in zip(arrays.held_out, ARRAYS.held_out, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(arrays.references, ARRAYS.references)


def test_an_exchanged_file_is_refused(tmp_path: Path) -> None:
    """Arrays that model.json does not name by hash are not used."""
    calibration = saved(tmp_path)
    saved(tmp_path, CalibrationArrays(ARRAYS.held_out, ARRAYS.references + np.float16(1)))
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        load_calibration(tmp_path, calibration, n_channels=3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A run that names the file and lacks it is damaged."""
    calibration = saved(tmp_path)
    (tmp_path / "calibration.safetensors").unlink()
    with pytest.raises(ArtefactError, match="calibration.safetensors: cannot be read"):
        load_calibration(tmp_path, calibration, n_channels=3)


def test_a_larger_file_is_not_read(tmp_path: Path) -> None:
    """A file of two gigabytes is refused by its size alone."""
    calibration = saved(tmp_path)
    with (tmp_path / "calibration.safetensors").open("r+b") as file:
        file.truncate(2**31)  # takes no room: a hole
    with pytest.raises(ArtefactError, match="found 2,147,483,648 bytes, expected at most"):
        load_calibration(tmp_path, calibration, n_channels=3)


@pytest.mark.parametrize(
    ("held_out", "references", "message"),
    [
        ([0.5, 0.25], [[1.0]], "are not ascending probabilities"),
        ([0.5, 1.5], [[1.0]], "are not ascending probabilities"),
        ([-0.5, 0.5], [[1.0]], "are not ascending probabilities"),
        ([np.nan, 0.5], [[1.0]], "are not ascending probabilities"),
        ([0.25, 0.5], [[np.inf]], "a reference is not finite"),
        ([0.25, 0.5], [[np.nan]], "a reference is not finite"),
    ],
)
def test_values_that_make_no_sense_are_refused(tmp_path: Path, held_out: list, references: list, message: str) -> None:
    """A file whose hash holds is still refused for a score that is no probability or a reference that is no number."""
    arrays = CalibrationArrays((np.array(held_out, np.float32),), np.array(references, np.float16))
    calibration = saved(tmp_path, arrays)
    with pytest.raises(ArtefactError, match=message):
        load_calibration(tmp_path, calibration, n_channels=1)


@pytest.mark.parametrize("change", [{"n_held_out": (3, 2)}, {"n_references": 3}])
def test_other_shapes_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Counts in model.json that the file does not have are a contradiction, not an odd split."""
    calibration = msgspec.structs.replace(saved(tmp_path), **change)
    with pytest.raises(ArtefactError, match="found arrays"):
        load_calibration(tmp_path, calibration, n_channels=3)


def test_another_kind_of_number_is_refused(tmp_path: Path) -> None:
    """Scores in float16 are not read as float32."""
    path = tmp_path / "calibration.safetensors"
    save_file({"held_out": np.zeros(4, np.float16), "references": ARRAYS.references}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    calibration = Calibration(n_held_out=(3, 1), n_references=2, sha256=sha256)
    with pytest.raises(ArtefactError, match="found arrays"):
        load_calibration(tmp_path, calibration, n_channels=3)


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"temperature": 1000}, {"novelty_threshold": -1}, {"n_references": 10**9}]
)
def test_impossible_numbers_are_refused(change: dict[str, object]) -> None:
    """model.json cannot ask for a division by 0, a threshold that no distance has, or gigabytes."""
    part = {"n_held_out": [1, 1], "n_references": 2} | change
    with pytest.raises(msgspec.ValidationError, match=next(iter(change))):
        msgspec.json.decode(msgspec.json.encode(part), type=Calibration)
