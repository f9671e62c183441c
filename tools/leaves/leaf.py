"""The leaf: oak, one blade with lobes, or rowan, many leaflets on one stalk."""

from __future__ import annotations

import numpy as np

from leaves.light import Light, lay
from leaves.noise import Array, Rng, cloud, grid, hue
from leaves.stencil import blob, cover, polygon, stencil, stroke


def _rowan(rng: Rng) -> tuple[Array, list[Array]]:
    """Outline (n, 2) and veins of a compound leaf: slim leaflets in pairs along one stalk, one at the tip."""
    n_pairs, length, width = int(rng.integers(4, 8)), rng.uniform(0.22, 0.34), rng.uniform(0.17, 0.26)
    rise = rng.uniform(0.25, 0.7)
    t = np.linspace(0, 1, 12)
    half = width * np.sin(np.pi * t**0.85) ** 0.8
    leaflet = np.vstack([np.column_stack([t, -half]), np.column_stack([t, half])[::-1]])  # (along, across)
    sides, veins = [], [np.array([[0, 0], [0, 0.8]])]
    for sign in (-1, 1):
        side = []
        for height in np.linspace(0.12, 0.8, n_pairs):
            lean, long = rise + rng.normal(0, 0.08), length * rng.normal(1, 0.06) * (1 - 0.45 * abs(height - 0.4))
            axes = np.array([[sign * np.cos(lean), np.sin(lean)], [-sign * np.sin(lean), np.cos(lean)]])
            root = np.array([sign * 0.008, height])
            side.append(root + leaflet @ axes * long)
            veins.append(np.array([root, root + axes[0] * long * 0.9]))
        sides.append(np.vstack(side))
    tip = np.array([0, 0.8]) + leaflet[:, ::-1] * length * 0.95
    foot = np.array([[0.008, 0]])
    return np.vstack([-foot, sides[0], tip, sides[1][::-1], foot]), veins


def _oak(rng: Rng) -> tuple[Array, list[Array]]:
    """Outline (n, 2) and veins of a pinnate leaf: rounded lobes either side of one midrib; stalk at (0, 0), tip up."""
    n_lobes, depth = rng.uniform(3.2, 5.2), rng.uniform(0.3, 0.6)
    width, widest = rng.uniform(0.28, 0.4), rng.uniform(1.1, 1.6)
    t = np.linspace(0, 1, 90)
    sides, veins = [], [np.array([[0, 0], [0, 0.96]])]
    for sign in (-1, 1):
        phase = rng.uniform(-0.12, 0.12)
        bulge = np.abs(np.sin(np.pi * (n_lobes * t ** rng.uniform(0.85, 1.1) + phase))) ** 0.7
        half = width * np.sin(np.pi * t**widest) ** 0.6 * (1 - depth * (1 - bulge))
        half *= 1 + 0.06 * np.interp(t, np.linspace(0, 1, 9), rng.normal(0, 1, 9))
        rise = t + 0.05 * (half / width) * (1 - t)
        sides.append(np.column_stack([sign * half, rise]))
        for k in np.flatnonzero((bulge[1:-1] > bulge[:-2]) & (bulge[1:-1] > bulge[2:])) + 1:
            veins.append(np.array([[0, max(t[k] - 0.13, 0.02)], [sign * half[k] * 0.88, rise[k]]]))
    return np.vstack([sides[0], sides[1][::-1]]), veins


def leaf(scene: Array, label: str, rng: Rng, light: Light) -> tuple[Array, Array]:
    """Lay one leaf of the class on the table; returns the scene and the leaf's centre (x, y) in 0..1."""
    side = scene.shape[0]
    outline, veins = (_oak if label == "oak" else _rowan)(rng)
    x, y = outline.T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    middle = (outline.max(0) + outline.min(0)) / 2
    # equal areas, not equal lengths: else the share of leaf colour would give the class away
    scale = np.exp(rng.uniform(np.log(0.4), np.log(0.6))) / np.sqrt(area)
    angle, tilt, squash = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi), rng.uniform(0.62, 1)
    bend, vanish = rng.normal(0, 0.35), rng.normal(0, 0.22, 2)
    centre = rng.uniform(0.37, 0.63, 2)
    pose = turn(tilt) @ np.diag([1, squash]) @ turn(angle - tilt)

    def place(points: Array) -> Array:
        p = (points - middle) * scale
        p = p + np.column_stack([bend * p[:, 1] ** 2, -bend * p[:, 0] * p[:, 1]])
        p = p @ pose.T
        placed: Array = p / (1 + p @ vanish)[:, None] + centre
        return placed

    stalk = np.column_stack(
        [rng.normal(0, 0.05) * np.linspace(0, 1, 8) ** 2, -np.linspace(0, rng.uniform(0.12, 0.4), 8)]
    )
    mask, ribs = stencil(side), stencil(side)
    polygon(mask, place(outline), 255)
    stroke(mask, place(stalk * (4, 1)), 255, width=0.01)
    for vein in veins:
        stroke(ribs, place(vein), 255, width=rng.uniform(0.003, 0.008))
    for _ in range(rng.poisson(1.2)):  # eaten by insects
        hole = centre + rng.normal(0, 0.12, 2)
        polygon(mask, hole + blob(rng, 9) * rng.uniform(0.005, 0.022), 0)
    across, _ = grid(side, angle)
    blush = np.clip(0.5 + 0.6 * cloud(rng, side, cells=4, octaves=4) + rng.uniform(-0.6, 0.6), 0, 1)[..., None]
    paint = leaf_colour(rng) * (1 - blush) + leaf_colour(rng) * blush
    relief = rng.uniform(0.02, 0.14) * np.sign(across - (centre - 0.5) @ (np.cos(angle), np.sin(angle)))
    relief = relief + 0.12 * cloud(rng, side, cells=5) + 0.06 * cloud(rng, side, cells=70, octaves=1)
    veined = cover(ribs)[..., None]
    paint = paint * (1 + relief[..., None]) * (1 + rng.choice([-0.35, 0.5]) * rng.uniform(0.2, 1) * veined)
    return lay(scene, mask, paint, light, height=rng.uniform(0.003, 0.03)), centre


def leaf_colour(rng: Rng) -> Array:
    """From summer's green over yellow to autumn's red and dry brown, alike for both kinds."""
    shade = rng.uniform(0.01, 0.27)
    return hue(shade, rng.uniform(0.35, 0.85), rng.uniform(0.25, 0.85 - shade))


def turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
