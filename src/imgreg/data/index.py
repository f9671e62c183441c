"""The files of a data set in, the list of readable photos out. Reads the photo folder, never writes to it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.data.discovery import as_cell, list_files, notes_on_folders
from imgreg.data.file_cache import FileCache, Stamp, stamp_of, stamp_of_object
from imgreg.data.listed import Listed
from imgreg.data.metadata import ImageMetadata
from imgreg.data.reading import Read, read_here
from imgreg.data.store_listing import StoreListing
from imgreg.errors import DatasetError, PhotoError

_LOOKED_AT_ONCE = 10_000
SKIPPED_NAMED = 5  # of too many


@dataclass(frozen=True, slots=True)
class Photo:
    """A readable photo, small: there may be a million of them.

    Attributes
    ----------
    where : str
        Its path as text, or the address of an object in a store.
    split : str or None
        train, val or test, or None where the user gave none.
    seen : bytes or None
        Its packed image metadata, which index_photos takes.
    family : str
        Shared by photos that a split keeps together; by default each content is its own.
    """

    where: str
    label: str
    sha256: str
    split: str | None = None
    seen: bytes | None = field(default=None, compare=False, repr=False)
    family: str = ""

    @property
    def path(self) -> Path:
        return Path(self.where)

    @property
    def metadata(self) -> ImageMetadata | None:
        return None if self.seen is None else ImageMetadata.unpacked(self.seen)

    @property
    def kept_with(self) -> str:
        """What a split deals as one: the content, or the family where there is one."""
        return self.family or self.sha256


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why."""

    path: Path
    reason: str
    code: str = "damaged"  # see PhotoError


@dataclass(frozen=True)
class PhotoIndex:
    """All photos of a data set, in a fixed order, and the classes in alphabetical order."""

    root: Path
    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what a user should know of the set
    cross_class: str = ""  # a sentence, if identical files are in several classes

    @property
    def digest(self) -> str:
        """A name for the photos' contents and labels, whatever their paths and order."""
        pairs = sorted([photo.sha256, photo.label] for photo in self.photos)
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()

    def relative(self, photo: Photo | Skipped) -> str:
        """A file's path as records name it: from the data folder, or from the folder of its manifest."""
        path = os.path.relpath(photo.path, self.root if self.root.is_dir() else self.root.parent)
        return as_cell(path.replace(os.sep, "/"))  # the same in a run made on Windows


def labels_of(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """Each photo's class as an index into classes, (n,) int64."""
    return np.array([classes.index(photo.label) for photo in photos], dtype=np.int64)


def index_photos(
    root: Path,
    *,
    max_bad: float,
    file_cache: FileCache | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> PhotoIndex:
    """List, read and check every photo of a data set.

    Parameters
    ----------
    root : Path
        As in list_files.
    max_bad : float
        Largest share of unreadable files, 0..1.
    file_cache : FileCache, optional
        What earlier commands read: files in it are not read again, others are added; None to read every file.
    on_file : callable, optional
        Called with (files done, files in all; 0 until that is known).

    Raises
    ------
    DatasetError
        For a missing folder, fewer than two classes, an empty class, or too many unreadable files.
    """
    rows, unread = _looked_up(list_files(root), file_cache=file_cache, on_file=on_file)
    labels = {one.label for one in rows if isinstance(one, Photo)} | {item.label for _, item, _ in unread}
    left_out = [one for one in rows if isinstance(one, Skipped)]
    _refuse_one_class(root, sorted(labels), n_left_out=len(left_out), first=left_out[:1])
    read = _with_read(rows, unread, read=read_here, file_cache=file_cache, on_file=on_file)
    photos = tuple(one for one in read if isinstance(one, Photo))
    skipped = tuple(one for one in read if isinstance(one, Skipped))
    _refuse_too_many_bad(root, skipped[:SKIPPED_NAMED], n_bad=len(skipped), n_listed=len(rows), max_bad=max_bad)
    _refuse_empty_classes(root, labels, counts=Counter(photo.label for photo in photos))
    notes, cross_class = tuple(notes_on_folders(root)), _copies_across_classes(photos)
    return PhotoIndex(root, photos, skipped, tuple(sorted(labels)), notes, cross_class)


def index_portions(
    root: Path,
    *,
    n_files: int,
    max_bad: float,
    file_cache: FileCache | None = None,
    on_file: Callable[[int, int], None] | None = None,
    listing: StoreListing | None = None,
    read: Read = read_here,
) -> Generator[tuple[PhotoIndex, int], None, None]:
    """As index_photos, so many files at a time, in memory that does not grow with the data set.

    The files are listed twice: first to count them and to name the classes. The same file in several classes is not
    looked for.

    Parameters
    ----------
    n_files : int
        Number of files in a portion.
    listing : StoreListing, optional
        The objects of a store, of which `root` is the local folder; None for files of this machine.
    read : callable, optional
        Reads files and gives each row with what was found, in any order; by default processes of this machine.

    Yields
    ------
    PhotoIndex
        Of a portion. All name the same classes; the first alone has the notes.
    int
        Number of files that are still to come.

    Raises
    ------
    DatasetError
        As index_photos; for too many unreadable files as soon as there are, for an empty class after the last portion.
    """

    def files() -> Iterator[Listed]:
        return list_files(root) if listing is None else listing.files()

    n_listed, n_left_out, labels, left_out = 0, 0, set[str](), list[Skipped]()
    for item in files():
        n_listed += 1
        if item.problem is None:
            labels.add(item.label)
        else:
            n_left_out += 1
            left_out = left_out or [_given_up(item, item.problem)]
    _refuse_one_class(root, sorted(labels), n_left_out=n_left_out, first=left_out)
    n_done, n_bad, bad, counts = 0, 0, list[Skipped](), Counter[str]()
    notes = tuple(notes_on_folders(root) if listing is None else listing.notes())
    for part in _batched(files(), n_files):

        def count(done: int, _: int, before: int = n_done) -> None:
            if on_file is not None:
                on_file(before + done, max(n_listed, before + done))

        described = part if listing is None else listing.described(part)
        rows, unread = _looked_up(described, file_cache=file_cache, on_file=count)
        done = _with_read(rows, unread, read=read, file_cache=file_cache, on_file=count)
        photos = tuple(one for one in done if isinstance(one, Photo))
        skipped = tuple(one for one in done if isinstance(one, Skipped))
        n_done, n_bad, bad = n_done + len(done), n_bad + len(skipped), [*bad, *skipped][:SKIPPED_NAMED]
        counts.update(photo.label for photo in photos)
        _refuse_too_many_bad(root, bad, n_bad=n_bad, n_listed=max(n_listed, n_done), max_bad=max_bad)
        yield PhotoIndex(root, photos, skipped, tuple(sorted(labels)), notes), max(n_listed - n_done, 0)
        notes = ()
    _refuse_empty_classes(root, labels, counts=counts)


def _looked_up(
    items: Iterable[Listed],
    *,
    file_cache: FileCache | None,
    on_file: Callable[[int, int], None] | None,
) -> tuple[list[Photo | Skipped | None], list[tuple[int, Listed, Stamp | None]]]:
    """What is known of files before any is read.

    Returns
    -------
    list of Photo, Skipped or None
        None for a file that is to be read.
    list of (int, Listed, Stamp or None)
        These files, each with its row.
    """
    rows: list[Photo | Skipped | None] = []
    unread: list[tuple[int, Listed, Stamp | None]] = []
    for part in _batched(items, _LOOKED_AT_ONCE):
        stamps = [None if file_cache is None else _stamp(item) for item in part]
        had = [None] * len(part) if file_cache is None else file_cache.find([item.where for item in part], stamps)
        for item, stamp, facts in zip(part, stamps, had, strict=True):
            if item.problem is not None:
                rows.append(_given_up(item, item.problem))
                continue
            if facts is None:
                unread.append((len(rows), item, stamp))
            rows.append(None if facts is None else Photo(item.where, item.label, facts[0], item.split, facts[1]))
        if on_file is not None:
            on_file(len(rows) - len(unread), 0)
    return rows, unread


def _with_read(
    rows: list[Photo | Skipped | None],
    unread: Sequence[tuple[int, Listed, Stamp | None]],
    *,
    read: Read,
    file_cache: FileCache | None,
    on_file: Callable[[int, int], None] | None,
) -> list[Photo | Skipped | None]:
    """The rows with every file read, and what was read taken down."""
    rows = list(rows)
    if on_file is not None:
        on_file(len(rows) - len(unread), len(rows))
    found = read([item for _, item, _ in unread])
    for done, (number, one) in enumerate(found, start=len(rows) - len(unread) + 1):
        row, item, stamp = unread[number]
        if isinstance(one, PhotoError):
            rows[row] = _given_up(item, one)
        else:
            sha256, seen = one
            rows[row] = Photo(item.where, item.label, sha256, item.split, seen)
            if file_cache is not None and stamp is not None:
                file_cache.keep(item.where, stamp, sha256=sha256, seen=seen)
        if on_file is not None:
            on_file(done, len(rows))
    return rows


def _stamp(item: Listed) -> Stamp | None:
    return stamp_of(item.where) if item.stored is None else stamp_of_object(item.stored)


def _copies_across_classes(photos: Sequence[Photo]) -> str:
    starts = np.fromiter((int(photo.sha256[:7], 16) for photo in photos), np.int32, len(photos))
    ordered = np.sort(starts)
    labels: dict[str, set[str]] = {}  # of those that may have a copy: of a million, it would be 300 megabytes
    for row in np.flatnonzero(np.isin(starts, ordered[1:][ordered[1:] == ordered[:-1]])).tolist():
        labels.setdefault(photos[row].sha256, set()).add(photos[row].label)
    n_cross_class = sum(len(found) > 1 for found in labels.values())
    if not n_cross_class:
        return ""
    pictures = "1 picture appears" if n_cross_class == 1 else f"{n_cross_class} pictures appear"
    return f"{pictures} in more than one class (identical files), where only one label can be right."


def _batched(items: Iterable[Listed], n: int) -> Iterator[list[Listed]]:
    rest = iter(items)
    while part := list(islice(rest, n)):
        yield part


def _given_up(item: Listed, error: PhotoError) -> Skipped:
    return Skipped(Path(item.where), str(error), error.code)


def _refuse_one_class(root: Path, found: Sequence[str], *, n_left_out: int, first: Sequence[Skipped]) -> None:
    if not found and n_left_out == 1 and first[0].path == root:  # a tar or Parquet file that cannot be read
        raise DatasetError(f"{root}: {first[0].reason}. Expected photos with labels in it (see `imgreg help train`).")
    if len(found) < 2 and first:
        raise DatasetError(
            f"{root}: found {len(found)} class{'' if len(found) == 1 else 'es'} among the usable photos, expected 2 or "
            f"more. {n_left_out} left out, the first: {first[0].path}: {first[0].reason}."
        )
    if len(found) < 2:
        names = f" ({', '.join(found)})" if found else ""
        raise DatasetError(
            f"{root}: found {len(found)} class{'' if len(found) == 1 else 'es'}{names}, expected 2 or more. "
            "Put each class's photos in its own folder, e.g. data/cats and data/dogs."
        )


def _refuse_empty_classes(root: Path, labels: Iterable[str], *, counts: Mapping[str, int]) -> None:
    for label in sorted(labels):
        if not counts.get(label):
            raise DatasetError(
                f"{root}: class {label!r} has no readable photo. Add photos to its folder, or remove the folder."
            )


def _refuse_too_many_bad(root: Path, named: Sequence[Skipped], *, n_bad: int, n_listed: int, max_bad: float) -> None:
    if n_bad > max_bad * n_listed:
        first = "\n".join(f"  {bad.path}: {bad.reason}" for bad in named)
        more = f"\n  ... and {n_bad - len(named)} more" if n_bad > len(named) else ""
        raise DatasetError(
            f"{root}: {n_bad} of {n_listed} files cannot be read, more than --max-bad {max_bad:g} "
            f"allows:\n{first}{more}\nRemove or repair them, or raise --max-bad."
        )
