"""What was read of photo files by earlier commands, so that a file that is still the same is not read again.

A file is the same if its path, size, inode and both times are: the time of its last change (ctime) is the system's, no
program sets it back. A file that changed within two seconds before it was read is not taken down: a second change in
the same tick of a coarse clock would not show (git's "racy" files). An object in a store is the same if its address,
size and version (ETag) are. Whoever must be certain reads the file: features are only ever computed from bytes whose
SHA-256 is the photo's, and `imgreg check` and `verify` read every file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from imgreg.atomic_write import WINDOWS
from imgreg.data.decode import POLICY, heif_version
from imgreg.data.members import file_of
from imgreg.data.stores import StoredObject, is_address

FILE = "photos.sqlite"  # in the cache folder
RACY_SECONDS = 2.0
UNUSED_SECONDS = 90 * 86_400  # what no command asked for in so long is forgotten
_AGED_SECONDS = 86_400  # when an entry's last use is noted again
_ASKED_AT_ONCE = 500

Stamp = tuple[int, int, int, int]  # size, inode, mtime and ctime in ns

_FORMAT = 1  # raised with the table
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INT, inode INT, mtime INT, ctime INT, made_by TEXT, used INT, sha256 TEXT, seen BLOB
) WITHOUT ROWID
"""


def stamp_of(path: str) -> Stamp | None:
    """What tells whether a regular file, or that of a member, is still the same; None for anything else, or a file that
    changed just now.

    None for every file on Windows: its ctime is that of the file's creation, which says nothing of a change.
    """
    if WINDOWS:
        return None
    try:
        seen = os.stat(file_of(path))  # noqa: PTH116 - a million Path objects take a minute
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(seen.st_mode) or max(seen.st_mtime, seen.st_ctime) > time.time() - RACY_SECONDS:
        return None
    return seen.st_size, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns


def stamp_of_object(stored: StoredObject) -> Stamp:
    """The same for an object in a store, as it was listed: its size, and a hash of its version in the other places."""
    return stored.size, *struct.unpack("<3q", hashlib.sha256(stored.version.encode()).digest()[:24])


class FileCache:
    """An open record; use it with `with`. Where it cannot be read or written it knows nothing, and says so once."""

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._path = folder / FILE
        self._index: sqlite3.Connection | None = None
        self._new: list[tuple[object, ...]] = []
        self._swept = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index = sqlite3.connect(self._path, timeout=60, isolation_level=None)
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")  # a lost entry is only read again
            if self._index.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
                self._index.executescript(f"DROP TABLE IF EXISTS files; {_SCHEMA}; PRAGMA user_version = {_FORMAT}")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        if self._index is not None:
            self._index.close()

    def find(self, paths: Sequence[str], stamps: Sequence[Stamp | None]) -> list[tuple[str, bytes] | None]:
        """What is known of each unchanged file: its SHA-256 and its packed image metadata."""
        found: dict[bytes, tuple[str, bytes]] = {}
        wanted = {_key(path): stamp for path, stamp in zip(paths, stamps, strict=True) if stamp is not None}
        now, aged = int(time.time()), []
        try:
            for name, *stamp, used, sha256, seen in self._rows(list(wanted)):
                if wanted[name] == tuple(stamp):
                    found[name] = sha256, seen
                    if used < now - _AGED_SECONDS:
                        aged.append((now, name))
            if aged and self._index is not None:
                self._index.execute("BEGIN IMMEDIATE")
                self._index.executemany("UPDATE files SET used = ? WHERE path = ?", aged)
                self._index.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)
            found.clear()
        return [found.get(_key(path)) for path in paths]

    def keep(self, path: str, stamp: Stamp, *, sha256: str, seen: bytes) -> None:
        """Take down what was read of a file whose stamp was taken before that."""
        self._new.append((_key(path), *stamp, made_by(), int(time.time()), sha256, seen))
        if len(self._new) >= 10 * _ASKED_AT_ONCE:
            self._write()

    def _rows(self, names: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(names), _ASKED_AT_ONCE):
            if self._index is None:
                return
            part = names[start : start + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(part))
            columns = "path, size, inode, mtime, ctime, used, sha256, seen"
            yield from self._index.execute(
                f"SELECT {columns} FROM files WHERE path IN ({marks}) AND made_by = ?", (*part, made_by())
            )

    def _write(self) -> None:
        rows, self._new = self._new, []
        if self._index is None or not rows:
            return
        try:
            self._index.execute("BEGIN IMMEDIATE")
            if not self._swept:  # it looks through the whole table
                self._index.execute("DELETE FROM files WHERE used < ?", (int(time.time()) - UNUSED_SECONDS,))
                self._swept = True
            self._index.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._index.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._index is not None:
            self._index.close()
        self._index = None
        if isinstance(error, (sqlite3.OperationalError, OSError)):  # locked, full, read-only
            self._say(f"{self._path}: cannot cache photo metadata ({error}); every file is read again.")
            return
        self._say(f"{self._path} was damaged ({error}); it was removed, and every file is read again.")
        forget(self._path.parent)


def forget(folder: Path) -> None:
    """Remove the record from a cache folder."""
    for path in record_files(folder):
        path.unlink(missing_ok=True)


def record_files(folder: Path) -> Iterable[Path]:
    """The record's files in a cache folder: SQLite keeps up to three."""
    return [path for path in (folder / f"{FILE}{more}" for more in ("", "-wal", "-shm")) if path.exists()]


def _key(path: str) -> bytes:
    return os.fsencode(path if is_address(path) else os.path.abspath(path))  # noqa: PTH100 - as above


@functools.cache
def made_by() -> str:
    """What the entries depend on besides the file: whether a photo can be read, and what is seen in it."""
    return f"{POLICY} {importlib.metadata.version('pillow')} {heif_version()}"
