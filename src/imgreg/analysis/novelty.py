"""Is a photo unlike everything that the head was trained on? Distance to its nearest train photos in feature space.

In: descriptors, the means of the feature map's channels. Out: distances and a threshold. Must not know: photos,
files. NumPy alone, so that predict starts quickly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.calibration import MAX_REFERENCES, MIN_REFERENCES

N_NEIGHBORS = 5
ACCEPTED = 0.99  # share of photos like the train photos that the threshold lets pass

Float16Array = NDArray[np.float16]
Float32Array = NDArray[np.float32]


def choose_references(descriptors: NDArray[np.floating]) -> Float16Array:
    """Keep at most MAX_REFERENCES descriptors, drawn at random, the same each time.

    Parameters
    ----------
    descriptors : (n, n_channels) float
        Of the clean train photos.

    Returns
    -------
    (min(n, MAX_REFERENCES), n_channels) float16
    """
    rows = np.arange(len(descriptors))
    if len(rows) > MAX_REFERENCES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MAX_REFERENCES, replace=False))
    return np.asarray(descriptors[rows], dtype=np.float16)


def distances(descriptors: NDArray[np.floating], *, references: Float32Array) -> NDArray[np.float32]:
    """Measure the mean cosine distance to the N_NEIGHBORS nearest references.

    Parameters
    ----------
    descriptors : (n, n_channels) float
    references : (n_references, n_channels) float32
        As `unit_rows` gives them.

    Returns
    -------
    (n,) float32, in 0..2

    References
    ----------
    Sun et al. 2022, arXiv:2204.06507 (nearest neighbors of normalized features).

    Examples
    --------
    >>> references = np.eye(6, dtype=np.float32)
    >>> distances(np.array([[1.0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]]), references=references).round(3)
    array([0.553, 0.8  ], dtype=float32)
    """
    return _mean_of_nearest(unit_rows(descriptors) @ references.T)


def leave_one_out_threshold(references: Float16Array, *, accepted: float = ACCEPTED) -> float | None:
    """Return the distance beyond which a photo counts as unlike the train photos.

    Each reference is measured against all others; the threshold is the ceil((n + 1) accepted)-th smallest of these
    distances. With fewer than 1 / (1 - accepted) - 1 references it is the largest, which refuses one genuine photo in
    n + 1.

    Returns
    -------
    float or None
        None with fewer than MIN_REFERENCES references.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> references = choose_references(draw.uniform(size=(200, 16)))
    >>> float(np.mean(distances(draw.uniform(size=(5000, 16)), references=unit_rows(references))
    ...               > leave_one_out_threshold(references))) < 0.03
    True
    """
    n = len(references)
    if n < MIN_REFERENCES:
        return None
    rows = unit_rows(references)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    ordered = np.sort(_mean_of_nearest(similarity))
    return float(ordered[min(math.ceil((n + 1) * accepted), n) - 1])


def _mean_of_nearest(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    nearest = np.partition(similarity, -N_NEIGHBORS, axis=1)[:, -N_NEIGHBORS:]
    return np.asarray(1 - nearest.mean(axis=1), dtype=np.float32)


def unit_rows(rows: NDArray[np.floating]) -> Float32Array:
    """Scale each row to length 1; rows of zeros are left unchanged."""
    rows = np.asarray(rows, dtype=np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12)))
