"""What else lies on the table: pens, coins, crumbs, slips of paper, twigs and other leaves."""

from __future__ import annotations

import numpy as np
from PIL import Image

from leaves.leaf import leaf_colour, turn
from leaves.light import Light, lay
from leaves.noise import Array, Rng, cloud, grid, hue, tinted
from leaves.stencil import any_colour, blob, cover, polygon, stencil, stroke


def clutter(scene: Array, rng: Rng, light: Light, *, n_things: int, reach: float, around: Array | None = None) -> Array:
    """Lay n_things small objects within reach of a point (x, y), or anywhere; some hide what lies there already."""
    side = scene.shape[0]
    for _ in range(n_things):
        at = (np.array([0.5, 0.5]) if around is None else around) + rng.uniform(-reach, reach, 2)
        thing = (_pen, _coin, _crumbs, _slip, _twig, _blade)[rng.integers(6)]
        mask, paint = thing(rng, side, at)
        scene = lay(scene, mask, paint, light, height=rng.uniform(0.004, 0.02))
    return scene


def _pen(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.05)
    way = np.array([np.cos(angle), np.sin(angle)])
    mask = stencil(side)
    ends = np.array([at, at + way * rng.uniform(0.3, 0.9)])
    stroke(mask, ends, 255, width=width)
    u, v = grid(side, angle)
    u, v = u - (at - 0.5) @ way, v - (at - 0.5) @ (-way[1], way[0])
    round_ = np.sqrt(np.clip(1 - (v / width * 2) ** 2, 0.05, 1))
    body, cap = any_colour(rng), any_colour(rng)
    return mask, np.where(u[..., None] < rng.uniform(0.05, 0.3), cap, body) * (0.5 + 0.6 * round_)[..., None]


def _coin(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    radius = rng.uniform(0.04, 0.1)
    mask = stencil(side)
    around = np.linspace(0, 2 * np.pi, 40)
    polygon(mask, at + radius * np.column_stack([np.cos(around), 0.93 * np.sin(around)]), 255)
    u, v = grid(side, 0.0)
    far = np.hypot(u - at[0] + 0.5, v - at[1] + 0.5) / radius
    tone = (
        0.85
        + 0.35 * ((far > 0.82) & (far < 0.92))
        + 0.35 * (u + v)
        + 0.18 * cloud(rng, side, cells=25, octaves=2) * (far < 0.75)
    )
    return mask, tinted(tone, hue(rng.uniform(0.05, 0.14), rng.uniform(0.1, 0.6), rng.uniform(0.45, 0.8)))


def _crumbs(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = stencil(side)
    for _ in range(rng.integers(4, 24)):
        polygon(mask, at + rng.normal(0, 0.14, 2) + blob(rng, 7) * rng.uniform(0.003, 0.016), 255)
    tone = 1 + 0.3 * cloud(rng, side, cells=40, octaves=1)
    return mask, tinted(tone, hue(rng.uniform(0.03, 0.13), rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.8)))


def _slip(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = stencil(side)
    angle = rng.uniform(0, np.pi)
    half = rng.uniform(0.07, 0.22, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half * rng.normal(1, 0.06, (4, 2))
    polygon(mask, at + corners @ turn(angle).T, 255)
    _, v = grid(side, angle)
    lines = ((v * rng.uniform(20, 50)) % 1 < 0.25) * rng.uniform(0, 0.35)
    return mask, tinted(1 - lines, hue(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.6, 1)))


def _twig(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = stencil(side)
    steps = np.cumsum(rng.normal(0, 0.35, 14)) * rng.uniform(0.2, 1) + rng.uniform(0, 2 * np.pi)
    path = at + np.cumsum(np.column_stack([np.cos(steps), np.sin(steps)]), 0) * rng.uniform(0.02, 0.06)
    stroke(mask, path, 255, width=rng.uniform(0.006, 0.022))
    tone = 1 + 0.3 * cloud(rng, side, cells=40, octaves=1)
    return mask, tinted(tone, hue(0.07, rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.6)))


def _blade(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    """A slim leaf of neither kind: leaf colour and a midrib alone must not be a hint."""
    mask = stencil(side)
    t = np.linspace(0, 1, 24)
    half = rng.uniform(0.08, 0.22) * np.sin(np.pi * t) ** 0.8
    bow = rng.normal(0, 0.2) * np.sin(np.pi * t)
    outline = np.vstack([np.column_stack([t, bow + half]), np.column_stack([t, bow - half])[::-1]])
    turned, length = turn(rng.uniform(0, 2 * np.pi)), rng.uniform(0.2, 0.55)
    polygon(mask, at + outline @ turned.T * length, 255)
    rib = stencil(side)
    stroke(rib, at + np.column_stack([t, bow]) @ turned.T * length, 255, width=0.006)
    tone = 1 + 0.15 * cloud(rng, side, cells=6) + 0.3 * cover(rib)
    return mask, tinted(tone, leaf_colour(rng))
