"""study.py: the ranked table, the vote and the search, on trials made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from given import a_trial
from imgreg.analysis.study import searched, study_answer, study_table, voted
from imgreg.heads.forward import majority, score
from imgreg.runs.trial import Trial


def trial(recipe: str, repeat: int, *, loss: float, val_loss: float = 0.5, p: np.ndarray | None = None) -> Trial:
    p = np.array([[0.8, 0.2], [0.3, 0.7]]) if p is None else p
    given = tuple(map(tuple, p.tolist()))
    return a_trial(recipe=recipe, repeat=repeat, best_val_loss=val_loss, test_loss=loss, test_probabilities=given)


def test_rows_are_ranked_and_paired() -> None:
    """Means over the repeats, the best first; the effect is the mean of differences within repeats."""
    trials = {
        "plain": [trial("plain", i, loss=loss) for i, loss in enumerate([0.5, 0.7, 0.6])],
        "worse": [trial("worse", i, loss=loss) for i, loss in enumerate([0.9, 1.1, 1.0])],
        "better": [trial("better", i, loss=loss) for i, loss in enumerate([0.4, 0.59, 0.51])],
    }
    table = study_table(trials)
    assert [row.recipe for row in table.rows] == ["better", "plain", "worse"]
    better, plain, worse = table.rows
    assert plain.effect is None
    assert better.effect is not None
    assert better.effect.mean == pytest.approx(-0.1)
    assert worse.effect is not None
    assert (better.effect.word, worse.effect.word) == ("helped", "hurt")
    assert (better.gap_last, better.best_epoch) == (pytest.approx(0.5), 2)
    said = study_answer(table)
    assert said[0].startswith("better lowered test loss by 0.10 (95 % interval")
    assert "Hurt: worse." in said


def test_nothing_helped_is_said() -> None:
    """Without a helped recipe the first line says so, and what could have been found."""
    losses = {"plain": [0.5, 0.6, 0.7, 0.5], "l2": [0.6, 0.5, 0.6, 0.7]}
    trials = {name: [trial(name, i, loss=loss) for i, loss in enumerate(row)] for name, row in losses.items()}
    said = study_answer(study_table(trials))
    assert said[0].startswith("No recipe clearly helped")
    assert said[1].startswith("Not enough data to tell: l2; this many repeats can detect a difference of 0.")


def test_the_gap_is_told_apart_from_the_loss() -> None:
    """A recipe that overfits clearly less is named as such, though its test loss is no better; many are counted."""
    losses = [0.5, 0.6, 0.7, 0.5]
    gaps = {"plain": (0.50, 0.52, 0.49, 0.51), **{f"r{i}": (0.1, 0.11, 0.12, 0.1) for i in range(10)}}
    trials = {
        name: [
            trial(name, i, loss=loss).model_copy(update={"train_losses": (0.1,), "val_losses": (0.1 + gap,)})
            for i, (loss, gap) in enumerate(zip(losses, row, strict=True))
        ]
        for name, row in gaps.items()
    }
    said = study_answer(study_table(trials))
    assert said[1].startswith("Smaller train-validation gap after the last epoch than plain's 0.5")
    assert said[1].endswith("r6 0.11 and 3 others.")


def test_what_is_clear_alone_is_told() -> None:
    """An interval that excludes 0, among many comparisons, is neither called hurt nor hidden."""
    base = [0.5, 0.6, 0.7, 0.5, 0.6]
    rows = {"plain": base, "bad": [b + d for b, d in zip(base, (0.3, 0.2, 0.4, 0.3, 0.2), strict=True)]}
    draw = np.random.default_rng(1)
    rows |= {f"r{i}": [b + d for b, d in zip(base, draw.normal(0, 0.2, 5), strict=True)] for i in range(60)}
    table = study_table({name: [trial(name, i, loss=v) for i, v in enumerate(row)] for name, row in rows.items()})
    said = " ".join(study_answer(table))
    assert "Significant individually, but not after correction for 61 comparisons:" in said
    assert "bad (worse)" in said
    assert "Hurt" not in said


def test_other_photos_are_refused() -> None:
    """Pairs need the same test photos."""
    other = trial("l2", 0, loss=0.5).model_copy(update={"test_labels": (1, 1)})
    with pytest.raises(ValueError, match="not scored on the same photos"):
        study_table({"plain": [trial("plain", i, loss=0.5) for i in (0, 1)], "l2": [other, other]})


def test_a_vote_is_the_mean_and_the_majority() -> None:
    """The loss is the mean probability's; the accuracy goes by most heads' answers."""
    rows = [np.array([[0.6, 0.4], [0.4, 0.6]]), np.array([[0.6, 0.4], [0.4, 0.6]]), np.array([[0.1, 0.9], [0.1, 0.9]])]
    found = voted("vote", [trial("x", 1, loss=1, p=p) for p in rows])
    loss, accuracy_of_mean = score(np.mean(rows, axis=0), [0, 1])
    assert found.test_loss == pytest.approx(loss)
    assert (found.test_accuracy, accuracy_of_mean) == (1.0, 0.5)


def test_majority_breaks_ties_by_the_mean() -> None:
    """One head each way: the surer wins."""
    p = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]]])
    assert majority(p).tolist() == [0, 1]


def test_a_search_never_looks_at_the_test() -> None:
    """The candidate with the lowest validation loss is taken, whatever its test loss."""
    found = searched("best", [trial("a", 1, loss=0.1, val_loss=0.6), trial("b", 1, loss=0.9, val_loss=0.4)])
    assert (found.recipe, found.test_loss) == ("best", 0.9)


def test_rows_have_the_number_of_parameters() -> None:
    """Each recipe has its own count; one that is not known has none."""
    trials = {name: [trial(name, i, loss=0.5 + i / 10) for i in (0, 1)] for name in ("plain", "tiny", "other")}
    rows = study_table(trials, n_parameters={"plain": 2_000, "tiny": 30}).rows
    assert {row.recipe: row.n_parameters for row in rows} == {"plain": 2_000, "tiny": 30, "other": None}
