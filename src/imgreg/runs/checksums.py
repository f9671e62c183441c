"""SHA256SUMS of a run's folder, as `sha256sum -c` reads it: what the files were when the run was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from imgreg.atomic_write import write_atomic
from imgreg.errors import ArtefactError
from imgreg.runs.files import read_text

NAME = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """List every file of the folder, those below included."""
    _write(folder, {path: _digest(folder / path) for path in _files(folder)})


def renew_sums(folder: Path, paths: Iterable[str]) -> None:
    """Note that these files were rewritten; the others keep what is written of them. Nothing if there is no list."""
    listed = read_sums(folder)
    if listed is not None:
        _write(folder, listed | {path: _digest(folder / path) for path in paths if (folder / path).is_file()})


def read_sums(folder: Path) -> dict[str, str] | None:
    """Path -> digest; None where there is no list. raises ArtefactError if it is no regular file, or too large"""
    try:
        text = read_text(folder / NAME)
    except FileNotFoundError:
        return None
    pairs = (line.split("  ", 1) for line in text.splitlines() if line)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def refuse_changed(folder: Path, paths: Iterable[str]) -> None:
    """What is read of a run must be what was written. raises ArtefactError naming the first file that is not

    A run of an older imgreg has no list, and one that is being written has none yet: nothing is refused there.
    """
    listed = read_sums(folder) or {}
    for path in paths:
        if path in listed and (not (folder / path).is_file() or _digest(folder / path) != listed[path]):
            raise ArtefactError(
                f"{folder}/{path} has changed (SHA-256 differs from {NAME}). It was damaged or modified: train the "
                f"run again (`imgreg verify {folder}` lists all changes)."
            )


def changed_files(folder: Path) -> tuple[str, ...]:
    """A line for each file that is not as it was listed, is gone, or has come; none where nothing is listed."""
    listed = read_sums(folder)
    if listed is None:
        return ()
    there = set(_files(folder))
    lines = dict.fromkeys(listed.keys() - there, "is missing") | dict.fromkeys(there - listed.keys(), "is new")
    lines |= {path: "has changed" for path in there & listed.keys() if _digest(folder / path) != listed[path]}
    return tuple(f"{path} {lines[path]}" for path in sorted(lines))


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != NAME)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(folder: Path, digests: dict[str, str]) -> None:
    text = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    write_atomic(folder / NAME, text.encode("utf-8", "surrogateescape"))
