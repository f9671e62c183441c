"""imgreg check: what is wrong or odd with the photos, before anything is trained. The photos are never touched."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from imgreg.config import Base
from imgreg.errors import UsageError
from imgreg.photos.index import PhotoIndex, index_photos
from imgreg.photos.inspect import Finding, connected, copies, inspect
from imgreg.runs.folder import rows_to_csv
from imgreg.whole import write_whole
from imgreg.workflows.base import FrozenBase
from imgreg.workflows.near import confirmed_pairs
from imgreg.workflows.prepare import refuse_inside
from imgreg.workflows.watch import Watcher


@dataclass(frozen=True)
class Check:
    """What was found; `same` are rows of index.photos that show the same picture with other bytes."""

    data: Path
    index: PhotoIndex
    findings: tuple[Finding, ...]
    same: tuple[tuple[int, int], ...]

    @property
    def stops(self) -> bool:
        """Whether training would refuse these photos."""
        return any(one.severity == "stops training" for one in self.findings)


def check(
    data: Path, *, base: Base, fix: Path | None = None, cache_bytes: int | None = None, watcher: Watcher | None = None
) -> Check:
    """Look at every file, and let the frozen base say which that look alike are the same picture.

    base     which VGG16; asked only where photos look alike
    fix      a CSV manifest to write, of the photos without what stands in the way
    raises   DatasetError where there is no set to check; UsageError if fix lies among the photos
    """
    watcher = watcher or Watcher()
    if fix is not None:
        refuse_inside(data, fix.parent, option="--fix")
        if fix.suffix.lower() != ".csv":
            raise UsageError(f"--fix {fix}: expected a name that ends in .csv.")
    index = index_photos(data, max_bad=1.0, on_file=watcher.stage("reading photos"))
    same = confirmed_pairs(index, base=FrozenBase(base, watcher=watcher), cache_bytes=cache_bytes, watcher=watcher)
    done = Check(data, index, inspect(index, same=same), tuple(same))
    if fix is not None:
        _write_manifest(done, fix)
    return done


def check_document(done: Check) -> dict[str, object]:
    """What check --json prints."""
    return {
        "data": str(done.data),
        "n_photos": len(done.index.photos),
        "n_left_out": len(done.index.skipped),
        "classes": {label: sum(p.label == label for p in done.index.photos) for label in done.index.classes},
        "stops_training": done.stops,
        "notes": list(done.index.notes),
        "findings": [asdict(one) for one in done.findings],
    }


def _write_manifest(done: Check, target: Path) -> None:
    """The readable photos without those in the way: of copies, near ones too, one is kept, on the side that judges
    (test, then validation); of copies in several classes none."""
    photos, index = done.index.photos, done.index
    linked = [(rows[0], other) for rows in copies(photos) for other in rows[1:]]
    rank = {"test": 0, "val": 1}
    dropped: set[int] = set()
    for group in connected([*linked, *done.same]):
        if len({photos[i].label for i in group}) > 1:
            dropped |= set(group)
        else:
            first = min(group, key=lambda i: (rank.get(photos[i].split or "", 2), i))
            dropped |= set(group) - {first}
    given = any(photo.split for photo in photos)
    root = index.root if index.root.is_dir() else index.root.parent
    rows = [
        (_from(target.parent, root / index.relative(photo)), photo.label, *((photo.split,) if given else ()))
        for i, photo in enumerate(photos)
        if i not in dropped
    ]
    text = rows_to_csv(("path", "label", "split") if given else ("path", "label"), rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, text.encode("utf-8", "surrogateescape"))


def _from(folder: Path, path: Path) -> str:
    """A path as seen from a folder; whole where they lie on two drives, which Windows has."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path.absolute())
