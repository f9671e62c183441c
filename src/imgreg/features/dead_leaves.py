"""Generated pictures with the statistics of photos, for which int8 measures its ranges.

Out: the same pictures on every machine, whatever the user's photos are. Must not know: what is measured on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

UInt8Array = NDArray[np.uint8]

N_PICTURES = 24
SIZE_PX = 128
SMALLEST_PX, LARGEST_PX = 2, SIZE_PX // 2  # radii
N_SHAPES = 600


def dead_leaves(n: int) -> Iterator[UInt8Array]:
    """Draw pictures of ellipses and rectangles that cover each other, with textures, light and blur.

    Few shapes are large and many small (radius to the power of -3), and textures have as much contrast at every scale,
    as photos have.

    Yields
    ------
    (SIZE_PX, SIZE_PX, 3) uint8

    References
    ----------
    Lee, Mumford & Huang 2001, Occlusion models for natural images, doi:10.1023/A:1011109015675.

    Examples
    --------
    >>> [picture.shape for picture in dead_leaves(2)]
    [(128, 128, 3), (128, 128, 3)]
    """
    for number in range(n):
        draw = np.random.default_rng(number)
        light, texture = _colour(draw) + _texture(draw)[..., None], _texture(draw)[..., None]
        for _ in range(N_SHAPES):
            radius = SMALLEST_PX / np.sqrt(draw.uniform((SMALLEST_PX / LARGEST_PX) ** 2, 1))
            where, inside = _shape(draw, radius)
            light[where][inside] = (_colour(draw) + draw.uniform(0, 0.5) * texture[where])[inside]
        light = draw.uniform(80, 170) + draw.uniform(20, 90) * light
        picture = Image.fromarray(light.clip(0, 255).astype(np.uint8))
        yield np.asarray(picture.filter(ImageFilter.GaussianBlur(max(0.0, draw.uniform(-2, 2)))))


def _colour(draw: np.random.Generator) -> NDArray[np.float64]:
    """A grey, with less of a colour: mean 0, (3,)."""
    return np.asarray(draw.normal() + 0.4 * draw.normal(size=3))


def _texture(draw: np.random.Generator) -> NDArray[np.float32]:
    """Noise of the same contrast in every octave: mean 0, (SIZE_PX, SIZE_PX)."""
    total = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    for side in (4, 8, 16, 32, 64, SIZE_PX):
        noise = Image.fromarray(draw.normal(0, 0.4, (side, side)).astype(np.float32))
        total += np.asarray(noise.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC))
    return total


def _shape(draw: np.random.Generator, radius: float) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """An ellipse or rectangle, at any place and angle: the window around it, and which of its pixels are inside."""
    centre, angle, aspect = draw.uniform(0, SIZE_PX, 2), draw.uniform(0, np.pi), draw.uniform(0.3, 1)
    reach = 1.5 * radius
    rows, columns = (np.arange(max(0, int(c - reach)), min(SIZE_PX, int(c + reach) + 1)) for c in centre)
    y, x = (rows - centre[0])[:, None], (columns - centre[1])[None]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = (y * np.cos(angle) - x * np.sin(angle)) / aspect
    distance = np.maximum(abs(along), abs(across)) if draw.random() < 0.5 else np.hypot(along, across)
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)), distance <= radius
