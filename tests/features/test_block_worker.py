"""block_worker.py: a block computed in another process is the one that the command itself would write."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from conftest import paint_set
from imgreg.config import Augmentation, Base
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, index_photos
from imgreg.errors import ArtefactError, DatasetError, MachineError
from imgreg.features.block_files import WrittenBlock
from imgreg.features.block_worker import BlockWorker, made_with, views_to_send
from imgreg.features.blocks import LAST_LAYER
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import BaseIdentity, FeatureSource, View, extract
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone


@pytest.fixture(scope="module")
def base(own_cache: Path) -> Backbone:
    found = Backbone(Base(weights="starter", image_size=32), watcher=Watcher())
    assert found.engine  # exports it
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photo, ...]:
    return index_photos(paint_set(tmp_path_factory.mktemp("photos"), n_each=2), max_bad=0).photos


@pytest.fixture
def cache(own_cache: Path, tmp_path: Path) -> Path:
    """Empty, but for the exported base."""
    (tmp_path / "base").symlink_to(own_cache / "base")
    (tmp_path / "features").mkdir()
    return tmp_path


def worker(base: BaseIdentity, cache: Path, **changed: str) -> BlockWorker:
    return BlockWorker(base, layer=LAST_LAYER, cache=cache, expected=made_with(base) | changed)


def test_a_block_has_the_bytes_of_the_commands_own(base: Backbone, photos: tuple[Photo, ...], cache: Path) -> None:
    """Views that were sent, their augmenter made again there, give the block that extract writes, by its hash."""
    augmenter = Augmenter(Augmentation(backend="albumentations", views=2), seed=3, size_px=32)
    wanted = {photo: [(0, None), (1, augmenter), (2, augmenter)] for photo in photos}
    with FeatureCache(cache, say=print) as features:
        extract(wanted, source=FeatureSource(features, base=base.identity), load=lambda: base.engine)
    (own,) = (cache / "features").glob("*.npy")
    own.rename(cache / "own.npy")
    views = [View(photo, *view) for photo, of_photo in wanted.items() for view in of_photo]
    sent = pickle.loads(pickle.dumps(views_to_send(views)))
    written = worker(base.identity, cache).compute(sent)
    assert written.name == own.stem
    assert own.read_bytes() == (cache / "own.npy").read_bytes()
    assert len(pickle.dumps(written)) < 1000


def test_other_bits_are_refused(base: Backbone, photos: tuple[Photo, ...], cache: Path) -> None:
    """By the library or the kernel that differs, before anything is computed."""
    for name in ("engine", "pillow"):
        with pytest.raises(MachineError, match=f"{name} .*, expected other"):
            worker(base.identity, cache, **{name: "other"}).compute([View(photos[0], 0, None)])
    assert not list((cache / "features").iterdir())


def test_what_is_not_shared_is_named(
    base: Backbone, photos: tuple[Photo, ...], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A photo, a cache folder, or a block that is on one machine only."""
    gone = Photo(str(cache / "gone.jpg"), "cold", "0" * 64)
    with pytest.raises(DatasetError, match="gone.jpg: not found on .* shared file system"):
        worker(base.identity, cache).compute([View(gone, 0, None)])
    with pytest.raises(MachineError, match="no exported VGG16 on .* shared file system"):
        worker(base.identity, tmp_path_factory.mktemp("empty")).compute([View(photos[0], 0, None)])
    with FeatureCache(cache, say=print) as features, pytest.raises(MachineError, match="shared file system"):
        features.add(["a"], WrittenBlock("0" * 64, 100))


def test_a_pipeline_that_changed_is_not_used(tmp_path: Path) -> None:
    """A worker whose augmentation would be another refuses."""
    augmenter = Augmenter(Augmentation(backend="albumentations", views=2), seed=3, size_px=32)
    augmenter.digest = "of another pipeline"
    sent = pickle.dumps(augmenter)
    with pytest.raises(ArtefactError, match="pipeline changed"):
        pickle.loads(sent)


def test_a_copy_of_the_index_is_enough_to_read(base: Backbone, photos: tuple[Photo, ...], cache: Path) -> None:
    """Another machine reads the same features from the copy, writes nothing, and the copy goes with the block."""
    with FeatureCache(cache, say=print) as features:
        source = FeatureSource(features, base=base.identity)
        wanted = {photo: [(0, None)] for photo in photos}
        extract(wanted, source=source, load=lambda: base.engine)
        with features.shared_index() as index:
            before = index.read_bytes()
            with FeatureCache(cache, say=print, index=index) as reading:
                there = FeatureSource(reading, base=base.identity)
                assert extract(wanted, source=there, load=lambda: pytest.fail("computed")).n_read == len(photos)
                assert (there.read(photos, 0) == source.read(photos, 0)).all()
            assert index.read_bytes() == before
        assert not index.exists()
