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
from imgreg.training.dataset import Dataset, read_index, refuse_inside
from imgreg.training.fit import prepare
from imgreg.training.workers import open_workers


@dataclass(frozen=True)
class FeaturesResult:
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

    def document(self) -> dict[str, object]:
        """What --json prints."""
        return {
            "cache": str(self.cache),
            "n_photos": self.n_photos,
            "n_computed": self.n_computed,
            "n_read": self.n_read,
            "seconds": round(self.seconds, 1),
            "features_per_second": round(self.features_per_second, 1),
        }

    def text(self) -> str:
        """What the command prints."""
        rate = f" ({self.features_per_second:,.1f} per second)" if self.n_computed else ""
        return (
            f"{self.n_photos:,} photos: {self.n_computed:,} features computed in {self.seconds:,.1f} s{rate}, "
            f"{self.n_read:,} were in the cache, {self.cache}"
        )


def extract_features(data: Path, *, settings: Settings, session: Session) -> FeaturesResult:
    """Compute what the cache lacks of every photo and of the recipe's augmented views, on a Ray cluster or here.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset, or one changed while it was read.
    """
    refuse_inside(data, cache_folder(), option="IMGREG_CACHE")
    with open_workers(session) as working:
        index, _ = read_index(data, settings.photos, session=working)
        base = Backbone(settings.base, watcher=session.watcher, pool=working.pool)
        base.settle()
        everyone = Dataset(index, Split(index.photos, (), (), given=False, leaks=0), (), 0.0)
        with open_cache(working) as cache:
            prepared = prepare(everyone, base=base, settings=settings, cache=cache, watcher=session.watcher)
    extraction = prepared.extraction
    return FeaturesResult(
        cache_folder(), len(index.photos), extraction.n_computed, extraction.n_read, prepared.seconds_features
    )
