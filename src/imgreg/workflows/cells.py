"""A study's grid: every recipe on every repeat, from the kept cells or trained now over kept features."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgreg.config import Recipe, Settings
from imgreg.errors import DivergedError
from imgreg.photos.index import PhotoIndex
from imgreg.photos.resplit import Repeat
from imgreg.photos.split import Split
from imgreg.places import cache_folder
from imgreg.runs.cell import CELLS, Cell, CellStore
from imgreg.workflows.watch import Watcher

if TYPE_CHECKING:
    from imgreg.workflows.prepare import Repeats
    from imgreg.workflows.train import Prepared

CELL_FORMAT = 2  # raised when the same recipe, split and seed may give other figures
_VERSIONS_OF = ("keras", "tensorflow", "numpy", "scipy", "albumentations", "pillow")


@dataclass(frozen=True)
class Grid:
    """What was asked for, as far as it could be trained."""

    cells: dict[str, list[Cell]]  # recipe -> a cell a repeat
    apart: dict[str, str]  # recipes whose loss became no number, with the words for it
    n_trained: int
    n_kept: int


def fill_grid(
    laid: Repeats,
    *,
    settings: Sequence[Settings],
    cache_bytes: int | None,
    watcher: Watcher,
) -> Grid:
    """Every recipe on every repeat: kept cells are taken, missing ones trained, repeat by repeat, and kept."""
    from imgreg.features.cache import FeatureCache
    from imgreg.workflows.prepare import Ground
    from imgreg.workflows.train import prepare

    index, drawn, base = laid.index, laid.drawn, laid.base
    store = CellStore(cache_folder() / CELLS)
    shared = [repr(base.identity), list(index.classes), [importlib.metadata.version(name) for name in _VERSIONS_OF]]
    keys = []
    for repeat in drawn:
        photos = _photos_digest(repeat.split)
        keys.append([_key(one, repeat, shared=[*shared, photos]) for one in settings])
    found = [[store.get(key) for key in row] for row in keys]
    n_cells, n_kept = len(drawn) * len(settings), sum(cell is not None for row in found for cell in row)
    n_done = n_kept
    cells: dict[str, list[Cell]] = {one.recipe.name: [] for one in settings}
    apart: dict[str, str] = {}
    everyone = Ground(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)  # each trains in some repeat
    with FeatureCache(cache_folder(), say=watcher.say, limit_bytes=cache_bytes) as cache:
        prepared = {
            one.recipe.name: prepare(everyone, base=base, settings=one, cache=cache, watcher=watcher)
            for i, one in enumerate(settings)
            if any(row[i] is None for row in found)
        }
        for repeat, row, row_keys in zip(drawn, found, keys, strict=True):
            for one, kept, key in zip(settings, row, row_keys, strict=True):
                recipe = one.recipe.name
                if recipe in apart:
                    continue
                where = f"{recipe}, repeat {repeat.number}" + (f".{repeat.fold}" if repeat.fold else "")
                if kept is None:
                    tell = partial(watcher.step, "training heads", n_done, n_cells, where)
                    try:
                        kept = _train_cell(index, prepared[recipe], repeat, tell=tell)
                    except DivergedError as error:
                        if one is settings[0]:
                            raise
                        apart[recipe] = f"{where}, is left out: {error}"
                        watcher.say(apart[recipe])
                        continue
                    store.put(key, kept)
                    n_done += 1
                    watcher.step("training heads", n_done, n_cells, where)
                cells[recipe].append(kept.model_copy(update={"recipe": recipe}))
    whole = {name: row for name, row in cells.items() if name not in apart}
    return Grid(whole, apart, n_trained=n_done - n_kept, n_kept=n_kept)


def _train_cell(index: PhotoIndex, prepared: Prepared, repeat: Repeat, *, tell: Callable[[], None]) -> Cell:
    from imgreg.heads.fit import fit_head
    from imgreg.heads.forward import probabilities, score
    from imgreg.heads.plan import plan_head
    from imgreg.workflows.train import labelled

    recipe, source, classes, split = prepared.settings.recipe, prepared.source, index.classes, repeat.split
    fitted = fit_head(
        recipe,
        train=labelled(split.train, classes=classes, source=source, augmenter=prepared.augmenter),
        val=labelled(split.val, classes=classes, source=source),
        n_classes=len(classes),
        seed=_seed(prepared.settings, repeat),
        on_epoch=lambda _: tell(),
    )
    test = labelled(split.test, classes=classes, source=source)
    predicted = probabilities(test.all(0), plan=plan_head(recipe.head, n_classes=len(classes)), weights=fitted.weights)
    loss, accuracy = score(predicted, test.labels)
    history = fitted.history
    own = history.train_own_probabilities
    assert own is not None  # fit_head keeps it
    right = own > 0.5
    return Cell(
        recipe=recipe.name,
        repeat=repeat.number,
        fold=repeat.fold,
        n_train=len(split.train),
        n_val=len(split.val),
        best_epoch=history.best.epoch,
        best_val_loss=history.best.val_loss,
        test_loss=loss,
        test_accuracy=accuracy,
        train_losses=tuple(history.column("train_loss").tolist()),
        val_losses=tuple(history.column("val_loss").tolist()),
        test_labels=tuple(test.labels.tolist()),
        test_probabilities=tuple(map(tuple, predicted.astype(np.float64).round(7).tolist())),
        train_own_last=tuple(own[-1].astype(np.float64).round(7).tolist()),
        train_forgotten=tuple((right[:-1] & ~right[1:]).sum(axis=0).tolist()),
    )


def _seed(settings: Settings, repeat: Repeat) -> int:
    """Of initial weights, order and dropout: another each repeat, the same for every recipe."""
    return int(np.random.default_rng([settings.seed, repeat.number, repeat.fold]).integers(2**32))


def _key(settings: Settings, repeat: Repeat, *, shared: Sequence[object]) -> str:
    """A name for all that a cell's figures depend on; the recipe's own name, source and expectation are not.

    shared   what all cells of the repeat depend on: base, classes, versions, photos
    """
    document: list[Any] = [
        CELL_FORMAT,
        settings.recipe.model_dump(mode="json", exclude={"name", "source", "expect"}),
        _pipeline_bytes(settings.recipe),
        settings.seed,
        _seed(settings, repeat),
        shared,
    ]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _photos_digest(split: Split) -> str:
    sides = [[[photo.sha256, photo.label] for photo in side] for side in (split.train, split.val, split.test)]
    return hashlib.sha256(json.dumps(sides).encode()).hexdigest()


def _pipeline_bytes(recipe: Recipe) -> str:
    pipeline = recipe.augmentation.pipeline
    return "" if pipeline is None else hashlib.sha256(Path(pipeline).read_bytes()).hexdigest()
