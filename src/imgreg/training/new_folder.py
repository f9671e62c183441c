"""Where a command may write: a new folder, never inside the photos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgreg.data.discovery import photo_folders
from imgreg.data.stores import address_of
from imgreg.errors import UsageError
from imgreg.paths import cache_folder, cache_store
from imgreg.runs.atomic_folder import atomic_folder
from imgreg.runs.names import named_folder
from imgreg.session import Session


@contextmanager
def new_folder(session: Session, *, data: Path, kind: str) -> Iterator[tuple[Path, Path]]:
    """Make the folder of a command's results, whole or not at all.

    Parameters
    ----------
    data : Path
        The photos. Neither the folder nor the cache may be inside.
    kind : str
        What follows the time in a name that the user did not give.

    Yields
    ------
    tuple of Path
        The folder to fill, and what it will be called when the block ends.

    Raises
    ------
    UsageError
        If the folder exists, or would be in the photo folder.
    BusyError
        If another process is making it.
    MachineError
        If the disk refuses.
    """
    refuse_inside(data, session.models, option="--models")
    refuse_cache_inside(data)
    target = named_folder(session.models, session.name, kind=kind)
    with atomic_folder(target) as folder:
        yield folder, target


def refuse_target(data: Path, target: Path, *, suffix: str, option: str) -> None:
    """Before any work: a file to be written has this suffix, and a folder that is there, outside the photo folders.

    raises   UsageError
    """
    refuse_inside(data, target.parent, option=option)
    if target.suffix.lower() != suffix:
        raise UsageError(f"{option} {target}: expected a file name ending in {suffix}.")
    if not target.parent.is_dir():
        raise UsageError(f"{option} {target}: there is no folder {target.parent}. Create it, or choose another.")


def refuse_inside(data: Path, folder: Path, *, option: str) -> None:
    """Photo folders are never written to. raises UsageError if `folder`, to be written, is in one

    A manifest may name photos in its own folder; beside them nothing is written, below them it may be.
    """
    for photos in photo_folders(data):
        inside = folder.resolve().is_relative_to(photos.resolve())
        beside_manifest = data.is_file() and photos.resolve() == data.parent.resolve() != folder.resolve()
        if inside and not beside_manifest:
            raise UsageError(
                f"{option} {folder} is inside the photo folder {photos}, which imgreg never writes to. Choose a "
                "folder outside it."
            )


def refuse_cache_inside(data: Path) -> None:
    """Neither this machine's cache nor a shared one may be inside the photo folder. raises UsageError"""
    refuse_inside(data, cache_folder(), option="IMGREG_CACHE")
    store, photos = cache_store(), address_of(data)
    if store is not None and photos is not None and f"{store}/".startswith(f"{photos}/"):
        raise UsageError(
            f"IMGREG_CACHE {store} is inside the photos' {photos}, where imgreg never writes. Choose another prefix."
        )
