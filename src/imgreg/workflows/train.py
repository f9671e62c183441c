"""imgreg train: photos in, one run folder out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe, Settings
from imgreg.features.cache import FeatureCache, cache_folder
from imgreg.features.extract import Extraction, FeatureSource, extract
from imgreg.heads.fit import FittedHead, Labelled, fit_head
from imgreg.heads.forward import probabilities, score
from imgreg.heads.plan import plan_head
from imgreg.photos.augment import Augmenter
from imgreg.photos.index import Photo
from imgreg.runs.folder import whole_folder
from imgreg.runs.history import Epoch
from imgreg.runs.summary import RunSummary, TestScores
from imgreg.startup import load_keras
from imgreg.workflows.names import checked_name, unused_name
from imgreg.workflows.prepare import FrozenBase, Ground, lay_ground, refuse_inside
from imgreg.workflows.record import Outcome, record
from imgreg.workflows.watch import Watcher


def train(
    data: Path,
    *,
    settings: Settings,
    models: Path,
    name: str | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> RunSummary:
    """Train one head and write its run folder, whole or not at all.

    data      a folder of class folders, of split folders, or a CSV manifest
    models    where the run folder goes; `name` is its name, by default time and recipe
    command   how the user asked for it, for the record
    raises    ImgregError's children, each for a thing the user can mend
    """
    watcher = watcher or Watcher()
    refuse_inside(data, models, option="--models")
    refuse_inside(data, cache_folder(), option="IMGREG_CACHE")
    target = models / checked_name(name or unused_name(models, settings.recipe.name))
    with whole_folder(target) as folder:
        ground = lay_ground(data, settings.photos, watcher=watcher)
        base = FrozenBase(settings.base, watcher=watcher)
        outcome = train_on(ground, base=base, settings=settings, watcher=watcher)
        return record(outcome, folder, target, ground=ground, base=base, settings=settings, command=command)


def train_on(ground: Ground, *, base: FrozenBase, settings: Settings, watcher: Watcher) -> Outcome:
    """Compute what features are missing, and train one head on them."""
    began = time.perf_counter()
    watcher.step("loading Keras", 0, 1, "")
    load_keras()
    watcher.step("loading Keras", 1, 1, "")
    seconds_keras = time.perf_counter() - began
    started = time.perf_counter()
    recipe, split, classes = settings.recipe, ground.split, ground.index.classes
    with FeatureCache(cache_folder(), say=watcher.say) as cache:
        source = FeatureSource(cache, base=base.identity)
        augmenter = Augmenter(recipe.augmentation, seed=settings.seed, size_px=base.image_size)
        extraction = extract_views(
            ground, source=source, augmenter=augmenter, n_views=recipe.n_views, base=base, watcher=watcher
        )
        seconds_features = time.perf_counter() - started
        fitted = fit_head(
            recipe,
            train=labelled(split.train, classes=classes, source=source, augmenter=augmenter),
            val=labelled(split.val, classes=classes, source=source),
            n_classes=len(classes),
            seed=settings.seed,
            on_epoch=_watch_epochs(recipe, watcher),
        )
        test = labelled(split.test, classes=classes, source=source) if split.test else None
        return Outcome(
            fitted=fitted,
            extraction=extraction,
            views_made_by=augmenter.described,
            feature_shape=source.read(split.val[:1], 0).shape[1:],
            test=_score_test(fitted, recipe=recipe, test=test, n_classes=len(classes)) if test else None,
            val_labels=labels_of(split.val, classes),
            seconds_keras=seconds_keras,
            seconds_features=seconds_features,
            seconds_head=time.perf_counter() - started - seconds_features,
        )


def extract_views(
    ground: Ground, *, source: FeatureSource, augmenter: Augmenter, n_views: int, base: FrozenBase, watcher: Watcher
) -> Extraction:
    """Bring view 0 of every photo, and the augmented views of train photos only, into the cache."""
    clean: list[tuple[int, Augmenter | None]] = [(0, None)]
    augmented = [(view, augmenter) for view in range(1, n_views + 1)]
    wanted: dict[Photo, list[tuple[int, Augmenter | None]]] = {
        photo: [*clean, *augmented] for photo in ground.split.train
    }
    wanted |= dict.fromkeys((*ground.split.val, *ground.split.test), clean)

    def on_view(done: int, total: int) -> None:
        watcher.step("computing features", done, total, "")

    return extract(wanted, source=source, load=lambda: base.engine, on_view=on_view)


def labelled(
    photos: Sequence[Photo],
    *,
    classes: Sequence[str],
    source: FeatureSource,
    augmenter: Augmenter | None = None,
) -> Labelled:
    """Photos' cached features with their labels, as a head is trained and scored on them."""
    return Labelled(lambda view: source.read(photos, view, augmenter=augmenter), labels_of(photos, classes))


def labels_of(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """Each photo's class as an index into classes, (n,) int64."""
    return np.array([classes.index(photo.label) for photo in photos], dtype=np.int64)


def _watch_epochs(recipe: Recipe, watcher: Watcher) -> Callable[[Epoch], None]:
    def on_epoch(row: Epoch) -> None:
        note = f"train {row.train_loss:.3f}  validation {row.val_loss:.3f}"
        watcher.step(f"training {recipe.name}", row.epoch, recipe.training.epochs, note)

    return on_epoch


def _score_test(fitted: FittedHead, *, recipe: Recipe, test: Labelled, n_classes: int) -> TestScores:
    plan = plan_head(recipe.head, n_classes=n_classes)
    predicted = probabilities(test.features(0), plan=plan, weights=fitted.weights)
    loss, accuracy = score(predicted, test.labels)
    return TestScores(n_photos=len(test.labels), loss=loss, accuracy=accuracy)
