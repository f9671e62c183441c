"""Fewer train photos of the same split: nested, so that a larger subset holds the smaller ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imgreg.data.index import Photo
from imgreg.data.split import Split

LEAST = 4  # train photos of a class


def subset_sizes(n_train: int, *, steps: int, n_smallest_class: int) -> tuple[int, ...]:
    """Numbers of train photos, each about half the next, up to all of them.

    Parameters
    ----------
    steps : int
        How many, fewer where the smallest class would fall under 4 photos.

    Examples
    --------
    >>> subset_sizes(256, steps=5, n_smallest_class=128)
    (16, 32, 64, 128, 256)
    >>> subset_sizes(30, steps=5, n_smallest_class=15)
    (8, 15, 30)
    """
    sizes = [round(n_train / 2**step) for step in range(steps)]
    return tuple(sorted({n for n in sizes if n * n_smallest_class / n_train >= LEAST - 0.5}))


def with_fewer(split: Split, n_train: int, *, seed: Sequence[int]) -> Split:
    """Keep so many train photos, as many of each class as its share gives, one at least; other photos stay.

    Parameters
    ----------
    seed : sequence of int
        Of the order in which photos are taken: the same seed gives nested subsets.
    """
    draw = np.random.default_rng(list(seed))
    by_class: dict[str, list[Photo]] = defaultdict(list)
    for photo in split.train:
        by_class[photo.label].append(photo)
    share = n_train / len(split.train)
    kept: set[Photo] = set()
    for label in sorted(by_class):
        members = by_class[label]
        order = draw.permutation(len(members))
        kept.update(members[i] for i in order[: max(1, round(share * len(members)))])
    return replace(split, train=tuple(photo for photo in split.train if photo in kept))
