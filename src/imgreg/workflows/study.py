"""imgreg study and imgreg compare --repeats: many recipes on many splits over kept features, and what it proves."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgreg.analysis.study import StudyTable, searched, study_answer, study_table, voted
from imgreg.config import Recipe, Settings
from imgreg.errors import DivergedError, UsageError
from imgreg.photos.resplit import Repeat, resplit
from imgreg.photos.split import Split
from imgreg.places import cache_folder
from imgreg.recipes.topics import Derived
from imgreg.runs.cell import CELLS, Cell, CellStore
from imgreg.runs.folder import rows_to_csv, whole_folder, write_json, write_text
from imgreg.workflows.names import checked_name, unused_name
from imgreg.workflows.watch import Watcher

if TYPE_CHECKING:
    from imgreg.workflows.prepare import FrozenBase, Ground
    from imgreg.workflows.train import Prepared

CELL_FORMAT = 1  # raised when the same recipe, split and seed may give other figures
_VERSIONS_OF = ("keras", "tensorflow", "numpy", "scipy", "albumentations", "pillow")
TEST_FRACTION = 0.2  # of all photos, where there are no folds


@dataclass(frozen=True)
class Study:
    """A finished study. `folder` holds report.html, study.json, table.csv, forest.png, curves.png and the recipes."""

    folder: Path
    table: StudyTable
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int
    seconds: float


def study(
    data: Path,
    *,
    settings: Sequence[Settings],
    derived: Sequence[Derived] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int,
    folds: int = 0,
    log_epochs: bool = False,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    watcher: Watcher | None = None,
) -> Study:
    """Train every recipe on the same repeated splits, and compare each with the first, the control, in pairs.

    settings   one a recipe; they differ in nothing else. The seed draws initial weights and views, the split's
               seed the splits
    groups     heading -> recipes drawn in one panel, the control first; None for all in one
    repeats    times that the photos are split anew into train, validation and test; with folds, each repeat tests
               every photo once. The epoch is chosen on validation, the score taken on test
    raises     UsageError if two recipes share a name, or there are fewer than two trainings to pair; DivergedError if
               the control's loss is no number. Another recipe that comes apart is left out and told

    Finished trainings are kept in the cache: the same command again, after a kill or with more recipes or repeats,
    trains those that are missing.
    """
    watcher = watcher or Watcher()
    started = time.perf_counter()
    names = [one.recipe.name for one in settings]
    if len(set(names)) < max(len(names), 2):
        raise UsageError(f"study: found the recipes {', '.join(names)}; expected two or more, each once.")
    if repeats * max(folds, 1) < 2:
        raise UsageError("--repeats 1 shows no spread: take 2 or more (5 for a first answer), or --folds.")
    from imgreg.workflows.prepare import FrozenBase, lay_ground, refuse_inside

    refuse_inside(data, models, option="--models")
    refuse_inside(data, cache_folder(), option="IMGREG_CACHE")
    target = models / checked_name(name or unused_name(models, "study"))
    with whole_folder(target) as folder:
        ground = lay_ground(data, settings[0].photos, watcher=watcher)
        notes = list(ground.warnings)
        if ground.split.given or ground.split.test:
            notes.append("The split that the photos come with is not used: every repeat draws its own.")
            watcher.say(notes[-1])
        drawn = resplit(
            ground.index.photos,
            repeats=repeats,
            folds=folds,
            test_fraction=TEST_FRACTION,
            val_fraction=settings[0].photos.val_fraction,
            seed=settings[0].photos.split_seed,
        )
        base = FrozenBase(settings[0].base, watcher=watcher)
        filled = _fill(ground, drawn, base=base, settings=settings, cache_bytes=cache_bytes, watcher=watcher)
        notes += [*base.notes, *filled.apart.values()]
        cells = dict(filled.cells)
        for extra in derived:
            if all(voter in cells for voter in extra.of):
                make = voted if extra.how == "vote" else searched
                cells[extra.name] = [make(extra.name, [cells[of][i] for of in extra.of]) for i in range(len(drawn))]
        table = study_table(cells)
        done = Study(
            folder=target,
            table=table,
            answer=study_answer(table),
            notes=tuple(notes),
            n_trained=filled.n_trained,
            n_kept=filled.n_kept,
            seconds=round(time.perf_counter() - started, 1),
        )
        panels = {
            heading: [name for name in names if name in cells]
            for heading, names in (groups or {"all recipes": tuple(filled.cells)}).items()
        }
        panels = {heading: names for heading, names in panels.items() if len(names) > 1}
        _write(folder, done, cells=cells, groups=panels, settings=settings, command=command, log_epochs=log_epochs)
    return done


@dataclass(frozen=True)
class _Filled:
    cells: dict[str, list[Cell]]  # recipe -> a cell a repeat
    apart: dict[str, str]  # recipes whose loss became no number, with the words for it
    n_trained: int
    n_kept: int


def _fill(
    ground: Ground,
    drawn: Sequence[Repeat],
    *,
    base: FrozenBase,
    settings: Sequence[Settings],
    cache_bytes: int | None,
    watcher: Watcher,
) -> _Filled:
    """Every recipe on every repeat: kept cells are taken, missing ones trained, repeat by repeat, and kept."""
    from imgreg.features.cache import FeatureCache
    from imgreg.workflows.train import prepare

    store, identity, classes = CellStore(cache_folder() / CELLS), base.identity, ground.index.classes
    keys = [
        [_key(one, repeat, photos=photos, base=identity, classes=classes) for one in settings]
        for repeat in drawn
        for photos in [_photos_digest(repeat.split)]
    ]
    found = [[store.get(key) for key in row] for row in keys]
    n_cells, n_kept = len(drawn) * len(settings), sum(cell is not None for row in found for cell in row)
    n_done = n_kept
    cells: dict[str, list[Cell]] = {one.recipe.name: [] for one in settings}
    apart: dict[str, str] = {}
    everyone = replace(ground, split=Split(ground.index.photos, (), (), given=False, leaks=0))
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
                        kept = _train_cell(ground, prepared[recipe], repeat, tell=tell)
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
    return _Filled(whole, apart, n_trained=n_done - n_kept, n_kept=n_kept)


def study_document(done: Study) -> dict[str, object]:
    """What study --json prints."""
    return {
        "study": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "table": done.table.model_dump(mode="json"),
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
        "seconds": done.seconds,
    }


def _train_cell(ground: Ground, prepared: Prepared, repeat: Repeat, *, tell: Callable[[], None]) -> Cell:
    from imgreg.heads.fit import fit_head
    from imgreg.heads.forward import probabilities, score
    from imgreg.heads.plan import plan_head
    from imgreg.workflows.train import labelled

    recipe, source, classes, split = prepared.settings.recipe, prepared.source, ground.index.classes, repeat.split
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
    )


def _seed(settings: Settings, repeat: Repeat) -> int:
    """Of initial weights, order and dropout: another each repeat, the same for every recipe."""
    return int(np.random.default_rng([settings.seed, repeat.number, repeat.fold]).integers(2**32))


def _key(settings: Settings, repeat: Repeat, *, photos: str, base: object, classes: Sequence[str]) -> str:
    """A name for all that a cell's figures depend on; the recipe's own name, source and expectation are not."""
    document: list[Any] = [
        CELL_FORMAT,
        settings.recipe.model_dump(mode="json", exclude={"name", "source", "expect"}),
        _pipeline_bytes(settings.recipe),
        settings.seed,
        _seed(settings, repeat),
        list(classes),
        repr(base),
        photos,
        [importlib.metadata.version(name) for name in _VERSIONS_OF],
    ]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _photos_digest(split: Split) -> str:
    sides = [[[photo.sha256, photo.label] for photo in side] for side in (split.train, split.val, split.test)]
    return hashlib.sha256(json.dumps(sides).encode()).hexdigest()


def _pipeline_bytes(recipe: Recipe) -> str:
    pipeline = recipe.augmentation.pipeline
    return "" if pipeline is None else hashlib.sha256(Path(pipeline).read_bytes()).hexdigest()


def _write(
    folder: Path,
    done: Study,
    *,
    cells: dict[str, list[Cell]],
    groups: Mapping[str, Sequence[str]],
    settings: Sequence[Settings],
    command: str,
    log_epochs: bool,
) -> None:
    import tomli_w

    from imgreg.reports.study import forest, study_curves, study_report

    write_json(folder / "study.json", study_document(done) | {"command": command})
    figures = ("recipe", "test_loss", "test_accuracy", "best_epoch", "gap_last")
    rows = [
        tuple(getattr(row, name) for name in figures)
        + ((e.mean, e.low, e.high, e.p_holm, e.word) if (e := row.effect) else ("", "", "", "", "control"))
        for row in done.table.rows
    ]
    header = (*figures, "effect", "low", "high", "p_holm", "word")
    write_text(folder / "table.csv", rows_to_csv(header, rows))
    write_text(folder / "settings.toml", tomli_w.dumps({one.recipe.name: one.rendered() for one in settings}))
    write_json(folder / "cells.json", {name: [c.model_dump(mode="json") for c in row] for name, row in cells.items()})
    forest(done.table, target=folder / "forest.png")
    study_curves(cells, groups=groups, target=folder / "curves.png", log_epochs=log_epochs)
    study_report(
        done.table,
        cells=cells,
        groups=groups,
        answer=done.answer,
        notes=done.notes,
        command=command,
        log_epochs=log_epochs,
        target=folder / "report.html",
    )
