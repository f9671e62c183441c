"""trial_task.py: a trial of a machine that shares nothing with the command but an object store."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import paint_set
from imgreg import paths
from imgreg.config import Settings
from imgreg.errors import MachineError
from imgreg.features.block_files import WrittenBlock
from imgreg.features.block_worker import BlockWorker, cache_of_workers, made_with, views_to_send
from imgreg.features.extract import FeatureSource, View
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS
from imgreg.session import Session
from imgreg.training.resampling import resample_dataset
from imgreg.training.trials import Grid, run_trials

SETTINGS = Settings.model_validate(
    {
        "base": {"weights": "starter", "image_size": 32},
        "recipe": {"name": "plain", "head": {"units": (4,)}, "training": {"epochs": 2, "batch_size": 8}},
    }
)


class OtherMachine:
    """A pool of one worker in this process: what reaches it is pickled, and its cache folder is another."""

    is_started = True

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch

    def n_workers(self, **_: Any) -> int:
        return 1

    def map(self, work: Callable[[Any], Any], items: Sequence[Any], **_: Any) -> Iterator[tuple[Any, Future[Any]]]:
        for item in items:
            future: Future[Any] = Future()
            future.set_result(self._there(work, item))
            yield item, future

    def compute_blocks(
        self, blocks: Sequence[Sequence[View]], *, source: FeatureSource
    ) -> Generator[tuple[int, WrittenBlock], None, None]:
        cache = cache_of_workers(source)
        for number, views in enumerate(blocks):
            worker = BlockWorker(source.base, layer=source.layer, cache=cache, expected=made_with(source.base))
            yield number, self._there(worker.compute, views_to_send(views))

    def _there(self, work: Callable[[Any], Any], item: Any) -> Any:
        with self.patch.context() as there:
            there.setattr(paths.platformdirs, "user_cache_path", lambda _: self.folder)
            there.setenv("TF_NUM_INTRAOP_THREADS", "")  # what the worker sets is undone
            there.setenv("TF_NUM_INTEROP_THREADS", "")
            work, item = pickle.loads(pickle.dumps((work, item)))
            return pickle.loads(pickle.dumps(work(item)))


def test_trials_of_machines_that_share_a_store_alone(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same trials and files as in one process; blocks are fetched where heads train, and nowhere else; what was in
    damaged ones is computed again there; what a machine lacks is an error."""
    pytest.importorskip("obstore", reason="install imgreg[stores] to test object stores")
    data = paint_set(tmp_path / "data", n_each=8)
    here, worker, store = tmp_path / "here", tmp_path / "worker", tmp_path / "store"
    (own_cache / "base").mkdir(exist_ok=True)
    for name in ("here", "alone", "new machine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base").symlink_to(own_cache / "base")
    monkeypatch.setattr(paths.platformdirs, "user_cache_path", lambda _: here)

    def trained(address: str, session: Session) -> tuple[Grid, list[str], dict[str, bytes]]:
        monkeypatch.setenv("IMGREG_CACHE", address)
        said: list[str] = []
        session = replace(session, resume=False, watcher=Watcher(say=said.append))
        resampled = resample_dataset(data, SETTINGS, repeats=2, session=session)
        grid = run_trials(resampled, settings=[SETTINGS], session=session)
        kept = {path.name: path.read_bytes() for path in (paths.cache_folder() / TRIALS).iterdir()}
        return grid, said, kept

    alone = trained(str(tmp_path / "alone"), Session(workers=1))
    elsewhere = Session(ray="elsewhere", pool=OtherMachine(worker, monkeypatch))
    grid, said, kept = trained(store.as_uri(), elsewhere)
    assert (grid, kept) == (alone[0], alone[2])
    assert len(kept) == 2
    blocks = sorted(path.name for path in (worker / "features").glob("*.npy"))
    assert sorted(path.name for path in (store / "blocks").iterdir()) == blocks != []
    assert not list(here.rglob("*.npy"))
    assert ["fetched" in line for line in said] == [True]
    for name in blocks:
        (store / "blocks" / name).write_bytes(b"x")
    elsewhere = replace(elsewhere, pool=OtherMachine(tmp_path / "new machine", monkeypatch))
    again, said, _ = trained(store.as_uri(), elsewhere)
    assert again == grid
    assert ["was damaged" in line for line in said[: len(blocks)]] == [True] * len(blocks)
    assert len(list((store / "blocks").iterdir())) > len(blocks)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MachineError, match=r"pip install 'imgreg\[stores\]'"):
        trained(store.as_uri(), elsewhere)
