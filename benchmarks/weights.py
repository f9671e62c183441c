"""What the starter weights are worth: logistic regression on their features against random He weights.

usage: python benchmarks/weights.py DATA [IMAGE_SIZE]        (default 128; needs scikit-learn)

Random weights are drawn with three seeds; both sides see the same split and the same decoded photos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imgreg.config import Photos
from imgreg.features.backbone import build_backbone
from imgreg.features.extract import read_photo
from imgreg.features.weights import layer_shapes, resolve_weights
from imgreg.workflows.prepare import lay_ground
from imgreg.workflows.train import labels_of
from imgreg.workflows.watch import Watcher


def main(data: Path, size_px: int) -> None:
    ground = lay_ground(data, Photos(), watcher=Watcher())
    sides = (ground.split.train, ground.split.val)
    photos = [np.stack([read_photo(photo, size_px=size_px) for photo in side]) for side in sides]
    labels = [labels_of(side, ground.index.classes) for side in sides]
    base = build_backbone(resolve_weights("starter"))
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
    print(json.dumps({"data": data.name, "size_px": size_px, "n_val": len(labels[1]), **accuracies}))
    for name, values in accuracies.items():
        print(f"{name:8} validation accuracy {np.mean(values):.3f}  ({', '.join(f'{value:.3f}' for value in values)})")


def _accuracy(base: object, photos: list[np.ndarray], labels: list[np.ndarray]) -> float:
    train, val = (base.predict(one, batch_size=32, verbose=0).reshape(len(one), -1) for one in photos)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000))
    return float(model.fit(train, labels[0]).score(val, labels[1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 128)
