"""What can be measured on curves: smoothed, how much they jump, their slope, the gap with its interval.

In: losses by epoch, or photo by photo. Out: numbers. Must not know: what they mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.forward import SMALLEST_PROBABILITY

CONFIDENCE = 0.95

Float64Array = NDArray[np.float64]


def window_mean(values: NDArray[np.float64], centre: int, *, half: int) -> Float64Array:
    """Mean over the rows centre - half .. centre + half, as far as there are any."""
    return np.asarray(values[max(centre - half, 0) : centre + half + 1].mean(axis=0))


def running_mean(values: Float64Array, *, half: int) -> Float64Array:
    """Centred running mean over 2 half + 1 values, shorter at both ends.

    >>> running_mean(np.array([0.0, 3.0, 6.0]), half=1).tolist()
    [1.5, 3.0, 4.5]
    """
    return np.array([window_mean(values, i, half=half) for i in range(len(values))])


def gaussian_smoothed(values: Float64Array, *, std_epochs: float) -> Float64Array:
    """Smooth a curve by a Gaussian window; at its ends, and beside values that are not finite, the window is cut.

    Parameters
    ----------
    values : (n_epochs,) float64
    std_epochs : float
        Standard deviation of the window, in epochs; 0 leaves the values as they are.

    References
    ----------
    TensorFlow's tutorial "Overfit and underfit" draws its curves so (`smoothing_std`).

    >>> gaussian_smoothed(np.array([0.0, 0.0, 3.0, 0.0, 0.0]), std_epochs=1.0).round(2).tolist()
    [0.23, 0.77, 1.21, 0.77, 0.23]
    """
    if std_epochs == 0:
        return values
    from scipy.ndimage import gaussian_filter1d

    finite = np.isfinite(values)
    sums = gaussian_filter1d(np.where(finite, values, 0.0), std_epochs, mode="constant")
    weights = gaussian_filter1d(finite.astype(np.float64), std_epochs, mode="constant")
    return np.asarray(np.divide(sums, weights, out=np.full(len(values), np.nan), where=finite))


def uncertainty(difference: Float64Array) -> tuple[float | None, float]:
    """Standard error of a mean of paired differences, and the half width of its 95 % t-interval."""
    from scipy.special import stdtrit  # here, since it takes half a second to import

    n = len(difference)
    if n < 2:
        return None, math.inf
    error = float(difference.std(ddof=1) / math.sqrt(n))
    return error, error * float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def gap_interval(val: Float64Array, train_own: NDArray[np.float32] | None) -> tuple[float | None, float | None]:
    """95 % bootstrap interval of the gap after the last epoch, over train and validation photos."""
    from scipy.stats import bootstrap

    if train_own is None or len(val) < 2 or train_own.shape[1] < 2:
        return None, None
    train = -np.log(np.clip(train_own[-1].astype(np.float64), SMALLEST_PROBABILITY, 1))

    def gap(a: Float64Array, b: Float64Array, axis: int) -> Float64Array:
        return np.asarray(a.mean(axis=axis) - b.mean(axis=axis))

    found = bootstrap(
        (val, train),
        gap,
        vectorized=True,
        n_resamples=1000,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def slope(losses: Float64Array, *, since: int) -> float | None:
    """Least-squares slope over the last epochs, in nats an epoch."""
    if len(losses) - since < 2:
        return None
    return float(np.polyfit(np.arange(len(losses) - since), losses[since:], 1)[0])


def memorized(train_own: NDArray[np.float32] | None, *, best: int) -> float | None:
    """Share of train photos that were wrong when validation was at its best, and are right at the end."""
    if train_own is None:
        return None
    return float(((train_own[best] <= 0.5) & (train_own[-1] > 0.5)).mean())


def epoch_jumps(losses: Float64Array) -> float:
    """Standard deviation of the jumps from epoch to epoch, by the median of the second differences.

    >>> epoch_jumps(np.arange(9.0)), round(epoch_jumps(np.random.default_rng(0).normal(0, 0.1, 2000)), 2)
    (0.0, 0.1)
    """
    second = np.diff(losses, 2)
    return float(1.4826 * np.median(np.abs(second)) / math.sqrt(6)) if len(second) else 0.0
