"""imgreg check: what is wrong or odd with the photos, before anything is trained. The photos are never touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imgreg.analysis.logistic_regression import stratified_subset
from imgreg.analysis.sanity_baselines import IN_WORDS
from imgreg.analysis.shortcuts import find_shortcut
from imgreg.atomic_write import write_atomic
from imgreg.config import Base
from imgreg.data.index import PhotoIndex, index_photos, labels_of
from imgreg.data.issues import Finding, by_severity, connected, copies, inspect
from imgreg.data.store_copy import local_copy
from imgreg.data.stores import as_typed
from imgreg.paths import path_from
from imgreg.progress import Watcher
from imgreg.runs.folder import rows_to_csv
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.near_duplicates import confirmed_pairs
from imgreg.training.new_folder import refuse_target
from imgreg.training.sanity_baselines import sanity_features


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


def check(data: Path, *, base: Base, session: Session, fix: Path | None = None) -> Check:
    """Read every file, and find what would stop or mislead a training.

    Parameters
    ----------
    base : Base
        The VGG16 that confirms near-duplicates; loaded only where there are candidates.
    fix : Path, optional
        A CSV manifest to write, without the photos that would stop training.

    Raises
    ------
    DatasetError
        If there is no dataset to check.
    UsageError
        If `fix` cannot be written.
    """
    watcher = session.watcher
    if fix is not None:
        refuse_target(data, fix, suffix=".csv", option="--fix")
    index = index_photos(local_copy(data, watcher=watcher), max_bad=1.0, on_file=watcher.stage("reading photos"))
    same = confirmed_pairs(index, base=Backbone(base, watcher=watcher), session=session)
    findings = by_severity([*inspect(index, same=same), *_shortcuts(index, same=same, watcher=watcher)])
    done = Check(data, index, findings, tuple(same))
    if fix is not None:
        _write_manifest(done, fix)
    return done


_MOST_LOOKED_AT = 10_000  # for shortcuts: more photos would narrow an interval that is 2 points wide already
_SHORTCUT_CODES = {"file-metadata": "shortcut-file-metadata", "colour-histogram": "shortcut-colours"}
_SHORTCUT_ADVICE = {
    "file-metadata": "A head may learn where the photos come from rather than what they show: take photos of each "
    "class from the same sources, or save them all at the same size and in the same format.",
    "colour-histogram": "If background or lighting differ between the classes, a head may learn these instead: add "
    "photos of each class in the other's surroundings.",
}


def _shortcuts(index: PhotoIndex, *, same: Sequence[tuple[int, int]], watcher: Watcher) -> Iterator[Finding]:
    """A finding for each baseline that distinguishes the classes, duplicates kept in one fold."""
    rows = stratified_subset(labels_of(index.photos, index.classes), n_most=_MOST_LOOKED_AT)
    photos = [index.photos[row] for row in rows]
    labels = labels_of(photos, index.classes)
    family = {index.photos[row].sha256: index.photos[alike[0]].sha256 for alike in connected(same) for row in alike}
    groups = np.unique([family.get(photo.sha256, photo.sha256) for photo in photos], return_inverse=True)[1]
    for done, name in enumerate(_SHORTCUT_CODES):
        watcher.step("looking for shortcuts", done, len(_SHORTCUT_CODES), name)
        found = find_shortcut(name, sanity_features(name, photos), labels, groups=groups)
        watcher.step("looking for shortcuts", done + 1, len(_SHORTCUT_CODES), name)
        if found is not None:
            yield Finding(
                code=_SHORTCUT_CODES[name],
                severity="take care",
                says=f"{IN_WORDS[name]} tell the classes apart in {found.accuracy:.0%} of the photos (95 % interval "
                f"{found.low:.0%} to {found.high:.0%}, by cross-validation; always the most frequent class: "
                f"{found.largest_share:.0%})",
                advice=_SHORTCUT_ADVICE[name],
                files=(),
                figures={key: getattr(found, key) for key in ("accuracy", "low", "high", "largest_share")},
            )


def check_document(done: Check) -> dict[str, object]:
    """What check --json prints."""
    return {
        "data": as_typed(done.data),
        "n_photos": len(done.index.photos),
        "n_left_out": len(done.index.skipped),
        "classes": {label: sum(p.label == label for p in done.index.photos) for label in done.index.classes},
        "stops_training": done.stops,
        "notes": list(done.index.notes),
        "findings": [asdict(one) for one in done.findings],
    }


def _write_manifest(done: Check, target: Path) -> None:
    """The readable photos that train accepts: of duplicates, near ones too, one is kept, in the split that scores
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
        (path_from(target.parent, root / index.relative(photo)), photo.label, *((photo.split,) if given else ()))
        for i, photo in enumerate(photos)
        if i not in dropped
    ]
    text = rows_to_csv(("path", "label", "split") if given else ("path", "label"), rows)
    write_atomic(target, text.encode("utf-8", "surrogateescape"))
