"""split.py: by content, stable, never the same bytes on two sides."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgreg.errors import DatasetError
from imgreg.photos.index import Photo
from imgreg.photos.split import split_photos


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


@pytest.mark.parametrize("n_more", [1, 7, 300])
def test_photos_keep_their_side_when_others_are_added(n_more: int) -> None:
    """No photo changes sides when photos of both classes come."""
    few = photos(100)
    before = split_photos(few, val_fraction=0.2, seed=0)
    after = split_photos([*few, *photos(n_more, first=1000)], val_fraction=0.2, seed=0)
    assert set(before.train) <= set(after.train)
    assert set(before.val) <= set(after.val)


def test_each_class_gives_its_share() -> None:
    """Of 1,000 photos a class, 20 % validate in each, to within 3 %."""
    split = split_photos(photos(1000), val_fraction=0.2, seed=0)
    for label in "ab":
        assert sum(p.label == label for p in split.val) == pytest.approx(200, abs=30)


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
    """A class that cannot stand on both sides is named."""
    with pytest.raises(DatasetError, match=r"class 'b' has no (train|validation) photo \(of 1 in all\)"):
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
    with pytest.raises(DatasetError, match="has no split, but others have"):
        split_photos([photo(1, "a", split="train"), photo(2, "b")], val_fraction=0.2, seed=0)
