"""What the base's arithmetic and the cache's rounding cost: agreement of features, accuracy of heads on real photos.

usage: python benchmarks/precision.py DATA [IMAGE_SIZE]        (default 128)

The clean photos of DATA are described by Keras fp32 (the reference, kept as float32) and by every engine and precision
that this machine has, each kept as float32 and as the float16 of the cache. A head is trained on each with the same
five seeds. Told are the smallest cosine of a photo's features to the reference's, and the validation accuracy at the
best epoch, mean over the seeds, with the difference to the reference in photos of a hundred.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from timing import show

from imgreg.data.decode import decode, read_bytes
from imgreg.data.index import index_photos, labels_of
from imgreg.data.split import split_photos
from imgreg.features.engines import EngineSettings, load_engine
from imgreg.features.weights import resolve_weights
from imgreg.heads.fit import fit_head
from imgreg.heads.training_curves import SplitFeatures
from imgreg.heads.views import Labelled
from imgreg.lazy_imports import load_openvino
from imgreg.paths import cache_folder
from imgreg.recipes import load_recipe

SEEDS = range(5)
WEIGHTS = resolve_weights("starter")


def main(data: Path, image_size: int) -> None:
    index = index_photos(data, max_bad=0.2)
    split = split_photos(index.photos, val_fraction=0.2, seed=0)
    photos = [decode(read_bytes(photo.path), size_px=image_size) for photo in (*split.train, *split.val)]
    labels = labels_of((*split.train, *split.val), index.classes)
    has_bfloat16 = "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    choices = [("keras", "float32"), ("openvino", "float32"), *([("openvino", "bfloat16")] if has_bfloat16 else [])]
    rows: dict[str, dict[str, float]] = {}
    reference: np.ndarray | None = None
    for engine, precision in choices:
        exact = _features(engine, precision, photos)
        reference = exact if reference is None else reference
        for kept in (np.float32, np.float16):
            features = exact.astype(kept)
            rows[f"{engine} {precision}, kept as {np.dtype(kept)}"] = {
                "smallest_cosine": _smallest_cosine(features, reference),
                "accuracy": _accuracy(features, labels, n_train=len(split.train), n_classes=len(index.classes)),
            }
    first = next(iter(rows.values()))["accuracy"]
    for row in rows.values():
        row["difference"] = row["accuracy"] - first
    show(
        {"data": data.name, "image_size": image_size, "n_val": len(split.val), "rows": rows},
        *(
            f"{name:38} cosine >= {row['smallest_cosine']:.6f}   accuracy {row['accuracy']:.4f} "
            f"({100 * row['difference']:+.1f} of 100 photos)"
            for name, row in rows.items()
        ),
    )


def _features(engine: Any, precision: Any, photos: list[np.ndarray]) -> np.ndarray:
    loaded = load_engine(
        EngineSettings(engine, precision, photos[0].shape[0]),
        weights_sha256=WEIGHTS.sha256,
        find_weights=lambda: WEIGHTS,
        cache=cache_folder(),
    )
    return np.stack(list(loaded.embed(photos)))


def _smallest_cosine(features: np.ndarray, reference: np.ndarray) -> float:
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (features, reference))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def _accuracy(features: np.ndarray, labels: np.ndarray, *, n_train: int, n_classes: int) -> float:
    """Validation accuracy at the best epoch, mean over the seeds."""
    train = Labelled(lambda _view, rows: features[:n_train][rows], labels[:n_train])
    val = Labelled(lambda _view, rows: features[n_train:][rows], labels[n_train:])
    overrides = {"augmentation.backend": "none", "training.epochs": 30, "optimizer.learning_rate": 1e-4}
    recipe = load_recipe("blog", overrides=overrides)
    data = SplitFeatures(train, val, n_classes)
    best = [fit_head(recipe, data, seed=seed).history.best for seed in SEEDS]
    return float(np.mean([epoch.val_accuracy for epoch in best]))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 128)
