"""The comparison of an exported model with imgreg's probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.export.parity import measure, synthetic_images

IMAGES = synthetic_images(32)
EXPECTED = np.tile(np.array([[0.7, 0.3]]), (8, 1))


@pytest.mark.parametrize(
    ("change", "dtype", "holds"),
    [(9e-5, "float32", True), (2e-4, "float32", False), (2e-4, "float16", True), (np.nan, "float16", False)],
)
def test_it_holds_within_the_tolerance_of_the_dtype(change: float, dtype, holds: bool) -> None:
    """One image that is too far away, or not a number, is enough."""

    def answer(photos: np.ndarray) -> np.ndarray:
        found = np.tile(EXPECTED[:1], (len(photos), 1))
        found[-1] += [change, -change]
        return found

    assert measure(answer, IMAGES, EXPECTED, dtype=dtype).holds is holds


def test_single_images_count_too() -> None:
    """A model that is right in batches and wrong for one image does not hold."""

    def answer(photos: np.ndarray) -> np.ndarray:
        return np.tile(EXPECTED[:1] if len(photos) > 1 else EXPECTED[:1, ::-1], (len(photos), 1))

    done = measure(answer, IMAGES, EXPECTED, dtype="float32")
    assert not done.holds
    assert done.n_flipped == 8
