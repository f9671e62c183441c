"""What the starter weights are worth: logistic regression on their features against random He weights.

usage: python benchmarks/weights.py [TRAIN TEST]             (folders of classes; needs scikit-learn)

By default it trains on datasets/leaves and tests on 400 pictures drawn anew. Random weights are drawn with three
seeds; both sides see the same decoded photos, at the starter weights' own size.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from drawn import draw_sample
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imgreg.data.index import index_photos, labels_of
from imgreg.features.backbone import build_backbone
from imgreg.features.extract import read_photo
from imgreg.features.weights import layer_shapes, resolve_weights

BUNDLED = Path(__file__).parents[1] / "datasets" / "leaves"


def main(train: Path, test: Path) -> None:
    weights = resolve_weights("starter")
    indexes = [index_photos(folder, max_bad=0) for folder in (train, test)]
    photos = [np.stack([read_photo(one, size_px=weights.image_size) for one in index.photos]) for index in indexes]
    labels = [labels_of(index.photos, index.classes) for index in indexes]
    base = build_backbone(weights)
    vgg16 = next(layer for layer in base.layers if layer.name.startswith("vgg16"))
    accuracies = {"starter": [_accuracy(base, photos, labels)], "random": []}
    for seed in range(3):
        draw = np.random.default_rng(seed)
        for layer in vgg16.layers:
            if layer.weights:
                shape = layer_shapes()[f"{layer.name}/kernel"]
                kernel = draw.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
                layer.set_weights([kernel, np.zeros(shape[-1])])
        accuracies["random"].append(_accuracy(base, photos, labels))
    counts = {"n_train": len(labels[0]), "n_test": len(labels[1])}
    print(json.dumps({"data": train.name, "size_px": weights.image_size, **counts, **accuracies}))
    for name, values in accuracies.items():
        print(f"{name:8} test accuracy {np.mean(values):.3f}  ({', '.join(f'{value:.3f}' for value in values)})")


def _accuracy(base: object, photos: list[np.ndarray], labels: list[np.ndarray]) -> float:
    train, test = (base.predict(one, batch_size=32, verbose=0).reshape(len(one), -1) for one in photos)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000))
    return float(model.fit(train, labels[0]).score(test, labels[1]))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            draw_sample(Path(temporary) / "fresh", count=200, seed=31415)
            main(BUNDLED, Path(temporary) / "fresh")
