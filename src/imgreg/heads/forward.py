"""A trained head's answer in plain NumPy, so that predict needs no TensorFlow, and the one function that scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgreg.heads.plan import Layer

Float32Array = NDArray[np.float32]

SMALLEST_NORM = 1e-6  # of a feature vector that is scaled to unit length
SMALLEST_PROBABILITY = 1e-7  # keras.config.epsilon(), at which Keras' cross-entropy clips too

ACTIVATIONS: dict[str | None, Callable[[Float32Array], Float32Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, np.float32(0.2) * x),  # Keras' default slope
    "elu": lambda x: np.maximum(x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: _gelu(x),
    "tanh": np.tanh,
    "sigmoid": lambda x: np.asarray((1 + np.tanh(x / 2)) / 2, dtype=np.float32),
    "linear": lambda x: x,
    "softmax": lambda x: _softmax(x),
}


def probabilities(
    features: NDArray[np.floating], *, plan: Sequence[Layer], weights: Mapping[str, Float32Array]
) -> Float32Array:
    """Answer as the Keras head does in inference mode: dropout off, BatchNormalization by its moving statistics.

    features   (n, h, w, c)
    returns    (n, n_classes) float32, rows sum to 1
    """
    x = np.asarray(features, dtype=np.float32)
    for layer in plan:
        if layer.kind == "flatten":
            x = x.reshape(len(x), -1)
        elif layer.kind == "avg":
            x = x.mean(axis=(1, 2))
        elif layer.kind == "max":
            x = x.max(axis=(1, 2))
        elif layer.kind == "flatten+max":
            x = flatten_and_max(x)
        elif layer.kind == "dense":
            x = x @ weights[f"{layer.name}/kernel"] + weights[f"{layer.name}/bias"]
        elif layer.kind == "activation":
            x = ACTIVATIONS[layer.function](x)
        elif layer.kind == "scaling":
            spread = np.sqrt(weights[f"{layer.name}/moving_variance"])
            x = np.asarray((x - weights[f"{layer.name}/moving_mean"]) / spread, dtype=np.float32)
        elif layer.kind in ("layer_normalization", "group_normalization"):
            groups = x.reshape(len(x), layer.groups or 1, -1)
            x = _standardized(groups, axis=2, epsilon=layer.epsilon).reshape(x.shape)
            x = np.asarray(x * weights[f"{layer.name}/gamma"] + weights[f"{layer.name}/beta"], dtype=np.float32)
        elif layer.kind == "instance_normalization":
            x = _standardized(x, axis=(1, 2), epsilon=layer.epsilon)
            x = x * weights[f"{layer.name}/gamma"] + weights[f"{layer.name}/beta"]
        elif layer.kind == "batch_normalization":
            scale = weights[f"{layer.name}/gamma"] / np.sqrt(
                weights[f"{layer.name}/moving_variance"] + np.float32(layer.epsilon)
            )
            x = (x - weights[f"{layer.name}/moving_mean"]) * scale + weights[f"{layer.name}/beta"]
    return both_classes(x) if plan[-1].function == "sigmoid" and plan[-1].name == "probabilities" else x


def both_classes(second: Float32Array) -> Float32Array:
    """Probabilities of both classes from a sigmoid output, which gives that of the second.

    second    (n, 1)
    returns   (n, 2), rows sum to 1

    >>> both_classes(np.array([[0.25]], np.float32))
    array([[0.75, 0.25]], dtype=float32)
    """
    return np.concatenate([1 - second, second], axis=1)


def flatten_and_max(maps: Float32Array) -> Float32Array:
    """Set the flattened map and the channels' maxima side by side, both of the same length.

    Parameters
    ----------
    maps : (n, h, w, c) float32

    Returns
    -------
    (n, h * w * c + c) float32
        Each part has unit length, times a constant that makes the mean square of all values 1.
    """
    parts = [maps.reshape(len(maps), -1), maps.max(axis=(1, 2))]
    scale = np.float32(np.sqrt(sum(part.shape[1] for part in parts) / 2))
    norms = [np.maximum(np.linalg.norm(part, axis=1, keepdims=True), SMALLEST_NORM) for part in parts]
    return np.concatenate([scale * part / norm for part, norm in zip(parts, norms, strict=True)], axis=1)


def majority(predicted: ArrayLike) -> NDArray[np.intp]:
    """The class that most heads answer; among equals the one of the highest mean probability.

    predicted   (n_heads, n, n_classes) probabilities
    returns     (n,) int

    >>> majority([[[0.6, 0.4]], [[0.6, 0.4]], [[0.1, 0.9]]])
    array([0])
    """
    p = np.asarray(predicted, dtype=np.float64)
    votes = (p.argmax(axis=2)[:, :, None] == np.arange(p.shape[2])).sum(axis=0)
    return np.asarray(np.where(votes == votes.max(axis=1, keepdims=True), p.mean(axis=0), -1).argmax(axis=1))


def score(predicted: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Plain cross-entropy in nats, without any penalty, and accuracy.

    predicted   (n, n_classes) probabilities
    labels      (n,) int, the true class of each row

    >>> score([[0.5, 0.5], [0.25, 0.75]], [0, 1])
    (0.490..., 1.0)
    """
    p, true = np.asarray(predicted, dtype=np.float64), np.asarray(labels)
    losses = cross_entropies(p, true)
    return float(losses.mean()), float((p.argmax(axis=1) == true).mean())


def cross_entropies(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Cross-entropy of each row in nats, (n,) float64; probabilities are clipped as Keras clips them."""
    p, true = np.asarray(predicted, dtype=np.float64), np.asarray(labels)
    of_truth = p[np.arange(len(p)), true].clip(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.asarray(-np.log(of_truth))


def _standardized(x: Float32Array, *, axis: int | tuple[int, ...], epsilon: float | None) -> Float32Array:
    deviation = np.sqrt(x.var(axis=axis, keepdims=True) + np.float32(epsilon))
    return np.asarray((x - x.mean(axis=axis, keepdims=True)) / deviation, dtype=np.float32)


def _softmax(x: Float32Array) -> Float32Array:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _gelu(x: Float32Array) -> Float32Array:
    from scipy.special import erf  # half a second, which a head without gelu need not pay

    share: Float32Array = (1 + erf(x / np.sqrt(np.float32(2)))) / 2  # Keras' default, not the tanh approximation
    return x * share
