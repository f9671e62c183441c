"""The comparison in sentences: a winner only where there is one, and no two sentences that disagree."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.test_compare import PLAIN, REGULARIZED, changed, scores, summary
from analysis.test_photo_effects import answering
from imgreg.analysis.compare import comparison_table
from imgreg.analysis.comparison_answer import answer, settling_command
from imgreg.analysis.photo_effects import PhotoEffect, photo_effects
from imgreg.runs.folder import Run


def kept(name: str, loss: float, *, gap: float = 0.2):
    return summary(name, best=scores(1, 0.3, loss), last=scores(9, 0.1, 0.1 + gap))


def effect(name: str, *, mean: float, half: float, p: float, word: str = "not enough data") -> PhotoEffect:
    return PhotoEffect(
        name=name,
        control="plain",
        n_photos=40,
        mean=mean,
        low=mean - half,
        high=mean + half,
        p_holm=p,
        word=word,
        fixed=(),
        broken=(),
        p_mcnemar=1.0,
    )


def test_the_kept_heads_decide() -> None:
    """plain's kept head is better although it ends worse: plain is named, with the paired interval."""
    rows = comparison_table([kept("plain", 0.42, gap=0.6), kept("blog", 0.5, gap=0.3)])
    assert answer(rows, [effect("blog", mean=0.085, half=0.075, p=0.02)]) == (
        "plain is better here: validation loss 0.42 vs. 0.50 for blog (difference 0.09, 95 % interval 0.01 to 0.16). "
        "After the last epoch the gap to the train loss is 0.30 for blog (50 %), 0.60 for plain."
    )


def test_a_run_that_beats_the_control() -> None:
    """The difference is given without its sign, the smaller bound first."""
    rows = comparison_table([kept("plain", 0.5), kept("l2", 0.4)])
    said = answer(rows, [effect("l2", mean=-0.1, half=0.05, p=0.001)])
    assert said.startswith(
        "l2 is better here: validation loss 0.40 vs. 0.50 for plain (difference 0.10, 95 % interval 0.05"
    )


def test_undecided_says_what_would_decide() -> None:
    """Neither is named as better where the difference can be chance; with enough photos there is none that matters."""
    rows = comparison_table([kept("plain", 0.5), kept("l2", 0.45)])
    said = answer(rows, [effect("l2", mean=-0.05, half=0.1, p=0.3)])
    assert said.startswith("l2 and plain are too close to call on 40 validation photos: validation loss 0.45 vs. 0.50 ")
    assert "(difference -0.05, 95 % interval -0.15 to +0.05). To decide it, train on more splits: add" in said
    same = answer(rows, [effect("l2", mean=-0.01, half=0.02, p=0.3, word="no difference that matters")])
    assert same.startswith("No difference that matters between l2 and plain")
    assert "better" not in said + same


def test_a_clear_difference_in_accuracy_comes_before_an_unclear_one_in_loss() -> None:
    """A p value of 0.015 is clear for one run, and not for one of two."""
    rows = comparison_table([kept("plain", 0.5), kept("l2", 0.45)])
    found = effect("l2", mean=-0.05, half=0.1, p=0.3)
    found = found.model_copy(update={"fixed": tuple("abcdefghij"), "broken": ("k",), "p_mcnemar": 0.015})
    said = answer(rows, [found])
    assert said.startswith("l2 gets more photos right than plain: 10 that plain gets wrong, and the other way round 1")
    assert "(exact McNemar, p = 0.015). In loss l2 and plain are too close to call" in said
    third = comparison_table([kept("plain", 0.5), kept("l2", 0.45), kept("l1", 0.6)])
    of_two = answer(third, [found, effect("l1", mean=0.1, half=0.2, p=0.3)])
    assert of_two.startswith("l2 and plain are too close to call")


def test_an_open_comparison_has_a_command_that_settles_it() -> None:
    """The same photos and options on ten splits; nothing where the answer is clear, or finished runs were compared."""
    unclear, clear = effect("l2", mean=-0.05, half=0.1, p=0.3), effect("l2", mean=-0.05, half=0.01, p=0.001)
    command = "imgreg compare 'my pets' --recipes plain,l2 --name first --json"
    assert settling_command([unclear], command=command) == "imgreg compare 'my pets' --recipes plain,l2 --repeats 10"
    assert settling_command([clear], command=command) == ""
    assert settling_command([unclear], command="imgreg train pets") == ""


def test_of_several_the_clear_one_is_named() -> None:
    """l1 is lower, but not clearly different from the control; l2 is named, and l1 mentioned."""
    rows = comparison_table([kept("plain", 0.6), kept("l1", 0.3), kept("l2", 0.4)])
    effects = [effect("l1", mean=-0.3, half=0.5, p=0.3), effect("l2", mean=-0.2, half=0.05, p=0.001)]
    said = answer(rows, effects)
    assert said.startswith("l2 is better here: validation loss 0.40 vs. 0.60 for plain")
    assert (
        "Kept heads: l1 0.30 (epoch 1), l2 0.40 (epoch 1), plain 0.60 (epoch 1). l1's is lower, but not clearly" in said
    )


def test_runs_on_different_photos_have_no_winner() -> None:
    """Without a paired effect the losses are listed, and nothing is called better."""
    said = answer(comparison_table([PLAIN, REGULARIZED]))
    assert "cannot be compared directly" in said
    assert "better" not in said
    assert "second run" in answer(comparison_table([PLAIN]))


def test_clear_differences_are_shown_with_enough_decimals() -> None:
    """0.301 and 0.299 are shown with three digits; 0.30 vs. 0.30 with a winner would not be believed."""
    rows = comparison_table([kept("plain", 0.301), kept("l2", 0.299)])
    said = answer(rows, [effect("l2", mean=-0.002, half=0.001, p=0.001)])
    assert "validation loss 0.299 vs. 0.301 for plain (difference 0.002, 95 % interval 0.001 to 0.003)" in said


def drawn(plant, name: str, draw: np.random.Generator, *, shift: float) -> Run:
    """A run with random answers for twelve photos, scored as its summary says."""
    run = answering(plant, name, [0, 1] * 6)
    probabilities = np.array(run.history.val_probabilities)
    truth = np.array([0, 1] * 6)
    for epoch in range(2):
        right = 1 / (1 + np.exp(-draw.normal(1 + shift, 0.6, 12)))
        probabilities[epoch] = np.where(np.eye(2)[truth] > 0, right[:, None], 1 - right[:, None])
    losses = -np.log(probabilities[:, np.arange(12), truth]).mean(axis=1)
    best, last = scores(1, 0.3, float(losses[0])), scores(2, 0.2, float(losses[1]))
    history = replace(run.history, val_probabilities=probabilities.astype(np.float32))
    return replace(changed(run, best=best, kept=best, last=last), history=history)


def test_no_two_sentences_disagree(plant) -> None:
    """500 pairs of runs: the winner has the lower loss as shown, its interval excludes 0, p is below 5 %, the effect's
    word is the same, and where no winner is named none of these holds."""
    draw, seen = np.random.default_rng(7), {"better": 0, "control": 0, "open": 0}
    for _ in range(500):
        runs = [drawn(plant, name, draw, shift=shift) for name, shift in (("a", 0.0), ("b", draw.normal(0, 0.8)))]
        (found,) = photo_effects(runs)
        rows = comparison_table([run.summary for run in runs])
        said = answer(rows, [found])
        losses = {row.name: row.best_val_loss for row in rows}
        assert found.mean == pytest.approx(losses["b"] - losses["a"], abs=1e-5)
        winner = re.match(r"(a|b) is better here: validation loss ([\d.]+) vs\. ([\d.]+) for (a|b)", said)
        if winner is None:
            seen["open"] += 1
            assert not found.is_clear
            assert found.word in ("not enough data", "no difference that matters")
            more = re.match(r"(a|b) gets more photos right than", said)
            assert (more is not None) == (found.p_mcnemar < 0.025)
            assert more is None or (more[1] == "b") == (len(found.fixed) > len(found.broken))
            assert found.low <= 0 <= found.high
            continue
        name, low, high, other = winner.groups()
        seen["better" if name == "b" else "control"] += 1
        assert losses[name] < losses[other]
        assert float(low) < float(high)
        assert found.p_holm < 0.05
        assert found.low * found.high > 0
        assert found.word == ("better on these photos" if name == "b" else "worse on these photos")
        bounds = [float(x) for x in re.search(r"interval ([\d.]+) to ([\d.]+)\)", said).groups()]
        assert bounds == sorted(bounds)
    assert min(seen.values()) > 50
