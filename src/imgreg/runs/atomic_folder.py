"""A folder that is written whole or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from imgreg.atomic_write import flush
from imgreg.errors import BusyError, MachineError, UsageError


@contextlib.contextmanager
def atomic_folder(target: Path, *, replace: bool = False, option: str = "--models") -> Iterator[Path]:
    """Give a folder to fill; it gets its name when the block ends well, and leaves nothing behind when it does not.

    Parameters
    ----------
    replace : bool
        Replace a folder of that name, once the new one is complete.
    option : str
        The command's option for another place, for messages.

    Raises
    ------
    UsageError
        If the target exists and is not to be replaced.
    BusyError
        If another process is writing it.
    MachineError
        If the disk refuses.
    """
    try:
        locks = target.parent / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{target.name}.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(
            f"{target} is being written by another imgreg. Wait until it finishes, or choose another --name."
        ) from error
    except OSError as error:
        raise MachineError(
            f"{target.parent}: cannot be written ({error.strerror}). Choose another folder with {option}."
        ) from error
    partial = target.parent / f".{target.name}.partial"
    replaced = target.parent / f".{target.name}.replaced"
    try:
        if target.exists() and not replace:
            raise UsageError(f"{target} exists already. Choose another --name, or remove it first.")
        for left in target.parent.glob(".*.partial"):
            _remove_if_nobodys(left, own=left == partial)
        partial.mkdir()
        yield partial
        for path in partial.rglob("*"):
            flush(path)
        flush(partial)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        partial.rename(target)
        flush(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        needed = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        raise MachineError(
            f"{error.filename or target}: writing failed ({error.strerror}) after {needed:,} bytes. {target} was not "
            f"kept, nothing else was changed. Free some space, or choose another folder with {option}."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.release()


def _remove_if_nobodys(partial: Path, *, own: bool) -> None:
    """Remove what a killed process left; a free lock says that no process is working on it."""
    lock = FileLock(partial.parent / ".locks" / f"{partial.name[1:].removesuffix('.partial')}.lock")
    with contextlib.suppress(Timeout):
        if not own:
            lock.acquire(timeout=0)
        shutil.rmtree(partial, ignore_errors=True)
        if not own:
            lock.release()
