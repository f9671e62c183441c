"""Do held-out probabilities mean what they say? A temperature fitted to them, and what it is worth on photos left out.

In: true classes and held-out probabilities. Out: a temperature and plain figures. Must not know: photos, files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from imgreg.analysis.metrics import calibration_error
from imgreg.heads.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, apply_temperature
from imgreg.heads.forward import cross_entropies
from imgreg.runs.summary import CalibrationScores

MIN_PHOTOS = 20  # with 10, a calibrated head loses what one a little off gains (docs/log.md)
SHRINKAGE = 5.0  # in nats at log T = 1: log T ~ N(0, 0.32) beforehand
N_FOLDS = 5

Float64Array = NDArray[np.float64]


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike, *, shrinkage: float = SHRINKAGE) -> float:
    """Find the temperature of the lowest cross-entropy on held-out photos, drawn towards 1.

    Few photos say little of a temperature, and their plain minimum lies anywhere. So `shrinkage` (log T)^2 is added to
    the sum of their cross-entropies: the most probable T if log T is normal around 0. Hundreds of photos outweigh it.

    Parameters
    ----------
    labels : (n,) int
        True classes.
    probabilities : (n, n_classes) float
        Of photos that the head was not trained on.
    shrinkage : float
        0 for the plain minimum.

    Returns
    -------
    float
        In MIN_TEMPERATURE..MAX_TEMPERATURE; 1 with fewer than MIN_PHOTOS photos.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599. The shrinkage is imgreg's own, by measurement (docs/log.md).

    Examples
    --------
    >>> round(fit_temperature([0, 0, 0, 1] * 25, [[0.9, 0.1]] * 100, shrinkage=0), 3)
    2.0
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    return 1.0 if len(true) < MIN_PHOTOS else _most_probable(true, p, shrinkage=shrinkage)


def cross_validated(labels: ArrayLike, probabilities: ArrayLike) -> Float64Array:
    """Apply to each photo the temperature fitted to the other folds' photos, 4 of 5.

    Returns
    -------
    (n, n_classes) float64
        The probabilities as they are with fewer than MIN_PHOTOS photos.
    """
    true, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if len(true) < MIN_PHOTOS:
        return p
    folds = np.random.default_rng(0).permutation(len(true)) % N_FOLDS
    calibrated = p.copy()
    for fold in range(N_FOLDS):
        out = folds == fold
        calibrated[out] = apply_temperature(p[out], _most_probable(true[~out], p[~out], shrinkage=SHRINKAGE))
    return calibrated


def calibrate(labels: ArrayLike, probabilities: ArrayLike) -> CalibrationScores:
    """Fit a temperature, and score the probabilities without it and, cross-validated, with it.

    Parameters
    ----------
    labels : (n,) int
        True classes.
    probabilities : (n, n_classes) float
        Of photos that the head was not trained on.

    Examples
    --------
    >>> calibrate([0, 1], [[0.9, 0.1], [0.4, 0.6]]).note
    'Not calibrated: 2 held-out photos are too few (at least 20 needed). The temperature stays at 1.'
    """
    true, before = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    after = cross_validated(true, before)
    n = len(true)
    note = (
        f"Not calibrated: {n} held-out photos are too few (at least {MIN_PHOTOS} needed). The temperature stays at 1."
        if n < MIN_PHOTOS
        else ""
    )
    return CalibrationScores(
        temperature=fit_temperature(true, before),
        n_photos=n,
        log_loss_before=float(cross_entropies(before, true).mean()),
        log_loss_after=float(cross_entropies(after, true).mean()),
        calibration_error_before=calibration_error(true, before),
        calibration_error_after=calibration_error(true, after),
        note=note,
    )


def _most_probable(true: NDArray[np.integer], p: Float64Array, *, shrinkage: float) -> float:
    def objective(log_temperature: float) -> float:
        losses = cross_entropies(apply_temperature(p, float(np.exp(log_temperature))), true)
        return float(losses.mean() + shrinkage * log_temperature**2 / len(true))

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x).clip(MIN_TEMPERATURE, MAX_TEMPERATURE))
