"""The figures that a verdict rests on, worked out of one run's history.

In: a history and the validation photos' true classes. Out: an Evidence value, and its figures for metrics.json. Must
not know: what is concluded from them.

Losses are smoothed by a running mean over a twentieth of the epochs (11 at most). "Rise" is the last smoothed
validation loss less the lowest one. It is clear above a margin of two kinds of chance: which photos were drawn (the
95 % t-interval of the mean difference, paired photo by photo), and jumps from epoch to epoch (the lowest of many
windows is a lucky one). The guessing loss is the entropy of the validation photos' class shares: what a constant answer
costs.

References
----------
Gap: bootstrap over photos, Efron & Tibshirani 1993, chapter 13. Memorized: as Arpit et al. 2017, arXiv:1706.05394.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.curves import (
    epoch_jumps,
    gap_interval,
    memorized,
    running_mean,
    slope,
    uncertainty,
    window_mean,
)
from imgreg.heads.forward import cross_entropies
from imgreg.runs.history import Epoch, History

RISE_MATTERS = 0.05  # a clear rise of the validation loss that is overfitting, as a share of its best value,
FALL_MATTERS = 0.10  # a fall in the last fifth of the epochs after which training was stopped too early,
NEXT_TO_NOTHING = 0.03  # and the least of both as a share of the guessing loss

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """The figures that the rules look at. Losses in nats; smoothed ones end in _smooth; rows are counted from 0."""

    train: Float64Array
    val: Float64Array
    train_smooth: Float64Array
    val_smooth: Float64Array
    best: Epoch
    kept: Epoch
    last: Epoch
    n_val: int
    cross_validated: bool
    guessing_loss: float
    lowest: int  # row of the lowest smoothed validation loss
    rise: float
    rise_error: float | None
    margin: float
    margin_of_photos: float  # the part of the margin that comes from the photos drawn,
    margin_of_epochs: float  # and the one that comes from jumps between epochs
    train_rose: bool
    trained: float  # what the train photos cost at the end while training, without the weight penalty
    lag: float | None  # by how much they cost more as they are scored; None without moving statistics
    stalled: int  # the first row about as good as the best
    since_fifth: int  # the row where the last fifth begins
    gap_interval: tuple[float | None, float | None]

    @property
    def end(self) -> int:
        return len(self.val) - 1

    @property
    def gap(self) -> Float64Array:
        return self.val_smooth - self.train_smooth

    @property
    def is_clear(self) -> bool:
        """Whether the rise is more than chance gives."""
        return self.rise > self.margin

    @property
    def matters(self) -> bool:
        """Whether the rise, if it is real, is large enough to call overfitting."""
        least = max(RISE_MATTERS * float(self.val_smooth[self.lowest]), NEXT_TO_NOTHING * self.guessing_loss)
        return self.rise > 0 and self.rise >= least

    @property
    def onset(self) -> int | None:
        """The epoch after the last one at the bottom, counted from 1; None without overfitting."""
        if not (self.matters and self.is_clear) or self.train_rose:
            return None
        low = np.flatnonzero(self.val_smooth <= self.val_smooth[self.lowest] + 0.1 * self.rise)
        return int(low[-1]) + 2

    @property
    def still_falling(self) -> bool:
        """Whether both losses fell in the last fifth of the epochs by as much as matters."""
        val, train = self.val_smooth, self.train_smooth
        least = NEXT_TO_NOTHING * self.guessing_loss
        val_fell = val[self.since_fifth] - val[-1] >= max(FALL_MATTERS * val[self.since_fifth], least)
        train_fell = train[self.since_fifth] - train[-1] >= FALL_MATTERS * train[self.since_fifth]
        return bool(val_fell and train_fell)

    @property
    def course(self) -> str:
        """The validation loss from its best epoch to its last, in words."""
        return (
            f"the validation loss rose from {self.best.val_loss:.2f} (epoch {self.best.epoch}) to "
            f"{self.last.val_loss:.2f}"
        )

    @property
    def certain(self) -> str:
        """What is sure although the photos are few: the train loss, and the gap with its interval."""
        low, high = self.gap_interval
        bounds = "" if low is None or high is None else f" (95 % interval {low:.2f} to {high:.2f})"
        return f"What is certain: the train loss is {self.last.train_loss:.2f}, the gap {self.last.gap:.2f}{bounds}."

    @property
    def more_photos(self) -> str:
        """How to have more photos to validate on."""
        if self.cross_validated:
            return "Add photos"
        return "Validate on more photos: --folds 5 scores every photo, or raise --val-fraction"


def gather_evidence(
    history: History,
    *,
    val_labels: NDArray[np.integer],
    cross_validated: bool = False,
    moving_statistics: bool = False,
) -> Evidence:
    """Work out the figures from a history without NaN or infinity. Parameters as in `verdict.judge`."""
    cross_entropy = np.stack([cross_entropies(predicted, val_labels) for predicted in history.val_probabilities])
    train, val = history.column("train_loss"), history.column("val_loss")
    guessing_loss = _guessing_loss(val_labels, n_classes=history.val_probabilities.shape[2])
    half = _half_window(len(train))
    train_smooth, val_smooth = running_mean(train, half=half), running_mean(val, half=half)
    lowest, end = int(np.argmin(val_smooth)), len(val) - 1
    difference = window_mean(cross_entropy, end, half=half) - window_mean(cross_entropy, lowest, half=half)
    error, drawn = uncertainty(difference)
    jumps = epoch_jumps(val) / math.sqrt(2 * half + 1)
    since_fifth = max(end - max(len(val) // 5, 1), 0)
    trained = float((history.column("objective") - history.column("weight_penalty"))[since_fifth:].mean())
    luckiest = jumps * math.sqrt(2 * math.log(max(len(val) / (2 * half + 1), 1)))
    stall = max(FALL_MATTERS * float(val_smooth[lowest]), NEXT_TO_NOTHING * guessing_loss)
    return Evidence(
        train=train,
        val=val,
        train_smooth=train_smooth,
        val_smooth=val_smooth,
        best=history.best,
        kept=history.kept,
        last=history.last,
        n_val=len(val_labels),
        cross_validated=cross_validated,
        guessing_loss=guessing_loss,
        lowest=lowest,
        rise=float(val_smooth[end] - val_smooth[lowest]),
        rise_error=error,
        margin=math.hypot(drawn, 2 * jumps) + luckiest,
        margin_of_photos=drawn,
        margin_of_epochs=2 * jumps + luckiest,
        train_rose=float(train_smooth[end] - train_smooth[lowest]) > 0.05 * guessing_loss,
        trained=trained,
        lag=float(train[since_fifth:].mean()) - trained if moving_statistics else None,
        stalled=int(np.argmax(val_smooth <= val_smooth[lowest] + stall)),
        since_fifth=since_fifth,
        gap_interval=gap_interval(cross_entropy[end], history.train_true_class),
    )


def _half_window(n_epochs: int) -> int:
    return min(n_epochs // 20, 11) // 2


def evidence_figures(it: Evidence, history: History) -> dict[str, float | int | None]:
    """The evidence as a run's metrics.json has it."""
    low, high = it.gap_interval
    return {
        "n_epochs": len(it.val),
        "n_val": it.n_val,
        "best_epoch": it.best.epoch,
        "onset_epoch": it.onset,
        "rise": it.rise,
        "rise_standard_error": it.rise_error,
        "rise_margin": it.margin if math.isfinite(it.margin) else None,
        "gap_at_best": float(it.gap[it.lowest]),
        "gap_last": float(it.gap[it.end]),
        "gap_last_low": low,
        "gap_last_high": high,
        "val_slope": slope(it.val, since=it.since_fifth),
        "train_slope": slope(it.train, since=it.since_fifth),
        "memorized_share": memorized(history.train_true_class, best=it.lowest),
        "stalled_since_epoch": it.stalled + 1,
        "statistics_lag": it.lag,
        "guessing_loss": it.guessing_loss,
        "smoothing_epochs": 2 * _half_window(len(it.val)) + 1,
    }


def refuse_other_labels(history: History, val_labels: NDArray[np.integer]) -> None:
    """Raise ValueError for labels that do not belong to the history."""
    n_epochs, n_val, n_classes = history.val_probabilities.shape
    if val_labels.shape != (n_val,) or n_epochs != len(history.epochs) or n_val == 0:
        raise ValueError(
            f"labels of shape {val_labels.shape} do not belong to {len(history.epochs)} epochs with "
            f"probabilities of shape {history.val_probabilities.shape}"
        )
    if val_labels.min() < 0 or val_labels.max() >= n_classes:
        raise ValueError(f"labels lie in {val_labels.min()}..{val_labels.max()}, expected 0..{n_classes - 1}")


def _guessing_loss(val_labels: NDArray[np.integer], *, n_classes: int) -> float:
    """Entropy of the class shares in nats; ln(n_classes) where only one class is present.

    >>> round(_guessing_loss(np.array([0, 0, 1, 1]), n_classes=2), 3)
    0.693
    """
    shares = np.bincount(val_labels) / len(val_labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum()) if len(shares) > 1 else math.log(n_classes)
