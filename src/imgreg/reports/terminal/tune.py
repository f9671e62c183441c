"""The result of a search for a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.tune import NestedScore, OuterScore
from imgreg.reports.terminal.parts import (
    answer_lines,
    line_to_copy,
    nats,
    note_lines,
    percent,
    report_line,
    stacked,
    table_of,
    text_of,
)

if TYPE_CHECKING:
    from rich.console import RenderableType


def tune_text(
    nested: NestedScore,
    *,
    outer: Sequence[OuterScore],
    answer: Sequence[str],
    notes: Sequence[str],
    folder: Path,
    run: Path,
    train_command: str,
) -> RenderableType:
    """The answer, the outer folds in 80 columns, where report and run are, and the command that trains the recipe."""
    default = nested.effect.control
    lines = table_of("outer fold", "best\ntrial", "loss\ninside", "loss\noutside", "default\noutside", "\ndifference")
    for one in outer:
        lines.add_row(
            str(one.number),
            f"{one.picked} of {one.n_trials}",
            nats(one.inner_loss),
            nats(one.loss),
            nats(one.default_loss),
            f"{one.loss - one.default_loss:+.3f}",
        )
    place = line_to_copy("Run: ", str(run))
    return stacked(
        *answer_lines(answer),
        text_of(""),
        lines,
        text_of(
            f"Trial 0 is {default}. Accuracy outside: {percent(nested.accuracy.mean)}, {default} "
            f"{percent(nested.default_accuracy.mean)}.",
            style="dim",
        ),
        *note_lines(notes),
        report_line(folder),
        place,
        line_to_copy("Recipe: ", train_command),
    )
