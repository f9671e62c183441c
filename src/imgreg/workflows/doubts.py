"""What the features say of the photos, whatever the head: twins on both sides of the split, labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.label_noise import LabelNoise, estimate_label_noise
from imgreg.analysis.novelty import Float16Array, choose_references
from imgreg.analysis.twins import Twins, find_twins
from imgreg.features.extract import FeatureSource
from imgreg.photos.index import Photo, labels_of
from imgreg.photos.split import Split

_PORTION = 512  # photos whose whole features stand in memory at once


@dataclass(frozen=True)
class Doubts:
    """What was found; `twins` is of the split's validation photos, `references` are descriptors of train photos."""

    twins: Twins
    noise: LabelNoise | None
    references: Float16Array


def look_for_doubts(split: Split, *, classes: Sequence[str], source: FeatureSource) -> Doubts:
    """Look at the clean features of all train and validation photos, which the cache has."""
    train = describe(split.train, source=source)
    val = train if split.folds else describe(split.val, source=source)
    photos, described = (
        (split.train, train)
        if split.folds
        else (
            (*split.train, *split.val),
            np.concatenate([train, val]),
        )
    )
    nearest, similarity = np.zeros(len(val), np.int64), np.zeros(len(val))
    for of_train, of_val in split.rows:
        twins = find_twins(val[of_val], train[of_train])
        nearest[of_val], similarity[of_val] = of_train[twins.nearest], twins.similarity
    noise = estimate_label_noise(described, labels_of(photos, classes))
    return Doubts(Twins(nearest, similarity), noise, choose_references(train))


def describe(photos: Sequence[Photo], *, source: FeatureSource) -> NDArray[np.float32]:
    """The mean over the feature map of each photo's clean view, (n, c) float32."""
    portions = [
        source.read(photos[start : start + _PORTION], 0).mean(axis=(1, 2), dtype=np.float32)
        for start in range(0, len(photos), _PORTION)
    ]
    return np.concatenate(portions)
