"""Photos in a tar file, as WebDataset lays them out: `key.jpg` beside `key.cls`, `key.txt` or `key.json`.

In: the path of an uncompressed tar file. Out: its photos with their labels, or the bytes of one. Only regular files
in it are read, each from its own place; links, devices and what lies beyond a damaged header are left out and named.

References
----------
https://github.com/webdataset/webdataset, "The WebDataset Format": a sample is all members with one name up to the
first dot of its last part.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgreg.data.listed import PHOTO_SUFFIXES, Listed, clean_label
from imgreg.errors import PhotoError

CLASS_FILES = ("classes.txt", "classnames.txt")
_LABELS = ("cls", "json", "txt")  # the first that a sample has counts
_JSON_KEYS = ("label", "cls", "class")
_LABEL_BYTES = 1 << 20
_LONGEST_LABEL = 200
_KEPT = 32  # tar files whose members' places are kept in memory, some 200 bytes each

# What tarfile raises for damaged headers besides its own errors, as random damage to bytes shows.
_DAMAGED = (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError, MemoryError, RecursionError)


@dataclass(frozen=True)
class _Contents:
    """Offset and size of each regular file by name, and why each other member cannot be used."""

    places: Mapping[str, tuple[int, int]]
    problems: Mapping[str, PhotoError]


def read_member(path: str, name: str) -> bytes:
    """One member's bytes. raises PhotoError, OSError"""
    contents = _contents(path)
    if name not in contents.places:
        raise contents.problems.get(name) or PhotoError(f"{path} has no such member", code="missing")
    with open(path, "rb") as file:  # noqa: PTH123 - as everywhere where there may be a million
        return _read(file, contents.places[name])


def photo_names(path: str) -> Sequence[str]:
    """The members that are photos by their names, in the tar's order. raises PhotoError, OSError"""
    contents = _contents(path)
    if not contents.places and contents.problems:
        raise next(iter(contents.problems.values()))
    return [name for name in contents.places if _is_photo(name)]


def labelled_photos(path: str, *, split: str | None) -> Iterator[Listed]:
    """The photos of a tar file with their labels, in its order.

    Parameters
    ----------
    split : str or None
        Of all of them.

    Raises
    ------
    PhotoError
        If it is no tar file.
    OSError
        If the file cannot be read.
    """
    classes, contents = class_names(Path(path)), _contents(path)
    if "" in contents.problems and not contents.places:
        raise contents.problems[""]
    found: dict[str, dict[str, str]] = {}  # key -> kind of label -> its member
    for name in contents.places:
        key, kind = _key(name)
        if kind in _LABELS:
            found.setdefault(key, {})[kind] = name
    photos = [name for name in contents.places if _is_photo(name)]
    with open(path, "rb") as file:  # noqa: PTH123
        for name in photos:
            members = found.get(_key(name)[0], {})
            try:
                used = next((kind for kind in _LABELS if kind in members), None)
                if used is None:
                    raise PhotoError("no .cls, .txt or .json member beside it", code="no-label")
                if contents.places[members[used]][1] > _LABEL_BYTES:
                    raise PhotoError(f"its .{used} member has over {_LABEL_BYTES >> 20} MB", code="no-label")
                text = _read(file, contents.places[members[used]])
                yield Listed(f"{path}::{name}", _label(text, kind=used, classes=classes), split)
            except PhotoError as error:
                yield Listed(f"{path}::{name}", "", split, error)
    keys = {_key(name)[0] for name in photos}
    for key, members in found.items():
        if "cls" in members and key not in keys:
            yield Listed(f"{path}::{members['cls']}", "", split, PhotoError("no photo beside it", code="missing"))
    for name, problem in contents.problems.items():
        if not name or _is_photo(name):
            yield Listed(f"{path}::{name}" if name else path, "", split, problem)


def class_names(path: Path) -> Sequence[str]:
    """The names of classes 0, 1, ... from classes.txt beside the file or one folder above, one a line; else none."""
    for folder in (path.absolute().parent, path.absolute().parent.parent):
        for name in CLASS_FILES:
            if (folder / name).is_file():
                lines = (folder / name).read_text(encoding="utf-8-sig", errors="surrogateescape").rstrip().splitlines()
                return [line.strip() for line in lines]
    return ()


def class_of(value: object, classes: Sequence[str]) -> str:
    """A label as a class's name: a whole number counts the classes from 0 where their names are known.

    >>> class_of(1, ["cats", "dogs"]), class_of("1", []), class_of("cats", [])
    ('dogs', '1', 'cats')

    Raises
    ------
    PhotoError
        If it is no name, or a number that there is no class for.
    """
    if value is None:
        raise PhotoError("it has no label", code="no-label")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise PhotoError(f"its label is {type(value).__name__}, expected a number or a name", code="no-label")
    text = str(value).strip()
    if not text or "\n" in text or len(text) > _LONGEST_LABEL:
        raise PhotoError("its label is not a one-line class name", code="no-label")
    if isinstance(value, int) or re.fullmatch(r"-?\d+", text):
        number = int(text)
        if number < 0 or (classes and number >= len(classes)):
            of = f", but there are {len(classes)} class names" if classes else ""
            raise PhotoError(f"its label is {number}{of}", code="no-label")
        text = classes[number] if classes else text
    try:
        if not text:
            raise PhotoError(f"its label is {value}, an empty line of the class names", code="no-label")
        return clean_label(text)
    except UnicodeEncodeError as error:
        raise PhotoError("its label is not valid Unicode", code="no-label") from error


def _label(data: bytes, *, kind: str, classes: Sequence[str]) -> str:
    value: object = data.decode("utf-8", "surrogateescape")
    if kind == "json":
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise PhotoError("its .json member is not JSON", code="no-label") from error
        fields = document if isinstance(document, dict) else {}
        value = next((fields[key] for key in _JSON_KEYS if key in fields), None)
        if value is None:
            raise PhotoError(f"its .json member has none of the keys {', '.join(_JSON_KEYS)}", code="no-label")
    return class_of(value, classes)


def _contents(path: str) -> _Contents:
    seen = os.stat(path)  # noqa: PTH116
    return _contents_of(path, (seen.st_size, seen.st_ino, seen.st_mtime_ns))


@functools.lru_cache(maxsize=_KEPT)
def _contents_of(path: str, stamp: tuple[int, int, int]) -> _Contents:  # noqa: ARG001 - names the file's state
    places: dict[str, tuple[int, int]] = {}
    problems: dict[str, PhotoError] = {}
    try:
        with tarfile.open(path, "r:", errorlevel=0) as tar:
            after = 0
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep a kilobyte for each
                if tar.offset <= after:
                    raise tarfile.ReadError("a negative size")
                after = tar.offset
                if member.isreg() and not member.issparse():
                    places[member.name] = member.offset_data, member.size
                elif not member.isdir():
                    problems[member.name] = PhotoError("a link, device or sparse file in the tar", code="not-a-file")
            if (end := _last_block(path, tar.offset)) is not None:
                problems[""] = end
    except _DAMAGED as error:
        problems[""] = (
            _not_a_tar(path)
            if not places
            else PhotoError(
                f"truncated or damaged after {len(places):,} members, which are used: {error}", code="truncated"
            )
        )
    return _Contents(places, problems)


def _last_block(path: str, offset: int) -> PhotoError | None:
    """What is wrong where tarfile stopped, which takes a damaged header for the end: there are zeros, or nothing."""
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    if not block.strip(b"\0"):
        return None
    return PhotoError(f"damaged at byte {offset:,}: the members after it are not used", code="damaged")


def _not_a_tar(path: str) -> PhotoError:
    with open(path, "rb") as file:  # noqa: PTH123
        start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return PhotoError(
            "a compressed tar: single photos cannot be read from it. Unpack or decompress it.", code="unsupported"
        )
    return PhotoError("not a tar file", code="unsupported")


def _read(file: BinaryIO, place: tuple[int, int]) -> bytes:
    offset, n_bytes = place
    if os.fstat(file.fileno()).st_size < offset + n_bytes:
        raise PhotoError("the tar ends inside this member", code="truncated")
    file.seek(offset)
    return file.read(n_bytes)


def _key(name: str) -> tuple[str, str]:
    """A member's sample, and its kind: the name's last part up to its first dot, and what follows."""
    folder, _, last = name.rpartition("/")
    key, _, kind = last.partition(".")
    return f"{folder}/{key}", kind.lower()


def _is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.rpartition("/")[2].startswith(".")
