"""split.py: by content, stable, never the same bytes on two sides."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgreg.data.index import Photo
from imgreg.data.split import folds_that_fit, split_photos
from imgreg.errors import DatasetError

MOVED = {1: 3, 10: 6, 300: 16}  # of 200 photos, by how many come to each class


def photo(content: int, label: str, *, copy: int = 0, split: str | None = None) -> Photo:
    return Photo(f"{label}/{content}-{copy}.jpg", label, hashlib.sha256(str(content).encode()).hexdigest(), split)


def photos(n_each: int, *, first: int = 0) -> list[Photo]:
    return [photo(first + 2 * i + (label == "b"), label) for label in "ab" for i in range(n_each)]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), min_size=4, max_size=120),
    st.floats(0.05, 0.95),
    st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_same_bytes_never_fall_on_two_sides(drawn: list[tuple[int, str]], val_fraction: float, seed: int) -> None:
    """Copies stay together, even across classes, and no photo is lost or doubled."""
    given_photos = [photo(content, label, copy=copy) for copy, (content, label) in enumerate(drawn)]
    try:
        split = split_photos(given_photos, val_fraction=val_fraction, seed=seed)
    except DatasetError:
        return  # a class of copies of one photo cannot stand on both sides
    assert not {p.sha256 for p in split.train} & {p.sha256 for p in split.val}
    assert sorted(p.path for p in (*split.train, *split.val)) == sorted(p.path for p in given_photos)


@pytest.mark.parametrize("n_more", [1, 10, 300])
def test_few_photos_change_sides_when_others_are_added(n_more: int) -> None:
    """Of 100 photos a class only those near the share's boundary change sides: bounds just above what 40 seeds gave."""
    few = photos(100)
    for seed in range(20):
        before = split_photos(few, val_fraction=0.2, seed=seed)
        after = split_photos([*few, *photos(n_more, first=1000)], val_fraction=0.2, seed=seed)
        moved = (set(before.train) & set(after.val)) | (set(before.val) & set(after.train))
        assert len(moved) <= MOVED[n_more]


def test_the_order_and_names_of_the_photos_do_not_matter() -> None:
    """The same contents give the same sides."""
    one = split_photos(photos(50), val_fraction=0.2, seed=0)
    moved = [Photo(f"elsewhere/{i}", p.label, p.sha256, None) for i, p in enumerate(reversed(photos(50)))]
    other = split_photos(moved, val_fraction=0.2, seed=0)
    assert {p.sha256 for p in one.val} == {p.sha256 for p in other.val}


@given(st.integers(2, 80), st.integers(2, 80), st.floats(0.02, 0.98), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_each_class_gives_its_share_to_the_photo(n_a: int, n_b: int, val_fraction: float, seed: int) -> None:
    """The nearest whole number of photos of each class validates, one at least on either side."""
    split = split_photos([*photos(n_a)[:n_a], *photos(n_b)[n_b:]], val_fraction=val_fraction, seed=seed)
    for label, n in (("a", n_a), ("b", n_b)):
        n_val = sum(p.label == label for p in split.val)
        assert n_val == min(max(1, math.floor(n * val_fraction + 0.5)), n - 1)


def test_28_and_30_photos_give_six_each() -> None:
    """A fifth of a small class is a fifth."""
    split = split_photos([*photos(28)[:28], *photos(30)[30:]], val_fraction=0.2, seed=0)
    assert Counter(p.label for p in split.val) == {"a": 6, "b": 6}


def test_copies_go_together_and_the_share_is_still_met() -> None:
    """Ten pictures there three times each beside seventy single ones: 20 of 100 validate, no picture on both sides."""
    for seed in range(20):
        several = [photo(i, "a", copy=copy) for i in range(10) for copy in range(3)]
        split = split_photos([*several, *photos(70, first=100)], val_fraction=0.2, seed=seed)
        assert sum(p.label == "a" for p in split.val) == 20
        assert not {p.sha256 for p in split.val} & {p.sha256 for p in split.train}


def test_a_class_of_two_large_families_stands_on_both_sides() -> None:
    """Where no family fits the share, the smaller one validates."""
    given_photos = [photo(1, "a", copy=i) for i in range(9)] + [photo(2, "a", copy=i) for i in range(5)]
    split = split_photos([*given_photos, *photos(20, first=100)[20:]], val_fraction=0.2, seed=0)
    assert sum(p.label == "a" for p in split.val) == 5


def test_another_seed_draws_another_split() -> None:
    """split_seed changes who validates."""
    one, other = (split_photos(photos(50), val_fraction=0.3, seed=seed).val for seed in (0, 1))
    assert set(one) != set(other)


def test_small_classes_stand_on_both_sides() -> None:
    """Two photos a class are enough for both sides, whatever the seed."""
    for seed in range(20):
        split = split_photos(photos(2), val_fraction=0.1, seed=seed)
        assert {p.label for p in split.train} == {p.label for p in split.val} == {"a", "b"}


def test_one_photo_of_a_class_is_an_error() -> None:
    """A class that is too small for both splits is named."""
    with pytest.raises(DatasetError, match=r"class 'b' has no (train|validation) photo \(of 1 in total\)"):
        split_photos([*photos(1)[:1], photo(10, "a"), photo(11, "b")], val_fraction=0.2, seed=0)


def test_a_given_split_is_honoured() -> None:
    """Given sides are kept, and copies across them are counted."""
    given_photos = [
        photo(1, "a", split="train"),
        photo(2, "b", split="train"),
        photo(1, "a", copy=1, split="val"),
        photo(4, "b", split="val"),
        photo(5, "a", split="test"),
    ]
    split = split_photos(given_photos, val_fraction=0.5, seed=0)
    assert (len(split.train), len(split.val), len(split.test), split.given, split.leaks) == (2, 2, 1, True, 2)


def test_validation_is_drawn_from_train_where_only_a_test_split_is_given() -> None:
    """With train and test given, validation photos come from train and never from test."""
    train = [Photo(p.where, p.label, p.sha256, "train") for p in photos(40)]
    test = [Photo(p.where, p.label, p.sha256, "test") for p in photos(5, first=500)]
    split = split_photos([*train, *test], val_fraction=0.25, seed=0)
    assert set(split.test) == set(test)
    assert split.val
    assert set(split.val) < set(train)


def test_half_a_split_is_an_error() -> None:
    """A manifest that gives some photos a split and others none is refused."""
    with pytest.raises(DatasetError, match="has no split, but other photos do"):
        split_photos([photo(1, "a", split="train"), photo(2, "b")], val_fraction=0.2, seed=0)


def test_folds_are_even_and_keep_families_together() -> None:
    """Each photo validates one fold; in each class the folds differ by a photo at most, copies share a fold."""
    given_photos = [*photos(28), *photos(2, first=1000), photo(0, "a", copy=1)]
    split = split_photos(given_photos, val_fraction=0.2, seed=0, folds=5)
    assert split.train == split.val == tuple(given_photos)
    by_class = Counter((one.label, fold) for one, fold in zip(given_photos[:-1], split.folds, strict=False))
    for label in "ab":
        sizes = [by_class[label, fold] for fold in range(5)]
        assert max(sizes) - min(sizes) <= 1
    assert split.folds[0] == split.folds[-1]
    seen = [row for _, of_val in split.rows for row in of_val]
    assert sorted(seen) == list(range(len(given_photos)))
    assert all(not set(of_train) & set(of_val) for of_train, of_val in split.rows)


def test_folds_do_not_depend_on_order() -> None:
    """The same photos in another order, under other names, fall into the same folds."""
    given_photos = photos(20)
    one = split_photos(given_photos, val_fraction=0.2, seed=3, folds=4)
    turned = split_photos(given_photos[::-1], val_fraction=0.2, seed=3, folds=4)
    assert one.folds == turned.folds[::-1]
    assert one.folds != split_photos(given_photos, val_fraction=0.2, seed=4, folds=4).folds


def test_given_validation_photos_are_not_cross_validated() -> None:
    """A split that the user gave is kept whatever the number of folds."""
    given_photos = [*photos(6), *(photo(900 + i, label, split="val") for i, label in enumerate("ab"))]
    given_photos = [one if one.split else photo(i, one.label, split="train") for i, one in enumerate(given_photos)]
    assert split_photos(given_photos, val_fraction=0.2, seed=0, folds=5).folds == ()


def test_a_class_too_small_for_the_folds_is_refused() -> None:
    """The class and its number of photos are named; folds_that_fit says how many would do."""
    few = [*photos(8), *(photo(500 + i, "c") for i in range(3))]
    with pytest.raises(DatasetError, match="class 'c' has 3 different photos: 5 folds need"):
        split_photos(few, val_fraction=0.2, seed=0, folds=5)
    assert folds_that_fit(few, folds=5) == 3
    assert folds_that_fit([photo(1, "a"), photo(2, "b")], folds=5) == 0
