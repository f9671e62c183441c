"""prepare.py: cross-validation where a single split would leave too few photos to validate on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from imgreg.config import Photos
from imgreg.data.index import Photo, PhotoIndex
from imgreg.training.dataset import ENOUGH_VALIDATION_PHOTOS, _n_folds


def index(*, split: str | None = None, val: bool = False, **n_photos: int) -> PhotoIndex:
    """So many different photos of each class; `val` gives each class one validation photo besides."""
    photos = [
        Photo(Path(f"{label}/{i}.jpg"), label, hashlib.sha256(f"{label} {i}".encode()).hexdigest(), side)
        for label, n in n_photos.items()
        for i, side in enumerate([split] * n + ["val"] * val)
    ]
    return PhotoIndex(Path("data"), tuple(photos), (), tuple(sorted(n_photos)))


ENOUGH_A_CLASS = round(ENOUGH_VALIDATION_PHOTOS / 2 / 0.2)  # of two classes, at the usual share


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (index(a=60, b=59), 5),
        (index(a=ENOUGH_A_CLASS - 4, b=ENOUGH_A_CLASS - 4), 5),
        (index(a=ENOUGH_A_CLASS, b=ENOUGH_A_CLASS), 0),
        (index(a=60, b=4), 4),
        (index(a=60, b=3), 3),
        (index(a=60, b=2), 0),
        (index(a=60, b=1), 0),
        (index(a=60, b=60, split="train"), 5),
        (index(a=60, b=60, split="train", val=True), 0),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else f"{len(value.photos)} photos",
)
def test_folds_follow_from_the_photos(found: PhotoIndex, expected: int) -> None:
    """Five where they fit, as many as the smallest class has photos where it has 3 or 4; else, where enough validate,
    and where validation photos are given, a single split. A line is said where folds were chosen, and only there."""
    n_folds, said = _n_folds(found, Photos())
    assert (n_folds, len(said)) == (expected, bool(expected))


def test_who_asks_for_a_share_gets_a_single_split() -> None:
    """Also where the share is the usual one; and a number of folds that is asked for is not thought better of."""
    few = index(a=60, b=59)
    assert _n_folds(few, Photos(val_fraction=0.2)) == (0, [])
    assert _n_folds(few, Photos(folds=0, val_fraction=0.3)) == (0, [])
    assert _n_folds(index(a=ENOUGH_A_CLASS, b=ENOUGH_A_CLASS), Photos(folds=7)) == (7, [])


def test_copies_are_one_photo_to_the_folds() -> None:
    """Sixty copies of one picture cannot stand in five folds."""
    copies = tuple(Photo(Path(f"b/{i}.jpg"), "b", "f" * 64, None) for i in range(60))
    found = index(a=60, b=2)
    assert _n_folds(PhotoIndex(found.root, (*found.photos, *copies), (), ("a", "b")), Photos())[0] == 3
