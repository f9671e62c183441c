"""Shapes with soft edges: drawn large by Pillow, then halved."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from leaves.noise import Array, Rng, hue

OVERSAMPLING = 2  # Pillow's polygons have hard edges; drawing them twice as large and halving softens them


def any_colour(rng: Rng) -> Array:
    return hue(rng.random(), rng.random() ** 2 * 0.85, rng.uniform(0.12, 0.9))


def blob(rng: Rng, n: int) -> Array:
    """A ragged ring of n points around (0, 0), about 1 away."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(0.6, 1.4, (n, 1))


def stencil(side: int) -> Image.Image:
    """An empty stencil to draw a shape on, larger than the picture."""
    return Image.new("L", (side * OVERSAMPLING, side * OVERSAMPLING))


def cover(stencil: Image.Image) -> Array:
    """How much of each pixel the shape covers, (side, side) float32 in 0..1."""
    return np.asarray(stencil.reduce(OVERSAMPLING), np.float32) / 255


def polygon(mask: Image.Image, points: Array, value: int) -> None:
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in (points * mask.width).tolist()], fill=value)


def stroke(mask: Image.Image, points: Array, value: int, *, width: float) -> None:
    corners = [(x, y) for x, y in (points * mask.width).tolist()]
    ImageDraw.Draw(mask).line(corners, fill=value, width=max(1, round(width * mask.width)), joint="curve")
