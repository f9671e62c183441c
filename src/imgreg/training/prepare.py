"""A recipe's features into the cache, and out of it as a head is trained and scored on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Recipe, Settings
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, labels_of
from imgreg.features.backbone import block_arrays
from imgreg.features.blocks import Block, frozen_layer
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import Extraction, FeatureSource, extract
from imgreg.features.tta import tta_views
from imgreg.heads.finetune import Unfrozen
from imgreg.heads.plan import refuse_output
from imgreg.heads.views import Labelled
from imgreg.lazy_imports import load_keras
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import Dataset


@dataclass(frozen=True)
class Finetuning:
    """What a block is fine-tuned on: the features that go into it, and its convolutions as they are in the base."""

    source: FeatureSource
    unfrozen: Unfrozen


@dataclass(frozen=True)
class Prepared:
    """One recipe with its features in the cache."""

    settings: Settings
    classes: tuple[str, ...]
    source: FeatureSource
    augmenter: Augmenter
    finetuning: Finetuning | None = None
    extraction: Extraction = field(default=Extraction(0, 0))
    seconds_keras: float = 0.0
    seconds_features: float = 0.0

    def labelled(self, photos: Sequence[Photo], *, augmented: bool = False) -> Labelled:
        """Photos' features with their labels; `augmented` also has the augmented views."""
        return labelled(
            photos, classes=self.classes, source=self.source, augmenter=self.augmenter if augmented else None
        )


def prepare(dataset: Dataset, *, base: Backbone, settings: Settings, cache: FeatureCache, watcher: Watcher) -> Prepared:
    """Compute the features that one recipe needs and the cache lacks.

    Raises
    ------
    UsageError
        If its head's output cannot have so many classes.
    FeatureError
        If a feature is not finite.
    """
    refuse_output(settings.recipe.head, n_classes=len(dataset.index.classes))
    began = time.perf_counter()
    watcher.step("loading Keras", 0, 1, "")
    load_keras()
    watcher.step("loading Keras", 1, 1, "")
    started = time.perf_counter()
    source, finetuning = FeatureSource(cache, base=base.identity), None
    augmenter = Augmenter(settings.recipe.augmentation, seed=settings.seed, size_px=base.image_size)
    sources = [source]
    if settings.recipe.finetune.block != "none":
        finetuning = prepare_finetuning(settings.recipe.finetune.block, base=base, cache=cache)
        sources.append(finetuning.source)
    extractions = [
        extract_views(dataset, source=one, augmenter=augmenter, recipe=settings.recipe, base=base, watcher=watcher)
        for one in sources
    ]
    return Prepared(
        settings=settings,
        classes=dataset.index.classes,
        source=source,
        augmenter=augmenter,
        finetuning=finetuning,
        extraction=Extraction(sum(one.n_computed for one in extractions), sum(one.n_read for one in extractions)),
        seconds_keras=started - began,
        seconds_features=time.perf_counter() - started,
    )


def prepare_finetuning(block: Block, *, base: Backbone, cache: FeatureCache) -> Finetuning:
    """Read the base's convolutions; the features are still to be computed."""
    source = FeatureSource(cache, base=base.identity, layer=frozen_layer(block))
    return Finetuning(source, Unfrozen(block_arrays(base.weights, block), base.precision))


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
        load=lambda: base.engine_or_workers(source.layer),
        on_view=watcher.stage("computing features"),
        on_block=watcher.stage("checking cached features"),
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
