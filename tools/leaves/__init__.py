"""Draw the sample set: photo-like pictures of oak and rowan leaves on cluttered tables.

In: a label, a seed, an index. Out: an RGB picture, or class folders full of them.
Refuses to know: how photos are indexed, split or learned from.

Every photo is a function of (seed, label, index) alone, so a larger sample begins with the smaller one.
Colour, light, table, clutter, leaf area and blur have the same distribution in both classes: only the leaf's
shape (its lobes, margin and veins) tells them apart. Lengths are shares of the picture's side, colours RGB in 0..1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from imgreg.errors import UsageError
from leaves.clutter import clutter
from leaves.leaf import leaf
from leaves.light import Light, camera, lit
from leaves.table import table

CLASSES = ("oak", "rowan")
JPEG_QUALITY = 85


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
    scene = table(rng, size_px)
    scene = clutter(scene, rng, light, n_things=int(rng.integers(0, 4)), reach=0.75)
    scene, centre = leaf(scene, label, rng, light)
    n_on_top = int(rng.poisson(2)) if rng.random() < 0.3 else 0
    scene = clutter(scene, rng, light, n_things=n_on_top, reach=0.25, around=centre)
    return camera(lit(scene, rng, light), rng)


def draw_sample(
    root: Path, *, count: int, seed: int, size_px: int = 160, on_photo: Callable[[int], None] | None = None
) -> tuple[Path, ...]:
    """Write root/<class>/<class>-0001.jpg and on, for each of CLASSES, all or nothing.

    count      photos per class, 1 or more
    on_photo   called after each photo with the number written so far
    returns    the paths written, class by class
    raises     UsageError if root holds anything already, or a number is out of range
    """
    # before the first folder is made: a refusal must leave nothing behind
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size_px", size_px, 32)):
        _require(name, value, at_least=least)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root}: exists and is not an empty folder. Choose a new folder for the sample.")
    written: list[Path] = []
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as temporary:
        whole = Path(temporary) / "whole"
        for label in CLASSES:
            (whole / label).mkdir(parents=True)
            for index in range(1, count + 1):
                name = f"{label}-{index:04d}.jpg"
                photo = draw_photo(label, seed=seed, index=index, size_px=size_px)
                photo.save(whole / label / name, format="JPEG", quality=JPEG_QUALITY)
                written.append(root / label / name)
                if on_photo is not None:
                    on_photo(len(written))
        if root.exists():
            root.rmdir()
        whole.rename(root)
    return tuple(written)


def _require(name: str, value: int, *, at_least: int) -> None:
    if value < at_least:
        raise UsageError(f"sample: {name} is {value}, expected {at_least} or more.")
