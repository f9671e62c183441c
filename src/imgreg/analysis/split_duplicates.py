"""Which validation photos have a duplicate in the train split: the same picture again, resized, cropped or mirrored?

In: descriptors, the channels' means over the feature map. Out: who resembles whom. Must not know: photos and files;
copies to the byte are the split's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TWINS = 0.95  # cosine; on ants-bees no two different pictures come above 0.92 (docs/log.md)
_PORTION = 1024


@dataclass(frozen=True)
class SplitDuplicates:
    """For each validation photo the train photo most like it.

    Attributes
    ----------
    nearest : (n_val,) int
        Its row.
    similarity : (n_val,) float
        The cosine.
    """

    nearest: NDArray[np.int64]
    similarity: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n_val,) whether it is so like that both are the same picture"""
        return np.asarray(self.similarity >= TWINS)


def find_split_duplicates(val: NDArray[np.floating], train: NDArray[np.floating]) -> SplitDuplicates:
    """Compare every validation photo with every train photo.

    Parameters
    ----------
    val, train : (n, c)
        Descriptors of the clean photos. Their cosines are taken less the train photos' mean: a recompressed picture
        comes above 0.95 nearly always, a mirrored, turned or slightly cropped one as a rule, one of half the size
        often; another picture of the same thing seldom.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> train = draw.normal(size=(50, 64))
    >>> find_split_duplicates(np.concatenate([train[7:8], draw.normal(size=(2, 64))]), train).found.tolist()
    [True, False, False]
    """
    middle = train.mean(axis=0, dtype=np.float64)
    of_train = _unit(train - middle)
    nearest, similarity = [], []
    for start in range(0, len(val), _PORTION):
        cosines = _unit(val[start : start + _PORTION] - middle) @ of_train.T
        nearest.append(cosines.argmax(axis=1))
        similarity.append(cosines.max(axis=1))
    return SplitDuplicates(np.concatenate(nearest), np.concatenate(similarity))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
