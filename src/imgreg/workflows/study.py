"""imgreg study and imgreg compare --repeats: many recipes on many splits over kept features, and what it proves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from imgreg.analysis.baselines import StudyBaseline, study_sentence
from imgreg.analysis.controls import control_warnings, largest_share
from imgreg.analysis.study import StudyTable, searched, study_answer, study_table, voted
from imgreg.config import CHEAP_CONTROLS, Settings
from imgreg.errors import UsageError
from imgreg.places import shared_command, shared_text
from imgreg.recipes.topics import Derived
from imgreg.runs.cell import Cell
from imgreg.runs.folder import rows_to_csv, whole_folder, write_json, write_text
from imgreg.runs.summary import Control
from imgreg.workflows.cells import fill_grid
from imgreg.workflows.controls import controls_of_study
from imgreg.workflows.names import checked_name, unused_name
from imgreg.workflows.record import shared_settings
from imgreg.workflows.watch import Watcher

TEST_FRACTION = 0.2  # of all photos, where there are no folds


@dataclass(frozen=True)
class Study:
    """A finished study. `folder` holds report.html, study.json, table.csv, forest.png, curves.png and the recipes."""

    folder: Path
    table: StudyTable
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    controls: tuple[Control, ...]
    baselines: tuple[StudyBaseline, ...]
    n_trained: int
    n_kept: int
    seconds: float


def study(
    data: Path,
    *,
    settings: Sequence[Settings],
    derived: Sequence[Derived] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int,
    folds: int = 0,
    log_epochs: bool = False,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    resume: bool | None = None,
    controls: Sequence[str] = CHEAP_CONTROLS,
    watcher: Watcher | None = None,
) -> Study:
    """Train every recipe on the same repeated splits, and compare each with the first, the control, in pairs.

    settings   one a recipe; they differ in nothing else. The seed draws initial weights and views, the split's
               seed the splits
    groups     heading -> recipes drawn in one panel, the control first; None for all in one
    controls   what is run beside the recipes, see config.CONTROLS
    repeats    times that the photos are split anew into train, validation and test; with folds, each repeat tests
               every photo once. The epoch is chosen on validation, the score taken on test
    resume     False: train also what is kept; True: tell if nothing is
    raises     UsageError if two recipes share a name, or there are fewer than two trainings to pair; DivergedError if
               the control's loss is no number. Another recipe that comes apart is left out and told

    Finished trainings are kept in the cache: the same command again, after a kill or with more recipes or repeats,
    trains those that are missing.
    """
    watcher = watcher or Watcher()
    started = time.perf_counter()
    names = [one.recipe.name for one in settings]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"study: found recipes {', '.join(names)}, expected at least two, without repetition.")
    from imgreg.workflows.baselines import baselines_of_study
    from imgreg.workflows.prepare import lay_repeats, refuse_writing_inside

    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, "study"))
    with whole_folder(target) as folder:
        laid = lay_repeats(
            data,
            settings[0],
            repeats=repeats,
            folds=folds,
            test_fraction=TEST_FRACTION,
            cache_bytes=cache_bytes,
            watcher=watcher,
        )
        grid = fill_grid(laid, settings=settings, cache_bytes=cache_bytes, resume=resume, watcher=watcher)
        beside = controls_of_study(controls, laid, settings=settings[0], cache_bytes=cache_bytes, watcher=watcher)
        cells = dict(grid.cells)
        for extra in derived:
            if all(voter in cells for voter in extra.of):
                make = voted if extra.how == "vote" else searched
                rows = zip(*(cells[of] for of in extra.of), strict=True)
                cells[extra.name] = [make(extra.name, row) for row in rows]
        table = study_table(cells)
        baselines = baselines_of_study(laid, cells, cache_bytes=cache_bytes, watcher=watcher)
        reached = max(row.test_accuracy for row in table.rows)
        share = fmean(largest_share(cell.test_labels) for cell in next(iter(cells.values())))
        told = control_warnings(beside, accuracy=reached, largest_share=share, on="test")
        for line in told:
            watcher.say(line)
        notes = [*laid.notes, *grid.apart.values(), *told]
        done = Study(
            folder=target,
            table=table,
            answer=(*study_answer(table), *filter(None, [study_sentence(baselines)])),
            notes=tuple(notes),
            controls=beside,
            baselines=baselines,
            n_trained=grid.n_trained,
            n_kept=grid.n_kept,
            seconds=round(time.perf_counter() - started, 1),
        )
        panels = {
            heading: [name for name in names if name in cells]
            for heading, names in (groups or {"all recipes": tuple(grid.cells)}).items()
        }
        panels = {heading: names for heading, names in panels.items() if len(names) > 1}
        _write(
            folder,
            done,
            cells=cells,
            groups=panels,
            settings=settings,
            command=shared_command(command),
            notes=[shared_text(line, data) for line in notes],
            log_epochs=log_epochs,
        )
    return done


def study_document(done: Study) -> dict[str, object]:
    """What study --json prints."""
    return {
        "study": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "table": done.table.model_dump(mode="json"),
        "controls": [one.model_dump(mode="json") for one in done.controls],
        "baselines": [one.model_dump(mode="json") for one in done.baselines],
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
        "seconds": done.seconds,
    }


def _write(
    folder: Path,
    done: Study,
    *,
    cells: dict[str, list[Cell]],
    groups: Mapping[str, Sequence[str]],
    settings: Sequence[Settings],
    command: str,
    notes: Sequence[str],
    log_epochs: bool,
) -> None:
    """command, notes   as shared files have them, without this machine's folders"""
    import tomli_w

    how = {"command": command, "groups": {heading: list(names) for heading, names in groups.items()}}
    shared = study_document(done) | {"study": done.folder.name, "notes": list(notes)} | how
    write_json(folder / "study.json", shared | {"log_epochs": log_epochs})
    figures = ("recipe", "test_loss", "test_accuracy", "best_epoch", "gap_last")
    rows = [
        tuple(getattr(row, name) for name in figures)
        + ((e.mean, e.low, e.high, e.p_holm, e.word) if (e := row.effect) else ("", "", "", "", "control"))
        for row in done.table.rows
    ]
    header = (*figures, "effect", "low", "high", "p_holm", "word")
    write_text(folder / "table.csv", rows_to_csv(header, rows))
    write_text(folder / "settings.toml", tomli_w.dumps({one.recipe.name: shared_settings(one) for one in settings}))
    write_json(folder / "cells.json", {name: [c.model_dump(mode="json") for c in row] for name, row in cells.items()})
    draw_study(
        folder,
        done.table,
        cells=cells,
        groups=groups,
        answer=done.answer,
        notes=notes,
        controls=done.controls,
        baselines=done.baselines,
        command=command,
        log_epochs=log_epochs,
    )


def draw_study(
    folder: Path,
    table: StudyTable,
    *,
    cells: Mapping[str, Sequence[Cell]],
    groups: Mapping[str, Sequence[str]],
    answer: Sequence[str],
    notes: Sequence[str],
    controls: Sequence[Control],
    baselines: Sequence[StudyBaseline] = (),
    command: str,
    log_epochs: bool,
) -> None:
    """Write report.html and its figures into a study's folder."""
    from imgreg.reports.study import forest, study_curves, study_report

    forest(table, target=folder / "forest.png")
    study_curves(cells, groups=groups, target=folder / "curves.png", log_epochs=log_epochs)
    study_report(
        table,
        cells=cells,
        groups=groups,
        answer=answer,
        notes=notes,
        controls=controls,
        baselines=baselines,
        command=command,
        log_epochs=log_epochs,
        target=folder / "report.html",
    )
