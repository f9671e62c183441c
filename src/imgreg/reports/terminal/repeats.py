"""Results of many trainings: a study, a learning curve, doubtful labels, a range of learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.label_issues import LabelTable
from imgreg.analysis.learning_curve import LearningCurve
from imgreg.analysis.results import Study
from imgreg.analysis.study import is_open
from imgreg.reports.terminal.parts import (
    answer_lines,
    line_to_copy,
    nats,
    note_lines,
    percent,
    report_line,
    sanity_lines,
    short_count,
    stacked,
    table_of,
    text_of,
)
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS_SHOWN = 12
_WORDS = {
    "helped": "helped",
    "hurt": "hurt",
    "no difference that matters": "no difference",
    "not enough data": "cannot tell",
}


def study_text(done: Study, *, more_repeats: str) -> RenderableType:
    """The answer, the ranked table in 80 columns, where the report is, and, if it is undecided, a command for more."""
    table = done.table
    lines = table_of(
        "recipe", "param-\neters", "test\nloss", "\nacc.", "last\ngap", "difference\n(95 % interval)", "\nresult"
    )
    lines.columns[-1].justify = "left"
    for row in table.rows:
        effect = row.effect
        found = "" if effect is None else f"{effect.mean:+.2f} ({effect.low:+.2f} to {effect.high:+.2f})"
        word = "control" if effect is None else _WORDS[effect.word]
        lines.add_row(
            text_of(one_line(row.recipe, limit=22)),
            short_count(row.n_parameters),
            nats(row.test_loss),
            percent(row.test_accuracy),
            nats(row.gap_last),
            found,
            text_of(word, style={"helped": "green", "hurt": "red"}.get(word, "")),
        )
    scores = ", ".join(f"{one.name} {nats(one.test_loss)} ({percent(one.test_accuracy)})" for one in done.baselines)
    return stacked(
        *answer_lines(done.answer),
        text_of(""),
        lines,
        text_of(
            f"Difference in test loss from {table.control}, over {table.n_repeats} paired repeats with "
            f"{table.n_train:.0f} train and {table.n_test:.0f} test photos; negative is better.",
            style="dim",
        ),
        *([text_of(f"Baselines on the same features, test loss (accuracy): {scores}.")] if scores else []),
        *sanity_lines(done.sanity_baselines, on="test"),
        *note_lines(done.notes),
        report_line(done.folder),
        *([line_to_copy("Next: ", more_repeats)] if is_open(table) else []),
    )


def learning_curve_text(
    error: LearningCurve, loss: LearningCurve, *, answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the scores by the number of train photos, and where the report is."""
    lines = table_of("train photos", "test\nacc.", "\n95 % interval", "test\nloss", "\n95 % interval")
    for i, size in enumerate(error.sizes):
        lines.add_row(
            str(size),
            percent(1 - error.means[i]),
            f"{percent(1 - error.highs[i])} to {percent(1 - error.lows[i])}",
            nats(loss.means[i]),
            f"{nats(loss.lows[i])} to {nats(loss.highs[i])}",
        )
    ahead, of_loss = error.more, loss.more
    lines.add_row(
        f"{ahead.n_train} (extrapolated)",
        percent(1 - ahead.score),
        f"{percent(1 - ahead.high)} to {percent(1 - ahead.low)}",
        nats(of_loss.score),
        f"{nats(of_loss.low)} to {nats(of_loss.high)}",
    )
    return stacked(
        *answer_lines(answer),
        text_of(""),
        lines,
        text_of(f"Means over {error.n_repeats} repeats, each on {error.n_test:.0f} test photos.", style="dim"),
        *note_lines(notes),
        report_line(folder),
    )


def learning_rate_text(*, answer: Sequence[str], notes: Sequence[str], folder: Path) -> RenderableType:
    """The suggestion, its reason, and where the figure is."""
    return stacked(
        *answer_lines(answer),
        *note_lines(notes),
        line_to_copy("Figure: ", str(folder / "curve.png")),
    )


def label_issues_text(
    table: LabelTable, *, paths: Sequence[Path], answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the first photos, and where the sheet, the whole list and the report are."""
    lines = table_of("photo", "label", "predicted", "own\nlabel", "for-\ngotten", "history")
    lines.columns[-1].justify = "left"
    for row in table.rows[:_LABELS_SHOWN]:
        lines.add_row(
            text_of(one_line(paths[row.photo].name, limit=28)),
            text_of(one_line(row.label, limit=12)),
            text_of(one_line(row.other, limit=12)),
            f"{row.own:.2f}",
            f"{row.forgotten:.1f}",
            row.history,
        )
    return stacked(
        *answer_lines(answer),
        text_of(""),
        lines,
        text_of("Own label: its probability according to heads that never saw the photo.", style="dim"),
        *note_lines(notes),
        line_to_copy("Contact sheet: ", str(folder / "sheet.png")),
        line_to_copy("All photos: ", str(folder / "label_issues.csv")),
        report_line(folder),
    )
