"""The frozen base: Keras fp32 against OpenVINO on ready arrays, and imgreg from files on disk to features on disk.

usage: python benchmarks/extract.py [SIZE_PX]        (default 128)

Both run in this process, in turn, five times; medians and their ratio are printed.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imgreg.config import Augmentation, Base
from imgreg.features.cache import FeatureCache
from imgreg.features.engines import choose_engine, engine_version, load_engine
from imgreg.features.extract import BaseIdentity, FeatureSource, extract
from imgreg.features.weights import resolve_weights
from imgreg.photos.augment import Augmenter
from imgreg.photos.index import index_photos
from imgreg.photos.sample import draw_sample
from imgreg.places import cache_folder

N_PHOTOS = 64
ROUNDS = 5


def main(size_px: int) -> None:
    weights = resolve_weights("starter")
    precision = choose_engine(Base(engine="openvino"), say=print)[1]
    engines = {
        name: load_engine(
            name,
            engine_precision,
            weights_sha256=weights.sha256,
            find_weights=lambda: weights,
            size_px=size_px,
            cache=cache_folder(),
        )
        for name, engine_precision in (("keras", "float32"), ("openvino", precision))
    }
    photos = np.random.default_rng(0).integers(0, 256, (N_PHOTOS, size_px, size_px, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {"keras": [], "openvino": [], "imgreg from files": []}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_sample(root / "photos", count=N_PHOTOS // 4, seed=0)
        files = index_photos(root / "photos", max_bad=0).photos
        augmenter = Augmenter(Augmentation(backend="keras", views=1), seed=0, size_px=size_px)
        identity = BaseIdentity(weights.sha256, size_px, engine_version("openvino"), precision)

        def from_files() -> None:
            with tempfile.TemporaryDirectory(dir=root) as cold, FeatureCache(Path(cold), say=print) as cache:
                wanted = {photo: [(0, None), (1, augmenter)] for photo in files}
                extract(wanted, source=FeatureSource(cache, base=identity), load=lambda: engines["openvino"])

        for number in range(ROUNDS + 1):
            for name, engine in engines.items():
                took = _seconds(lambda engine=engine: list(engine.embed(photos)))
                if number:  # the first is a warm-up
                    seconds[name].append(took)
            took = _seconds(from_files)
            if number:
                seconds["imgreg from files"].append(took)
    rates = {name: N_PHOTOS / statistics.median(values) for name, values in seconds.items()}
    gflop = 30.7 * (size_px / 224) ** 2  # multiply-adds of VGG16's convolutions at 224 px, times two
    result = {
        "size_px": size_px,
        "precision": precision,
        "photos_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "openvino_to_keras": round(rates["openvino"] / rates["keras"], 2),
        "files_to_base": round(rates["imgreg from files"] / rates["openvino"], 2),
    }
    print(json.dumps(result))
    for name, rate in rates.items():
        print(f"{name:18} {rate:7.1f} photos/s  {rate * gflop:7.0f} GFLOP/s  {rate / rates['keras']:5.2f} x Keras fp32")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
