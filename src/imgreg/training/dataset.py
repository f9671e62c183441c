"""What every training starts with: indexed and split photos, and a frozen base settled on."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from imgreg.config import Photos, Settings
from imgreg.data.discovery import photo_folders
from imgreg.data.file_cache import FileCache
from imgreg.data.index import PhotoIndex, index_photos
from imgreg.data.resample import Repeat, resplit
from imgreg.data.split import Split, folds_that_fit, split_photos, validation_count
from imgreg.errors import DatasetError, UsageError
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone
from imgreg.training.near_duplicates import with_families

SKIPPED_SHOWN = 10
AUTO_FOLDS, MIN_AUTO_FOLDS = 5, 3
ENOUGH_VALIDATION_PHOTOS = 200  # cross-validation gains as much on sets of 800 photos (docs/log.md)


@dataclass(frozen=True)
class Dataset:
    """The photos of a training, indexed and split."""

    index: PhotoIndex
    split: Split
    warnings: tuple[str, ...]
    seconds: float


def read_index(
    data: Path, photos: Photos, *, read_all: bool = False, watcher: Watcher
) -> tuple[PhotoIndex, tuple[str, ...]]:
    """Index the photos; say what was left out, and give what a report should repeat. raises DatasetError

    read_all   read also the files that are known to be the same
    """
    with FileCache(cache_folder(), say=watcher.say) as known:
        index = index_photos(
            data,
            max_bad=photos.max_bad,
            known=None if read_all else known,
            on_file=watcher.stage("reading photos"),
        )
    warnings = list(index.notes)
    for number, bad in enumerate(index.skipped, start=1):
        (watcher.say if number <= SKIPPED_SHOWN else watcher.tell)(f"skipped {bad.path}: {bad.reason}")
    if len(index.skipped) > SKIPPED_SHOWN:
        watcher.say(f"{len(index.skipped)} files skipped in total")
    if index.skipped:
        warnings.append(
            f"{len(index.skipped)} of {len(index.photos) + len(index.skipped)} files could not be read and were left "
            "out (skipped.csv)."
        )
    if index.cross_class and not photos.allow_leakage:
        raise DatasetError(
            f"{data}: {index.cross_class} Remove the wrong ones (`imgreg check {data}` lists them), or continue with "
            "--allow-leakage."
        )
    warnings += [index.cross_class] if index.cross_class else []
    for line in warnings:
        watcher.say(line)
    return index, tuple(warnings)


def prepare_dataset(
    data: Path,
    photos: Photos,
    *,
    base: Backbone | None,
    cache_bytes: int | None = None,
    read_all: bool = False,
    watcher: Watcher,
) -> Dataset:
    """Index and split the photos; say what was left out. raises DatasetError

    base   who says which photos that look alike are the same picture, so that a split drawn here keeps them together;
           None where nothing is trained
    """
    started = time.perf_counter()
    index, told = read_index(data, photos, read_all=read_all, watcher=watcher)
    warnings: list[str] = []
    if base is not None and not any(photo.split == "val" for photo in index.photos):
        index, warnings = _in_families(index, base=base, cache_bytes=cache_bytes, watcher=watcher)
    folds, chosen = _n_folds(index, photos)
    warnings += chosen
    split = split_photos(index.photos, val_fraction=photos.val_fraction, seed=photos.split_seed, folds=folds)
    if split.leaks:
        leak = (
            f"{split.leaks} identical files appear in more than one split, which inflates validation and test scores."
        )
        if not photos.allow_leakage:
            raise DatasetError(
                f"{data}: {leak} Remove the duplicates (`imgreg check {data} --fix clean.csv` writes a manifest "
                "without them), or continue with --allow-leakage."
            )
        warnings.append(leak)
    warnings += _uneven(split, val_fraction=photos.val_fraction)
    for line in warnings:
        watcher.say(line)
    if split.given and "val_fraction" in photos.model_fields_set:
        raise UsageError(f"--val-fraction has no effect: {data} has its own validation split. Omit it.")
    if split.given and photos.folds not in ("auto", 0):
        raise UsageError(f"--folds has no effect: {data} has its own validation split. Omit it.")
    return Dataset(index, split, (*told, *warnings), time.perf_counter() - started)


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


@dataclass(frozen=True)
class Repeats:
    """The photos of a repeated training, indexed and dealt into many splits, and the base they go through."""

    index: PhotoIndex
    drawn: tuple[Repeat, ...]
    base: Backbone
    notes: tuple[str, ...]


def prepare_repeats(
    data: Path,
    settings: Settings,
    *,
    repeats: int,
    folds: int,
    test_fraction: float,
    cache_bytes: int | None,
    watcher: Watcher,
) -> Repeats:
    """Index the photos and deal them anew, so many times. raises DatasetError; UsageError for fewer than 2 trainings"""
    if repeats * max(folds, 1) < 2:
        raise UsageError("--repeats 1 gives no confidence interval: use 2 or more (5 is a good start), or --folds.")
    index, told = read_index(data, settings.photos, watcher=watcher)
    notes = list(told)
    if any(photo.split is not None for photo in index.photos):
        notes.append("The dataset's own split is not used: every repeat draws a new one.")
        watcher.say(notes[-1])
    base = Backbone(settings.base, watcher=watcher)
    index, families = _in_families(index, base=base, cache_bytes=cache_bytes, watcher=watcher)
    for line in families:
        watcher.say(line)
    notes += families
    drawn = resplit(
        index.photos,
        repeats=repeats,
        folds=folds,
        test_fraction=test_fraction,
        val_fraction=settings.photos.val_fraction,
        seed=settings.photos.split_seed,
    )
    return Repeats(index, drawn, base, (*notes, *base.notes))


def _in_families(
    index: PhotoIndex, *, base: Backbone, cache_bytes: int | None, watcher: Watcher
) -> tuple[PhotoIndex, list[str]]:
    """The index with the same pictures in families, and what to tell of them."""
    index, n_families = with_families(index, base=base, cache_bytes=cache_bytes, watcher=watcher)
    if not n_families:
        return index, []
    pictures = "1 picture has" if n_families == 1 else f"{n_families} pictures have"
    return index, [f"{pictures} near-duplicates, which are kept in the same split (imgreg check lists them)."]


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


def refuse_writing_inside(data: Path, models: Path) -> None:
    """What every training asks first: neither its runs nor the cache go among the photos. raises UsageError"""
    refuse_inside(data, models, option="--models")
    refuse_inside(data, cache_folder(), option="IMGREG_CACHE")


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
    """Photo folders are never written to. raises UsageError if `folder`, to be written, lies in one

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
