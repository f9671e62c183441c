"""What figures, pages and tables say of runs, the same in each."""

from __future__ import annotations

from collections.abc import Sequence

from imgreg.analysis.compare import ComparisonRow, distinct
from imgreg.analysis.photo_effects import PhotoEffect
from imgreg.reports.figure import recipe_colours
from imgreg.reports.run_axes import Marks
from imgreg.reports.text import one_line
from imgreg.runs.summary import RunSummary

FIGURE_NAMES = {  # of analysis.metrics
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

SHARE_IN_WORDS = "Share: last gap relative to {}'s; if that gap is near 0 or negative, the difference in nats."


def share_of_gap(row: ComparisonRow) -> str:
    """The last gap as a share of the control's, or by how many nats it differs; a dash where it does not."""
    if row.gap_share is not None:
        return f"{100 * row.gap_share:.0f}%"
    if row.gap_difference == 0:
        return "–"
    return f"{row.gap_difference:+.2f}" if abs(row.gap_difference) < 99.995 else f"{row.gap_difference:+.0f}"


def verdicts_in_words(rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Each run's own verdict, a sentence each."""
    return tuple(f"{row.name}: {row.verdict_sentence}" for row in rows)


def notes(summary: RunSummary) -> tuple[str, ...]:
    """What a reader of the run must know: about the weights, then the warnings, each once."""
    return tuple(dict.fromkeys(note for note in (summary.weights_note, *summary.warnings) if note))


def held_out_in_words(summary: RunSummary) -> str:
    """The photos that a run's validation figures are of."""
    if summary.n_folds:
        return f"{summary.n_val} photos, each scored by the head that never saw it"
    return f"{summary.n_val} validation photos"


def stopped_in_words(summary: RunSummary) -> str:
    """That early stopping ended the training, when and why; empty where it did not."""
    it = summary.stopped_early
    if it is None:
        return ""
    epochs = "epoch" if it.patience_epochs == 1 else f"{it.patience_epochs} epochs"
    lower = f" by more than {it.min_delta:g} nats" if it.min_delta else ""
    return (
        f"Training stopped early, after epoch {it.epoch} of {it.max_epochs}: the last {epochs} did not lower the "
        f"validation loss{lower} (patience_epochs = {it.patience_epochs})."
    )


def finetuned_in_words(summary: RunSummary) -> str:
    """From which epoch VGG16 was trained on, and whether that was kept; empty without fine-tuning."""
    first = summary.finetuned_from
    if first is None:
        return ""
    if summary.kept_epoch < first:
        found = "no such epoch has a lower validation loss, so the frozen VGG16 was kept"
    else:
        found = f"epoch {summary.kept_epoch}, one of these, was kept"
    return f"VGG16 was fine-tuned from epoch {first} on ({summary.finetuned_block}): {found}."


def ended_in_words(summary: RunSummary) -> str:
    """How the training ended: early, or with fine-tuning; empty for neither."""
    return " ".join(filter(None, (stopped_in_words(summary), finetuned_in_words(summary))))


def calibration_in_words(summary: RunSummary) -> str:
    """What predict does to the probabilities, and what it is worth; empty for a run of an older imgreg."""
    found = summary.calibration
    if found is None:
        return ""
    if found.note:
        return found.note
    held_out = held_out_in_words(summary)
    return (
        f"predict applies temperature scaling with a temperature of {found.temperature:.2f}, fitted to the "
        f"{held_out}. Cross-validated on them, it changes the calibration error from "
        f"{found.calibration_error_before:.3f} to {found.calibration_error_after:.3f} and the log loss from "
        f"{found.log_loss_before:.3f} to {found.log_loss_after:.3f}."
    )


def colour_number(summary: RunSummary) -> int:
    """The colour of a run that is drawn alone, by its number in figure.LIGHT.runs; in a comparison it has the same."""
    return recipe_colours([summary.recipe])[0]


def marks_of(summary: RunSummary) -> Marks:
    """The epochs to mark in a run's curves, by its verdict and its fine-tuning."""
    onset = summary.verdict.evidence.get("onset_epoch")
    return Marks(onset if isinstance(onset, int) else None, summary.finetuned_from)


def renamed(
    effects: Sequence[PhotoEffect], *, rows: Sequence[ComparisonRow], short: Sequence[ComparisonRow]
) -> tuple[PhotoEffect, ...]:
    """The effects with the names of the shortened rows."""
    names = {row.name: its.name for row, its in zip(rows, short, strict=True)}
    return tuple(one.model_copy(update={"name": names[one.name], "control": names[one.control]}) for one in effects)


def shortened(rows: Sequence[ComparisonRow], *, limit: int) -> tuple[ComparisonRow, ...]:
    """The rows with names that fit `limit` columns and still differ."""
    names = distinct([one_line(row.name, limit=limit) for row in rows])
    return tuple(row.model_copy(update={"name": name}) for row, name in zip(rows, names, strict=True))
