"""Do some labels look wrong, and about how many? Estimated from all photos at once, each scored by all others.

In: descriptors (the channels' means over the feature map) and labels. Out: an estimate. Must not know: heads, files.

Curves cannot tell wrong labels from a hard task: both end in confident errors. The margins can. Where classes merely
overlap they have one mode; where labels are wrong, they have a second one, mirrored at zero.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MOST = 4000  # photos: more would not change the estimate

Float64Array = NDArray[np.float64]


class LabelNoise(BaseModel):
    """An estimate over all photos.

    Attributes
    ----------
    share : float
        Of labels that look wrong.
    likelihood_ratio : float
        Twice the logarithm: how much better a mixture of two normals fits the margins than one normal. With no wrong
        label and normal margins it is above 8 once in 400 times.
    """

    model_config = ConfigDict(frozen=True)

    share: float
    likelihood_ratio: float
    n_photos: int


def estimate_label_noise(descriptors: NDArray[np.floating], labels: NDArray[np.integer]) -> LabelNoise | None:
    """Fit (1 - share) N(m, s) + share N(-m, s) to the margins of a ridge classifier that never saw the photo.

    Parameters
    ----------
    descriptors : (n, c)
    labels : (n,) int
        0..n_classes-1.

    Returns
    -------
    LabelNoise or None
        None where there are fewer than 20 photos, or one class.

    References
    ----------
    Mixture of right and wrong labels: Lawrence & Schoelkopf 2001 (ICML, "Estimating a kernel Fisher discriminant in the
    presence of label noise"); leave-one-out of ridge regression in closed form: Allen 1974,
    doi:10.1080/00401706.1974.10489157. That the second component mirrors the first is imgreg's simplification.
    """
    if len(labels) < 20 or len(np.unique(labels)) < 2:
        return None
    rows = np.arange(len(labels))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    margins = leave_one_out_margins(descriptors[rows], labels[rows])
    share, ratio = _fit_mixture(margins)
    return LabelNoise(share=share, likelihood_ratio=ratio, n_photos=len(rows))


def leave_one_out_margins(descriptors: NDArray[np.floating], labels: NDArray[np.integer]) -> Float64Array:
    """Half the own class's score less the best other's, each photo scored by a ridge classifier of all others, (n,).

    Every class has the same weight in all, whatever its number of photos: else the photos of a small class would lie
    beyond zero, as if their labels were wrong. The penalty is the one of the smallest leave-one-out error among seven;
    classes are coded +1 and -1, centred.
    """
    classes, own = np.unique(labels, return_inverse=True)
    weights = (len(labels) / (len(classes) * np.bincount(own)))[own]
    root = np.sqrt(weights)[:, None]
    x = np.asarray(descriptors, dtype=np.float64)
    x = x - np.average(x, axis=0, weights=weights)
    x /= math.sqrt(float(np.average(np.square(x).sum(axis=1), weights=weights))) or 1.0
    wanted = np.where(np.eye(len(classes))[own] > 0, 1.0, -1.0)
    target = wanted - np.average(wanted, axis=0, weights=weights)
    u, s, _ = np.linalg.svd(root * x, full_matrices=False)
    projected = u.T @ (root * target)
    least, scores = math.inf, wanted
    for penalty in 10.0 ** np.arange(-3, 4):
        kept = s**2 / (s**2 + penalty)
        residual = target - u @ (kept[:, None] * projected) / root
        leverage = np.square(u) @ kept + weights / len(x)
        without = residual / (1 - leverage)[:, None]
        if (error := float(np.average(np.square(without).mean(axis=1), weights=weights))) < least:
            least, scores = error, wanted - without
    everyone = np.arange(len(x))
    of_own = scores[everyone, own]
    scores = scores.copy()
    scores[everyone, own] = -np.inf
    return np.asarray((of_own - scores.max(axis=1)) / 2)


def _fit_mixture(margins: Float64Array) -> tuple[float, float]:
    """Share of the mirrored component, and twice the gain in log-likelihood over one normal."""
    from scipy.optimize import minimize
    from scipy.stats import norm

    def cost(parameters: Float64Array) -> float:
        middle, log_spread, logit = parameters
        wrong, spread = 1 / (1 + math.exp(-logit)), math.exp(log_spread)
        of_right = math.log1p(-wrong) + norm.logpdf(margins, middle, spread)
        of_wrong = math.log(wrong) + norm.logpdf(margins, -middle, spread)
        return float(-np.logaddexp(of_right, of_wrong).sum())

    spread = float(margins.std())
    if spread < 1e-9:
        return 0.0, 0.0
    one_normal = float(-norm.logpdf(margins, margins.mean(), spread).sum())
    share, least = 0.0, one_normal
    bounds = [(1e-6, None), (math.log(spread / 50), math.log(spread * 2)), (-9.0, -1e-3)]
    for start in (0.05, 0.2, 0.35):
        begin = [float(np.median(np.abs(margins))), math.log(spread * 0.6), math.log(start / (1 - start))]
        found = minimize(cost, begin, method="L-BFGS-B", bounds=bounds)
        if found.fun < least:
            share, least = float(1 / (1 + math.exp(-found.x[2]))), float(found.fun)
    return share, 2 * (one_normal - least)
