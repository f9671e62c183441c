"""imgreg train: photos in, one run folder out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.controls import control_warnings, largest_share
from imgreg.config import CHEAP_CONTROLS, Recipe, Settings
from imgreg.errors import DivergedError
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import Extraction, FeatureSource, extract
from imgreg.features.tta import tta_views
from imgreg.heads.checkpoint import forget_checkpoint, keeper
from imgreg.heads.ensemble import Arrays, mean_probabilities
from imgreg.heads.fit import FittedHead, Fold, fit_head
from imgreg.heads.plan import plan_head
from imgreg.heads.views import Labelled
from imgreg.photos.augment import Augmenter
from imgreg.photos.index import Photo, labels_of
from imgreg.places import cache_folder
from imgreg.runs.folder import read_run, whole_folder
from imgreg.runs.history import Epoch
from imgreg.runs.summary import RunSummary
from imgreg.runs.sums import write_sums
from imgreg.startup import load_keras
from imgreg.workflows.base import FrozenBase
from imgreg.workflows.baselines import baselines_of_split
from imgreg.workflows.controls import controls_of_run
from imgreg.workflows.doubts import look_for_doubts
from imgreg.workflows.kept_training import begun_training, checkpoint_path, photos_digest, training_key
from imgreg.workflows.names import checked_name, unused_name
from imgreg.workflows.prepare import Ground, lay_ground, refuse_writing_inside
from imgreg.workflows.record import Outcome, record
from imgreg.workflows.watch import Watcher


def train(
    data: Path,
    *,
    settings: Settings,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    controls: Sequence[str] = CHEAP_CONTROLS,
    tensorboard: bool = False,
    resume: bool | None = None,
    read_all: bool = False,
    watcher: Watcher | None = None,
) -> RunSummary:
    """Train one head and write its run folder, whole or not at all.

    data          a folder of class folders, of split folders, or a CSV manifest
    models        where the run folder goes; `name` is its name, by default time and recipe
    command       how the user asked for it, for the record
    cache_bytes   room for kept features; None for the usual 20 GB
    controls      what is run beside the head, see config.CONTROLS
    tensorboard   write event files into the run's tensorboard/
    resume        go on with an interrupted training of the same photos and settings: None if there is one; True, and
                  tell if there is none; False never. The head comes out the same, to the bit
    read_all      read also those photos that are known to be the same
    raises        ImgregError's children, each for a thing the user can mend; DivergedError after the run was written,
                  if a loss was no longer a number: it holds the best epoch before that, if there was one
    """
    watcher = watcher or Watcher()
    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, settings.recipe.name))
    with whole_folder(target) as folder:
        base = FrozenBase(settings.base, watcher=watcher)
        ground = lay_ground(
            data, settings.photos, base=base, cache_bytes=cache_bytes, read_all=read_all, watcher=watcher
        )
        base.settle()
        with FeatureCache(cache_folder(), say=watcher.say, limit_bytes=cache_bytes) as cache:
            prepared = prepare(ground, base=base, settings=settings, cache=cache, watcher=watcher)
            outcome = fit_on(ground, prepared, resume=resume, watcher=watcher)
            doubts = look_for_doubts(ground.split, classes=ground.index.classes, source=prepared.source)
            beside = controls_of_run(controls, ground, prepared, watcher=watcher)
            baselines = baselines_of_split(
                ground.split, classes=ground.index.classes, source=prepared.source, watcher=watcher
            )
        watcher.step("drawing the report", 0, 1, "")
        summary = record(
            outcome,
            folder,
            target,
            ground=ground,
            base=base,
            settings=settings,
            doubts=doubts,
            controls=beside,
            baselines=baselines,
            command=command,
        )
        watcher.step("drawing the report", 1, 1, "")
        if tensorboard:
            from imgreg.reports.tensorboard import write_events

            write_events(folder, read_run(folder, becomes=target))
        write_sums(folder)
    forget_checkpoint(outcome.checkpoint)
    refuse_diverged({summary.run: outcome})
    share = largest_share(outcome.val_labels)
    for line in control_warnings(beside, accuracy=summary.best.val_accuracy, largest_share=share, on="validation"):
        watcher.say(line)
    return summary


def refuse_diverged(outcomes: Mapping[str, Outcome]) -> None:
    """Told when everything is written: runs whose training came apart hold the best epoch before it.

    outcomes   a run's folder -> what its training gave
    raises     DivergedError if one of them came apart
    """
    told = [f"{run}: {it.diverged} The best epoch before that was kept." for run, it in outcomes.items() if it.diverged]
    if told:
        raise DivergedError("\n".join(told))


@dataclass(frozen=True)
class Prepared:
    """One recipe with its features in the cache."""

    settings: Settings
    source: FeatureSource
    augmenter: Augmenter
    extraction: Extraction
    seconds_keras: float
    seconds_features: float


def prepare(ground: Ground, *, base: FrozenBase, settings: Settings, cache: FeatureCache, watcher: Watcher) -> Prepared:
    """Compute what features are missing for one recipe."""
    began = time.perf_counter()
    watcher.step("loading Keras", 0, 1, "")
    load_keras()
    watcher.step("loading Keras", 1, 1, "")
    started = time.perf_counter()
    source = FeatureSource(cache, base=base.identity)
    augmenter = Augmenter(settings.recipe.augmentation, seed=settings.seed, size_px=base.image_size)
    extraction = extract_views(
        ground, source=source, augmenter=augmenter, recipe=settings.recipe, base=base, watcher=watcher
    )
    return Prepared(
        settings=settings,
        source=source,
        augmenter=augmenter,
        extraction=extraction,
        seconds_keras=started - began,
        seconds_features=time.perf_counter() - started,
    )


def fit_on(
    ground: Ground,
    prepared: Prepared,
    *,
    resume: bool | None = None,
    watcher: Watcher,
    on_step: Callable[[], None] | None = None,
) -> Outcome:
    """Train one head on prepared features, or go on where an interrupted training stood. Several may run at once.

    on_step   called several times an epoch; what it raises ends the training
    """
    started = time.perf_counter()
    settings, source, split, classes = prepared.settings, prepared.source, ground.split, ground.index.classes
    recipe, diverged = settings.recipe, ""
    key = training_key(
        settings, head_seed=settings.seed, photos=photos_digest(split), classes=classes, identity=source.base
    )
    checkpoint = checkpoint_path(key)
    n_epochs = recipe.training.epochs
    begun = begun_training(checkpoint, resume=resume, what=recipe.name, n_epochs=n_epochs, say=watcher.say)
    try:
        fitted = fit_head(
            recipe,
            train=labelled(split.train, classes=classes, source=source, augmenter=prepared.augmenter),
            val=labelled(split.val, classes=classes, source=source),
            folds=[Fold(*rows) for rows in split.rows],
            n_classes=len(classes),
            seed=settings.seed,
            on_epoch=_shown(recipe, watcher),
            on_step=on_step,
            begun=begun,
            keep=keeper(checkpoint, say=watcher.say),
        )
    except DivergedError as error:
        if not isinstance(error.kept, FittedHead):
            raise
        fitted, diverged = error.kept, str(error)
    test = labelled(split.test, classes=classes, source=source) if split.test else None
    tested = None
    if test:
        tested = answered(test, recipe=recipe, heads=fitted.heads, n_classes=len(classes))
    return Outcome(
        fitted=fitted,
        diverged=diverged,
        checkpoint=checkpoint,
        extraction=prepared.extraction,
        augmenter=prepared.augmenter,
        feature_shape=source.read(split.val[:1], 0).shape[1:],
        test_probabilities=tested,
        val_labels=labels_of(split.val, classes),
        seconds_keras=prepared.seconds_keras,
        seconds_features=prepared.seconds_features,
        seconds_head=time.perf_counter() - started + (begun.history.column("seconds").sum() if begun else 0),
    )


def extract_views(
    ground: Ground, *, source: FeatureSource, augmenter: Augmenter, recipe: Recipe, base: FrozenBase, watcher: Watcher
) -> Extraction:
    """Bring the test-time views of every photo, and the augmented views of train photos only, into the cache."""
    clean: list[tuple[int, Augmenter | None]] = [(view, None) for view in tta_views(mirror=recipe.prediction.mirror)]
    augmented = [(view, augmenter) for view in range(1, recipe.n_views + 1)]
    wanted = dict.fromkeys((*ground.split.val, *ground.split.test), clean)
    wanted |= {photo: [*clean, *augmented] for photo in ground.split.train}

    return extract(
        wanted,
        source=source,
        load=lambda: base.engine,
        on_view=watcher.stage("computing features"),
        on_block=watcher.stage("checking cached features"),
    )


def answered(photos: Labelled, *, recipe: Recipe, heads: Sequence[Arrays], n_classes: int) -> NDArray[np.float32]:
    """(n, n_classes) probabilities of a training's heads, averaged over them and the recipe's test-time views."""
    views = [photos.all(view) for view in tta_views(mirror=recipe.prediction.mirror)]
    return mean_probabilities(views, plan=plan_head(recipe.head, n_classes=n_classes), heads=heads)


def labelled(
    photos: Sequence[Photo],
    *,
    classes: Sequence[str],
    source: FeatureSource,
    augmenter: Augmenter | None = None,
) -> Labelled:
    """Photos' cached features with their labels, as a head is trained and scored on them."""

    def features(view: int, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        return source.read([photos[row] for row in rows], view, augmenter=augmenter)

    return Labelled(features, labels_of(photos, classes))


def _shown(recipe: Recipe, watcher: Watcher) -> Callable[[Epoch], None]:
    """What shows each epoch to the watcher."""

    def on_epoch(row: Epoch) -> None:
        watcher.epoch(recipe.name, row)
        note = f"train {row.train_loss:.3f}, val. {row.val_loss:.3f}"
        watcher.step(f"training {recipe.name}", row.epoch, recipe.training.epochs, note)

    return on_epoch
