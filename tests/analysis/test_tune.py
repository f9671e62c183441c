"""The nested score: what a search saw is set beside photos that it did not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.samplers import RandomSampler

from imgreg.analysis.effects import paired_effects
from imgreg.analysis.tune import (
    NestedScore,
    OuterScore,
    SearchTrial,
    best_so_far,
    best_trial,
    changed_settings,
    nested_score,
    tune_answer,
)
from imgreg.recipes.search_space import Range
from imgreg.training.search import Budget, Candidate, search

CHANCE = math.log(2)


def outer(number: int, *, inner: float, loss: float, default: float, gain: float = 0.1) -> OuterScore:
    return OuterScore(
        number=number,
        n_train=80,
        n_test=40,
        n_trials=10,
        picked=3,
        values={},
        inner_loss=inner,
        inner_default_loss=inner + gain,
        loss=loss,
        default_loss=default,
        accuracy=0.8,
        default_accuracy=0.7,
    )


def drawn(seed: int) -> NestedScore:
    """Tuning on labels that nothing can tell: each recipe's loss on a photo is chance, give or take."""
    folds = []
    for number in (1, 2, 3):

        def score(candidates: list[Candidate], fold: int, number: int = number) -> list[np.ndarray]:
            return [
                np.random.default_rng([seed, number, fold, one.number]).normal(CHANCE, 0.5, 40) for one in candidates
            ]

        space = {"head.dropout": Range(0, 0.9)}
        budget = Budget(n_trials=20, n_folds=2)
        found = search(space, score, default={"head.dropout": 0.5}, sampler=RandomSampler(seed), budget=budget)
        draw = np.random.default_rng([seed, number, 99])
        outside, default = (float(draw.normal(CHANCE, 0.5, 40).mean()) for _ in range(2))
        inner, first = found.best.loss, found.trials[0].loss
        assert inner is not None
        assert first is not None
        folds.append(outer(number, inner=inner, loss=outside, default=default, gain=first - inner))
    return nested_score(folds, default="regularized")


def test_shuffled_labels_look_better_than_chance_inside_and_are_chance_outside() -> None:
    """Over 20 drawn searches the inner best is always below chance; the nested interval covers chance nearly always."""
    scores = [drawn(seed) for seed in range(20)]
    assert all(one.inner_loss < CHANCE for one in scores)
    assert sum(one.loss.low <= CHANCE <= one.loss.high for one in scores) >= 18
    assert np.mean([one.optimism for one in scores]) > 0.05
    assert sum(one.effect.word == "helped" for one in scores) <= 1


def test_the_score_is_of_the_outer_photos_with_a_corrected_interval() -> None:
    """Mean, interval and words are those of paired effects; optimism is what was gained inside less outside."""
    losses, defaults = (0.30, 0.34, 0.35), (0.40, 0.45, 0.44)
    folds = [
        outer(n, inner=0.25, loss=a, default=b, gain=0.15)
        for n, (a, b) in enumerate(zip(losses, defaults, strict=True), 1)
    ]
    found = nested_score(folds, default="plain")
    (expected,) = paired_effects({"plain": defaults, "tuned": losses}, n_train=80, n_test=40)
    assert found.effect == expected
    assert found.effect.word == "helped"
    assert found.loss.mean == pytest.approx(0.33)
    assert found.loss.low < 0.28
    assert (found.inner_loss, found.gain_inside) == (pytest.approx(0.25), pytest.approx(0.15))
    assert (found.gain_outside, found.optimism) == (pytest.approx(0.1), pytest.approx(0.05))
    first, second, last = tune_answer(found, changes=("dropout 0.5 instead of 0.7",))
    assert first.startswith("Tuning helped, on photos that took no part in it: test loss 0.330 vs. 0.430 for plain")
    assert "The optimism of the search is +0.050" in second
    assert last == "The recipe found on all photos has dropout 0.5 instead of 0.7."
    assert "nothing better than plain" in tune_answer(found, changes=())[-1]


@pytest.mark.parametrize(
    ("losses", "starts", "advice"),
    [
        ((0.50, 0.55, 0.54), "Tuning hurt", "Keep plain."),
        ((0.40, 0.45, 0.445), "Tuning made no difference that matters", "plain is as safe a choice"),
        ((0.30, 0.60, 0.40), "Not enough data to tell whether tuning helped", "plain is as safe a choice"),
    ],
)
def test_words_are_those_of_compare(losses: tuple[float, ...], starts: str, advice: str) -> None:
    """What is not clearly better is not called so, and the default recipe is named as the alternative."""
    folds = [
        outer(n, inner=0.3, loss=loss, default=b)
        for n, (loss, b) in enumerate(zip(losses, (0.40, 0.45, 0.44), strict=True), 1)
    ]
    answer = tune_answer(nested_score(folds, default="plain"), changes=("units [64]",))
    assert answer[0].startswith(starts)
    assert advice in answer[-1]


def test_the_best_is_complete_and_the_earlier_of_equals() -> None:
    """A dropped trial's estimate never wins."""
    rows = [("complete", 0.5), ("dropped", 0.3), ("diverged", None), ("complete", 0.4), ("complete", 0.4)]
    trials = [
        SearchTrial(number=n, values={}, losses=(), loss=loss, status=status) for n, (status, loss) in enumerate(rows)
    ]
    assert best_trial(trials).number == 3
    assert best_so_far(trials) == [0.5, 0.5, 0.5, 0.4, 0.4]


def test_settings_are_told_against_the_default() -> None:
    """What changed, what has no effect any more, what has one now."""
    before = {"head.units": "[256]", "augmentation.backend": "keras", "head.dropout": "0.7", "head.l2": "0.02"}
    after = {"head.units": "[256]", "augmentation.backend": "none", "head.dropout": "0.5", "head.l1": "0.1"}
    assert changed_settings(before, after) == (
        "augmentation backend none instead of keras",
        "dropout 0.5 instead of 0.7",
        "no l2 (0.02)",
        "l1 0.1",
    )
