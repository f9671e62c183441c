"""A head against logistic regression on the same photos: the sentence is the one that the interval allows."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from imgreg.analysis.baselines import (
    FLATTENED,
    MEANS,
    Predicted,
    baseline_sentence,
    beating,
    beside_head,
    comparison_sentence,
    mean_difference,
    shared_baselines,
    study_baseline,
    study_sentence,
)
from imgreg.runs.summary import Baseline, RunSummary, Scores


def answers(right: np.ndarray, *, sure: float) -> np.ndarray:
    """Probabilities of two classes, the labels 0, 1, 0, 1...; where not right, as sure of the other."""
    labels = np.arange(len(right)) % 2
    of_truth = np.where(right, sure, 1 - sure)
    p = np.empty((len(right), 2))
    p[np.arange(len(right)), labels], p[np.arange(len(right)), 1 - labels] = of_truth, 1 - of_truth
    return p


def pair(*, n: int = 100, head: float, baseline: float, name: str = FLATTENED, seed: int = 0) -> tuple[Baseline, float]:
    """A baseline beside a head, each right on so large a share of n photos, independently; and the head's loss."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    of_head, of_baseline = (answers(draw.random(n) < share, sure=0.8) for share in (head, baseline))
    found = beside_head(Predicted(name, of_baseline, 0.2, "C = 1."), head=of_head, labels=labels)
    return found, float(-np.log(of_head[np.arange(n), labels]).mean())


def test_differences_are_the_heads_less_the_baselines() -> None:
    """Four photos by hand: losses, accuracies, and the t-interval of the paired differences."""
    of_baseline = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6]])
    of_head = np.array([[0.6, 0.4], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    labels = np.array([0, 1, 0, 1])
    found = beside_head(Predicted(MEANS, of_baseline, 0.2, "note"), head=of_head, labels=labels)
    differences = np.log(np.array([0.5, 0.8, 0.9, 0.6]) / np.array([0.6, 0.6, 0.3, 0.5]))
    assert found.loss_difference.mean == pytest.approx(differences.mean())
    half = 3.182446305284263 * differences.std(ddof=1) / 2  # t, 3 degrees of freedom
    assert found.loss_difference.low == pytest.approx(differences.mean() - half)
    assert found.loss_difference.high == pytest.approx(differences.mean() + half)
    assert (found.accuracy, found.accuracy_difference.mean) == (1.0, -0.5)


def test_a_difference_of_accuracies_stays_within_one() -> None:
    """Two photos, one of which only the head gets right: the t-interval of the accuracies, -5.85 to 6.85, is clipped
    to what a difference can be; that of the losses is not."""
    head, baseline = answers(np.array([True, True]), sure=0.8), answers(np.array([True, False]), sure=0.8)
    found = beside_head(Predicted(MEANS, baseline, 0.2, ""), head=head, labels=np.array([0, 1]))
    assert (found.accuracy_difference.low, found.accuracy_difference.high) == (-1, 1)
    assert found.loss_difference.low is not None
    assert found.loss_difference.low < -1


def test_one_photo_gives_no_interval() -> None:
    """With a single photo nothing is claimed, and the JSON has no infinity."""
    assert mean_difference(np.array([0.3])).low is None
    one, loss = pair(n=1, head=0.0, baseline=1.0)
    assert beating([one]) is None
    assert baseline_sentence([one], head_loss=loss).startswith("Too few photos to compare")


@pytest.mark.parametrize(
    ("head", "baseline", "says"),
    [
        (0.6, 0.9, "Logistic regression on the same features performs better: validation loss"),
        (0.9, 0.6, "The head performs better than logistic regression on the same features"),
        (0.8, 0.8, "No clear difference between the head and logistic regression"),
    ],
)
def test_the_sentence_is_what_the_interval_says(head: float, baseline: float, says: str) -> None:
    """Better, worse or no clear difference, with the figures that the report's table has."""
    one, loss = pair(head=head, baseline=baseline)
    told = baseline_sentence([one], head_loss=loss)
    assert told.startswith(says)
    assert f"validation loss {one.loss:.3f}, the head's {loss:.3f}" in told
    assert f"{one.loss_difference.mean:+.3f}, 95 % interval {one.loss_difference.low:+.3f}" in told
    assert (beating([one]) is one) == (head < baseline)


def test_a_clear_baseline_is_named_before_a_better_unclear_one() -> None:
    """Of two baselines the one whose interval decides is named, even if the other's mean is lower."""
    clear, loss = pair(head=0.6, baseline=0.9, name=MEANS)
    unclear = clear.model_copy(
        update={
            "name": FLATTENED,
            "loss": clear.loss - 0.1,
            "loss_difference": clear.loss_difference.model_copy(update={"low": -0.1}),
        }
    )
    assert beating([unclear, clear]) is clear
    assert "channel means" in baseline_sentence([unclear, clear], head_loss=loss)


@pytest.mark.parametrize(
    "damage", [{"accuracy": 1.5}, {"low": float("nan")}, {"loss_difference": {"mean": 0.1, "low": -1e308, "high": 0.2}}]
)
def test_figures_that_cannot_be_are_refused(damage: dict) -> None:
    """A damaged metrics.json is reported as such, and never drawn."""
    document = pair(head=0.6, baseline=0.9)[0].model_dump()
    assert Baseline.model_validate(document)
    with pytest.raises(ValidationError, match=next(iter(damage))):
        Baseline.model_validate(document | damage)


def test_without_baselines_nothing_is_said() -> None:
    """A run of an older imgreg."""
    assert baseline_sentence([], head_loss=0.5) == ""
    assert comparison_sentence({}) == study_sentence([]) == ""


def test_a_comparison_names_which_heads_are_beaten() -> None:
    """Once for all runs; runs beside other baselines share none."""
    beaten, _ = pair(head=0.6, baseline=0.9)
    better = beaten.model_copy(
        update={"loss_difference": beaten.loss_difference.model_copy(update={"low": -0.4, "high": -0.2})}
    )
    best = Scores(epoch=3, train_loss=0.3, train_accuracy=0.9, val_loss=0.5, val_accuracy=0.8, gap=0.2)
    summary = RunSummary.model_construct(best=best, kept=best)
    runs = {
        "a": summary.model_copy(update={"baselines": (beaten,)}),
        "b": summary.model_copy(update={"baselines": (better,)}),
    }
    assert shared_baselines(tuple(runs.values())) == (beaten,)
    told = comparison_sentence(runs)
    assert told == (
        f"Logistic regression on the same features (validation loss {beaten.loss:.3f}) beats a (0.500); it is "
        "beaten by b (0.500)."
    )
    other = beaten.model_copy(update={"loss": 9.0})
    assert shared_baselines((runs["a"], summary.model_copy(update={"baselines": (other,)}))) == ()


def test_a_study_pairs_recipes_with_the_baseline_by_repeat() -> None:
    """The effect is recipe less baseline, and the sentence goes by its word."""
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 8))
    found = study_baseline(
        MEANS,
        losses=(0.4 + noise[0]).tolist(),
        accuracies=[0.8] * 8,
        recipes={"plain": (0.6 + noise[1]).tolist(), "good": (0.3 + noise[2]).tolist()},
        n_train=200,
        n_test=50,
    )
    assert [one.word for one in found.effects] == ["hurt", "helped"]
    assert found.effects[0].mean == pytest.approx(0.2 + (noise[1] - noise[0]).mean())
    assert (found.effects[0].control, found.test_loss) == (MEANS, pytest.approx(0.4, abs=0.02))
    told = study_sentence([found, found.model_copy(update={"name": FLATTENED, "test_loss": 0.5})])
    assert told.endswith(f"(test loss {found.test_loss:.3f}) beats plain; it is beaten by good.")
