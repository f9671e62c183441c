"""What a run is called."""

from __future__ import annotations

import datetime
import os
import re
from itertools import count
from pathlib import Path

from imgreg.atomic_write import WINDOWS
from imgreg.errors import UsageError
from imgreg.paths import home_folders, shared_path

_FORBIDDEN_ON_WINDOWS = re.compile(r'[\\:*?"<>|]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def unused_name(models: Path, what: str) -> str:
    """A name by local time, numbered where another run of this second has it."""
    name = f"{datetime.datetime.now().strftime('%Y%m%d-%H%M%S')}-{what}"
    numbered = (name if n == 1 else f"{name}-{n}" for n in count(1))
    return next(n for n in numbered if not (models / n).exists() and not (models / f".{n}.partial").exists())


def named_folder(models: Path, name: str | None, *, kind: str) -> Path:
    """Where a command's results go: by the user's name, else by time and kind. raises UsageError for a bad name"""
    return models / checked_name(unused_name(models, kind) if name is None else name)


def folder_beside(run: Path, models: Path) -> str:
    """A run's folder as a file in `models` names it: without the folders above the two, and `~` for the home folder."""
    try:
        relative = Path(os.path.relpath(run, models)).as_posix()
    except ValueError:  # another drive, on Windows
        return run.name
    climbs = any(str(home).lstrip(os.sep) in relative for home in home_folders())  # from outside into the home folder
    return shared_path(run.absolute()) if climbs else relative


def checked_name(name: str) -> str:
    """A run's name as one visible path part.

    >>> checked_name("first try")
    'first try'
    """
    if (
        not name.strip()
        or name.startswith(".")
        or "/" in name
        or not name.isprintable()
        or len(os.fsencode(name)) > 200
    ):
        raise UsageError(
            f"{name!r} is not a valid run name: expected 1 to 200 bytes, printable, without / and not starting "
            "with a dot."
        )
    if WINDOWS and _FORBIDDEN_ON_WINDOWS.search(name):
        raise UsageError(
            f'{name!r} is not a valid folder name on Windows: expected none of \\ : * ? " < > |, no dot or space at '
            "the end, and not a device such as NUL or COM1."
        )
    return name
