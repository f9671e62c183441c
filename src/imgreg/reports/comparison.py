"""report.html of several runs compared, and its figures beside it: the answer first.

In: a comparison, its runs read back from their folders, small pictures of some of their photos. Out: files.
Must not know: how runs are made, where photos are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgreg.analysis.compare import ComparisonRow
from imgreg.analysis.comparison_answer import answer_parts, is_decided, settling_command
from imgreg.analysis.conclusion import conclude
from imgreg.analysis.photo_effects import PhotoEffect
from imgreg.analysis.results import Comparison
from imgreg.analysis.suspicions import DATA_FAULTS
from imgreg.config import CurveStyle
from imgreg.paths import shared_command
from imgreg.reports.figure import recipe_colours, save_figure
from imgreg.reports.forest import forest_figure
from imgreg.reports.page import Caption, Chart, chart, jpeg_address, write_page
from imgreg.reports.plots import curves_chart, overlay, panels, validation_losses
from imgreg.reports.rows import (
    SHARE_IN_WORDS,
    ended_in_words,
    held_out_in_words,
    marks_of,
    notes,
    renamed,
    share_of_gap,
    shortened,
    verdicts_in_words,
)
from imgreg.reports.run import METRICS, raw
from imgreg.reports.run_axes import AS_MEASURED, BOTH_SIDES, Metric, PlotOptions, Side, shared_limits
from imgreg.runs.folder import Run
from imgreg.runs.history import History

SHOWN_PHOTOS = 8  # of those that only one of two runs gets right, each way


@dataclass(frozen=True)
class Changed:
    """Photos that one of two runs alone gets right, some of them with a picture, as a data address."""

    heading: str
    n_photos: int
    photos: tuple[tuple[str, str], ...]  # path, picture


def comparison_report(
    comparison: Comparison,
    *,
    runs: Sequence[Run],
    pictures: Mapping[str, bytes],
    folder: Path,
    style: CurveStyle = AS_MEASURED,
) -> None:
    """Write report.html, and overlay, panels, validation and forest as .png and .svg, into a folder.

    Parameters
    ----------
    runs : sequence of Run
        Those compared, in the same order.
    pictures : mapping
        JPEG by the photo's path in the control's split, of those that are available.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    rows = shortened(comparison.rows, limit=60)
    effects = renamed(comparison.effects, rows=comparison.rows, short=rows)
    histories = {row.name: run.history for row, run in zip(rows, runs, strict=True)}
    options = PlotOptions(style, colours=recipe_colours([run.summary.recipe for run in runs]))
    overlay(histories, target=folder / "overlay.png", options=options)
    panels(histories, target=folder / "panels.png", options=options)
    validation_losses(histories, target=folder / "validation.png", options=options)
    of_runs = [notes(run.summary) for run in runs]
    common = tuple(note for note in of_runs[0] if all(note in each for each in of_runs))
    write_page(
        "comparison.html.j2",
        target=folder / "report.html",
        runs=runs,
        commands=[shared_command(run.summary.command) for run in runs],
        rows=rows,
        **_claim(runs, rows=rows, effects=effects, warnings=comparison.warnings),
        verdicts=verdicts_in_words(rows),
        shares=[share_of_gap(row) for row in rows],
        share_in_words=SHARE_IN_WORDS.format(rows[0].name),
        baselines=comparison.baselines,
        against_baselines=comparison.against_baselines,
        effects=effects,
        forest=_forest(effects, photos=held_out_in_words(runs[0].summary), target=folder / "forest.png"),
        changed=[_changed(effect, pictures) for effect in effects],
        common_notes=common,
        stopped=[ended_in_words(run.summary) for run in runs],
        own_notes=[tuple(note for note in each if note not in common) for each in of_runs],
        colours=options.colours,
        conclusions=[conclude(run.summary) for run in runs],
        overlays=_overlays(histories, options=options),
        panels=_panels(runs, rows=rows, options=replace(options, limits=shared_limits(histories))),
        raw={
            "history": raw(histories),
            "table": [row.model_dump(mode="json") | {"run": Path(row.run).name} for row in rows],
            "effects": [effect.model_dump(mode="json") for effect in effects],
        },
    )


def _claim(
    runs: Sequence[Run], *, rows: Sequence[ComparisonRow], effects: Sequence[PhotoEffect], warnings: Sequence[str]
) -> dict[str, Any]:
    """The answer and its tone: a fault in the best run's photos comes first, then whether a difference is clear."""
    parts = answer_parts(rows, effects)
    fault = conclude(min((run.summary for run in runs), key=lambda summary: summary.kept.val_loss))
    if fault.suspicion is not None and fault.suspicion.kind in DATA_FAULTS:
        found = fault.suspicion.sentence
        others = [line for line in warnings if found not in line]
        answer = (fault.sentence, *parts, f"Next: {fault.suspicion.next_step}")
        return {"tone": fault.tone, "label": fault.label, "answer": answer, "warnings": others}
    if command := settling_command(effects, command=runs[0].summary.command):
        parts = (*parts, f"To settle it: `{command}`.")
    return {
        "tone": "good" if is_decided(effects) else "unsure",
        "label": "answer",
        "answer": parts,
        "warnings": warnings,
    }


def _panels(runs: Sequence[Run], *, rows: Sequence[ComparisonRow], options: PlotOptions) -> tuple[Chart, ...]:
    return tuple(
        curves_chart(
            {row.name: run.history},
            Caption(
                heading=row.name,
                alt=f"Loss of {row.name} by epoch. Validation: {row.best_val_loss:.2f} at best "
                f"(epoch {row.best_epoch}), {row.last_val_loss:.2f} at the end. "
                f"Train: {row.last_train_loss:.2f} at the end.",
                caption=f"At the end: validation {row.last_val_loss:.2f}, train {row.last_train_loss:.2f}, "
                f"gap {row.gap_last:.2f}.",
            ),
            metric="loss",
            options=replace(options, colours=(colour,), marks=marks_of(run.summary)),
            with_unit=True,
        )
        for row, run, colour in zip(rows, runs, options.colours, strict=True)
    )


def _overlays(histories: Mapping[str, History], *, options: PlotOptions) -> tuple[Chart, ...]:
    """Train and validation, loss and accuracy; then the validation losses alone."""
    kinds: tuple[tuple[Metric, str, tuple[Side, ...]], ...] = (
        *((metric, what, BOTH_SIDES) for metric, what in METRICS),
        ("loss", "Validation loss alone", ("val",)),
    )
    return tuple(
        curves_chart(
            histories,
            Caption(heading=what, alt=f"{what} of {', '.join(histories)} by epoch; the figures are in the table."),
            metric=metric,
            options=replace(options, sides=sides),
        )
        for metric, what, sides in kinds
    )


def _forest(effects: Sequence[PhotoEffect], *, photos: str, target: Path) -> Chart | None:
    if not effects:
        return None
    figure = forest_figure(effects, control=effects[0].control, what="validation loss (nats)")
    return chart(
        save_figure(figure, target),
        Caption(
            heading="Difference in validation loss, photo by photo",
            alt=" ".join(effect.sentence for effect in effects),
            caption=f"The kept heads, on the same {photos}; left of the line is better than "
            f"{effects[0].control}. 95 % intervals over the photos.",
        ),
    )


def _changed(effect: PhotoEffect, pictures: Mapping[str, bytes]) -> tuple[Changed, ...]:
    return tuple(
        Changed(
            heading,
            len(paths),
            tuple((path, jpeg_address(pictures[path]) if path in pictures else "") for path in paths[:SHOWN_PHOTOS]),
        )
        for heading, paths in (
            (f"Fixed by {effect.name}: {effect.control} had them wrong", effect.fixed),
            (f"Broken by {effect.name}: {effect.control} had them right", effect.broken),
        )
        if paths
    )
