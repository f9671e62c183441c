"""Which photos train, which validate: by content hash, so that it stays when photos are added or renamed.

A photo's side follows from its own bytes and the split's seed: below a threshold it validates, in every class alike.
So photos with the same bytes, or of one family (workflows/near.py), are always on one side, and a photo keeps its side
when others come or go. The price: a class's share in validation is val_fraction in the mean, not to the photo (as in
TensorFlow Hub's retrain.py, which split the same way); 20 photos a class give 1 to 9. One exception: a class that would
be left with none on a side gives it its nearest photo, which may go back when the class grows.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
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
    """Hashes below the threshold; a class that would be left with none on a side gives it its nearest photo."""
    by_label: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        by_label[photo.label].add(photo.kept_with)
    drawn = {photo.kept_with for photo in photos if position(photo.kept_with, seed=seed) < val_fraction}
    for label in sorted(by_label):
        ranked = sorted(by_label[label], key=lambda sha256: position(sha256, seed=seed))
        if len(ranked) >= 2:
            drawn.add(ranked[0])
            drawn.discard(ranked[-1])
    return drawn


def _leaks(photos: Sequence[Photo]) -> int:
    sides: dict[str, set[str | None]] = defaultdict(set)
    for photo in photos:
        sides[photo.sha256].add(photo.split)
    return sum(len(sides[photo.sha256]) > 1 for photo in photos)
