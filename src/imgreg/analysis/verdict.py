"""Read one run's curves: overfitting, fitting well, underfitting, or too noisy to tell.

In: a history, the validation photos' true classes, and what the features say of the photos. Out: a Verdict with its
evidence, one next step, and suspicions.
Must not know: the recipe, the photos, how anything is shown.

The first rule of verdict_rules.py that applies decides. The figures that the rules use are computed in evidence.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.evidence import (
    evidence_figures,
    gather_evidence,
    refuse_other_labels,
)
from imgreg.analysis.label_noise import LabelNoise
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.analysis.suspicions import suspect
from imgreg.analysis.verdict_rules import RULES, UNDERFITTING
from imgreg.runs.history import History
from imgreg.runs.summary import Verdict


def judge(
    history: History,
    *,
    val_labels: NDArray[np.integer],
    duplicates: SplitDuplicates | None = None,
    noise: LabelNoise | None = None,
    cross_validated: bool = False,
    moving_statistics: bool = False,
) -> Verdict:
    """Say what the curves show, with the figures it rests on, and whether they can be trusted.

    Parameters
    ----------
    val_labels : (n_val,) int
        The true class of each validation photo, 0..n_classes-1, in val_probabilities' order.
    duplicates : SplitDuplicates, optional
        Which validation photos resemble a train photo.
    noise : LabelNoise, optional
        How many labels look wrong.
    cross_validated : bool
        Whether each photo was scored by the head that never saw it: then no more can be held out.
    moving_statistics : bool
        Whether the head is scored by BatchNormalization's moving mean and variance.

    Raises
    ------
    ValueError
        If the labels do not belong to the history.
    """
    refuse_other_labels(history, val_labels)
    train, val = history.column("train_loss"), history.column("val_loss")
    finite = np.isfinite(train) & np.isfinite(val)
    if not finite.all():
        broken = int(np.argmin(finite)) + 1
        return Verdict(
            label=UNDERFITTING,
            sentence=f"Training diverged: the loss became NaN or infinite at epoch {broken}.",
            next_step="Lower the learning rate, to a tenth for a start.",
            evidence={"n_epochs": len(train), "n_val": len(val_labels), "broken_epoch": broken},
        )
    it = gather_evidence(
        history,
        val_labels=val_labels,
        cross_validated=cross_validated,
        moving_statistics=moving_statistics,
    )
    found = next(finding for rule in RULES if (finding := rule(it)) is not None)
    return Verdict(
        label=found.label,
        sentence=found.sentence,
        next_step=found.next_step,
        evidence=evidence_figures(it, history),
        suspicions=suspect(history, val_labels=val_labels, duplicates=duplicates, noise=noise),
    )
