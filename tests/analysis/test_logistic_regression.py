"""Logistic regression on wide features: the figures of scikit-learn's own search over the features as they are."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.logistic_regression import (
    INVERSE_PENALTIES,
    fit_logistic_regression,
    stratified_subset,
)


def wide(*, n: int, n_features: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features as block5_pool gives them: not negative, many zeros, far from 0 mean, some of them tied to the class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    centres = draw.normal(0, 10 / np.sqrt(n_features), (n_classes, n_features))
    return np.maximum(draw.normal(0.3, 4, (n, n_features)) + centres[labels], 0).astype(np.float16), labels


@pytest.mark.parametrize(("n_features", "n_classes"), [(300, 3), (30, 2)])
def test_is_scikit_learns_search_on_the_features_as_they_are(n_features: int, n_classes: int) -> None:
    """The same C, and probabilities of other photos, with more features than photos and with fewer."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    x, labels = wide(n=150, n_features=n_features, n_classes=n_classes)
    found = fit_logistic_regression(x[:90], labels[:90])
    model = LogisticRegressionCV(
        Cs=INVERSE_PENALTIES,
        cv=StratifiedKFold(5),
        scoring="neg_log_loss",
        tol=1e-7,
        max_iter=20_000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(x[:90].astype(np.float64), labels[:90])
    assert found.inverse_penalty == pytest.approx(model.C_)
    of_truth = found.probabilities(x[:90])[np.arange(90), labels[:90]]
    assert found.train_loss == pytest.approx(-np.log(of_truth).mean(), rel=1e-3)
    assert INVERSE_PENALTIES[0] < found.inverse_penalty < INVERSE_PENALTIES[-1]
    np.testing.assert_allclose(found.probabilities(x[90:]), model.predict_proba(x[90:].astype(np.float64)), atol=0.005)


def test_copies_of_photos_do_no_harm() -> None:
    """Photos with the same features leave fewer directions than photos; the answer stays finite and right."""
    x, labels = wide(n=40, n_features=200, n_classes=2)
    found = fit_logistic_regression(np.concatenate([x, x]), np.concatenate([labels, labels]))
    assert (found.probabilities(x).argmax(axis=1) == labels).all()


def test_a_class_of_two_photos_is_answered() -> None:
    """As many folds as the smallest class has photos; a single photo is refused."""
    x, _ = wide(n=30, n_features=60, n_classes=2)
    few = np.array([0] * 28 + [1] * 2)
    assert fit_logistic_regression(x, few).probabilities(x).shape == (30, 2)
    with pytest.raises(ValueError, match="a class has 1 photos, expected 2 or more"):
        fit_logistic_regression(x[:29], few[:29])


def test_a_subset_keeps_the_shares_and_each_class() -> None:
    """A tenth of the photos has a tenth of each class; a class of three keeps two; the draw repeats."""
    labels = np.array([0] * 700 + [1] * 297 + [2] * 3)
    rows = stratified_subset(labels, n_most=100)
    assert np.bincount(labels[rows]).tolist() == [70, 30, 2]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, stratified_subset(labels, n_most=100))
