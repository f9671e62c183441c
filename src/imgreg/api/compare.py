"""imgreg compare: several recipes on the same split, seed and features; or finished runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgreg.analysis.results import Comparison as Comparison
from imgreg.analysis.results import comparison_of
from imgreg.config import CHEAP_BASELINES, CurveStyle, Settings
from imgreg.errors import ArtefactError, UsageError
from imgreg.reports.tensorboard import write_events, write_experiment
from imgreg.runs.atomic_folder import atomic_folder
from imgreg.runs.checksums import write_sums
from imgreg.runs.folder import Run, read_run, rows_to_csv, write_json, write_text
from imgreg.runs.names import checked_name, folder_beside, named_folder
from imgreg.session import Session
from imgreg.training.new_folder import new_folder
from imgreg.training.record import record
from imgreg.training.thumbnails import keep_pictures, read_pictures
from imgreg.training.train import conclude, train_heads


def compare(
    data: Path,
    *,
    settings: Sequence[Settings],
    session: Session,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
    tensorboard: bool = False,
) -> Comparison:
    """Train each recipe on the same photos, split, seed and features, and compare the runs.

    Parameters
    ----------
    settings : sequence of Settings
        One for each recipe, the control first; they differ in nothing else.
    session : Session
        Its name is that of the comparison's folder; the runs are called name-recipe.
    sanity_baselines : sequence of str
        Baselines beside the heads, of config.SANITY_BASELINES; shuffled-labels trains the first recipe's head.
    tensorboard : bool
        Write event files into each run's tensorboard/, and which settings differ into the comparison's.

    Raises
    ------
    UsageError
        If two recipes share a name, or the settings differ elsewhere.
    DatasetError
        If the photos cannot be used as a dataset.
    DivergedError
        If a loss became NaN or infinite: after everything was written, where there were epochs before that to keep.
    """
    _refuse_incomparable(settings)
    with contextlib.ExitStack() as stack:
        own, target = stack.enter_context(new_folder(session, data=data, kind="compare"))
        targets = [session.models / checked_name(f"{target.name}-{one.recipe.name}") for one in settings]
        folders = [stack.enter_context(atomic_folder(one)) for one in targets]
        results = train_heads(
            data,
            settings,
            session=session,
            sanity_baselines=sanity_baselines,
            event_folders=folders if tensorboard else [],
        )
        drawn = session.watcher.stage("drawing the reports")
        runs = []
        for done, (result, folder, becomes) in enumerate(zip(results, folders, targets, strict=True)):
            drawn(done, len(settings) + 1)
            runs.append(record(result, folder, target=becomes, session=session))
        drawn(len(settings), len(settings) + 1)
        comparison = _write(own, target, runs=runs, style=session.style)
        drawn(len(settings) + 1, len(settings) + 1)
        if tensorboard:
            for run, folder in zip(runs, folders, strict=True):
                write_events(folder, run, live=True)
            write_experiment(own, runs)
        for folder in folders:
            write_sums(folder)
    conclude(results, runs, session=session)
    return comparison


def _refuse_incomparable(settings: Sequence[Settings]) -> None:
    names = [one.recipe.name for one in settings]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"compare: found recipes {', '.join(names)}, expected at least two, without repetition.")
    if len({one.model_copy(update={"recipe": settings[0].recipe}).model_dump_json() for one in settings}) > 1:
        raise UsageError("compare: the settings differ in more than the recipe.")


def compare_runs(folders: Sequence[Path], *, session: Session) -> Comparison:
    """Compare finished runs. Needs no TensorFlow.

    Raises
    ------
    ArtefactError
        Naming the runs that are damaged: after the others were compared, if they are two or more.
    UsageError
        For fewer than two runs.
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
    target = named_folder(session.models, session.name, kind="compare")
    with atomic_folder(target) as own:
        comparison = _write(own, target, runs=runs, style=session.style)
    for line in comparison.warnings:
        session.watcher.say(line)
    if refused:
        damaged = "\n".join(refused)
        raise ArtefactError(f"{damaged}\nThe other {len(runs)} runs were compared: {target / 'report.html'}")
    return comparison


def _write(folder: Path, target: Path, *, runs: Sequence[Run], style: CurveStyle | None) -> Comparison:
    comparison = comparison_of(runs, folder=target)
    shared = _shared_document(comparison)
    documents = shared["table"]
    lines = [tuple(", ".join(v) if isinstance(v, list) else v for v in row.values()) for row in documents]
    write_text(folder / "table.csv", rows_to_csv(tuple(documents[0]), lines))
    write_comparison_report(folder, runs, comparison, style=style)
    write_json(folder / "comparison.json", shared)
    return comparison


def write_comparison_report(
    folder: Path, runs: Sequence[Run], comparison: Comparison, *, style: CurveStyle | None = None
) -> None:
    """Write report.html and its figures into the folder of a comparison."""
    from imgreg.reports.comparison import SHOWN_PHOTOS, comparison_report

    changed = {path for one in comparison.effects for paths in (one.fixed, one.broken) for path in paths[:SHOWN_PHOTOS]}
    shown = [row for row in runs[0].split if row.path in changed and row.on("val")]
    keep_pictures(folder, runs[0], shown)
    available = read_pictures(folder, (row.sha256 for row in shown))
    comparison_report(
        comparison,
        runs=runs,
        pictures={row.path: available[row.sha256] for row in shown if row.sha256 in available},
        folder=folder,
        style=style or CurveStyle(),
    )


def _shared_document(comparison: Comparison) -> dict[str, Any]:
    """comparison.json: as compare --json, but with each run's folder relative to the folder of the comparison."""
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
