"""Features kept between commands: block files named by their content, and an SQLite index of what is where.

A key names everything that a feature's bits depend on. A block is read through memory mapping and checked against
its name first; if it does not match, it is set aside with a warning and recomputed. Several processes may share a
cache: blocks are written under a temporary name and renamed, and SQLite orders the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.data.stores import THREADS
from imgreg.errors import MachineError
from imgreg.features.block_files import WrittenBlock, block_path, is_intact, map_block, write_block, write_content
from imgreg.features.block_store import BlockStore

Float16Array = NDArray[np.float16]

BLOCK_ROWS = 64
DEFAULT_LIMIT_BYTES = 20 * 10**9
STRAY_SECONDS = 86_400  # a file that no entry names is left alone for so long: its writer may still be at work
COPY_SECONDS = 7 * 86_400  # a copy of the index is used as long as the command that made it

_COPY = ".index-"  # begins the name of a copy of the index

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (name TEXT PRIMARY KEY, n_bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, block TEXT NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_block ON items (block);
"""


def feature_key(*parts: object) -> str:
    """Name a feature by everything it depends on.

    >>> feature_key("photo", 1) == feature_key("photo", 1) != feature_key("photo", 2)
    True
    """
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class CacheContents:
    """What the feature cache holds, in numbers."""

    n_features: int
    n_blocks: int
    n_bytes: int
    n_damaged: int  # blocks set aside
    damaged_bytes: int
    oldest_use: float | None  # seconds since 1970; None if there is no block
    newest_use: float | None


@dataclass(frozen=True)
class CacheCheck:
    """What checking every block gave."""

    n_intact: int
    n_damaged: int  # set aside now
    n_gone: int
    n_strays: int  # files of killed processes, removed


class FeatureCache:
    """An open cache; use it with `with`."""

    def __init__(
        self,
        folder: Path,
        *,
        say: Callable[[str], None],
        limit_bytes: int | None = None,
        intact: Collection[str] = (),
        index: Path | None = None,
        store: BlockStore | None = None,
        fetch: bool = True,
        keep_seconds: float = 0.0,
    ) -> None:
        """
        Parameters
        ----------
        limit_bytes : int, optional
            What `shrink` keeps to; None for DEFAULT_LIMIT_BYTES.
        intact : collection of str
            Blocks that the process which started this one has checked and uses.
        index : Path, optional
            What `shared_index` wrote, for a process that only reads.
        store : BlockStore, optional
            Shared with other machines: what is missing here is fetched from there, what is computed here put there.
            It is closed with the cache.
        fetch : bool
            Whether blocks are fetched from the store; if not, what is there counts as here, and cannot be read.
        keep_seconds : float
            `shrink` keeps what was used so long ago, or since: other processes may be reading it.

        Raises
        ------
        MachineError
            If the folder cannot be written.
        """
        self.folder = folder / "features"
        self._say = say
        self._limit_bytes = DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes
        self._intact = set(intact)  # blocks checked by this process
        self._is_copy, self._kept_since = index is not None, time.time() - keep_seconds
        self.store, self._fetch = store, fetch
        self._known: dict[str, tuple[str, int]] = {}  # key: (block, row), of intact blocks
        if index is not None and not index.is_file():
            raise MachineError(
                f"{index}: not found on {socket.gethostname()}. Every machine needs the same folder as IMGREG_CACHE, "
                "on a shared file system."
            )
        try:
            if index is not None:
                self._index = sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
                self._intact |= {name for (name,) in self._index.execute("SELECT DISTINCT block FROM items")}
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._index = _open_index(self.folder / "index.sqlite")
        except (OSError, sqlite3.Error) as error:
            raise MachineError(
                f"{self.folder}: cannot open the feature cache ({error}). Set IMGREG_CACHE to a writable folder."
            ) from error

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()
        if self.store is not None:
            self.store.close()

    @property
    def intact(self) -> frozenset[str]:
        """The blocks that were checked; `shrink` keeps them."""
        return frozenset(self._intact)

    def missing(
        self, keys: Iterable[str], *, base: str = "", on_block: Callable[[int, int], None] | None = None
    ) -> set[str]:
        """Those of the keys whose features are not here, damaged blocks counted as not here.

        With a store, what it has is fetched first, or counts as here, and what it lacks is put there.

        Parameters
        ----------
        base : str
            What all these features are of; a store lists them below this name.
        on_block : callable, optional
            Called with (blocks checked or fetched, blocks to check or fetch).

        Raises
        ------
        MachineError
            If the disk or the store refuses.
        """
        asked = list(keys)
        places = self._places(asked)
        usable = self._check({block for block, _ in places.values()}, on_block=on_block)
        self._known |= {key: place for key, place in places.items() if place[0] in usable}
        if not self._is_copy:
            with self._changing():
                used = ((time.time(), name) for name in usable)
                self._index.executemany("UPDATE blocks SET used = ? WHERE name = ?", used)
        if self.store is not None and asked:
            self._share(self.store, asked, base=base, on_block=on_block)
        return {key for key in asked if key not in self._known}

    def read(self, keys: Sequence[str]) -> Float16Array:
        """Features by key, (n, h, w, c) float16. raises KeyError for a key that `missing` was not asked about

        The last MAPPED_BLOCKS stay mapped, no more: a training may read thousands, and each is an open file.
        """
        rows_by_block: dict[str, list[tuple[int, int]]] = {}
        for place, key in enumerate(keys):
            name, row = self._known[key]
            rows_by_block.setdefault(name, []).append((place, row))
        features: Float16Array | None = None
        for name, rows in rows_by_block.items():
            try:
                block = map_block(self._path(name))
            except FileNotFoundError as error:
                raise MachineError(
                    f"{self._path(name)} is missing: another imgreg evicted it from the feature cache to make room. "
                    "Run this command again."
                ) from error
            if features is None:
                features = np.empty((len(keys), *block.shape[1:]), np.float16)
            to, of = zip(*rows, strict=True)
            features[list(to)] = block[list(of)]
        if features is None:
            raise ValueError("no key was asked for")
        return features

    def write(self, keys: Sequence[str], features: Float16Array, *, base: str = "") -> None:
        """Keep a block of features, (n, h, w, c) float16, one row a key, here and in the store, if there is one.

        Raises
        ------
        MachineError
            If the disk or the store refuses.
        """
        self.add(keys, write_block(self.folder, features), base=base)

    def add(self, keys: Sequence[str], block: WrittenBlock, *, base: str = "") -> None:
        """Enter a block that lies in the folder, or in the store, into the index, its keys in the order of its rows.

        Raises
        ------
        MachineError
            If it is not there in full length, or the store refuses.
        """
        name, path = block.name, self._path(block.name)
        rows = [(key, row) for row, key in enumerate(keys)]
        is_here = path.is_file() and path.stat().st_size == block.n_bytes
        if is_here or (self.store is not None and self._fetch and self._fetched(self.store, name)):
            self._enter(name, rows)
        elif self.store is not None and not self._fetch:
            self._known |= {key: (name, row) for key, row in rows}
        else:
            raise MachineError(
                f"{path}: missing or incomplete right after it was written. If other machines compute, "
                "every one needs the same folder as IMGREG_CACHE, on a shared file system; otherwise run the command "
                "again."
            )
        if self.store is not None:
            if is_here:
                self.store.put_block(name, path.read_bytes())
            self.store.put_rows(name, rows, base=base)

    def release(self) -> None:
        """Free the memory of what was asked for so far; `shrink` still keeps the blocks."""
        self._intact.clear()
        self._known.clear()

    @contextlib.contextmanager
    def shared_index(self) -> Iterator[Path]:
        """A copy of the index of the features that this process knows, for processes on other machines.

        They must not open the index itself: SQLite's locks and its log do not work across machines.

        Raises
        ------
        MachineError
            If it cannot be written.
        """
        place = self.folder / f"{_COPY}{uuid.uuid4().hex}.sqlite"
        try:
            try:
                with contextlib.closing(_open_index(place, journal="OFF")) as copy:
                    copy.execute("BEGIN")
                    rows = ((key, *at) for key, at in self._known.items())
                    copy.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
                    copy.execute("COMMIT")
            except sqlite3.Error as error:
                raise MachineError(
                    f"{place}: cannot be written ({error}). Free some space, or set IMGREG_CACHE to another folder."
                ) from error
            yield place
        finally:
            place.unlink(missing_ok=True)

    def shrink(self) -> None:
        """Drop the blocks longest unused until the cache is within its limit; what this process has used stays."""
        if self._is_copy:
            return
        with self._changing():
            (n_bytes,) = self._index.execute("SELECT TOTAL(n_bytes) FROM blocks").fetchone()
            excess = n_bytes - self._limit_bytes
            older = "SELECT name, n_bytes FROM blocks WHERE used < ? ORDER BY used"
            for name, n_bytes in self._index.execute(older, (self._kept_since,)).fetchall() if excess > 0 else ():
                if excess <= 0:
                    break
                if name not in self._intact and _removed(self._path(name)):
                    self._forget(name)
                    excess -= n_bytes

    def contents(self) -> CacheContents:
        """Count what is here."""
        n_blocks, n_bytes, oldest, newest = self._index.execute(
            "SELECT COUNT(*), COALESCE(SUM(n_bytes), 0), MIN(used), MAX(used) FROM blocks"
        ).fetchone()
        (n_features,) = self._index.execute("SELECT COUNT(*) FROM items").fetchone()
        damaged = [path.stat().st_size for path in (self.folder / "damaged").glob("*.npy")]
        return CacheContents(n_features, n_blocks, n_bytes, len(damaged), sum(damaged), oldest, newest)

    def verify(self, *, on_block: Callable[[int, int], None] | None = None) -> CacheCheck:
        """Check every block, set damaged ones aside, forget those that are gone, remove what killed processes left."""
        names = {name for (name,) in self._index.execute("SELECT name FROM blocks")}
        gone = {name for name in names if not self._path(name).exists()}
        intact = self._check(names, on_block=on_block)
        strays = self._strays()
        for path in strays:
            _removed(path)
        return CacheCheck(len(intact), len(names - intact - gone), len(gone), len(strays))

    def clear(self) -> None:
        """Remove every feature, and the blocks that were set aside. A process that reads them must run again."""
        with self._changing():
            self._index.execute("DELETE FROM items")
            self._index.execute("DELETE FROM blocks")
            known = self.folder.glob("store-*.sqlite*")  # what is in stores
            damaged = (self.folder / "damaged").glob("*.npy")
            for path in (*self.folder.glob("*.npy"), *damaged, *self._strays(), *known):
                _removed(path)
        self._intact.clear()
        self._known.clear()
        with contextlib.suppress(sqlite3.Error):  # another process is at work: the index stays large, that is all
            self._index.execute("VACUUM")

    def _share(
        self, store: BlockStore, keys: Sequence[str], *, base: str, on_block: Callable[[int, int], None] | None
    ) -> None:
        """Fetch those features that are in the store and not here, and put there those that are here alone."""
        store.refresh(base, on_list=on_block)
        started, n_fetched, n_bytes = time.perf_counter(), 0, 0
        while blocks := store.find(key for key in keys if key not in self._known):
            if not self._fetch:
                self._known |= {key: (name, row) for name, rows in blocks.items() for key, row in rows}
                break
            with ThreadPoolExecutor(THREADS) as pool:
                fetched = pool.map(lambda name: self._fetched(store, name), blocks)
                for done, ((name, rows), is_here) in enumerate(zip(blocks.items(), fetched, strict=True), 1):
                    if is_here:
                        self._enter(name, rows)
                        n_fetched, n_bytes = n_fetched + 1, n_bytes + self._path(name).stat().st_size
                    if on_block is not None:
                        on_block(done, len(blocks))
        if n_fetched:
            blocks_of = "block" if n_fetched == 1 else "blocks"
            self._say(
                f"{store.address}: fetched {n_fetched:,} {blocks_of} of features, {n_bytes / 1e6:,.1f} MB, in "
                f"{time.perf_counter() - started:.1f} s."
            )
        lacking = sorted({self._known[key][0] for key in store.lacks(key for key in keys if key in self._known)})
        for done, name in enumerate(lacking, 1):
            rows = self._index.execute("SELECT key, row FROM items WHERE block = ?", (name,)).fetchall()
            store.put_block(name, self._path(name).read_bytes())
            store.put_rows(name, rows, base=base)
            if on_block is not None:
                on_block(done, len(lacking))

    def _fetched(self, store: BlockStore, name: str) -> bool:
        """Whether a block is here now; the store is asked for it if it is not. raises MachineError"""
        if self._is_intact(name):  # other rows of it were asked for before
            return True
        content = store.block(name)
        if content is not None:
            write_content(self.folder, name, content)
        return content is not None

    def _enter(self, name: str, rows: Sequence[tuple[str, int]]) -> None:
        """Take down what a block that is here holds. raises MachineError"""
        n_bytes = self._path(name).stat().st_size
        with self._changing():
            self._index.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", (name, n_bytes, time.time()))
            self._index.executemany(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?)", ((key, name, row) for key, row in rows)
            )
        self._intact.add(name)
        self._known |= {key: (name, row) for key, row in rows}

    def _strays(self) -> list[Path]:
        named = {f"{name}.npy" for (name,) in self._index.execute("SELECT name FROM blocks")}
        blocks = [path for path in self.folder.iterdir() if path.name.startswith(".new-") or path.suffix == ".npy"]
        found = [(path, STRAY_SECONDS) for path in blocks if path.name not in named]
        found += [(path, COPY_SECONDS) for path in self.folder.glob(f"{_COPY}*")]
        return [path for path, seconds in found if path.stat().st_mtime < time.time() - seconds]

    def _places(self, keys: Iterable[str]) -> dict[str, tuple[str, int]]:
        asked, places = list(keys), {}
        for start in range(0, len(asked), 500):
            part = asked[start : start + 500]
            marks = ",".join("?" * len(part))
            found = self._index.execute(f"SELECT key, block, row FROM items WHERE key IN ({marks})", part)
            places.update({key: (block, row) for key, block, row in found})
        return places

    def _check(self, names: Collection[str], *, on_block: Callable[[int, int], None] | None = None) -> set[str]:
        """Hash those blocks that this process has not, on every core; set damaged ones aside; give the intact ones."""
        unchecked = sorted(set(names) - self._intact)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for done, (name, intact) in enumerate(zip(unchecked, pool.map(self._is_intact, unchecked), strict=True), 1):
                if intact:
                    self._intact.add(name)
                if on_block is not None:
                    on_block(done, len(unchecked))
        self._set_aside([name for name in unchecked if name not in self._intact])
        return set(names) & self._intact

    def _set_aside(self, names: Sequence[str]) -> None:
        aside = self.folder / "damaged"
        damaged = [name for name in names if self._path(name).exists()]
        for name in damaged:
            aside.mkdir(exist_ok=True)
            self._path(name).replace(aside / f"{name}.npy")
        if damaged:
            which = f"A block of the feature cache was damaged; it was moved to {aside / damaged[0]}.npy"
            if len(damaged) > 1:
                which = f"{len(damaged)} blocks of the feature cache were damaged; they were moved to {aside}"
            self._say(f"{which}, and will be recomputed when needed.")
        if n_gone := len(names) - len(damaged):
            self._say(
                f"Blocks missing from the feature cache: {n_gone}. Their features will be recomputed when needed."
            )
        if names:
            with self._changing():
                for name in names:
                    self._forget(name)

    def _forget(self, name: str) -> None:
        self._index.execute("DELETE FROM items WHERE block = ?", (name,))
        self._index.execute("DELETE FROM blocks WHERE name = ?", (name,))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self._index.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._index.execute("ROLLBACK")
                raise
            self._index.execute("COMMIT")
        except sqlite3.Error as error:
            raise MachineError(
                f"{self.folder}/index.sqlite: {error}. Free some space, or set IMGREG_CACHE to another folder."
            ) from error

    def _is_intact(self, name: str) -> bool:
        return is_intact(self._path(name))

    def _path(self, name: str) -> Path:
        return block_path(self.folder, name)


def _open_index(path: Path, *, journal: str = "WAL") -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=60, isolation_level=None)
    index.execute(f"PRAGMA journal_mode = {journal}")
    index.execute("PRAGMA synchronous = NORMAL")  # a lost entry is only computed again
    index.executescript(_SCHEMA)
    return index


def _removed(path: Path) -> bool:
    """Remove a file that may be gone already; False where another process has it open, which Windows does not allow."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return not path.exists()
    return True
