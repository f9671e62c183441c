"""Read one run's curves: overfitting, fitting well, underfitting, or too noisy to tell.

In: a history, the validation photos' true classes, and what the features say of the photos. Out: a Verdict with its
evidence, one next step, and suspicions.
Refuses to know: the recipe, the photos, how anything is shown.
"""

from __future__ import annotations

import math

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
from imgreg.analysis.label_noise import LabelNoise
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.analysis.suspicions import suspect
from imgreg.heads.forward import cross_entropies
from imgreg.runs.history import History
from imgreg.runs.summary import Verdict

OVERFITTING = "overfitting"
FITTING_WELL = "fitting well"
UNDERFITTING = "underfitting"
TOO_NOISY = "too noisy to tell"

MIN_EPOCHS = 3  # fewer show no course
MIN_VAL_PHOTOS = 20  # with fewer, no error seen still allows an error rate of 15 % (rule of three)
MATTERS = 0.10  # a rise or fall of the validation loss that matters, as a share of its best value,
NEXT_TO_NOTHING = 0.03  # and as a share of the guessing loss
NEAR_CHANCE = 0.80  # a train loss above this share of the guessing loss has learned next to nothing
NO_BETTER = 0.95  # a validation loss above this share of the guessing loss is as good as guessing

Float64Array = NDArray[np.float64]


def judge(
    history: History,
    *,
    val_labels: NDArray[np.integer],
    duplicates: SplitDuplicates | None = None,
    noise: LabelNoise | None = None,
    cross_validated: bool = False,
) -> Verdict:
    """Say what the curves show, with the figures it rests on, and whether they can be trusted.

    val_labels   (n_val,) the true class of each validation photo, 0..n_classes-1, in val_probabilities' order
    cross_validated   whether each photo was scored by the head that did not see it: then none can be held out besides
    duplicates   which validation photos resemble a train photo; None if nobody looked. noise likewise, of the labels
    returns      one of the four labels, a sentence, a next step, the evidence, and suspicions (suspicions.py)
    raises       ValueError if the labels do not belong to the history

    The rules, tried in this order. Losses are smoothed by a running mean over a twentieth of the epochs
    (11 at most). "Rise" is the last smoothed validation loss less the lowest one. It is "clear" above a
    margin of two kinds of chance: which photos were drawn (the 95 % t-interval of the mean difference, paired
    photo by photo), and jumps from epoch to epoch (the lowest of many windows is a lucky one).

    1. a loss is not a number                                                   underfitting (came apart)
    2. under 3 epochs                                                           too noisy to tell
    3. a clear rise that matters; the train loss did not rise with it           overfitting
    4. the train loss ends above 80 % of the guessing loss                      underfitting
    5. a clear rise that matters; the train loss rose with it                   too noisy to tell (unstable)
    6. a rise that matters and is not clear                                     too noisy to tell
    7. under 20 validation photos                                               too noisy to tell
    8. both losses fell in the last fifth of the epochs, by as much as matters  underfitting (stopped early)
    9. the lowest validation loss is above 95 % of the guessing loss
       and lies in the last fifth                                               underfitting (stopped early)
       and lies before                                                          overfitting (from the start)
    10. otherwise fitting well; where the validation loss has stalled and the
       gap doubled since, the sentence says that overfitting is near.

    What matters: 10 % of the loss, and 3 % of the guessing loss. The guessing loss is the entropy of the validation
    photos' class shares: what a constant answer costs.

    source   TensorFlow's tutorial "Overfit and underfit": both metrics moving together is fine, validation
             stalling while train improves is close to overfitting, validation going the wrong way is
             overfitting; underfitting is room for improvement on the train data (too weak, too regularized or
             too short).
             Rule of three: Hanley & Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031.
             Gap: bootstrap over photos, Efron & Tibshirani 1993, chapter 13. Memorized: as Arpit et al. 2017,
             arXiv:1706.05394, who found that what generalizes is learned first.
             The thresholds (10 %, 3 %, 80 %, 95 %, a twentieth, 20 photos) are imgreg's own; benchmarks/verdict.py
             measures them on planted cases.
    """
    cross_entropy = _cross_entropy(history, val_labels=val_labels)
    train, val = history.column("train_loss"), history.column("val_loss")
    best, last = history.best, history.last
    n_val = len(val_labels)
    finite = np.isfinite(train) & np.isfinite(val)
    if not finite.all():
        broken = int(np.argmin(finite)) + 1
        return Verdict(
            label=UNDERFITTING,
            sentence=f"Training came apart: at epoch {broken} a loss is no longer a number.",
            next_step="Lower the learning rate, to a tenth for a start.",
            evidence={"n_epochs": len(train), "n_val": n_val, "broken_epoch": broken},
        )

    guessing_loss = _guessing_loss(val_labels, n_classes=history.val_probabilities.shape[2])
    half = min(len(train) // 20, 11) // 2
    smooth_train, smooth_val = running_mean(train, half=half), running_mean(val, half=half)
    gap = smooth_val - smooth_train
    lowest, end = int(np.argmin(smooth_val)), len(val) - 1
    rise = float(smooth_val[end] - smooth_val[lowest])
    difference = window_mean(cross_entropy, end, half=half) - window_mean(cross_entropy, lowest, half=half)
    error, drawn = uncertainty(difference)
    jumps = epoch_jumps(val) / math.sqrt(2 * half + 1)
    n_windows = max(len(val) / (2 * half + 1), 1)
    margin = math.hypot(drawn, 2 * jumps) + jumps * math.sqrt(2 * math.log(n_windows))
    matters = max(MATTERS * float(smooth_val[lowest]), NEXT_TO_NOTHING * guessing_loss)
    rose, clear = rise > 0 and rise >= matters, rise > margin
    train_rose = float(smooth_train[end] - smooth_train[lowest]) > 0.05 * guessing_loss
    stalled = int(np.argmax(smooth_val <= smooth_val[lowest] + matters))  # the first epoch about as good as the best
    since_fifth = max(end - max(len(val) // 5, 1), 0)

    onset = None
    if rose and clear and not train_rose:
        low = np.flatnonzero(smooth_val <= smooth_val[lowest] + 0.1 * rise)
        onset = int(low[-1]) + 2  # the epoch after the last one at the bottom, counted from 1
    gap_low, gap_high = gap_interval(cross_entropy[end], history.train_true_class)
    evidence: dict[str, float | int | None] = {
        "n_epochs": len(val),
        "n_val": n_val,
        "best_epoch": best.epoch,
        "onset_epoch": onset,
        "rise": rise,
        "rise_standard_error": error,
        "rise_margin": margin if math.isfinite(margin) else None,
        "gap_at_best": float(gap[lowest]),
        "gap_last": float(gap[end]),
        "gap_last_low": gap_low,
        "gap_last_high": gap_high,
        "val_slope": slope(val, since=since_fifth),
        "train_slope": slope(train, since=since_fifth),
        "memorized_share": memorized(history.train_true_class, best=lowest),
        "stalled_since_epoch": stalled + 1,
        "guessing_loss": guessing_loss,
        "smoothing_epochs": 2 * half + 1,
    }

    def verdict(label: str, sentence: str, next_step: str) -> Verdict:
        return Verdict(
            label=label,
            sentence=sentence,
            next_step=next_step,
            evidence=evidence,
            suspicions=suspect(history, val_labels=val_labels, duplicates=duplicates, noise=noise),
        )

    if len(val) < MIN_EPOCHS:
        few = "One epoch shows" if len(val) == 1 else f"{len(val)} epochs show"
        return verdict(
            TOO_NOISY,
            f"{few} no course yet: train loss {last.train_loss:.2f}, validation loss {last.val_loss:.2f}.",
            "Train for more epochs, 30 or so for a first look.",
        )
    course = f"the validation loss rose from {best.val_loss:.2f} (epoch {best.epoch}) to {last.val_loss:.2f}"
    if onset is not None:
        return verdict(
            OVERFITTING,
            f"Overfitting from epoch {onset} on: {course}, "
            f"while the train loss {_moved(best.train_loss, last.train_loss)}.",
            "Try augmentation, dropout, L2 or a lower learning rate (the recipe regularized has all four), "
            f"a smaller head, or more photos; the head of epoch {best.epoch} is the one kept.",
        )
    if smooth_train[end] > NEAR_CHANCE * guessing_loss:
        return verdict(
            UNDERFITTING,
            f"Underfitting: the train loss ends at {last.train_loss:.2f}, where guessing costs {guessing_loss:.2f}.",
            "Regularize less, raise the learning rate, train longer, or take a larger head.",
        )
    if rose and clear:
        return verdict(
            TOO_NOISY,
            f"Unstable rather than overfitting: {course}, and the train loss rose with it, "
            f"from {best.train_loss:.2f} to {last.train_loss:.2f}.",
            "Lower the learning rate, to a third or a tenth, and look again.",
        )
    if rose:
        return verdict(
            TOO_NOISY,
            f"Too noisy to tell: {course}, "
            + (
                f"but with {n_val} validation photos and curves this jagged {margin:.2f} can be chance."
                if math.isfinite(margin)
                else "but a single validation photo proves nothing."
            ),
            f"{'Add photos' if cross_validated else 'Hold out more photos for validation'}, or repeat with other seeds "
            "and splits.",
        )
    if n_val < MIN_VAL_PHOTOS:
        photos = "1 validation photo is" if n_val == 1 else f"{n_val} validation photos are"
        return verdict(
            TOO_NOISY,
            f"Too noisy to tell: no rise of the validation loss, but {photos} too few to go by.",
            f"{'Use' if cross_validated else 'Hold out'} at least {MIN_VAL_PHOTOS} photos for validation.",
        )
    fall = smooth_val[since_fifth] - smooth_val[end]
    train_fall = smooth_train[since_fifth] - smooth_train[end]
    least = NEXT_TO_NOTHING * guessing_loss
    if fall >= max(MATTERS * smooth_val[since_fifth], least) and train_fall >= MATTERS * smooth_train[since_fifth]:
        return verdict(
            UNDERFITTING,
            f"Stopped too early: the validation loss still fell from {val[since_fifth]:.2f} "
            f"(epoch {since_fifth + 1}) to {last.val_loss:.2f}, and the train loss with it.",
            f"Train for more epochs, {2 * len(val)} say.",
        )
    if smooth_val[lowest] > NO_BETTER * guessing_loss:
        stands = f"the validation loss is {best.val_loss:.2f} at best, where guessing costs {guessing_loss:.2f}"
        if lowest >= since_fifth:
            return verdict(
                UNDERFITTING,
                f"Stopped too early: {stands}, and that was in epoch {best.epoch} of {len(val)}.",
                f"Train for more epochs, {2 * len(val)} say.",
            )
        return verdict(
            OVERFITTING,
            f"Overfitting from the start: {stands}, while the train loss fell to {last.train_loss:.2f}.",
            "What the head learned does not hold on other photos: use more photos, ImageNet's weights, or look "
            "whether the labels are right.",
        )
    ends = f"the validation loss ends at {last.val_loss:.2f} (best {best.val_loss:.2f}, epoch {best.epoch})"
    if stalled < 0.75 * end and gap[end] > max(2 * gap[stalled], 0.15 * guessing_loss):
        return verdict(
            FITTING_WELL,
            f"Fitting well, but close to overfitting: {ends} "
            f"and has hardly improved since epoch {stalled + 1}, "
            f"while the train loss {_moved(float(train[stalled]), last.train_loss)}.",
            f"Stop near epoch {best.epoch}, or try a little more augmentation, dropout or L2, or more photos.",
        )
    return verdict(
        FITTING_WELL,
        f"Fitting well: {ends}, {abs(last.gap):.2f} {'above' if last.gap >= 0 else 'below'} the train loss.",
        "Train for more epochs: the best one was the last."
        if lowest == end
        else "Nothing to mend in the curves: for a better score try more photos or a larger image size.",
    )


def _cross_entropy(history: History, *, val_labels: NDArray[np.integer]) -> Float64Array:
    """Cross-entropy of each validation photo at each epoch, (n_epochs, n_val) float64, in nats."""
    n_epochs, n_val, n_classes = history.val_probabilities.shape
    if val_labels.shape != (n_val,) or n_epochs != len(history.epochs) or n_val == 0:
        raise ValueError(
            f"labels of shape {val_labels.shape} do not belong to {len(history.epochs)} epochs with "
            f"probabilities of shape {history.val_probabilities.shape}"
        )
    if val_labels.min() < 0 or val_labels.max() >= n_classes:
        raise ValueError(f"labels lie in {val_labels.min()}..{val_labels.max()}, expected 0..{n_classes - 1}")
    return np.stack([cross_entropies(predicted, val_labels) for predicted in history.val_probabilities])


def _guessing_loss(val_labels: NDArray[np.integer], *, n_classes: int) -> float:
    """Entropy of the class shares in nats; ln(n_classes) where only one class is present.

    >>> round(_guessing_loss(np.array([0, 0, 1, 1]), n_classes=2), 3)
    0.693
    """
    shares = np.bincount(val_labels) / len(val_labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum()) if len(shares) > 1 else math.log(n_classes)


def _moved(before: float, after: float) -> str:
    """
    >>> _moved(0.5, 0.1), _moved(0.001, 0.002)
    ('fell from 0.50 to 0.10', 'stayed at 0.00')
    """
    if f"{before:.2f}" == f"{after:.2f}":
        return f"stayed at {after:.2f}"
    return f"{'fell' if after < before else 'rose'} from {before:.2f} to {after:.2f}"
