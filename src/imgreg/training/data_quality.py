"""What the features say of the photos, whatever the head: duplicates across the split, labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.label_noise import LabelNoise, estimate_label_noise
from imgreg.analysis.novelty import Float16Array, choose_references
from imgreg.analysis.split_duplicates import SplitDuplicates, find_split_duplicates
from imgreg.data.index import Photo, labels_of
from imgreg.data.split import Split
from imgreg.features.extract import FeatureSource

_PORTION = 512  # photos whose whole features are in memory at once


@dataclass(frozen=True)
class DataQuality:
    """What was found; `duplicates` are those of validation photos, `references` descriptors of train photos."""

    duplicates: SplitDuplicates
    noise: LabelNoise | None
    references: Float16Array


def assess_data_quality(split: Split, *, classes: Sequence[str], source: FeatureSource) -> DataQuality:
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
    rows = (
        split.rows if source.base.preprocessing == "vgg16" else ()
    )  # rescaled, different pictures look alike to VGG16
    for of_train, of_val in rows:
        duplicates = find_split_duplicates(val[of_val], train[of_train])
        nearest[of_val], similarity[of_val] = of_train[duplicates.nearest], duplicates.similarity
    noise = estimate_label_noise(described, labels_of(photos, classes))
    return DataQuality(SplitDuplicates(nearest, similarity), noise, choose_references(train))


def describe(photos: Sequence[Photo], *, source: FeatureSource) -> NDArray[np.float32]:
    """The mean over the feature map of each photo's clean view, (n, c) float32."""
    portions = [
        source.read(photos[start : start + _PORTION], 0).mean(axis=(1, 2), dtype=np.float32)
        for start in range(0, len(photos), _PORTION)
    ]
    return np.concatenate(portions)
