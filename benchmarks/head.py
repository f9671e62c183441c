"""An epoch of head training: imgreg's compiled epoch against Keras' fit, the same model, data and batch size.

usage: python benchmarks/head.py [IMAGE_SIZE]        (default 128; flattened features, Dense 256, 245 photos)
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np

from imgreg.features.backbone import feature_shape
from imgreg.heads.build import build_head
from imgreg.heads.steps import compiled_epoch
from imgreg.recipes import load_recipe

N_PHOTOS, BATCH, EPOCHS = 245, 32, 12


def main(image_size: int) -> None:
    recipe = load_recipe("blog")
    shape = feature_shape(image_size)
    draw = np.random.default_rng(0)
    features = draw.random((N_PHOTOS, *shape)).astype(np.float16)
    labels = draw.integers(0, 2, N_PHOTOS).astype(np.int32)
    n_steps = -(-N_PHOTOS // BATCH)

    ours = build_head(recipe.head, feature_shape=shape, n_classes=2, seed=0)
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(recipe.optimizer.learning_rate)
    optimizer.build(ours.trainable_variables)
    train_epoch = compiled_epoch(ours, optimizer)
    theirs = build_head(recipe.head, feature_shape=shape, n_classes=2, seed=0)
    theirs.compile(keras.optimizers.Adam(recipe.optimizer.learning_rate), "sparse_categorical_crossentropy")
    tensors = tf.constant(features), tf.constant(labels)
    rates = tf.fill([n_steps], recipe.optimizer.learning_rate)
    floats = features.astype(np.float32)

    milliseconds: dict[str, list[float]] = {"imgreg": [], "keras fit": []}
    for _ in range(EPOCHS):
        order = tf.constant(draw.permutation(N_PHOTOS).astype(np.int32))
        started = time.perf_counter()
        float(train_epoch(*tensors, order, tf.constant(BATCH), rates))
        milliseconds["imgreg"].append(1000 * (time.perf_counter() - started) / n_steps)
        started = time.perf_counter()
        theirs.fit(floats, labels, batch_size=BATCH, epochs=1, verbose=0)
        milliseconds["keras fit"].append(1000 * (time.perf_counter() - started) / n_steps)
    medians = {name: statistics.median(values[2:]) for name, values in milliseconds.items()}  # two to warm up
    ratio = medians["keras fit"] / medians["imgreg"]
    print(json.dumps({"image_size": image_size, "ms_a_step": medians, "fit_to_imgreg": round(ratio, 2)}))
    for name, value in medians.items():
        print(f"{name:10} {value:6.1f} ms a step")
    print(f"{ratio:.1f} x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
