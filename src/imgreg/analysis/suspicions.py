"""What speaks against trusting the figures: photos in both splits, labels that look wrong, classes that can
be told apart without looking at the photos, a head that is no better than guessing, probabilities that are off.

In: a history, what was found among the photos' features, sanity baselines. Out: suspicions with their evidence and a
next step. A sentence has the form "Kind suspected: what was found."
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.label_noise import LabelNoise
from imgreg.analysis.sanity_baselines import EXPLAINS, IN_WORDS, explains
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.heads.forward import cross_entropies
from imgreg.runs.history import History
from imgreg.runs.summary import CalibrationScores, SanityBaseline, Suspicion

LEAKAGE = "leakage"
SHORTCUT = "shortcut"
LABEL_NOISE = "label noise"
GUESSING = "guessing"
MISCALIBRATION = "miscalibration"
DATA_FAULTS = (LEAKAGE, SHORTCUT)  # they make every figure of a run worthless

TWINS_MATTER = 0.05  # of the validation photos, and 2 of them
NOISE_MATTERS = 0.08  # of the labels: below it hard photos look the same
CLEAR_RATIO = 8.0  # see LabelNoise
ERROR_MATTERS = 0.15  # calibration error after temperature scaling,
MIN_CALIBRATION_PHOTOS = 100  # on this many photos: on fewer, a perfect head has a large one by chance
_SHORTCUT_STEPS = {
    "file-metadata": "Take the photos of each class from the same sources, saved at the same size and in the same "
    "format.",
    "colour-histogram": "Add photos of each class in the other's surroundings, so that background and light differ no "
    "more between the classes than within them.",
}


def suspect(
    history: History, *, val_labels: NDArray[np.integer], duplicates: SplitDuplicates | None, noise: LabelNoise | None
) -> tuple[Suspicion, ...]:
    """Find leakage and label noise.

    Leakage where 5 % of the validation photos or more have a duplicate among the train photos; label noise where 8 %
    of the labels or more look wrong, and clearly so. The shares are imgreg's own, tuned by benchmarks/verdict.py.

    Parameters
    ----------
    val_labels : (n_val,) int
    duplicates, noise : SplitDuplicates, LabelNoise
        None where they were not looked for, or could not be.
    """
    found = []
    if duplicates is not None and int(duplicates.found.sum()) >= max(2, TWINS_MATTER * len(val_labels)):
        found.append(_leakage(history, val_labels=val_labels, duplicates=duplicates))
    if noise is not None and noise.likelihood_ratio >= CLEAR_RATIO and noise.share >= NOISE_MATTERS:
        found.append(
            Suspicion(
                kind=LABEL_NOISE,
                sentence=f"Label noise suspected: about {noise.share:.0%} of the labels look wrong to a classifier "
                f"trained on all the other photos ({noise.n_photos} checked).",
                next_step="`imgreg label-issues` ranks the photos to review.",
                evidence={"share": noise.share, "likelihood_ratio": noise.likelihood_ratio, "n_photos": noise.n_photos},
            )
        )
    return tuple(found)


def suspect_result(
    sanity_baselines: Sequence[SanityBaseline],
    *,
    accuracy: float,
    largest_share: float,
    calibration: CalibrationScores | None = None,
) -> tuple[Suspicion, ...]:
    """A shortcut, where a sanity baseline accounts for much of the accuracy (sanity_baselines.explains) or, clearly
    better than a constant answer, is as good as the head by the paired interval; a head that is not clearly better than
    a constant answer; probabilities that are off after temperature scaling.

    Parameters
    ----------
    accuracy : float
        The head's, on the photos of the sanity baselines.
    largest_share : float
        Of these photos that are of the most frequent class.
    """
    found = []
    predictive = [one for one in sanity_baselines if _predicts(one, accuracy=accuracy, largest_share=largest_share)]
    if predictive:
        one = max(predictive, key=lambda it: it.accuracy)
        found.append(
            Suspicion(
                kind=SHORTCUT,
                sentence=f"Shortcut suspected: {IN_WORDS[one.name]} reach {one.accuracy:.1%} (your model "
                f"{accuracy:.1%}, always the largest class {largest_share:.1%}).",
                next_step=_SHORTCUT_STEPS[one.name],
                evidence={"accuracy": one.accuracy, "low": one.low, "high": one.high},
            )
        )
    constant = next((one for one in sanity_baselines if one.name == "majority"), None)
    if constant is not None and _as_good(constant):
        found.append(
            Suspicion(
                kind=GUESSING,
                sentence=f"Guessing suspected: your model's accuracy of {accuracy:.1%} is not clearly better than the "
                f"{constant.accuracy:.1%} of always answering the same class.",
                next_step="Add photos, or check that the photos show what distinguishes the classes.",
                evidence={"accuracy": constant.accuracy, "low": constant.low, "high": constant.high},
            )
        )
    if calibration is not None and calibration.n_photos >= MIN_CALIBRATION_PHOTOS:
        error = calibration.calibration_error_after
        if error >= ERROR_MATTERS:
            found.append(
                Suspicion(
                    kind=MISCALIBRATION,
                    sentence=f"Miscalibration suspected: its probabilities are off by {error:.0%} on average, even "
                    "after temperature scaling.",
                    next_step="Rely on the predicted class rather than on its probability, or add photos.",
                    evidence={"calibration_error": error, "n_photos": calibration.n_photos},
                )
            )
    return tuple(found)


def _predicts(one: SanityBaseline, *, accuracy: float, largest_share: float) -> bool:
    if one.name not in EXPLAINS:
        return False
    share_is_large = explains(one.name, low=one.low, largest_share=largest_share, reached=accuracy)
    return share_is_large or (one.low > largest_share and _as_good(one))


def _as_good(one: SanityBaseline) -> bool:
    difference = one.accuracy_difference
    return difference is not None and difference.low is not None and difference.low <= 0


def _leakage(history: History, *, val_labels: NDArray[np.integer], duplicates: SplitDuplicates) -> Suspicion:
    """How the validation photos with a duplicate fare at the best epoch, and the others."""
    predicted = history.val_probabilities[history.kept.epoch - 1]
    losses = cross_entropies(predicted, val_labels)
    right = predicted.argmax(axis=1) == val_labels
    n_duplicates, n_val = int(duplicates.found.sum()), len(val_labels)
    alone = ~duplicates.found
    evidence: dict[str, float | int | None] = {
        "n_duplicates": n_duplicates,
        "n_val": n_val,
        "val_loss_of_duplicates": _finite(losses[duplicates.found]),
        "val_loss_without_duplicates": _finite(losses[alone]),
        "val_accuracy_without_duplicates": _finite(right[alone]),
    }
    if alone.any():
        honest = (
            f"without them, the validation loss at the best epoch is {losses[alone].mean():.2f} instead of "
            f"{losses.mean():.2f} and the accuracy {right[alone].mean():.0%} instead of {right.mean():.0%}."
        )
    else:
        honest = "no other photo is left for validation."
    return Suspicion(
        kind=LEAKAGE,
        sentence=f"Leakage suspected: {n_duplicates} of {n_val} validation photos have a duplicate or near-duplicate "
        f"among the train photos; {honest}",
        next_step="Review the pairs in duplicates.csv and keep one of each, or put both in the same split.",
        evidence=evidence,
    )


def _finite(values: NDArray[np.floating] | NDArray[np.bool_]) -> float | None:
    mean = float(values.mean()) if len(values) else math.nan
    return mean if math.isfinite(mean) else None
