"""What every training starts with: indexed and split photos, and a frozen base settled on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imgreg.config import Base, Photos
from imgreg.errors import UsageError
from imgreg.features.cache import cache_folder
from imgreg.features.engines import Engine, choose_engine, engine_version, load_engine
from imgreg.features.extract import BaseIdentity
from imgreg.features.weights import Weights, resolve_weights
from imgreg.photos.index import PhotoIndex, index_photos
from imgreg.photos.split import Split, split_photos
from imgreg.workflows.watch import Watcher

SKIPPED_SHOWN = 10


@dataclass(frozen=True)
class Ground:
    """The photos of a training, indexed and split."""

    index: PhotoIndex
    split: Split
    warnings: tuple[str, ...]
    seconds: float


class FrozenBase:
    """The base settled on: which weights, size, engine and precision. Loaded when first asked for, then kept."""

    def __init__(self, settings: Base, *, watcher: Watcher) -> None:
        notes: list[str] = []

        def say(line: str) -> None:
            notes.append(line)
            watcher.say(line)

        self._watcher = watcher
        self.weights = resolve_weights(settings.weights)
        if self.weights.note:
            say(self.weights.note)
        self.engine_name, self.precision = choose_engine(settings, say=say)
        self.image_size = settings.image_size or self.weights.image_size
        self.notes = tuple(notes)

    @property
    def identity(self) -> BaseIdentity:
        version = engine_version(self.engine_name)
        return BaseIdentity(self.weights.sha256, self.image_size, version, self.precision)

    @cached_property
    def engine(self) -> Engine:
        self._watcher.step("loading the base", 0, 1, "")
        engine = load_engine(
            self.engine_name,
            self.precision,
            weights_sha256=self.weights.sha256,
            find_weights=self._weights,
            size_px=self.image_size,
            cache=cache_folder(),
        )
        self._watcher.step("loading the base", 1, 1, "")
        return engine

    def _weights(self) -> Weights:
        return self.weights


def lay_ground(data: Path, photos: Photos, *, watcher: Watcher) -> Ground:
    """Index and split the photos; say what was left out. raises DatasetError"""
    started = time.perf_counter()
    index = index_photos(data, max_bad=photos.max_bad, on_file=_stage(watcher, "reading photos"))
    warnings = []
    for number, bad in enumerate(index.skipped, start=1):
        (watcher.say if number <= SKIPPED_SHOWN else watcher.tell)(f"skipped {bad.path}: {bad.reason}")
    if len(index.skipped) > SKIPPED_SHOWN:
        watcher.say(f"... and {len(index.skipped) - SKIPPED_SHOWN} more, all in skipped.csv")
    if index.skipped:
        warnings.append(
            f"{len(index.skipped)} of {len(index.photos) + len(index.skipped)} files could not be read and "
            "were left out (skipped.csv)."
        )
    split = split_photos(index.photos, val_fraction=photos.val_fraction, seed=photos.split_seed)
    if split.leaks:
        warnings.append(
            f"{split.leaks} files stand with the same bytes on several sides of the given split: the "
            "validation figures flatter the classifier. Remove the copies."
        )
        watcher.say(warnings[-1])
    if split.given and "val_fraction" in photos.model_fields_set:
        raise UsageError(f"--val-fraction has no effect: {data} gives its own validation photos. Leave it out.")
    return Ground(index, split, tuple(warnings), time.perf_counter() - started)


def refuse_inside(data: Path, target: Path, *, option: str) -> None:
    """The photo folder is never written to. raises UsageError if target lies in it"""
    if data.is_dir() and target.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"{option} {target} lies inside the photo folder {data}, which imgreg never writes to. "
            "Choose a place outside it."
        )


def _stage(watcher: Watcher, name: str) -> Callable[[int, int], None]:
    return lambda done, total: watcher.step(name, done, total, "")
