"""What the curves cannot be trusted for: photos in both splits, labels that look wrong.

In: a history, and what was found among the photos' features. Out: suspicions with their evidence and a next step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.label_noise import LabelNoise
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.heads.forward import cross_entropies
from imgreg.runs.history import History
from imgreg.runs.summary import Suspicion

LEAKAGE = "leakage"
LABEL_NOISE = "label noise"

TWINS_MATTER = 0.05  # of the validation photos, and 2 of them
NOISE_MATTERS = 0.08  # of the labels: below it hard photos look the same
CLEAR_RATIO = 8.0  # see LabelNoise


def suspect(
    history: History, *, val_labels: NDArray[np.integer], duplicates: SplitDuplicates | None, noise: LabelNoise | None
) -> tuple[Suspicion, ...]:
    """Leakage where 5 % of the validation photos or more have a duplicate among the train photos; label noise where 8 %
    of the labels or more look wrong, and clearly so. The shares are imgreg's own, tuned by benchmarks/verdict.py."""
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


def _leakage(history: History, *, val_labels: NDArray[np.integer], duplicates: SplitDuplicates) -> Suspicion:
    """How the validation photos with a duplicate fare at the best epoch, and the others."""
    predicted = history.val_probabilities[history.best.epoch - 1]
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
