"""Does a head beat logistic regression on the same features? Paired photo by photo, with intervals and words.

In: probabilities of the head and of each baseline on the same photos, and their classes. Out: Baselines and sentences.
Must not know: features, recipes, how anything is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.curves import uncertainty
from imgreg.analysis.effects import Effect, paired_effects
from imgreg.analysis.sanity_baselines import accuracy_interval
from imgreg.analysis.study import some
from imgreg.heads.forward import cross_entropies
from imgreg.runs.summary import Baseline, Difference, RunSummary, SanityBaseline

FLATTENED = "logistic-regression-flattened"
MEANS = "logistic-regression-means"
IN_WORDS = {
    FLATTENED: "logistic regression on the same features",
    MEANS: "logistic regression on the channel means of the same features",
}


@dataclass(frozen=True)
class Predicted:
    """A baseline's probabilities of the photos that the head is scored on.

    Attributes
    ----------
    probabilities : (n, n_classes) float64
    train_loss : float
        Its mean cross-entropy on the photos that it was fitted on.
    note : str
        How it was fitted.
    """

    name: str
    probabilities: NDArray[np.float64]
    train_loss: float
    note: str


def beside_head(predicted: Predicted, *, head: ArrayLike, labels: NDArray[np.integer]) -> Baseline:
    """Score a baseline, and the head against it, on the same photos.

    Parameters
    ----------
    head : (n, n_classes)
        The head's probabilities of the same photos, in the same order.
    labels : (n,) int
        The photos' classes.
    """
    of_head, of_baseline = np.asarray(head, dtype=np.float64), predicted.probabilities
    losses = cross_entropies(of_baseline, labels)
    right = of_baseline.argmax(axis=1) == labels
    low, high = accuracy_interval(int(right.sum()), len(labels))
    return Baseline(
        name=predicted.name,
        loss=float(losses.mean()),
        train_loss=predicted.train_loss,
        accuracy=float(right.mean()),
        low=low,
        high=high,
        note=predicted.note,
        loss_difference=mean_difference(cross_entropies(of_head, labels) - losses),
        accuracy_difference=mean_difference(
            (of_head.argmax(axis=1) == labels).astype(np.float64) - right, within=(-1, 1)
        ),
    )


def paired_with(baseline: SanityBaseline, *, head_correct: NDArray[np.bool_]) -> SanityBaseline:
    """The sanity baseline with the head's accuracy less its own, where it is known on which photos it is right.

    Parameters
    ----------
    head_correct : (n,) bool
        Whether the head is right on each photo, in the baseline's order.
    """
    if not baseline.correct:
        return baseline
    difference = head_correct.astype(np.float64) - np.asarray(baseline.correct)
    paired = {"accuracy_difference": mean_difference(difference, within=(-1, 1)), "correct": ()}  # which is not kept
    return baseline.model_copy(update=paired)


def mean_difference(differences: NDArray[np.float64], *, within: tuple[float, float] = (-np.inf, np.inf)) -> Difference:
    """The mean of paired differences with its 95 % t-interval, None where one photo alone gives none.

    Parameters
    ----------
    differences : (n,) float64
        Of each photo.
    within : (float, float)
        The range of possible differences. The interval is clipped to it, which does not change how often it covers the
        true difference.

    Examples
    --------
    >>> mean_difference(np.array([0.0, 1.0, 2.0, 3.0])).low
    -0.554...
    """
    mean, half = float(differences.mean()), uncertainty(differences)[1]
    if not np.isfinite(half):
        return Difference(mean=mean, low=None, high=None)
    lowest, highest = within
    return Difference(mean=mean, low=max(mean - half, lowest), high=min(mean + half, highest))


def beating(baselines: Sequence[Baseline]) -> Baseline | None:
    """The baseline of the lowest loss among those whose loss is below the head's by their 95 % interval, if any."""
    clear = [one for one in baselines if (low := one.loss_difference.low) is not None and low > 0]
    return min(clear, key=lambda one: one.loss, default=None)


def baseline_sentence(baselines: Sequence[Baseline], *, head_loss: float) -> str:
    """The head compared with the best baseline, with the interval that decides it; empty without baselines.

    Parameters
    ----------
    head_loss : float
        The head's mean loss on the validation photos, on which the baselines are scored.
    """
    if not baselines:
        return ""
    worse = beating(baselines)
    one = worse or min(baselines, key=lambda it: it.loss)
    difference = one.loss_difference
    name = IN_WORDS.get(one.name, one.name)
    figures = f"validation loss {one.loss:.3f}, the head's {head_loss:.3f}"
    if difference.low is None or difference.high is None:
        return f"Too few photos to compare the head with {name} ({figures})."
    interval = (
        f"head minus baseline {difference.mean:+.3f}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f}"
    )
    if worse:
        return f"{name[0].upper()}{name[1:]} performs better: {figures} ({interval})."
    if difference.high < 0:
        return f"The head performs better than {name}: {figures} ({interval})."
    return f"No clear difference between the head and {name}: {figures} ({interval})."


def shared_baselines(runs: Sequence[RunSummary]) -> tuple[Baseline, ...]:
    """The baselines that all runs share, as the first run has them; else none."""
    scores = {tuple((one.name, one.loss, one.accuracy) for one in run.baselines) for run in runs}
    return runs[0].baselines if len(scores) == 1 else ()


def comparison_sentence(runs: Mapping[str, RunSummary]) -> str:
    """Which of several heads the best of their shared baselines beats, and which beat it; empty without baselines.

    Parameters
    ----------
    runs : mapping
        The name that the comparison gives a run to its summary.
    """
    shared = shared_baselines(tuple(runs.values()))
    if not shared:
        return ""
    best = min(shared, key=lambda one: one.loss)
    words: dict[str, list[str]] = {"beats": [], "is beaten by": [], "shows no clear difference from": []}
    for name, run in runs.items():
        difference = next(one.loss_difference for one in run.baselines if one.name == best.name)
        head = f"{name} ({run.kept.val_loss:.3f})"
        if difference.low is not None and difference.low > 0:
            words["beats"].append(head)
        elif difference.high is not None and difference.high < 0:
            words["is beaten by"].append(head)
        else:
            words["shows no clear difference from"].append(head)
    return _ranked_sentence(best.name, f"validation loss {best.loss:.3f}", words)


def _ranked_sentence(name: str, figure: str, words: Mapping[str, Sequence[str]]) -> str:
    parts = [f"{does} {some(names)}" for does, names in words.items() if names]
    return f"{IN_WORDS.get(name, name).capitalize()} ({figure}) {'; it '.join(parts)}."


class StudyBaseline(BaseModel):
    """A baseline over a study's repeats; means over the repeats.

    Attributes
    ----------
    low, high : float
        95 % interval of the accuracy on one repeat's test photos: repeats share photos, so it does not shrink with
        their number.
    effects : tuple of Effect
        Each recipe's test loss less the baseline's, paired by repeat: "helped" says that the recipe beats the
        baseline, "hurt" that the baseline beats the recipe.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    test_loss: float
    test_accuracy: float
    low: float
    high: float
    effects: tuple[Effect, ...]


def study_baseline(
    name: str,
    *,
    losses: Sequence[float],
    accuracies: Sequence[float],
    recipes: Mapping[str, Sequence[float]],
    n_train: float,
    n_test: float,
) -> StudyBaseline:
    """Compare each recipe with a baseline on the same repeats.

    Parameters
    ----------
    losses, accuracies : sequence of float
        The baseline's on the test photos of each repeat.
    recipes : mapping
        Recipe to its test losses of the same repeats, in the same order.
    """
    effects = paired_effects({name: losses, **recipes}, n_train=n_train, n_test=n_test)
    accuracy, n = fmean(accuracies), round(n_test)
    low, high = accuracy_interval(round(accuracy * n), n)
    return StudyBaseline(
        name=name,
        test_loss=fmean(losses),
        test_accuracy=accuracy,
        low=low,
        high=high,
        effects=effects,
    )


def study_sentence(baselines: Sequence[StudyBaseline]) -> str:
    """Which recipes the best baseline beats, and which beat it; empty without baselines."""
    if not baselines:
        return ""
    best = min(baselines, key=lambda one: one.test_loss)
    named = {word: [one.name for one in best.effects if one.word == word] for word in ("hurt", "helped")}
    words = {
        "beats": named["hurt"],
        "is beaten by": named["helped"],
        "shows no clear difference from": [one.name for one in best.effects if one.word not in named],
    }
    return _ranked_sentence(best.name, f"test loss {best.test_loss:.3f}", words)
