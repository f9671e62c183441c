"""Where a head looks: Grad-CAM on the frozen VGG16 and the head, as one flat graph. Imports Keras when called.

The graph is cut at the base's last convolution (block5_conv3), on whose maps the class's evidence is shown: below the
cut the photos are computed once, above it are the last pooling and the head, whatever its pool and layers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Head
from imgreg.features.backbone import (
    DOWNSCALE,
    N_CHANNELS,
    feature_shape,
    load_vgg16,
    preprocessed,
)
from imgreg.features.weights import Weights
from imgreg.heads.build import build_plan, set_weights
from imgreg.heads.ensemble import Arrays
from imgreg.heads.network import Network

LAST_CONVOLUTION = "block5_conv3"
N_RANDOM_HEADS = 5  # of the sanity check
_SANITY_SEED = 161_002_391  # far from the seeds that heads are trained with: theirs still lies in a trained head

Float32Array = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Explanation:
    """One photo's map for one class.

    explained       the class, an index
    map             (h, w) float32, >= 0: evidence for the class by place, comparable within the map; all 0 where no
                    place speaks for the class
    probabilities   (n_classes,) float32, of the same graph
    random_maps     (N_RANDOM_HEADS, h, w): the same by heads of the same layers with random weights
    """

    explained: int
    map: Float32Array
    probabilities: Float32Array
    random_maps: Float32Array

    @property
    def likeness(self) -> float:
        """Mean rank correlation of the map with those of random heads, -1..1: near 1, the map shows the photo rather
        than what the head has learned. nan where a map is the same everywhere.

        source   Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292
        """
        from scipy.stats import spearmanr

        flat = self.map.ravel()
        others = [other.ravel() for other in self.random_maps if np.ptp(other) > 0]
        if np.ptp(flat) == 0 or not others:
            return float("nan")
        return float(np.mean([spearmanr(flat, other).statistic for other in others]))


def explain(
    photos: Sequence[UInt8Array],
    classes: Sequence[int] | None,
    *,
    network: Network,
    asked: Sequence[int | None] | None = None,
    n_random: int = N_RANDOM_HEADS,
) -> Iterator[Explanation]:
    """Show, photo by photo, which places speak for a class.

    photos    each (size, size, 3) uint8 RGB, all of one size, the one the head was trained for
    classes   for each photo the class to explain, an index; None for the one answered
    network   a photo's map and probabilities are the means of those of its heads
    asked     for each photo the one head that is asked, an index, or None for all; by default all for each
    n_random  heads of the sanity check; 0 leaves it out
    source    Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391: the gradient of the class's score before softmax,
              averaged over the places, weighs the maps; what speaks against the class is cut off. Under an instance
              normalization of the map that average is 0 whatever was learned: there each place has its own gradient
              (Draelos & Carin 2020, "HiResCAM", arXiv:2011.08891)
    """
    import keras

    if not photos:
        return
    below, pool = _cut(network.base)
    shape = feature_shape(len(photos[0]))

    def above(seed: int, arrays: Arrays | None = None) -> Any:
        head = build_plan(network.plan, head=Head(), feature_shape=shape, seed=seed)
        if arrays is not None:
            set_weights(head, arrays)
        return _above(head, pool, size_px=len(photos[0]))

    trained = [above(0, arrays) for arrays in network.heads]
    others = [above(seed) for seed in range(_SANITY_SEED, _SANITY_SEED + n_random)]
    averaged = all(layer.kind != "instance_normalization" for layer in network.plan)
    belows = [_tuned_below(network.base, block) for block in network.blocks] or [below] * len(trained)
    for number, photo in enumerate(photos):
        chosen = range(len(trained)) if asked is None or (one := asked[number]) is None else [one]
        prepared = preprocessed(photo[None], network.preprocessing)
        maps = below(prepared)  # of the frozen base
        own = {h: belows[h](prepared) if network.blocks else maps for h in chosen}
        answers = np.mean([np.asarray(keras.ops.softmax(trained[h](own[h])))[0] for h in chosen], axis=0)
        k = int(answers.argmax()) if classes is None else classes[number]
        cams = [_grad_cam(trained[h], own[h], k, averaged=averaged) for h in chosen]
        shown: Float32Array = np.asarray(np.mean(cams, axis=0, dtype=np.float32))
        yield Explanation(
            explained=k,
            map=shown,
            probabilities=answers,
            random_maps=np.array(
                [_grad_cam(other, maps, k, averaged=averaged) for other in others], dtype=np.float32
            ).reshape(n_random, *shown.shape),
        )


def _grad_cam(upper: Any, maps: Any, k: int, *, averaged: bool) -> Float32Array:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = upper(maps, training=False)[:, k]
    weight = tape.gradient(score, maps)
    if averaged:
        weight = tf.reduce_mean(weight, axis=(1, 2), keepdims=True)
    return np.asarray(tf.nn.relu(tf.reduce_sum(weight * maps, axis=-1))[0])


def _above(head: Any, pool: Any, *, size_px: int) -> Any:
    """From the last convolution's maps to the classes' scores before softmax, the head's own layers one by one."""
    import keras

    side = size_px // (DOWNSCALE // 2)
    start = keras.Input((side, side, N_CHANNELS))
    x = pool(start)
    for layer in head.layers[:-1]:  # without softmax or sigmoid
        x = layer(x)
    if x.shape[-1] == 1:  # a sigmoid's logit z is the softmax of (0, z), and of (-z / 2, z / 2), where classes mirror
        x = keras.layers.Concatenate()([keras.layers.Rescaling(-0.5)(x), keras.layers.Rescaling(0.5)(x)])
    return keras.Model(start, x)


@functools.lru_cache(maxsize=1)  # the heads of a comparison share a base
def _cut(base: Weights) -> tuple[Any, Any]:
    import keras

    vgg16 = load_vgg16(base)
    return keras.Model(vgg16.inputs, vgg16.get_layer(LAST_CONVOLUTION).output), vgg16.layers[-1]


def _tuned_below(base: Weights, block: Arrays) -> Any:
    """The photos' way up to the last convolution, through a fine-tuned block."""
    import keras

    vgg16 = load_vgg16(base)
    for layer in vgg16.layers:
        if f"{layer.name}/kernel" in block:
            layer.set_weights([block[f"{layer.name}/kernel"], block[f"{layer.name}/bias"]])
    return keras.Model(vgg16.inputs, vgg16.get_layer(LAST_CONVOLUTION).output)
