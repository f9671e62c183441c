"""Pictures for reports: a JPEG without any of the photo's metadata, and a photo with a heatmap over it.

In: pixels. Out: JPEG bytes or pixels. Must not know: where they come from.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UInt8Array = NDArray[np.uint8]
JPEG_QUALITY = 75


def jpeg(pixels: UInt8Array) -> bytes:
    """(h, w, 3) uint8 RGB as JPEG; made of pixels alone, it carries nothing else of the photo."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()


def overlay(picture: UInt8Array, heat: NDArray[np.floating]) -> UInt8Array:
    """A photo with a heatmap over it: bright where the map is high, grey elsewhere.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        RGB.
    heat : (rows, columns)
        >= 0, of any size, stretched to the picture's.

    Returns
    -------
    (h, w, 3) uint8
        RGB; brightness grows with the map, so that it reads without colours too.
    """
    from matplotlib import colormaps

    top = float(heat.max())
    small = Image.fromarray(np.asarray(heat / top if top > 0 else heat, dtype=np.float32))
    share = np.asarray(small.resize(picture.shape[1::-1], Image.Resampling.BICUBIC)).clip(0, 1)[:, :, None]
    grey = picture.mean(axis=2, keepdims=True)
    dataset = 0.55 * (0.6 * grey + 0.4 * picture)
    glow = 255 * colormaps["inferno"](0.25 + 0.75 * share[:, :, 0])[:, :, :3]
    mixed = dataset * (1 - 0.65 * share) + glow * 0.65 * share
    return np.asarray(np.rint(mixed).clip(0, 255), dtype=np.uint8)
