"""How `imgreg train` grows: time by stage and peak memory at 100, 1,000 and 10,000 photos; memory at 20,000 x 8 views.

usage: python benchmarks/scale.py [N ...]        (default 100 1000 10000)
       python benchmarks/scale.py memory [N_PHOTOS [VIEWS]]        (default 20000 and 8; needs 10 GB of disk)
       python benchmarks/scale.py simulate [N_PHOTOS]       (default 10000000; see simulation.py; needs 8 GB of disk)

The first form runs `imgreg train` in fresh processes with an empty cache, on drawn pictures at 64 px, one augmented
view each, 3 epochs, and the same again with what was kept. Memory is told beyond what TensorFlow and OpenVINO take
for training on 20 photos.

The second fills a cache with features of the size that VGG16 gives at 224 px, by the cache's own `write` (drawn at
random: computing them would take a day, and memory does not care), and trains 2 epochs on them through the same code
as `imgreg train`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import simulation
from drawn import draw_sample
from timing import show

DRAWN = 200  # pictures drawn; more photos are these with a number appended, other bytes of the same picture


def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_sample(root / "drawn", count=DRAWN // 2, seed=0)
        rows: dict[int, dict[str, Any]] = {}
        for count in [20, *counts]:
            data = _photos(root, count)
            cold, warm = (_train(data, root, f"{count}-{name}") for name in ("cold", "warm"))
            assert warm["features"]["n_computed"] == 0
            rows[count] = {"cold": cold["seconds"], "warm": warm["seconds"], "peak_mb": [cold["mb"], warm["mb"]]}
    floor = max(rows[20]["peak_mb"])
    del rows[20]
    for row in rows.values():
        row["beyond_mb"] = [mb - floor for mb in row["peak_mb"]]
    head = "photos    reading  features   head  (again: reading  features   head)   MB beyond TensorFlow's"
    show({"floor_mb": floor, "rows": rows}, head, *(_line(count, row) for count, row in rows.items()))


def memory(n_photos: int, n_views: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        peaks = {}
        for name, count in (("floor", 20), ("whole", n_photos)):
            done = subprocess.run(
                [sys.executable, __file__, "child", temporary, str(count), str(n_views)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            peaks[name] = json.loads(done.stdout.splitlines()[-1])
    beyond = peaks["whole"]["mb"] - peaks["floor"]["mb"]
    result = {"n_photos": n_photos, "n_views": n_views, "beyond_mb": beyond, **peaks}
    show(
        result,
        f"{n_photos:,} photos x {n_views} views, {peaks['whole']['gb_on_disk']} GB of features: {beyond:,} MB beyond "
        f"TensorFlow's own {peaks['floor']['mb']:,} MB; an epoch {peaks['whole']['seconds_an_epoch']} s",
    )


def child(root: Path, n_photos: int, n_views: int) -> None:
    """Fill a cache, train on it in this process, and say how much memory that took."""
    from imgreg.data.augment import Augmenter
    from imgreg.data.index import Photo
    from imgreg.features.cache import BLOCK_ROWS, FeatureCache
    from imgreg.features.extract import BaseIdentity, FeatureSource
    from imgreg.heads.fit import fit_head
    from imgreg.heads.training_curves import SplitFeatures
    from imgreg.recipes import load_recipe
    from imgreg.training.prepare import labelled

    recipe = load_recipe("blog", overrides={"training.epochs": 2, "augmentation.views": n_views})
    photos = tuple(
        Photo(f"{n}.jpg", "ab"[n % 2], None, hashlib.sha256(f"{n}".encode()).hexdigest()) for n in range(n_photos)
    )
    augmenter = Augmenter(recipe.augmentation, seed=0, size_px=224)
    draw = np.random.default_rng(0)
    with FeatureCache(root / str(n_photos), say=print, limit_bytes=10**12) as cache:
        source = FeatureSource(cache, base=BaseIdentity("0" * 64, 224, "none", "float32"))
        keys = [
            source.key(photo, view, augmenter=augmenter if view else None)
            for photo in photos
            for view in range(n_views + 1)
        ]
        for start in range(0, len(keys), BLOCK_ROWS):
            part = keys[start : start + BLOCK_ROWS]
            cache.write(part, draw.random((len(part), 7, 7, 512), dtype=np.float32).astype(np.float16))
    with FeatureCache(root / str(n_photos), say=print, limit_bytes=10**12) as cache:
        source = FeatureSource(cache, base=BaseIdentity("0" * 64, 224, "none", "float32"))
        assert not cache.missing(keys)
        n_val = max(2, n_photos // 5)
        train = labelled(photos[n_val:], classes=("a", "b"), source=source, augmenter=augmenter)
        val = labelled(photos[:n_val], classes=("a", "b"), source=source)
        started = time.perf_counter()
        fit_head(recipe, SplitFeatures(train, val, 2), seed=0)
        epoch = (time.perf_counter() - started) / 2
        gb = cache.contents().n_bytes / 1e9
    print(json.dumps({"mb": _own_peak_mb(), "gb_on_disk": round(gb, 1), "seconds_an_epoch": round(epoch, 1)}))


def _photos(root: Path, count: int) -> Path:
    data = root / str(count)
    drawn = sorted((root / "drawn").glob("*/*"))
    for number in range(count):
        picture = drawn[(number * 97) % len(drawn)]  # the classes in turn
        target = data / picture.parent.name / f"{number}{picture.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture.read_bytes() + number.to_bytes(8, "big"))
    return data


def _train(data: Path, root: Path, name: str) -> dict[str, Any]:
    options = ["--recipe", "blog", "--folds", "0", "--weights", "starter", "--image-size", "64"]
    options += ["--views", "1", "--epochs", "3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "imgreg", "train", data, *options, "--models", root / "m", "--name", name, "--json"],
        env=os.environ | {"IMGREG_CACHE": str(root / f"cache-{data.name}")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"imgreg train ended with {status}")
    return json.loads(out) | {"mb": usage.ru_maxrss // 1024}


def _own_peak_mb() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _line(count: int, row: dict[str, Any]) -> str:
    cold, warm = row["cold"], row["warm"]
    return (
        f"{count:6,} {cold['photos']:9.1f} s {cold['features']:8.1f} s {cold['head']:6.1f} s"
        f" {warm['photos']:14.1f} s {warm['features']:8.1f} s {warm['head']:6.1f} s {row['beyond_mb']!s:>14}"
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["child"]:
        child(Path(arguments[1]), int(arguments[2]), int(arguments[3]))
    elif arguments[:1] == ["simulate"]:
        simulation.simulate(int(*arguments[1:] or ["10000000"]))
    elif arguments[:1] == ["simulate-child"]:
        simulation.child(Path(arguments[1]))
    elif arguments[:1] == ["memory"]:
        memory(*(int(text) for text in (arguments[1:] + ["20000", "8"][len(arguments[1:]) :])))
    else:
        main([int(text) for text in arguments] or [100, 1000, 10_000])
