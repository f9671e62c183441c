"""imgreg extract: the features of all photos, computed ahead into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgreg.config import Settings
from imgreg.data.split import Split
from imgreg.paths import cache_folder
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.cache import open_cache
from imgreg.training.dataset import Dataset, read_index, refuse_cache_inside
from imgreg.training.fit import prepare
from imgreg.training.workers import open_workers


@dataclass(frozen=True)
class ExtractedFeatures:
    """What computing features ahead gave; a feature is of one photo or one of its views."""

    cache: Path
    n_photos: int
    n_computed: int
    n_read: int
    seconds: float

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
    refuse_cache_inside(data)
    with open_workers(session) as working:
        index, _ = read_index(data, settings.photos, session=working)
        base = Backbone(settings.base, watcher=session.watcher, pool=working.pool)
        base.settle()
        everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)
        with open_cache(working) as cache:
            prepared = prepare(everyone, base=base, settings=settings, cache=cache, watcher=session.watcher)
    extraction = prepared.extraction
    return ExtractedFeatures(
        cache_folder(), len(index.photos), extraction.n_computed, extraction.n_read, prepared.seconds_features
    )


def extraction_document(done: ExtractedFeatures) -> dict[str, object]:
    """What extract --json prints."""
    return {
        "cache": str(done.cache),
        "n_photos": done.n_photos,
        "n_computed": done.n_computed,
        "n_read": done.n_read,
        "seconds": round(done.seconds, 1),
        "features_per_second": round(done.features_per_second, 1),
    }
