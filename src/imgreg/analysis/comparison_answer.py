"""The comparison of runs in a few sentences: who ends best, and whether that is more than chance.

In: a comparison's rows and effects. Out: a text. Refuses to know: how it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from imgreg.analysis.compare import ComparisonRow
from imgreg.analysis.photo_effects import PhotoEffect


def answer(rows: Sequence[ComparisonRow], effects: Sequence[PhotoEffect] = ()) -> str:
    """Say who ends best, what became of the gap, and who was best at its best epoch.

    A run is said to end better than the control only where the two losses differ as they are shown and, with effects,
    by the paired difference after the last epoch, corrected for the number of runs.

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
    better = [row for row in others if _ends_better(row, control, paired.get(row.name))]
    if better:
        winner = min(better, key=lambda row: row.last_val_loss)
        return f"{_winner(winner, control, others=others)} {_best_epochs(rows)}"
    nearest = min(others, key=lambda row: row.last_val_loss)
    return f"{_no_winner(nearest, control, paired.get(nearest.name))} {_best_epochs(rows)}"


def _ends_better(row: ComparisonRow, control: ComparisonRow, effect: PhotoEffect | None) -> bool:
    lower = row.last_val_loss < control.last_val_loss and not _alike(row.last_val_loss, control.last_val_loss)
    return lower and (effect is None or effect.last.clear)


def _winner(winner: ComparisonRow, control: ComparisonRow, *, others: Sequence[ComparisonRow]) -> str:
    lowest = all(
        row is winner
        or (row.last_val_loss > winner.last_val_loss and not _alike(row.last_val_loss, winner.last_val_loss))
        for row in others
    )
    if _alike(winner.gap_last, control.gap_last):
        gap = f"the same gap to the train loss, {winner.gap_last:.2f}"
    else:
        share = "" if winner.gap_share is None else f" ({100 * winner.gap_share:.0f} %)"
        gap = f"a gap to the train loss of {winner.gap_last:.2f} instead of {control.gap_last:.2f}{share}"
    return (
        f"{winner.name} ends {'best' if lowest else f'better than {control.name}'}: validation loss "
        f"{winner.last_val_loss:.2f} instead of {control.name}'s {control.last_val_loss:.2f}, and {gap}."
    )


def _no_winner(nearest: ComparisonRow, control: ComparisonRow, effect: PhotoEffect | None) -> str:
    """Where no run ends better than the control: the lowest of the others beside it."""
    if _alike(nearest.last_val_loss, control.last_val_loss):
        return (
            f"No run ends better than {control.name}: its last validation loss is {control.last_val_loss:.2f}, and "
            f"{nearest.name}'s is the same."
        )
    beside = f"its last validation loss is {control.last_val_loss:.2f}, {nearest.name}'s {nearest.last_val_loss:.2f}"
    if effect is None or effect.last.clear:
        return f"No run ends better than {control.name}: {beside}."
    last = effect.last
    return (
        f"No run ends clearly better than {control.name}: {beside}, and on {effect.n_photos} validation photos that "
        f"difference can be chance ({last.mean:+.2f}, 95 % {last.low:+.2f} to {last.high:+.2f})."
    )


def _alike(one: float, other: float) -> bool:
    """Whether two losses are the same as they are shown."""
    return f"{one:.2f}" == f"{other:.2f}"


def _best_epochs(rows: Sequence[ComparisonRow]) -> str:
    """The heads that were kept are those of the best epochs: they are what a user gets."""
    first, *rest = sorted(rows, key=lambda row: row.best_val_loss)
    others = ", ".join(f"{row.name} {row.best_val_loss:.2f} (epoch {row.best_epoch})" for row in rest)
    best = f"{first.name} {first.best_val_loss:.2f} (epoch {first.best_epoch})"
    return f"At the best epochs, whose heads are kept: {best}, {others}."
