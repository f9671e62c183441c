"""Smooth noise and colour, which everything that is drawn is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rng = np.random.Generator
Array = NDArray[Any]


def cloud(rng: Rng, side: int, *, cells: int, octaves: int = 3) -> Array:
    """Smooth noise, (side, side) float32 around 0, mostly within -1..1; each octave is finer and weaker."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        n = min(cells * 2**octave, side) + 2
        grid = Image.fromarray(rng.uniform(-1, 1, (n, n)).astype(np.float32))
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / 1.8**octave
    return total


def grid(side: int, angle: float) -> tuple[Array, Array]:
    """Coordinates (u, v) of each pixel from the picture's middle, turned by angle; both (side, side) float32."""
    line = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def hue(hue: float, saturation: float, value: float) -> Array:
    """RGB (3,) float32 of an HSV colour, all in 0..1 (hue wraps)."""
    k = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    return (value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))).astype(np.float32)


def tinted(tone: Array, colour: Array) -> Array:
    """A grey texture (side, side) in one colour, (side, side, 3)."""
    colours: Array = tone[..., None] * colour
    return colours


def profile(rng: Rng, at: Array, *, per_side: float) -> Array:
    """One-dimensional noise read at the positions `at`: streaks, 0..1, per_side of them across the picture."""
    values = rng.uniform(0, 1, int(per_side * 3) + 8)
    return np.interp((at + 1.5) * per_side, np.arange(values.size), values).astype(np.float32)
