"""Bytes in, a file that is whole or as it was before: temporary name, flush, rename, and the folder flushed."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_whole(path: Path, *parts: bytes) -> None:
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
    """Have a file's bytes, or the names in a folder, on the disk. raises OSError"""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def left_behind(folder: Path, name: str = "*") -> list[Path]:
    """Half-written files of `name` whose process is gone."""
    return [path for path in folder.glob(f".{name}.*-*.partial") if not _at_work(path)]


def _at_work(partial: Path) -> bool:
    try:
        os.kill(int(partial.name.split(".")[-2].partition("-")[0]), 0)  # asks whether the process is there
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # it is, and another user's; or a name that write_whole did not give
        return True
    return True
