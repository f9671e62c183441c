"""An address in an object store in, its photos listed as those of a folder are; none of them is fetched.

What tells labels is fetched into the local copy (see `store_copy`), since it is read where it lies: manifests, metadata
files, class names, and tar and Parquet files. All other objects are known by name, size and version alone, in an SQLite
database of this command: memory does not grow with the bucket. Must not know: who reads the photos.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from imgreg.data.discovery import is_shown, list_files, notes_on_folders
from imgreg.data.listed import Listed
from imgreg.data.manifest import METADATA_FILES, is_manifest
from imgreg.data.members import file_of, holds_photos
from imgreg.data.store_copy import StoreCopy, folder_and_file, may_matter
from imgreg.data.stores import StoredObject, address_of, is_address
from imgreg.data.tar_members import CLASS_FILES
from imgreg.errors import MachineError
from imgreg.progress import Watcher

_SCHEMA = """
CREATE TABLE folders (parent TEXT, name TEXT, PRIMARY KEY (parent, name)) WITHOUT ROWID;
CREATE TABLE files (folder TEXT, name TEXT, size INT, version TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""


@contextmanager
def open_listing(data: Path, *, watcher: Watcher) -> Iterator[StoreListing | None]:
    """List what an address names; None for a path of this machine, and for a tar or Parquet file or one photo.

    Raises
    ------
    DatasetError
        If there is no such bucket or object.
    MachineError
        If obstore or credentials are missing, the store does not answer, or the disk is too small for the list.
    """
    address = address_of(data)
    folder, name = folder_and_file(address) if address is not None and file_of(address) == address else ("", "")
    if not folder or (name and not is_manifest(name)):
        yield None
        return
    with closing(sqlite3.connect("", isolation_level=None)) as names:  # a file that goes with the connection
        names.executescript(_SCHEMA)
        with StoreCopy(folder, watcher=watcher) as copy:
            if name:
                copy.fetch_file(name)
                copy.fetch_named(name, wanted=_is_read_here)
            else:
                copy.fetch(_entered(copy, names), whole=_is_read_here)
        yield StoreListing(copy, name, names)


class StoreListing:
    """The photos of an address, listed: a `Tree`, whose folders are those of the local copy."""

    def __init__(self, copy: StoreCopy, manifest: str, names: sqlite3.Connection) -> None:
        """
        Parameters
        ----------
        manifest : str
            Its name, where the address is one's; else empty.
        names : sqlite3.Connection
            The listed objects, by folder and name; none for a manifest.
        """
        self._copy, self._manifest, self._names = copy, manifest, names
        self.root = copy.folder / manifest
        prefix = copy.store.address.partition("://")[2].partition("/")[2]
        self._prefix = f"{prefix}/" if prefix else ""

    def files(self) -> Iterator[Listed]:
        """As list_files: photos that are objects by their addresses, those in tar and Parquet files by their place."""
        for item in list_files(self.root, tree=self):
            inside = item.problem is not None or file_of(item.where) != item.where
            yield item if inside else replace(item, where=f"{self._copy.store.address}/{self._file_key(item.where)}")

    def notes(self) -> Iterator[str]:
        """As notes_on_folders."""
        return notes_on_folders(self.root, tree=self)

    def described(self, items: Sequence[Listed]) -> list[Listed]:
        """The same files with what the store says of those that are objects; each of a manifest is asked for."""
        start = len(self._copy.store.address) + 1
        keys = {item.where: item.where[start:] for item in items if is_address(item.where)}
        if self._manifest:
            found = {one.key: one for one in self._copy.store.heads(list(dict.fromkeys(keys.values())))}
        else:
            found = {key: one for key in keys.values() if (one := self._looked_up(key)) is not None}
        stored = {key: replace(one, key=f"{self._prefix}{key}") for key, one in found.items()}
        return [replace(item, stored=stored.get(keys[item.where])) if item.where in keys else item for item in items]

    def sub_folders(self, folder: Path) -> list[Path]:
        """As Tree.sub_folders."""
        below = self._names.execute("SELECT name FROM folders WHERE parent = ? ORDER BY name", (self._key(folder),))
        return [folder / name for (name,) in below]

    def file_names(self, folder: Path) -> list[str]:
        """As Tree.file_names."""
        return list(self._file_names(self._key(folder)))

    def names_below(self, folder: Path) -> Iterator[str]:
        """As Tree.names_below."""
        for name in self._file_names(self._key(folder)):
            yield f"{folder}{os.sep}{name}"
        for inner in self.sub_folders(folder):
            yield from self.names_below(inner)

    def _file_names(self, key: str) -> Iterator[str]:
        rows = self._names.execute("SELECT name FROM files WHERE folder = ? ORDER BY name", (key,))
        return (name for (name,) in rows if is_shown(name))

    def _looked_up(self, key: str) -> StoredObject | None:
        folder, _, name = key.rpartition("/")
        wanted = "SELECT size, version FROM files WHERE folder = ? AND name = ?"
        row = self._names.execute(wanted, (folder, name)).fetchone()
        return None if row is None else StoredObject(key, *row)

    def _file_key(self, where: str) -> str:
        key = where.removeprefix(f"{self._copy.folder}{os.sep}")
        return self._copy.key_of(where) if key == where or f"{os.sep}." in f"{os.sep}{key}" else key

    def _key(self, folder: Path) -> str:
        key = self._copy.key_of(folder)
        return "" if key == "." else key


def _entered(copy: StoreCopy, names: sqlite3.Connection) -> Iterator[Sequence[StoredObject]]:
    """Enter all objects of the folder, and give those that are to be fetched. raises DatasetError, MachineError"""
    for portion in copy.listed():
        objects = [one for one in portion if may_matter(one)]
        places = [(*_split(one.key), one) for one in objects]
        folders = {folder for folder, _, _ in places}
        above = {_split(folder) for one in folders for folder in _and_above(one)}
        try:
            names.execute("BEGIN")
            names.executemany("INSERT OR IGNORE INTO folders VALUES (?, ?)", above)
            rows = [(folder, name, one.size, one.version) for folder, name, one in places]
            names.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
            names.execute("COMMIT")
        except sqlite3.Error as error:
            raise MachineError(
                f"{copy.store.address}: the list of its objects cannot be kept ({error}). It needs some 100 bytes an "
                "object in the folder for temporary files: set SQLITE_TMPDIR to one on a larger disk."
            ) from error
        yield [one for one in objects if _is_read_here(one.key)]


def _split(key: str) -> tuple[str, str]:
    folder, _, name = key.rpartition("/")
    return folder, name


def _and_above(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _is_read_here(path: str) -> bool:
    """Whether an object tells labels or holds photos, by its name."""
    return holds_photos(path) or path.rpartition("/")[2] in (*METADATA_FILES, *CLASS_FILES)
