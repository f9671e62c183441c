"""Draw the sample set: photo-like pictures of oak and rowan leaves on cluttered tables.

In: a label, a seed, an index. Out: an RGB picture, or class folders full of them.
Refuses to know: how photos are indexed, split or learned from.

Every photo is a function of (seed, label, index) alone, so a larger sample begins with the smaller one.
Colour, light, table, clutter, leaf area and blur have the same distribution in both classes: only the leaf's
shape (its lobes, margin and veins) tells them apart. Lengths are shares of the picture's side, colours RGB in 0..1.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from imgreg.errors import UsageError

CLASSES = ("oak", "rowan")
JPEG_QUALITY = 85
_OVERSAMPLING = 2  # Pillow's polygons have hard edges; drawing them twice as large and halving softens them

Rng = np.random.Generator
Array = NDArray[Any]


@dataclass(frozen=True)
class Light:
    """The lamp over the table: where shadows fall, how soft they are, how dark, and the lamp's tint."""

    angle: float
    softness: float
    depth: float
    tint: Array


def draw_photo(label: str, *, seed: int, index: int, size_px: int = 160) -> Image.Image:
    """Draw one photo.

    label     one of CLASSES
    seed      0 or more; index 0 or more: together with the label they fix every pixel
    size_px   side of the square picture, 32 or more
    returns   RGB picture, size_px x size_px
    raises    UsageError for an unknown label or a number out of range
    """
    if label not in CLASSES:
        raise UsageError(f"sample: no class {label!r}, expected one of {', '.join(CLASSES)}.")
    _require("seed", seed, at_least=0)
    _require("index", index, at_least=0)
    _require("size_px", size_px, at_least=32)
    rng = np.random.default_rng([seed, CLASSES.index(label), index])
    light = Light(
        angle=rng.uniform(0, 2 * np.pi),
        softness=rng.uniform(0.004, 0.03),
        depth=rng.uniform(0.25, 0.7),
        tint=1 + rng.uniform(-0.14, 0.14) * np.array([1, 0.15, -1]),
    )
    scene = _table(rng, size_px)
    scene = _clutter(scene, rng, light, n_things=int(rng.integers(0, 4)), reach=0.75)
    scene, centre = _leaf(scene, label, rng, light)
    n_on_top = int(rng.poisson(2)) if rng.random() < 0.3 else 0
    scene = _clutter(scene, rng, light, n_things=n_on_top, reach=0.25, around=centre)
    return _camera(_lit(scene, rng, light), rng)


def draw_sample(
    root: Path, *, count: int, seed: int, size_px: int = 160, on_photo: Callable[[int], None] | None = None
) -> tuple[Path, ...]:
    """Write root/<class>/<class>-0001.jpg and on, for each of CLASSES.

    count      photos per class, 1 or more
    on_photo   called after each photo with the number written so far
    returns    the paths written, class by class
    raises     UsageError if root holds anything already, or a number is out of range
    """
    # before the first folder is made: a refusal must leave nothing behind
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size_px", size_px, 32)):
        _require(name, value, at_least=least)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root}: exists and is not an empty folder. Name a new folder for the sample.")
    written: list[Path] = []
    for label in CLASSES:
        (root / label).mkdir(parents=True, exist_ok=True)
        for index in range(1, count + 1):
            path = root / label / f"{label}-{index:04d}.jpg"
            photo = draw_photo(label, seed=seed, index=index, size_px=size_px)
            _save(photo, path)
            written.append(path)
            if on_photo is not None:
                on_photo(len(written))
    return tuple(written)


def _save(photo: Image.Image, path: Path) -> None:
    unfinished = path.with_suffix(".part")
    try:
        with unfinished.open("wb") as file:
            photo.save(file, format="JPEG", quality=JPEG_QUALITY)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _require(name: str, value: int, *, at_least: int) -> None:
    if value < at_least:
        raise UsageError(f"sample: {name} is {value}, expected {at_least} or more.")


# --- noise and colour -------------------------------------------------------------------------------------------


def _cloud(rng: Rng, side: int, *, cells: int, octaves: int = 3) -> Array:
    """Smooth noise, (side, side) float32 around 0, mostly within -1..1; each octave is finer and weaker."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        n = min(cells * 2**octave, side) + 2
        grid = Image.fromarray(rng.uniform(-1, 1, (n, n)).astype(np.float32))
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / 1.8**octave
    return total


def _grid(side: int, angle: float) -> tuple[Array, Array]:
    """Coordinates (u, v) of each pixel from the picture's middle, turned by angle; both (side, side) float32."""
    line = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _hue(hue: float, saturation: float, value: float) -> Array:
    """RGB (3,) float32 of an HSV colour, all in 0..1 (hue wraps)."""
    k = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    return (value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))).astype(np.float32)


def _tinted(tone: Array, colour: Array) -> Array:
    """A grey texture (side, side) in one colour, (side, side, 3)."""
    tinted: Array = tone[..., None] * colour
    return tinted


def _profile(rng: Rng, at: Array, *, per_side: float) -> Array:
    """One-dimensional noise read at the positions `at`: streaks, 0..1, per_side of them across the picture."""
    values = rng.uniform(0, 1, int(per_side * 3) + 8)
    return np.interp((at + 1.5) * per_side, np.arange(values.size), values).astype(np.float32)


# --- the table --------------------------------------------------------------------------------------------------


def _table(rng: Rng, side: int) -> Array:
    """A wooden, woven, paper or stone surface, (side, side, 3) float32."""
    surface = (_wood, _wood, _cloth, _paper, _stone)[rng.integers(5)]
    return surface(rng, side)


def _wood(rng: Rng, side: int) -> Array:
    u, v = _grid(side, rng.uniform(0, np.pi))
    wobble = v + 0.04 * _cloud(rng, side, cells=2, octaves=2) + 0.1 * rng.uniform(-1, 1) * u
    plank = np.floor((v + rng.uniform(0, 1)) * rng.uniform(0.6, 4))
    rings = np.sin((wobble + 0.37 * plank) * rng.uniform(60, 160))
    streaks = _profile(rng, wobble, per_side=rng.uniform(60, 150)) - 0.5
    tone = 1 + 0.07 * rings + 0.25 * streaks + 0.06 * np.sin(plank * 7.1) + 0.07 * _cloud(rng, side, cells=3)
    tone[:-1] -= 0.45 * (plank[:-1] != plank[1:])
    tone[:, :-1] -= 0.25 * (plank[:, :-1] != plank[:, 1:])
    return _tinted(tone, _hue(rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.65), rng.uniform(0.25, 0.8)))


def _cloth(rng: Rng, side: int) -> Array:
    u, v = _grid(side, rng.uniform(0, np.pi))
    crease = _cloud(rng, side, cells=2)
    u, v = u + 0.015 * crease, v - 0.012 * crease
    threads = rng.uniform(35, 70) * 2 * np.pi
    tone = (
        1
        + 0.1 * np.sin(u * threads) * np.sin(v * threads)
        + 0.12 * crease
        + 0.05 * _cloud(rng, side, cells=60, octaves=1)
    )
    stripes: Array = (_profile(rng, u, per_side=rng.uniform(3, 9)) > rng.uniform(0.5, 0.9)).astype(np.float32)
    if rng.random() < 0.5:
        stripes = (stripes + (_profile(rng, v, per_side=rng.uniform(3, 9)) > 0.6)) / 2
    ground = _hue(rng.random(), rng.uniform(0, 0.45), rng.uniform(0.25, 0.9))
    second = _hue(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.95))
    weave: Array = tone[..., None] * (ground + (second - ground) * stripes[..., None] * rng.uniform(0, 1))
    return weave


def _paper(rng: Rng, side: int) -> Array:
    u, v = _grid(side, rng.uniform(0, np.pi))
    tone = 1 + 0.03 * _cloud(rng, side, cells=50, octaves=2) + 0.05 * _cloud(rng, side, cells=2)
    pitch = rng.uniform(9, 24)
    match ("plain", "ruled", "squared", "printed")[rng.integers(4)]:
        case "plain":
            ink = np.zeros_like(v, dtype=bool)
        case "ruled":
            ink = (v * pitch) % 1 < 0.09
        case "squared":
            ink = ((v * pitch) % 1 < 0.09) | ((u * pitch) % 1 < 0.09)
        case _:
            words = _cloud(rng, side, cells=int(pitch) * 4, octaves=1)
            ink = ((v * pitch) % 1 < 0.45) & (words > 0.1) & (np.abs(u) < rng.uniform(0.3, 0.7))
    tone = tone * (1 - rng.uniform(0.2, 0.7) * ink)
    return _tinted(tone, _hue(rng.uniform(0.05, 0.18), rng.uniform(0, 0.35), rng.uniform(0.5, 0.95)))


def _stone(rng: Rng, side: int) -> Array:
    cloud = _cloud(rng, side, cells=4, octaves=5)
    specks = _cloud(rng, side, cells=int(rng.uniform(25, 70)), octaves=2)
    tone = (
        1 + rng.uniform(0.05, 0.2) * cloud - rng.uniform(0, 0.5) * (specks > 0.8) + 0.3 * rng.random() * (specks < -0.9)
    )
    return _tinted(tone, _hue(rng.random(), rng.uniform(0, 0.14), rng.uniform(0.25, 0.85)))


# --- the leaf ---------------------------------------------------------------------------------------------------


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


def _leaf(scene: Array, label: str, rng: Rng, light: Light) -> tuple[Array, Array]:
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
    pose = _turn(tilt) @ np.diag([1, squash]) @ _turn(angle - tilt)

    def place(points: Array) -> Array:
        p = (points - middle) * scale
        p = p + np.column_stack([bend * p[:, 1] ** 2, -bend * p[:, 0] * p[:, 1]])
        p = p @ pose.T
        placed: Array = p / (1 + p @ vanish)[:, None] + centre
        return placed

    stalk = np.column_stack(
        [rng.normal(0, 0.05) * np.linspace(0, 1, 8) ** 2, -np.linspace(0, rng.uniform(0.12, 0.4), 8)]
    )
    mask, ribs = _stencil(side), _stencil(side)
    _polygon(mask, place(outline), 255)
    _line(mask, place(stalk * (4, 1)), 255, width=0.01)
    for vein in veins:
        _line(ribs, place(vein), 255, width=rng.uniform(0.003, 0.008))
    for _ in range(rng.poisson(1.2)):  # eaten by insects
        hole = centre + rng.normal(0, 0.12, 2)
        _polygon(mask, hole + _blob(rng, 9) * rng.uniform(0.005, 0.022), 0)
    across, _ = _grid(side, angle)
    blush = np.clip(0.5 + 0.6 * _cloud(rng, side, cells=4, octaves=4) + rng.uniform(-0.6, 0.6), 0, 1)[..., None]
    paint = _leaf_colour(rng) * (1 - blush) + _leaf_colour(rng) * blush
    relief = rng.uniform(0.02, 0.14) * np.sign(across - (centre - 0.5) @ (np.cos(angle), np.sin(angle)))
    relief = relief + 0.12 * _cloud(rng, side, cells=5) + 0.06 * _cloud(rng, side, cells=70, octaves=1)
    veined = _cover(ribs)[..., None]
    paint = paint * (1 + relief[..., None]) * (1 + rng.choice([-0.35, 0.5]) * rng.uniform(0.2, 1) * veined)
    return _lay(scene, mask, paint, light, height=rng.uniform(0.003, 0.03)), centre


def _leaf_colour(rng: Rng) -> Array:
    """From summer's green over yellow to autumn's red and dry brown, alike for both kinds."""
    hue = rng.uniform(0.01, 0.27)
    return _hue(hue, rng.uniform(0.35, 0.85), rng.uniform(0.25, 0.85 - hue))


def _turn(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


# --- clutter ----------------------------------------------------------------------------------------------------


def _clutter(
    scene: Array, rng: Rng, light: Light, *, n_things: int, reach: float, around: Array | None = None
) -> Array:
    """Lay n_things small objects within reach of a point (x, y), or anywhere; some hide what lies there already."""
    side = scene.shape[0]
    for _ in range(n_things):
        at = (np.array([0.5, 0.5]) if around is None else around) + rng.uniform(-reach, reach, 2)
        thing = (_pen, _coin, _crumbs, _slip, _twig, _blade)[rng.integers(6)]
        mask, paint = thing(rng, side, at)
        scene = _lay(scene, mask, paint, light, height=rng.uniform(0.004, 0.02))
    return scene


def _pen(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.05)
    way = np.array([np.cos(angle), np.sin(angle)])
    mask = _stencil(side)
    ends = np.array([at, at + way * rng.uniform(0.3, 0.9)])
    _line(mask, ends, 255, width=width)
    u, v = _grid(side, angle)
    u, v = u - (at - 0.5) @ way, v - (at - 0.5) @ (-way[1], way[0])
    round_ = np.sqrt(np.clip(1 - (v / width * 2) ** 2, 0.05, 1))
    body, cap = _any_colour(rng), _any_colour(rng)
    return mask, np.where(u[..., None] < rng.uniform(0.05, 0.3), cap, body) * (0.5 + 0.6 * round_)[..., None]


def _coin(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    radius = rng.uniform(0.04, 0.1)
    mask = _stencil(side)
    turn = np.linspace(0, 2 * np.pi, 40)
    _polygon(mask, at + radius * np.column_stack([np.cos(turn), 0.93 * np.sin(turn)]), 255)
    u, v = _grid(side, 0.0)
    far = np.hypot(u - at[0] + 0.5, v - at[1] + 0.5) / radius
    tone = (
        0.85
        + 0.35 * ((far > 0.82) & (far < 0.92))
        + 0.35 * (u + v)
        + 0.18 * _cloud(rng, side, cells=25, octaves=2) * (far < 0.75)
    )
    return mask, _tinted(tone, _hue(rng.uniform(0.05, 0.14), rng.uniform(0.1, 0.6), rng.uniform(0.45, 0.8)))


def _crumbs(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = _stencil(side)
    for _ in range(rng.integers(4, 24)):
        _polygon(mask, at + rng.normal(0, 0.14, 2) + _blob(rng, 7) * rng.uniform(0.003, 0.016), 255)
    tone = 1 + 0.3 * _cloud(rng, side, cells=40, octaves=1)
    return mask, _tinted(tone, _hue(rng.uniform(0.03, 0.13), rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.8)))


def _slip(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = _stencil(side)
    angle = rng.uniform(0, np.pi)
    half = rng.uniform(0.07, 0.22, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half * rng.normal(1, 0.06, (4, 2))
    _polygon(mask, at + corners @ _turn(angle).T, 255)
    _, v = _grid(side, angle)
    lines = ((v * rng.uniform(20, 50)) % 1 < 0.25) * rng.uniform(0, 0.35)
    return mask, _tinted(1 - lines, _hue(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.6, 1)))


def _twig(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    mask = _stencil(side)
    steps = np.cumsum(rng.normal(0, 0.35, 14)) * rng.uniform(0.2, 1) + rng.uniform(0, 2 * np.pi)
    path = at + np.cumsum(np.column_stack([np.cos(steps), np.sin(steps)]), 0) * rng.uniform(0.02, 0.06)
    _line(mask, path, 255, width=rng.uniform(0.006, 0.022))
    tone = 1 + 0.3 * _cloud(rng, side, cells=40, octaves=1)
    return mask, _tinted(tone, _hue(0.07, rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.6)))


def _blade(rng: Rng, side: int, at: Array) -> tuple[Image.Image, Array]:
    """A slim leaf of neither kind: leaf colour and a midrib alone must not be a hint."""
    mask = _stencil(side)
    t = np.linspace(0, 1, 24)
    half = rng.uniform(0.08, 0.22) * np.sin(np.pi * t) ** 0.8
    bow = rng.normal(0, 0.2) * np.sin(np.pi * t)
    outline = np.vstack([np.column_stack([t, bow + half]), np.column_stack([t, bow - half])[::-1]])
    turn, length = _turn(rng.uniform(0, 2 * np.pi)), rng.uniform(0.2, 0.55)
    _polygon(mask, at + outline @ turn.T * length, 255)
    rib = _stencil(side)
    _line(rib, at + np.column_stack([t, bow]) @ turn.T * length, 255, width=0.006)
    tone = 1 + 0.15 * _cloud(rng, side, cells=6) + 0.3 * _cover(rib)
    return mask, _tinted(tone, _leaf_colour(rng))


def _any_colour(rng: Rng) -> Array:
    return _hue(rng.random(), rng.random() ** 2 * 0.85, rng.uniform(0.12, 0.9))


def _blob(rng: Rng, n: int) -> Array:
    """A ragged ring of n points around (0, 0), about 1 away."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(0.6, 1.4, (n, 1))


def _stencil(side: int) -> Image.Image:
    """An empty stencil to draw a shape on, larger than the picture."""
    return Image.new("L", (side * _OVERSAMPLING, side * _OVERSAMPLING))


def _cover(stencil: Image.Image) -> Array:
    """How much of each pixel the shape covers, (side, side) float32 in 0..1."""
    return np.asarray(stencil.reduce(_OVERSAMPLING), np.float32) / 255


def _polygon(mask: Image.Image, points: Array, value: int) -> None:
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in (points * mask.width).tolist()], fill=value)


def _line(mask: Image.Image, points: Array, value: int, *, width: float) -> None:
    corners = [(x, y) for x, y in (points * mask.width).tolist()]
    ImageDraw.Draw(mask).line(corners, fill=value, width=max(1, round(width * mask.width)), joint="curve")


# --- light and camera -------------------------------------------------------------------------------------------


def _lay(scene: Array, mask: Image.Image, paint: Array, light: Light, *, height: float) -> Array:
    """Cast the shape's shadow on the scene, then paint the shape; height is the shape's above the table."""
    side = scene.shape[0]
    dx, dy = np.array([np.cos(light.angle), np.sin(light.angle)]) * height * side
    shape = mask.reduce(_OVERSAMPLING)
    shadow = shape.transform(shape.size, Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy))
    shadow = shadow.filter(ImageFilter.GaussianBlur((light.softness + height / 3) * side))
    scene = scene * (1 - np.float32(light.depth / 255) * np.asarray(shadow, np.float32)[..., None])
    return scene + (paint.astype(np.float32) - scene) * _cover(mask)[..., None]


def _lit(scene: Array, rng: Rng, light: Light) -> Array:
    """Tint the scene, let light fall off from the lamp's side and now and then throw a soft shadow across it."""
    side = scene.shape[0]
    u, v = _grid(side, light.angle)
    level = 1 - rng.uniform(0, 0.6) * u - rng.uniform(0, 0.6) * (u**2 + v**2)
    if rng.random() < 0.35:
        edge = _cloud(rng, side, cells=2, octaves=2) * rng.uniform(0.2, 1) + rng.uniform(-1, 1) + v * rng.uniform(0, 6)
        level = level * (1 - rng.uniform(0.2, 0.6) / (1 + np.exp(-np.clip(edge * rng.uniform(4, 30), -30, 30))))
    exposure = np.float32(np.exp(rng.normal(0, 0.22)))
    lit: Array = scene * level[..., None] * light.tint.astype(np.float32) * exposure
    return lit


def _camera(scene: Array, rng: Rng) -> Image.Image:
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
