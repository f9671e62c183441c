"""What a search for a recipe found, and whether it would be found again on photos that took no part in it.

In: losses of trials, and of the recipes that were picked, on photos outside. Out: scores with intervals, and sentences.
Must not know: how heads are trained, how the search proposes its trials, how results are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.effects import Effect, corrected_interval, paired_effects

DROP_Z = 2.0  # standard errors by which a trial must be worse than the best to be dropped (docs/log.md)
FEW_TRIALS = 40  # below which the importance of settings is hardly more than a hint

Losses = NDArray[np.float64]  # of each photo of one inner fold


class SearchTrial(BaseModel):
    """One recipe in a search.

    Attributes
    ----------
    values : dict of str to Any
        Dotted key of each setting in the space to its value.
    losses : tuple of float
        Mean test loss of each inner fold that it was trained on.
    loss : float or None
        Mean over all inner folds; of a dropped trial an estimate from those that were trained; None if it diverged.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    values: dict[str, Any]
    losses: tuple[float, ...]
    loss: float | None
    status: Literal["complete", "dropped", "diverged"]


class OuterScore(BaseModel):
    """One outer fold: what the search inside picked, and its score on the photos outside, beside the default recipe's.

    Attributes
    ----------
    picked : int
        Number of the trial with the lowest inner loss; 0 is the default recipe.
    inner_loss, inner_default_loss : float
        Of the picked and of the default recipe, as the search saw them.
    loss, default_loss, accuracy, default_accuracy : float
        Of both, trained on the photos of the search and scored on the photos outside.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    n_train: int
    n_test: int
    n_trials: int
    picked: int
    values: dict[str, Any]
    inner_loss: float
    inner_default_loss: float
    loss: float
    default_loss: float
    accuracy: float
    default_accuracy: float


class Interval(BaseModel):
    """A mean over the outer folds with its 95 % interval, corrected for the train photos that they share."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float


class NestedScore(BaseModel):
    """What tuning is worth on photos that took no part in it.

    Attributes
    ----------
    loss, default_loss, accuracy, default_accuracy : Interval
        Of the picked recipes and of the default recipe on the outer photos.
    effect : Effect
        Difference in loss, picked less default, paired by outer fold.
    inner_loss : float
        Mean of the lowest inner losses: what a search without outer folds would have reported.
    gain_inside, gain_outside : float
        By how much the picked recipes beat the default: as the searches saw it, and on the outer photos.
    optimism : float
        Gain inside less gain outside. Nested less inner loss would not do: inner folds train on fewer photos.
    """

    model_config = ConfigDict(frozen=True)

    loss: Interval
    default_loss: Interval
    accuracy: Interval
    default_accuracy: Interval
    effect: Effect
    inner_loss: float
    gain_inside: float
    gain_outside: float
    optimism: float


class RecipeSearch(BaseModel):
    """A finished search as its report takes it: the part of tune.json that is shown.

    Attributes
    ----------
    trials : tuple of SearchTrial
        Of the search on all photos, the default recipe first.
    importances : dict of str to float
        Each setting's share in what makes a trial one of the best; empty for few trials.
    settings : dict of str to tuple
        Dotted key to the default recipe's and the tuned recipe's value as typed; None where it has no effect.
    """

    model_config = ConfigDict(frozen=True)

    trials: tuple[SearchTrial, ...]
    nested: NestedScore
    outer_folds: tuple[OuterScore, ...]
    importances: dict[str, float]
    settings: dict[str, tuple[str | None, ...]]
    changes: tuple[str, ...]
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    command: str
    train_command: str


def clearly_worse(candidate: Sequence[Losses], best: Sequence[Losses], *, z: float) -> bool:
    """Whether a trial's losses on the same photos are higher by more than z standard errors of the paired difference.

    Parameters
    ----------
    candidate, best : sequence of (n,) float64
        Losses of the photos of each inner fold so far.

    Examples
    --------
    >>> clearly_worse([np.array([0.5, 0.9, 0.7])], [np.array([0.1, 0.4, 0.2])], z=2)
    True
    >>> clearly_worse([np.array([0.5, 0.1, 0.7])], [np.array([0.1, 0.9, 0.2])], z=2)
    False
    """
    difference = np.concatenate(candidate) - np.concatenate(best)
    return bool(difference.mean() > z * difference.std(ddof=1) / math.sqrt(len(difference)))


def estimated_loss(candidate: Sequence[Losses], best: Sequence[Losses]) -> float:
    """The mean over all folds to be expected of a dropped trial: the best trial's, and the paired difference so far.

    >>> estimated_loss([np.array([0.5, 0.7])], [np.array([0.1, 0.3]), np.array([0.4])])
    0.7
    """
    behind = fmean(float((ours - theirs).mean()) for ours, theirs in zip(candidate, best, strict=False))
    return round(fmean(float(fold.mean()) for fold in best) + behind, 12)


def best_trial(trials: Sequence[SearchTrial]) -> SearchTrial:
    """The complete trial of the lowest loss; the earlier one of equals."""
    return min((one for one in trials if one.status == "complete"), key=_loss)


def best_so_far(trials: Sequence[SearchTrial]) -> list[float]:
    """The lowest loss of a complete trial up to each trial."""
    losses = [_loss(one) if one.status == "complete" else math.inf for one in trials]
    return [min(losses[: i + 1]) for i in range(len(losses))]


def _loss(trial: SearchTrial) -> float:
    return math.inf if trial.loss is None else trial.loss


def nested_score(folds: Sequence[OuterScore], *, default: str) -> NestedScore:
    """Score the search itself, from two outer folds or more.

    Parameters
    ----------
    default : str
        Name of the default recipe.
    """
    n_train, n_test = fmean(one.n_train for one in folds), fmean(one.n_test for one in folds)

    def interval(figure: str, *, highest: float) -> Interval:
        values = [getattr(one, figure) for one in folds]
        mean, low, high = corrected_interval(values, n_train=n_train, n_test=n_test)
        return Interval(mean=mean, low=max(low, 0.0), high=min(high, highest))

    (effect,) = paired_effects(
        {default: [one.default_loss for one in folds], "tuned": [one.loss for one in folds]},
        n_train=n_train,
        n_test=n_test,
    )
    loss, default_loss = interval("loss", highest=math.inf), interval("default_loss", highest=math.inf)
    inside = fmean(one.inner_default_loss - one.inner_loss for one in folds)
    outside = default_loss.mean - loss.mean
    return NestedScore(
        loss=loss,
        default_loss=default_loss,
        accuracy=interval("accuracy", highest=1.0),
        default_accuracy=interval("default_accuracy", highest=1.0),
        effect=effect,
        inner_loss=fmean(one.inner_loss for one in folds),
        gain_inside=inside,
        gain_outside=outside,
        optimism=inside - outside,
    )


def tune_answer(nested: NestedScore, *, changes: Sequence[str]) -> tuple[str, ...]:
    """The result in sentences: whether tuning helped, how much of what the search saw was luck, what it hands over.

    Parameters
    ----------
    changes : sequence of str
        What the recipe of the search on all photos changes of the default recipe; none where that one is the best.
    """
    default, effect = nested.effect.control, nested.effect
    figures = (
        f"test loss {nested.loss.mean:.3f} vs. {nested.default_loss.mean:.3f} for {default} (difference "
        f"{effect.mean:+.3f}, 95 % interval {effect.low:+.3f} to {effect.high:+.3f}, {effect.n_repeats} outer folds)"
    )
    first = {
        "helped": f"Tuning helped, on photos that took no part in it: {figures}.",
        "hurt": f"Tuning hurt, on photos that took no part in it: {figures}.",
        "no difference that matters": f"Tuning made no difference that matters: {figures}.",
        "not enough data": f"Not enough data to tell whether tuning helped: {figures}; these outer folds can detect "
        f"a difference of {effect.detectable:.3f}.",
    }[effect.word]
    optimism = (
        f"Inside the searches the recipes that they picked looked {nested.gain_inside:.3f} better than {default}; "
        f"outside they are {abs(nested.gain_outside):.3f} {'better' if nested.gain_outside >= 0 else 'worse'}. The "
        f"optimism of the search is {nested.optimism:+.3f}."
    )
    if not changes:
        return first, optimism, f"On all photos the search found nothing better than {default}, the final recipe."
    advice = "" if effect.word == "helped" else f" {default} is as safe a choice until you have more photos."
    if effect.word == "hurt":
        advice = f" Keep {default}."
    return first, optimism, f"The recipe found on all photos has {', '.join(changes)}.{advice}"


def changed_settings(default: Mapping[str, str], tuned: Mapping[str, str]) -> tuple[str, ...]:
    """Settings that differ, in words; both map dotted keys to values as they are typed, those without effect left out.

    >>> changed_settings({"head.dropout": "0.7", "head.l2": "0.02"}, {"head.dropout": "0.5", "head.units": "[64]"})
    ('dropout 0.5 instead of 0.7', 'no l2 (0.02)', 'units [64]')
    """
    lines = []
    for key in dict.fromkeys((*default, *tuned)):
        name = key.rpartition(".")[2].replace("_", " ")
        if key.startswith("augmentation."):
            name = f"augmentation {name}"
        ours, theirs = tuned.get(key), default.get(key)
        if ours is None:
            lines.append(f"no {name} ({theirs})")
        elif theirs is None:
            lines.append(f"{name} {ours}")
        elif ours != theirs:
            lines.append(f"{name} {ours} instead of {theirs}")
    return tuple(lines)
