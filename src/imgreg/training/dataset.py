"""What every training starts with: indexed and split photos, and the frozen base."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from imgreg.config import Photos
from imgreg.data.file_cache import FileCache
from imgreg.data.index import PhotoIndex, Skipped, index_photos, index_portions
from imgreg.data.reading import FileReaders, read_here
from imgreg.data.split import Split, folds_that_fit, split_photos, validation_count
from imgreg.data.store_copy import local_copy
from imgreg.data.store_listing import open_listing
from imgreg.data.stores import as_typed
from imgreg.errors import DatasetError, UsageError
from imgreg.paths import cache_folder, store_address
from imgreg.progress import Watcher
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.near_duplicates import with_families

PORTION_FILES = 8192  # some 9 MB of memory for each feature of a photo
SKIPPED_SHOWN = 10
AUTO_FOLDS, MIN_AUTO_FOLDS = 5, 3
ENOUGH_VALIDATION_PHOTOS = 200  # cross-validation gains as much on sets of 800 photos (docs/log.md)


@dataclass(frozen=True)
class Dataset:
    """The photos of a training, indexed and split; `seconds` is how long that took."""

    index: PhotoIndex
    split: Split
    warnings: tuple[str, ...]
    seconds: float


def read_index(
    data: Path, photos: Photos, *, session: Session, read_all: bool = False
) -> tuple[PhotoIndex, tuple[str, ...]]:
    """Index the photos, and say what was left out.

    Parameters
    ----------
    read_all : bool
        Read also the files that have not changed since they were read last.

    Returns
    -------
    PhotoIndex
        The readable photos.
    tuple of str
        The warnings, for the report.

    Raises
    ------
    DatasetError
        If too many files cannot be read, or the same picture is in several classes.
    """
    watcher, named = session.watcher, as_typed(data)
    with FileCache(cache_folder(), say=watcher.say) as file_cache:
        index = index_photos(
            local_copy(data, watcher=watcher),
            max_bad=photos.max_bad,
            file_cache=None if read_all else file_cache,
            on_file=watcher.stage("reading photos"),
        )
    warnings = list(index.notes)
    _name_skipped(index.skipped, watcher=watcher)
    if len(index.skipped) > SKIPPED_SHOWN:
        watcher.say(f"{len(index.skipped)} files skipped in total")
    if index.skipped:
        warnings.append(
            f"{len(index.skipped)} of {len(index.photos) + len(index.skipped)} files could not be read and were left "
            "out (skipped.csv)."
        )
    if index.cross_class and not photos.allow_leakage:
        raise DatasetError(
            f"{named}: {index.cross_class} Remove the wrong ones (`imgreg check {named}` lists them), or continue with "
            "--allow-leakage."
        )
    warnings += [index.cross_class] if index.cross_class else []
    for line in warnings:
        watcher.say(line)
    return index, tuple(warnings)


def read_portions(data: Path, photos: Photos, *, session: Session) -> Generator[tuple[PhotoIndex, int], None, None]:
    """Index the photos, PORTION_FILES at a time, and say what was left out.

    The session's workers read them, if they are other machines; then photos in an object store are not fetched.

    Yields
    ------
    PhotoIndex
        The readable photos of a portion.
    int
        Number of files that are still to come.

    Raises
    ------
    DatasetError
        If too many files cannot be read.
    """
    watcher, n_read, n_skipped = session.watcher, 0, 0
    with ExitStack() as opened:
        listing, read = None, read_here
        if isinstance(session.pool, FileReaders):
            listing, read = opened.enter_context(open_listing(data, watcher=watcher)), session.pool.read_files
        for index, n_left in index_portions(
            local_copy(data, watcher=watcher) if listing is None else listing.root,
            n_files=PORTION_FILES,
            max_bad=photos.max_bad,
            file_cache=opened.enter_context(FileCache(cache_folder(), say=watcher.say)),
            on_file=watcher.stage("reading photos"),
            listing=listing,
            read=read,
        ):
            for line in index.notes:
                watcher.say(line)
            _name_skipped(index.skipped, n_before=n_skipped, watcher=watcher)
            n_read, n_skipped = n_read + len(index.photos), n_skipped + len(index.skipped)
            yield index, n_left
    if n_skipped:
        watcher.say(f"{n_skipped} of {n_read + n_skipped} files could not be read and were left out.")


def _name_skipped(skipped: Sequence[Skipped], *, n_before: int = 0, watcher: Watcher) -> None:
    """Name each skipped file: the first few always, the others with --verbose."""
    for number, bad in enumerate(skipped, start=n_before + 1):
        (watcher.say if number <= SKIPPED_SHOWN else watcher.tell)(f"skipped {store_address(bad.path)}: {bad.reason}")


def prepare_dataset(
    data: Path, photos: Photos, *, base: Backbone | None, session: Session, read_all: bool = False
) -> Dataset:
    """Index and split the photos, and say what was left out.

    Parameters
    ----------
    base : Backbone or None
        Confirms near-duplicates, which a split drawn here keeps together; None where nothing is trained.
    read_all : bool
        As in `read_index`.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset.
    UsageError
        For an option that has no effect on a given split.
    """
    started, named = time.perf_counter(), as_typed(data)
    index, notes = read_index(data, photos, session=session, read_all=read_all)
    warnings: list[str] = []
    if base is not None and not any(photo.split == "val" for photo in index.photos):
        index, warnings = with_families(index, base=base, session=session)
    folds, chosen = _n_folds(index, photos)
    warnings += chosen
    split = split_photos(index.photos, val_fraction=photos.val_fraction, seed=photos.split_seed, folds=folds)
    if split.leaks:
        leak = (
            f"{split.leaks} identical files appear in more than one split, which inflates validation and test scores."
        )
        if not photos.allow_leakage:
            raise DatasetError(
                f"{named}: {leak} Remove the duplicates (`imgreg check {named} --fix clean.csv` writes a manifest "
                "without them), or continue with --allow-leakage."
            )
        warnings.append(leak)
    warnings += _uneven(split, val_fraction=photos.val_fraction)
    for line in warnings:
        session.watcher.say(line)
    if split.given and "val_fraction" in photos.model_fields_set:
        raise UsageError(f"--val-fraction has no effect: {named} has its own validation split. Omit it.")
    if split.given and photos.folds not in ("auto", 0):
        raise UsageError(f"--folds has no effect: {named} has its own validation split. Omit it.")
    return Dataset(index, split, (*notes, *warnings), time.perf_counter() - started)


def _n_folds(index: PhotoIndex, photos: Photos) -> tuple[int, list[str]]:
    """How many folds to train; 0 for a single split. With a line on the choice where cross-validation was chosen."""
    if photos.folds != "auto":
        if photos.folds == 1:
            raise UsageError("--folds 1: expected 2 or more, or 0 for a single split.")
        if photos.folds and "val_fraction" in photos.model_fields_set:
            raise UsageError("--val-fraction has no effect with --folds: each photo is used for validation once.")
        return photos.folds, []
    if "val_fraction" in photos.model_fields_set or any(photo.split == "val" for photo in index.photos):
        return 0, []
    open_photos = [photo for photo in index.photos if photo.split in (None, "train")]
    counts = Counter(photo.label for photo in open_photos)
    n_val = sum(validation_count(n, val_fraction=photos.val_fraction) for n in counts.values())
    folds = folds_that_fit(open_photos, folds=AUTO_FOLDS)
    if n_val >= ENOUGH_VALIDATION_PHOTOS or folds < MIN_AUTO_FOLDS:
        return 0, []
    return folds, [
        f"{folds}-fold cross-validation: a single split would have only {n_val} validation photos, too few for a "
        "clear answer. Use --folds 0 for a single split."
    ]


def _uneven(split: Split, *, val_fraction: float) -> list[str]:
    """A line for each class whose near-duplicates, kept together, made its share of validation photos far off."""
    if split.given or split.folds:
        return []
    lines = []
    for label in sorted({photo.label for photo in split.train}):
        n_val = sum(photo.label == label for photo in split.val)
        n_all = n_val + sum(photo.label == label for photo in split.train)
        wanted = validation_count(n_all, val_fraction=val_fraction)
        if not wanted / 2 <= n_val <= 2 * wanted:
            lines.append(
                f"class {label!r}: {n_val} of {n_all} photos are used for validation instead of {wanted}, because "
                "near-duplicates are kept in the same split. `imgreg check` lists them."
            )
    return lines
