"""A search for a recipe inside each outer fold, scored outside, and one on all photos.

In: photos, the default recipe, a space. Out: scores of the outer folds and the last search. Must not know: how the
result is shown or written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imgreg.analysis.tune import DROP_Z, Losses, OuterScore
from imgreg.config import Settings, Tuning
from imgreg.data.resample import Repeat, resplit
from imgreg.errors import DivergedError, UsageError
from imgreg.heads.forward import cross_entropies
from imgreg.recipes import recipe_with, setting_of
from imgreg.recipes.search_space import Space, slow_settings
from imgreg.recipes.settings import with_recipe
from imgreg.runs.trial import Trial
from imgreg.session import Session
from imgreg.training.resampling import TEST_FRACTION, ResampledDataset, resample_dataset
from imgreg.training.search import Budget, Candidate, Sampler, Score, Search, search, tpe
from imgreg.training.trials import run_trials


@dataclass(frozen=True)
class NestedSearch:
    """The scores of the outer folds, the search on all photos, and the trainings that both took."""

    outer: tuple[OuterScore, ...]
    last: Search
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int


def search_nested(
    data: Path,
    *,
    settings: Settings,
    space: Space,
    tuning: Tuning,
    session: Session,
    sampler: Sampler = tpe,
    drop_z: float = DROP_Z,
) -> NestedSearch:
    """Search for a recipe inside each outer fold and score it outside, then search on all photos.

    Finished trainings are kept in the cache: the same search again goes on from them.

    Parameters
    ----------
    settings : Settings
        With the default recipe, the first trial of each search.
    sampler : callable
        Makes the sampler of each search from a seed.
    drop_z : float
        As in `Budget`.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small for so many folds.
    DivergedError
        If the default recipe's loss became NaN or infinite.
    """
    watcher = session.watcher
    folds, n_searches = tuning.folds, tuning.folds + 1
    resampled = resample_dataset(data, settings, repeats=1, folds=folds, session=session, own_test=False)
    n_planned = n_searches * tuning.trials * tuning.inner_folds + 2 * folds
    work = _Work(settings, session, space, tuning, sampler, drop_z, n_planned)
    watcher.say(
        f"At most {work.n_planned} trainings: {n_searches} searches ({folds} outer folds, then all photos) of "
        f"{tuning.trials} trials on {tuning.inner_folds} inner folds, and {2 * folds} to score the outer folds. Trials "
        "that are clearly worse than the best are dropped early."
    )
    slow = slow_settings(space)
    notes = [f"{', '.join(slow)}: VGG16 computes new features for every value, which takes long."] if slow else []
    work.note = "default recipe on the outer folds"
    defaults = work.trials(resampled, [settings])[settings.recipe.name]
    ends = None if tuning.seconds is None else time.monotonic() + tuning.seconds

    def found_in(repeat: Repeat, where: str, n_left: int) -> Search:
        now = time.monotonic()
        share = None if ends is None else now + (ends - now) / n_left
        return _search(work, resampled, repeat, where=where, ends=share)

    outer = []
    for number, (repeat, default) in enumerate(zip(resampled.repeats, defaults, strict=True)):
        where = f"outer fold {number + 1} of {folds}"
        found = found_in(repeat, where, n_searches - number)
        work.note = f"{where}, scoring"
        outer.append(_outer_score(work, resampled, repeat, found, default))
    everyone = Repeat(0, 0, replace(resampled.repeats[0].split, train=resampled.index.photos, val=(), test=()))
    found = found_in(everyone, "all photos", 1)
    counts = [*(score.n_trials for score in outer), len(found.trials)]
    if min(counts) < tuning.trials:
        notes.append(f"The time was up before {tuning.trials} trials: the searches have {', '.join(map(str, counts))}.")
    for line in notes:
        watcher.say(line)
    return NestedSearch(tuple(outer), found, (*resampled.notes, *notes), work.n_trained, work.n_kept)


@dataclass
class _Work:
    """The trainings of a command: what they share, how many there were, and how their progress is shown."""

    settings: Settings
    session: Session
    space: Space
    tuning: Tuning
    sampler: Sampler
    drop_z: float
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

        again = self.session.resume and self._began  # one message if nothing is found to resume, not many
        resume = None if again else self.session.resume
        session = replace(self.session, watcher=replace(watcher, step=step), resume=resume)
        self._began = True
        left = list(settings)
        while left:
            try:
                n_later = self.n_planned - self.n_done - len(left) * len(resampled.repeats)
                grid = run_trials(resampled, settings=left, session=session, n_later=n_later)
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
            self.note = f"{where}, trial {candidates[-1].number + 1} of {self.tuning.trials}"
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


def _search(
    work: _Work,
    resampled: ResampledDataset,
    repeat: Repeat,
    *,
    where: str,
    ends: float | None,
) -> Search:
    """Search on inner folds of a split's train and validation photos."""
    photos, before = (*repeat.split.train, *repeat.split.val), work.n_done
    inner = resplit(
        photos,
        repeats=1,
        folds=work.tuning.inner_folds,
        test_fraction=TEST_FRACTION,
        val_fraction=work.settings.photos.val_fraction,
        seed=work.settings.photos.split_seed,
    )
    recipe = work.settings.recipe
    found = search(
        work.space,
        work.scorer(replace(resampled, repeats=inner), where),
        default={key: setting_of(recipe, key) for key in work.space},
        sampler=work.sampler((work.settings.seed + 1000 * repeat.fold) % 2**32),
        budget=Budget(
            n_trials=work.tuning.trials,
            n_folds=work.tuning.inner_folds,
            drop_z=work.drop_z,
            is_over=lambda: ends is not None and time.monotonic() >= ends,
        ),
    )
    work.n_planned -= work.tuning.trials * work.tuning.inner_folds - (work.n_done - before)
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
