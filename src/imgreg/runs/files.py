"""Reading the files of a run safely: a folder from somebody else may hold pipes, devices or huge files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from imgreg.errors import ArtefactError

MOST_BYTES = 2**28  # of a table: more than that of a run of a million photos


def read_regular(path: Path, *, at_most: int = MOST_BYTES) -> bytes:
    """Read a file that is one and is not too large.

    Raises
    ------
    ArtefactError
        If the path is a folder, pipe or device, or holds more than `at_most` bytes.
    OSError
        If it cannot be read.
    """
    refuse_irregular(path)
    n_bytes = path.stat().st_size
    if n_bytes > at_most:
        raise ArtefactError(f"{path}: found {n_bytes:,} bytes, expected at most {at_most:,}. Rejected.")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Read UTF-8 text; bytes of a file's name that are not UTF-8 become surrogates. Raises as read_regular."""
    return read_regular(path).decode("utf-8", "surrogateescape")


def read_json(path: Path) -> Any:
    """Read a JSON document. Raises as read_regular, and ValueError or RecursionError for what is none."""
    return json.loads(read_text(path))


def refuse_irregular(path: Path) -> None:
    """Raise ArtefactError for a folder, pipe or device, also behind a link; OSError if nothing is there."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ArtefactError(f"{path}: found a folder, pipe or device, expected a regular file. Rejected.")
