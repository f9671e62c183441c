"""Photos and views in, cached features out. Decoding and augmenting overlap with the base; the base runs only for
what the cache lacks, and is not even loaded if nothing is."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imgreg.data import decode as decoding
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo
from imgreg.errors import DatasetError, PhotoError
from imgreg.features.backbone import PREPROCESSINGS, Preprocessing
from imgreg.features.blocks import LAST_LAYER
from imgreg.features.cache import BLOCK_ROWS, FeatureCache, feature_key
from imgreg.features.engines import Engine
from imgreg.features.read_ahead import read_ahead
from imgreg.features.stored import Stored, to_stored
from imgreg.features.tta import MIRROR, mirrored

Float16Array = NDArray[np.float16]
UInt8Array = NDArray[np.uint8]

_AUGMENTING = ("keras", "scipy", "albumentations", "albucore", "opencv-python-headless", "opencv-python")


@dataclass(frozen=True)
class BaseIdentity:
    """What a feature's bits depend on besides the photo and the view."""

    weights_sha256: str
    image_size: int
    engine_version: str  # e.g. openvino 2026.1.0
    precision: str
    stored: Stored = "map"
    preprocessing: Preprocessing = field(default="vgg16", repr=False)  # keys name it beside this value


@dataclass(frozen=True)
class Extraction:
    """How many views went through the base, and how many lay in the cache."""

    n_computed: int
    n_read: int


class FeatureSource:
    """Reads features of one base, by photo and view, from a cache that `extract` has filled."""

    def __init__(self, cache: FeatureCache, *, base: BaseIdentity, layer: str = LAST_LAYER) -> None:
        self.cache, self.base, self.layer = cache, base, layer

    def key(self, photo: Photo, view: int, *, augmenter: Augmenter | None = None) -> str:
        """The name in the cache of one view's features: a hash of all that they depend on.

        Parameters
        ----------
        view : int
            0 for the photo, MIRROR for its mirror image, else a view that `augmenter` makes.
        """
        made_by: tuple[object, ...] = ("view 0",)
        if view == MIRROR:
            made_by = ("mirror image",)
        elif view != 0 and augmenter is not None:
            made_by = (augmenter.digest, view, *_versions(*_AUGMENTING))
        decoded_by = (decoding.POLICY, *_versions("pillow"))
        if photo.metadata is not None and photo.metadata.kind == "HEIF":
            decoded_by = (*decoded_by, f"pillow-heif {decoding.heif_version()}")
        name = PREPROCESSINGS[self.base.preprocessing].removeprefix("keras.applications.")
        return feature_key(photo.sha256, *made_by, *decoded_by, f"{name} {self.layer}", self.base)

    def read(self, photos: Sequence[Photo], view: int, *, augmenter: Augmenter | None = None) -> Float16Array:
        """(n, h, w, 512) float16, pooled (n, 1, 1, 512), row i describes view `view` of photos[i]"""
        return self.cache.read([self.key(photo, view, augmenter=augmenter) for photo in photos])


def extract(
    wanted: Mapping[Photo, Sequence[tuple[int, Augmenter | None]]],
    *,
    source: FeatureSource,
    load: Callable[[], Engine],
    on_view: Callable[[int, int], None] | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Bring every wanted (view, augmenter) of every photo into the cache.

    Parameters
    ----------
    load : callable
        Loads the base; called only if something is missing.
    on_view : callable, optional
        Called with (views done, views to compute).
    on_block : callable, optional
        Called with (blocks of the cache checked, blocks to check).

    Raises
    ------
    DatasetError
        If a photo changed or vanished since it was indexed.
    FeatureError
        If a value is not finite.
    """
    asked = {
        source.key(photo, view, augmenter=augmenter): (photo, view, augmenter)
        for photo, views in wanted.items()
        for view, augmenter in views
    }
    missing = source.cache.missing(asked, on_block=on_block)
    jobs: dict[str, tuple[Photo, list[tuple[str, int, Augmenter | None]]]] = {}
    for key, (photo, view, augmenter) in asked.items():
        if key in missing:
            jobs.setdefault(photo.sha256, (photo, []))[1].append((key, view, augmenter))
    if jobs:
        _compute(list(jobs.values()), source=source, engine=load(), n_missing=len(missing), on_view=on_view)
    source.cache.shrink()
    return Extraction(n_computed=len(missing), n_read=len(asked) - len(missing))


def _compute(
    jobs: list[tuple[Photo, list[tuple[str, int, Augmenter | None]]]],
    *,
    source: FeatureSource,
    engine: Engine,
    n_missing: int,
    on_view: Callable[[int, int], None] | None,
) -> None:
    keys: deque[str] = deque()

    def make_views(
        job: tuple[Photo, list[tuple[str, int, Augmenter | None]]],
    ) -> list[tuple[str, UInt8Array]]:
        photo, views = job
        pixels = read_photo(photo, size_px=source.base.image_size)
        return [(key, _view(pixels, view, sha256=photo.sha256, augmenter=augmenter)) for key, view, augmenter in views]

    def pixels_in_order() -> Iterator[UInt8Array]:
        for made in read_ahead(make_views, jobs):
            for key, pixels in made:
                keys.append(key)
                yield pixels

    rows: list[Float16Array] = []
    block_keys: list[str] = []
    for done, features in enumerate(engine.embed(pixels_in_order()), start=1):
        rows.append(to_stored(features, source.base.stored))
        block_keys.append(keys.popleft())
        if len(rows) == BLOCK_ROWS or done == n_missing:
            source.cache.write(block_keys, np.stack(rows))
            rows, block_keys = [], []
        if on_view is not None:
            on_view(done, n_missing)


def _view(pixels: UInt8Array, view: int, *, sha256: str, augmenter: Augmenter | None) -> UInt8Array:
    if view == MIRROR:
        return mirrored(pixels)
    return pixels if augmenter is None else augmenter.view(pixels, sha256=sha256, view=view)


def read_photo(photo: Photo, *, size_px: int) -> UInt8Array:
    """Decode a photo that was indexed before. raises DatasetError if its bytes are no longer the same"""
    try:
        data = decoding.read_bytes(photo.path)
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise PhotoError("its content changed")
        return decoding.decode(data, size_px=size_px)
    except PhotoError as error:
        raise DatasetError(f"{photo.path}: {error} while imgreg was running. Run the command again.") from error


@functools.cache
def _versions(*names: str) -> tuple[str | None, ...]:
    """Installed versions; None where a package is not there (OpenCV goes by several names)."""
    return tuple(next(iter(d.version for d in importlib.metadata.distributions(name=name)), None) for name in names)
