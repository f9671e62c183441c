"""Photos inside larger files: `shard.tar::key.jpg` or `table.parquet::17` is taken wherever a photo's path is.

In: such a name. Out: the photo's bytes, read from its place in the file; nothing is unpacked, so that a member's own
name leads nowhere on the disk. Must not know: labels, and what the bytes show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from imgreg.data import parquet_rows, tar_members
from imgreg.errors import PhotoError

SUFFIXES = (".tar", ".parquet")
SEPARATOR = "::"
_MEMBER = re.compile(r"(.+?(\.tar|\.parquet))::(.+)", re.IGNORECASE | re.DOTALL)


def holds_photos(path: str | Path) -> bool:
    """Whether a file's name says that there are photos in it: a tar or Parquet file.

    >>> holds_photos("train-000.tar"), holds_photos("train-000.tar::cats/1.jpg"), holds_photos("1.jpg")
    (True, False, False)
    """
    return str(path).lower().endswith(SUFFIXES)


def file_of(where: str) -> str:
    """The file on the disk that holds a photo: itself, or what it is a member of.

    >>> file_of("a/train-000.tar::cats/1.jpg"), file_of("a/1.jpg")
    ('a/train-000.tar', 'a/1.jpg')
    """
    found = _MEMBER.fullmatch(where) if SEPARATOR in where else None
    return where if found is None else found[1]


def is_row(where: str) -> bool:
    """Whether a photo is a row of a table, which has a number in place of a name."""
    return file_of(where).lower().endswith(".parquet")


def read_member(where: str) -> bytes | None:
    """The bytes of a member; None if `where` names none. raises PhotoError"""
    found = _MEMBER.fullmatch(where) if SEPARATOR in where else None
    if found is None:
        return None
    path, suffix, member = found.groups()
    try:
        read = tar_members.read_member if suffix.lower() == ".tar" else parquet_rows.read_row
        return read(path, member)
    except OSError as error:
        code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise PhotoError(f"{path} cannot be read: {error.strerror or error}", code=code) from error


def photos_in(path: str) -> Sequence[str]:
    """Names of all photos in a tar or Parquet file, with or without a label; the file itself if it cannot be read."""
    try:
        names = tar_members.photo_names(path) if path.lower().endswith(".tar") else parquet_rows.rows(path)
    except (OSError, PhotoError):
        return [path]
    return [f"{path}{SEPARATOR}{name}" for name in names]
