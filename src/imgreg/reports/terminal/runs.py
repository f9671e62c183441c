"""One run, several compared, and the list of runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.comparison_answer import answer, settling_command
from imgreg.analysis.conclusion import conclude
from imgreg.analysis.results import Comparison
from imgreg.paths import with_places_of
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
    line_to_copy,
    nats,
    next_command,
    note_lines,
    percent,
    report_line,
    sanity_lines,
    stacked,
    table_of,
    text_of,
)
from imgreg.reports.text import n_columns, one_line, sparkline
from imgreg.runs.evaluations import optimism
from imgreg.runs.listing import Entry
from imgreg.runs.summary import RunSummary

if TYPE_CHECKING:
    from rich.console import RenderableType

_NAME = 16  # columns of a run's name in the comparison's table; longer ones take two more lines
_LISTED_NAME = 35  # and in the list of everything made, where it is to be copied
_CURVE = 19
_TONES = {"bad": "bold red", "good": "bold green", "short": "bold blue", "doubt": "bold yellow", "unsure": "bold"}


def run_text(summary: RunSummary, *, printed: Collection[str] = (), typed: Sequence[str] = ()) -> RenderableType:
    """One run in a box: the verdict, the best and the last epoch, what to know, where the report is, what to do next.

    Parameters
    ----------
    printed : collection of str
        Notes that are on the terminal already, and are left out.
    typed : sequence of str
        Words of the user's command: the next command names its paths as they do.
    """
    from rich.panel import Panel

    conclusion = conclude(summary)
    advice = summary.next_step.sentence if summary.next_step else summary.verdict.next_step
    beside = [
        conclusion.curves,
        stopped_in_words(summary),
        finetuned_in_words(summary),
        "" if conclusion.sentence == summary.against_baselines else summary.against_baselines,
    ]
    suspicions = [it for it in summary.verdict.suspicions if it != conclusion.suspicion]
    parts: list[RenderableType] = [
        text_of(conclusion.sentence, style=_TONES[conclusion.tone]),
        *(text_of(line) for line in beside if line),
        text_of(f"Next: {advice}"),
        *(text_of(f"{it.sentence} {it.next_step}", style="bold yellow") for it in suspicions),
        text_of(""),
        _epochs_table(summary),
        *(text_of(line) for line in _conditions(summary)),
        *baselines_lines(summary.baselines),
        *sanity_lines(summary.sanity_baselines, on="validation"),
        *note_lines(note for note in notes(summary) if note not in printed),
    ]
    recipe = "" if summary.recipe == summary.name else f" (recipe {one_line(summary.recipe, limit=20)})"
    title = text_of(f"{one_line(summary.name, limit=44)}{recipe}", style="bold")
    box = Panel(stacked(*parts), title=title, title_align="left", width=WIDTH, padding=(0, 1))
    command = next_command(summary.next_step.sentence if summary.next_step else "")
    following = [line_to_copy("Next: ", with_places_of(command, typed))] if command else []
    return stacked(box, report_line(Path(summary.run)), *following)


def _epochs_table(summary: RunSummary) -> RenderableType:
    """Losses, accuracies and gap of the best and the last epoch."""
    table = table_of("", "train loss", "accuracy", "val. loss", "accuracy", "gap")
    for which, row in (("best", summary.best), ("last", summary.last)):
        table.add_row(
            f"{which}, epoch {row.epoch}" + (" (kept)" if row.epoch == summary.kept_epoch else ""),
            nats(row.train_loss),
            percent(row.train_accuracy),
            nats(row.val_loss),
            percent(row.val_accuracy),
            nats(row.gap),
        )
    return table


def _conditions(summary: RunSummary) -> Iterator[str]:
    """The test split's scores, the photos, the recipe where it was changed, and the weights, a line each."""
    test = summary.test
    if test:
        scores = f"loss {nats(test.loss)}, accuracy {percent(test.accuracy)}"
        yield f"Test split ({test.n_photos} photos): {scores}. {optimism(test.n_photos, test.n_runs_scored)}".rstrip()
    yield ""
    photos = f"{summary.n_train} train, {summary.n_val} validation"
    if summary.n_folds:
        photos = f"{summary.n_train}, {summary.n_folds}-fold cross-validation"
    skipped = f", {summary.n_skipped} skipped (see skipped.csv)" if summary.n_skipped else ""
    yield f"Photos: {photos}{skipped}."
    if summary.overrides:
        yield f"Recipe: {one_line(summary.recipe_label, limit=400)}."
    yield f"VGG16 weights: {summary.weights}."


def comparison_text(comparison: Comparison, *, printed: Collection[str] = (), command: str = "") -> RenderableType:
    """The answer in a sentence, the table, the warnings that are not printed yet, and where the report is."""
    rows = shortened(comparison.rows, limit=3 * _NAME)
    effects = renamed(comparison.effects, rows=comparison.rows, short=rows)
    table = table_of(
        "run",
        "kept\nepoch",
        "val.\nloss",
        "\nacc.",
        "last\nval.",
        "\nacc.",
        "\ntrain",
        "kept\ngap",
        "last\ngap",
        "\nshare",
    )
    for row in rows:
        table.add_row(
            text_of(row.name),
            str(row.kept_epoch),
            nats(row.kept_val_loss),
            percent(row.kept_val_accuracy),
            nats(row.last_val_loss),
            percent(row.last_val_accuracy),
            nats(row.last_train_loss),
            nats(row.gap_kept),
            nats(row.gap_last),
            share_of_gap(row),
        )
    return stacked(
        text_of(answer(rows, effects), style="bold"),
        *(text_of(line) for line in [comparison.against_baselines] if line),
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
        *note_lines(sentence for sentence in comparison.warnings if sentence not in printed),
        report_line(comparison.folder),
        *([line_to_copy("Next: ", settling)] if (settling := settling_command(effects, command=command)) else []),
    )


def entries_text(entries: Sequence[Entry]) -> RenderableType:
    """Two lines for each, in the order given: name, the kept epoch's validation figures, the last gap, and the verdict
    or the kind; below the day, the photos, the recipe, and the validation loss as a small curve.

    A name that imgreg gave stays on one line of 80 columns, to be copied.
    """
    from rich.text import Text

    table = table_of("name", "val.\nloss", "\nacc.", "last\ngap", "verdict, validation\nloss by epoch")
    table.columns[-1].justify = "left"
    for one in entries:
        below = " · ".join(part for part in (one.created[5:10], one_line(one.dataset, limit=14)) if part)
        if one.recipe:
            below += " · " + one_line(one.recipe, limit=max(_LISTED_NAME - n_columns(below) - 3, 5))
        name = Text("\n").join([text_of(one_line(one.name, limit=2 * _LISTED_NAME)), text_of(below, style="dim")])
        run = one.summary
        if run is None:
            table.add_row(name, "", "", "", text_of(one.kind))
            continue
        first = conclude(run)
        curve = sparkline(one.val_losses, top=max(one.val_losses, default=1), n_columns=_CURVE)
        table.add_row(
            name,
            nats(run.kept.val_loss),
            percent(run.kept.val_accuracy),
            nats(run.last.gap),
            Text("\n").join([text_of(first.label, style=_TONES[first.tone]), text_of(curve)]),
        )
    return table
