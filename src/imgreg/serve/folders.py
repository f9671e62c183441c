"""Folders of photos that may be checked and trained on: those below the roots named at the start, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from imgreg.errors import ArtefactError, UsageError
from imgreg.runs.files import read_json

_DEPTH = 3  # below a root
_MOST = 500  # listed


def listed_folders(roots: Sequence[Path]) -> dict[str, Path]:
    """The folders that may hold a dataset, by the name that pages use for them: two folders of files, or train/."""
    found: dict[str, Path] = {}
    for number, root in enumerate(roots):
        for folder in _with_classes(root, depth=_DEPTH):
            if len(found) == _MOST:
                return found
            found[f"{number}/{folder.relative_to(root).as_posix()}"] = folder
    return found


def named_folders(folders: Iterable[str], *, roots: Sequence[Path]) -> dict[str, str]:
    """What people call each of the listed folders: its path from the root's own name on."""
    parts = {name: name.partition("/") for name in folders}
    return {name: Path(roots[int(n)].resolve().name, below).as_posix() for name, (n, _, below) in parts.items()}


def find_folder(name: str, *, roots: Sequence[Path]) -> Path:
    """The folder of this name. raises UsageError if it is not below a root, links followed"""
    number, _, below = name.partition("/")
    if not number.isdigit() or int(number) >= len(roots):
        raise UsageError(f"no folder {name!r}. Name its parent when you start: imgreg serve --root FOLDER")
    root = roots[int(number)].resolve()
    folder = (root / below).resolve()
    if not folder.is_relative_to(root) or not folder.is_dir():
        raise UsageError(f"no folder {below!r} below {root.name}.")
    return folder


def photos_of_run(run: Path, *, roots: Sequence[Path]) -> Path | None:
    """The photos that a run was trained on; None if they are gone or not below a root, or
    if the folder is not a run."""
    if not (run / "model.json").is_file():
        return None
    try:
        data = Path(read_json(run / "environment.json")["data"]).resolve()
        below = any(data.is_relative_to(root.resolve()) for root in roots)
        return data if below and data.exists() else None
    except (ArtefactError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _with_classes(folder: Path, *, depth: int) -> Iterator[Path]:
    try:
        below = sorted(Path(one.path) for one in os.scandir(folder) if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return
    if sum(map(_holds_files, below)) >= 2 or any(one.name == "train" for one in below):
        yield folder
    if depth:
        for one in below:
            yield from _with_classes(one, depth=depth - 1)


def _holds_files(folder: Path) -> bool:
    try:
        with os.scandir(folder) as inside:
            return any(one.is_file() for one in inside)
    except OSError:
        return False
