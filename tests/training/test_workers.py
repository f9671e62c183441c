"""workers.py and trials.py: processes at once give what one gives, and lose nothing but time when they are killed."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Trained
from given_to_workers import work
from imgreg.config import Settings
from imgreg.errors import DivergedError, MachineError
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS
from imgreg.session import Session
from imgreg.training import trials
from imgreg.training.resampling import resample_dataset
from imgreg.training.trial_task import TrialResult
from imgreg.training.trials import Grid, run_trials
from imgreg.training.workers import LocalPool, usable_workers


def test_a_killed_worker_costs_only_its_own_item(tmp_path: Path) -> None:
    """What was at work in it is started again, the results come in order, and an error is the one that was raised."""
    waited: list[int] = []
    items = [(tmp_path, what) for what in ("once", "a", "diverges", "left out", "b")]
    results = []
    with LocalPool() as pool:
        for item, future in pool.map(
            work, items, n_at_once=2, wanted=lambda item: item[1] != "left out", on_wait=waited.append
        ):
            if item[1] == "diverges":
                with pytest.raises(DivergedError, match="the loss became NaN"):
                    future.result()
            else:
                results.append(future.result().split()[0])
    assert results == ["once", "a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-0", "b-0", "diverges-0", "once-0", "once-1"]
    assert waited[0] == 0
    assert max(waited) >= 2


def test_an_item_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    """Three processes, then an error that says what may help."""
    with (
        LocalPool() as pool,
        pytest.raises(
            MachineError, match="Task 1 of 1 failed 3 times, because its worker process ended .* use --workers 1"
        ),
    ):
        list(pool.map(work, [(tmp_path, "always")], n_at_once=1))
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interrupt_ends_all_workers(tmp_path: Path) -> None:
    """What on_wait raises comes out within a second or two, and no process is left."""

    def on_wait(_: int) -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), LocalPool() as pool:
        list(pool.map(work, [(tmp_path, "endless")] * 2, n_at_once=2, on_wait=on_wait))
    assert time.monotonic() - began < 20
    with LocalPool() as pool, closing(pool.map(work, [(tmp_path, "a"), (tmp_path, "endless")], n_at_once=2)) as given:
        pid = pid_of(next(given))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_are_kept_from_batch_to_batch(tmp_path: Path) -> None:
    """The same process does both; one that is killed between them, or has something to do when a batch is given up,
    is replaced."""
    with LocalPool() as pool:

        def worker(what: str) -> int:
            (given,) = pool.map(work, [(tmp_path, what)], n_at_once=1)
            return pid_of(given)

        assert not pool.is_started
        first = worker("a")
        assert worker("b") == first
        os.kill(first, signal.SIGKILL)
        while worker("c") == first:  # pebble notices a few tenths of a second later
            time.sleep(0.1)
        with (
            pytest.raises(KeyboardInterrupt),
            closing(
                pool.map(
                    work, [(tmp_path, "endless")], n_at_once=1, on_wait=lambda _: interrupt(tmp_path / "endless-0")
                )
            ) as given,
        ):
            next(given)
        began = time.monotonic()
        worker("d")
        assert time.monotonic() - began < 20
        assert (pool.is_started, pool.n_workers(bytes_each=2**60)) == (True, 1)


def interrupt(path: Path) -> None:
    if path.exists():
        raise KeyboardInterrupt


def pid_of(given: tuple[object, Future[str]]) -> int:
    return int(given[1].result().split()[-1])


def test_memory_bounds_the_number_of_workers() -> None:
    """A process a core where they are small, one where not even one fits."""
    assert usable_workers(bytes_each=2**60) == 1
    assert 1 <= usable_workers(bytes_each=1) <= (os.cpu_count() or 1)
    assert usable_workers(bytes_each=2**60, held=2**70) == usable_workers(bytes_each=1)


def settings_of(**recipes: dict[str, object]) -> list[Settings]:
    return [
        Settings.model_validate(
            {
                "photos": {"max_bad": 0.1},
                "base": {"weights": "starter", "image_size": 64},
                "recipe": {"name": name, "training": {"epochs": 20, "batch_size": 8}, **tables},
            }
        )
        for name, tables in recipes.items()
    ]


@pytest.fixture(scope="module")
def grids(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, own_cache: Path
) -> dict[int, tuple[Grid, dict[str, bytes], list[str]]]:
    """The same trials by one process and by two workers, each with its files in the cache and what it said."""
    cache = tmp_path_factory.mktemp("cache")
    for path in own_cache.iterdir():
        if path.name not in (TRIALS, "checkpoints"):
            (cache / path.name).symlink_to(path)
    wild = {"optimizer": {"name": "sgd", "learning_rate": 10.0}, "head": {"units": (8,), "l2": 10.0}}
    settings = settings_of(
        plain={"head": {"units": (8,)}}, wild=wild, dropout={"head": {"units": (8,), "dropout": 0.5}}
    )
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGREG_CACHE", str(cache))
        for workers in (1, 2):
            said: list[str] = []
            session = Session(workers=workers, resume=False, watcher=Watcher(say=said.append))
            resampled = resample_dataset(trained.data, settings[0], repeats=2, session=session)
            grid = run_trials(resampled, settings=settings, session=session)
            files = {path.name: path.read_bytes() for path in (cache / TRIALS).iterdir()}
            assert not any((cache / "checkpoints").glob("*"))
            found[workers] = grid, files, said
            for name in files:
                (cache / TRIALS / name).unlink()
    return found


def test_two_workers_give_the_same_bits(grids: dict[int, tuple[Grid, dict[str, bytes], list[str]]]) -> None:
    """Every trial, in the cache and in the table, whichever process trained it on however many threads."""
    (one, one_files, _), (two, two_files, _) = grids[1], grids[2]
    assert one == two
    assert (one.n_trained, len(one.trials), len(one_files)) == (4, 2, 4)
    assert one_files == two_files


def test_a_recipe_that_diverges_in_a_worker_is_left_out(
    grids: dict[int, tuple[Grid, dict[str, bytes], list[str]]],
) -> None:
    """With the same message, of its first repeat."""
    (one, _, one_said), (two, _, two_said) = grids[1], grids[2]
    assert list(one.diverged) == ["wild"]
    assert one.diverged["wild"].startswith("wild, repeat 1: training diverged in epoch ")
    assert two.diverged == one.diverged
    assert two_said == one_said


@pytest.mark.parametrize(("long_seconds", "busy_share", "n_here"), [(60.0, 0.0, 2), (0.0, 0.0, 0), (0.0, 1e9, 4)])
def test_auto_starts_workers_once_it_knows_that_they_pay(
    long_seconds: float,
    busy_share: float,
    n_here: int,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a trial of a batch of several, in the midst of a long one, even if only later batches gain by it, and never
    where others use the cores. Later batches use them at once."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")  # what train_in_worker sets in this process is undone
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "")
    monkeypatch.setattr(trials, "PAYS_SECONDS", 0.0)
    monkeypatch.setattr(trials, "LONG_SECONDS", long_seconds)
    monkeypatch.setattr(trials, "BUSY_SHARE", busy_share)
    elsewhere: list[str] = []

    class Here:  # without starting TensorFlow twice more
        is_started = False

        def n_workers(self, **_):
            return 2

        def map(self, work, items, **_):
            self.is_started = True
            for item in items:
                elsewhere.append(item.where)
                future: Future[TrialResult] = Future()
                future.set_result(work(item))
                yield item, future

    settings = settings_of(plain={"head": {"units": (4,)}, "training": {"epochs": 2, "batch_size": 8}})
    session = Session(resume=False, pool=Here())
    resampled = resample_dataset(trained.data, settings[0], repeats=4, session=session)
    repeats = []
    for batch, n_later in (slice(1), 3), (slice(1, 3), 1), (slice(3, 4), 0):
        of_batch = replace(resampled, repeats=resampled.repeats[batch])
        grid = run_trials(of_batch, settings=settings, session=session, n_later=n_later)
        repeats += [trial.repeat for trial in grid.trials["plain"]]
    assert repeats == [1, 2, 3, 4]
    assert elsewhere == [f"plain, repeat {repeat}" for repeat in repeats[n_here:]]
