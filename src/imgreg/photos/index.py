"""A folder or a CSV manifest in, the list of readable photos out. Reads the photo folder, never writes to it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import DatasetError, PhotoError
from imgreg.photos.decode import decode, read_bytes
from imgreg.photos.glance import Glance, glance
from imgreg.photos.workers import in_workers

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_PROBE_PX = 32  # a whole decode proves a file readable; the size only sets what is kept of it
_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Photo:
    """A readable photo. `split` is train, val or test, or None where the user gave none; `glance` is index_photos'."""

    path: Path
    label: str
    sha256: str
    split: str | None = None
    glance: Glance | None = field(default=None, compare=False, repr=False)
    family: str = ""  # shared by photos that a split keeps together; by default each content is its own

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
    torn: str = ""  # a sentence, where pictures stand with the same bytes in several classes

    def relative(self, photo: Photo | Skipped) -> str:
        """A file's path as records name it: from the data folder, or from the folder of its manifest."""
        return os.path.relpath(photo.path, self.root if self.root.is_dir() else self.root.parent)


def labels_of(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """Each photo's class as an index into classes, (n,) int64."""
    return np.array([classes.index(photo.label) for photo in photos], dtype=np.int64)


@dataclass(frozen=True)
class _Listed:
    path: Path
    label: str
    split: str | None


def index_photos(root: Path, *, max_bad: float, on_file: Callable[[int, int], None] | None = None) -> PhotoIndex:
    """List, read and check every photo of a data set.

    root      DATA/<class>/*, DATA/{train,val|valid|validation,test}/<class>/*, or a .csv: path,label[,split]
    max_bad   largest share of unreadable files, 0..1
    on_file   called with (files done, files in all)
    raises    DatasetError: no such folder, fewer than two classes, an empty class, or too many bad files
    """
    listed = tuple(_from_manifest(root) if root.is_file() else _from_folders(root))
    _refuse_one_class(root, {item.label for item in listed})
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    for done, found in enumerate(in_workers(_examine, listed, failed=_given_up), start=1):
        (photos if isinstance(found, Photo) else skipped).append(found)  # type: ignore[arg-type]
        if on_file is not None:
            on_file(done, len(listed))
    _refuse_too_many_bad(root, skipped, n_listed=len(listed), max_bad=max_bad)
    counts = Counter(photo.label for photo in photos)
    for label in sorted({item.label for item in listed}):
        if counts[label] == 0:
            raise DatasetError(
                f"{root}: class {label!r} has no readable photo. Put photos in its folder, or remove it."
            )
    notes, torn = tuple(_loose_files(root)), _copies_across_classes(photos)
    return PhotoIndex(root, tuple(photos), tuple(skipped), tuple(sorted(counts)), notes, torn)


def photo_folders(root: Path) -> set[Path]:
    """The folders that hold a data set's photos, where nothing may be written. raises DatasetError"""
    return {root} if root.is_dir() else {item.path.parent for item in _from_manifest(root)}


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder in a fixed order, hidden and system files left out, links to folders not followed."""

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be listed: {error.strerror}. Give imgreg the right to read it.")

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_shown(name):
                yield Path(where) / name


def _from_folders(root: Path) -> Iterator[_Listed]:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder or manifest. Expected a folder with one sub-folder for each class.")
    below = _sub_folders(root)
    splits = [folder for folder in below if folder.name.lower() in SPLIT_FOLDERS and _sub_folders(folder)]
    if splits and not any(SPLIT_FOLDERS[folder.name.lower()] == "train" for folder in splits):
        raise DatasetError(
            f"{root}: found {splits[0].name!r} with class folders in it, but no train/. Expected train, val and test, "
            "each with a folder for each class, or only class folders."
        )
    if splits and len(splits) < len(below):
        odd = sorted(folder.name for folder in below if folder not in splits)
        raise DatasetError(
            f"{root}: found {odd[0]!r} beside {splits[0].name!r}. Expected either only split folders "
            "(train, val, test), each with a folder for each class, or only class folders."
        )
    parents: list[tuple[str | None, Path]] = [(SPLIT_FOLDERS[folder.name.lower()], folder) for folder in splits]
    for split, parent in parents or [(None, root)]:
        for folder in _sub_folders(parent):
            label = _label(folder.name)
            files = tuple(files_below(folder))
            if not files:
                raise DatasetError(f"{folder}: the class folder is empty. Put its photos there, or remove the folder.")
            yield from (_Listed(path, label, split) for path in files)


def _loose_files(root: Path) -> Iterator[str]:
    """A note on photos, by their names, that stand beside the class folders, where no class could be told."""
    if not root.is_dir():
        return
    parents = [root, *(f for f in _sub_folders(root) if f.name.lower() in SPLIT_FOLDERS and _sub_folders(f))]
    loose = [
        path
        for parent in parents
        for path in sorted(parent.iterdir())
        if path.suffix.lower() in _PHOTO_SUFFIXES and path.is_file()
    ]
    if loose:
        photos = "1 photo stands" if len(loose) == 1 else f"{len(loose)} photos stand"
        yield f"{photos} beside the class folders, unused: {', '.join(path.name for path in loose[:3])}."


def _copies_across_classes(photos: Iterable[Photo]) -> str:
    labels: dict[str, set[str]] = {}
    for photo in photos:
        labels.setdefault(photo.sha256, set()).add(photo.label)
    n_torn = sum(len(found) > 1 for found in labels.values())
    if not n_torn:
        return ""
    pictures = "1 picture stands" if n_torn == 1 else f"{n_torn} pictures stand"
    return f"{pictures} with the same bytes in several classes, where only one label can be right."


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LEFT_BY_SYSTEMS


def _label(name: str) -> str:
    """A class's name as clean text: one Unicode form, bytes that are not UTF-8 written out."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed: {error.strerror}.") from error


def _from_manifest(path: Path) -> Iterator[_Listed]:
    expected = "Expected a CSV with the header path,label or path,label,split (split: train, val or test)"
    if path.suffix.lower() != ".csv":
        raise DatasetError(f"{path} is a file. {expected}, or a folder of class folders.")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        yield from _rows_listed(path, rows, expected=expected)
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.line_num}: not CSV ({error}). {expected}.") from error


def _rows_listed(path: Path, rows: csv.DictReader[str], *, expected: str) -> Iterator[_Listed]:
    columns = rows.fieldnames or []
    if not {"path", "label"} <= set(columns):
        raise DatasetError(f"{path}: found the columns {', '.join(columns) or 'none'}. {expected}.")
    for row in rows:
        line = f"{path}, line {rows.line_num}"
        label, given = (row["label"] or "").strip(), (row.get("split") or "").strip().lower()
        if not row["path"] or not label:
            raise DatasetError(f"{line}: path or label is empty. {expected}.")
        if given and given not in SPLIT_FOLDERS:
            raise DatasetError(f"{line}: found split {given!r}. {expected}.")
        yield _Listed(path.parent / row["path"], _label(label), SPLIT_FOLDERS.get(given))


def _examine(item: _Listed) -> Photo | Skipped:
    try:
        if not item.path.is_file():
            if item.path.exists():
                raise PhotoError("not a regular file", code="not-a-file")
            raise PhotoError("no such file", code="missing")
        data = read_bytes(item.path)
        seen = glance(data, decode(data, size_px=_PROBE_PX))
    except PhotoError as error:
        return _given_up(item, error)
    return Photo(item.path, item.label, hashlib.sha256(data).hexdigest(), item.split, seen)


def _given_up(item: _Listed, error: PhotoError) -> Skipped:
    return Skipped(item.path, str(error), error.code)


def _refuse_one_class(root: Path, labels: Iterable[str]) -> None:
    found = sorted(labels)
    if len(found) < 2:
        names = f" ({', '.join(found)})" if found else ""
        raise DatasetError(
            f"{root}: found {len(found)} class{'' if len(found) == 1 else 'es'}{names}, expected 2 or more. "
            "Put each class's photos in its own folder, e.g. data/cats and data/dogs."
        )


def _refuse_too_many_bad(root: Path, skipped: list[Skipped], *, n_listed: int, max_bad: float) -> None:
    if len(skipped) > max_bad * n_listed:
        first = "\n".join(f"  {bad.path}: {bad.reason}" for bad in skipped[:5])
        more = f"\n  ... and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        raise DatasetError(
            f"{root}: {len(skipped)} of {n_listed} files cannot be read, more than --max-bad {max_bad:g} allows:\n"
            f"{first}{more}\nRemove or mend them, or raise --max-bad."
        )
