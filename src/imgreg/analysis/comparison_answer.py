"""The comparison of runs in a few sentences: whose kept head is better here, how sure that is, and what became of the
gap.

In: a comparison's rows and effects. Out: a text. Refuses to know: how it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from imgreg.analysis.compare import ComparisonRow
from imgreg.analysis.curves import CONFIDENCE
from imgreg.analysis.photo_effects import BETTER, NO_DIFFERENCE, WORSE, PhotoEffect, interval_text, shown_digits


def answer(rows: Sequence[ComparisonRow], effects: Sequence[PhotoEffect] = ()) -> str:
    """Say which kept head is better on these photos, and what happened to it and the control by the last epoch.

    The kept heads are those of the best epochs, so their validation losses decide, by the paired difference with its
    interval. Runs that share no validation photos with the control are not called better or worse.

    Parameters
    ----------
    rows : sequence of ComparisonRow
        The first is the control.
    effects : sequence of PhotoEffect
        Of the runs that can be paired with it, under the names that the rows have.
    """
    control, *others = rows
    if not others:
        return f"Only {control.name}: give a second run to compare it with."
    paired = {effect.name: effect for effect in effects}
    compared = [row for row in others if row.name in paired]
    if not compared:
        nearest = min(others, key=_best_loss)
        return " ".join((_unpaired(nearest, control), _last_epochs(nearest, control), *_all_losses(rows)))
    better = [row for row in compared if paired[row.name].word == BETTER]
    undecided = [row for row in compared if paired[row.name].word not in (BETTER, WORSE)]
    chosen = min(better or undecided or compared, key=_best_loss)
    effect = paired[chosen.name]
    if better:
        said = f"{_better(chosen, control, effect)}{_lower_still(chosen, undecided)}"
    elif undecided:
        said = _undecided(chosen, control, effect, n_compared=len(compared))
    else:
        said = _better(control, chosen, effect, than_all=len(compared) > 1)
    return " ".join((said, *_against_accuracy(effect), _last_epochs(chosen, control), *_all_losses(rows)))


def _best_loss(row: ComparisonRow) -> float:
    return row.best_val_loss


def _better(winner: ComparisonRow, other: ComparisonRow, effect: PhotoEffect, *, than_all: bool = False) -> str:
    digits = shown_digits(effect.mean, effect.low, effect.high)
    while digits < 6 and _alike(winner, other, digits=digits):
        digits += 1
    low, high = sorted((abs(effect.low), abs(effect.high)))
    says = "is better here than every other run; the next" if than_all else "is better here"
    return (
        f"{winner.name} {says}: validation loss {winner.best_val_loss:.{digits}f} (epoch {winner.best_epoch}) vs "
        f"{other.name}'s {other.best_val_loss:.{digits}f} (epoch {other.best_epoch}), difference "
        f"{abs(effect.mean):.{digits}f}, 95 % {low:.{digits}f} to {high:.{digits}f}."
    )


def _undecided(row: ComparisonRow, control: ComparisonRow, effect: PhotoEffect, *, n_compared: int) -> str:
    beside = (
        f"validation loss {row.best_val_loss:.2f} (epoch {row.best_epoch}) vs {control.name}'s "
        f"{control.best_val_loss:.2f} (epoch {control.best_epoch}), difference {interval_text(effect)}"
    )
    if effect.word == NO_DIFFERENCE:
        return f"{row.name} and {control.name} are equally good here: {beside}."
    opening = "No clear winner" if n_compared == 1 else f"No run is clearly better than {control.name}"
    if effect.low > 0 or effect.high < 0:
        reason = f"clear by itself, but not after Holm's correction for {n_compared} comparisons"
    else:
        reason = f"on {effect.n_photos} validation photos that can be chance"
    return f"{opening}: {row.name} has {beside}; {reason}."


def _unpaired(row: ComparisonRow, control: ComparisonRow) -> str:
    losses = (
        f"{row.name} has a validation loss of {row.best_val_loss:.2f} (epoch {row.best_epoch}), {control.name} "
        f"{control.best_val_loss:.2f} (epoch {control.best_epoch})"
    )
    return f"{losses}; they were not validated on the same photos, so this does not say which is better."


def _lower_still(winner: ComparisonRow, undecided: Sequence[ComparisonRow]) -> str:
    lower = [row.name for row in undecided if row.best_val_loss < winner.best_val_loss]
    if not lower:
        return ""
    return f" {', '.join(lower)} {'has' if len(lower) == 1 else 'have'} a lower loss still, which can be chance."


def _against_accuracy(effect: PhotoEffect) -> tuple[str, ...]:
    """A sentence where the right answers clearly speak the other way; nothing else."""
    if effect.p_mcnemar >= 1 - CONFIDENCE or effect.word not in (BETTER, WORSE):
        return ()
    more_right = len(effect.fixed) > len(effect.broken)
    if more_right == (effect.word == BETTER):
        return ()
    name = effect.name if more_right else effect.control
    return (f"Its answers are not: {name} gets more photos right, by more than chance.",)


def _last_epochs(row: ComparisonRow, control: ComparisonRow) -> str:
    """What training to the last epoch did to the losses and the gap of the two."""
    share = "" if row.gap_share is None else f" ({100 * row.gap_share:.0f} %)"
    if f"{row.gap_last:.2f}" == f"{control.gap_last:.2f}":
        gap = f"the gap to the train loss is the same, {row.gap_last:.2f}"
    else:
        gap = f"the gap to the train loss is {row.gap_last:.2f} vs {control.gap_last:.2f}{share}"
    return (
        f"After the last epoch {row.name}'s validation loss is {row.last_val_loss:.2f} vs {control.name}'s "
        f"{control.last_val_loss:.2f}, and {gap}."
    )


def _all_losses(rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Of three and more runs every kept head's loss, the lowest first."""
    if len(rows) < 3:
        return ()
    losses = ", ".join(f"{row.name} {row.best_val_loss:.2f}" for row in sorted(rows, key=_best_loss))
    return (f"The kept heads' validation losses: {losses}.",)


def _alike(one: ComparisonRow, other: ComparisonRow, *, digits: int) -> bool:
    """Whether two losses are the same as they are shown."""
    return f"{one.best_val_loss:.{digits}f}" == f"{other.best_val_loss:.{digits}f}"
