"""An address in an object store in, a local folder with the same files out.

The folder lies in the cache, below `stores/`, and its files have the objects' names, so that everything else reads it
as any folder. Only objects that are new, or have another ETag or size, are fetched, in parallel. What is listed and
fetched is kept in SQLite: memory does not grow with the number of objects. Must not know: what the files hold.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from imgreg.data.listed import PHOTO_SUFFIXES
from imgreg.data.manifest import MANIFEST_SUFFIXES, inner_manifests, is_manifest, list_manifest
from imgreg.data.members import SUFFIXES as MEMBER_SUFFIXES
from imgreg.data.members import file_of
from imgreg.data.stores import PORTION, THREADS, Store, StoredObject, address_of, without_scheme
from imgreg.data.tar_members import CLASS_FILES
from imgreg.errors import DatasetError, MachineError, UsageError
from imgreg.paths import STORES, cache_folder
from imgreg.progress import Watcher

FREE_BYTES = 2**30  # left on the disk
INDEX = "objects.sqlite"

KNOWN_SUFFIXES = (*PHOTO_SUFFIXES, *MEMBER_SUFFIXES, *MANIFEST_SUFFIXES, ".txt")
_NAME_REFUSED = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    path TEXT PRIMARY KEY, size INT, version TEXT, fetched TEXT, listed INT
) WITHOUT ROWID
"""


def local_copy(data: Path, *, watcher: Watcher) -> Path:
    """Fetch what an address names and is not here yet.

    Parameters
    ----------
    data : Path
        An address of a folder (all photos, manifests, tar and Parquet files below it), of one such file, or of a
        manifest (and the files that it names), or of a photo in a tar or Parquet file (which is fetched); or a path
        of this machine, which is given back.

    Returns
    -------
    Path
        The folder or file in the cache.

    Raises
    ------
    DatasetError
        If there is no such bucket or object, or an object changed while it was fetched.
    MachineError
        If obstore or credentials are missing, the store does not answer, or the disk is too small.
    """
    address = address_of(data)
    if address is None:
        return without_scheme(data)
    if (file := file_of(address)) != address:
        return Path(f"{local_copy(Path(file), watcher=watcher)}{address[len(file) :]}")
    folder, name = folder_and_file(address)
    with StoreCopy(folder, watcher=watcher) as copy:
        if not name:
            copy.fetch(copy.listed(), whole=lambda _: True)
            return copy.folder
        copy.fetch_file(name)
        if is_manifest(name):
            copy.fetch_named(name)
        elif name.lower().endswith(".tar"):
            copy.fetch([copy.present(CLASS_FILES)])
        return copy.folder / name


def folder_and_file(address: str) -> tuple[str, str]:
    """The address of a folder, and the name of the file in it that the address means; empty for the folder itself.

    >>> folder_and_file("s3://b/pets/some.csv"), folder_and_file("s3://b/pets")
    (('s3://b/pets', 'some.csv'), ('s3://b/pets', ''))

    Raises
    ------
    UsageError
        If it has parts that no folder has.
    """
    parts = address.split("://")[1].split("/")
    if {"", ".", ".."} & set(parts):
        raise UsageError(f"{address}: expected SCHEME://BUCKET/PREFIX without empty, '.' or '..' parts.")
    if len(parts) > 1 and Path(parts[-1]).suffix.lower() in KNOWN_SUFFIXES:
        return address.rpartition("/")[0], parts[-1]
    return address, ""


def fetched_contents(folder: Path) -> tuple[int, int]:
    """Number of fetched files in a cache folder, and their bytes."""
    if not (folder / STORES / INDEX).is_file():
        return 0, 0
    fetched = "SELECT count(*), sum(size) FROM objects WHERE fetched IS NOT NULL"
    try:
        with closing(sqlite3.connect(folder / STORES / INDEX)) as index:
            n_files, n_bytes = index.execute(fetched).fetchone()
    except sqlite3.Error:  # damaged: `clear` removes it with the files
        return 0, 0
    return n_files, n_bytes or 0


def clear_fetched(folder: Path) -> None:
    """Remove all fetched files of a cache folder, once no process fetches any more. raises MachineError"""
    if not (folder / STORES).is_dir():
        return
    with FileLock(folder / STORES / ".lock"):
        for path in (folder / STORES).iterdir():
            if path.name != ".lock":
                try:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                except OSError as error:
                    raise MachineError(f"{folder / STORES}: cannot be removed ({error.strerror}).") from error


class StoreCopy:
    """A folder that becomes a copy of an address, and the record of what it holds; one process at a time makes it."""

    def __init__(self, address: str, *, watcher: Watcher) -> None:
        self.store = Store(address)
        self._watcher = watcher
        self._below = f"{address.replace('://', '/', 1)}/"
        self._range = (self._below, f"{self._below[:-1]}0")  # "0" follows "/"
        self._stores = cache_folder() / STORES
        self.folder = self._stores / self._below

    def __enter__(self) -> StoreCopy:
        self._stores.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._stores / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._watcher.say(f"{self.store.address}: waiting for another imgreg process that fetches photos.")
            self._lock.acquire()
        for left in self._stores.glob(".partial-*"):
            left.unlink(missing_ok=True)
        if not (self._stores / INDEX).exists():  # no file without its record
            for fetched in self._stores.glob("[!.]*/"):
                shutil.rmtree(fetched)
        try:
            self._index = sqlite3.connect(self._stores / INDEX, isolation_level=None)
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")
            self._index.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._lock.release()
            raise MachineError(
                f"{self._stores / INDEX} cannot be used ({error}). Remove {self._stores}; its files are fetched again."
            ) from error
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.__exit__()
            raise MachineError(
                f"{self._stores}: no folder can be made for {self.store.address} ({error.strerror}). Remove it; its "
                "files are fetched again."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()
        self._lock.release()

    def listed(self) -> Iterator[Sequence[StoredObject]]:
        """All objects, in portions. raises ImgregError, DatasetError if there is none"""
        n_listed = 0
        for portion in self.store.objects():
            n_listed += len(portion)
            self._watcher.step("listing objects", n_listed, 0, "")
            yield portion
        if not n_listed:
            raise DatasetError(f"{self.store.address}: found no objects. Check the bucket and the prefix.")

    def named_by(self, manifest: Path) -> Iterator[str]:
        """Keys of the files that a manifest names, and of tar files' class names.

        Raises
        ------
        DatasetError
            For a file that is not below the manifest.
        """
        before, folders = "", set[str]()
        for item in list_manifest(manifest):
            key = self.key_of(file_of(item.where))
            if key == before:  # members of one tar follow each other
                continue
            before = key
            yield key
            folder = key.rpartition("/")[0]
            if key.lower().endswith(".tar") and folder not in folders:
                folders.add(folder)
                above = {folder, folder.rpartition("/")[0]}
                yield from (f"{one}/{name}" if one else name for one in sorted(above) for name in CLASS_FILES)

    def key_of(self, path: str | Path) -> str:
        """An object's key by its place in the folder. raises DatasetError for one that is not below it"""
        key = os.path.relpath(path, self.folder).replace(os.sep, "/")
        if key.startswith("../"):
            raise DatasetError(
                f"a manifest below {self.store.address} names {path}, which is not below {self.store.address}. Move "
                "the manifest to a folder above the photos."
            )
        return key

    def present(self, keys: Sequence[str]) -> Sequence[StoredObject]:
        """Those of the named objects that there are; the others' files are removed. raises ImgregError"""
        found = self.store.heads(keys)
        self._remove([self._below + key for key in set(keys) - {one.key for one in found}])
        return found

    def fetch_file(self, name: str) -> None:
        """Fetch one file of the folder. raises DatasetError if there is none"""
        if not (found := self.store.heads([name])):
            raise DatasetError(f"{self.store.address}/{name}: no such object. Check the address and the region.")
        self.fetch([found])

    def fetch_named(self, name: str, *, wanted: Callable[[str], bool] = lambda _: True) -> None:
        """Fetch the manifests that a fetched manifest names, and then those of its files whose key is wanted."""
        self.fetch(map(self.present, _portions(map(self.key_of, inner_manifests(self.folder / name)))))
        self.fetch(map(self.present, _portions(filter(wanted, self.named_by(self.folder / name)))))

    def fetch(self, portions: Iterable[Sequence[StoredObject]], *, whole: Callable[[str], bool] | None = None) -> None:
        """Fetch the objects that are new or changed.

        Parameters
        ----------
        whole : callable, optional
            Whether a path below `stores` is of a kind of which these are all objects there are: other files of that
            kind are removed from the folder.
        """
        started = time.perf_counter()
        self._index.execute("UPDATE objects SET listed = 0 WHERE path >= ? AND path < ?", self._range)
        for portion in portions:
            self._record_listed([one for one in portion if may_matter(one)])
        n_removed = self._remove_unlisted(whole) if whole else 0
        n_kept, n_new, n_bytes = self._index.execute(
            "SELECT count(fetched), count(*) - count(fetched), coalesce(sum(size) FILTER (WHERE fetched IS NULL), 0) "
            "FROM objects WHERE path >= ? AND path < ? AND listed = 1",
            self._range,
        ).fetchone()
        if n_new:
            self._refuse_small_disk(n_bytes)
            n_new, n_bytes = self._fetch_new(n_new, n_bytes)
        seconds, files = time.perf_counter() - started, "file" if n_new == 1 else "files"
        (self._watcher.say if n_new or n_removed else self._watcher.tell)(
            f"{self.store.address}: fetched {n_new:,} {files}, {_size(n_bytes)}, in {seconds:.1f} s "
            f"({_size(n_bytes / seconds)}/s); {n_kept:,} were here, {n_removed:,} removed."
        )

    def _record_listed(self, objects: Sequence[StoredObject]) -> None:
        """Record a portion of what is listed; a file that is here with the same version and size is not fetched."""
        paths = [self._below + one.key for one in objects]
        marks = ",".join("?" * len(paths))
        had = dict(self._index.execute(f"SELECT path, fetched FROM objects WHERE path IN ({marks})", paths))
        rows = []
        for path, one in zip(paths, objects, strict=True):
            same = had.get(path) == one.version and _size_on_disk(self._stores / path) == one.size
            rows.append((path, one.size, one.version, one.version if same else None))
        self._index.execute("BEGIN")
        self._index.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, 1)", rows)
        self._index.execute("COMMIT")

    def _remove_unlisted(self, such: Callable[[str], bool]) -> int:
        unlisted = "SELECT path FROM objects WHERE path > ? AND path < ? AND listed = 0 ORDER BY path LIMIT ?"
        n_removed, (after, end) = 0, self._range
        while rows := self._index.execute(unlisted, (after, end, PORTION)).fetchall():
            n_removed += self._remove([path for (path,) in rows if such(path)])
            after = rows[-1][0]
        return n_removed

    def _remove(self, paths: Sequence[str]) -> int:
        """Remove files with their records, and the folders that are empty then. Gives the number of files."""
        n_removed = 0
        for path in paths:
            with suppress(FileNotFoundError):
                (self._stores / path).unlink()
                n_removed += 1
            with suppress(OSError):  # of the first folder that is not empty
                for parent in (self._stores / path).parents:
                    if parent == self.folder:
                        break
                    parent.rmdir()
        self._index.execute("BEGIN")
        self._index.executemany("DELETE FROM objects WHERE path = ?", [(path,) for path in paths])
        self._index.execute("COMMIT")
        return n_removed

    def _refuse_small_disk(self, n_bytes: int) -> None:
        free = shutil.disk_usage(self._stores).free
        if n_bytes > free - FREE_BYTES:
            raise MachineError(
                f"{self.store.address}: needs {_size(n_bytes)}, but {self._stores} has {_size(free)} free "
                f"({_size(FREE_BYTES)} are kept free). Set IMGREG_CACHE to a folder on a larger disk, or give a "
                "smaller prefix or a manifest of fewer photos."
            )

    def _fetch_new(self, n_new: int, n_bytes: int) -> tuple[int, int]:
        """Fetch what is listed and not here. Returns the number of files, and their bytes. raises ImgregError"""
        done, done_bytes, (after, end), started = 0, 0, self._range, time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            while rows := self._index.execute(
                "SELECT path, size, version FROM objects "
                "WHERE path > ? AND path < ? AND listed = 1 AND fetched IS NULL ORDER BY path LIMIT ?",
                (after, end, PORTION),
            ).fetchall():
                fetched: list[tuple[str, str]] = []
                try:
                    for (path, size, version), written in zip(rows, pool.map(self._fetch_one, rows), strict=True):
                        if not written:
                            continue
                        fetched.append((version, path))
                        done, done_bytes = done + 1, done_bytes + size
                        rate = _size(done_bytes / (time.perf_counter() - started))
                        note = f"{_size(done_bytes)} of {_size(n_bytes)}, {rate}/s"
                        self._watcher.step("fetching", done, n_new, note)
                finally:  # after an error too; pool.map cancels what has not started
                    self._index.execute("BEGIN")
                    self._index.executemany("UPDATE objects SET fetched = ? WHERE path = ?", fetched)
                    self._index.execute("COMMIT")
                after = rows[-1][0]
        return done, done_bytes

    def _fetch_one(self, row: tuple[str, int, str]) -> bool:
        """Write one object's file, whole or not at all; False if the disk takes no such name. raises ImgregError"""
        path, size, version = row
        target, one = self._stores / path, StoredObject(path[len(self._below) :], size, version)
        partial, where = self._stores / f".partial-{threading.get_ident()}", f"{self.store.address}/{one.key}"
        try:
            with partial.open("wb") as file:
                for piece in self.store.pieces(one):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        except OSError as error:
            if error.errno not in _NAME_REFUSED:
                raise MachineError(f"{self._stores}: cannot write {where} ({error.strerror}).") from error
            self._watcher.say(f"{where}: left out, since the disk refuses this name ({error.strerror}).")
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True


def may_matter(one: StoredObject) -> bool:
    """Whether it may be a photo, or hold or list some; not hidden files, directory placeholders and other kinds."""
    suffix = Path(one.key).suffix.lower()
    hidden = any(part.startswith(".") for part in one.key.split("/"))
    return not hidden and (suffix in KNOWN_SUFFIXES or (not suffix and one.size > 0))


def _portions(keys: Iterator[str]) -> Iterator[Sequence[str]]:
    while part := list(itertools.islice(keys, PORTION)):
        yield part


def _size_on_disk(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"
