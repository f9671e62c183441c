"""Watches a head's layers while it learns: gradient norms, weights and outputs. Imports Keras when called.

Nothing that training depends on is changed: the layers are called in inference mode, dropout's seeds and moving
statistics stay as they are.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.views import IntArray, Labelled
from imgreg.runs.layers import PERCENTILES, LayerRow, LayerValues

N_PHOTOS = 16  # in the fixed batch
MAX_VALUES = 20_000  # of a layer's weights, evenly spaced, whose percentiles are taken
EVERY_EPOCH = 5  # the first epochs are all recorded; later ones at growing distances
GROWTH = 1.25

Float32Array = NDArray[np.float32]


class LayerMonitor:
    """Records a head's Dense layers at the end of some epochs. `rows` is what was recorded so far.

    Parameters
    ----------
    on_values : callable, optional
        Called at each recorded epoch with its number and the layers' values by name.
    """

    def __init__(self, *, on_values: Callable[[int, Mapping[str, LayerValues]], None] | None = None) -> None:
        self.rows: list[LayerRow] = []
        self._on_values = on_values
        self._batch: tuple[Any, Any] | None = None

    def record(self, model: Any, *, train: Labelled, rows: IntArray, epoch: int) -> None:
        """Record the head at the end of this epoch, if it is one of those recorded.

        An epoch at which an output or a gradient is not finite is left out.

        Parameters
        ----------
        model : keras.Sequential
            As heads/build.py builds it.
        train, rows
            The photos that the head is trained on; the batch is taken evenly from them.
        epoch : int
            Counted from 1.
        """
        if not is_recorded(epoch):
            return
        import tensorflow as tf

        if self._batch is None:
            some = rows[np.linspace(0, len(rows) - 1, min(N_PHOTOS, len(rows))).astype(np.int64)]
            clean = train.features(0, some).astype(np.float32)
            self._batch = tf.constant(clean), train.labels[some]
        dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
        outputs, gradient_norms = _watched(model, *self._batch)
        if not (np.isfinite(gradient_norms).all() and all(np.isfinite(output).all() for output in outputs)):
            return  # the weights just before training diverges are finite, but not what they lead to
        values = {}
        for layer, output, gradient_norm in zip(dense, outputs, gradient_norms, strict=True):
            apart = spacing(*layer.kernel.shape)
            weights = tf.reshape(layer.kernel.value, [-1])[::apart].numpy()
            values[layer.name] = LayerValues(weights, output.ravel(), gradient_norm)
            self.rows.append(_row(values[layer.name], epoch=epoch, layer=layer.name))
        if self._on_values is not None:
            self._on_values(epoch, values)


def is_recorded(epoch: int) -> bool:
    """Whether the layers are recorded at the end of this epoch: the first five, then each a quarter later.

    >>> [epoch for epoch in range(1, 31) if is_recorded(epoch)]
    [1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 30]
    """
    recorded = EVERY_EPOCH
    while recorded < epoch:
        recorded = math.ceil(recorded * GROWTH)
    return epoch <= EVERY_EPOCH or recorded == epoch


def spacing(n_inputs: int, n_units: int) -> int:
    """How far apart a kernel's sampled weights lie: at most MAX_VALUES of them, from every unit in equal parts.

    >>> spacing(64, 64), spacing(8192, 256), spacing(8192, 10)  # 5 would take the weights of two units only
    (1, 105, 7)
    """
    apart = math.ceil(n_inputs * n_units / MAX_VALUES)
    while math.gcd(apart, n_units) > 1:
        apart += 1
    return apart


def _watched(model: Any, features: Any, labels: Any) -> tuple[list[Float32Array], list[float]]:
    """Outputs of each Dense layer after its activation, and the norms of the cross-entropy's gradients.

    A kernel's gradient is inputs^T @ deltas, the deltas being the gradient of the layer's sums. Its norm follows from
    the products of either among the photos, so the gradient itself, as large as the kernel, is never computed.
    """
    import tensorflow as tf

    outputs: list[Float32Array] = []
    inputs: list[Any] = []
    sums: list[Any] = []
    with tf.GradientTape() as tape:
        x = features
        for layer in model.layers:
            kind = type(layer).__name__
            if kind == "Activation":  # not called: its activity penalty belongs to training
                x = layer.activation(x)
                outputs.append(x.numpy())
            elif kind == "Dense":  # not called either: Keras' checks take longer than the products
                inputs.append(x.numpy())
                with tape.stop_recording() if not sums else contextlib.nullcontext():
                    x = tf.matmul(x, layer.kernel.value)
                    x = x + layer.bias.value if layer.use_bias else x
                tape.watch(x)
                sums.append(x)
            else:
                x = layer(x)
    n_outputs = outputs[-1].shape[1]
    wanted = labels[:, None] if n_outputs == 1 else labels[:, None] == np.arange(n_outputs)
    of_sums = tf.constant((outputs[-1] - wanted) / len(labels), tf.float32)  # of softmax and sigmoid alike
    deltas = [delta.numpy() for delta in tape.gradient(sums[-1], sums, output_gradients=of_sums)]
    with np.errstate(over="ignore", invalid="ignore"):  # record leaves such an epoch out
        squares = [np.sum((x @ x.T) * (delta @ delta.T)) for x, delta in zip(inputs, deltas, strict=True)]
        norms = [float(np.sqrt(np.maximum(square, 0))) for square in squares]
    return outputs, norms


def _row(values: LayerValues, *, epoch: int, layer: str) -> LayerRow:
    shares: dict[str, float] = {}
    for name, of in (("weight", values.weights), ("output", values.outputs)):
        found = np.percentile(of, PERCENTILES)
        shares |= {f"{name}_p{p}": float(value) for p, value in zip(PERCENTILES, found, strict=True)}
    return LayerRow(
        epoch=epoch,
        layer=layer,
        gradient_norm=values.gradient_norm,
        zero_weights=float((values.weights == 0).mean()),
        zero_outputs=float((values.outputs == 0).mean()),
        **shares,
    )
