"""A table of photos in, its rows with labels out, unread: a CSV or JSON Lines manifest, or a folder's metadata file.

The metadata file is Hugging Face's (ImageFolder): metadata.csv or metadata.jsonl in the data folder, or in each of its
split folders, with file_name and label columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from imgreg.data.listed import SPLIT_FOLDERS, Listed, clean_label
from imgreg.data.members import holds_photos
from imgreg.errors import DatasetError

MANIFEST_SUFFIXES = (".csv", ".jsonl")
METADATA_FILES = ("metadata.csv", "metadata.jsonl")
_PATH_COLUMNS = ("path", "file_name")
_EXPECTED = (
    "Expected the columns path (or file_name), label and optionally split (train, val or test), as CSV with a header "
    "or as one JSON object per line"
)


def list_manifest(path: Path, *, split: str | None = None, nested: bool = False) -> Iterator[Listed]:
    """List the rows of a manifest, in its order, one at a time: photos, and tar or Parquet files of photos.

    A row without a label may also name another manifest, whose rows then replace it.

    Parameters
    ----------
    path : Path
        A .csv or .jsonl file. The paths in it start from its folder.
    split : str, optional
        Of rows that name none.
    nested : bool
        Another manifest names this one, which must then name none itself.

    Raises
    ------
    DatasetError
        If the file cannot be read, or a row makes no sense, with its line.
    """
    for line, row in _rows(path):
        name = next((row[column] for column in _PATH_COLUMNS if row.get(column) is not None), None)
        label = "" if row.get("label") is None else str(row["label"]).strip()
        given = str(row.get("split") or "").strip().lower()
        has_labels = isinstance(name, str) and (holds_photos(name) or is_manifest(name))
        if name is None or (row.get("label") is None and not has_labels):
            raise DatasetError(f"{path}, line {line}: found columns {', '.join(map(str, row))}. {_EXPECTED}.")
        if not name or not isinstance(name, str) or not (label or has_labels):
            raise DatasetError(f"{path}, line {line}: path or label is empty. {_EXPECTED}.")
        if given and given not in SPLIT_FOLDERS:
            raise DatasetError(f"{path}, line {line}: found split {given!r}. {_EXPECTED}.")
        given_split = SPLIT_FOLDERS.get(given, split)
        if label or not is_manifest(name):
            yield Listed(str(path.parent / name), clean_label(label), given_split)
        elif nested:
            raise DatasetError(
                f"{path}, line {line}: names another manifest, but is itself named by one. "
                "Manifests may be nested one level deep."
            )
        else:
            yield from list_manifest(path.parent / name, split=given_split, nested=True)


def inner_manifests(path: Path) -> Iterator[Path]:
    """The manifests that a manifest's rows name. raises DatasetError if it cannot be read"""
    for _, row in _rows(path):
        name = next((row[column] for column in _PATH_COLUMNS if row.get(column) is not None), None)
        if isinstance(name, str) and is_manifest(name) and not str(row.get("label") or "").strip():
            yield path.parent / name


def is_manifest(path: str | Path) -> bool:
    """Whether a file's name is that of a manifest."""
    return str(path).lower().endswith(MANIFEST_SUFFIXES)


def metadata_file(folder: Path) -> Path | None:
    """A folder's metadata file, if it has one with labels; one without them leaves the labels to the class folders."""
    for name in METADATA_FILES:
        if (path := folder / name).is_file():
            _, first = next(_rows(path), (0, {}))
            if {"file_name", "label"} <= first.keys():
                return path
    return None


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their lines, counted from 1. raises DatasetError"""
    if not is_manifest(path):
        raise DatasetError(
            f"{path} is a file. {_EXPECTED}, a tar (not compressed) or Parquet file, or a folder of class folders."
        )
    try:
        is_csv = path.suffix.lower() == ".csv"
        newline = "" if is_csv else "\n"  # no other character ends a row of JSON Lines
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as file:
            yield from _csv_rows(path, file) if is_csv else _json_rows(path, file)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error


def _csv_rows(path: Path, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(file)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.line_num}: not CSV ({error}). {_EXPECTED}.") from error


def _json_rows(path: Path, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, document in enumerate(file, start=1):
        if not document.strip():
            continue
        try:
            row = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path}, line {line}: not JSON ({error}). {_EXPECTED}.") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{path}, line {line}: found {type(row).__name__}, not an object. {_EXPECTED}.")
        yield line, row
