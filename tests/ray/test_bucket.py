"""Photos read by the workers of a cluster, from an object store and from folders: as the command itself reads them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import paint_set
from imgreg.api.extract import ExtractedFeatures, extract_features
from imgreg.config import Base, Photos, Settings
from imgreg.data.index import index_portions
from imgreg.errors import DatasetError
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource, extract
from imgreg.progress import Watcher
from imgreg.session import Session
from imgreg.training import ray_cluster
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import read_portions
from imgreg.training.workers import open_workers
from s3_server import Server, obstore, running_server

pytest.importorskip("ray.cluster_utils", reason="install Ray to run these: pip install 'imgreg[ray]'")

SETTINGS = Settings.model_validate(
    {
        "base": {"weights": "starter", "image_size": 32},
        "photos": {"max_bad": 0.1},
        "recipe": {"name": "plain", "augmentation": {"backend": "albumentations", "views": 1}},
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server: Server) -> Iterator[Any]:
    """Its nodes find the server, and its credentials, in their own environment."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: on a busy machine they would hardly run
        patch.setenv("OMP_NUM_THREADS", "1")
        one = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        one.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", one.address)
        yield one
        one.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 photos, and one that is none."""
    root = paint_set(tmp_path_factory.mktemp("photos"), n_each=40)
    (root / "cold" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return root


@pytest.fixture
def bucket(server: Server, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(ray_cluster, "BATCH_FILES", 8)
    name = f"b{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    server.make_bucket(name)
    server.put(name, {f"pets/{path.relative_to(data).as_posix()}": path.read_bytes() for path in data.glob("*/*")})
    server.asked.clear()
    return name


@pytest.fixture
def new_cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Switches to an empty cache, but for the exported base."""
    exported = Backbone(Base(weights="starter", image_size=32), watcher=Watcher())
    assert exported.engine

    def switch(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "base").symlink_to(own_cache / "base")
        monkeypatch.setenv("IMGREG_CACHE", str(tmp_path / name))
        return tmp_path / name

    return switch


def features_in(cache: Path) -> list[tuple[str, str, int]]:
    """Each feature's key, the hash of its block, and its row."""
    with sqlite3.connect(cache / "features" / "index.sqlite") as index:
        return index.execute("SELECT key, block, row FROM items ORDER BY key").fetchall()


def test_a_bucket_is_extracted_without_a_copy(
    server: Server, bucket: str, cluster: Any, new_cache: Callable[[str], Path]
) -> None:
    """The blocks are those of the local copy; the bad photo is named by its address; each photo is fetched for its hash
    and for its features, and nothing a second time but the bad one."""
    address = Path(f"s3://{bucket}/pets")
    here = new_cache("here")
    own = extract_features(address, settings=SETTINGS, session=Session())
    cache, said = new_cache("ray"), []

    def extracted() -> ExtractedFeatures:
        server.asked.clear()
        return extract_features(
            address, settings=SETTINGS, session=Session(ray="auto", workers=2, watcher=Watcher(say=said.append))
        )

    first = extracted()
    assert (first.n_photos, first.n_skipped, first.n_computed) == (80, 1, own.n_computed)
    assert features_in(cache) == features_in(here)
    assert f"skipped s3://{bucket}/pets/cold/broken.jpg: not a photo" in "\n".join(said)
    assert not list((cache / "stores").rglob("*.jpg"))
    assert server.fetched() >= 161  # and those again that are in two blocks, or that an idle worker reads too
    second = extracted()
    assert (second.n_photos, second.n_computed, second.n_read) == (80, 0, own.n_computed)
    assert {key for key in server.asked if "." in key} == {f"{bucket}/pets/cold/broken.jpg"}


def test_a_node_is_lost_while_photos_are_read(
    data: Path, bucket: str, cluster: Any, new_cache: Callable[[str], Path]
) -> None:
    """The index of a folder, and of a bucket, is the command's own, with one of two workers gone in the middle."""
    new_cache("here")
    photos = Photos(max_bad=0.1)
    ((own, _),) = index_portions(data, n_files=100, max_bad=0.1)
    for address in (data, Path(f"s3://{bucket}/pets")):
        removed: list[int] = []

        def remove(stage: str, done: int, *_: object, removed: list[int] = removed) -> None:
            if stage == "reading photos" and done > 10 and not removed:
                removed.append(done)
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)  # as without power

        new_cache(f"ray-{len(str(address))}")
        try:
            with open_workers(Session(ray="auto", workers=2, watcher=Watcher(step=remove))) as session:
                ((found, n_left),) = read_portions(address, photos, session=session)
        finally:
            cluster.add_node(num_cpus=1)
        assert removed
        assert removed[0] < 81
        assert n_left == 0
        assert [(photo.sha256, photo.label, photo.seen) for photo in found.photos] == [
            (photo.sha256, photo.label, photo.seen) for photo in own.photos
        ]
        assert [(bad.path.name, bad.reason) for bad in found.skipped] == [("broken.jpg", own.skipped[0].reason)]


def test_an_object_that_changed_or_went_after_it_was_read_ends_the_command(
    server: Server, bucket: str, data: Path, cluster: Any, new_cache: Callable[[str], Path]
) -> None:
    """Its address is named; no feature of other bytes is kept."""
    cache = new_cache("changed")
    with open_workers(Session(ray="auto", workers=1)) as session:
        ((index, _),) = read_portions(Path(f"s3://{bucket}/pets"), Photos(max_bad=0.1), session=session)
        server.put(bucket, {"pets/cold/c00.jpg": (data / "warm" / "w00.jpg").read_bytes()})
        obstore.delete(obstore.store.from_url(f"s3://{bucket}"), "pets/cold/c01.jpg")
        base = Backbone(SETTINGS.base, watcher=Watcher(), pool=session.pool)
        with FeatureCache(cache, say=print) as features:
            source = FeatureSource(features, base=base.identity)
            for photo, problem in zip(
                index.photos, ("c00.jpg: its content changed", "c01.jpg: no such object"), strict=False
            ):
                with pytest.raises(DatasetError, match=f"s3://{bucket}/pets/cold/{problem} while imgreg was running"):
                    extract({photo: [(0, None)]}, source=source, load=base.engine_or_workers)
    assert not list((cache / "features").glob("*.npy"))
