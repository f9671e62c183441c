"""What many trainings tell: a study, what more photos would bring, which labels are doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.baselines import StudyBaseline
from imgreg.analysis.label_issues import LabelTable
from imgreg.analysis.learning_curve import LearningCurve
from imgreg.analysis.study import StudyTable, is_open
from imgreg.reports.terminal.parts import (
    line_to_copy,
    nats,
    percent,
    report_line,
    sanity_lines,
    short_count,
    table_of,
    text_of,
)
from imgreg.reports.text import one_line
from imgreg.runs.summary import SanityBaseline

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS_SHOWN = 12
_WORDS = {
    "helped": "helped",
    "hurt": "hurt",
    "no difference that matters": "no difference",
    "not enough data": "cannot tell",
}


def study_text(
    table: StudyTable,
    *,
    answer: Sequence[str],
    notes: Sequence[str],
    sanity_baselines: Sequence[SanityBaseline] = (),
    baselines: Sequence[StudyBaseline] = (),
    folder: Path,
    more_repeats: str = "",
) -> RenderableType:
    """The answer, the ranked table in 80 columns, where the report is, and, where it is open, the command for more."""
    from rich.console import Group

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
    return Group(
        *(text_of(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        text_of(""),
        lines,
        text_of(
            f"Difference in test loss from {table.control}, over {table.n_repeats} paired repeats with "
            f"{table.n_train:.0f} train and {table.n_test:.0f} test photos; negative is better.",
            style="dim",
        ),
        *study_baseline_lines(baselines),
        *sanity_lines(sanity_baselines, on="test"),
        *(text_of(f"Note: {sentence}", style="yellow") for sentence in notes),
        report_line(folder),
        *([line_to_copy("Next: ", more_repeats)] if more_repeats and is_open(table) else []),
    )


def study_baseline_lines(baselines: Sequence[StudyBaseline]) -> list[RenderableType]:
    """A line with each baseline's test loss and accuracy."""
    if not baselines:
        return []
    scores = ", ".join(f"{one.name} {nats(one.test_loss)} ({percent(one.test_accuracy)})" for one in baselines)
    return [text_of(f"Baselines on the same features, test loss (accuracy): {scores}.")]


def learning_curve_text(
    error: LearningCurve, loss: LearningCurve, *, answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the scores by the number of train photos, and where the report is."""
    from rich.console import Group

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
    return Group(
        *(text_of(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        text_of(""),
        lines,
        text_of(f"Means over {error.n_repeats} repeats, each on {error.n_test:.0f} test photos.", style="dim"),
        *(text_of(f"Note: {sentence}", style="yellow") for sentence in notes),
        report_line(folder),
    )


def learning_rate_text(*, answer: Sequence[str], notes: Sequence[str], folder: Path) -> RenderableType:
    """The suggestion, its reason, and where the figure is."""
    from rich.console import Group

    figure = text_of(f"Figure: {folder / 'curve.png'}")
    figure.no_wrap, figure.overflow = True, "ignore"
    return Group(
        *(text_of(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        *(text_of(f"Note: {sentence}", style="yellow") for sentence in notes),
        figure,
    )


def label_issues_text(
    table: LabelTable, *, paths: Sequence[Path], answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the first photos, and where the sheet, the whole list and the report are."""
    from rich.console import Group

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
    sheet, listed = (
        text_of(f"{what}: {folder / name}")
        for what, name in (("Contact sheet", "sheet.png"), ("All photos", "label_issues.csv"))
    )
    for line in (sheet, listed):
        line.no_wrap, line.overflow = True, "ignore"
    return Group(
        *(text_of(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        text_of(""),
        lines,
        text_of("Own label: its probability according to heads that never saw the photo.", style="dim"),
        *(text_of(f"Note: {sentence}", style="yellow") for sentence in notes),
        sheet,
        listed,
        report_line(folder),
    )
