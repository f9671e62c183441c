"""The small pictures that a run keeps of the photos its report shows, so that the report needs no photo folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from imgreg.data import decode as decoding
from imgreg.errors import PhotoError
from imgreg.runs.folder import Run, SplitRow

PICTURE_PX = 208
FOLDER = "pictures"
MAP = "-map"  # ends the name of a picture with a heatmap over it


def keep_pictures(folder: Path, run: Run, rows: Iterable[SplitRow]) -> tuple[str, ...]:
    """Write a JPEG of each photo to folder/pictures, named by its hash; a photo that is gone is left out.

    Parameters
    ----------
    folder : Path
        Of the run, or of a comparison.

    Returns
    -------
    tuple of str
        Those that were not there yet, as paths below the folder.
    """
    from imgreg.reports.pictures import jpeg

    (folder / FOLDER).mkdir(exist_ok=True)
    added = []
    for row in rows:
        target = folder / FOLDER / f"{row.sha256}.jpg"
        if target.exists():
            continue
        kept = run.folder / FOLDER / target.name
        if kept.is_file():
            target.write_bytes(kept.read_bytes())
        elif (data := photo_bytes(run, row)) is not None:
            try:
                target.write_bytes(jpeg(decoding.picture(data, longest_px=PICTURE_PX)))
            except PhotoError:  # it was readable once: another Pillow, perhaps
                continue
        else:
            continue
        added.append(f"{FOLDER}/{target.name}")
    return tuple(added)


def read_pictures(folder: Path, names: Iterable[str]) -> Mapping[str, bytes]:
    """Those of the named pictures that there are, as JPEG."""
    paths = {name: folder / FOLDER / f"{name}.jpg" for name in names}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def photo_bytes(run: Run, row: SplitRow) -> bytes | None:
    """A run's photo as it was, from where it was; None where it has gone or changed."""
    if (root := run.data) is None:
        return None
    try:
        path = (root if root.is_dir() else root.parent) / row.path
        data = decoding.read_bytes(path)
    except (OSError, PhotoError, ValueError):  # a stranger's run may name what no system can
        return None
    return data if hashlib.sha256(data).hexdigest() == row.sha256 else None
