"""imgreg compare: several recipes on the same split, seed and features; or finished runs side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgreg.analysis.baselines import comparison_sentence, shared_baselines
from imgreg.analysis.compare import (
    ComparisonRow,
    comparison_table,
    same_conditions,
    shared_suspicions,
)
from imgreg.analysis.photo_effects import PhotoEffect, photo_effects
from imgreg.analysis.sanity_baselines import largest_share, sanity_warnings
from imgreg.config import CHEAP_BASELINES, CurveStyle, Settings
from imgreg.errors import ArtefactError, UsageError
from imgreg.features.cache import FeatureCache
from imgreg.heads.checkpoint import forget_checkpoint
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.reports.tensorboard import LiveEvents, write_events, write_experiment
from imgreg.runs.checksums import write_sums
from imgreg.runs.folder import Run, atomic_folder, read_run, rows_to_csv, write_json, write_text
from imgreg.runs.names import checked_name, folder_beside, unused_name
from imgreg.runs.summary import Baseline, RunSummary
from imgreg.training.backbone import Backbone
from imgreg.training.baselines import baselines_of_split
from imgreg.training.data_quality import assess_data_quality
from imgreg.training.dataset import prepare_dataset, refuse_writing_inside
from imgreg.training.fit import prepare
from imgreg.training.parallel import fit_in_parallel
from imgreg.training.record import record
from imgreg.training.sanity_baselines import sanity_of_run
from imgreg.training.thumbnails import keep_pictures, read_pictures


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. `folder` holds report.html with its figures beside it, table.csv and comparison.json."""

    folder: Path
    runs: tuple[RunSummary, ...]
    rows: tuple[ComparisonRow, ...]
    warnings: tuple[str, ...]  # what makes the runs not comparable, and their suspicions
    baselines: tuple[Baseline, ...]  # where all runs stand beside the same ones
    against_baselines: str  # a sentence, empty without baselines
    effects: tuple[PhotoEffect, ...]  # of each run against the first, where they share their validation photos


def compare(
    data: Path,
    *,
    settings: Sequence[Settings],
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
    tensorboard: bool = False,
    resume: bool | None = None,
    style: CurveStyle | None = None,
    watcher: Watcher | None = None,
) -> Comparison:
    """Train each recipe on the same photos, split, seed and features, and lay the curves over each other.

    settings      one for each recipe; they differ in nothing else
    name          the comparison's folder under models; the runs are called name-recipe
    cache_bytes   room for kept features; None for the usual 20 GB
    sanity_baselines   what is run beside the heads; shuffled-labels trains the first recipe's
    tensorboard   write event files into each run's tensorboard/, and which settings differ into the comparison's
    resume        go on with interrupted trainings, as in train
    style         how the curves are drawn, in the comparison's report and in each run's
    raises        UsageError if two recipes share a name or the settings differ elsewhere
    """
    from imgreg.api.train import refuse_diverged

    watcher = watcher or Watcher()
    names = [one.recipe.name for one in settings]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"compare: found recipes {', '.join(names)}, expected at least two, without repetition.")
    if len({one.model_copy(update={"recipe": settings[0].recipe}).model_dump_json() for one in settings}) > 1:
        raise UsageError("compare: the settings differ in more than the recipe.")
    refuse_writing_inside(data, models)
    name = checked_name(name or unused_name(models, "compare"))
    targets = [models / checked_name(f"{name}-{recipe}") for recipe in names]
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(atomic_folder(models / name))
        folders = [stack.enter_context(atomic_folder(target)) for target in targets]
        base = Backbone(settings[0].base, watcher=watcher)
        dataset = prepare_dataset(data, settings[0].photos, base=base, cache_bytes=cache_bytes, watcher=watcher)
        base.settle()
        with FeatureCache(cache_folder(), say=watcher.say, limit_bytes=cache_bytes) as cache:
            prepared = [prepare(dataset, base=base, settings=one, cache=cache, watcher=watcher) for one in settings]
            with contextlib.ExitStack() as written:
                events = [written.enter_context(LiveEvents(folder)) for folder in folders] if tensorboard else []
                outcomes = fit_in_parallel(dataset, prepared, resume=resume, watcher=watcher, events=events)
            quality = assess_data_quality(dataset.split, classes=dataset.index.classes, source=prepared[0].source)
            beside = sanity_of_run(sanity_baselines, dataset, prepared[0], watcher=watcher)
            baselines = baselines_of_split(
                dataset.split, classes=dataset.index.classes, source=prepared[0].source, watcher=watcher
            )
        for done, (one, outcome, folder, target) in enumerate(zip(settings, outcomes, folders, targets, strict=True)):
            watcher.step("drawing the reports", done, len(settings) + 1, "")
            record(
                outcome,
                folder,
                target,
                dataset=dataset,
                base=base,
                settings=one,
                quality=quality,
                sanity_baselines=beside,
                baselines=baselines,
                command=command,
                style=style,
            )
        runs = [read_run(folder, becomes=target) for folder, target in zip(folders, targets, strict=True)]
        watcher.step("drawing the reports", len(settings), len(settings) + 1, "")
        comparison = _write(own, models / name, runs=runs, style=style)
        watcher.step("drawing the reports", len(settings) + 1, len(settings) + 1, "")
        if tensorboard:
            for run, folder in zip(runs, folders, strict=True):
                write_events(folder, run, live=True)
            write_experiment(own, runs)
        for folder in folders:
            write_sums(folder)
    for outcome in outcomes:
        forget_checkpoint(outcome.checkpoint)
    refuse_diverged({str(target): outcome for target, outcome in zip(targets, outcomes, strict=True)})
    best = max(run.summary.best.val_accuracy for run in runs)
    share = largest_share(outcomes[0].val_labels)
    for line in sanity_warnings(beside, accuracy=best, largest_share=share, on="validation"):
        watcher.say(line)
    return comparison


def compare_runs(
    folders: Sequence[Path],
    *,
    models: Path,
    name: str | None = None,
    style: CurveStyle | None = None,
    watcher: Watcher | None = None,
) -> Comparison:
    """Lay finished runs over each other. Needs no TensorFlow.

    raises   ArtefactError naming the runs that are damaged: after the others were compared, if they are two or more
    """
    if len(folders) < 2:
        raise UsageError(f"compare: found one run ({folders[0]}), expected at least two, or a folder of photos.")
    runs, refused = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except ArtefactError as error:
            refused.append(str(error))
    if len(runs) < 2:
        raise ArtefactError("\n".join(refused))
    target = models / checked_name(name or unused_name(models, "compare"))
    with atomic_folder(target) as own:
        comparison = _write(own, target, runs=runs, style=style)
    for line in comparison.warnings:
        (watcher or Watcher()).say(line)
    if refused:
        told = "\n".join(refused)
        raise ArtefactError(f"{told}\nThe other {len(runs)} runs were compared: {target / 'report.html'}")
    return comparison


def _write(folder: Path, target: Path, *, runs: Sequence[Run], style: CurveStyle | None) -> Comparison:
    comparison = put_side_by_side(target, runs)
    shared = _shared_document(comparison)
    documents = shared["table"]
    lines = [tuple(", ".join(v) if isinstance(v, list) else v for v in row.values()) for row in documents]
    write_text(folder / "table.csv", rows_to_csv(tuple(documents[0]), lines))
    write_comparison_report(folder, runs, comparison, style=style)
    write_json(folder / "comparison.json", shared)
    return comparison


def put_side_by_side(target: Path, runs: Sequence[Run]) -> Comparison:
    """Everything that is told of runs side by side; the first is the control."""
    summaries = tuple(run.summary for run in runs)
    warnings = (*same_conditions(runs), *shared_suspicions(runs))
    rows = comparison_table(summaries)
    return Comparison(
        folder=target,
        runs=summaries,
        rows=rows,
        warnings=warnings,
        baselines=shared_baselines(summaries),
        against_baselines=comparison_sentence({row.name: run for row, run in zip(rows, summaries, strict=True)}),
        effects=photo_effects(runs),
    )


def write_comparison_report(
    folder: Path, runs: Sequence[Run], comparison: Comparison, *, style: CurveStyle | None = None
) -> None:
    """Write report.html and its figures into the folder where the comparison stands, or is being written."""
    from imgreg.reports.comparison import SHOWN_PHOTOS, comparison_report

    effects = comparison.effects
    changed = {path for one in effects for paths in (one.fixed, one.broken) for path in paths[:SHOWN_PHOTOS]}
    shown = [row for row in runs[0].split if row.path in changed and row.on("val")]
    keep_pictures(folder, runs[0], shown)
    had = read_pictures(folder, (row.sha256 for row in shown))
    comparison_report(
        runs,
        rows=comparison.rows,
        warnings=comparison.warnings,
        baselines=comparison.baselines,
        against_baselines=comparison.against_baselines,
        effects=effects,
        pictures={row.path: had[row.sha256] for row in shown if row.sha256 in had},
        folder=folder,
        style=style or CurveStyle(),
    )


def _shared_document(comparison: Comparison) -> dict[str, Any]:
    """comparison.json: as compare --json, but each run's folder as seen from the one that both stand in."""
    beside = comparison.folder.parent
    where = {run.run: folder_beside(Path(run.run), beside) for run in comparison.runs}
    return {
        **comparison_document(comparison),
        "comparison": comparison.folder.name,
        "table": [row.model_dump(mode="json") | {"run": where[row.run]} for row in comparison.rows],
        "runs": [run.model_dump(mode="json") | {"run": where[run.run]} for run in comparison.runs],
    }


def comparison_document(comparison: Comparison) -> dict[str, object]:
    """What compare --json prints: the table, and the document of each run."""
    return {
        "comparison": str(comparison.folder),
        "table": [row.model_dump(mode="json") for row in comparison.rows],
        "warnings": list(comparison.warnings),
        "against_baselines": comparison.against_baselines,
        "baselines": [
            one.model_dump(mode="json", exclude={"loss_difference", "accuracy_difference"})
            for one in comparison.baselines
        ],
        "effects": [effect.model_dump(mode="json") for effect in comparison.effects],
        "runs": [run.model_dump(mode="json") for run in comparison.runs],
    }
