"""How two heads differ photo by photo on the same validation photos: how much, how sure, who mends what.

In: runs. Out: an effect a run, and the photos that change sides. Refuses to know: how they are shown.
It speaks of these heads on these photos; what a recipe would do again, repeats tell (effects.py).
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

BETTER, WORSE = "better on these photos", "worse on these photos"
NO_DIFFERENCE, UNDECIDED = "no difference that matters", "not enough data"

_Key = tuple[str, str, int]  # content, label, number among copies


class EndDifference(BaseModel):
    """As mean, low, high and p_holm of a PhotoEffect, of the heads as they stood after the last epoch."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float
    p_holm: float

    @property
    def clear(self) -> bool:
        return self.p_holm < 1 - CONFIDENCE


class PhotoEffect(BaseModel):
    """A run's kept head against the control's, on the same validation photos.

    mean, low, high   mean difference of the photos' cross-entropies in nats, below 0 the run is better, with the 95 %
                      t-interval over the photos
    p_holm            of the difference, corrected for the number of runs
    fixed, broken     paths of the photos that only the run, only the control gets right
    p_mcnemar         exact McNemar, two-sided: that they err equally often
    last              the difference after the last epoch, whatever head was kept
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
    last: EndDifference

    @property
    def sentence(self) -> str:
        told = "more than chance" if self.p_mcnemar < 1 - CONFIDENCE else "a difference that can be chance"
        of_loss = "not enough data to tell whose" if self.word == UNDECIDED else f"{self.word} in"
        lower = f"{of_loss} validation loss{' is lower' if self.word == UNDECIDED else ''}"
        return (
            f"{self.name} against {self.control}: {lower} ({interval_text(self)}). Counted by "
            f"right answers, {self.name} gets {len(self.fixed)} photos right that {self.control} gets wrong, and "
            f"{len(self.broken)} the other way round: {told} (exact McNemar, p = {self.p_mcnemar:.2g})."
        )


def interval_text(effect: PhotoEffect) -> str:
    """The difference with its interval, to as many digits as tell an end of it from 0."""
    digits = shown_digits(effect.mean, effect.low, effect.high)
    mean, low, high = (_signed(value, digits=digits) for value in (effect.mean, effect.low, effect.high))
    return f"{mean}, 95 % {low} to {high}"


def shown_digits(mean: float, low: float, high: float) -> int:
    """Digits that show on which side of 0 an interval lies, 2 at least.

    >>> shown_digits(-0.05, -0.1, 0.01), shown_digits(0.02, 0.0004, 0.04)
    (2, 4)
    """
    digits = 2
    while low * high > 0 and digits < 6 and round(min(abs(low), abs(high), abs(mean)), digits) == 0:
        digits += 1
    return digits


def _signed(value: float, *, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


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
    measured = [_difference([(a.loss, b.loss) for a, b in pairs]) for _, pairs in paired]
    corrected = holm([p for *_, p in measured])
    at_end = [_difference([(a.last_loss, b.last_loss) for a, b in pairs]) for _, pairs in paired]
    last = [
        EndDifference(mean=mean, low=low, high=high, p_holm=p)
        for (mean, low, high, _), p in zip(at_end, holm([p for *_, p in at_end]), strict=True)
    ]
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
            last=at_its_end,
        )
        for (name, pairs), (mean, low, high, _), p, at_its_end in zip(paired, measured, corrected, last, strict=True)
    )


def _word(mean: float, low: float, high: float, *, p: float, matters: float) -> str:
    if p < 1 - CONFIDENCE:
        return BETTER if mean < 0 else WORSE
    return NO_DIFFERENCE if max(abs(low), abs(high)) <= matters else UNDECIDED


def _difference(losses: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """mean, low, high, p of the second less the first"""
    from scipy.stats import t

    difference: NDArray[np.float64] = np.array([theirs - ours for ours, theirs in losses])
    mean = float(difference.mean())
    error, half = uncertainty(difference)
    p = float(2 * t.sf(abs(mean) / error, len(difference) - 1)) if error else float(mean == 0)
    return mean, mean - half, mean + half, p


class _Judged(NamedTuple):
    path: str
    right: bool
    loss: float
    last_loss: float


def _by_photo(run: Run) -> dict[_Key, _Judged]:
    """What the kept head makes of each validation photo, by content, label, and number among copies; and the last
    epoch's loss."""
    kept = run.history.val_probabilities[run.summary.best_epoch - 1]
    rows = [row for row in run.split if row.on("val")]
    labels = np.array([run.summary.classes.index(row.label) for row in rows], dtype=np.int64)
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[_Key, _Judged] = {}
    losses, last_losses = cross_entropies(kept, labels), cross_entropies(run.history.val_probabilities[-1], labels)
    for row, label, answer, loss, last in zip(rows, labels, kept.argmax(axis=1), losses, last_losses, strict=True):
        seen[row.sha256, row.label] += 1
        found[row.sha256, row.label, seen[row.sha256, row.label]] = _Judged(
            row.path, bool(answer == label), float(loss), float(last)
        )
    return found
