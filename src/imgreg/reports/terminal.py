"""Runs and comparisons as texts for a terminal of 80 columns. They are returned; only imgreg.cli prints.

In: summaries and comparison rows. Out: rich renderables whose words, not their colours, carry the meaning.
Refuses to know: streams, --json, progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.analysis.compare import ComparisonRow, Disagreement, answer
from imgreg.analysis.labels import LabelTable
from imgreg.analysis.learning_curve import LearningCurve
from imgreg.analysis.metrics import Metrics
from imgreg.analysis.study import StudyTable
from imgreg.analysis.verdict import FITTING_WELL, OVERFITTING, UNDERFITTING
from imgreg.reports.rows import notes, shortened
from imgreg.reports.text import one_line, visible
from imgreg.runs.summary import Control, RunSummary

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

WIDTH = 80
_LABELS_SHOWN = 12
_NAME = 16  # columns of a run's name in the comparison's table; longer ones take a second line
_LISTED_NAME = 36  # and in the list of runs, where it is to be copied
_TONES = {OVERFITTING: "bold red", FITTING_WELL: "bold green", UNDERFITTING: "bold blue"}


def run_text(summary: RunSummary) -> RenderableType:
    """One run in a box: the verdict, the best and the last epoch, what to know, where the report is."""
    from rich.console import Group
    from rich.panel import Panel

    best, last = summary.best, summary.last
    table = _table("", "train loss", "accuracy", "val. loss", "accuracy", "gap")
    for label, row in ((f"best, epoch {best.epoch}", best), (f"last, epoch {last.epoch}", last)):
        table.add_row(
            label,
            _nats(row.train_loss),
            _percent(row.train_accuracy),
            _nats(row.val_loss),
            _percent(row.val_accuracy),
            _nats(row.gap),
        )
    test = summary.test
    parts: list[RenderableType] = [
        _text(summary.verdict.sentence, style=_TONES.get(summary.verdict.label, "bold")),
        _text(f"Next: {summary.verdict.next_step}"),
        *(_text(f"{it.sentence} {it.next_step}", style="bold yellow") for it in summary.verdict.suspicions),
        _text(""),
        table,
        *(
            [
                _text(
                    f"Test split ({test.n_photos} photos): loss {_nats(test.loss)}, accuracy {_percent(test.accuracy)}."
                )
            ]
            if test
            else []
        ),
        _text(""),
        _text(
            f"Photos: {summary.n_train} train, {summary.n_val} validation"
            + (f", {summary.n_skipped} skipped (see skipped.csv)" if summary.n_skipped else "")
            + "."
        ),
        _text(f"VGG16 weights: {summary.weights}."),
        *_controls(summary.controls, on="validation"),
        *(_text(f"Note: {note}", style="yellow") for note in notes(summary)),
    ]
    recipe = "" if summary.recipe == summary.name else f" (recipe {one_line(summary.recipe, limit=20)})"
    title = _text(f"{one_line(summary.name, limit=44)}{recipe}", style="bold")
    box = Panel(Group(*parts), title=title, title_align="left", width=WIDTH, padding=(0, 1))
    return Group(box, _report_line(Path(summary.run)))


def comparison_text(
    rows: Sequence[ComparisonRow],
    *,
    warnings: Sequence[str] = (),
    disagreements: Sequence[Disagreement] = (),
    folder: Path | None = None,
) -> RenderableType:
    """The answer in a sentence, the table, what stands against comparing, and where the report is."""
    from rich.console import Group

    rows = shortened(rows, limit=2 * _NAME)
    table = _table(
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
        share = _share(row.gap_share)
        table.add_row(
            _text(row.name),
            str(row.best_epoch),
            _nats(row.best_val_loss),
            _percent(row.best_val_accuracy),
            _nats(row.last_val_loss),
            _percent(row.last_val_accuracy),
            _nats(row.last_train_loss),
            _nats(row.gap_best),
            _nats(row.gap_last),
            share,
        )
    return Group(
        _text(answer(rows), style="bold"),
        *(_text(pair.sentence) for pair in disagreements),
        _text(""),
        table,
        _text(
            f"Losses are plain cross-entropies. Gap: validation minus train loss. Share: of {rows[0].name}'s last gap.",
            style="dim",
        ),
        *(_text(f"Note: {sentence}", style="yellow") for sentence in warnings),
        *([_report_line(folder)] if folder else []),
    )


def _controls(controls: Sequence[Control], *, on: str) -> list[RenderableType]:
    """A line for all, and one for what shuffled labels showed."""
    if not controls:
        return []
    accuracies = ", ".join(f"{one.name} {one.accuracy:.0%}" for one in controls)
    return [
        _text(f"Controls ({on} accuracy): {accuracies}."),
        *(_text(one.note) for one in controls if one.note),
    ]


def study_text(
    table: StudyTable,
    *,
    answer: Sequence[str],
    notes: Sequence[str],
    controls: Sequence[Control] = (),
    folder: Path,
) -> RenderableType:
    """The answer, the ranked table in 80 columns, and where the report is."""
    from rich.console import Group

    lines = _table("recipe", "test\nloss", "\nacc.", "last\ngap", "difference\n(95 % interval)", "\nin words")
    lines.columns[-1].justify = "left"
    for row in table.rows:
        effect = row.effect
        found = "" if effect is None else f"{effect.mean:+.2f} ({effect.low:+.2f} to {effect.high:+.2f})"
        word = "control" if effect is None else _WORDS[effect.word]
        lines.add_row(
            _text(one_line(row.recipe, limit=22)),
            _nats(row.test_loss),
            _percent(row.test_accuracy),
            _nats(row.gap_last),
            found,
            _text(word, style={"helped": "green", "hurt": "red"}.get(word, "")),
        )
    return Group(
        *(_text(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        _text(""),
        lines,
        _text(
            f"Difference in test loss to {table.control}, over {table.n_repeats} paired repeats with "
            f"{table.n_train:.0f} train and {table.n_test:.0f} test photos; below 0 is better.",
            style="dim",
        ),
        *_controls(controls, on="test"),
        *(_text(f"Note: {sentence}", style="yellow") for sentence in notes),
        _report_line(folder),
    )


def howmuch_text(
    error: LearningCurve, loss: LearningCurve, *, answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the scores by the number of train photos, and where the report is."""
    from rich.console import Group

    lines = _table("train photos", "test\nacc.", "\n95 % interval", "test\nloss", "\n95 % interval")
    for i, size in enumerate(error.sizes):
        lines.add_row(
            str(size),
            _percent(1 - error.means[i]),
            f"{_percent(1 - error.highs[i])} to {_percent(1 - error.lows[i])}",
            _nats(loss.means[i]),
            f"{_nats(loss.lows[i])} to {_nats(loss.highs[i])}",
        )
    ahead, of_loss = error.more, loss.more
    lines.add_row(
        f"{ahead.n_train} (by the law)",
        _percent(1 - ahead.score),
        f"{_percent(1 - ahead.high)} to {_percent(1 - ahead.low)}",
        _nats(of_loss.score),
        f"{_nats(of_loss.low)} to {_nats(of_loss.high)}",
    )
    return Group(
        *(_text(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        _text(""),
        lines,
        _text(f"Means over {error.n_repeats} repeats, each on {error.n_test:.0f} test photos.", style="dim"),
        *(_text(f"Note: {sentence}", style="yellow") for sentence in notes),
        _report_line(folder),
    )


def labels_text(
    table: LabelTable, *, paths: Sequence[Path], answer: Sequence[str], notes: Sequence[str], folder: Path
) -> RenderableType:
    """The answer, the first photos, and where the sheet and the whole list are."""
    from rich.console import Group

    lines = _table("photo", "label", "rather", "own\nlabel", "for-\ngotten", "history")
    lines.columns[-1].justify = "left"
    for row in table.rows[:_LABELS_SHOWN]:
        lines.add_row(
            _text(one_line(paths[row.photo].name, limit=28)),
            _text(one_line(row.label, limit=12)),
            _text(one_line(row.other, limit=12)),
            f"{row.own:.2f}",
            f"{row.forgotten:.1f}",
            row.history,
        )
    sheet, listed = (
        _text(f"{what}: {folder / name}") for what, name in (("Sheet", "sheet.png"), ("All", "labels.csv"))
    )
    for line in (sheet, listed):
        line.no_wrap, line.overflow = True, "ignore"
    return Group(
        *(_text(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)),
        _text(""),
        lines,
        _text("Own label: its probability by heads that never saw the photo.", style="dim"),
        *(_text(f"Note: {sentence}", style="yellow") for sentence in notes),
        sheet,
        listed,
    )


def metrics_text(metrics: Metrics, *, notes: Sequence[str] = ()) -> RenderableType:
    """Every figure with its interval, and the confusion."""
    from rich.console import Group

    figures = _table("figure", "", "95 % interval")
    for name, figure in metrics.figures.items():
        figures.add_row(_text(_FIGURES[name]), f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
    counts = _table("true class", *(one_line(f"called {name}", limit=20) for name in metrics.classes))
    for name, row in zip(metrics.classes, metrics.confusion, strict=True):
        counts.add_row(_text(one_line(name, limit=20)), *(str(n) for n in row))
    of = f"of {metrics.classes[1]}" if len(metrics.classes) == 2 else "means over the classes, each against the rest"
    return Group(
        figures,
        _text(f"{metrics.n_photos} photos. Precision, recall, F1 and areas: {of}. Losses in nats.", style="dim"),
        _text(""),
        counts,
        *(_text(f"Note: {sentence}", style="yellow") for sentence in notes),
    )


_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}

_WORDS = {
    "helped": "helped",
    "hurt": "hurt",
    "no difference that matters": "no difference",
    "not enough data": "cannot tell",
}


def _report_line(folder: Path) -> Text:
    """Never broken or cut, so that it can be copied."""
    line = _text(f"Report: {folder / 'report.html'}")
    line.no_wrap, line.overflow = True, "ignore"
    return line


def runs_text(summaries: Sequence[RunSummary]) -> RenderableType:
    """A line a run, in the order given: its best epoch's validation figures, and the verdict. A name that imgreg gave
    stays on one line of 80 columns, to be copied."""
    table = _table("run", "made (UTC)", "val.\nloss", "\nacc.", "verdict")
    table.columns[-1].justify = "left"
    for summary in summaries:
        table.add_row(
            _text(one_line(summary.name, limit=2 * _LISTED_NAME)),
            summary.created[5:16].replace("T", " "),
            _nats(summary.best.val_loss),
            _percent(summary.best.val_accuracy),
            _text(summary.verdict.label, style=_TONES.get(summary.verdict.label, "")),
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="")
    table.add_column(first, overflow="fold", min_width=8)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _text(text: str, *, style: str = "") -> Text:
    from rich.text import Text

    return Text(visible(text), style=style, overflow="fold")


def _nats(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 9.9995 else f"{value:.2f}" if abs(value) < 99.995 else f"{value:.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%" if value < 9.995 else ">999%"
