"""One photo, one fresh process: `imgreg predict` against Keras' load_model and predict.

usage: python benchmarks/predict.py [IMAGE_SIZE]        (default 224)

A run is trained on drawn pictures (2 epochs; how good it is does not matter). The peer gets the same network, base and
head in one .keras file with the same weights, and the same pixels. Both are started anew, in turn, five times; their
answers must agree. Whole processes are timed, from start to exit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from drawn import draw_sample
from timing import medians_in_turn, show

from imgreg.features.backbone import build_backbone
from imgreg.features.weights import resolve_weights
from imgreg.heads.build import build_head
from imgreg.heads.store import load_head
from imgreg.lazy_imports import load_keras
from imgreg.recipes import load_recipe

IMGREG = [Path(sys.executable).with_name("imgreg")]  # as a user calls it
PEER = """
import sys
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
size = model.input_shape[1:3]
photo = keras.utils.load_img(sys.argv[2], target_size=size, interpolation="bilinear")
print(model.predict(keras.utils.img_to_array(photo, dtype="uint8")[None], verbose=0)[0].tolist())
"""


def main(image_size: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_sample(root / "photos", count=12, seed=0)
        options = ["--recipe", "blog", "--folds", "0", "--weights", "starter", "--image-size", str(image_size)]
        options += ["--epochs", "2", "--views", "1"]
        _run([*IMGREG, "train", root / "photos", *options, "--models", root, "--name", "run", "-q"])
        save_for_keras(root / "run", root / "whole.keras", image_size)
        photo = next((root / "photos").glob("*/*.*"))
        ours = [*IMGREG, "predict", photo, "--run", root / "run", "--json"]
        theirs = [sys.executable, "-c", PEER, root / "whole.keras", photo]
        mine = list(json.loads(_run(ours))["probabilities"].values())
        other = json.loads(_run(theirs).splitlines()[-1])
        difference = max(abs(a - b) for a, b in zip(mine, other, strict=True))
        works = {"imgreg predict": lambda: _run(ours), "Keras load_model + predict": lambda: _run(theirs)}
        taken = medians_in_turn(works)
    ratio = taken["Keras load_model + predict"] / taken["imgreg predict"]
    show(
        {
            "image_size": image_size,
            "seconds": {name: round(value, 2) for name, value in taken.items()},
            "keras_to_imgreg": round(ratio, 1),
            "largest_difference": difference,
        },
        *(f"{name:28} {value:6.2f} s" for name, value in taken.items()),
        f"{ratio:.1f} x; probabilities differ by at most {difference:.1g} (the photo is resized by Keras there)",
    )


def save_for_keras(run: Path, target: Path, image_size: int) -> None:
    """Write base and head of a run of recipe blog as one .keras file."""
    load_keras()
    import keras

    saved = load_head(run)
    base = build_backbone(resolve_weights("starter"))
    head = build_head(load_recipe("blog").head, feature_shape=saved.card.feature_shape, n_classes=2, seed=0)
    for layer in head.layers:
        for variable in layer.variables:
            if "seed_generator" not in variable.path:
                variable.assign(saved.heads[0][f"{layer.name}/{variable.name}"])
    photos = keras.Input((image_size, image_size, 3), dtype="uint8")
    keras.Model(photos, head(base(photos))).save(target)


def _run(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 224)
