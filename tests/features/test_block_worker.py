"""block_worker.py: a block computed in another process is the one that the command itself would write."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from conftest import paint_set
from imgreg import paths
from imgreg.config import Augmentation, Base
from imgreg.data import stores
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, index_photos
from imgreg.errors import ArtefactError, DatasetError, MachineError
from imgreg.features.block_files import WrittenBlock
from imgreg.features.block_store import BlockStore
from imgreg.features.block_worker import BaseInStore, BlockWorker, cache_of_workers, made_with, views_to_send
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


class OtherMachine:
    """A machine of its own, as far as files go: what reaches it is pickled, and its cache folder is another."""

    def __init__(self, folder: Path, address: str, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._address, self._patch = folder, address, patch
        self.shared: Path | BaseInStore = Path()

    def compute_blocks(
        self, blocks: Sequence[Sequence[View]], *, source: FeatureSource
    ) -> Generator[tuple[int, WrittenBlock], None, None]:
        self.shared = cache_of_workers(source)
        for number, views in enumerate(blocks):
            yield number, self.compute(views, base=source.base)

    def compute(self, views: Sequence[View], *, base: BaseIdentity) -> WrittenBlock:
        sent = pickle.loads(pickle.dumps((views_to_send(views), self.shared)))
        with self._patch.context() as there:
            there.setenv("IMGREG_CACHE", self._address)
            there.setattr(paths.platformdirs, "user_cache_path", lambda _: self.folder)
            return BlockWorker(base, layer=LAST_LAYER, cache=sent[1], expected=made_with(base)).compute(sent[0])


def blocks_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.npy")}


def opened(cache: Path, address: str, said: list[str], *, fetch: bool = True) -> FeatureCache:
    store = BlockStore(address, folder=cache / "features", say=said.append)
    return FeatureCache(cache, say=said.append, store=store, fetch=fetch)


def test_machines_that_share_a_store_alone(
    base: Backbone, photos: tuple[Photo, ...], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker fetches the base and puts the block that the command itself would write; the command takes it down and
    fetches nothing; a third machine reads it. What is damaged in the store is named, and replaced."""
    pytest.importorskip("obstore", reason="install imgreg[stores] to test object stores")
    wanted, views = {photo: [(0, None)] for photo in photos}, [View(photo, 0, None) for photo in photos]
    with FeatureCache(cache / "alone", say=print) as features:
        extract(wanted, source=FeatureSource(features, base=base.identity), load=lambda: base.engine)
    address, said = (cache / "store").as_uri(), []
    worker = OtherMachine(cache / "worker", address, monkeypatch)
    for n_computed in (4, 0):
        with opened(cache, address, said, fetch=False) as features:
            source = FeatureSource(features, base=base.identity)
            assert extract(wanted, source=source, load=lambda: worker).n_computed == n_computed
    own = blocks_in(cache / "alone")
    assert blocks_in(cache / "store") == own
    assert not blocks_in(cache / "features") | blocks_in(cache / "worker")
    assert not list((cache / "worker").rglob("*.sqlite"))  # its home folder may be on a network
    third = cache / "third"
    with opened(third, address, said) as features, FeatureCache(cache / "alone", say=print) as alone:
        there, here = (FeatureSource(one, base=base.identity) for one in (features, alone))
        assert extract(wanted, source=there, load=lambda: pytest.fail("computed")).n_read == 4
        extract(wanted, source=here, load=lambda: pytest.fail("computed"))
        np.testing.assert_array_equal(there.read(photos, 0), here.read(photos, 0))
    assert len(said) == 1  # fetched 1 block
    (block,) = (cache / "store" / "blocks").iterdir()
    block.write_bytes(b"x")
    worker.compute(views, base=base.identity)
    assert blocks_in(cache / "store") == own
    (_, arrays) = sorted((cache / "store" / "base").iterdir(), key=lambda path: path.stat().st_size)
    arrays.write_bytes(b"x")
    worker.compute(views, base=base.identity)  # it has its own copy
    worker.folder = cache / "new machine"
    with pytest.raises(
        MachineError, match=f"{socket.gethostname()}: .*{arrays.name} was damaged. Run the command again"
    ):
        worker.compute(views, base=base.identity)
    with opened(cache, address, said, fetch=False) as features:
        cache_of_workers(FeatureSource(features, base=base.identity))
    worker.compute(views, base=base.identity)
    with closing(BlockStore(address, folder=cache, say=print)) as store:
        assert (store.contents().n_blocks, store.contents().n_bytes > arrays.stat().st_size) == (1, True)
        store.clear()
    assert not [path for path in (cache / "store").rglob("*") if path.is_file()]


def test_a_worker_without_its_store_says_what_it_lacks(
    base: Backbone, photos: tuple[Photo, ...], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine, and what to do: a store that does not answer, no credentials, no obstore, no cache folder."""
    pytest.importorskip("obstore", reason="install imgreg[stores] to test object stores")

    def refused(address: str, folder: Path = cache / "worker") -> str:
        worker = OtherMachine(folder, address, monkeypatch)
        worker.shared = BaseInStore(address, {"base.xml": "0" * 64, "base.bin": "1" * 64})
        with pytest.raises(MachineError, match=f"^{socket.gethostname()}: ") as caught:
            worker.compute([View(photos[0], 0, None)], base=base.identity)
        return str(caught.value)

    monkeypatch.setattr(stores, "ATTEMPTS", 1)
    monkeypatch.setattr(stores, "_RETRIES", {"max_retries": 0})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(cache / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # boto3's
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # obstore's: nobody listens
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert "no access" in (said := refused("s3://bucket/cache"))
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert "cannot be read" in (said := refused("s3://bucket/cache"))
    assert "Check the network" in said
    address = (cache / "store").as_uri()
    assert f"{'0' * 64} is gone. Run the command again" in refused(address)
    (cache / "file").write_bytes(b"")
    assert "set XDG_CACHE_HOME where its Ray is started" in refused(address, cache / "file")
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert "pip install 'imgreg[stores]'" in refused(address)
