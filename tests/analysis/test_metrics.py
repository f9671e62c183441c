"""metrics.py: scikit-learn's figures, and intervals that behave as theory says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from imgreg.analysis.metrics import calibration_error, measure, weighted_figures


def drawn(n: int, n_classes: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    logits = draw.normal(0, 1, (n, n_classes)) + 1.2 * np.eye(n_classes)[labels]
    p = np.exp(logits)
    return labels, np.round(p / p.sum(axis=1, keepdims=True), 2).astype(np.float32)  # rounded: there are ties


def test_two_classes_are_scikit_learns() -> None:
    """Every figure of a binary classifier equals scikit-learn's for the second class."""
    labels, p = drawn(120, 2, seed=0)
    p = p / p.sum(axis=1, keepdims=True, dtype=np.float64)
    said = p.argmax(axis=1)
    found = {name: f.value for name, f in measure(labels, p, classes=("a", "b")).figures.items()}
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, said),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
            "precision": sk.precision_score(labels, said),
            "recall": sk.recall_score(labels, said),
            "f1": sk.f1_score(labels, said),
            "roc_auc": sk.roc_auc_score(labels, p[:, 1]),
            "pr_auc": sk.average_precision_score(labels, p[:, 1]),
            "brier": sk.brier_score_loss(labels, p[:, 1]),
            "log_loss": sk.log_loss(labels, p),
            "calibration_error": calibration_error(labels, p),
        }
    )


def test_three_classes_are_scikit_learns_macro_means() -> None:
    """Each class against the rest, meaned."""
    labels, p = drawn(90, 3, seed=1)
    p = p / p.sum(axis=1, keepdims=True, dtype=np.float64)
    said = p.argmax(axis=1)
    done = measure(labels, p, classes=("a", "b", "c"))
    found = {name: f.value for name, f in done.figures.items()}
    each = [(labels == k).astype(int) for k in range(3)]
    assert found["precision"] == pytest.approx(sk.precision_score(labels, said, average="macro"))
    assert found["roc_auc"] == pytest.approx(np.mean([sk.roc_auc_score(e, p[:, k]) for k, e in enumerate(each)]))
    assert found["pr_auc"] == pytest.approx(
        np.mean([sk.average_precision_score(e, p[:, k]) for k, e in enumerate(each)])
    )
    assert found["brier"] == pytest.approx(np.square(p - np.eye(3)[labels]).sum() / 90)
    assert [list(row) for row in done.confusion] == sk.confusion_matrix(labels, said).tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_resamples_are_scored_as_scikit_learn_would(n_classes: int) -> None:
    """Under random counts of each photo, zeros among them, every figure is scikit-learn's with sample_weight."""
    labels, p = drawn(60, n_classes, seed=5)
    p = p / p.sum(axis=1, keepdims=True, dtype=np.float64)
    said = p.argmax(axis=1)
    weights = np.random.default_rng(0).integers(0, 4, (8, 60)).astype(float)
    found = weighted_figures(labels, p, said, weights=weights)
    average, of = ("binary", p[:, 1]) if n_classes == 2 else ("macro", p)
    each = [(labels == k, p[:, k]) for k in range(n_classes)][1 if n_classes == 2 else 0 :]
    for i, w in enumerate(weights):
        kept = w > 0
        expected = {
            "accuracy": sk.accuracy_score(labels, said, sample_weight=w),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, said, sample_weight=w),
            "precision": sk.precision_score(labels, said, sample_weight=w, average=average),
            "recall": sk.recall_score(labels, said, sample_weight=w, average=average),
            "f1": sk.f1_score(labels, said, sample_weight=w, average=average),
            "roc_auc": np.mean([sk.roc_auc_score(y, s, sample_weight=w) for y, s in each]),
            "pr_auc": sk.average_precision_score(labels, of, sample_weight=w),
            "log_loss": sk.log_loss(labels, p, sample_weight=w),
            "calibration_error": calibration_error(
                np.repeat(labels[kept], w[kept].astype(int)), np.repeat(p[kept], w[kept].astype(int), axis=0)
            ),
        }
        assert {name: found[name][i] for name in expected} == pytest.approx(expected)


def test_intervals_hold_their_value_and_match_theory() -> None:
    """Accuracy's interval is about the binomial one; every interval holds the value."""
    labels, p = drawn(200, 2, seed=2)
    done = measure(labels, p, classes=("a", "b"))
    a = done.figures["accuracy"]
    assert (a.high - a.low) / 2 == pytest.approx(1.96 * np.sqrt(a.value * (1 - a.value) / 200), rel=0.15)
    assert all(f.low <= f.value <= f.high for name, f in done.figures.items() if name != "calibration_error")


def test_intervals_cover_the_truth() -> None:
    """Of 20 drawn sets the 95 % interval misses the true accuracy in three at most."""
    labels, p = drawn(200_000, 2, seed=99)
    truth = (p.argmax(1) == labels).mean()
    missed = 0
    for seed in range(20):
        labels, p = drawn(80, 2, seed=seed)
        accuracy = measure(labels, p, classes=("a", "b")).figures["accuracy"]
        missed += not accuracy.low <= truth <= accuracy.high
    assert missed <= 3


def test_calibration_error_by_hand() -> None:
    """Four photos at 0.9 of which three are right, four at 0.6 of which two: (4·0.15 + 4·0.1) / 8."""
    p = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 4)
    labels = [0, 0, 0, 1, 0, 0, 1, 1]
    assert calibration_error(labels, p) == pytest.approx((4 * 0.15 + 4 * 0.1) / 8)


def test_answers_of_a_majority_count_as_given() -> None:
    """Accuracy goes by the answers, log loss by the probabilities."""
    labels, p = np.array([0, 1, 0, 1]), np.array([[0.6, 0.4]] * 4)
    done = measure(labels, p, classes=("a", "b"), answers=labels)
    assert done.figures["accuracy"].value == 1
    assert done.figures["log_loss"].value == pytest.approx(-np.log([0.6, 0.4, 0.6, 0.4]).mean())


def test_a_class_without_photos_is_refused() -> None:
    """Its recall would be nobody's."""
    with pytest.raises(ValueError, match="no photo of class 'b'"):
        measure([0, 0], [[0.6, 0.4]] * 2, classes=("a", "b"))
