"""One run, several compared, and the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.compare import ComparisonRow
from imgreg.analysis.comparison_answer import answer
from imgreg.analysis.conclusion import conclude
from imgreg.analysis.photo_effects import PhotoEffect
from imgreg.reports.rows import (
    SHARE_IN_WORDS,
    finetuned_in_words,
    notes,
    renamed,
    share_of_gap,
    shortened,
    stopped_in_words,
    verdicts_in_words,
)
from imgreg.reports.terminal.parts import (
    WIDTH,
    baselines_lines,
    nats,
    percent,
    report_line,
    sanity_lines,
    table_of,
    text_of,
)
from imgreg.reports.text import one_line
from imgreg.runs.summary import RunSummary

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_NAME = 16  # columns of a run's name in the comparison's table; longer ones take two more lines
_LISTED_NAME = 36  # and in the list of runs, where it is to be copied
_TONES = {"bad": "bold red", "good": "bold green", "short": "bold blue", "doubt": "bold yellow", "unsure": "bold"}


def run_text(summary: RunSummary) -> RenderableType:
    """One run in a box: the verdict, the best and the last epoch, what to know, where the report is."""
    from rich.console import Group
    from rich.panel import Panel

    best, last, conclusion = summary.best, summary.last, conclude(summary)
    beside = [
        conclusion.curves,
        stopped_in_words(summary),
        finetuned_in_words(summary),
        "" if conclusion.sentence == summary.against_baselines else summary.against_baselines,
    ]
    table = table_of("", "train loss", "accuracy", "val. loss", "accuracy", "gap")
    for label, row in ((f"best, epoch {best.epoch}", best), (f"last, epoch {last.epoch}", last)):
        table.add_row(
            label,
            nats(row.train_loss),
            percent(row.train_accuracy),
            nats(row.val_loss),
            percent(row.val_accuracy),
            nats(row.gap),
        )
    test = summary.test
    parts: list[RenderableType] = [
        text_of(conclusion.sentence, style=_TONES[conclusion.tone]),
        *(text_of(line) for line in beside if line),
        text_of(f"Next: {summary.next_step.sentence if summary.next_step else summary.verdict.next_step}"),
        *(
            text_of(f"{it.sentence} {it.next_step}", style="bold yellow")
            for it in summary.verdict.suspicions
            if it != conclusion.suspicion
        ),
        text_of(""),
        table,
        *(
            [
                text_of(
                    f"Test split ({test.n_photos} photos): loss {nats(test.loss)}, accuracy {percent(test.accuracy)}."
                )
            ]
            if test
            else []
        ),
        text_of(""),
        text_of(
            "Photos: "
            + (
                f"{summary.n_train}, {summary.n_folds}-fold cross-validation"
                if summary.n_folds
                else f"{summary.n_train} train, {summary.n_val} validation"
            )
            + (f", {summary.n_skipped} skipped (see skipped.csv)" if summary.n_skipped else "")
            + "."
        ),
        *([text_of(f"Recipe: {one_line(summary.recipe_label, limit=400)}.")] if summary.overrides else []),
        text_of(f"VGG16 weights: {summary.weights}."),
        *baselines_lines(summary.baselines, on="validation"),
        *sanity_lines(summary.sanity_baselines, on="validation"),
        *(text_of(f"Note: {note}", style="yellow") for note in notes(summary)),
    ]
    recipe = "" if summary.recipe == summary.name else f" (recipe {one_line(summary.recipe, limit=20)})"
    title = text_of(f"{one_line(summary.name, limit=44)}{recipe}", style="bold")
    box = Panel(Group(*parts), title=title, title_align="left", width=WIDTH, padding=(0, 1))
    return Group(box, report_line(Path(summary.run)))


def comparison_text(
    rows: Sequence[ComparisonRow],
    *,
    warnings: Sequence[str] = (),
    against_baselines: str = "",
    effects: Sequence[PhotoEffect] = (),
    folder: Path | None = None,
) -> RenderableType:
    """The answer in a sentence, the table, what stands against comparing, and where the report is."""
    from rich.console import Group

    short = shortened(rows, limit=3 * _NAME)
    effects, rows = renamed(effects, rows=rows, short=short), short
    table = table_of(
        "run",
        "best\nepoch",
        "val.\nloss",
        "\nacc.",
        "last\nval.",
        "\nacc.",
        "\ntrain",
        "best\ngap",
        "last\ngap",
        "\nshare",
    )
    for row in rows:
        table.add_row(
            text_of(row.name),
            str(row.best_epoch),
            nats(row.best_val_loss),
            percent(row.best_val_accuracy),
            nats(row.last_val_loss),
            percent(row.last_val_accuracy),
            nats(row.last_train_loss),
            nats(row.gap_best),
            nats(row.gap_last),
            share_of_gap(row),
        )
    return Group(
        text_of(answer(rows, effects), style="bold"),
        *([text_of(against_baselines)] if against_baselines else []),
        *(text_of(effect.sentence) for effect in effects),
        *(text_of(sentence) for sentence in verdicts_in_words(rows)),
        text_of(""),
        table,
        text_of(
            "Losses are plain cross-entropies. Gap: validation minus train loss. "
            + SHARE_IN_WORDS.format(rows[0].name),
            style="dim",
        ),
        text_of(
            "Trainable parameters: " + ", ".join(f"{row.name} {row.n_parameters:,}" for row in rows) + ".", style="dim"
        ),
        *(text_of(f"Note: {sentence}", style="yellow") for sentence in warnings),
        *([report_line(folder)] if folder else []),
    )


def _listed(summary: RunSummary) -> Text:
    """A run's name, and below it its recipe where something was changed in it."""
    name = text_of(one_line(summary.name, limit=2 * _LISTED_NAME))
    if summary.overrides:
        name.append("\n")
        name.append_text(text_of(one_line(summary.recipe_label, limit=2 * _LISTED_NAME), style="dim"))
    return name


def runs_text(summaries: Sequence[RunSummary]) -> RenderableType:
    """A line a run, in the order given: its best epoch's validation figures, and the verdict. A name that imgreg gave
    stays on one line of 80 columns, to be copied."""
    table = table_of("run", "made (UTC)", "val.\nloss", "\nacc.", "verdict")
    table.columns[-1].justify = "left"
    for summary in summaries:
        table.add_row(
            _listed(summary),
            summary.created[5:16].replace("T", " "),
            nats(summary.best.val_loss),
            percent(summary.best.val_accuracy),
            text_of(conclude(summary).label, style=_TONES[conclude(summary).tone]),
        )
    return table
