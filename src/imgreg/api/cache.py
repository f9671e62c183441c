"""imgreg cache: what commands leave for later ones, counted, checked, removed. All of it can be computed again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgreg.atomic_write import left_behind
from imgreg.data.file_cache import forget, record_files
from imgreg.data.store_copy import clear_fetched, fetched_contents
from imgreg.errors import MachineError, UsageError
from imgreg.features.block_store import BlockStore, StoreContents
from imgreg.features.cache import CacheCheck, CacheContents, FeatureCache
from imgreg.features.export import is_whole, kept_exports
from imgreg.heads.checkpoint import read_checkpoint
from imgreg.paths import cache_folder, cache_store
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS, TrialStore
from imgreg.training.checkpoints import CHECKPOINTS


@dataclass(frozen=True)
class CacheReport:
    """Where the cache is and what it holds."""

    folder: Path
    features: CacheContents
    bases: tuple[tuple[Path, int], ...]  # exported bases with their bytes
    n_trials: int  # of studies
    trials_bytes: int
    n_checkpoints: int  # of interrupted trainings
    checkpoints_bytes: int
    file_cache_bytes: int  # metadata of photos that were read
    n_fetched: int  # files from object stores
    fetched_bytes: int
    store: StoreContents | None = None  # the object store, where $IMGREG_CACHE names one

    @property
    def n_bytes(self) -> int:
        """All of it on this machine, in bytes."""
        bases = sum(n_bytes for _, n_bytes in self.bases)
        features = self.features.n_bytes + self.features.damaged_bytes
        return (
            features + bases + self.trials_bytes + self.checkpoints_bytes + self.file_cache_bytes + self.fetched_bytes
        )


@dataclass(frozen=True)
class CacheVerification:
    """What checking every byte gave."""

    folder: Path
    features: CacheCheck
    damaged_bases: tuple[Path, ...]  # removed now
    damaged_trials: tuple[Path, ...]  # removed now
    damaged_checkpoints: tuple[Path, ...]  # removed now

    @property
    def n_damaged(self) -> int:
        """Blocks, bases, trials and checkpoints that were damaged or gone."""
        damaged = len(self.damaged_bases) + len(self.damaged_trials) + len(self.damaged_checkpoints)
        return self.features.n_damaged + self.features.n_gone + damaged


def show_cache() -> CacheReport:
    """Count what is kept here, and in the object store of $IMGREG_CACHE. Makes the cache folder if it is not there.

    Raises
    ------
    MachineError
        If the folder or the store cannot be read.
    """
    with _opened_store() as store:
        return _contents(store=None if store is None else store.contents())


def _contents(*, store: StoreContents | None) -> CacheReport:
    folder = cache_folder()
    with FeatureCache(folder, say=lambda _: None) as cache:
        contents = cache.contents()
    trials = TrialStore(folder / TRIALS).files()
    bases = tuple((base, _n_bytes(base)) for base in kept_exports(folder))
    checkpoints = _checkpoints(folder)
    trials_bytes, checkpoints_bytes, file_cache_bytes = (
        sum(path.stat().st_size for path in paths) for paths in (trials, checkpoints, record_files(folder))
    )
    n_fetched, fetched_bytes = fetched_contents(folder)
    return CacheReport(
        folder=folder,
        features=contents,
        bases=bases,
        n_trials=len(trials),
        trials_bytes=trials_bytes,
        n_checkpoints=len(checkpoints),
        checkpoints_bytes=checkpoints_bytes,
        file_cache_bytes=file_cache_bytes,
        n_fetched=n_fetched,
        fetched_bytes=fetched_bytes,
        store=store,
    )


@contextmanager
def _opened_store() -> Iterator[BlockStore | None]:
    address = cache_store()
    if address is None:
        yield None
        return
    with closing(BlockStore(address, folder=cache_folder() / "features", say=lambda _: None)) as store:
        yield store


def verify_cache(*, watcher: Watcher | None = None) -> CacheVerification:
    """Check every block, exported base, trial and checkpoint; damaged ones are removed, and recomputed when needed."""
    watcher, folder = watcher or Watcher(), cache_folder()
    with FeatureCache(folder, say=watcher.say) as cache:
        features = cache.verify(on_block=watcher.stage("checking blocks"))
    damaged = tuple(base for base in kept_exports(folder) if not is_whole(base))
    for base in damaged:
        watcher.say(f"The exported VGG16 {base} was damaged; it was removed and will be exported again.")
        _remove(base)
    for path in (*left_behind(folder / TRIALS), *left_behind(folder / CHECKPOINTS)):
        path.unlink(missing_ok=True)
    trials = TrialStore(folder / TRIALS).damaged()
    for path in trials:
        watcher.say(f"The study trial {path} was damaged; it was removed and will be trained again.")
        path.unlink(missing_ok=True)
    checkpoints = tuple(path for path in _checkpoints(folder) if read_checkpoint(path) is None)
    for path in checkpoints:
        watcher.say(f"The interrupted training {path} was damaged; it was removed and will start over.")
        path.unlink(missing_ok=True)
    return CacheVerification(folder, features, damaged, trials, checkpoints)


def clear_cache(*, store: bool = False) -> CacheReport:
    """Empty this machine's cache, and the object store too, for every machine, if asked to. Returns what was there.

    Raises
    ------
    UsageError
        If there is no object store to empty.
    MachineError
        If the folder or the store cannot be emptied.
    """
    stored = _clear_store() if store else None
    before = _contents(store=stored)
    with FeatureCache(before.folder, say=lambda _: None) as cache:
        cache.clear()
    for base, _ in before.bases:
        _remove(base)
    for name in (TRIALS, CHECKPOINTS):
        if (before.folder / name).is_dir():
            _remove(before.folder / name)
    clear_fetched(before.folder)
    forget(before.folder)
    return before


def _clear_store() -> StoreContents:
    with _opened_store() as store:
        if store is None:
            raise UsageError("--store: IMGREG_CACHE is not the address of an object store. Omit the option.")
        before = store.contents()
        store.clear()
    return before


def _checkpoints(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / CHECKPOINTS).glob("[!.]*")))


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise MachineError(f"{error.filename}: cannot be removed ({error.strerror}).") from error


def _n_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
