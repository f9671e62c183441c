"""The comparison in sentences: a winner only where there is one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.test_compare import PLAIN, REGULARIZED, scores, summary
from analysis.test_photo_effects import answering
from imgreg.analysis.compare import comparison_table
from imgreg.analysis.comparison_answer import answer
from imgreg.analysis.photo_effects import (
    BETTER,
    NO_DIFFERENCE,
    UNDECIDED,
    WORSE,
    EndDifference,
    PhotoEffect,
    photo_effects,
)
from imgreg.runs.folder import Run, SplitRow
from imgreg.runs.summary import Scores


def best_at(name: str, *, val_loss: float, last: float = 0.9):
    return summary(name, best=scores(4, 0.2, val_loss), last=scores(9, 0.1, last))


def effect(name: str, *, mean: float, half: float, p: float, word: str, fixed: int = 0, broken: int = 0) -> PhotoEffect:
    return PhotoEffect(
        name=name,
        control="plain",
        n_photos=40,
        mean=mean,
        low=mean - half,
        high=mean + half,
        p_holm=p,
        word=word,
        fixed=("a.jpg",) * fixed,
        broken=("b.jpg",) * broken,
        p_mcnemar=1.0 if fixed == broken else 0.001,
        last=EndDifference(mean=0.0, low=-1.0, high=1.0, p_holm=1.0),
    )


def test_the_kept_heads_decide_and_the_gap_is_told() -> None:
    """A control that is better at its best epoch is the winner, though the other run ends lower."""
    rows = comparison_table([best_at("plain", val_loss=0.42, last=0.72), best_at("blog", val_loss=0.5, last=0.58)])
    said = answer(rows, [effect("blog", mean=0.085, half=0.075, p=0.02, word=WORSE)])
    assert said == (
        "plain is better here: validation loss 0.42 (epoch 4) vs blog's 0.50 (epoch 4), difference 0.09, 95 % 0.01 to "
        "0.16. After the last epoch blog's validation loss is 0.58 vs plain's 0.72, and the gap to the train loss is "
        "0.48 vs 0.62 (77 %)."
    )
    assert "second run" in answer(rows[:1])


def test_no_winner_where_the_difference_can_be_chance() -> None:
    """A lower loss wins only if the paired interval says so."""
    rows = comparison_table([best_at("plain", val_loss=0.5), best_at("l2", val_loss=0.4)])
    said = answer(rows, [effect("l2", mean=-0.1, half=0.2, p=0.3, word=UNDECIDED)])
    assert said.startswith("No clear winner: l2 has validation loss 0.40 (epoch 4) vs plain's 0.50 (epoch 4), ")
    assert "difference -0.10, 95 % -0.30 to +0.10; on 40 validation photos that can be chance." in said
    said = answer(rows, [effect("l2", mean=-0.004, half=0.004, p=0.3, word=NO_DIFFERENCE)])
    assert said.startswith("l2 and plain are equally good here: ")


def test_a_clear_run_is_named_beside_a_lower_one_that_is_not_clear() -> None:
    """Of two with lower losses than the control the clear one is named; the other's lower loss is told."""
    rows = comparison_table([best_at("plain", val_loss=0.6), best_at("l1", val_loss=0.3), best_at("l2", val_loss=0.4)])
    effects = [
        effect("l1", mean=-0.3, half=0.5, p=0.3, word=UNDECIDED),
        effect("l2", mean=-0.2, half=0.05, p=0.001, word=BETTER),
    ]
    said = answer(rows, effects)
    assert said.startswith("l2 is better here: validation loss 0.40 (epoch 4) vs plain's 0.60 (epoch 4)")
    assert "l1 has a lower loss still, which can be chance." in said
    assert said.endswith("The kept heads' validation losses: l1 0.30, l2 0.40, plain 0.60.")


def test_runs_on_other_photos_have_no_winner() -> None:
    """Without a paired effect nobody is called better."""
    said = answer(comparison_table([PLAIN, REGULARIZED]))
    assert "does not say which is better" in said
    assert "is better here" not in said


def test_right_answers_that_speak_the_other_way_are_told() -> None:
    """A run with better probabilities and clearly fewer right answers is not just called better."""
    rows = comparison_table([best_at("plain", val_loss=0.5), best_at("l2", val_loss=0.4)])
    found = effect("l2", mean=-0.1, half=0.05, p=0.001, word=BETTER, fixed=1, broken=15)
    assert "Its answers are not: plain gets more photos right, by more than chance." in answer(rows, [found])
    agreeing = effect("l2", mean=-0.1, half=0.05, p=0.001, word=BETTER, fixed=15, broken=1)
    assert "answers are not" not in answer(rows, [agreeing])


def drawn_run(plant, name: str, *, base: np.ndarray, shift: float, rng: np.random.Generator) -> Run:
    """A run of two epochs whose first is the best, with losses around `base` shifted by about `shift`."""
    kept = np.clip(base + shift + rng.normal(0, 0.1, len(base)), 0.01, None)
    history = plant(np.array([0.3, 0.1]), np.stack([kept, kept + rng.uniform(0, 1)]))
    split = tuple(SplitRow(f"{i}.jpg", ("ants", "bees")[i % 2], "val", f"{i:064}") for i in range(len(base)))
    best, last = (Scores.of(row) for row in history.epochs)
    return Run(Path(name), summary(name, best=best, last=last), history, split, (), "", {})


def test_winner_words_interval_and_p_value_agree(plant) -> None:
    """Over 500 drawn pairs and 100 triples: who is called better has the lower loss, an interval on one side of 0 and
    p < 0.05; who is not, has none of it or only before the correction; the effect's own sentence says the same."""
    rng = np.random.default_rng(0)
    seen = {"better": 0, "control": 0, "open": 0}
    for number in range(600):
        base = rng.exponential(0.4, 24)
        names = ("plain", "l2") if number < 500 else ("plain", "l2", "l1")
        runs = [drawn_run(plant, name, base=base, shift=rng.normal(0, 0.06), rng=rng) for name in names]
        effects, rows = photo_effects(runs), comparison_table([run.summary for run in runs])
        said, losses = answer(rows, effects), {row.name: row.best_val_loss for row in rows}
        clear = {one.name: one for one in effects if one.p_holm < 0.05}
        for one in effects:
            assert (one.word in (BETTER, WORSE)) == (one.name in clear)
            assert (f"{one.word} in validation loss" in one.sentence) == (one.word != UNDECIDED)
            assert one.mean == pytest.approx(losses[one.name] - losses["plain"], abs=1e-5)
            if len(effects) == 1:
                assert (one.low > 0 or one.high < 0) == (one.name in clear)
        won = re.match(r"(\w+) is better here", said)
        if won is None:
            seen["open"] += 1
            assert not any(one.mean < 0 for one in clear.values())
            assert len(clear) < len(effects)
            if "can be chance" in said.split(". After")[0]:
                low, high = map(float, re.findall(r"95 % (\S+) to (\S+);", said)[0])
                assert low <= 0 <= high
            continue
        low, high = map(float, re.findall(r"95 % (\S+) to (\S+)\. ", said)[0])
        assert 0 < low <= high
        if won[1] == "plain":
            seen["control"] += 1
            assert {one.name for one in clear.values() if one.mean > 0} == set(names[1:])
        else:
            seen["better"] += 1
            assert clear[won[1]].mean < 0
            assert losses[won[1]] < losses["plain"]
        first, second = map(float, re.findall(r"(?:validation loss|\w's) (\d\.\d+) \(epoch", said)[:2])
        assert first < second
    assert min(seen.values()) > 50, seen


def test_the_last_epochs_difference_is_paired(plant) -> None:
    """`last` is SciPy's paired t-test on the last epoch's cross-entropies, not on those of the kept head."""
    from scipy import stats

    truth = [0, 1] * 6
    control, run = answering(plant, "a", truth), answering(plant, "b", truth)
    probabilities = np.array(run.history.val_probabilities)
    shifts = np.linspace(0.05, 0.3, 12)
    probabilities[1, np.arange(12), truth] -= shifts
    run.history.val_probabilities[...] = probabilities
    (found,) = photo_effects([control, run])
    own = np.exp(-0.5) - np.array([0.0] * 12)
    test = stats.ttest_rel(-np.log(own - shifts), -np.log(own))
    interval = test.confidence_interval(0.95)
    assert found.mean == 0
    assert (found.last.mean, found.last.low, found.last.high) == pytest.approx(
        (float((np.log(own) - np.log(own - shifts)).mean()), interval.low, interval.high), rel=1e-4
    )
    assert found.last.clear
