"""The comparison of runs in a few sentences: whose kept head does better here, and whether that is more than chance.

In: a comparison's rows and paired effects. Out: a text. Must not know: how it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from imgreg.analysis.compare import ComparisonRow
from imgreg.analysis.photo_effects import PhotoEffect
from imgreg.paths import with_option


def answer(rows: Sequence[ComparisonRow], effects: Sequence[PhotoEffect] = ()) -> str:
    """The sentences of `answer_parts` as one text."""
    return " ".join(answer_parts(rows, effects))


def answer_parts(rows: Sequence[ComparisonRow], effects: Sequence[PhotoEffect] = ()) -> tuple[str, ...]:
    """Say whose kept head has the lower validation loss, what would settle it, and what became of the gap.

    The kept heads decide: they are what a user gets. One run is called better than another
    only where the paired difference in loss says so, corrected for the number of runs. Where it does not, a clear
    difference in the number of photos that are right comes first.

    Parameters
    ----------
    rows : sequence of ComparisonRow
        The first is the control.
    effects : sequence of PhotoEffect
        Of the runs that were validated on the same photos as the control, under the names that the rows have.
    """
    control, *others = rows
    if not others:
        return (f"Only {control.name}: give a second run to compare it with.",)
    paired = {effect.name: effect for effect in effects}
    if any(row.name not in paired for row in others):
        return (_unpaired(rows), _gap(min(others, key=_kept_loss), control))
    better = [row for row in others if paired[row.name].is_better]
    if better:
        winner = min(better, key=_kept_loss)
        return (_better(winner, control, paired[winner.name]), *_others(rows, winner), _gap(winner, control))
    nearest = min(others, key=_kept_loss)
    if all(paired[row.name].is_worse for row in others):
        return (_better(control, nearest, paired[nearest.name]), *_others(rows, control), _gap(nearest, control))
    nearest = min((row for row in others if not paired[row.name].is_worse), key=_kept_loss)
    effect = paired[nearest.name]
    loss = _undecided(nearest, control, effect)
    first: tuple[str, ...] = (loss,)
    if effect.is_clear_in_accuracy(n_runs=len(others)):
        first = (_accuracy(nearest, control, effect), f"In loss {loss}")
    return (*first, *_others(rows, None), _gap(nearest, control))


def is_decided(effects: Sequence[PhotoEffect]) -> bool:
    """Whether some run differs clearly from the control, in loss or in the number of photos that are right."""
    return any(it.is_clear or it.is_clear_in_accuracy(n_runs=len(effects)) for it in effects)


def settling_command(effects: Sequence[PhotoEffect], *, command: str) -> str:
    """The command that would decide an open comparison; empty where it is decided, or no command made it.

    Parameters
    ----------
    command : str
        The command line of the comparison.

    Examples
    --------
    >>> settling_command((), command="imgreg compare pets --name first")
    ''
    """
    if is_decided(effects) or not effects or not command.startswith("imgreg compare "):
        return ""
    return with_option(command, "--repeats", "10")


def _kept_loss(row: ComparisonRow) -> float:
    return row.kept_val_loss


def _better(winner: ComparisonRow, loser: ComparisonRow, effect: PhotoEffect) -> str:
    low, high = sorted((abs(effect.low), abs(effect.high)))
    ours, theirs, difference, bounds = _shown(winner.kept_val_loss, loser.kept_val_loss, abs(effect.mean), (low, high))
    return (
        f"{winner.name} is better here: validation loss {ours} vs. {theirs} for {loser.name} "
        f"(difference {difference}, 95 % interval {bounds})."
    )


def _accuracy(run: ComparisonRow, control: ComparisonRow, effect: PhotoEffect) -> str:
    """Which of the two gets more photos right, where that is clear and the loss is not."""
    fixed, broken = len(effect.fixed), len(effect.broken)
    more, fewer = (run.name, control.name) if fixed > broken else (control.name, run.name)
    return (
        f"{more} gets more photos right than {fewer}: {max(fixed, broken)} that {fewer} gets wrong, and the other way "
        f"round {min(fixed, broken)}, of {effect.n_photos} (exact McNemar, p = {effect.p_mcnemar:.2g})."
    )


def _undecided(nearest: ComparisonRow, control: ComparisonRow, effect: PhotoEffect) -> str:
    theirs, ours, difference, bounds = _shown(
        nearest.kept_val_loss, control.kept_val_loss, effect.mean, (effect.low, effect.high), sign="+"
    )
    figures = f"validation loss {theirs} vs. {ours} (difference {difference}, 95 % interval {bounds})"
    if effect.word == "no difference that matters":
        return f"No difference that matters between {nearest.name} and {control.name}: {figures}."
    return (
        f"{nearest.name} and {control.name} are too close to call on {effect.n_photos} validation photos: {figures}. "
        "To decide it, train on more splits: add --repeats 10."
    )


def _unpaired(rows: Sequence[ComparisonRow]) -> str:
    """Runs that were scored on different photos: their losses, and no winner."""
    listed = ", ".join(f"{row.name} {row.kept_val_loss:.2f} (epoch {row.kept_epoch})" for row in rows)
    return (
        f"Validation loss of the kept heads: {listed}. The runs were not validated on the same photos, so these losses "
        "cannot be compared directly."
    )


def _others(rows: Sequence[ComparisonRow], named: ComparisonRow | None) -> tuple[str, ...]:
    """The kept heads' losses, where there are more than the two that were named."""
    if len(rows) < 3:
        return ()
    ordered = sorted(rows, key=_kept_loss)
    listed = ", ".join(f"{row.name} {row.kept_val_loss:.2f} (epoch {row.kept_epoch})" for row in ordered)
    lowest = ordered[0]
    beside = ""
    if named is not None and lowest is not named:
        beside = f" {lowest.name}'s is lower, but not clearly different from {rows[0].name}'s."
    return (f"Kept heads: {listed}.{beside}",)


def _gap(row: ComparisonRow, control: ComparisonRow) -> str:
    """What became of the gap after the last epoch."""
    ours, theirs = f"{row.gap_last:.2f}", f"{control.gap_last:.2f}"
    if ours == theirs:
        return f"After the last epoch both have the same gap to the train loss, {ours}."
    share = "" if row.gap_share is None else f" ({100 * row.gap_share:.0f} %)"
    return (
        f"After the last epoch the gap to the train loss is {ours} for {row.name}{share}, {theirs} for {control.name}."
    )


def _shown(
    first: float, second: float, difference: float, bounds: tuple[float, float], *, sign: str = ""
) -> tuple[str, str, str, str]:
    """Both losses, their difference and its interval, with as many decimals as make the losses differ, 4 at most."""
    decimals = next((n for n in (2, 3) if f"{first:.{n}f}" != f"{second:.{n}f}"), 4)
    if f"{first:.4f}" == f"{second:.4f}":
        decimals = 2
    low, high = (f"{bound:{sign}.{decimals}f}" for bound in bounds)
    return (
        f"{first:.{decimals}f}",
        f"{second:.{decimals}f}",
        f"{difference:{sign}.{decimals}f}",
        f"{low} to {high}",
    )
