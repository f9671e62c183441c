"""Test-time augmentation: heads answer from a photo and its mirror image. Augmented train views are counted from 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLEAN, MIRROR = 0, -1


def tta_views(*, mirror: bool) -> tuple[int, ...]:
    """Which views of a photo an answer is the mean of."""
    return (CLEAN, MIRROR) if mirror else (CLEAN,)


def mirrored(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flip a photo left to right.

    >>> mirrored(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)).tolist()
    [[[3, 4, 5], [0, 1, 2]]]
    """
    return np.ascontiguousarray(photo[:, ::-1])
