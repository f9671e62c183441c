"""The lamp, the shadows it casts, and the camera that looks at it all."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from leaves.noise import Array, Rng, cloud, grid
from leaves.stencil import OVERSAMPLING, cover


@dataclass(frozen=True)
class Light:
    """The lamp over the table: where shadows fall, how soft they are, how dark, and the lamp's tint."""

    angle: float
    softness: float
    depth: float
    tint: Array


def lay(scene: Array, mask: Image.Image, paint: Array, light: Light, *, height: float) -> Array:
    """Cast the shape's shadow on the scene, then paint the shape; height is the shape's above the table."""
    side = scene.shape[0]
    dx, dy = np.array([np.cos(light.angle), np.sin(light.angle)]) * height * side
    shape = mask.reduce(OVERSAMPLING)
    shadow = shape.transform(shape.size, Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy))
    shadow = shadow.filter(ImageFilter.GaussianBlur((light.softness + height / 3) * side))
    scene = scene * (1 - np.float32(light.depth / 255) * np.asarray(shadow, np.float32)[..., None])
    return scene + (paint.astype(np.float32) - scene) * cover(mask)[..., None]


def lit(scene: Array, rng: Rng, light: Light) -> Array:
    """Tint the scene, let light fall off from the lamp's side and now and then throw a soft shadow across it."""
    side = scene.shape[0]
    u, v = grid(side, light.angle)
    level = 1 - rng.uniform(0, 0.6) * u - rng.uniform(0, 0.6) * (u**2 + v**2)
    if rng.random() < 0.35:
        edge = cloud(rng, side, cells=2, octaves=2) * rng.uniform(0.2, 1) + rng.uniform(-1, 1) + v * rng.uniform(0, 6)
        level = level * (1 - rng.uniform(0.2, 0.6) / (1 + np.exp(-np.clip(edge * rng.uniform(4, 30), -30, 30))))
    exposure = np.float32(np.exp(rng.normal(0, 0.22)))
    scene_lit: Array = scene * level[..., None] * light.tint.astype(np.float32) * exposure
    return scene_lit


def camera(scene: Array, rng: Rng) -> Image.Image:
    """Blur (focus, moving hand), expose, add the sensor's noise and one earlier JPEG compression."""
    size_px = scene.shape[0]
    unit = size_px / 160  # blur is told in pixels of the usual photo
    # long tails: most photos are sharp, a few hardly show what lies there, as in a real folder
    moved, focus = min(rng.gamma(0.4, 2.4), 7.0) * unit, (0.35 + rng.gamma(0.4, 1.5)) * unit
    way = rng.uniform(0, np.pi)
    steps = np.linspace(-moved / 2, moved / 2, 7)
    pad = int(np.ceil(moved / 2))
    padded = np.pad(scene, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    shifts = {(round(pad + s * np.sin(way)), round(pad + s * np.cos(way))) for s in steps}
    photo = np.mean([padded[r : r + size_px, c : c + size_px] for r, c in sorted(shifts)], axis=0)
    noise = rng.normal(0, 1, photo.shape).astype(np.float32) * rng.gamma(2, 0.012)
    soft = Image.fromarray((np.clip(photo, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(focus))
    photo = np.asarray(soft, np.float32) / 255
    photo = np.clip(photo + noise * np.sqrt(photo + 0.05), 0, 1)
    picture = Image.fromarray((photo * 255 + 0.5).astype(np.uint8))
    first_save = io.BytesIO()
    picture.save(first_save, format="JPEG", quality=int(rng.integers(45, 93)))
    return Image.open(first_save).convert("RGB")
