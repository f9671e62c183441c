"""What the leaf lies on: wood, cloth, paper or stone."""

from __future__ import annotations

import numpy as np

from leaves.noise import Array, Rng, cloud, grid, hue, profile, tinted


def table(rng: Rng, side: int) -> Array:
    """A wooden, woven, paper or stone surface, (side, side, 3) float32."""
    surface = (_wood, _wood, _cloth, _paper, _stone)[rng.integers(5)]
    return surface(rng, side)


def _wood(rng: Rng, side: int) -> Array:
    u, v = grid(side, rng.uniform(0, np.pi))
    wobble = v + 0.04 * cloud(rng, side, cells=2, octaves=2) + 0.1 * rng.uniform(-1, 1) * u
    plank = np.floor((v + rng.uniform(0, 1)) * rng.uniform(0.6, 4))
    rings = np.sin((wobble + 0.37 * plank) * rng.uniform(60, 160))
    streaks = profile(rng, wobble, per_side=rng.uniform(60, 150)) - 0.5
    tone = 1 + 0.07 * rings + 0.25 * streaks + 0.06 * np.sin(plank * 7.1) + 0.07 * cloud(rng, side, cells=3)
    tone[:-1] -= 0.45 * (plank[:-1] != plank[1:])
    tone[:, :-1] -= 0.25 * (plank[:, :-1] != plank[:, 1:])
    return tinted(tone, hue(rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.65), rng.uniform(0.25, 0.8)))


def _cloth(rng: Rng, side: int) -> Array:
    u, v = grid(side, rng.uniform(0, np.pi))
    crease = cloud(rng, side, cells=2)
    u, v = u + 0.015 * crease, v - 0.012 * crease
    threads = rng.uniform(35, 70) * 2 * np.pi
    tone = (
        1
        + 0.1 * np.sin(u * threads) * np.sin(v * threads)
        + 0.12 * crease
        + 0.05 * cloud(rng, side, cells=60, octaves=1)
    )
    stripes: Array = (profile(rng, u, per_side=rng.uniform(3, 9)) > rng.uniform(0.5, 0.9)).astype(np.float32)
    if rng.random() < 0.5:
        stripes = (stripes + (profile(rng, v, per_side=rng.uniform(3, 9)) > 0.6)) / 2
    dataset = hue(rng.random(), rng.uniform(0, 0.45), rng.uniform(0.25, 0.9))
    second = hue(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.95))
    weave: Array = tone[..., None] * (dataset + (second - dataset) * stripes[..., None] * rng.uniform(0, 1))
    return weave


def _paper(rng: Rng, side: int) -> Array:
    u, v = grid(side, rng.uniform(0, np.pi))
    tone = 1 + 0.03 * cloud(rng, side, cells=50, octaves=2) + 0.05 * cloud(rng, side, cells=2)
    pitch = rng.uniform(9, 24)
    match ("plain", "ruled", "squared", "printed")[rng.integers(4)]:
        case "plain":
            ink = np.zeros_like(v, dtype=bool)
        case "ruled":
            ink = (v * pitch) % 1 < 0.09
        case "squared":
            ink = ((v * pitch) % 1 < 0.09) | ((u * pitch) % 1 < 0.09)
        case _:
            words = cloud(rng, side, cells=int(pitch) * 4, octaves=1)
            ink = ((v * pitch) % 1 < 0.45) & (words > 0.1) & (np.abs(u) < rng.uniform(0.3, 0.7))
    tone = tone * (1 - rng.uniform(0.2, 0.7) * ink)
    return tinted(tone, hue(rng.uniform(0.05, 0.18), rng.uniform(0, 0.35), rng.uniform(0.5, 0.95)))


def _stone(rng: Rng, side: int) -> Array:
    clouds = cloud(rng, side, cells=4, octaves=5)
    specks = cloud(rng, side, cells=int(rng.uniform(25, 70)), octaves=2)
    tone = (
        1
        + rng.uniform(0.05, 0.2) * clouds
        - rng.uniform(0, 0.5) * (specks > 0.8)
        + 0.3 * rng.random() * (specks < -0.9)
    )
    return tinted(tone, hue(rng.random(), rng.uniform(0, 0.14), rng.uniform(0.25, 0.85)))
