"""A study's grid: every recipe on every repeat, from the cache or trained now, by this process or by workers."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from imgreg.config import Settings
from imgreg.data.resample import Repeat
from imgreg.data.split import Split
from imgreg.errors import DivergedError
from imgreg.features.block_worker import made_with
from imgreg.features.cache import FeatureCache
from imgreg.features.stored import stored_shape
from imgreg.features.tta import tta_views
from imgreg.heads.epochs import KEPT_BYTES
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS, Trial, TrialStore
from imgreg.session import Session
from imgreg.training.cache import open_cache, store_of_workers
from imgreg.training.checkpoints import VERSIONS_OF, photos_digest, training_key
from imgreg.training.dataset import Dataset
from imgreg.training.prepare import Prepared, prepare
from imgreg.training.resampling import ResampledDataset
from imgreg.training.trial_task import TrialResult, TrialTask, train_in_worker, train_trial, trial_seed
from imgreg.training.workers import open_workers

PAYS_SECONDS = 20.0  # of training left, by what was trained so far: twice what starting the workers takes
LONG_SECONDS = 10.0  # a trial that takes longer is left to the workers, unless it is the last
BUSY_SHARE = 0.7  # of a core: where a training gets less, others use the machine, and workers would not be faster
WORKER_BYTES = 2**30  # of a process that trains, its features aside: 0.4 to 0.7 GB were measured (docs/log.md)


@dataclass(frozen=True)
class Grid:
    """What was asked for, as far as it could be trained.

    Attributes
    ----------
    trials : dict of str to list of Trial
        Recipe to its trials, one a repeat.
    diverged : dict of str to str
        Recipes that are left out because their loss became NaN or infinite, with a message.
    n_trained, n_kept : int
        Trials trained now, and taken from the cache.
    """

    trials: dict[str, list[Trial]]
    diverged: dict[str, str]
    n_trained: int
    n_kept: int


def run_trials(
    resampled: ResampledDataset, *, settings: Sequence[Settings], session: Session, n_later: int = 0
) -> Grid:
    """Train every recipe on every repeat, repeat by repeat; trials that are in the cache are taken from there.

    Parameters
    ----------
    settings : sequence of Settings
        One a recipe, the control first.
    session : Session
        With `resume` False all are trained again; with True a message says so if none is in the cache. Whatever
        `workers` says, the trials are the same to the bit.
    n_later : int
        Trainings that the command will want after these: with many, starting workers pays.

    Raises
    ------
    DivergedError
        If the control's loss becomes NaN or infinite; any other recipe is left out.
    """
    repeats, watcher = resampled.repeats, session.watcher
    store = TrialStore(cache_folder() / TRIALS)
    places = [(repeat, one, _key(one, repeat, resampled)) for repeat in repeats for one in settings]
    found = {key: trial for _, _, key in places if session.resume is not False and (trial := store.get(key))}
    n_kept = sum(key in found for _, _, key in places)
    if session.resume and not n_kept:
        watcher.say("No interrupted training of these photos and settings was found; starting from the beginning.")
    diverged: dict[str, str] = {}
    n_trained = 0
    in_store = store_of_workers(session) is not None
    with open_workers(session) as session, open_cache(session, fetch=not in_store) as cache, ExitStack() as shared:
        missing = [place for place in places if place[2] not in found]
        wanted = [one for one in settings if any(of is one for _, of, _ in missing)]
        prepared = _prepared(wanted, resampled, cache=cache, watcher=watcher)
        tasks = _tasks(missing, resampled, cache=cache, session=session, shared=shared)
        trained = _trained(
            tasks,
            prepared,
            left_out=diverged,
            n_kept=n_kept,
            n_later=n_later,
            n_photos=len(resampled.index.photos),
            session=session,
        )
        with closing(trained):
            for task, future in trained:
                try:
                    result = future.result()
                except DivergedError as error:
                    if task.recipe == settings[0].recipe.name:
                        raise
                    diverged[task.recipe] = f"{task.where}: {error} The recipe is left out."
                    watcher.say(diverged[task.recipe])
                    continue
                if in_store:
                    store.put(task.key, result.trial)
                found[task.key] = result.trial
                n_trained += 1
                for line in result.said:
                    watcher.say(line)
    trials: dict[str, list[Trial]] = {one.recipe.name: [] for one in settings if one.recipe.name not in diverged}
    for _, one, key in places:
        if one.recipe.name in trials:
            trials[one.recipe.name].append(found[key].model_copy(update={"recipe": one.recipe.name}))
    return Grid(trials, diverged, n_trained=n_trained, n_kept=n_kept)


def _tasks(
    places: Sequence[tuple[Repeat, Settings, str]],
    resampled: ResampledDataset,
    *,
    cache: FeatureCache,
    session: Session,
    shared: ExitStack,
) -> list[TrialTask]:
    """A task for each trial, with a copy of the index for workers on other machines that share no store."""
    index, expected, in_store = None, None, store_of_workers(session) is not None
    if session.ray is not None and places:
        index = None if in_store else shared.enter_context(cache.shared_index())
        expected = made_with(resampled.base.identity, packages=VERSIONS_OF)
    return [
        TrialTask(
            one,
            repeat,
            key,
            classes=resampled.index.classes,
            base=resampled.base,
            resume=session.resume,
            cache=None if in_store else cache_folder().absolute(),
            cache_bytes=session.cache_bytes,
            intact=cache.intact if session.ray is None else frozenset(),
            index=index,
            expected=expected,
        )
        for repeat, one, key in places
    ]


def _trained(
    tasks: Sequence[TrialTask],
    prepared: Mapping[str, Prepared],
    *,
    left_out: Mapping[str, str],
    n_kept: int,
    n_later: int,
    n_photos: int,
    session: Session,
) -> Generator[tuple[TrialTask, Future[TrialResult]]]:
    """Train the tasks, in order, and give each as a finished future; those of recipes that are left out are skipped.

    Unless the session says how many workers train, or they are there already, trials are trained here until the time
    that they take shows that starting workers pays.
    """
    pool = session.pool
    assert pool is not None  # of open_workers
    n_at_once = pool.n_workers(bytes_each=_bytes_of_worker(list(prepared.values()), n_photos=n_photos))
    undecided = session.workers is None and n_at_once > 1
    n_done, n_all = n_kept, n_kept + len(tasks)
    left, watch = deque(tasks), _Stopwatch()

    def wanted(task: TrialTask) -> bool:
        return task.recipe not in left_out

    def show(note: str, n_finished: int = 0) -> None:
        session.watcher.step("training heads", n_done + n_finished, n_all, note)

    while left and (undecided or n_at_once == 1) and not pool.is_started:
        task = left[0]
        if wanted(task):
            show(task.where)
            tell = partial(show, task.where)
            if undecided and len(left) + n_later > 1:
                tell = partial(_tell_in_time, tell, watch=_Stopwatch())
            try:
                yield task, _train_here(task, prepared[task.recipe], tell=tell, say=session.watcher.say)
            except _LongTrialError:
                break
            n_done += 1
            show(task.where)
        left.popleft()
        n_left = len(left) + n_later
        rest = n_left * watch.seconds / max(n_done - n_kept, 1)
        if undecided and n_left > 1 and rest > PAYS_SECONDS and watch.had_a_core:
            break
    if left:
        waiting = partial(show, f"{min(n_at_once, len(left))} workers")
        yield from pool.map(train_in_worker, list(left), n_at_once=n_at_once, wanted=wanted, on_wait=waiting)
        waiting(len(left))


class _LongTrialError(Exception):
    """Workers pay: what is trained here is resumed there."""


class _Stopwatch:
    """Time since it was made, and whether this process had a core to itself."""

    def __init__(self) -> None:
        self._began, self._computed = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def had_a_core(self) -> bool:
        return time.process_time() - self._computed >= BUSY_SHARE * self.seconds


def _tell_in_time(tell: Callable[[], None], *, watch: _Stopwatch) -> None:
    tell()
    if watch.seconds > LONG_SECONDS and watch.had_a_core:
        raise _LongTrialError


def _bytes_of_worker(prepared: Collection[Prepared], *, n_photos: int) -> int:
    """What a process takes that trains any of these recipes: TensorFlow, a head, and the features that it keeps."""
    most = KEPT_BYTES * 4 // 3
    if any(one.finetuning is not None for one in prepared):
        return 2 * WORKER_BYTES + most
    sizes = [0]
    for one in prepared:
        row = 2 * math.prod(stored_shape(one.source.base.image_size, one.source.base.stored))
        n_views = one.settings.recipe.n_views + len(tta_views(mirror=one.settings.recipe.prediction.mirror))
        sizes.append(n_photos * n_views * row)
    return WORKER_BYTES + min(max(sizes), most)


def _train_here(
    task: TrialTask, prepared: Prepared, *, tell: Callable[[], None], say: Callable[[str], None]
) -> Future[TrialResult]:
    future: Future[TrialResult] = Future()
    try:
        future.set_result(TrialResult(train_trial(task, prepared, tell=tell, say=say), ()))
    except DivergedError as error:
        future.set_exception(error)
    return future


def _key(settings: Settings, repeat: Repeat, resampled: ResampledDataset) -> str:
    return training_key(
        settings,
        head_seed=trial_seed(settings, repeat),
        photos=photos_digest(repeat.split),
        classes=resampled.index.classes,
        identity=resampled.base.identity,
    )


def _prepared(
    settings: Sequence[Settings], resampled: ResampledDataset, *, cache: FeatureCache, watcher: Watcher
) -> dict[str, Prepared]:
    """Each recipe with the features of all photos, augmented views too: each photo trains in some repeat."""
    index = resampled.index
    everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)
    return {
        one.recipe.name: prepare(everyone, base=resampled.base, settings=one, cache=cache, watcher=watcher)
        for one in settings
    }
