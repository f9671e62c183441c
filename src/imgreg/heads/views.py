"""Features as a head is trained on them: kept in memory where they fit, else read in portions while the head learns.

Either way the batches are the same, and so are the head's bits. What is kept is bounded, whatever the number of photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import FeatureError
from imgreg.features.read_ahead import read_ahead

Float16Array = NDArray[np.float16]
IntArray = NDArray[np.int64]

PORTION_BYTES = 2**26


@dataclass(frozen=True)
class Labelled:
    """Photos' features with their classes.

    features   (view, rows) -> (len(rows), h, w, c) float16 of those photos; view 0 is the clean photo, -1 its mirror
               image
    labels     (n,) int, each in 0..n_classes-1
    """

    features: Callable[[int, IntArray], Float16Array]
    labels: IntArray

    def all(self, view: int) -> Float16Array:
        """(n, h, w, c) float16 of one view of every photo"""
        return self.features(view, np.arange(len(self.labels)))

    def some(self, rows: IntArray) -> Labelled:
        """Some of the photos."""
        return Labelled(lambda view, of: self.features(view, rows[of]), self.labels[rows])


class Views:
    """The features of `photos`, view by view, as tensors. `first` are kept first, then those asked for first.

    kept_bytes   at most so many bytes of features are in memory, besides the portions
    """

    def __init__(self, photos: Labelled, *, kept_bytes: int, first: Sequence[int] = (0,)) -> None:
        self.photos = photos
        _, height, width, channels = photos.features(0, np.arange(1)).shape
        self.feature_shape = (height, width, channels)
        self._row_bytes = 2 * int(np.prod(self.feature_shape))
        self._room = kept_bytes
        self._kept: dict[int, Any] = {}
        for view in first:  # scored every epoch
            self._keep(view)

    def portions(self, view: int, order: IntArray, *, multiple: int) -> Iterator[tuple[Any, IntArray, IntArray]]:
        """Give photos in the order asked for, in portions of a multiple of so many photos, the last one less.

        returns   (features, labels, rows): rows of features and labels, in order, are the portion
        """
        if (kept := self._keep(view)) is not None:
            yield kept, self.photos.labels, order
            return
        import tensorflow as tf

        size = multiple * max(1, PORTION_BYTES // self._row_bytes // multiple)
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        for rows, features in read_ahead(lambda rows: (rows, self.photos.features(view, rows)), parts, ahead=1):
            yield tf.constant(finite(features)), self.photos.labels[rows], np.arange(len(rows))

    def _keep(self, view: int) -> Any:
        n_bytes = self._row_bytes * len(self.photos.labels)
        if view not in self._kept and 2 * n_bytes <= self._room:  # twice: while it becomes a tensor
            import tensorflow as tf

            self._room -= n_bytes
            self._kept[view] = tf.constant(finite(self.photos.all(view)))
        return self._kept.get(view)


def finite(features: Float16Array) -> Float16Array:
    """Return the features, (n, h, w, c), unless one of them is NaN or infinite.

    A network may hide such a value: some processors' relu turns NaN into 0, and the loss comes out finite.

    Raises
    ------
    FeatureError
        If a value is not finite.
    """
    n_bad = int((~np.isfinite(features)).any(axis=(1, 2, 3)).sum())
    if n_bad:
        raise FeatureError(
            f"{n_bad} of {len(features)} photos have NaN or infinite features, so no head can be trained on them. "
            "Run `imgreg cache clear` and try again, or use other weights (--weights starter)."
        )
    return features
