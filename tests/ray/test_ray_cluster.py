"""ray_cluster.py on two nodes of one CPU: the same bits as without Ray, and nothing lost when a node is.

The nodes have cache folders of their own, which are used where the command's cache is an object store.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import paint_set
from imgreg import paths
from imgreg.config import Augmentation, Base, Settings
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, index_photos
from imgreg.data.stores import Store
from imgreg.errors import MachineError
from imgreg.features.block_store import BlockStore
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource, extract
from imgreg.progress import Watcher
from imgreg.runs.trial import TRIALS
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.ray_cluster import RayCluster
from imgreg.training.resampling import resample_dataset
from imgreg.training.trials import Grid, run_trials
from imgreg.training.workers import open_workers

pytest.importorskip("ray.cluster_utils", reason="install Ray to run these: pip install 'imgreg[ray]'")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the nodes' cache folders are; that of the second node is `second`."""
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def cluster(machines: Path) -> Iterator[Any]:
    """Its second node is the only one that may be removed: the first holds the cluster's state."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: on a busy machine they would hardly run
        for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            patch.setenv(threads, "1")
        patch.setenv("XDG_CACHE_HOME", str(machines / "first"))
        patch.setenv("AWS_ACCESS_KEY_ID", "x")  # each machine's own, and the command's
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        one = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        add_a_node(one, machines)
        patch.setenv("RAY_ADDRESS", one.address)
        yield one
        one.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Iterator[Callable[[int], RayCluster]]:
    """A connection with so many workers; the one before is closed, whose workers would hold the CPUs."""
    opened: list[RayCluster] = []

    def close() -> None:
        while opened:
            opened.pop().__exit__()

    def connect(n_workers: int) -> RayCluster:
        close()
        opened.append(RayCluster("auto", n_workers=n_workers, watcher=Watcher()).__enter__())
        return opened[-1]

    yield connect
    close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("photos"), n_each=50)


@pytest.fixture(scope="module")
def photos(data: Path) -> tuple[Photo, ...]:
    return index_photos(data, max_bad=0).photos


@pytest.fixture(scope="module")
def bucket(cluster: Any) -> Iterator[str]:
    """An address in an S3 server of which the nodes know nothing: it is started after them."""
    moto = pytest.importorskip("moto.server", reason="install moto[server] for an S3 server on this machine")
    boto3 = pytest.importorskip("boto3")  # comes with moto
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def new_cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Switches to an empty cache, but for the exported base; with an address, to the store there as well."""

    def switch(name: str, address: str | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "base").symlink_to(own_cache / "base")
        monkeypatch.setenv("IMGREG_CACHE", address or str(folder))
        monkeypatch.setattr(paths.platformdirs, "user_cache_path", lambda _: folder)
        return folder

    (own_cache / "base").mkdir(exist_ok=True)
    return switch


def extracted(
    photos: tuple[Photo, ...],
    cache: Path,
    *,
    cluster: RayCluster | None,
    address: str | None = None,
    on_view: Callable[[int, int], None] | None = None,
) -> list[tuple[str, str, int]]:
    """What the index of a fresh cache or store holds: each feature's key, the hash of its block, and its row."""
    base = Backbone(Base(weights="starter", image_size=32), watcher=Watcher(), pool=cluster)
    augmenter = Augmenter(Augmentation(backend="albumentations", views=4), seed=1, size_px=32)
    wanted = {photo: [(0, None), *((view, augmenter) for view in range(1, 5))] for photo in photos}
    store = None if address is None else BlockStore(address, folder=cache / "features", say=print)
    with FeatureCache(cache, say=print, store=store, fetch=store is None) as features:
        source = FeatureSource(features, base=base.identity)
        extract(wanted, source=source, load=base.engine_or_workers, on_view=on_view)
    assert ("engine" in vars(base)) == (cluster is None)  # loaded only where it computes
    if address is not None:
        assert not list(cache.rglob("*.npy"))
        return sorted(rows_in(Store(address)))
    with sqlite3.connect(cache / "features" / "index.sqlite") as index:
        return index.execute("SELECT key, block, row FROM items ORDER BY key").fetchall()


def rows_in(store: Store) -> Iterator[tuple[str, str, int]]:
    for one in (one for portion in store.objects(below="index") for one in portion):
        content = store.read(one.key)
        assert content is not None
        for row, key in (line.split() for line in content.decode().splitlines()):
            yield key, one.key.rpartition("/")[2].partition("-")[0], int(row)


def add_a_node(cluster: Any, machines: Path) -> None:
    """The second one, with its cache folder."""
    cluster.add_node(num_cpus=1, env_vars={"XDG_CACHE_HOME": str(machines / "second")})


def remove_a_node(cluster: Any) -> None:
    """At once, as a machine that loses its power; the first node, which holds the cluster's state, stays."""
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)


def test_features_are_those_of_one_process(
    photos: tuple[Photo, ...],
    connected: Callable[[int], RayCluster],
    new_cache: Callable[..., Path],
    cluster: Any,
    bucket: str,
    machines: Path,
) -> None:
    """The same blocks by one worker, by two of which one is lost in the middle, by three, and by two that share an
    object store alone, of which one is lost."""
    here = extracted(photos, new_cache("here"), cluster=None)
    assert len(here) == 500
    assert extracted(photos, new_cache("ray-1"), cluster=connected(1)) == here
    removed: list[int] = []

    def on_view(done: int, _: int) -> None:
        if not removed:
            removed.append(done)
            remove_a_node(cluster)

    try:
        assert extracted(photos, new_cache("ray-2"), cluster=connected(2), on_view=on_view) == here
    finally:
        add_a_node(cluster, machines)
    assert removed
    assert removed[0] < len(here)
    third = cluster.add_node(num_cpus=1)
    try:
        assert extracted(photos, new_cache("ray-3"), cluster=connected(3)) == here
    finally:
        cluster.remove_node(third)
    assert not list(machines.rglob("imgreg"))  # the folder was enough
    removed.clear()
    address, own = f"{bucket}/features", new_cache("ray-store", f"{bucket}/features")
    try:
        assert extracted(photos, own, cluster=connected(2), address=address, on_view=on_view) == here
    finally:
        add_a_node(cluster, machines)
    assert removed
    assert list((machines / "first" / "imgreg" / "base").glob("vgg16-*"))  # fetched
    assert not list(machines.rglob("*.npy"))


def test_a_processor_of_another_kind_is_refused(
    photos: tuple[Photo, ...],
    connected: Callable[[int], RayCluster],
    new_cache: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers that compute with other instructions than the command say so, and what to do."""
    cache = new_cache("mixed")
    base = Backbone(Base(weights="starter", image_size=32, precision="float32"), watcher=Watcher())
    assert base.identity
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")  # of the workers: this process has looked already
    with pytest.raises(
        MachineError, match=r"engine .* jit_sse42_f32, expected .* use --precision float32 and set ONEDNN"
    ):
        extracted(photos[:2], cache, cluster=connected(1))


def settings_of(**recipes: dict[str, object]) -> list[Settings]:
    return [
        Settings.model_validate(
            {
                "base": {"weights": "starter", "image_size": 32},
                "recipe": {"name": name, "training": {"epochs": 30, "batch_size": 8}, **tables},
            }
        )
        for name, tables in recipes.items()
    ]


def test_a_study_is_that_of_one_process(
    data: Path, new_cache: Callable[..., Path], cluster: Any, bucket: str, machines: Path
) -> None:
    """The same trials and messages by one process, by one worker, and by two of which one is lost; none twice. The same
    where an object store is all that the machines share; what they fetch they say."""
    wild = {"optimizer": {"name": "sgd", "learning_rate": 10.0}, "head": {"units": (8,), "l2": 10.0}}
    settings = settings_of(
        plain={"head": {"units": (8,)}}, wild=wild, dropout={"head": {"units": (8,), "dropout": 0.5}}
    )
    removed: list[int] = []

    def remove(stage: str, done: int, *_: object) -> None:
        if stage == "training heads" and done == 1 and not removed:
            removed.append(done)
            remove_a_node(cluster)

    def trained(name: str, session: Session, *where: str) -> tuple[Grid, dict[str, bytes], list[str]]:
        cache, said = new_cache(name, *where), []
        watcher = replace(session.watcher, say=said.append)
        with open_workers(replace(session, watcher=watcher)) as working:
            resampled = resample_dataset(data, settings[0], repeats=3, session=working)
            grid = run_trials(resampled, settings=settings, session=working)
        assert not list((cache / "features").glob(".index-*"))
        said = [line for line in said if "s3://bucket/study: fetched" not in line]
        return grid, {path.name: path.read_bytes() for path in (cache / TRIALS).iterdir()}, said

    here = trained("here", Session(workers=1))
    assert (here[0].n_trained, len(here[1])) == (6, 6)
    assert trained("ray-1", Session(workers=1, ray="auto")) == here
    assert trained("ray-2", Session(workers=2, ray="auto", watcher=Watcher(step=remove))) == here
    assert removed
    add_a_node(cluster, machines)
    removed.clear()
    losing = Session(workers=2, ray="auto", watcher=Watcher(step=remove))
    assert trained("ray-store", losing, f"{bucket}/study") == here
    assert removed
    assert list((machines / "first" / "imgreg" / "features").glob("*.npy"))
