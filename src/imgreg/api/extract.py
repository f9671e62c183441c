"""imgreg extract: the features of all photos, computed ahead into the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from imgreg.config import Settings
from imgreg.data.augment import Augmenter
from imgreg.data.split import Split
from imgreg.features.blocks import LAST_LAYER, frozen_layer
from imgreg.features.extract import FeatureSource
from imgreg.features.tta import tta_views
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.cache import open_cache, store_of_workers
from imgreg.training.dataset import Dataset, read_portions
from imgreg.training.new_folder import refuse_cache_inside
from imgreg.training.prepare import extract_views
from imgreg.training.workers import open_workers


@dataclass(frozen=True)
class ExtractedFeatures:
    """What computing features ahead gave; a feature is of one photo or one of its views."""

    cache: str  # the folder, or the store where other machines computed them
    n_photos: int = 0
    n_skipped: int = 0
    n_computed: int = 0
    n_read: int = 0
    seconds: float = 0.0

    @property
    def features_per_second(self) -> float:
        """Of those that were computed."""
        return self.n_computed / self.seconds if self.n_computed else 0.0


def extract_features(data: Path, *, settings: Settings, session: Session) -> ExtractedFeatures:
    """Compute what the cache lacks of every photo and of the recipe's augmented views, on a Ray cluster or here.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset, or one changed while it was read.
    """
    *_, done = extract_portions(data, settings=settings, session=session)
    return done


def extract_portions(data: Path, *, settings: Settings, session: Session) -> Iterator[ExtractedFeatures]:
    """As extract_features, with what is done after each portion of the photos.

    A portion's photos are indexed, their features computed, and both forgotten: memory does not grow with the dataset.
    """
    refuse_cache_inside(data)
    store = store_of_workers(session)
    recipe, done = settings.recipe, ExtractedFeatures(store or str(cache_folder()))
    layers = [LAST_LAYER] if recipe.finetune.block == "none" else [LAST_LAYER, frozen_layer(recipe.finetune.block)]
    n_each = len(layers) * (len(tta_views(mirror=recipe.prediction.mirror)) + recipe.n_views)
    with open_workers(session) as working:
        base = Backbone(settings.base, watcher=session.watcher, pool=working.pool)
        base.settle()
        augmenter = Augmenter(recipe.augmentation, seed=settings.seed, size_px=base.image_size)
        with (
            open_cache(working, fetch=store is None) as cache,
            closing(read_portions(data, settings.photos, session=working)) as portions,
        ):
            for index, n_left in portions:
                started = time.perf_counter()
                everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)
                for layer in layers:
                    extraction = extract_views(
                        everyone,
                        source=FeatureSource(cache, base=base.identity, layer=layer),
                        augmenter=augmenter,
                        recipe=recipe,
                        base=base,
                        watcher=_overall(session.watcher, n_before=done.n_computed, n_after=n_left * n_each),
                    )
                    done = replace(
                        done,
                        n_computed=done.n_computed + extraction.n_computed,
                        n_read=done.n_read + extraction.n_read,
                    )
                cache.release()
                done = replace(
                    done,
                    n_photos=done.n_photos + len(index.photos),
                    n_skipped=done.n_skipped + len(index.skipped),
                    seconds=done.seconds + time.perf_counter() - started,
                )
                yield done


def _overall(watcher: Watcher, *, n_before: int, n_after: int) -> Watcher:
    """A watcher that shows the features of one portion among all."""

    def step(stage: str, done: int, total: int, note: str) -> None:
        if stage == "computing features":
            done, total = n_before + done, n_before + total + n_after
        watcher.step(stage, done, total, note)

    return replace(watcher, step=step)


def extraction_document(done: ExtractedFeatures) -> dict[str, object]:
    """What extract --json prints."""
    return {
        "cache": done.cache,
        "n_photos": done.n_photos,
        "n_skipped": done.n_skipped,
        "n_computed": done.n_computed,
        "n_read": done.n_read,
        "seconds": round(done.seconds, 1),
        "features_per_second": round(done.features_per_second, 1),
    }
