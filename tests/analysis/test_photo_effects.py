"""Two heads photo by photo: paired by content, with the photos that change sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.test_compare import scores, summary
from imgreg.analysis.photo_effects import photo_effects
from imgreg.runs.folder import Run, SplitRow


def answering(plant, name: str, answers: list[int], *, order: list[int] | None = None, sure: float = 0.9) -> Run:
    """A run whose best epoch answers so for 12 validation photos, half of each class."""
    order = order or list(range(12))
    labels = ["ants" if i % 2 == 0 else "bees" for i in order]
    planted = plant(np.array([0.5, 0.4]), np.array([[0.4] * 12, [0.5] * 12]))  # epoch 1 is the best
    probabilities = planted.val_probabilities.copy()
    probabilities[0] = np.where(np.eye(2)[[answers[i] for i in order]] > 0, sure, 1 - sure)
    split = tuple(SplitRow(f"{i}.jpg", label, "val", f"{i:064}") for i, label in zip(order, labels, strict=True))
    told = summary(name, best=scores(1, 0.5, 0.4), last=scores(2, 0.4, 0.5))
    return Run(Path(name), told, replace(planted, val_probabilities=probabilities), split, (), "", {})


def test_photos_are_paired_by_content_whatever_their_order(plant) -> None:
    """Eight photos that only the second gets right, one that only the first: their paths, and exact McNemar."""
    truth = [0, 1] * 6
    first = [1 - t if i < 8 else t for i, t in enumerate(truth)]
    second = [1 - t if i == 11 else t for i, t in enumerate(truth)]
    control, run = answering(plant, "a", first), answering(plant, "b", second, order=list(range(12))[::-1])
    (found,) = photo_effects([control, run])
    assert found.fixed == tuple(f"{i}.jpg" for i in range(8))
    assert found.broken == ("11.jpg",)
    assert found.p_mcnemar == pytest.approx(2 * (1 + 9) / 2**9)
    assert "The difference in accuracy is significant: b fixes 8 photos and breaks 1" in found.sentence


def test_the_difference_is_a_paired_t_interval(plant) -> None:
    """Mean, interval and p are those of SciPy's paired t-test on the photos' cross-entropies."""
    truth = [0, 1] * 6
    first = [1 - t if i < 6 else t for i, t in enumerate(truth)]
    control, run = answering(plant, "a", first), answering(plant, "b", truth, sure=0.8)
    (found,) = photo_effects([control, run])
    ours = np.where(np.arange(12) < 6, -np.log(0.1), -np.log(0.9))
    test = stats.ttest_rel(np.full(12, -np.log(0.8)), ours)
    interval = test.confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (float((-np.log(0.8) - ours).mean()), interval.low, interval.high), rel=1e-5
    )
    assert found.p_holm == pytest.approx(test.pvalue, rel=1e-4)
    assert found.word == "better on these photos"


def test_heads_that_differ_by_luck_in_each_fold_are_not_told_apart(plant) -> None:
    """All photos of a fold differ alike: the interval and p are those of the four folds' means."""
    truth = [0, 1] * 6
    control, run = (answering(plant, name, truth) for name in ("a", "b"))
    probabilities = run.history.val_probabilities.copy()
    own = 0.9 * np.exp(-np.array([-0.09, 0.03, -0.09, 0.03])[np.arange(12) // 3])
    probabilities[0] = np.where(np.eye(2)[truth] > 0, own[:, None], 1 - own[:, None])
    rows = tuple(replace(row, split=f"fold-{1 + i // 3}") for i, row in enumerate(run.split))
    changed = replace(run.history, val_probabilities=probabilities)
    (alone,) = photo_effects([control, replace(run, history=changed)])
    (found,) = photo_effects([replace(control, split=rows), replace(run, history=changed, split=rows)])
    of_folds = stats.ttest_1samp([-0.09, 0.03, -0.09, 0.03], 0)
    assert found.mean == pytest.approx(alone.mean) == pytest.approx(-0.03, abs=1e-5)
    assert found.p_holm == pytest.approx(of_folds.pvalue, rel=1e-3)
    assert (found.high - found.low) > 1.5 * (alone.high - alone.low)


def test_the_same_head_makes_no_difference_that_matters(plant) -> None:
    """A run against its copy: 0, and not "not enough data"."""
    (found,) = photo_effects([answering(plant, name, [0, 1] * 6) for name in ("a", "b")])
    assert (found.mean, found.p_holm, found.word) == (0.0, 1.0, "no difference that matters")


def test_other_validation_photos_give_no_effect(plant) -> None:
    """Photos that are not the same cannot be paired."""
    run = answering(plant, "b", [0, 1] * 6)
    other = replace(run, split=tuple(replace(row, sha256="f" * 64) for row in run.split))
    assert photo_effects([run, other]) == ()
