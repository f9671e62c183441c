"""Which photos train, which validate: an exact share of each class, drawn by content hash.

In each class the photos with the lowest hashes validate, as many as `val_fraction` says to the photo. Photos with the
same bytes, or of one family of near-duplicates (workflows/near.py), are always on one side; only where a family is too
large to fit does a class miss its share. The draw does not depend on names, folders or order, and when photos are added
only those near the boundary change sides.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from imgreg.errors import DatasetError
from imgreg.photos.index import Photo


@dataclass(frozen=True)
class Split:
    """Photos by side, in the index's order. `leaks` counts files whose bytes the user's split puts on several sides."""

    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    given: bool
    leaks: int


def split_photos(photos: Sequence[Photo], *, val_fraction: float, seed: int) -> Split:
    """Honour a given split; draw validation photos from the train photos where none are given.

    raises   DatasetError if a class has no train or no validation photo, or only some photos carry a split
    """
    given = {photo.split is not None for photo in photos}
    if given == {True, False}:
        lost = next(photo for photo in photos if photo.split is None)
        raise DatasetError(f"{lost.path}: has no split, but others have. Give every photo one, or none.")
    open_photos = [photo for photo in photos if photo.split in (None, "train")]
    val = [photo for photo in photos if photo.split == "val"]
    drawn = set() if val else _drawn_hashes(open_photos, val_fraction=val_fraction, seed=seed)
    split = Split(
        train=tuple(photo for photo in open_photos if photo.kept_with not in drawn),
        val=tuple(val or (photo for photo in open_photos if photo.kept_with in drawn)),
        test=tuple(photo for photo in photos if photo.split == "test"),
        given=bool(val),
        leaks=_leaks(photos),
    )
    for label in sorted({photo.label for photo in photos}):
        for side, held in (("train", split.train), ("validation", split.val)):
            if not any(photo.label == label for photo in held):
                n = sum(photo.label == label for photo in photos)
                raise DatasetError(
                    f"class {label!r} has no {side} photo (of {n} in all). "
                    "Add photos of it; two different ones are the least, a hundred a fair start."
                )
    return split


def position(sha256: str, *, seed: int) -> float:
    """A photo's fixed place in [0, 1), drawn by its content.

    >>> position("ab" * 32, seed=0) == position("ab" * 32, seed=0) != position("ab" * 32, seed=1)
    True
    """
    digest = hashlib.sha256(f"imgreg split {seed} {sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _drawn_hashes(photos: Sequence[Photo], *, val_fraction: float, seed: int) -> set[str]:
    """Families whose photos validate: by rank of hash in each class, each family that still fits into the share.

    A class that no family fits gives its smallest one, if another is left to train on.
    """
    families: dict[str, Counter[str]] = defaultdict(Counter)  # family -> photos of each class
    for photo in photos:
        families[photo.kept_with][photo.label] += 1
    ranked = sorted(families, key=lambda name: position(name, seed=seed))
    n_photos = Counter(photo.label for photo in photos)
    room = Counter({label: validation_count(n, val_fraction=val_fraction) for label, n in n_photos.items()})
    drawn: set[str] = set()
    for name in ranked:
        if all(n <= room[label] for label, n in families[name].items()):
            drawn.add(name)
            room.subtract(families[name])
    for label in sorted(n_photos):
        own = [name for name in ranked if label in families[name]]
        if len(own) >= 2 and not drawn.intersection(own):
            drawn.add(min(own, key=lambda name: families[name][label]))
    return drawn


def validation_count(n_photos: int, *, val_fraction: float) -> int:
    """How many of a class's photos validate: the nearest whole number, but one at least on either side.

    >>> [validation_count(n, val_fraction=0.2) for n in (1, 2, 28, 30, 60)]
    [0, 1, 6, 6, 12]
    """
    return min(max(math.floor(val_fraction * n_photos + 0.5), 1), n_photos - 1)


def _leaks(photos: Sequence[Photo]) -> int:
    sides: dict[str, set[str | None]] = defaultdict(set)
    for photo in photos:
        sides[photo.sha256].add(photo.split)
    return sum(len(sides[photo.sha256]) > 1 for photo in photos)
