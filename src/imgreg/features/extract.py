"""Photos and views in, cached features out. Decoding and augmenting overlap with the base; the base runs only for
what the cache lacks, and is not even loaded if nothing is."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imgreg.data import decode as decoding
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo
from imgreg.errors import DatasetError, PhotoError
from imgreg.features.backbone import PREPROCESSINGS, Preprocessing
from imgreg.features.block_files import WrittenBlock
from imgreg.features.blocks import LAST_LAYER
from imgreg.features.cache import BLOCK_ROWS, FeatureCache, feature_key
from imgreg.features.engines import Engine, Precision
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
    engine_version: str  # e.g. openvino 2026.1.0 keras 3.15.1 brgconv_avx512_f32
    precision: Precision
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

    @property
    def base_digest(self) -> str:
        """A name for what all features of this source depend on."""
        return feature_key(self.base, self.base.preprocessing, self.layer)[:16]

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


@dataclass(frozen=True)
class View:
    """What one feature is computed of: a photo as it is (0), mirrored (MIRROR), or a view that `augmenter` makes."""

    photo: Photo
    number: int
    augmenter: Augmenter | None


@runtime_checkable
class BlockWorkers(Protocol):
    """Processes on other machines that compute blocks of features."""

    def compute_blocks(
        self, blocks: Sequence[Sequence[View]], *, source: FeatureSource
    ) -> Generator[tuple[int, WrittenBlock], None, None]:
        """Compute each block of views, and give its number with the block that was written, as they come."""
        ...


def extract(
    wanted: Mapping[Photo, Sequence[tuple[int, Augmenter | None]]],
    *,
    source: FeatureSource,
    load: Callable[[], Engine | BlockWorkers],
    on_view: Callable[[int, int], None] | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Bring every wanted (view, augmenter) of every photo into the cache.

    Parameters
    ----------
    load : callable
        Loads the base, or gives workers that compute in its place; called only if something is missing. The blocks and
        their names are the same.
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
        source.key(photo, view, augmenter=augmenter): View(photo, view, augmenter)
        for photo, views in wanted.items()
        for view, augmenter in views
    }
    missing = source.cache.missing(asked, base=source.base_digest, on_block=on_block)
    by_content: dict[str, list[str]] = {}
    for key, view in asked.items():
        if key in missing:
            by_content.setdefault(view.photo.sha256, []).append(key)
    keys = [key for same in by_content.values() for key in same]
    blocks = [keys[start : start + BLOCK_ROWS] for start in range(0, len(keys), BLOCK_ROWS)]
    if blocks:
        computing = load()
        views = [[asked[key] for key in block] for block in blocks]
        n_done = 0
        counts = (
            _computed_by_workers(views, blocks, source=source, workers=computing)
            if isinstance(computing, BlockWorkers)
            else _computed_here(views, blocks, source=source, engine=computing)
        )
        for n_more in counts:
            n_done += n_more
            if on_view is not None:
                on_view(n_done, len(keys))
    source.cache.shrink()
    return Extraction(n_computed=len(missing), n_read=len(asked) - len(missing))


def _computed_here(
    views: Sequence[Sequence[View]], blocks: Sequence[Sequence[str]], *, source: FeatureSource, engine: Engine
) -> Iterator[int]:
    """Compute and write block by block, and give 1 after each feature."""
    rows = feature_rows([view for block in views for view in block], engine=engine, base=source.base)
    for keys in blocks:
        features = []
        for row in islice(rows, len(keys)):
            features.append(row)
            if len(features) == len(keys):
                source.cache.write(keys, np.stack(features), base=source.base_digest)
            yield 1


def _computed_by_workers(
    views: Sequence[Sequence[View]], blocks: Sequence[Sequence[str]], *, source: FeatureSource, workers: BlockWorkers
) -> Iterator[int]:
    """Enter what others write into the index, and give the number of features after each block."""
    with closing(workers.compute_blocks(views, source=source)) as computed:
        for number, written in computed:
            source.cache.add(blocks[number], written, base=source.base_digest)
            yield len(blocks[number])


def feature_rows(views: Sequence[View], *, engine: Engine, base: BaseIdentity) -> Iterator[Float16Array]:
    """Compute the features of views, in order; a photo is decoded once for those of its views that follow each other.

    Yields
    ------
    (h, w, c) float16
        As they are stored.
    """

    def make(same: tuple[View, ...]) -> list[UInt8Array]:
        pixels = read_photo(same[0].photo, size_px=base.image_size)
        return [_pixels(pixels, view) for view in same]

    jobs = (tuple(same) for _, same in groupby(views, key=lambda view: view.photo.sha256))
    for features in engine.embed(chain.from_iterable(read_ahead(make, jobs))):
        yield to_stored(features, base.stored)


def _pixels(photo: UInt8Array, view: View) -> UInt8Array:
    if view.number == MIRROR:
        return mirrored(photo)
    if view.augmenter is None:
        return photo
    return view.augmenter.view(photo, sha256=view.photo.sha256, view=view.number)


def read_photo(photo: Photo, *, size_px: int) -> UInt8Array:
    """Decode a photo that was indexed before. raises DatasetError if its bytes are no longer the same"""
    try:
        data = decoding.read_bytes(photo.path)
        if hashlib.sha256(data).hexdigest() != photo.sha256:
            raise PhotoError("its content changed")
        return decoding.decode(data, size_px=size_px)
    except PhotoError as error:
        raise DatasetError(f"{photo.where}: {error} while imgreg was running. Run the command again.") from error


def library_versions() -> dict[str, str]:
    """What decoding and augmenting in this process depend on."""
    names = ("pillow", *_AUGMENTING)
    versions = {name: str(version) for name, version in zip(names, _versions(*names), strict=True)}
    return {"decoding": repr(decoding.POLICY), "pillow-heif": str(decoding.heif_version())} | versions


@functools.cache
def _versions(*names: str) -> tuple[str | None, ...]:
    """Installed versions; None where a package is not there (OpenCV goes by several names)."""
    return tuple(next(iter(d.version for d in importlib.metadata.distributions(name=name)), None) for name in names)
