"""imgreg tune: the best recipe of a search space, and what the search is worth on photos that took no part in it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from imgreg.analysis.tune import (
    DROP_Z,
    Losses,
    NestedScore,
    OuterScore,
    SearchTrial,
    changed_settings,
    nested_score,
    tune_answer,
)
from imgreg.api.train import train
from imgreg.config import Recipe, Settings
from imgreg.data.resample import Repeat, resplit
from imgreg.errors import DivergedError, UsageError
from imgreg.heads.forward import cross_entropies
from imgreg.paths import shared_command, shared_text
from imgreg.recipes import recipe_with, setting_of, typed
from imgreg.recipes.search_space import Choices, Space, holds, slow_settings
from imgreg.recipes.settings import options_of, with_recipe
from imgreg.runs.folder import rows_to_csv, write_json, write_text
from imgreg.runs.names import named_folder
from imgreg.runs.trial import Trial
from imgreg.session import Session
from imgreg.training.dataset import TEST_FRACTION, ResampledDataset, new_folder, resample_dataset
from imgreg.training.search import Candidate, Sampler, Score, Search, search
from imgreg.training.trials import run_trials

TUNED = "tuned"  # name of the recipe that is handed over


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
    seconds: float
    folder: Path = Path()
    run: Path = Path()
    train_command: str = ""


@dataclass
class _Work:
    """The trainings of a command: what they share, how many there were, and how their progress is shown."""

    settings: Settings
    session: Session
    space: Space
    n_trials: int
    inner_folds: int
    n_planned: int
    n_trained: int = 0
    n_kept: int = 0
    note: str = ""
    _began: bool = False

    @property
    def n_done(self) -> int:
        return self.n_trained + self.n_kept

    def trials(self, resampled: ResampledDataset, settings: Sequence[Settings]) -> dict[str, list[Trial]]:
        """Recipe to its trials; a recipe that diverges is left out. raises DivergedError if the default recipe does"""
        watcher = self.session.watcher

        def step(stage: str, done: int, total: int, note: str) -> None:
            if stage == "training heads":
                done, total, note = self.n_done + done, self.n_planned, self.note
            watcher.step(stage, done, total, note)

        resume = (
            None if self.session.resume and self._began else self.session.resume
        )  # it asks for one message, not many
        session = replace(self.session, watcher=replace(watcher, step=step), resume=resume)
        self._began = True
        left = list(settings)
        while left:
            try:
                grid = run_trials(resampled, settings=left, session=session)
            except DivergedError:
                if left[0] is self.settings:
                    raise
                del left[0]
                continue
            self.n_trained, self.n_kept = self.n_trained + grid.n_trained, self.n_kept + grid.n_kept
            return grid.trials
        return {}

    def scorer(self, inner: ResampledDataset, where: str) -> Score:
        """What trains candidates on one inner fold and gives the losses of its test photos."""

        def score(candidates: Sequence[Candidate], fold: int) -> list[Losses | None]:
            built = {one.number: self.candidate(one) for one in candidates}
            possible = [settings for settings in built.values() if settings is not None]
            self.note = f"{where}, trial {candidates[-1].number + 1} of {self.n_trials}"
            found = self.trials(replace(inner, repeats=(inner.repeats[fold],)), possible)
            return [_losses(found, built[one.number]) for one in candidates]

        return score

    def candidate(self, one: Candidate) -> Settings | None:
        """The settings of a candidate; None where its values do not go together."""
        if one.number == 0:
            return self.settings
        try:
            recipe = recipe_with(self.settings.recipe, one.values)
            return with_recipe(self.settings, recipe.model_copy(update={"name": f"trial {one.number}"}))
        except UsageError as error:
            self.session.watcher.tell(f"trial {one.number}: {error}")
            return None


def _losses(found: Mapping[str, Sequence[Trial]], settings: Settings | None) -> Losses | None:
    if settings is None or settings.recipe.name not in found:
        return None
    (trial,) = found[settings.recipe.name]
    return cross_entropies(trial.test_probabilities, trial.test_labels)


def tune(
    data: Path,
    *,
    settings: Settings,
    space: Space,
    n_trials: int,
    folds: int,
    inner_folds: int,
    seconds: float | None = None,
    session: Session,
) -> Tuned:
    """Search for a recipe inside each outer fold and on all photos, score it outside, and train a run with it.

    Each outer fold has a search of its own, on inner folds of its train photos; what that picks is trained on all of
    them and scored on the outer photos, which no search saw, beside the default recipe. The recipe that is handed over
    comes from a last search, on all photos. Finished trainings are kept in the cache: the same command again goes on.

    Parameters
    ----------
    settings : Settings
        With the default recipe, the first trial of each search.
    n_trials : int
        Recipes in each search.
    folds, inner_folds : int
        Outer folds, and inner folds of each search; 2 or more.
    seconds : float, optional
        Time for all searches; each gets an equal share of what is left, and ends with a batch of trials.

    Raises
    ------
    UsageError
        If the folder or its run's exists.
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small for so many folds.
    DivergedError
        If the default recipe's loss became NaN or infinite.
    """
    with new_folder(session, data=data, kind="tune") as (folder, target):
        run = named_folder(session.models, f"{target.name}-run", kind=TUNED)
        if run.exists():
            raise UsageError(f"{run} exists already. Choose another --name, or remove it first.")
        found = find_recipe(
            data,
            settings=settings,
            space=space,
            n_trials=n_trials,
            folds=folds,
            inner_folds=inner_folds,
            seconds=seconds,
            session=session,
        )
        models = [] if session.models == Path("models") else ["--models", str(session.models)]
        words = ["imgreg", "train", str(data), "--recipe", str(target / "best.toml"), *options_of(settings), *models]
        done = replace(found, folder=target, run=run, train_command=shlex.join(words))
        _write(folder, done, data=data, command=session.command)
        again = replace(session, name=run.name, resume=None if session.resume else session.resume)
        train(data, settings=with_recipe(settings, done.recipe), session=again)
    return done


def find_recipe(
    data: Path,
    *,
    settings: Settings,
    space: Space,
    n_trials: int,
    folds: int,
    inner_folds: int,
    seconds: float | None = None,
    session: Session,
    sampler: Sampler = "tpe",
    drop_z: float = DROP_Z,
) -> Tuned:
    """Everything of `tune` but its folder and its run.

    Parameters
    ----------
    sampler, drop_z
        As in `training.search.search`.
    """
    started, watcher = time.perf_counter(), session.watcher
    resampled = resample_dataset(data, settings, repeats=1, folds=folds, session=session, own_test=False)
    n_searches = folds + 1
    work = _Work(settings, session, space, n_trials, inner_folds, n_searches * n_trials * inner_folds + 2 * folds)
    watcher.say(
        f"At most {work.n_planned} trainings: {n_searches} searches ({folds} outer folds, then all photos) of "
        f"{n_trials} trials on {inner_folds} inner folds, and {2 * folds} to score the outer folds. Trials that "
        "are clearly worse than the best are dropped early."
    )
    slow = slow_settings(space)
    notes = [f"{', '.join(slow)}: VGG16 computes new features for every value, which takes long."] if slow else []
    work.note = "default recipe on the outer folds"
    defaults = work.trials(resampled, [settings])[settings.recipe.name]
    ends = None if seconds is None else time.monotonic() + seconds

    def found_in(repeat: Repeat, where: str, n_left: int) -> Search:
        now = time.monotonic()
        share = None if ends is None else now + (ends - now) / n_left
        return _search(work, resampled, repeat, where=where, ends=share, sampler=sampler, drop_z=drop_z)

    outer = []
    for number, (repeat, default) in enumerate(zip(resampled.repeats, defaults, strict=True)):
        where = f"outer fold {number + 1} of {folds}"
        found = found_in(repeat, where, n_searches - number)
        work.note = f"{where}, scoring"
        outer.append(_outer_score(work, resampled, repeat, found, default))
    everyone = Repeat(0, 0, replace(resampled.repeats[0].split, train=resampled.index.photos, val=(), test=()))
    found = found_in(everyone, "all photos", 1)
    counts = [*(score.n_trials for score in outer), len(found.trials)]
    if min(counts) < n_trials:
        notes.append(f"The time was up before {n_trials} trials: the searches have {', '.join(map(str, counts))}.")
    for line in notes:
        watcher.say(line)
    return _tuned(work, data, found, outer, notes=(*resampled.notes, *notes), started=started)


def _search(
    work: _Work,
    resampled: ResampledDataset,
    repeat: Repeat,
    *,
    where: str,
    ends: float | None,
    sampler: Sampler,
    drop_z: float,
) -> Search:
    """Search on inner folds of a split's train and validation photos."""
    photos, before = (*repeat.split.train, *repeat.split.val), work.n_done
    inner = resplit(
        photos,
        repeats=1,
        folds=work.inner_folds,
        test_fraction=TEST_FRACTION,
        val_fraction=work.settings.photos.val_fraction,
        seed=work.settings.photos.split_seed,
    )
    recipe = work.settings.recipe
    found = search(
        work.space,
        work.scorer(replace(resampled, repeats=inner), where),
        default={key: setting_of(recipe, key) for key in work.space},
        is_inside=holds(work.space, recipe),
        n_folds=work.inner_folds,
        n_trials=work.n_trials,
        seed=(work.settings.seed + 1000 * repeat.fold) % 2**32,
        sampler=sampler,
        drop_z=drop_z,
        is_over=lambda: ends is not None and time.monotonic() >= ends,
    )
    work.n_planned -= work.n_trials * work.inner_folds - (work.n_done - before)
    return found


def _outer_score(work: _Work, resampled: ResampledDataset, repeat: Repeat, found: Search, default: Trial) -> OuterScore:
    """Train what a search picked on all of its photos, and score it on those outside."""
    best, trial = found.best, default
    picked = work.candidate(Candidate(best.number, best.values))
    assert picked is not None  # it was trained inside
    if best.number:
        trials = work.trials(replace(resampled, repeats=(repeat,)), [picked])
        if picked.recipe.name not in trials:
            raise DivergedError(
                f"outer fold {repeat.fold}: the recipe of trial {best.number} diverged on all photos of the search. "
                "Narrow the range of the learning rate with --space."
            )
        (trial,) = trials[picked.recipe.name]
    else:
        work.n_planned -= 1
    first = found.trials[0].loss
    assert best.loss is not None
    assert first is not None
    return OuterScore(
        number=repeat.fold,
        n_train=len(repeat.split.train) + len(repeat.split.val),
        n_test=len(repeat.split.test),
        n_trials=len(found.trials),
        picked=best.number,
        values=best.values,
        inner_loss=best.loss,
        inner_default_loss=first,
        loss=trial.test_loss,
        default_loss=default.test_loss,
        accuracy=trial.test_accuracy,
        default_accuracy=default.test_accuracy,
    )


def _tuned(
    work: _Work, data: Path, found: Search, outer: Sequence[OuterScore], *, notes: tuple[str, ...], started: float
) -> Tuned:
    """The result, without its folders."""
    default, best = work.settings.recipe, found.best
    nested = nested_score(outer, default=default.name)
    recipe = default
    if best.number:
        about = {
            "name": TUNED,
            "source": f"imgreg tune on {data.name}: trial {best.number} of {len(found.trials)}, from {default.name}.",
            "expect": f"Test loss {nested.loss.mean:.3f} ({nested.loss.low:.3f} to {nested.loss.high:.3f}), accuracy "
            f"{nested.accuracy.mean:.1%} on photos that took no part in the search.",
        }
        recipe = recipe_with(default, best.values).model_copy(update=about)
    changes = changed_settings(*(_shown(one, work.space) for one in (default, recipe)))
    return Tuned(
        recipe=recipe,
        default=default,
        space=work.space,
        nested=nested,
        outer=tuple(outer),
        trials=found.trials,
        importances=found.importances,
        changes=changes,
        answer=tune_answer(nested, changes=changes),
        notes=notes,
        n_trained=work.n_trained,
        n_kept=work.n_kept,
        seconds=round(time.perf_counter() - started, 1),
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
    from imgreg.reports.tune import Dimension, tune_report

    shared = {
        "tune": done.folder.name,
        "run": done.run.name,
        "notes": [shared_text(line, data) for line in done.notes],
        "train_command": shared_command(done.train_command),
        "command": shared_command(command),
    }
    write_json(folder / "tune.json", tune_document(done) | shared)
    write_text(folder / "best.toml", tomli_w.dumps(done.recipe.rendered()))
    header = ("trial", "status", "loss", *done.space)
    rows = [
        (one.number, one.status, "" if one.loss is None else one.loss, *(typed(one.values[key]) for key in done.space))
        for one in done.trials
    ]
    write_text(folder / "trials.csv", rows_to_csv(header, rows))
    tune_report(
        done.trials,
        nested=done.nested,
        outer=done.outer,
        dimensions=[
            Dimension(key, labels=one.labels)
            if isinstance(one, Choices)
            else Dimension(key, low=one.low, high=one.high, log=one.log)
            for key, one in done.space.items()
        ],
        importances=done.importances,
        settings={
            key: (_shown(done.default, done.space).get(key), _shown(done.recipe, done.space).get(key))
            for key in done.space
        },
        changes=done.changes,
        answer=done.answer,
        notes=[shared_text(line, data) for line in done.notes],
        command=shared_command(command),
        train_command=shared_command(done.train_command),
        folder=folder,
    )
