"""Photos and a recipe in, a trained head out: features into the cache, then the head on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe, Settings
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, labels_of
from imgreg.data.split import Split
from imgreg.errors import DivergedError
from imgreg.features.backbone import block_arrays
from imgreg.features.blocks import LAST_LAYER, Block, frozen_layer
from imgreg.features.cache import FeatureCache
from imgreg.features.engines import Precision
from imgreg.features.extract import Extraction, FeatureSource, extract
from imgreg.features.tta import tta_views
from imgreg.heads.checkpoint import checkpointer
from imgreg.heads.ensemble import Arrays, mean_probabilities
from imgreg.heads.finetune import finetune, tuned_answers
from imgreg.heads.fit import FittedHead, Fold, fit_head
from imgreg.heads.graph import head_graph
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.plan import plan_head, refuse_output
from imgreg.heads.silencing import Silenced, silenced_scores
from imgreg.heads.views import Labelled
from imgreg.lazy_imports import load_keras
from imgreg.progress import Watcher
from imgreg.reports.tensorboard import LiveEvents
from imgreg.runs.history import Epoch
from imgreg.training.backbone import Backbone
from imgreg.training.checkpoints import checkpoint_path, photos_digest, resumable_training, training_key
from imgreg.training.dataset import Dataset


@dataclass(frozen=True)
class Outcome:
    """What a training gave."""

    fitted: FittedHead
    diverged: str  # why training ended before its time, where a loss was no longer a number
    checkpoint: Path  # of no use once the run is written
    extraction: Extraction
    feature_shape: tuple[int, ...]
    test_probabilities: NDArray[np.float32] | None  # (n_test, n_classes), by the kept head
    val_labels: NDArray[np.int64]
    augmenter: Augmenter
    seconds_keras: float
    seconds_features: float
    seconds_head: float
    silenced: tuple[Silenced, ...] = ()  # validation scores of the kept head with silent units


@dataclass(frozen=True)
class Finetuning:
    """What a block is fine-tuned on: the features that go into it, and its convolutions as they are in the base."""

    source: FeatureSource
    block: Arrays
    precision: Precision


@dataclass(frozen=True)
class Prepared:
    """One recipe with its features in the cache."""

    settings: Settings
    source: FeatureSource
    augmenter: Augmenter
    extraction: Extraction
    seconds_keras: float
    seconds_features: float
    finetuning: Finetuning | None = None


def prepare(dataset: Dataset, *, base: Backbone, settings: Settings, cache: FeatureCache, watcher: Watcher) -> Prepared:
    """Compute what features are missing for one recipe. raises UsageError if its head cannot tell the classes apart"""
    refuse_output(settings.recipe.head, n_classes=len(dataset.index.classes))
    began = time.perf_counter()
    watcher.step("loading Keras", 0, 1, "")
    load_keras()
    watcher.step("loading Keras", 1, 1, "")
    started = time.perf_counter()
    source = FeatureSource(cache, base=base.identity)
    augmenter = Augmenter(settings.recipe.augmentation, seed=settings.seed, size_px=base.image_size)
    extraction = extract_views(
        dataset, source=source, augmenter=augmenter, recipe=settings.recipe, base=base, watcher=watcher
    )
    finetuning = None
    if settings.recipe.finetune.block != "none":
        finetuning = prepare_finetuning(settings.recipe.finetune.block, base=base, cache=cache)
        deep = extract_views(
            dataset,
            source=finetuning.source,
            augmenter=augmenter,
            recipe=settings.recipe,
            base=base,
            watcher=watcher,
        )
        extraction = Extraction(extraction.n_computed + deep.n_computed, extraction.n_read + deep.n_read)
    return Prepared(
        settings=settings,
        source=source,
        augmenter=augmenter,
        extraction=extraction,
        seconds_keras=started - began,
        seconds_features=time.perf_counter() - started,
        finetuning=finetuning,
    )


def fit_on(
    dataset: Dataset,
    prepared: Prepared,
    *,
    resume: bool | None = None,
    watcher: Watcher,
    on_step: Callable[[], None] | None = None,
    events: LiveEvents | None = None,
) -> Outcome:
    """Train one head on prepared features, or go on where an interrupted training stood. Several may run at once.

    on_step   called several times an epoch; what it raises ends the training
    events    TensorBoard's files, written as the head trains
    """
    started = time.perf_counter()
    settings, source, split, classes = prepared.settings, prepared.source, dataset.split, dataset.index.classes
    recipe, diverged = settings.recipe, ""
    key = training_key(
        settings, head_seed=settings.seed, photos=photos_digest(split), classes=classes, identity=source.base
    )
    checkpoint = checkpoint_path(key)
    n_epochs = recipe.training.epochs
    resume_from = resumable_training(checkpoint, resume=resume, what=recipe.name, n_epochs=n_epochs, say=watcher.say)
    feature_shape = source.read(split.val[:1], 0).shape[1:]
    if events is not None:
        events.graph(head_graph(recipe.head, feature_shape=feature_shape, n_classes=len(classes)))
    folds = [Fold(*rows) for rows in split.rows]
    try:
        fitted = fit_head(
            recipe,
            train=labelled(split.train, classes=classes, source=source, augmenter=prepared.augmenter),
            val=labelled(split.val, classes=classes, source=source),
            folds=folds,
            n_classes=len(classes),
            seed=settings.seed,
            on_epoch=_shown(recipe, watcher, events),
            on_step=on_step,
            resume_from=resume_from,
            keep=checkpointer(checkpoint, say=watcher.say),
            monitor=LayerMonitor(on_values=events.layers if events is not None else None),
        )
        if prepared.finetuning is not None:
            fitted = finetune_on(
                prepared.finetuning,
                fitted,
                recipe=recipe,
                split=split,
                folds=folds,
                classes=classes,
                augmenter=prepared.augmenter,
                seed=settings.seed,
                on_epoch=_shown(recipe, watcher, events),
                on_step=on_step,
            )
    except DivergedError as error:
        if not isinstance(error.kept, FittedHead):
            raise
        fitted, diverged = error.kept, str(error)
    tested = None
    if split.test:
        tested = test_answers(
            split.test, fitted, source=source, finetuning=prepared.finetuning, recipe=recipe, classes=classes
        )
    silenced = (
        ()
        if fitted.blocks
        else silenced_scores(
            labelled(split.val, classes=classes, source=source),
            rows=[rows for _, rows in split.rows],
            plan=plan_head(recipe.head, n_classes=len(classes)),
            heads=fitted.heads,
            views=tta_views(mirror=recipe.prediction.mirror),
        )
    )
    return Outcome(
        fitted=fitted,
        diverged=diverged,
        checkpoint=checkpoint,
        extraction=prepared.extraction,
        augmenter=prepared.augmenter,
        feature_shape=feature_shape,
        test_probabilities=tested,
        val_labels=labels_of(split.val, classes),
        seconds_keras=prepared.seconds_keras,
        seconds_features=prepared.seconds_features,
        seconds_head=time.perf_counter()
        - started
        + (resume_from.history.column("seconds").sum() if resume_from else 0),
        silenced=silenced,
    )


def prepare_finetuning(block: Block, *, base: Backbone, cache: FeatureCache) -> Finetuning:
    """Read the base's convolutions; the features are still to be computed."""
    source = FeatureSource(cache, base=base.identity, layer=frozen_layer(block))
    return Finetuning(source, block_arrays(base.weights, block), base.precision)


def finetune_on(
    finetuning: Finetuning,
    fitted: FittedHead,
    *,
    recipe: Recipe,
    split: Split,
    folds: Sequence[Fold] = (),
    classes: Sequence[str],
    augmenter: Augmenter,
    seed: int,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> FittedHead:
    """Train a block on, with the heads that were fitted on the same split."""
    return finetune(
        recipe,
        fitted,
        block=finetuning.block,
        precision=finetuning.precision,
        train=labelled(split.train, classes=classes, source=finetuning.source, augmenter=augmenter),
        val=labelled(split.val, classes=classes, source=finetuning.source),
        folds=folds,
        n_classes=len(classes),
        seed=seed,
        on_epoch=on_epoch,
        on_step=on_step,
    )


def extract_views(
    dataset: Dataset, *, source: FeatureSource, augmenter: Augmenter, recipe: Recipe, base: Backbone, watcher: Watcher
) -> Extraction:
    """Bring the test-time views of every photo, and the augmented views of train photos only, into the cache."""
    clean: list[tuple[int, Augmenter | None]] = [(view, None) for view in tta_views(mirror=recipe.prediction.mirror)]
    augmented = [(view, augmenter) for view in range(1, recipe.n_views + 1)]
    wanted = dict.fromkeys((*dataset.split.val, *dataset.split.test), clean)
    wanted |= {photo: [*clean, *augmented] for photo in dataset.split.train}

    return extract(
        wanted,
        source=source,
        load=lambda: base.engine if source.layer == LAST_LAYER else base.engine_cut_at(source.layer),
        on_view=watcher.stage("computing features"),
        on_block=watcher.stage("checking cached features"),
    )


def answered(photos: Labelled, *, recipe: Recipe, heads: Sequence[Arrays], n_classes: int) -> NDArray[np.float32]:
    """(n, n_classes) probabilities of a training's heads, averaged over them and the recipe's test-time views."""
    views = [photos.all(view) for view in tta_views(mirror=recipe.prediction.mirror)]
    return mean_probabilities(views, plan=plan_head(recipe.head, n_classes=n_classes), heads=heads)


def test_answers(
    photos: Sequence[Photo],
    fitted: FittedHead,
    *,
    source: FeatureSource,
    finetuning: Finetuning | None,
    recipe: Recipe,
    classes: Sequence[str],
) -> NDArray[np.float32]:
    """(n, n_classes) probabilities of what a training kept, fine-tuned or not."""
    if not fitted.blocks:
        test = labelled(photos, classes=classes, source=source)
        return answered(test, recipe=recipe, heads=fitted.heads, n_classes=len(classes))
    assert finetuning is not None  # or there would be no block
    deep = labelled(photos, classes=classes, source=finetuning.source)
    return tuned_answers(
        deep,
        recipe=recipe,
        heads=fitted.heads,
        blocks=fitted.blocks,
        precision=finetuning.precision,
        n_classes=len(classes),
    )


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


def _shown(recipe: Recipe, watcher: Watcher, events: LiveEvents | None) -> Callable[[Epoch], None]:
    """What shows each epoch to the watcher, and to TensorBoard."""

    def on_epoch(row: Epoch) -> None:
        if events is not None:
            events.epoch(row)
        watcher.epoch(recipe.name, row)
        note = f"train {row.train_loss:.3f}, val. {row.val_loss:.3f}"
        n_epochs = recipe.training.epochs + (recipe.finetune.epochs if recipe.finetune.block != "none" else 0)
        watcher.step(f"training {recipe.name}", row.epoch, n_epochs, note)

    return on_epoch
