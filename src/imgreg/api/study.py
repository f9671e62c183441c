"""imgreg study and imgreg compare --repeats: many recipes on many splits on cached features, and what helped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import tomli_w

from imgreg.analysis.baselines import study_sentence
from imgreg.analysis.lr_find import TriedRates
from imgreg.analysis.results import Study as Study
from imgreg.analysis.sanity_baselines import largest_share, sanity_warnings
from imgreg.analysis.study import searched, study_answer, study_table, voted
from imgreg.config import CHEAP_BASELINES, CurveStyle, Settings
from imgreg.errors import UsageError
from imgreg.features.blocks import count_tuned
from imgreg.features.stored import stored_shape
from imgreg.heads.plan import plan_head
from imgreg.heads.summary import count_trainable, summarize_plan
from imgreg.paths import shared_command, shared_text
from imgreg.recipes.notes import recipe_notes
from imgreg.recipes.topics import Derived, StudyPlan
from imgreg.runs.folder import rows_to_csv, write_json, write_text
from imgreg.runs.summary import SanityBaseline
from imgreg.runs.trial import Trial
from imgreg.session import Session
from imgreg.training.baselines import baselines_of_study
from imgreg.training.cache import open_cache
from imgreg.training.dataset import Dataset
from imgreg.training.learning_rates import sweep_rates
from imgreg.training.new_folder import new_folder
from imgreg.training.prepare import prepare
from imgreg.training.resampling import ResampledDataset, resample_dataset
from imgreg.training.run_values import shared_settings
from imgreg.training.sanity_baselines import sanity_of_study
from imgreg.training.trials import run_trials
from imgreg.training.workers import open_workers


def study(
    data: Path,
    plan: StudyPlan,
    *,
    repeats: int,
    folds: int = 0,
    session: Session,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
) -> Study:
    """Train every recipe on the same repeated splits, and compare each with the first, the control, in pairs.

    Finished trials are kept in the cache: the same command again, after a kill or with more recipes or repeats,
    trains those that are missing.

    Parameters
    ----------
    plan : StudyPlan
        The recipes. The settings' seed draws initial weights and views, the split's seed the splits.
    repeats : int
        How often the photos are split again into train, validation and test. The epoch is chosen on validation, the
        score taken on test.
    folds : int
        With 2 or more, each repeat tests every photo once, in this many folds.
    session : Session
        With `resume` False, trials in the cache are trained again.
    sanity_baselines : sequence of str
        Baselines beside the recipes, of config.SANITY_BASELINES; shuffled-labels trains the control.

    Raises
    ------
    UsageError
        If two recipes share a name, or there are fewer than two trainings to pair.
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small to split.
    DivergedError
        If the control's loss became NaN or infinite. Another recipe that diverges is left out, with a note.
    """
    started = time.perf_counter()
    names = [one.recipe.name for one in plan.settings]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"study: found recipes {', '.join(names)}, expected at least two, without repetition.")
    with new_folder(session, data=data, kind="study") as (folder, target), open_workers(session) as working:
        resampled = resample_dataset(data, plan.settings[0], repeats=repeats, folds=folds, session=working)
        found = _study_of(resampled, plan, session=working, sanity_baselines=sanity_baselines)
        done = replace(found, folder=target, seconds=round(time.perf_counter() - started, 1))
        shared = replace(done, folder=Path(target.name), notes=tuple(shared_text(line, data) for line in done.notes))
        _write(folder, shared, settings=plan.settings, style=session.style or CurveStyle())
    return done


def _study_of(
    resampled: ResampledDataset, plan: StudyPlan, *, session: Session, sanity_baselines: Sequence[str]
) -> Study:
    """Everything of a study but its folder."""
    control = plan.settings[0]
    grid = run_trials(resampled, settings=plan.settings, session=session)
    sanity = sanity_of_study(sanity_baselines, resampled, settings=control, session=session)
    trials = _with_derived(grid.trials, plan.derived)
    table = study_table(trials, n_parameters=_n_parameters(resampled, plan))
    baselines = baselines_of_study(resampled, trials, session=session)
    rates = _tried_rates(resampled, plan, session=session) if plan.tests_rates else None
    warnings = _sanity_warnings(sanity, trials)
    for line in warnings:
        session.watcher.say(line)
    of_recipes = [f"{one.recipe.name}: {note}" for one in plan.settings for note in recipe_notes(one.recipe)]
    return Study(
        folder=Path(),
        table=table,
        trials=trials,
        groups=_panels(plan.groups or {"all recipes": tuple(grid.trials)}, trained=trials),
        answer=(*study_answer(table), *filter(None, [study_sentence(baselines), rates.sentence if rates else ""])),
        notes=(*resampled.notes, *grid.diverged.values(), *warnings, *of_recipes),
        sanity_baselines=sanity,
        baselines=baselines,
        rates=rates,
        command=shared_command(session.command),
        n_trained=grid.n_trained,
        n_kept=grid.n_kept,
    )


def _tried_rates(resampled: ResampledDataset, plan: StudyPlan, *, session: Session) -> TriedRates:
    """A range test of the control on the train photos of the first repeat."""
    control, split = plan.settings[0], resampled.repeats[0].split
    optimizers = {one.recipe.name: one.recipe.optimizer for one in plan.settings}
    tried = {name: one.learning_rate for name, one in optimizers.items() if one.name == control.recipe.optimizer.name}
    with open_cache(session) as cache:
        dataset = Dataset(resampled.index, split, (), 0.0)
        prepared = prepare(dataset, base=resampled.base, settings=control, cache=cache, watcher=session.watcher)
        return TriedRates(curve=sweep_rates(prepared, split.train, watcher=session.watcher), tried=tried)


def _sanity_warnings(sanity: Sequence[SanityBaseline], trials: Mapping[str, Sequence[Trial]]) -> tuple[str, ...]:
    """On baselines as good as the best recipe."""
    best = max(fmean(trial.test_accuracy for trial in row) for row in trials.values())
    share = fmean(largest_share(trial.test_labels) for trial in next(iter(trials.values())))
    return sanity_warnings(sanity, accuracy=best, largest_share=share, on="test")


def _with_derived(trials: Mapping[str, list[Trial]], derived: Sequence[Derived]) -> dict[str, list[Trial]]:
    """The trials with the rows that are made of them, where none of these diverged."""
    found = dict(trials)
    for one in derived:
        if all(recipe in found for recipe in one.of):
            make = voted if one.how == "vote" else searched
            found[one.name] = [make(one.name, row) for row in zip(*(found[of] for of in one.of), strict=True)]
    return found


def _panels(groups: Mapping[str, Sequence[str]], *, trained: Mapping[str, object]) -> dict[str, list[str]]:
    """The groups without recipes that diverged; a control alone is none."""
    panels = {heading: [name for name in names if name in trained] for heading, names in groups.items()}
    return {heading: names for heading, names in panels.items() if len(names) > 1}


def _n_parameters(resampled: ResampledDataset, plan: StudyPlan) -> dict[str, int]:
    """Trainable parameters by recipe, the fine-tuned block's too; a vote has its voters', a search its candidates'."""
    counts = {}
    shape = stored_shape(resampled.base.image_size, resampled.base.stored)
    for one in plan.settings:
        layers = plan_head(one.recipe.head, n_classes=len(resampled.index.classes))
        counts[one.recipe.name] = count_trainable(summarize_plan(layers, feature_shape=shape))
        if one.recipe.finetune.block != "none":
            counts[one.recipe.name] += count_tuned(one.recipe.finetune.block)
    for extra in plan.derived:
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
        "learning_rates": None if done.rates is None else done.rates.model_dump(mode="json"),
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
        "seconds": done.seconds,
    }


def _write(folder: Path, done: Study, *, settings: Sequence[Settings], style: CurveStyle) -> None:
    """Write a study whose notes and folder are as shared files have them, without this machine's folders."""
    from imgreg.reports.study import study_report

    how = {"command": done.command, "groups": {heading: list(names) for heading, names in done.groups.items()}}
    write_json(folder / "study.json", study_document(done) | how | {"curves": style.model_dump(mode="json")})
    figures = ("recipe", "n_parameters", "test_loss", "test_accuracy", "best_epoch", "gap_last")
    rows = [
        tuple("" if (value := getattr(row, name)) is None else value for name in figures)
        + ((e.mean, e.low, e.high, e.p_holm, e.word) if (e := row.effect) else ("", "", "", "", "control"))
        for row in done.table.rows
    ]
    header = (*figures, "effect", "low", "high", "p_holm", "word")
    write_text(folder / "table.csv", rows_to_csv(header, rows))
    write_text(folder / "settings.toml", tomli_w.dumps({one.recipe.name: shared_settings(one) for one in settings}))
    trials = {name: [trial.model_dump(mode="json") for trial in row] for name, row in done.trials.items()}
    write_json(folder / "trials.json", trials)
    study_report(done, folder=folder, style=style)
