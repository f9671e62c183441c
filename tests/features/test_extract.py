"""extract.py: what comes out of the cache is what the base gives for the same view, made without any cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import paint_set
from imgreg.config import Augmentation
from imgreg.data.augment import Augmenter
from imgreg.data.decode import decode, read_bytes
from imgreg.data.index import Photo, index_photos
from imgreg.features.cache import FeatureCache
from imgreg.features.engines import Engine, EngineSettings, engine_version, load_engine
from imgreg.features.extract import BaseIdentity, Extraction, FeatureSource, extract
from imgreg.features.stored import Stored
from imgreg.features.tta import MIRROR
from imgreg.features.weights import resolve_weights
from imgreg.heads.views import Views
from imgreg.training.prepare import labelled

SIZE = 32
STARTER = resolve_weights("starter")
EPOCHS = 100


@pytest.fixture(scope="module")
def engine(own_cache: Path) -> Engine:
    return load_engine(
        EngineSettings("openvino", "float32", SIZE),
        weights_sha256=STARTER.sha256,
        find_weights=lambda: STARTER,
        cache=own_cache,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photo, ...]:
    return index_photos(paint_set(tmp_path_factory.mktemp("photos"), n_each=2), max_bad=0).photos


def source_in(cache: FeatureCache, *, stored: Stored = "map") -> FeatureSource:
    return FeatureSource(
        cache, base=BaseIdentity(STARTER.sha256, SIZE, engine_version("openvino", "float32"), "float32", stored)
    )


def silent(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize("backend", ["keras", "albumentations"])
def test_every_epoch_reads_what_the_uncached_path_computes(
    tmp_path: Path, engine: Engine, photos: tuple[Photo, ...], backend: str
) -> None:
    """--views 100 --epochs 100: each epoch's features are those of its own view, decoded, augmented and computed again.

    A second Augmenter makes the views one at a time in another order than extraction did.
    """
    augmentation = Augmentation.model_validate({"backend": backend, "views": EPOCHS})
    augmenter, again = (Augmenter(augmentation, seed=3, size_px=SIZE) for _ in range(2))
    with FeatureCache(tmp_path, say=silent) as cache:
        source = source_in(cache)
        wanted = {photo: [(view, augmenter) for view in range(1, EPOCHS + 1)] for photo in photos}
        done = extract(wanted, source=source, load=lambda: engine)
        assert done == Extraction(n_computed=EPOCHS * len(photos), n_read=0)
    with FeatureCache(tmp_path, say=silent) as cache:
        source = source_in(cache)
        assert extract(wanted, source=source, load=lambda: silent("the base is not needed")).n_computed == 0
        clean = {photo: [(0, None)] for photo in photos}
        extract(clean, source=source, load=lambda: engine)
        views = Views(labelled(photos, classes=("cold", "warm"), source=source, augmenter=augmenter), kept_bytes=0)
        seen = set()
        for epoch in reversed(range(1, EPOCHS + 1)):
            ((features, _, _),) = views.portions(epoch, np.arange(len(photos)), multiple=32)
            pixels = [
                again.view(decode(read_bytes(photo.path), size_px=SIZE), sha256=photo.sha256, view=epoch)
                for photo in photos
            ]
            uncached = np.stack(list(engine.embed(pixels))).astype(np.float16)
            np.testing.assert_array_equal(features.numpy(), uncached, err_msg=f"epoch {epoch}")
            seen.add(uncached.tobytes())
    assert len(seen) == EPOCHS  # the views do differ


def test_a_mirror_image_is_a_view_of_its_own(tmp_path: Path, engine: Engine, photos: tuple[Photo, ...]) -> None:
    """Its key is neither the clean photo's nor an augmented view's, whatever augments, and its features are those of
    the photo flipped left to right."""
    flipping = Augmenter(Augmentation.model_validate({"backend": "keras", "views": 4}), seed=3, size_px=SIZE)
    with FeatureCache(tmp_path, say=silent) as cache:
        source = source_in(cache)
        keys = [source.key(photos[0], view, augmenter=flipping) for view in (MIRROR, 0, 1, 2)]
        assert len(set(keys)) == 4
        assert keys[0] == source.key(photos[0], MIRROR)
        extract({photo: [(0, None), (MIRROR, None)] for photo in photos}, source=source, load=lambda: engine)
        turned = [np.ascontiguousarray(decode(read_bytes(one.path), size_px=SIZE)[:, ::-1]) for one in photos]
        expected = np.stack(list(engine.embed(turned))).astype(np.float16)
        np.testing.assert_array_equal(source.read(photos, MIRROR), expected)
        assert not np.array_equal(source.read(photos, 0), expected)


def test_pooled_features_are_kept_apart_from_maps(tmp_path: Path, engine: Engine, photos: tuple[Photo, ...]) -> None:
    """The same photos stored as maps and as averages are two entries; each reads back its own."""
    wanted = {photo: [(0, None)] for photo in photos}
    with FeatureCache(tmp_path, say=silent) as cache:
        maps, averages = source_in(cache), source_in(cache, stored="avg")
        for source in (maps, averages):
            assert extract(wanted, source=source, load=lambda: engine).n_computed == len(photos)
        pooled = maps.read(photos, 0).astype(np.float32).mean((1, 2), keepdims=True)
        assert averages.read(photos, 0).shape == (len(photos), 1, 1, 512)
        np.testing.assert_allclose(averages.read(photos, 0).astype(np.float32), pooled, rtol=2e-3, atol=1e-4)


def test_the_limit_holds_even_if_nothing_is_computed(tmp_path: Path, engine: Engine, photos: tuple[Photo, ...]) -> None:
    """A lower limit on a second run makes room, but never of what that run uses."""
    with FeatureCache(tmp_path, say=silent) as cache:
        for photo in photos:
            extract({photo: [(0, None)]}, source=source_in(cache), load=lambda: engine)
    with FeatureCache(tmp_path, say=silent, limit_bytes=0) as cache:
        used = {photos[1]: [(0, None)]}
        assert extract(used, source=source_in(cache), load=lambda: engine).n_computed == 0
        assert cache.contents().n_features == 1
        assert source_in(cache).read(photos[1:2], 0).shape == (1, 1, 1, 512)
