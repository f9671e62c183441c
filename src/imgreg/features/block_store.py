"""Blocks of features in an object store, which the caches of several machines share.

In: an address, and blocks of the local cache with their keys. Out: which blocks have the features that are asked for,
and a block's bytes, checked against its name. Must not know: what a block holds, and where it lies on this machine.

Below the address are `blocks/NAME.npy`, named by their content as in the local cache, and for each of them
`index/BASE/NAME-DIGEST.keys`: a line `ROW KEY` for each feature, DIGEST being that of these lines. A block is put
before its lines, so what the index lists is there. Nothing is changed once it is there, but for an object that was
damaged, so two machines that put the same block need not know of each other. A machine reads each of these small
objects once and keeps their lines in SQLite. `base/NAME` are the files of exported VGG16s, for workers.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from imgreg.data.stores import PORTION, THREADS, Store
from imgreg.errors import ImgregError, MachineError, UsageError
from imgreg.features.block_files import block_name

BLOCKS, INDEX, BASE = "blocks", "index", "base"

Rows = list[tuple[str, int]]  # keys of features, each with its row in a block

_LIST = re.compile(r"([0-9a-f]{64})-([0-9a-f]{32})\.keys")
_LINES = re.compile(rb"(\d{1,4} [0-9a-f]{64}\n)+")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lists (id INTEGER PRIMARY KEY, base TEXT, name TEXT, UNIQUE (base, name));
CREATE TABLE IF NOT EXISTS places (key BLOB, list INTEGER, row INTEGER, PRIMARY KEY (key, list)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS places_by_list ON places (list);
"""


@dataclass(frozen=True)
class StoreContents:
    """What a store holds: blocks of features, and all bytes, those of exported bases among them."""

    address: str
    n_blocks: int
    n_bytes: int


class BlockStore:
    """The blocks at an address, and what this machine knows of them. One thread uses it, but for `block`."""

    def __init__(self, address: str, *, folder: Path, say: Callable[[str], None]) -> None:
        """
        Parameters
        ----------
        folder : Path
            Of this machine, where the lists of keys that were read are kept.

        Raises
        ------
        UsageError
            If it is not an address of a store.
        MachineError
            If the address cannot be used.
        """
        if not re.fullmatch(r"(s3|gs|az)://[^/].*|file:///.+", address):
            raise UsageError(
                f"IMGREG_CACHE={address}: expected a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, "
                "az://CONTAINER/PREFIX or file:///FOLDER."
            )
        self.address = address
        self._folder, self._say = folder, say
        self._listed: set[str] = set()  # bases
        self._damaged: set[str] = set()  # names of objects, which are put again
        with self._asking():
            self._store = Store(address)

    def close(self) -> None:
        if "_known" in vars(self):
            self._known.close()

    @cached_property
    def _known(self) -> sqlite3.Connection:
        """Opened when it is needed: who only puts blocks, as workers do, needs none. raises MachineError"""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.blake2b(self.address.encode(), digest_size=8).hexdigest()
            known = sqlite3.connect(self._folder / f"store-{digest}.sqlite", timeout=60, isolation_level=None)
            known.execute("PRAGMA journal_mode = WAL")
            known.execute("PRAGMA synchronous = NORMAL")  # what is lost is only read again
            known.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise MachineError(
                f"{self._folder}: cannot keep what is known of {self.address} ({error}). Free some space."
            ) from error
        return known

    def refresh(self, base: str, *, on_list: Callable[[int, int], None] | None = None) -> None:
        """Learn which features of a base are there, once: a long extraction asks portion by portion.

        Parameters
        ----------
        on_list : callable, optional
            Called with (new objects of the index read, those to read).

        Raises
        ------
        MachineError
            If the store cannot be read.
        """
        if base in self._listed:
            return
        known = dict(self._known.execute("SELECT name, id FROM lists WHERE base = ?", (base,)))
        with self._asking(), ThreadPoolExecutor(THREADS) as pool:
            listed = {
                name
                for portion in self._store.objects(below=f"{INDEX}/{base}")
                for one in portion
                if _LIST.fullmatch(name := one.key.rpartition("/")[2])
            }
            new = sorted(listed - known.keys())
            for start in range(0, len(new), PORTION):
                part = new[start : start + PORTION]
                read = list(pool.map(lambda name: self._rows_of(f"{INDEX}/{base}/{name}"), part))
                with self._changing():
                    for name, rows in zip(part, read, strict=True):
                        if rows:  # a damaged one stays unknown, so that a later command replaces it
                            self._learn(base, name, rows)
                if on_list is not None:
                    on_list(start + len(part), len(new))
        with self._changing():
            gone = [(known[name],) for name in known.keys() - listed]
            self._known.executemany("DELETE FROM places WHERE list = ?", gone)
            self._known.executemany("DELETE FROM lists WHERE id = ?", gone)
        self._listed.add(base)

    def find(self, keys: Iterable[str]) -> dict[str, Rows]:
        """Blocks that have these features, each feature in one of them: the blocks with the most of them come first."""
        left = set(keys)
        by_list: dict[int, Rows] = {}
        for key, number, row in self._places(left):
            by_list.setdefault(number, []).append((key, row))
        blocks: dict[str, Rows] = {}
        for number, rows in sorted(by_list.items(), key=lambda item: (-len(item[1]), item[0])):
            name = self._block_of(number)
            if wanted := [
                (key, row) for key, row in rows if key in left and f"{BLOCKS}/{name}.npy" not in self._damaged
            ]:
                blocks.setdefault(name, []).extend(wanted)
                left -= {key for key, _ in wanted}
        return blocks

    def lacks(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are not known to be there."""
        asked = set(keys)
        return asked - {key for key, number, _ in self._places(asked)}

    def block(self, name: str) -> bytes | None:
        """A block's bytes; None, with a warning, if it is gone or is not what its name says. raises MachineError"""
        key = f"{BLOCKS}/{name}.npy"
        with self._asking():
            content = self._store.read(key)
        if content is not None and block_name(content) == name:
            return content
        self._refuse(key, gone=content is None)
        return None

    def put_block(self, name: str, content: bytes) -> None:
        """Put a block under its name; any machine may do so. raises MachineError"""
        self._put(f"{BLOCKS}/{name}.npy", name, content)

    def put_base(self, content: bytes) -> str:
        """Put a file of an exported base, and give the name by which `base` finds it. raises MachineError"""
        name = block_name(content)
        self._put(f"{BASE}/{name}", name, content)
        return name

    def base(self, name: str) -> bytes:
        """A file of an exported base. raises MachineError, also if it is gone or is not what its name says"""
        with self._asking():
            content = self._store.read(f"{BASE}/{name}")
        if content is None or block_name(content) != name:
            raise MachineError(
                f"{self.address}/{BASE}/{name} {'is gone' if content is None else 'was damaged'}. Run the command "
                "again: it puts the exported VGG16 there."
            )
        return content

    def _put(self, key: str, name: str, content: bytes) -> None:
        """Put what its name says, unless it is there; what is there but damaged is replaced."""
        with self._asking():
            there = self._store.read(key)
            if there is None or block_name(there) != name:
                self._store.put(key, content, replace=there is not None)

    def put_rows(self, block: str, rows: Rows, *, base: str) -> None:
        """Say which features are in a block that was put. raises MachineError"""
        content = "".join(f"{row} {key}\n" for key, row in sorted(rows, key=lambda item: item[::-1])).encode()
        name = f"{block}-{_digest(content)}.keys"
        key = f"{INDEX}/{base}/{name}"
        with self._asking():
            self._store.put(key, content, replace=key in self._damaged)
        with self._changing():
            self._learn(base, name, rows)

    def contents(self) -> StoreContents:
        """Count what is there. raises MachineError"""
        n_blocks = n_bytes = 0
        with self._asking():
            for key, size in self._own_objects():
                n_blocks += key.startswith(BLOCKS)
                n_bytes += size
        return StoreContents(self.address, n_blocks, n_bytes)

    def clear(self) -> None:
        """Delete all blocks, what names their features, and exported bases, for every machine. raises MachineError"""
        with self._asking():
            keys = [key for key, _ in self._own_objects()]
            keys.sort(reverse=True)  # the index first: what it lists must be there
            for start in range(0, len(keys), PORTION):
                self._store.delete(keys[start : start + PORTION])

    def _own_objects(self) -> Iterator[tuple[str, int]]:
        for folder in (BLOCKS, INDEX, BASE):
            for portion in self._store.objects(below=folder):
                for one in portion:
                    name = one.key.rpartition("/")[2]
                    if _LIST.fullmatch(name) or re.fullmatch(r"[0-9a-f]{64}(\.npy)?", name):
                        yield one.key, one.size

    def _rows_of(self, key: str) -> Rows:
        """What an object of the index says; nothing, with a warning, if it is not what its name says."""
        content = self._store.read(key)
        named = _LIST.fullmatch(key.rpartition("/")[2])
        if content is not None and named is not None and _digest(content) == named[2] and _LINES.fullmatch(content):
            pairs = (line.split() for line in content.decode().splitlines())
            return [(feature, int(row)) for row, feature in pairs]
        self._refuse(key, gone=content is None)
        return []

    def _refuse(self, key: str, *, gone: bool) -> None:
        self._damaged.add(key)
        self._say(
            f"{self.address}/{key} {'is gone' if gone else 'was damaged'}; its features are computed again if they are "
            "nowhere else."
        )

    def _places(self, keys: Iterable[str]) -> Iterator[tuple[str, int, int]]:
        """(key, list, row) of what is known of these keys."""
        rest = iter(keys)
        while part := [bytes.fromhex(key) for key in islice(rest, 500)]:
            marks = ",".join("?" * len(part))
            for key, number, row in self._known.execute(f"SELECT * FROM places WHERE key IN ({marks})", part):
                yield key.hex(), number, row

    def _block_of(self, number: int) -> str:
        (name,) = self._known.execute("SELECT name FROM lists WHERE id = ?", (number,)).fetchone()
        return str(name).partition("-")[0]

    def _learn(self, base: str, name: str, rows: Rows) -> None:
        self._known.execute("INSERT OR IGNORE INTO lists (base, name) VALUES (?, ?)", (base, name))
        (number,) = self._known.execute("SELECT id FROM lists WHERE base = ? AND name = ?", (base, name)).fetchone()
        places = ((bytes.fromhex(key), number, row) for key, row in rows)
        self._known.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", places)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._known:
                self._known.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise MachineError(f"what is known of {self.address} cannot be kept ({error}). Free some space.") from error

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """raises MachineError for whatever the store answers"""
        try:
            yield
        except ImgregError as error:
            raise MachineError(f"{error} IMGREG_CACHE names this store; set it to a folder to do without.") from error


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
