"""Pairs of photos that look alike: candidates for being the same picture.

In: image metadata (metadata.py). Out: pairs of rows. Must not know: networks, which confirm or refute them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgreg.data.index import Photo

MOST_BITS = 8  # of 64 in which two pictures of a pair differ
_ROWS, _COLUMNS = 1024, 16_384  # compared at once: 128 MB


def near_pairs(photos: Sequence[Photo]) -> list[tuple[int, int]]:
    """Rows of photos of different content whose looks differ in few bits, each pair once; plain pictures have none.

    Parameters
    ----------
    photos : sequence of Photo
        As index_photos gives them.
    """
    rows = [i for i, photo in enumerate(photos) if photo.metadata is not None and not photo.metadata.is_plain]
    looks = np.array([photos[i].metadata.look for i in rows], dtype=np.uint64)  # type: ignore[union-attr]
    pairs = []
    for start in range(0, len(rows), _ROWS):
        for left in range(start, len(rows), _COLUMNS):
            differing = np.bitwise_count(looks[start : start + _ROWS, None] ^ looks[None, left : left + _COLUMNS])
            for a, b in zip(*np.nonzero(differing <= MOST_BITS), strict=True):
                one, other = rows[start + int(a)], rows[left + int(b)]
                if one < other and photos[one].sha256 != photos[other].sha256:
                    pairs.append((one, other))
    return sorted(pairs)
