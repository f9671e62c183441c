"""What of a photo's features is kept, in training and in predict alike: float16, the whole map or its pooled channels.

float16 keeps 11 bits of each feature, 1 part in 2,048, at half the size: less than bfloat16 arithmetic loses on the way
to it. Heads trained on either end at the same losses (tests/features/test_stored.py; on real photos
benchmarks/precision.py). The map serves every head, flattened, averaged or maximized: 50 KB a view at 224 px. Pooled, a
view is 1 KB, and serves that pooling alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import FeatureError
from imgreg.features.backbone import feature_shape

Float16Array = NDArray[np.float16]
Stored = Literal["map", "avg", "max"]


def stored_shape(size_px: int, stored: Stored) -> tuple[int, int, int]:
    """Shape of what is kept of one photo.

    >>> stored_shape(224, "map"), stored_shape(224, "avg")
    ((7, 7, 512), (1, 1, 512))
    """
    height, width, channels = feature_shape(size_px)
    return (height, width, channels) if stored == "map" else (1, 1, channels)


def to_stored(features: NDArray[np.float32], stored: Stored) -> Float16Array:
    """Pool and round one photo's (h, w, c) feature map to what is kept.

    Returns
    -------
    (h, w, c) or (1, 1, c) float16

    Raises
    ------
    FeatureError
        If a value is not finite or too large for float16.
    """
    if stored != "map":
        features = (features.mean if stored == "avg" else features.max)(axis=(0, 1), keepdims=True)
    with np.errstate(over="ignore"):
        rounded = features.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise FeatureError(
            "VGG16 computed a feature that is not finite: its weights are damaged or not VGG16's. Try --weights "
            "starter."
        )
    return rounded
