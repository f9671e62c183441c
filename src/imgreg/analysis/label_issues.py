"""Which labels are likely wrong? Ranked by what heads say that never saw the photo, with what heads did that saw it.

In: probabilities out of fold, and what became of each photo in training. Out: a row a photo, the most doubtful first.
Must not know: photos, files, how the rows are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Word = Literal["contradicted", "doubtful", "agrees"]
History = Literal["learned", "memorized", "never learned", "not trained on"]

FORGOTTEN_OFTEN = 3  # times, in the mean over the trainings


class LabelRow(BaseModel):
    """One photo. `photo` is its row in the arrays that rank_labels was given.

    Attributes
    ----------
    own : float
        Probability of its own label, by heads that never saw it.
    others : float
        Probability of the most probable other class, `other`.
    own_when_trained : float or None
        Probability of its own label after the last epoch, by heads that trained on it; None if none did.
    memorization : float or None
        own_when_trained less own: what only seeing the photo itself gave.
    forgotten : float
        How often its answer went from right to wrong between two epochs, a training.
    """

    model_config = ConfigDict(frozen=True)

    photo: int
    label: str
    other: str
    own: float
    others: float
    own_when_trained: float | None
    memorization: float | None
    forgotten: float
    word: Word
    history: History


class LabelTable(BaseModel):
    """All photos, the least probable label first."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[LabelRow, ...]
    n_contradicted: int


def rank_labels(
    out_of_fold: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    own_when_trained: NDArray[np.floating],
    forgotten: NDArray[np.floating],
    classes: Sequence[str],
) -> LabelTable:
    """Rank photos by the probability of their own label among heads that never saw them.

    "contradicted": another class is as probable as it is, in the mean, for the photos that bear its label, and more
    probable than the photo's own. "doubtful": another class is more probable. Else "agrees".
    A label that the heads give only after training on the photo is "memorized"; one that they do not even then is
    "never learned".

    Parameters
    ----------
    out_of_fold : (n, n_classes)
        Rows sum to 1; the mean over the heads.
    labels : (n,) int
        The given labels, 0..n_classes-1.
    own_when_trained : (n,)
        NaN for a photo that no head trained on.
    forgotten : (n,)
        See LabelRow.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, arXiv:1911.00068 (self-confidence, and the class thresholds of confident learning);
    Feldman & Zhang 2020, arXiv:2008.03703 (memorization); Toneva et al. 2019, arXiv:1812.05159 (forgetting).
    """
    n = len(labels)
    everyone = np.arange(n)
    p = np.asarray(out_of_fold, dtype=np.float64)
    own = p[everyone, labels]
    of_others = p.copy()
    of_others[everyone, labels] = -1
    other = of_others.argmax(axis=1)
    highest = of_others.max(axis=1)
    usual = np.array([p[labels == k, k].mean() if (labels == k).any() else 1.0 for k in range(len(classes))])
    contradicted = (highest >= usual[other]) & (highest > own)
    rows = tuple(
        LabelRow(
            photo=int(i),
            label=classes[labels[i]],
            other=classes[other[i]],
            own=float(own[i]),
            others=float(highest[i]),
            own_when_trained=_number(own_when_trained[i]),
            memorization=_number(own_when_trained[i] - own[i]),
            forgotten=float(forgotten[i]),
            word="contradicted" if contradicted[i] else "doubtful" if highest[i] > own[i] else "agrees",
            history=_history(own[i], own_when_trained[i]),
        )
        for i in np.argsort(own, kind="stable")
    )
    return LabelTable(rows=rows, n_contradicted=int(contradicted.sum()))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _history(own: float, own_when_trained: float) -> History:
    if math.isnan(own_when_trained):
        return "not trained on"
    if own_when_trained <= 0.5:
        return "never learned"
    return "memorized" if own <= 0.5 else "learned"


def label_issues_answer(table: LabelTable) -> tuple[str, ...]:
    """The table in a few sentences."""
    n = len(table.rows)
    doubtful = sum(row.word != "agrees" for row in table.rows)
    memorized = sum(row.history == "memorized" for row in table.rows)
    never = sum(row.history == "never learned" for row in table.rows)
    often = sum(row.forgotten >= FORGOTTEN_OFTEN for row in table.rows)
    if table.n_contradicted:
        first = (
            f"Contradicted labels: {table.n_contradicted} of {n} ({table.n_contradicted / n:.1%}). Heads that never "
            "saw the photo are as confident of another class as of that class's own photos. Review these first."
        )
    else:
        first = f"None of the {n} labels is contradicted: no head that never saw a photo is sure of another class."
    return (
        first,
        f"Labels that differ from what those heads predict: {doubtful}. A wrong label and a hard photo look the same "
        "here: check the photo before you change a label.",
        f"History: memorized (predicted only by heads trained on the photo itself): {memorized}; never learned (not "
        f"even by those): {never}; forgotten {FORGOTTEN_OFTEN} times or more: {often}.",
    )
