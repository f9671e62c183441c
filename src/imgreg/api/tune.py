"""imgreg tune: the best recipe of a search space, and what the search is worth on photos that took no part in it."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from imgreg.analysis.tune import (
    NestedScore,
    OuterScore,
    RecipeSearch,
    SearchTrial,
    changed_settings,
    nested_score,
    tune_answer,
)
from imgreg.api.train import train
from imgreg.config import Recipe, Settings, Tuning
from imgreg.data.stores import as_typed
from imgreg.errors import UsageError
from imgreg.paths import shared_command, shared_text
from imgreg.recipes import recipe_with, typed
from imgreg.recipes.search_space import Choices, Space
from imgreg.recipes.settings import options_of, with_recipe
from imgreg.runs.folder import rows_to_csv, write_json, write_text
from imgreg.runs.names import named_folder
from imgreg.session import Session
from imgreg.training.nested_search import NestedSearch, search_nested
from imgreg.training.new_folder import new_folder
from imgreg.training.workers import open_workers

TUNED = "tuned"  # name of the final recipe


@dataclass(frozen=True)
class Tuned:
    """A finished search. `folder` holds report.html, tune.json, trials.csv, best.toml and the figures.

    Attributes
    ----------
    run : Path
        The run that was trained with the recipe.
    recipe, default : Recipe
        What the search on all photos found, and what it began with.
    nested : NestedScore
        What tuning is worth on the outer folds.
    trials : tuple of SearchTrial
        Of the search on all photos.
    importances : dict of str to float
        Each setting's share in what makes a trial one of the best; empty for few trials.
    train_command : str
        Trains the recipe again.
    """

    recipe: Recipe
    default: Recipe
    space: Space
    nested: NestedScore
    outer: tuple[OuterScore, ...]
    trials: tuple[SearchTrial, ...]
    importances: dict[str, float]
    changes: tuple[str, ...]
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int
    folder: Path
    run: Path
    train_command: str
    seconds: float = 0.0


def tune(
    data: Path,
    *,
    settings: Settings,
    space: Space,
    tuning: Tuning,
    session: Session,
) -> Tuned:
    """Search for a recipe inside each outer fold and on all photos, score it outside, and train a run with it.

    Each outer fold has a separate search, on inner folds of its train photos; what that picks is trained on all of
    them and scored on the outer photos, which no search saw, beside the default recipe. The final recipe
    comes from a last search, on all photos. Finished trainings are kept in the cache: the same command again goes on.

    Parameters
    ----------
    settings : Settings
        With the default recipe, the first trial of each search.

    Raises
    ------
    UsageError
        If the folder or its run's exists.
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small for so many folds.
    DivergedError
        If the default recipe's loss became NaN or infinite.
    """
    started = time.perf_counter()
    with new_folder(session, data=data, kind="tune") as (folder, target):
        run = named_folder(session.models, f"{target.name}-run", kind=TUNED)
        if run.exists():
            raise UsageError(f"{run} exists already. Choose another --name, or remove it first.")
        with open_workers(session) as working:
            found = search_nested(data, settings=settings, space=space, tuning=tuning, session=working)
        done = _tuned(found, data=data, settings=settings, space=space, folder=target, run=run)
        done = replace(done, seconds=round(time.perf_counter() - started, 1))
        _write(folder, done, data=data, command=session.command)
        again = replace(session, name=run.name, resume=None if session.resume else session.resume)
        train(data, settings=with_recipe(settings, done.recipe), session=again)
    return done


def _tuned(found: NestedSearch, *, data: Path, settings: Settings, space: Space, folder: Path, run: Path) -> Tuned:
    default, last = settings.recipe, found.last
    nested, best = nested_score(found.outer, default=default.name), last.best
    recipe = default
    if best.number:
        about = {
            "name": TUNED,
            "source": f"imgreg tune on {data.name}: trial {best.number} of {len(last.trials)}, from {default.name}.",
            "expect": f"Test loss {nested.loss.mean:.3f} ({nested.loss.low:.3f} to {nested.loss.high:.3f}), accuracy "
            f"{nested.accuracy.mean:.1%} on photos that took no part in the search.",
        }
        recipe = recipe_with(default, best.values).model_copy(update=about)
    changes = changed_settings(*(_shown(one, space) for one in (default, recipe)))
    elsewhere = [] if folder.parent == Path("models") else ["--models", str(folder.parent)]
    given = [as_typed(data), "--recipe", str(folder / "best.toml"), *options_of(settings), *elsewhere]
    return Tuned(
        recipe=recipe,
        default=default,
        space=space,
        nested=nested,
        outer=found.outer,
        trials=last.trials,
        importances=last.importances,
        changes=changes,
        answer=tune_answer(nested, changes=changes),
        notes=found.notes,
        n_trained=found.n_trained,
        n_kept=found.n_kept,
        folder=folder,
        run=run,
        train_command=shlex.join(["imgreg", "train", *given]),
    )


def _shown(recipe: Recipe, space: Space) -> dict[str, str]:
    """The settings of the space that have an effect, as they are typed."""
    tables = recipe.rendered()
    return {
        key: typed(tables[table][leaf]) for key in space for table, leaf in (key.split("."),) if leaf in tables[table]
    }


def tune_document(done: Tuned) -> dict[str, object]:
    """What tune --json prints."""
    return {
        "tune": str(done.folder),
        "run": str(done.run),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "train_command": done.train_command,
        "changes": list(done.changes),
        "recipe": done.recipe.rendered(),
        "nested": done.nested.model_dump(mode="json"),
        "outer_folds": [one.model_dump(mode="json") for one in done.outer],
        "trials": [one.model_dump(mode="json") for one in done.trials],
        "importances": done.importances,
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
        "seconds": done.seconds,
    }


def _write(folder: Path, done: Tuned, *, data: Path, command: str) -> None:
    shared = {
        "tune": done.folder.name,
        "run": done.run.name,
        "notes": [shared_text(line, data) for line in done.notes],
        "train_command": shared_command(done.train_command),
        "command": shared_command(command),
        "settings": {
            key: [_shown(recipe, done.space).get(key) for recipe in (done.default, done.recipe)] for key in done.space
        },
        "space": {key: dataclasses.asdict(one) for key, one in done.space.items()},
    }
    document = tune_document(done) | shared
    write_json(folder / "tune.json", document)
    write_text(folder / "best.toml", tomli_w.dumps(done.recipe.rendered()))
    header = ("trial", "status", "loss", *done.space)
    rows = [
        (one.number, one.status, "" if one.loss is None else one.loss, *(typed(one.values[key]) for key in done.space))
        for one in done.trials
    ]
    write_text(folder / "trials.csv", rows_to_csv(header, rows))
    draw_tune(folder, document)


def draw_tune(folder: Path, document: Mapping[str, Any]) -> None:
    """Write report.html and its figures into the folder of a search, finished or being written.

    Parameters
    ----------
    document : mapping
        The contents of tune.json.

    Raises
    ------
    KeyError, TypeError, AttributeError, ValidationError
        If the document is not what `tune` wrote.
    """
    from imgreg.reports.tune import Dimension, tune_report

    dimensions = [
        Dimension(key, labels=Choices(tuple(one["values"])).labels)
        if "values" in one
        else Dimension(key, low=one["low"], high=one["high"], log=one["log"])
        for key, one in document["space"].items()
    ]
    tune_report(RecipeSearch.model_validate(document), dimensions=dimensions, folder=folder)
