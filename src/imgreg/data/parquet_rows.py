"""Photos in a Parquet file, as Hugging Face's datasets writes them: a column of image bytes and one of labels.

In: the path of a file. Out: its rows with their labels, or the bytes of one. pyarrow is C++: a stranger's file is first
read in an isolated process (discovery), with bounds on time and memory.

References
----------
https://huggingface.co/docs/datasets/image_dataset: `Image` is stored as struct<bytes: binary, path: string>, and the
features, ClassLabel's names among them, as JSON in the schema's metadata under b"huggingface".
"""

from __future__ import annotations

import bisect
import functools
import itertools
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imgreg.data.listed import Listed
from imgreg.data.tar_members import class_of
from imgreg.errors import MachineError, PhotoError

ROW_GROUP_BYTES = 512 * 2**20  # of images, uncompressed: a row is read with its whole row group
_IMAGE_NAMES = ("image", "img", "photo")
_LABEL_NAMES = ("label", "labels", "class")
_READING = threading.Lock()  # one file object serves all threads


@dataclass(frozen=True)
class _Table:
    """An open file: its columns of images and labels, the class names, and the first row of each row group."""

    file: Any
    image: str
    label: str | None
    classes: tuple[str, ...]
    starts: tuple[int, ...]

    @property
    def bytes_column(self) -> str:
        return f"{self.image}.bytes" if self.is_struct else self.image

    @property
    def is_struct(self) -> bool:
        import pyarrow

        return bool(pyarrow.types.is_struct(self.file.schema_arrow.field(self.image).type))


def rows(path: str) -> Sequence[int]:
    """Numbers of all rows, from 0. raises PhotoError, OSError, MachineError"""
    return range(_table(path).file.metadata.num_rows)


def labelled_rows(path: str, *, split: str | None) -> list[Listed]:
    """All rows with their labels.

    Raises
    ------
    PhotoError
        If it is not a whole Parquet file, or has no columns of image bytes and labels.
    OSError
        If the file cannot be read.
    """
    table = _table(path)
    if table.label is None:
        names = ", ".join(table.file.schema_arrow.names)
        raise PhotoError(f"found no column of labels among {names}; expected one called label", code="no-label")
    with _READING:
        labels = _arrow_errors(
            lambda: table.file.read(columns=[table.label], use_threads=False)[table.label].to_pylist()
        )
    return [_listed(f"{path}::{row}", label, table.classes, split=split) for row, label in enumerate(labels)]


def read_row(path: str, row: str) -> bytes:
    """The image bytes of one row. raises PhotoError, OSError, MachineError"""
    table = _table(path)
    number = int(row) if row.isdecimal() else -1
    if not 0 <= number < table.file.metadata.num_rows:
        raise PhotoError(f"{path} has no row {row}", code="missing")
    group = bisect.bisect_right(table.starts, number) - 1
    data = _arrow_errors(lambda: _row_group(path, _stamp(path), group)[number - table.starts[group]].as_py())
    if data is None:
        raise PhotoError("the row has no image bytes (a path alone is not read)", code="empty")
    return bytes(data)


def _listed(where: str, label: object, classes: Sequence[str], *, split: str | None) -> Listed:
    try:
        return Listed(where, class_of(label, classes), split)
    except PhotoError as error:
        return Listed(where, "", split, error)


def _stamp(path: str) -> tuple[int, int, int]:
    seen = os.stat(path)  # noqa: PTH116
    return seen.st_size, seen.st_ino, seen.st_mtime_ns


def _table(path: str) -> _Table:
    return _open(path, _stamp(path))


@functools.lru_cache(maxsize=8)
def _open(path: str, stamp: tuple[int, int, int]) -> _Table:  # noqa: ARG001 - names the file's state
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve more address space than is allowed
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MachineError(f"{path}: run pip install 'imgreg[parquet]' to read Parquet files.") from error
    _refuse_others(path)
    table: _Table = _arrow_errors(lambda: _described(pyarrow.parquet.ParquetFile(path)))
    return table


def _refuse_others(path: str) -> None:
    """raises PhotoError, OSError"""
    with open(path, "rb") as file:  # noqa: PTH123
        begins = file.read(4)
        file.seek(-min(4, file.seek(0, os.SEEK_END)), os.SEEK_END)
        ends = file.read()
    if begins == b"PARE" or ends == b"PARE":
        raise PhotoError("an encrypted Parquet file, which imgreg does not read", code="unsupported")
    if begins != b"PAR1":
        raise PhotoError("not a Parquet file", code="unsupported")
    if ends != b"PAR1":
        raise PhotoError("a Parquet file without its end: copy it again", code="truncated")


def _described(file: Any) -> _Table:
    """file   pyarrow's ParquetFile. raises PhotoError"""
    schema = file.schema_arrow
    features = _features(schema.metadata or {})
    image = _column(schema, features, kind="Image", names=_IMAGE_NAMES, fits=_is_image)
    if image is None:
        names = ", ".join(schema.names)
        raise PhotoError(f"found no column of image bytes among {names}; expected one called image", code="unsupported")
    label = _column(schema, features, kind="ClassLabel", names=_LABEL_NAMES, fits=lambda _: True)
    classes = features.get(label, {}).get("names", ()) if label else ()
    n_rows = (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    return _Table(file, image, label, tuple(map(str, classes)), tuple(itertools.accumulate(n_rows, initial=0)))


@functools.lru_cache(maxsize=2)
def _row_group(path: str, stamp: tuple[int, int, int], group: int) -> Any:
    """The image bytes of a row group, as pyarrow's array."""
    table = _open(path, stamp)
    described = table.file.metadata.row_group(group)
    columns = [described.column(number) for number in range(described.num_columns)]
    n_bytes = sum(one.total_uncompressed_size for one in columns if one.path_in_schema == table.bytes_column)
    if n_bytes > ROW_GROUP_BYTES:
        raise PhotoError(
            f"its row group has {n_bytes / 2**20:,.0f} MB, imgreg reads up to {ROW_GROUP_BYTES >> 20}. Write the file "
            "with smaller row groups, for example of 100 rows.",
            code="out-of-memory",
        )
    with _READING:
        read = table.file.read_row_group(group, columns=[table.bytes_column], use_threads=False)
    column = read[table.image].combine_chunks()
    return column.field("bytes") if table.is_struct else column


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Hugging Face's description of the columns, where there is one."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _column(schema: Any, features: dict[str, Any], *, kind: str, names: Sequence[str], fits: Any) -> str | None:
    """The column by its usual name, else the only one of that kind."""
    of_kind = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
    usual = [name for name in names if name in schema.names and fits(schema.field(name).type)]
    found: str | None = next(iter(usual), of_kind[0] if len(of_kind) == 1 else None)
    return found


def _is_image(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _arrow_errors(read: Any) -> Any:
    """What `read` returns. raises PhotoError for what pyarrow cannot read"""
    import pyarrow

    try:
        return read()
    except MemoryError as error:  # pyarrow's own is one too
        raise PhotoError("reading it needs more memory than imgreg allows", code="out-of-memory") from error
    except (OSError, ValueError, IndexError, KeyError, pyarrow.ArrowException) as error:  # what damage leads to
        if isinstance(error, OSError) and error.errno is not None:  # the system's; pyarrow's own for damage has none
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PhotoError(f"a damaged Parquet file: copy it again ({reason.rstrip('.')})") from error
