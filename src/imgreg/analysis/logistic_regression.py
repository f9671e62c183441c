"""Logistic regression with an L2 penalty on features of many numbers, its penalty chosen by cross-validation.

In: features and labels. Out: a fitted classifier. Must not know: photos, caches, files.

A penalized fit depends on the train photos' inner products alone, so each fit is done in coordinates of the space that
they span: at most as many numbers a photo as there are train photos, where a flattened feature map has 8,192 or 25,088.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.forward import cross_entropies

INVERSE_PENALTIES = tuple(10.0**power for power in range(-5, 2))  # scikit-learn's C
N_FOLDS = 5
MAX_TRAIN_PHOTOS = 2000  # the fit takes some 20 s then, and its time grows with the square of the number
_COLUMNS = 2048  # of the features that are in memory as float64 at once
_RANK_TOLERANCE = 1e-10  # directions whose share of the largest variance is below this are rounding

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogisticRegressionFit:
    """A fitted multinomial logistic regression.

    Attributes
    ----------
    weights : (n_features, n_classes) float64
    bias : (n_classes,) float64
        Logits are ``features @ weights + bias``.
    inverse_penalty : float
        scikit-learn's C, the one that cross-validation chose.
    n_train : int
    train_loss : float
        Mean cross-entropy of the train photos in nats, without the penalty.
    """

    weights: Float64Array
    bias: Float64Array
    inverse_penalty: float
    n_train: int
    train_loss: float

    def probabilities(self, features: NDArray[np.floating]) -> Float64Array:
        """Compute each photo's class probabilities.

        Parameters
        ----------
        features : (n, n_features)

        Returns
        -------
        (n, n_classes) float64
            Rows sum to 1.
        """
        from scipy.special import softmax

        weights = self.weights.astype(np.float32)  # float16 features have no more digits
        return np.asarray(softmax(np.asarray(features, dtype=np.float32) @ weights + self.bias, axis=1))


def fit_logistic_regression(features: NDArray[np.floating], labels: NDArray[np.integer]) -> LogisticRegressionFit:
    """Fit L2-penalized logistic regression, its C chosen by cross-validation.

    The result is that of scikit-learn's ``LogisticRegressionCV(Cs=INVERSE_PENALTIES, cv=5, scoring="neg_log_loss")``
    on the features as they are.

    Parameters
    ----------
    features : (n, n_features)
    labels : (n,) int
        In 0..n_classes - 1; every class has two photos or more.

    Raises
    ------
    ValueError
        If a class has fewer than two photos.

    References
    ----------
    Hastie & Tibshirani 2004, doi:10.1093/biostatistics/5.3.329: quadratic penalties and the rotation by the SVD.
    """
    n_classes = int(labels.max()) + 1
    smallest = int(np.bincount(labels).min())
    if smallest < 2:
        raise ValueError(f"a class has {smallest} photos, expected 2 or more")
    space = _span(features)
    inverse_penalty = _chosen_by_folds(space.coordinates, labels, scale=space.scale, n_folds=min(N_FOLDS, smallest))
    model = _model(inverse_penalty, scale=space.scale).fit(space.coordinates, labels)
    inside, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if n_classes == 2:  # scikit-learn holds the second class's logit alone
        inside, bias = np.vstack([np.zeros_like(inside), inside]), np.concatenate([[0.0], bias])
    weights = space.back(inside.T, features)
    return LogisticRegressionFit(
        weights=weights,
        bias=bias - space.mean @ weights,
        inverse_penalty=inverse_penalty,
        n_train=len(labels),
        train_loss=float(cross_entropies(model.predict_proba(space.coordinates), labels).mean()),
    )


def stratified_subset(labels: NDArray[np.integer], *, n_most: int) -> NDArray[np.intp]:
    """Draw rows so that each class keeps its share, two rows at least.

    Returns
    -------
    (m,) int
        In ascending order; all rows where there are no more than `n_most`.

    Examples
    --------
    >>> labels = np.array([0] * 90 + [1] * 10)
    >>> np.bincount(labels[stratified_subset(labels, n_most=20)])
    array([18,  2])
    """
    if len(labels) <= n_most:
        return np.arange(len(labels))
    draw = np.random.default_rng(0)
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        n_kept = min(len(rows), max(2, round(n_most * len(rows) / len(labels))))
        kept.append(draw.choice(rows, n_kept, replace=False))
    return np.sort(np.concatenate(kept))


@dataclass(frozen=True)
class _Span:
    """Orthonormal coordinates of the space that the centred features span, divided by their root mean square norm.

    A division of the features by `scale` with C multiplied by scale² leaves the fit as it is, and lets L-BFGS converge.
    """

    coordinates: Float64Array  # (n, rank), scaled
    mean: Float64Array  # (n_features,)
    scale: float
    singular: Float64Array  # (rank,), empty where the coordinates are the features themselves

    def back(self, inside: Float64Array, features: NDArray[np.floating]) -> Float64Array:
        """Weights on the features, (n_features, k), from those on the coordinates, (rank, k)."""
        if not len(self.singular):
            return np.asarray(inside / self.scale)
        of_photos = (self.coordinates * self.scale / self.singular**2) @ (inside / self.scale)
        found = np.empty((features.shape[1], inside.shape[1]))
        for start in range(0, features.shape[1], _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            found[columns] = (np.asarray(features[:, columns], dtype=np.float64) - self.mean[columns]).T @ of_photos
        return found


def _span(features: NDArray[np.floating]) -> _Span:
    n, n_features = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    if n_features <= n:
        centred = np.asarray(features, dtype=np.float64) - mean
        scale = float(np.sqrt(np.square(centred).sum(axis=1).mean())) or 1.0
        return _Span(centred / scale, mean, scale, np.empty(0))
    products = np.zeros((n, n))
    for start in range(0, n_features, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        portion = np.asarray(features[:, columns], dtype=np.float64) - mean[columns]
        products += portion @ portion.T
    variances, directions = np.linalg.eigh(products)
    kept = variances > _RANK_TOLERANCE * variances[-1]
    singular = np.sqrt(variances[kept])
    scale = float(np.sqrt(np.trace(products) / n)) or 1.0
    return _Span(directions[:, kept] * singular / scale, mean, scale, singular)


def _chosen_by_folds(coordinates: Float64Array, labels: NDArray[np.integer], *, scale: float, n_folds: int) -> float:
    """The C of the lowest mean cross-entropy on photos left out; of equals the smallest."""
    from sklearn.model_selection import StratifiedKFold

    losses = np.zeros(len(INVERSE_PENALTIES))
    # Not shuffled: photos taken one after the other stand side by side in the listing, and so in the same fold.
    for inside, outside in StratifiedKFold(n_folds).split(coordinates, labels):
        model = _model(INVERSE_PENALTIES[0], scale=scale)
        for i, inverse_penalty in enumerate(INVERSE_PENALTIES):
            model.set_params(C=inverse_penalty * scale**2)  # goes on from the weights of the one before
            model.fit(coordinates[inside], labels[inside])
            losses[i] += cross_entropies(model.predict_proba(coordinates[outside]), labels[outside]).mean()
    return INVERSE_PENALTIES[int(losses.argmin())]


def _model(inverse_penalty: float, *, scale: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse_penalty * scale**2, tol=1e-6, max_iter=5000, warm_start=True)
