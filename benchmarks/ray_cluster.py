"""imgreg extract and study on a Ray cluster of this machine: what nodes that die cost, peak memory, and the rate.

    python benchmarks/ray_cluster.py deaths [N]            nodes killed at random times, until N (20) were
    python benchmarks/ray_cluster.py study-deaths [N]      the same during `imgreg study` of the dropout recipes
    python benchmarks/ray_cluster.py memory [PHOTOS ...]   the command's peak memory (1000 20000), drawn photos at 32 px
    python benchmarks/ray_cluster.py rate DATA [SIZE_PX]   two workers against one process on two cores, in turns

Features, names of blocks and index, of a study table and trials, are compared with those of a command without Ray each
time. What is printed goes to stderr: stdout is taken while Ray is connected.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imgreg.config import Augmentation, Base
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource, extract
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone
from imgreg.training.ray_cluster import RayCluster

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from worker_kills import ROOT, SAME, SMALL

N_VIEWS = 8
ROUNDS = 5
LIVES_SECONDS = 5, 30  # a new worker imports TensorFlow first


@contextlib.contextmanager
def two_nodes(*, cpus_of_head: int) -> Iterator[Any]:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus_of_head, "include_dashboard": False})
    for _ in range(2 - cpus_of_head):
        cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        yield cluster
    finally:
        cluster.shutdown()


def drawn(folder: Path, n: int) -> tuple[Photo, ...]:
    """So many small photos, listed without the isolated reading that a command does first."""
    import hashlib

    folder.mkdir(parents=True)
    photos = []
    for number in range(n):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        path = folder / f"{number:06}.png"
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(path)
        photos.append(Photo(str(path), "drawn", hashlib.sha256(path.read_bytes()).hexdigest()))
    return tuple(photos)


def extracted(
    photos: tuple[Photo, ...],
    *,
    cluster: RayCluster | None,
    size_px: int = 32,
    n_views: int = 0,
    on_view: Callable[[int, int], None] = lambda *_: None,
) -> tuple[list[tuple[str, str, int]], float]:
    """The index of a new cache, and the seconds from the first feature on: starting is not counted."""
    cache = Path(tempfile.mkdtemp(prefix="imgreg-ray-"))
    (cache / "base").symlink_to(cache_folder() / "base")
    before = os.environ.get("IMGREG_CACHE")
    os.environ["IMGREG_CACHE"] = str(cache)
    times: list[tuple[float, int]] = []

    def shown(done: int, total: int) -> None:
        times.append((time.monotonic(), done))
        on_view(done, total)

    try:
        base = Backbone(Base(weights="starter", image_size=size_px), watcher=Watcher(), pool=cluster)
        augmenter = Augmenter(Augmentation(backend="albumentations", views=N_VIEWS), seed=1, size_px=size_px)
        wanted = {photo: [(0, None), *((n, augmenter) for n in range(1, n_views + 1))] for photo in photos}
        with FeatureCache(cache, say=print) as features:
            source = FeatureSource(features, base=base.identity)
            extract(
                wanted,
                source=source,
                load=base.engine_or_workers,
                on_view=shown,
            )
        with contextlib.closing(sqlite3.connect(cache / "features" / "index.sqlite")) as index:
            rows = index.execute("SELECT key, block, row FROM items ORDER BY key").fetchall()
    finally:
        shutil.rmtree(cache)
        os.environ.pop("IMGREG_CACHE") if before is None else os.environ.update(IMGREG_CACHE=before)
    (began, first), (ended, last) = times[0], times[-1]
    return rows, (ended - began) / max(last - first, 1) * last


def deaths(n_wanted: int) -> None:
    draw, n_killed, n_runs = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as folder, two_nodes(cpus_of_head=0) as cluster:
        photos = drawn(Path(folder) / "photos", 200)
        expected, _ = extracted(photos, cluster=None, n_views=N_VIEWS)
        stopped = threading.Event()

        def kill() -> None:
            nonlocal n_killed
            while not stopped.wait(draw.uniform(0.5, 8)) and n_killed < n_wanted:
                if len(cluster.worker_nodes) == 2:
                    cluster.remove_node(draw.choice(list(cluster.worker_nodes)), allow_graceful=False)
                    n_killed += 1

        def replace(*_: object) -> None:  # Ray starts nodes in the main thread only
            if len(cluster.worker_nodes) < 2:
                cluster.add_node(num_cpus=1)

        with RayCluster("auto", watcher=Watcher(say=print)) as connected:
            killer = threading.Thread(target=kill)
            killer.start()
            try:
                while n_killed < n_wanted:
                    found, _ = extracted(photos, cluster=connected, n_views=N_VIEWS, on_view=replace)
                    n_runs += 1
                    assert found == expected, "an index is not that of a run without Ray"
                    print(f"{n_runs} extractions, {n_killed} nodes killed, nothing lost", file=sys.stderr)
            finally:
                stopped.set()
                killer.join()


def study_deaths(n_wanted: int) -> None:
    """Nodes killed during a study, which is given again where it gives up because one trial was lost three times."""
    draw, n_killed, n_studies, n_again, problems = random.Random(0), 0, 0, 0, []
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    with tempfile.TemporaryDirectory() as root:
        models, cache = Path(root, "models"), Path(root, "cache")
        cache.mkdir()
        (cache / "base").symlink_to(cache_folder() / "base")
        os.environ["IMGREG_CACHE"] = str(cache)
        study = [sys.executable, "-m", "imgreg", "study", str(ROOT / "datasets" / "leaves"), *SMALL, "-q"]

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*study, "--models", str(models), "--name", name, *words], stdout=subprocess.DEVNULL
            )

        assert start("undisturbed", "--workers", "1").wait() == 0
        expected = [(models / "undisturbed" / file).read_bytes() for file in SAME]
        with two_nodes(cpus_of_head=0) as cluster:
            while n_killed < n_wanted:
                for kept in ("trials", "checkpoints", "features"):
                    shutil.rmtree(cache / kept, ignore_errors=True)
                name, status = f"study-{n_studies}", None
                while status != 0:
                    command = start(name, "--ray", "auto")
                    while (status := command.poll()) is None:
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            command.wait(draw.uniform(*LIVES_SECONDS))
                            continue
                        if n_killed < n_wanted:
                            cluster.remove_node(draw.choice(list(cluster.worker_nodes)), allow_graceful=False)
                            cluster.add_node(num_cpus=1)
                            n_killed += 1
                            print(f"{time.strftime('%X')} {n_killed} nodes killed", file=sys.stderr)
                    n_again += status != 0
                    assert n_again <= n_wanted, "the study does not come to an end"
                n_studies += 1
                if [(models / name / file).read_bytes() for file in SAME] != expected:
                    problems.append(name)
                print(
                    f"{n_studies} studies, {n_killed} nodes killed, {n_again} times given again, differ: {problems}",
                    file=sys.stderr,
                )


def memory(counts: list[int]) -> None:
    """Of `imgreg extract` as a process of its own, with an exported base in the cache, on Ray and without."""
    with two_nodes(cpus_of_head=2), tempfile.TemporaryDirectory() as root:
        for count in sorted(counts):
            photos = drawn(Path(root) / str(count) / "ants", count)
            (Path(root) / str(count) / "bees").mkdir()
            for photo in photos[: count // 2]:
                photo.path.rename(photo.path.parent.parent / "bees" / photo.path.name)
            for ray in (["--ray", "auto"], []):
                cache = Path(tempfile.mkdtemp(dir=root))
                (cache / "base").symlink_to(cache_folder() / "base")
                words = ["extract", str(photos[0].path.parents[1]), "--weights", "starter", "--image-size", "32", *ray]
                words += ["--recipe", "plain", "--set", "prediction.mirror=false", "-q"]
                began = time.monotonic()
                command = subprocess.Popen(
                    [sys.executable, "-m", "imgreg", *words],
                    env=os.environ | {"IMGREG_CACHE": str(cache)},
                    stdout=subprocess.DEVNULL,
                )
                _, status, usage = os.wait4(command.pid, 0)
                assert status == 0, status
                seconds, mb = time.monotonic() - began, usage.ru_maxrss / 1024
                print(f"{count:,} photos {' '.join(ray)}: {seconds:,.0f} s, peak {mb:,.0f} MB", file=sys.stderr)
                shutil.rmtree(cache)


def rate(data: Path, size_px: int) -> None:
    from imgreg.data.index import index_photos

    photos = index_photos(data, max_bad=0.1).photos
    ratios = []
    with two_nodes(cpus_of_head=2), RayCluster("auto", n_workers=2, watcher=Watcher(say=print)) as connected:
        for number in range(ROUNDS):
            seconds, found = {}, {}
            for where in ("here", "ray") if number % 2 else ("ray", "here"):
                cluster = connected if where == "ray" else None
                found[where], seconds[where] = extracted(photos, cluster=cluster, size_px=size_px, n_views=2)
            assert found["ray"] == found["here"]
            ratios.append(seconds["here"] / seconds["ray"])
            print(f"here {seconds['here']:.1f} s, Ray {seconds['ray']:.1f} s: {ratios[-1]:.2f}", file=sys.stderr)
    print(
        f"{size_px} px, {len(photos)} photos: median {statistics.median(ratios):.2f} of one process on two cores",
        file=sys.stderr,
    )


if __name__ == "__main__":
    given = sys.argv[1:] or ["deaths"]
    if given[0] == "deaths":
        deaths(int(given[1]) if given[1:] else 20)
    elif given[0] == "study-deaths":
        study_deaths(int(given[1]) if given[1:] else 20)
    elif given[0] == "memory":
        memory([int(text) for text in given[1:]] or [1000, 20_000])
    else:
        rate(Path(given[1]), int(given[2]) if given[2:] else 64)
