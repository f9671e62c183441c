"""Bytes in, a file that is whole or as it was before: temporary name, flush, rename, and the folder flushed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

WINDOWS = os.name == "nt"
AT_WORK_SECONDS = 3600.0  # on Windows, how long a half-written file is taken to have a writer


def write_atomic(path: Path, *parts: bytes) -> None:
    """Replace a file by these bytes, one after the other. raises OSError, and leaves nothing half-written then

    A killed process leaves `.NAME.PID-THREAD.partial`, which `left_behind` finds.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Have a file's bytes, or the names in a folder, on the disk. raises OSError

    Windows cannot flush a folder: there a power cut may undo the last renames, each of them as a whole.
    """
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows flushes only what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def left_behind(folder: Path, name: str = "*") -> list[Path]:
    """Half-written files of `name` whose process is gone."""
    return [path for path in folder.glob(f".{name}.*-*.partial") if not _at_work(path)]


def _at_work(partial: Path) -> bool:
    if WINDOWS:  # os.kill(pid, 0) would interrupt the process there
        return time.time() - partial.stat().st_mtime < AT_WORK_SECONDS
    try:
        os.kill(int(partial.name.split(".")[-2].partition("-")[0]), 0)  # asks whether the process is there
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # it is, and another user's; or a name that write_atomic did not give
        return True
    return True
