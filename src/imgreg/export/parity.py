"""Whether an exported model answers as imgreg does: probabilities in, the largest difference and a judgement out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.export.source import Dtype

UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.floating[Any]]
Answer = Callable[[UInt8Array], np.ndarray]  # (n, size, size, 3) -> (n, n_classes)

TOLERANCES: dict[Dtype, float] = {"float32": 1e-4, "float16": 1e-2}  # of a probability
BATCH_SIZE = 8
N_SYNTHETIC = 8


@dataclass(frozen=True)
class Parity:
    """How an exported model's answers compare with imgreg's in float32.

    Attributes
    ----------
    n_photos, n_synthetic : int
        Photos of the run, and synthetic images.
    n_flipped : int
        Images of another class, whose two highest probabilities are further apart than the tolerance allows.
    photos_per_second : float
        In batches of 8, after the first.
    """

    n_photos: int
    n_synthetic: int
    tolerance: float
    max_difference: float
    n_flipped: int
    photos_per_second: float

    @property
    def holds(self) -> bool:
        """Whether the export may be used. False too where a probability is not a number."""
        return self.max_difference <= self.tolerance and self.n_flipped == 0


def synthetic_images(size_px: int) -> UInt8Array:
    """Noise, constants and extremes, (8, size, size, 3)."""
    draw, shape = np.random.default_rng(0), (size_px, size_px, 3)
    noise = [draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(3)]
    constants = [np.full(shape, value, np.uint8) for value in (0, 128, 255)]
    colour = np.broadcast_to(np.array([255, 0, 0], np.uint8), shape)
    board = np.broadcast_to((np.indices(shape[:2]).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None], shape)
    return np.stack([*noise, *constants, colour, board])


def measure(answer: Answer, images: UInt8Array, expected: FloatArray, *, dtype: Dtype) -> Parity:
    """Compare an exported model with imgreg's probabilities, in batches of 8 and, for the last 8 images, of 1.

    Parameters
    ----------
    images : (n, size, size, 3) uint8
        Photos first, then the synthetic images.
    expected : (n, n_classes) float
    """
    tolerance, single = TOLERANCES[dtype], images[-BATCH_SIZE:]
    answer(images[:BATCH_SIZE])  # the first prepares the runtime
    before = time.perf_counter()
    batches = [answer(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
    seconds = time.perf_counter() - before
    found = np.concatenate([*batches, *(answer(one[None]) for one in single)]).astype(np.float64)
    wanted = np.concatenate([expected, expected[-len(single) :]]).astype(np.float64)
    two = np.sort(wanted, axis=1)[:, -2:]
    flipped = (found.argmax(axis=1) != wanted.argmax(axis=1)) & (two[:, 1] - two[:, 0] > 2 * tolerance)
    return Parity(
        len(images) - N_SYNTHETIC,
        N_SYNTHETIC,
        tolerance,
        float(np.abs(found - wanted).max()),
        int(flipped.sum()),
        len(images) / seconds,
    )
