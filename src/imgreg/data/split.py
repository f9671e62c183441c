"""Which photos train, which validate: an exact share of each class, drawn by content hash.

In each class the photos with the lowest hashes validate, as many as `val_fraction` says to the photo. Photos with the
same bytes, or of one family of near-duplicates (training/near_duplicates.py), always stay together; only where a family
is too large to fit does a class miss its share. The draw does not depend on names, folders or order, and
when photos are added only those near the boundary move to the other split.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.data.index import Photo
from imgreg.errors import DatasetError

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Photos by split, in the index's order.

    Attributes
    ----------
    leaks : int
        Files whose bytes are in several of the user's splits.
    folds : tuple of int
        With cross-validation, the fold of each photo; `train` and `val` are then the same photos. Else empty.
    """

    train: tuple[Photo, ...]
    val: tuple[Photo, ...]
    test: tuple[Photo, ...]
    given: bool
    leaks: int
    folds: tuple[int, ...] = ()

    @property
    def rows(self) -> tuple[tuple[IntArray, IntArray], ...]:
        """Of each head the rows of `train` that it is trained on and those of `val` that it is scored on."""
        if not self.folds:
            return ((np.arange(len(self.train)), np.arange(len(self.val))),)
        folds = np.array(self.folds)
        return tuple((np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in np.unique(folds))


def split_photos(photos: Sequence[Photo], *, val_fraction: float, seed: int, folds: int = 0) -> Split:
    """Honour a given split; draw validation photos from the train photos where none are given.

    Parameters
    ----------
    folds : int, optional
        0 for a single split; else each photo is dealt to one of so many folds, unless validation photos are given.

    Raises
    ------
    DatasetError
        If a class has no train or no validation photo, or only some photos carry a split.
    """
    given = {photo.split is not None for photo in photos}
    if given == {True, False}:
        lost = next(photo for photo in photos if photo.split is None)
        raise DatasetError(f"{lost.path}: has no split, but other photos do. Give every photo a split, or none.")
    open_photos = [photo for photo in photos if photo.split in (None, "train")]
    val = [photo for photo in photos if photo.split == "val"]
    if folds and not val:
        return _cross_validated(photos, open_photos, folds=folds, seed=seed)
    drawn = set() if val else _drawn_hashes(open_photos, val_fraction=val_fraction, seed=seed)
    split = Split(
        train=tuple(photo for photo in open_photos if photo.kept_with not in drawn),
        val=tuple(val or (photo for photo in open_photos if photo.kept_with in drawn)),
        test=tuple(photo for photo in photos if photo.split == "test"),
        given=bool(val),
        leaks=_leaks(photos),
    )
    for label in sorted({photo.label for photo in photos}):
        for name, held in (("train", split.train), ("validation", split.val)):
            if not any(photo.label == label for photo in held):
                n = sum(photo.label == label for photo in photos)
                raise DatasetError(
                    f"class {label!r} has no {name} photo (of {n} in total). Add photos of this class: at least two "
                    "different ones, ideally a hundred."
                )
    return split


def folds_that_fit(photos: Sequence[Photo], *, folds: int) -> int:
    """So many folds, or fewer where a class has fewer different photos; 0 where there are not enough for two."""
    fewest = min((len(names) for names in _families(photos).values()), default=0)
    return min(folds, fewest) if fewest >= 2 else 0


def _families(photos: Sequence[Photo]) -> dict[str, set[str]]:
    """The families of each class: photos that are different."""
    found: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        found[photo.label].add(photo.kept_with)
    return found


def _cross_validated(photos: Sequence[Photo], open_photos: Sequence[Photo], *, folds: int, seed: int) -> Split:
    """Every photo trains all heads but one, and validates that one.

    In each class the families are dealt out in turn, by rank of hash; each class begins where the one before ended, so
    that the folds are of one size.
    """
    if folds_that_fit(open_photos, folds=folds) < folds:
        label, names = min(sorted(_families(open_photos).items()), key=lambda item: len(item[1]))
        different = "1 photo" if len(names) == 1 else f"{len(names)} different photos"
        raise DatasetError(
            f"class {label!r} has {different}: {folds} folds need at least {folds} different photos per class. Add "
            "photos of this class, or use fewer folds."
        )
    families: dict[str, str] = {}  # family -> the class that it is dealt with
    for photo in open_photos:
        families[photo.kept_with] = min(photo.label, families.get(photo.kept_with, photo.label))
    fold_of: dict[str, int] = {}
    for label in sorted(set(families.values())):
        for name in sorted((n for n, of in families.items() if of == label), key=lambda n: position(n, seed=seed)):
            fold_of[name] = len(fold_of) % folds
    return Split(
        train=tuple(open_photos),
        val=tuple(open_photos),
        test=tuple(photo for photo in photos if photo.split == "test"),
        given=False,
        leaks=_leaks(photos),
        folds=tuple(fold_of[photo.kept_with] for photo in open_photos),
    )


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
    """How many of a class's photos validate: the nearest whole number, but at least one trains and one validates.

    >>> [validation_count(n, val_fraction=0.2) for n in (1, 2, 28, 30, 60)]
    [0, 1, 6, 6, 12]
    """
    return min(max(math.floor(val_fraction * n_photos + 0.5), 1), n_photos - 1)


def _leaks(photos: Sequence[Photo]) -> int:
    splits: dict[str, set[str | None]] = defaultdict(set)
    for photo in photos:
        splits[photo.sha256].add(photo.split)
    return sum(len(splits[photo.sha256]) > 1 for photo in photos)
