"""The search: reproducible, resumable, never worse inside than where it began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from optuna.samplers import RandomSampler

from imgreg.analysis.tune import Losses
from imgreg.recipes.search_space import Choices, Range, Space
from imgreg.training.search import BATCH, Budget, Candidate, Sampler, Score, Search, search, tpe

SPACE: Space = {
    "head.dropout": Range(0, 0.9),
    "optimizer.learning_rate": Range(1e-4, 1e-1, log=True),
    "head.pool": Choices(("avg", "max")),
}
DEFAULT = {"head.dropout": 0.5, "optimizer.learning_rate": 1e-3, "head.pool": "avg"}


def losses_of(candidate: Candidate, fold: int, *, noise: float = 0.05) -> Losses:
    """60 photos' losses, lowest at a dropout of 0.2, drawn from the candidate's values and the fold alone."""
    draw = np.random.default_rng([fold, int(1e6 * candidate.values["head.dropout"])])
    base = np.random.default_rng(fold).gamma(2, 0.2, 60)
    return base + (candidate.values["head.dropout"] - 0.2) ** 2 + draw.normal(0, noise, 60)


def score(candidates: Sequence[Candidate], fold: int) -> list[Losses | None]:
    return [losses_of(one, fold) for one in candidates]


def searched(scored: Score = score, *, sampler: Sampler = tpe, seed: int = 5, **options: object) -> Search:
    budget = Budget(**{"n_folds": 3, "n_trials": 22} | options)  # type: ignore[arg-type]
    return search(SPACE, scored, default=DEFAULT, sampler=sampler(seed), budget=budget)


@pytest.fixture(scope="module")
def found() -> Search:
    return searched()


def test_the_same_seed_gives_the_same_trials_in_batches(found: Search) -> None:
    """Whatever of a batch is finished first; another seed gives others."""
    sizes = []

    def backwards(candidates: Sequence[Candidate], fold: int) -> list[Losses | None]:
        if fold == 0:
            sizes.append(len(candidates))
        return [losses_of(one, fold) for one in candidates[::-1]][::-1]

    assert searched(backwards) == found
    assert sizes == [BATCH] * 5 + [2]
    assert searched(seed=6).trials[1:] != found.trials[1:]


def test_it_begins_with_the_default_and_is_never_worse(found: Search) -> None:
    """Trial 0 is the default recipe, trained on every fold; the best is a complete trial and as good at least."""
    first = found.trials[0]
    assert (first.values, first.status, len(first.losses)) == (DEFAULT, "complete", 3)
    assert found.best.status == "complete"
    assert found.best.loss is not None
    assert first.loss is not None
    assert found.best.loss < first.loss
    assert abs(found.best.values["head.dropout"] - 0.2) < 0.2
    assert next(iter(found.importances)) == "head.dropout"
    assert searched(n_trials=19).importances == {}


def test_a_trial_that_is_clearly_worse_is_spared_the_other_folds() -> None:
    """Dropped after the first fold, its loss is an estimate; without dropping every trial has all folds."""
    some, whole = (searched(sampler=RandomSampler, drop_z=z) for z in (2.0, np.inf))  # random: the same trials
    dropped = [one for one in some.trials if one.status == "dropped"]
    assert dropped
    assert all(len(one.losses) < 3 for one in dropped)
    assert {one.status for one in whole.trials} == {"complete"}
    for one in dropped:
        assert one.loss == pytest.approx(whole.trials[one.number].loss, abs=0.05)
        assert one.losses == whole.trials[one.number].losses[: len(one.losses)]
    assert some.best == whole.best


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(found: Search) -> None:
    """Replayed from the trials that are kept, it trains only what is missing."""
    kept: dict[tuple[int, float], Losses] = {}
    trained = 0

    def interrupted(candidates: Sequence[Candidate], fold: int, *, after: float) -> list[Losses | None]:
        nonlocal trained
        for one in candidates:
            key = fold, one.values["head.dropout"]
            if key not in kept:
                if trained >= after:
                    raise KeyboardInterrupt
                kept[key] = losses_of(one, fold)
                trained += 1
        return [kept[fold, one.values["head.dropout"]] for one in candidates]

    with pytest.raises(KeyboardInterrupt):
        searched(lambda candidates, fold: interrupted(candidates, fold, after=17))
    assert searched(lambda candidates, fold: interrupted(candidates, fold, after=np.inf)) == found
    assert trained == sum(len(one.losses) for one in found.trials)


def test_a_trial_that_diverges_is_left_out() -> None:
    """The sampler gets a high loss, the others go on."""

    def with_a_failure(candidates: Sequence[Candidate], fold: int) -> list[Losses | None]:
        return [None if one.number == 2 and fold == 1 else losses_of(one, fold, noise=0.5) for one in candidates]

    found = searched(with_a_failure, n_trials=8, drop_z=np.inf)
    assert (found.trials[2].status, found.trials[2].loss, found.trials[2].losses) == ("diverged", None, ())
    assert [one.status for one in found.trials].count("complete") == 7


def test_time_ends_a_search_between_batches() -> None:
    """The first batch is always finished, so that there is a best trial."""
    assert len(searched(is_over=lambda: True).trials) == BATCH


def test_a_default_outside_the_space_is_still_the_first_trial() -> None:
    """It is scored and can win, but the sampler does not learn of it."""
    default = DEFAULT | {"head.dropout": 0.95}
    found = search(SPACE, score, default=default, sampler=tpe(1), budget=Budget(n_trials=6, n_folds=2))
    assert found.trials[0].values == default
    assert len(found.trials) == 6
