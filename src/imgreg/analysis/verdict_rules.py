"""The rules of the verdict, each of which says what it finds in the evidence, or nothing.

References
----------
TensorFlow's tutorial "Overfit and underfit": both metrics moving together is fine, validation stalling while train
improves is close to overfitting, validation going the wrong way is overfitting; underfitting is room for improvement on
the train data. Rule of three: Hanley & Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031. The thresholds are
imgreg's own; benchmarks/verdict.py measures them on planted cases, tests/analysis/test_tutorial_runs.py on the
tutorial's published runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from imgreg.analysis.evidence import NEXT_TO_NOTHING, RISE_MATTERS, Evidence

OVERFITTING = "overfitting"
FITTING_WELL = "fitting well"
UNDERFITTING = "underfitting"
TOO_NOISY = "too noisy to tell"

MIN_EPOCHS = 3  # fewer show no course
MIN_VAL_PHOTOS = 20  # with fewer, no error seen still allows an error rate of 15 % (rule of three)
SMALL_RISE = 0.01  # a clear rise that is at least close to overfitting, as a share of the guessing loss
NEAR_CHANCE = 0.88  # a train loss above this share of the guessing loss has learned next to nothing
HARD = 0.75  # above this share it has learned little: the task is hard, or the head too small
LAG_MATTERS = 0.15  # of the guessing loss: train photos cost so much more as they are scored than while training
NO_BETTER = 0.95  # a validation loss above this share of the guessing loss is as good as guessing


class Finding(NamedTuple):
    """What a rule says."""

    label: str
    sentence: str
    next_step: str


def is_hidden_by_lag(evidence: Mapping[str, float | int | None]) -> bool:
    """Whether BatchNormalization's moving statistics lag so far behind the weights that they decide the curves.

    >>> is_hidden_by_lag({"statistics_lag": 0.5, "guessing_loss": 0.69}), is_hidden_by_lag({"guessing_loss": 0.69})
    (True, False)
    """
    lag, guessing_loss = evidence.get("statistics_lag"), evidence.get("guessing_loss")
    return lag is not None and guessing_loss is not None and lag > LAG_MATTERS * guessing_loss


def _too_few_epochs(it: Evidence) -> Finding | None:
    if len(it.val) >= MIN_EPOCHS:
        return None
    few = "One epoch shows" if len(it.val) == 1 else f"{len(it.val)} epochs show"
    return Finding(
        TOO_NOISY,
        f"{few} no course yet: train loss {it.last.train_loss:.2f}, validation loss {it.last.val_loss:.2f}.",
        "Train for more epochs, 30 or so for a first look.",
    )


def _lagging_statistics(it: Evidence) -> Finding | None:
    """The train photos cost far more as they are scored than while training, which no regularization does."""
    if not is_hidden_by_lag({"statistics_lag": it.lag, "guessing_loss": it.guessing_loss}):
        return None
    return Finding(
        TOO_NOISY,
        "BatchNormalization's moving mean and variance lag behind the weights, and hide how well the head fits: the "
        f"train loss ends at {it.last.train_loss:.2f} with them, but was {it.trained:.2f} with each batch's own, as in "
        "training.",
        "Score the head with the statistics of the train photos, --set head.batch_norm_statistics=precise, or let the "
        "moving ones follow faster, --set head.batch_norm_momentum=auto or a lower number.",
    )


def _overfitting(it: Evidence) -> Finding | None:
    """A clear rise that matters, and the train loss did not rise with it."""
    if it.onset is None:
        return None
    return Finding(
        OVERFITTING,
        f"Overfitting from epoch {it.onset} on: {it.course}, while the train loss "
        f"{_moved(it.best.train_loss, it.last.train_loss)}.",
        "Try augmentation, dropout, L2 or a lower learning rate (the recipe regularized has all four), a smaller head, "
        f"or more photos. {_kept(it)}",
    )


def _kept(it: Evidence) -> str:
    """Which head was kept, and how to keep the best one where that was not asked for."""
    other = "" if it.kept.epoch == it.best.epoch else "; --set training.keep=best keeps the best epoch's"
    return f"The head of epoch {it.kept.epoch} was kept{other}."


def _learned_nothing(it: Evidence) -> Finding | None:
    """The train loss ends above 88 % of the guessing loss."""
    if it.train_smooth[-1] <= NEAR_CHANCE * it.guessing_loss:
        return None
    return Finding(
        UNDERFITTING,
        f"Underfitting: the train loss ends at {it.last.train_loss:.2f}, where guessing costs {it.guessing_loss:.2f}.",
        "Regularize less, raise the learning rate, train longer, or use a larger head. If none of these lowers the "
        "train loss, the photos may not show the difference between the classes.",
    )


def _unstable(it: Evidence) -> Finding | None:
    """A clear rise that matters, and the train loss rose with it."""
    if not (it.matters and it.is_clear):
        return None
    return Finding(
        TOO_NOISY,
        f"Unstable rather than overfitting: {it.course}, and the train loss rose with it, from "
        f"{it.best.train_loss:.2f} to {it.last.train_loss:.2f}.",
        "Lower the learning rate, to a third or a tenth, and look again.",
    )


def _unclear_rise(it: Evidence) -> Finding | None:
    """A rise that would matter, but that chance may have made."""
    if not it.matters or not _is_large(it):
        return None
    if not math.isfinite(it.margin):
        doubt = "but a single validation photo proves nothing"
    elif it.margin_of_photos >= it.margin_of_epochs:
        doubt = f"but {it.n_val} validation photos cannot rule out chance: it may explain up to {it.margin:.2f}"
    else:
        doubt = f"but the curve jumps from epoch to epoch: chance may explain up to {it.margin:.2f}"
    return Finding(
        TOO_NOISY,
        f"Too noisy to tell: {it.course}, {doubt}. {it.certain}",
        f"{it.more_photos}, or repeat with other seeds and splits.",
    )


def _is_large(it: Evidence) -> bool:
    """Twice what a clear rise needs: a small one that is not clear is no reason to withhold a verdict."""
    least = max(2 * RISE_MATTERS * float(it.val_smooth[it.lowest]), NEXT_TO_NOTHING * it.guessing_loss)
    return it.rise >= least


def _too_few_photos(it: Evidence) -> Finding | None:
    if it.n_val >= MIN_VAL_PHOTOS:
        return None
    photos = "1 validation photo is" if it.n_val == 1 else f"{it.n_val} validation photos are"
    falling = " The validation loss was still falling at the last epoch." if it.still_falling else ""
    longer = f"Train for more epochs, about {2 * len(it.val)}. " if it.still_falling else ""
    return Finding(
        TOO_NOISY,
        f"Too noisy to tell: the validation loss did not rise, but {photos} too few to judge by.{falling} {it.certain}",
        f"{longer}{it.more_photos}; {MIN_VAL_PHOTOS} are the least.",
    )


def _stopped_early(it: Evidence) -> Finding | None:
    if not it.still_falling:
        return None
    return Finding(
        UNDERFITTING,
        f"Stopped too early: the validation loss was still falling, from {it.val[it.since_fifth]:.2f} (epoch "
        f"{it.since_fifth + 1}) to {it.last.val_loss:.2f}, and the train loss with it.",
        f"Train for more epochs, about {2 * len(it.val)}.",
    )


def _as_good_as_guessing(it: Evidence) -> Finding | None:
    """The lowest validation loss is above 95 % of the guessing loss."""
    if it.val_smooth[it.lowest] <= NO_BETTER * it.guessing_loss:
        return None
    stands = f"the validation loss is {it.best.val_loss:.2f} at best, where guessing costs {it.guessing_loss:.2f}"
    if it.lowest >= it.since_fifth:
        return Finding(
            UNDERFITTING,
            f"Stopped too early: {stands}, and that was in epoch {it.best.epoch} of {len(it.val)}.",
            f"Train for more epochs, about {2 * len(it.val)}.",
        )
    return Finding(
        OVERFITTING,
        f"Overfitting from the start: {stands}, while the train loss fell to {it.last.train_loss:.2f}.",
        "What the head learned does not carry over to other photos: use more photos or ImageNet's weights, or check "
        "the labels.",
    )


def _small_clear_rise(it: Evidence) -> Finding | None:
    """A rise too small to call overfitting, but more than chance, while the train loss fell."""
    if not it.is_clear or it.rise < SMALL_RISE * it.guessing_loss or it.train_rose:
        return None
    return Finding(
        FITTING_WELL,
        f"Fitting well, but close to overfitting: {it.course}, a small but clear rise, while the train loss "
        f"{_moved(it.best.train_loss, it.last.train_loss)}.",
        f"Stop near epoch {it.best.epoch}, or try a little more augmentation, dropout or L2, or more photos.",
    )


def _stalled(it: Evidence) -> Finding | None:
    """The validation loss has stalled: while the gap doubled, or for a quarter of the epochs while train improves."""
    gap = it.gap
    widened = it.stalled < 0.75 * it.end and gap[-1] > max(2 * gap[it.stalled], 0.15 * it.guessing_loss)
    improves = it.train_smooth[it.lowest] - it.train_smooth[-1] >= SMALL_RISE * it.guessing_loss
    if not widened and not (it.lowest < 0.75 * it.end and improves):
        return None
    since = it.stalled if widened else it.lowest
    return Finding(
        FITTING_WELL,
        f"Fitting well, but close to overfitting: {_ends(it)} and has hardly improved since epoch {since + 1}, "
        f"while the train loss {_moved(float(it.train[since]), it.last.train_loss)}.",
        f"Stop near epoch {it.best.epoch}, or try a little more augmentation, dropout or L2, or more photos.",
    )


def _hard_task(it: Evidence) -> Finding | None:
    """Train and validation loss agree and both are high: a hard task, or too small a head. The curves cannot say."""
    if it.train_smooth[-1] <= HARD * it.guessing_loss:
        return None
    return Finding(
        FITTING_WELL,
        f"Fitting well, on a hard task: {_ends(it)}, {_beside(it)}, where guessing costs {it.guessing_loss:.2f}.",
        "Both losses are high and agree: the photos hardly show the difference, labels are wrong, or the head is too "
        "small. Compare with a larger head: if its validation loss is no lower, the task is what is hard.",
    )


def _fits(it: Evidence) -> Finding | None:
    return Finding(
        FITTING_WELL,
        f"Fitting well: {_ends(it)}, {_beside(it)}.",
        "Train for more epochs: the best one was the last."
        if it.lowest == it.end
        else "The curves look healthy: for a better score try more photos or a larger image size.",
    )


RULES: tuple[Callable[[Evidence], Finding | None], ...] = (
    _too_few_epochs,
    _lagging_statistics,
    _overfitting,
    _learned_nothing,
    _unstable,
    _unclear_rise,
    _too_few_photos,
    _stopped_early,
    _as_good_as_guessing,
    _small_clear_rise,
    _stalled,
    _hard_task,
    _fits,
)


def _ends(it: Evidence) -> str:
    return f"the validation loss ends at {it.last.val_loss:.2f} (best {it.best.val_loss:.2f}, epoch {it.best.epoch})"


def _beside(it: Evidence) -> str:
    return f"{abs(it.last.gap):.2f} {'above' if it.last.gap >= 0 else 'below'} the train loss"


def _moved(before: float, after: float) -> str:
    """
    >>> _moved(0.5, 0.1), _moved(0.001, 0.002)
    ('fell from 0.50 to 0.10', 'stayed at 0.00')
    """
    if f"{before:.2f}" == f"{after:.2f}":
        return f"stayed at {after:.2f}"
    return f"{'fell' if after < before else 'rose'} from {before:.2f} to {after:.2f}"
