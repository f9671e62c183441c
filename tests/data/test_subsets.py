"""Nested subsets of the train photos, and shuffled labels."""

from __future__ import annotations

from collections import Counter

from imgreg.data.index import Photo
from imgreg.data.shuffled import with_shuffled_labels
from imgreg.data.split import Split
from imgreg.data.subsets import subset_sizes, with_fewer

PHOTOS = tuple(Photo(f"{i}.jpg", "b" if i % 4 == 0 else "a", str(i)) for i in range(80))
SPLIT = Split(PHOTOS[:60], PHOTOS[60:70], PHOTOS[70:], given=False, leaks=0)


def test_subsets_are_nested_and_keep_the_shares() -> None:
    """15 of 60 photos are among 30 of them, a quarter of each class b; the other sides stay."""
    small, large = (with_fewer(SPLIT, n, seed=[0, 1]) for n in (15, 30))
    assert set(small.train) < set(large.train) < set(SPLIT.train)
    assert Counter(photo.label for photo in small.train) == {"a": 11, "b": 4}
    assert (small.val, small.test) == (SPLIT.val, SPLIT.test)
    assert with_fewer(SPLIT, 30, seed=[0, 2]).train != large.train


def test_every_class_keeps_a_photo() -> None:
    """However few are asked for."""
    assert {photo.label for photo in with_fewer(SPLIT, 2, seed=[0]).train} == {"a", "b"}


def test_sizes_end_at_all_and_leave_classes_their_least() -> None:
    """Each size is half the next; none leaves the smallest class under 4 photos."""
    assert subset_sizes(60, steps=6, n_smallest_class=15) == (15, 30, 60)
    assert subset_sizes(1000, steps=3, n_smallest_class=400) == (250, 500, 1000)


def test_shuffled_labels_are_the_same_labels_elsewhere() -> None:
    """As many of each class, on other train photos; paths, order and the other sides stay; the seed matters."""
    one, two = (with_shuffled_labels(SPLIT, seed=seed) for seed in (0, 1))
    assert Counter(photo.label for photo in one.train) == Counter(photo.label for photo in SPLIT.train)
    assert [photo.path for photo in one.train] == [photo.path for photo in SPLIT.train]
    labels = [[photo.label for photo in split.train] for split in (SPLIT, one, two)]
    assert len({tuple(row) for row in labels}) == 3
    assert (one.val, one.test) == (SPLIT.val, SPLIT.test)
