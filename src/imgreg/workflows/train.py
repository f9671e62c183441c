"""imgreg train: photos in, one run folder out."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from imgreg.analysis.verdict import judge
from imgreg.config import Recipe, Settings
from imgreg.features.cache import FeatureCache, cache_folder
from imgreg.features.extract import Extraction, FeatureSource, extract
from imgreg.heads.fit import FittedHead, Labelled, fit_head
from imgreg.heads.forward import probabilities, score
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, save_head
from imgreg.photos import decode as decoding
from imgreg.photos.augment import Augmenter
from imgreg.photos.index import Photo
from imgreg.runs.folder import SkippedRow, SplitRow, read_run, whole_folder, write_history, write_json, write_split, write_text
from imgreg.runs.history import Epoch
from imgreg.runs.summary import FeatureCounts, RunSummary, Scores, Seconds, TestScores
from imgreg.workflows.names import checked_name, timestamp
from imgreg.workflows.prepare import FrozenBase, Ground, lay_ground, refuse_inside
from imgreg.workflows.watch import Watcher

_VERSIONS_OF = ("imgreg", "keras", "tensorflow", "openvino", "albumentations", "pillow", "numpy", "scipy")


def train(
    data: Path, *, settings: Settings, models: Path, name: str | None = None, command: str = "", watcher: Watcher | None = None
) -> RunSummary:
    """Train one head and write its run folder, whole or not at all.

    data      a folder of class folders, of split folders, or a CSV manifest
    models    where the run folder goes; `name` is its name, by default time and recipe
    command   how the user asked for it, for the record
    raises    ImgregError's children, each for a thing the user can mend
    """
    watcher = watcher or Watcher()
    refuse_inside(data, models, option="--models")
    target = models / checked_name(name or f"{timestamp()}-{settings.recipe.name}")
    with whole_folder(target) as folder:
        ground = lay_ground(data, settings.photos, watcher=watcher)
        base = FrozenBase(settings.base, watcher=watcher)
        summary = train_into(folder, target, ground=ground, base=base, settings=settings, command=command, watcher=watcher)
    return summary


def train_into(
    folder: Path, target: Path, *, ground: Ground, base: FrozenBase, settings: Settings, command: str, watcher: Watcher
) -> RunSummary:
    """Train on prepared ground and fill `folder`, which will be called `target`."""
    from imgreg.reports.html import run_report
    from imgreg.reports.plots import curves

    started = time.perf_counter()
    recipe, split, classes = settings.recipe, ground.split, ground.index.classes
    with FeatureCache(cache_folder(), say=watcher.say) as cache:
        source = FeatureSource(cache, base=base.identity)
        augmenter = Augmenter(recipe.augmentation, seed=settings.seed)
        extraction = _extract(ground, source=source, augmenter=augmenter, base=base, watcher=watcher)
        seconds_features = time.perf_counter() - started
        fitted = fit_head(
            recipe,
            train=Labelled(lambda view: source.read(split.train, view, augmenter=augmenter), _labels(split.train, classes)),
            val=Labelled(lambda view: source.read(split.val, view), _labels(split.val, classes)),
            n_classes=len(classes),
            seed=settings.seed,
            on_epoch=_watch_epochs(recipe, watcher),
        )
        test = _score_test(fitted, recipe=recipe, photos=split.test, source=source, classes=classes)
        feature_shape = source.read(split.val[:1], 0).shape[1:]
    seconds_head = time.perf_counter() - started - seconds_features

    card = ModelCard(
        classes=classes,
        weights=base.weights.name if base.weights.name in ("imagenet", "starter") else str(base.weights.path.resolve()),
        weights_sha256=base.weights.sha256,
        image_size=base.image_size,
        decode_policy=decoding.POLICY,
        engine=base.engine_name,
        precision=base.precision,
        feature_shape=feature_shape,
        plan=plan_head(recipe.head, n_classes=len(classes)),
    )
    history = fitted.history
    summary = RunSummary(
        run=str(target),
        name=target.name,
        recipe=recipe.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=command,
        seed=settings.seed,
        weights=base.weights.name,
        weights_sha256=base.weights.sha256,
        weights_note=base.weights.note,
        image_size=base.image_size,
        engine=base.engine_name,
        precision=base.precision,
        augmentation=recipe.augmentation.pipeline or recipe.augmentation.backend,
        n_views=recipe.augmentation.n_views,
        classes=classes,
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(split.test),
        n_skipped=len(ground.index.skipped),
        n_parameters=fitted.n_parameters,
        epochs_run=len(history.epochs),
        best_epoch=history.best.epoch,
        best=Scores.of(history.best),
        last=Scores.of(history.last),
        test=test,
        verdict=judge(history, val_labels=_labels(split.val, classes)),
        seconds=Seconds(
            photos=round(ground.seconds, 3),
            features=round(seconds_features, 3),
            head=round(seconds_head, 3),
            total=round(ground.seconds + time.perf_counter() - started, 3),
        ),
        features=FeatureCounts(n_computed=extraction.n_computed, n_read=extraction.n_read),
        warnings=(*base.notes, *ground.warnings),
    )
    save_head(folder, card=card, weights=fitted.weights)
    write_text(folder / "config.toml", tomli_w.dumps(settings.rendered()))
    write_json(folder / "environment.json", _environment(ground, command=command))
    write_split(folder, split=_split_rows(ground), skipped=[SkippedRow(str(s.path), s.reason) for s in ground.index.skipped])
    write_history(folder, history)
    write_json(folder / "metrics.json", summary.model_dump(mode="json"))
    curves(history, title=target.name, target=folder / "curves.png")
    run_report(read_run(folder), target=folder / "report.html")
    return summary


def _extract(
    ground: Ground, *, source: FeatureSource, augmenter: Augmenter, base: FrozenBase, watcher: Watcher
) -> Extraction:
    augmented = [(view, augmenter) for view in range(1, augmenter.n_views + 1)]
    wanted: dict[Photo, list[tuple[int, Augmenter | None]]] = {
        photo: [(0, None), *augmented] for photo in ground.split.train
    }
    wanted |= {photo: [(0, None)] for photo in (*ground.split.val, *ground.split.test)}

    def on_view(done: int, total: int) -> None:
        watcher.step("computing features", done, total, "")

    return extract(wanted, source=source, load=lambda: base.engine, on_view=on_view)


def _watch_epochs(recipe: Recipe, watcher: Watcher) -> Callable[[Epoch], None]:
    def on_epoch(row: Epoch) -> None:
        note = f"train {row.train_loss:.3f}  validation {row.val_loss:.3f}"
        watcher.step(f"training {recipe.name}", row.epoch, recipe.training.epochs, note)

    return on_epoch


def _labels(photos: tuple[Photo, ...], classes: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([classes.index(photo.label) for photo in photos], dtype=np.int64)


def _score_test(
    fitted: FittedHead, *, recipe: Recipe, photos: tuple[Photo, ...], source: FeatureSource, classes: tuple[str, ...]
) -> TestScores | None:
    if not photos:
        return None
    plan = plan_head(recipe.head, n_classes=len(classes))
    loss, accuracy = score(probabilities(source.read(photos, 0), plan=plan, weights=fitted.weights), _labels(photos, classes))
    return TestScores(n_photos=len(photos), loss=loss, accuracy=accuracy)


def _split_rows(ground: Ground) -> list[SplitRow]:
    root = ground.index.root if ground.index.root.is_dir() else ground.index.root.parent
    return [
        SplitRow(os.path.relpath(photo.path, root), photo.label, side, photo.sha256)
        for side, photos in (("train", ground.split.train), ("val", ground.split.val), ("test", ground.split.test))
        for photo in photos
    ]


def _environment(ground: Ground, *, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "data": str(ground.index.root.resolve()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "n_cpus": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS_OF},
    }
