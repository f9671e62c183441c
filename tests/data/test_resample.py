"""resplit.py: repeated splits are stratified, disjoint, and keep copies together."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgreg.data.index import Photo
from imgreg.data.resample import Repeat, resplit
from imgreg.errors import DatasetError


def photos(*, ants: int, bees: int, copies: int = 0) -> list[Photo]:
    own = [Photo(f"{label}{i}", label, f"{label}{i}") for label, n in (("ant", ants), ("bee", bees)) for i in range(n)]
    return own + [Photo(f"copy{i}", own[i].label, own[i].sha256) for i in range(copies)]


def sides(repeat: Repeat) -> tuple[tuple[Photo, ...], ...]:
    return repeat.split.train, repeat.split.val, repeat.split.test


@settings(max_examples=60, deadline=None)
@given(
    ants=st.integers(5, 60),
    bees=st.integers(5, 60),
    copies=st.integers(0, 5),
    folds=st.sampled_from([0, 2, 5]),
    seed=st.integers(0, 100),
)
def test_every_photo_once_and_copies_together(ants: int, bees: int, copies: int, folds: int, seed: int) -> None:
    """Each split holds every photo on one side, copies on the same, and each class on every side."""
    everyone = photos(ants=ants, bees=bees, copies=copies)
    for repeat in resplit(everyone, repeats=2, folds=folds, test_fraction=0.2, val_fraction=0.2, seed=seed):
        assert Counter(photo for side in sides(repeat) for photo in side) == Counter(everyone)
        where = {}
        for number, side in enumerate(sides(repeat)):
            assert {photo.label for photo in side} == {"ant", "bee"}
            for photo in side:
                assert where.setdefault(photo.sha256, number) == number


def test_shares_are_exact_in_every_class() -> None:
    """Of 50 and 100 photos a fifth are tested and a fifth of the rest validate, in every repeat and class."""
    for repeat in resplit(photos(ants=50, bees=100), repeats=5, test_fraction=0.2, val_fraction=0.2, seed=0):
        counts = [Counter(photo.label for photo in side) for side in sides(repeat)]
        assert counts == [{"ant": 32, "bee": 64}, {"ant": 8, "bee": 16}, {"ant": 10, "bee": 20}]


def test_folds_test_every_photo_once_a_repeat() -> None:
    """Over the folds of a repeat the test sides are the whole set, their sizes in a class differ by one at most."""
    everyone = photos(ants=23, bees=31, copies=2)
    drawn = resplit(everyone, repeats=3, folds=5, test_fraction=0.2, val_fraction=0.2, seed=1)
    assert [(r.number, r.fold) for r in drawn] == [(n, f) for n in (1, 2, 3) for f in range(1, 6)]
    for number in (1, 2, 3):
        tests = [r.split.test for r in drawn if r.number == number]
        assert Counter(photo for test in tests for photo in test) == Counter(everyone)
        for label in ("ant", "bee"):
            sizes = [len({photo.sha256 for photo in test if photo.label == label}) for test in tests]
            assert max(sizes) - min(sizes) <= 1


def test_more_repeats_begin_with_the_same() -> None:
    """Three repeats are the first three of six; another seed draws others; repeats differ."""
    everyone = photos(ants=20, bees=20)

    def draw(repeats: int, seed: int) -> tuple[Repeat, ...]:
        return resplit(everyone, repeats=repeats, test_fraction=0.2, val_fraction=0.2, seed=seed)

    assert draw(6, 0)[:3] == draw(3, 0) != draw(3, 1)
    assert len({repeat.split.test for repeat in draw(6, 0)}) == 6


def test_a_given_split_is_not_looked_at() -> None:
    """Photos that came as train and val are split like any others."""
    plain = photos(ants=10, bees=10)
    given_ = [Photo(p.where, p.label, p.sha256, "train" if i % 2 else "val") for i, p in enumerate(plain)]
    both = [
        [[photo.path for photo in side] for side in sides(repeat)]
        for everyone in (plain, given_)
        for repeat in resplit(everyone, repeats=1, test_fraction=0.2, val_fraction=0.2, seed=0)
    ]
    assert both[0] == both[1]


def test_a_photo_in_two_classes_counts_for_the_first() -> None:
    """It is dealt with that one, so the other class may be left too small."""
    shared = [Photo(f"again{i}", "bee", f"ant{i}") for i in range(3)]
    with pytest.raises(DatasetError, match="class 'bee' has 2 different photos"):
        resplit([*photos(ants=9, bees=2), *shared], repeats=1, test_fraction=0.2, val_fraction=0.2, seed=0)


@pytest.mark.parametrize(("bees", "folds", "says"), [(2, 0, "at least 3"), (4, 5, "at least 5.*fewer folds")])
def test_a_class_too_small_is_named(bees: int, folds: int, says: str) -> None:
    """Copies do not count as photos."""
    with pytest.raises(DatasetError, match=f"(?s)class 'bee' has {bees} different photos.*{says}"):
        resplit(
            [*photos(ants=20, bees=bees), Photo("x", "bee", "bee0")],
            repeats=1,
            folds=folds,
            test_fraction=0.2,
            val_fraction=0.2,
            seed=0,
        )
