"""A folder, manifest, tar or Parquet file in, its photos with their labels out, unread. Nothing is ever written."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Protocol

from imgreg.data.isolated_reading import in_workers
from imgreg.data.listed import PHOTO_SUFFIXES, SPLIT_FOLDERS, Listed, clean_label
from imgreg.data.manifest import METADATA_FILES, list_manifest, metadata_file
from imgreg.data.members import file_of, holds_photos, photos_in
from imgreg.data.parquet_rows import labelled_rows
from imgreg.data.stores import address_of, without_scheme
from imgreg.data.tar_members import labelled_photos
from imgreg.errors import DatasetError, PhotoError

_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}


class Tree(Protocol):
    """What is below a folder. Hidden files and folders are left out, and what systems leave behind."""

    def sub_folders(self, folder: Path) -> list[Path]:
        """The folders in a folder, sorted. raises DatasetError"""

    def file_names(self, folder: Path) -> list[str]:
        """Names of the files in a folder, sorted. raises DatasetError"""

    def names_below(self, folder: Path) -> Iterator[str]:
        """Paths of all files below a folder: its own sorted, then each of its folders'. raises DatasetError"""


class _Disk:
    """The folders of this machine, a `Tree`. `names_below` does not follow links to folders."""

    def sub_folders(self, folder: Path) -> list[Path]:
        with _listed(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())

    def file_names(self, folder: Path) -> list[str]:
        with _listed(folder) as entries:
            return sorted(entry.name for entry in entries if is_shown(entry.name) and entry.is_file())

    def names_below(self, folder: Path) -> Iterator[str]:
        def refuse(error: OSError) -> None:
            raise DatasetError(f"{error.filename} cannot be listed: {error.strerror}. Fix the folder permissions.")

        for where, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if is_shown(name):
                    yield f"{where}{os.sep}{name}"  # a million Path objects take a minute and a quarter of a GB


DISK = _Disk()


def list_files(root: Path, *, tree: Tree = DISK) -> Iterator[Listed]:
    """List every file of a data set, in a fixed order.

    Parameters
    ----------
    root : Path
        DATA/<class>/*, DATA/{train,val|valid|validation,test}/<class>/*, a folder with a metadata file, a folder of
        tar or Parquet files (also in split folders or in data/), one such file, or a manifest (see `manifest`).
    tree : Tree, optional
        Where the names of files come from, if not all of them are on the disk.

    Raises
    ------
    DatasetError
        If there is no such folder, a class is empty, or a manifest makes no sense.
    """
    if root.is_file() and holds_photos(root):
        yield from _with_members([Listed(str(root), "", None)])
    elif root.is_file():
        yield from _with_members(list_manifest(root))
    elif tables := _metadata_files(_present(root), tree):
        for split, table in tables:
            yield from _with_members(list_manifest(table, split=split))
    elif files := _files_of_photos(root, tree):
        yield from _with_members(files)
    else:
        yield from _from_folders(root, tree)


def photo_folders(root: Path) -> set[Path]:
    """The folders of this machine that hold a data set's photos, where nothing may be written. raises DatasetError"""
    if address_of(root) is not None:
        return set()
    root = without_scheme(root)
    if root.is_file() and holds_photos(root):
        return {root.parent}
    if root.is_file():
        return {Path(folder) for folder in {os.path.dirname(file_of(item.where)) for item in list_manifest(root)}}  # noqa: PTH120
    return {_present(root)}


def photos_below(path: Path) -> Iterator[Path]:
    """Every file below a folder in a fixed order, hidden and system files left out, links to folders not followed.

    Tar and Parquet files, of which `path` may be one, give the photos in them.
    """
    names = DISK.names_below(path) if path.is_dir() else [str(path)]
    for is_parquet, together in groupby(names, lambda name: name.lower().endswith(".parquet")):
        if is_parquet:  # in isolated processes, the same for all that follow each other
            for found in in_workers(photos_in, together, failed=lambda file, _: [file]):
                yield from map(Path, found)
        else:
            for name in together:
                yield from map(Path, photos_in(name) if holds_photos(name) else [name])


def _files_of_photos(root: Path, tree: Tree) -> list[Listed]:
    """The tar and Parquet files of a folder without class folders, with the splits of their folders."""
    below = tree.sub_folders(root)
    if any(folder.name.lower() not in (*SPLIT_FOLDERS, "data") or tree.sub_folders(folder) for folder in below):
        return []
    return [
        Listed(str(folder / name), "", None if folder == root else SPLIT_FOLDERS.get(folder.name.lower()))
        for folder in (root, *below)
        for name in tree.file_names(folder)
        if holds_photos(name)
    ]


def _with_members(items: Iterable[Listed]) -> Iterator[Listed]:
    """The items, with the photos of tar and Parquet files in the place of these files."""
    for suffix, together in groupby(items, lambda item: Path(item.where).suffix.lower() if not item.label else ""):
        if suffix == ".tar":
            for item in together:
                try:
                    yield from labelled_photos(item.where, split=item.split or _split_in(item.where))
                except (OSError, PhotoError) as error:
                    yield _unreadable(item, error)
        elif suffix == ".parquet":
            for rows in in_workers(_rows_of, together, failed=lambda item, error: [_unreadable(item, error)]):
                yield from rows
        else:
            yield from together


def _rows_of(item: Listed) -> list[Listed]:
    """raises PhotoError"""
    try:
        return labelled_rows(item.where, split=item.split or _split_in(item.where))
    except OSError as error:
        return [_unreadable(item, error)]


def _unreadable(item: Listed, error: OSError | PhotoError) -> Listed:
    if isinstance(error, OSError):
        code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        error = PhotoError(f"cannot be opened: {error.strerror or error}", code=code)
    return Listed(item.where, "", item.split, error)


def _split_in(path: str) -> str | None:
    """The split that a tar or Parquet file's name gives.

    >>> _split_in("data/validation-00000-of-00001.parquet"), _split_in("train/pets_test.tar"), _split_in("trains.tar")
    ('val', 'test', None)
    """
    words = re.split("[^a-z]+", Path(path).stem.lower())
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


def as_cell(path: str) -> str:
    """A path that no spreadsheet takes for a formula, and that still leads to the file.

    >>> as_cell("=1+1.jpg"), as_cell("cats/=1.jpg")
    ('./=1+1.jpg', 'cats/=1.jpg')
    """
    return f".{os.sep}{path}" if path.startswith(("=", "+", "-", "@")) else path


def _metadata_files(root: Path, tree: Tree) -> list[tuple[str | None, Path]]:
    """The metadata file of a folder, or those of all its split folders, each with its split; empty without.

    Raises
    ------
    DatasetError
        If some split folders have one and others do not.
    """
    if table := metadata_file(root):
        return [(None, table)]
    splits = [folder for folder in tree.sub_folders(root) if folder.name.lower() in SPLIT_FOLDERS]
    tables = {folder: metadata_file(folder) for folder in splits}
    if without := [folder for folder, table in tables.items() if table is None and any(tables.values())]:
        raise DatasetError(
            f"{without[0]}: found no {' or '.join(METADATA_FILES)} with file_name and label, which the other split "
            "folders have. Add one, or remove theirs."
        )
    return [(SPLIT_FOLDERS[folder.name.lower()], table) for folder, table in tables.items() if table is not None]


def _from_folders(root: Path, tree: Tree) -> Iterator[Listed]:
    below = tree.sub_folders(root)
    splits = [folder for folder in below if folder.name.lower() in SPLIT_FOLDERS and tree.sub_folders(folder)]
    if splits and not any(SPLIT_FOLDERS[folder.name.lower()] == "train" for folder in splits):
        raise DatasetError(
            f"{root}: found {splits[0].name!r} with class folders in it, but no train/. Expected train, val and "
            "test, each with one folder per class, or only class folders."
        )
    if splits and len(splits) < len(below):
        odd = sorted(folder.name for folder in below if folder not in splits)
        raise DatasetError(
            f"{root}: found {odd[0]!r} next to {splits[0].name!r}. Expected either only split folders (train, val, "
            "test), each with one folder per class, or only class folders."
        )
    parents: list[tuple[str | None, Path]] = [(SPLIT_FOLDERS[folder.name.lower()], folder) for folder in splits]
    for split, parent in parents or [(None, root)]:
        _refuse_classes_below(parent, tree)
        for folder in tree.sub_folders(parent):
            label = clean_label(folder.name)
            empty = True
            for where in tree.names_below(folder):
                empty = False
                yield Listed(where, label, split)
            if empty:
                raise DatasetError(f"{folder}: the class folder is empty. Add photos, or remove the folder.")


def _present(root: Path) -> Path:
    """The data folder. raises DatasetError if there is none, naming the one that was probably meant"""
    if root.is_dir():
        return root
    above = next((folder for folder in root.parents if folder.is_dir()), Path())
    missing, *rest = root.parts[len(above.parts) :]
    near = difflib.get_close_matches(missing, [path.name for path in above.iterdir()], n=1)
    hint = "Expected a folder with one subfolder per class, or a CSV file."
    if near:
        meant = (above / near[0]).joinpath(*rest)
        hint = f"Did you mean {meant if meant.exists() else above / near[0]}?"
    raise DatasetError(f"{root}: no such file or folder. {hint}")


def _refuse_classes_below(parent: Path, tree: Tree) -> None:
    """Folders of the same names, and nothing else, in all class folders look like the classes. raises DatasetError"""
    found = {folder: [path.name for path in tree.sub_folders(folder)] for folder in tree.sub_folders(parent)}
    inner = next(iter(found.values()), [])
    if len(inner) < 2 or any(names != inner or tree.file_names(folder) for folder, names in found.items()):
        return
    where = "the only folder in it" if len(found) == 1 else f"each of its folders ({_some([f.name for f in found])})"
    raise DatasetError(
        f"{parent}: {where} holds no photos, only the folders {_some(inner)}. If these are the classes, pass "
        f"{next(iter(found))}, or all photos as a CSV file with the columns path,label. If not, move the photos up "
        "into the class folders."
    )


def notes_on_folders(root: Path, *, tree: Tree = DISK) -> Iterator[str]:
    """What a user should know of a folder's layout: photos beside the class folders, where no class can be told, and
    folders inside them."""
    if not root.is_dir():
        return
    if tables := _metadata_files(root, tree):
        names = ", ".join(str(table.relative_to(root)) for _, table in tables)
        yield f"Labels come from {names}; class folders and files that it does not list are not used."
        return
    below = tree.sub_folders(root)
    parents = [root, *(f for f in below if f.name.lower() in SPLIT_FOLDERS and tree.sub_folders(f))]
    loose = [name for parent in parents for name in tree.file_names(parent) if name.lower().endswith(PHOTO_SUFFIXES)]
    if loose:
        photos = "1 photo is" if len(loose) == 1 else f"{len(loose)} photos are"
        yield f"{photos} outside the class folders and not used: {', '.join(loose[:3])}."
    classes = [folder for parent in (parents[1:] or parents) for folder in tree.sub_folders(parent)]
    inner = [str(path.relative_to(root)) for folder in classes for path in tree.sub_folders(folder)]
    if inner:
        folders = "1 folder" if len(inner) == 1 else f"{len(inner)} folders"
        yield f"{folders} inside the class folders ({_some(inner)}): their photos count as photos of the class above."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def is_shown(name: str) -> bool:
    """Whether a file counts: it is not hidden, and no system left it behind."""
    return not name.startswith(".") and name.lower() not in _LEFT_BY_SYSTEMS


@contextmanager
def _listed(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    """raises DatasetError"""
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed: {error.strerror}.") from error
