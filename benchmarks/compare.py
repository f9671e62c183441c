"""Two recipes, 100 epochs: the blog's way, every epoch through VGG16, against `imgreg compare`, cold and warm.

usage: python benchmarks/compare.py DATA [IMAGE_SIZE [PRECISION]]        (default 224 and auto)

The blog's way is one Keras model (VGG16 frozen, Flatten, the recipe's layers) on ImageDataGenerator's batches of
files. One batch of each kind is a warm-up, STEPS more are timed, and multiplied out to every batch of every epoch of
both recipes. `imgreg compare --views 8` runs to its end, with an empty cache and again.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import seconds, show

from imgreg.data.index import index_photos
from imgreg.data.split import split_photos
from imgreg.features.weights import resolve_weights
from imgreg.lazy_imports import load_keras
from imgreg.recipes import load_recipe

EPOCHS, BATCH, VIEWS, STEPS = 100, 32, 8, 3
RECIPES = ("plain", "blog")


def main(data: Path, image_size: int, precision: str) -> None:
    split = split_photos(index_photos(data, max_bad=0.2).photos, val_fraction=0.2, seed=0)
    n_train, n_val = (len(side) / BATCH for side in (split.train, split.val))  # in batches
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for side, photos in (("train", split.train), ("val", split.val)):
            for photo in photos:
                link = root / side / photo.label / f"{photo.sha256[:16]}{photo.path.suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(photo.path.resolve())
        blog = {name: _in_its_own_process(name, root, image_size) for name in RECIPES}
        whole = sum(EPOCHS * (n_train * step["train"] + n_val * step["val"]) for step in blog.values())
        cold, first = _imgreg(data, root, image_size, precision, "cold")
        warm, again = _imgreg(data, root, image_size, precision, "warm")
    assert [row["best"] for row in first["runs"]] == [row["best"] for row in again["runs"]]
    show(
        {
            "image_size": image_size,
            "precision": first["runs"][0]["precision"],
            "n_train": len(split.train),
            "n_val": len(split.val),
            "blog_seconds_a_step": blog,
            "seconds": {"blog": round(whole), "cold": round(cold, 1), "warm": round(warm, 1)},
            "blog_to_cold": round(whole / cold, 1),
            "blog_to_warm": round(whole / warm, 1),
            "cold_features_computed": sum(run["features"]["n_computed"] for run in first["runs"]),
            "warm_features_computed": sum(run["features"]["n_computed"] for run in again["runs"]),
            "cold_parts": [run["seconds"] for run in first["runs"]],
        },
        f"the blog's way, multiplied out {whole:10.0f} s",
        f"imgreg compare, empty cache    {cold:10.1f} s   {whole / cold:6.1f} x",
        f"imgreg compare, again          {warm:10.1f} s   {whole / warm:6.1f} x",
    )


def _in_its_own_process(name: str, root: Path, image_size: int) -> dict[str, float]:
    """A second model in one process was seen to run at half the rate, which would not be fair."""
    command = [sys.executable, __file__, "blog", name, str(root), str(image_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _blog(name: str, root: Path, image_size: int) -> dict[str, float]:
    """Median seconds of a batch of training and of validation."""
    load_keras()
    import keras
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    recipe = load_recipe(name)
    weights = str(_as_keras(root))
    vgg16 = keras.applications.VGG16(include_top=False, weights=weights, input_shape=(image_size, image_size, 3))
    vgg16.trainable = False
    penalty = keras.regularizers.L2(recipe.head.l2) if recipe.head.l2 else None
    layers: list[Any] = [vgg16, keras.layers.Flatten()]
    for units in recipe.head.units:
        layers.append(keras.layers.Dense(units, activation="relu", kernel_regularizer=penalty))
        if recipe.head.dropout:
            layers.append(keras.layers.Dropout(recipe.head.dropout))
        if recipe.head.normalization != "none":
            layers.append(keras.layers.BatchNormalization())
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.Adam(recipe.optimizer.learning_rate), "sparse_categorical_crossentropy")
    ranges = recipe.augmentation
    drawn = (
        {
            "rotation_range": ranges.rotation_range,
            "width_shift_range": ranges.width_shift_range,
            "height_shift_range": ranges.height_shift_range,
            "shear_range": ranges.shear_range,
            "zoom_range": ranges.zoom_range,
            "horizontal_flip": ranges.horizontal_flip,
        }
        if ranges.backend != "none"
        else {}
    )
    flow = {"target_size": (image_size, image_size), "batch_size": BATCH, "class_mode": "sparse"}
    preprocess = keras.applications.vgg16.preprocess_input
    train = ImageDataGenerator(preprocessing_function=preprocess, **drawn).flow_from_directory(root / "train", **flow)
    val = ImageDataGenerator(preprocessing_function=preprocess).flow_from_directory(root / "val", **flow)
    return {
        "train": _step(lambda n: model.fit(_batches(train, n), verbose=0)),
        "val": _step(lambda n: model.evaluate(_batches(val, n), verbose=0)),
    }


def _batches(generator: Any, n: int) -> Any:
    """The generator's first n batches as a dataset of their own: fit would otherwise make all of them."""
    import keras

    class Some(keras.utils.PyDataset):
        def __len__(self) -> int:
            return min(n, len(generator) - 1)  # whole batches

        def __getitem__(self, number: int) -> Any:
            return generator[number]

    return Some()


def _step(run: Any) -> float:
    run(1)
    taken = []
    for _ in range(STEPS):
        taken.append(seconds(lambda: run(1)))
    return statistics.median(taken)


def _as_keras(root: Path) -> Path:
    """The starter weights in the form that keras.applications loads."""
    from imgreg.features.backbone import build_backbone

    path = root / "starter.weights.h5"
    if not path.exists():
        build_backbone(resolve_weights("starter")).get_layer("vgg16").save_weights(path)
    return path


def _imgreg(data: Path, root: Path, image_size: int, precision: str, name: str) -> tuple[float, dict[str, Any]]:
    options = ["--folds", "0", "--weights", "starter", "--image-size", str(image_size), "--precision", precision]
    options += ["--epochs", str(EPOCHS), "--views", str(VIEWS), "--models", str(root / "models"), "--name", name]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "imgreg", "compare", str(data), "--recipes", ",".join(RECIPES), *options, "--json"],
        env=os.environ | {"IMGREG_CACHE": str(root / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - started, json.loads(done.stdout)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "blog":
        print(json.dumps(_blog(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(Path(sys.argv[1]), *(int(size) for size in sys.argv[2:3] or ["224"]), *(sys.argv[3:4] or ["auto"]))
