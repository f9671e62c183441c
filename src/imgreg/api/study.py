"""imgreg study and imgreg compare --repeats: many recipes on many splits over kept features, and what it proves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from imgreg.analysis.baselines import StudyBaseline, study_sentence
from imgreg.analysis.sanity_baselines import largest_share, sanity_warnings
from imgreg.analysis.study import StudyTable, searched, study_answer, study_table, voted
from imgreg.config import CHEAP_BASELINES, CurveStyle, Settings
from imgreg.errors import UsageError
from imgreg.features.stored import stored_shape
from imgreg.heads.plan import plan_head
from imgreg.heads.summary import count_trainable, summarize_plan
from imgreg.paths import shared_command, shared_text
from imgreg.progress import Watcher
from imgreg.recipes.notes import recipe_notes
from imgreg.recipes.topics import Derived
from imgreg.runs.folder import atomic_folder, rows_to_csv, write_json, write_text
from imgreg.runs.names import checked_name, unused_name
from imgreg.runs.summary import SanityBaseline
from imgreg.runs.trial import Trial
from imgreg.training.baselines import baselines_of_study
from imgreg.training.dataset import Repeats, prepare_repeats, refuse_writing_inside
from imgreg.training.record import shared_settings
from imgreg.training.sanity_baselines import sanity_of_study
from imgreg.training.trials import run_trials

TEST_FRACTION = 0.2  # of all photos, where there are no folds


@dataclass(frozen=True)
class Study:
    """A finished study. `folder` holds report.html, study.json, table.csv, forest.png, curves.png and the recipes."""

    folder: Path
    table: StudyTable
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    sanity_baselines: tuple[SanityBaseline, ...]
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
    style: CurveStyle | None = None,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    resume: bool | None = None,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
    watcher: Watcher | None = None,
) -> Study:
    """Train every recipe on the same repeated splits, and compare each with the first, the control, in pairs.

    settings   one a recipe; they differ in nothing else. The seed draws initial weights and views, the split's
               seed the splits
    groups     heading -> recipes drawn in one panel, the control first; None for all in one
    sanity_baselines   what is run beside the recipes, see config.SANITY_BASELINES
    style      how the curves are drawn
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

    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, "study"))
    with atomic_folder(target) as folder:
        laid = prepare_repeats(
            data,
            settings[0],
            repeats=repeats,
            folds=folds,
            test_fraction=TEST_FRACTION,
            cache_bytes=cache_bytes,
            watcher=watcher,
        )
        grid = run_trials(laid, settings=settings, cache_bytes=cache_bytes, resume=resume, watcher=watcher)
        beside = sanity_of_study(sanity_baselines, laid, settings=settings[0], cache_bytes=cache_bytes, watcher=watcher)
        trials = dict(grid.trials)
        for extra in derived:
            if all(voter in trials for voter in extra.of):
                make = voted if extra.how == "vote" else searched
                rows = zip(*(trials[of] for of in extra.of), strict=True)
                trials[extra.name] = [make(extra.name, row) for row in rows]
        table = study_table(trials, n_parameters=_n_parameters(laid, settings, derived))
        baselines = baselines_of_study(laid, trials, cache_bytes=cache_bytes, watcher=watcher)
        reached = max(row.test_accuracy for row in table.rows)
        share = fmean(largest_share(trial.test_labels) for trial in next(iter(trials.values())))
        told = sanity_warnings(beside, accuracy=reached, largest_share=share, on="test")
        for line in told:
            watcher.say(line)
        of_recipes = [f"{one.recipe.name}: {note}" for one in settings for note in recipe_notes(one.recipe)]
        notes = [*laid.notes, *grid.apart.values(), *told, *of_recipes]
        done = Study(
            folder=target,
            table=table,
            answer=(*study_answer(table), *filter(None, [study_sentence(baselines)])),
            notes=tuple(notes),
            sanity_baselines=beside,
            baselines=baselines,
            n_trained=grid.n_trained,
            n_kept=grid.n_kept,
            seconds=round(time.perf_counter() - started, 1),
        )
        panels = {
            heading: [name for name in names if name in trials]
            for heading, names in (groups or {"all recipes": tuple(grid.trials)}).items()
        }
        panels = {heading: names for heading, names in panels.items() if len(names) > 1}
        _write(
            folder,
            done,
            trials=trials,
            groups=panels,
            settings=settings,
            command=shared_command(command),
            notes=[shared_text(line, data) for line in notes],
            style=style or CurveStyle(),
        )
    return done


def _n_parameters(laid: Repeats, settings: Sequence[Settings], derived: Sequence[Derived]) -> dict[str, int]:
    """Trainable parameters of each recipe's head; of a vote all its voters', of a search the candidates' if alike."""
    counts = {}
    for one in settings:
        plan = plan_head(one.recipe.head, n_classes=len(laid.index.classes))
        shape = stored_shape(laid.base.image_size, laid.base.stored)
        counts[one.recipe.name] = count_trainable(summarize_plan(plan, feature_shape=shape))
    for extra in derived:
        of = [counts[name] for name in extra.of if name in counts]
        if extra.how == "vote":
            counts[extra.name] = sum(of)
        elif len(set(of)) == 1:
            counts[extra.name] = of[0]
    return counts


def study_document(done: Study) -> dict[str, object]:
    """What study --json prints."""
    return {
        "study": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "table": done.table.model_dump(mode="json"),
        "sanity_baselines": [one.model_dump(mode="json") for one in done.sanity_baselines],
        "baselines": [one.model_dump(mode="json") for one in done.baselines],
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
        "seconds": done.seconds,
    }


def _write(
    folder: Path,
    done: Study,
    *,
    trials: dict[str, list[Trial]],
    groups: Mapping[str, Sequence[str]],
    settings: Sequence[Settings],
    command: str,
    notes: Sequence[str],
    style: CurveStyle,
) -> None:
    """command, notes   as shared files have them, without this machine's folders"""
    import tomli_w

    how = {"command": command, "groups": {heading: list(names) for heading, names in groups.items()}}
    shared = study_document(done) | {"study": done.folder.name, "notes": list(notes)} | how
    write_json(folder / "study.json", shared | {"curves": style.model_dump(mode="json")})
    figures = ("recipe", "n_parameters", "test_loss", "test_accuracy", "best_epoch", "gap_last")
    rows = [
        tuple("" if (value := getattr(row, name)) is None else value for name in figures)
        + ((e.mean, e.low, e.high, e.p_holm, e.word) if (e := row.effect) else ("", "", "", "", "control"))
        for row in done.table.rows
    ]
    header = (*figures, "effect", "low", "high", "p_holm", "word")
    write_text(folder / "table.csv", rows_to_csv(header, rows))
    write_text(folder / "settings.toml", tomli_w.dumps({one.recipe.name: shared_settings(one) for one in settings}))
    write_json(folder / "trials.json", {name: [c.model_dump(mode="json") for c in row] for name, row in trials.items()})
    draw_study(
        folder,
        done.table,
        trials=trials,
        groups=groups,
        answer=done.answer,
        notes=notes,
        sanity_baselines=done.sanity_baselines,
        baselines=done.baselines,
        command=command,
        style=style,
    )


def draw_study(
    folder: Path,
    table: StudyTable,
    *,
    trials: Mapping[str, Sequence[Trial]],
    groups: Mapping[str, Sequence[str]],
    answer: Sequence[str],
    notes: Sequence[str],
    sanity_baselines: Sequence[SanityBaseline],
    baselines: Sequence[StudyBaseline] = (),
    command: str,
    style: CurveStyle,
) -> None:
    """Write report.html and its figures into a study's folder."""
    from imgreg.reports.study import forest, study_capacity, study_curves, study_report

    forest(table, target=folder / "forest.png")
    study_curves(trials, groups=groups, target=folder / "curves.png", style=style)
    capacity = study_capacity(table, trials=trials, groups=groups, target=folder / "capacity.png")
    study_report(
        table,
        trials=trials,
        groups=groups,
        answer=answer,
        notes=notes,
        sanity_baselines=sanity_baselines,
        baselines=baselines,
        command=command,
        style=style,
        capacity=capacity,
        target=folder / "report.html",
    )
