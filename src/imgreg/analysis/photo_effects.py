"""How two heads differ photo by photo on the same validation photos: how much, how sure, where only one is right.

In: runs. Out: an effect a run, and the photos that change their answer. Must not know: how they are shown.
It compares these heads on these photos; repeats show what a recipe would do again (effects.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.compare import names_of
from imgreg.analysis.curves import CONFIDENCE, uncertainty
from imgreg.analysis.effects import MATTERS, holm, mcnemar
from imgreg.heads.forward import cross_entropies
from imgreg.runs.folder import Run

_Key = tuple[str, str, int]  # content, label, number among copies


class PhotoEffect(BaseModel):
    """A run's kept head against the control's, on the same validation photos.

    Attributes
    ----------
    mean, low, high : float
        Mean difference of the photos' cross-entropies in nats, below 0 the run is better, with the 95 % t-interval over
        the photos, or over the folds' means where that is wider.
    p_holm : float
        Of the difference, corrected for the number of runs.
    fixed, broken : tuple of str
        Paths of the photos that only the run, only the control gets right.
    p_mcnemar : float
        Exact McNemar, two-sided: that they err equally often.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    control: str
    n_photos: int
    mean: float
    low: float
    high: float
    p_holm: float
    word: str
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    p_mcnemar: float

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance gives, corrected for the number of runs."""
        return self.p_holm < 1 - CONFIDENCE

    @property
    def is_better(self) -> bool:
        return self.is_clear and self.mean < 0

    def is_clear_in_accuracy(self, *, n_runs: int = 1) -> bool:
        """Whether more photos change their answer one way than chance gives.

        It is a second question asked of the same photos, and of each run: the level is divided by twice their number.
        """
        return self.p_mcnemar < (1 - CONFIDENCE) / (2 * n_runs)

    @property
    def is_worse(self) -> bool:
        return self.is_clear and self.mean > 0

    @property
    def sentence(self) -> str:
        """The difference in loss, then in answers."""
        answers = (
            "The difference in accuracy is significant"
            if self.p_mcnemar < 1 - CONFIDENCE
            else "The difference in accuracy is not significant"
        )
        return (
            f"{self.name} vs. {self.control}: {self.word} in validation loss ({self.mean:+.2f}, 95 % "
            f"{self.low:+.2f} to {self.high:+.2f}). {answers}: {self.name} fixes {len(self.fixed)} photos and breaks "
            f"{len(self.broken)} (exact McNemar, p = {self.p_mcnemar:.2g})."
        )


def photo_effects(runs: Sequence[Run]) -> tuple[PhotoEffect, ...]:
    """Each run against the first, the control, where both were validated on the same photos; else nothing of it."""
    if not runs:
        return ()
    names = names_of([run.summary for run in runs])
    control = _by_photo(runs[0])
    paired = [
        (name, [(control[key], theirs[key]) for key in control])
        for name, theirs in zip(names[1:], map(_by_photo, runs[1:]), strict=True)
        if theirs.keys() == control.keys() and len(control) > 1
    ]
    measured = [
        _difference(np.array([b.loss - a.loss for a, b in pairs]), folds=np.array([a.fold for a, _ in pairs]))
        for _, pairs in paired
    ]
    corrected = holm([p for *_, p in measured])
    matters = MATTERS * float(np.mean([one.loss for one in control.values()])) if control else 0.0
    return tuple(
        PhotoEffect(
            name=name,
            control=names[0],
            n_photos=len(pairs),
            mean=mean,
            low=low,
            high=high,
            p_holm=p,
            word=_word(mean, low, high, p=p, matters=matters),
            fixed=tuple(a.path for a, b in pairs if b.right and not a.right),
            broken=tuple(a.path for a, b in pairs if a.right and not b.right),
            p_mcnemar=mcnemar([a.right for a, _ in pairs], [b.right for _, b in pairs]),
        )
        for (name, pairs), (mean, low, high, _), p in zip(paired, measured, corrected, strict=True)
    )


def _word(mean: float, low: float, high: float, *, p: float, matters: float) -> str:
    if p < 1 - CONFIDENCE:
        return "better on these photos" if mean < 0 else "worse on these photos"
    return "no difference that matters" if max(abs(low), abs(high)) <= matters else "not enough data"


def _difference(difference: NDArray[np.float64], *, folds: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Mean, low, high and p of the photos' differences.

    The photos of a fold are answered by the same two heads, and one head's luck is in all of them. So with
    cross-validation the folds' means are looked at too, and whichever leaves more room for chance is taken.
    """
    from scipy.stats import t

    mean, n = float(difference.mean()), len(difference)
    error, half = uncertainty(difference)
    means = np.array([difference[folds == fold].mean() for fold in np.unique(folds)])
    if len(means) > 1:
        of_folds, wider = uncertainty(means)
        if wider > half:
            error, half, n = of_folds, wider, len(means)
    p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return mean, mean - half, mean + half, p


class _Judged(NamedTuple):
    path: str
    right: bool
    loss: float
    fold: int


def _by_photo(run: Run) -> dict[_Key, _Judged]:
    """What the kept head makes of each validation photo, by content, label, and number among copies."""
    kept = run.history.val_probabilities[run.summary.kept_epoch - 1]
    rows = [row for row in run.split if row.on("val")]
    labels = np.array([run.summary.classes.index(row.label) for row in rows], dtype=np.int64)
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[_Key, _Judged] = {}
    losses = cross_entropies(kept, labels)
    for row, label, answer, loss in zip(rows, labels, kept.argmax(axis=1), losses, strict=True):
        seen[row.sha256, row.label] += 1
        found[row.sha256, row.label, seen[row.sha256, row.label]] = _Judged(
            row.path, bool(answer == label), float(loss), row.fold
        )
    return found
