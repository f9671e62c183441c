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
    train, val = describe(split.train, source=source), describe(split.val, source=source)
    labels = labels_of((*split.train, *split.val), classes)
    noise = estimate_label_noise(np.concatenate([train, val]), labels)
    return Doubts(find_twins(val, train), noise, choose_references(train))


def describe(photos: Sequence[Photo], *, source: FeatureSource) -> NDArray[np.float32]:
    """The mean over the feature map of each photo's clean view, (n, c) float32."""
    portions = [
        source.read(photos[start : start + _PORTION], 0).mean(axis=(1, 2), dtype=np.float32)
        for start in range(0, len(photos), _PORTION)
    ]
    return np.concatenate(portions)
