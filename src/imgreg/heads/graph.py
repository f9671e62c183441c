"""The graph of a head, for TensorBoard. Imports Keras when called."""

from __future__ import annotations

from typing import Any

from imgreg.config import Head
from imgreg.heads.build import build_head


def head_graph(head: Head, *, feature_shape: tuple[int, int, int], n_classes: int) -> bytes:
    """Trace a head's answer to features in inference mode.

    Returns
    -------
    bytes
        A serialized GraphDef without the weights' values; each operation's name begins with its layer's.
    """
    import tensorflow as tf

    model = build_head(head, feature_shape=feature_shape, n_classes=n_classes, seed=0)

    def answer(x: Any) -> Any:
        for layer in model.layers:
            with tf.name_scope(layer.name):
                x = layer.call(x)  # called as a whole, Keras would number the names
        return x

    traced = tf.function(answer).get_concrete_function(tf.TensorSpec((None, *feature_shape), tf.float32, "features"))
    return bytes(traced.graph.as_graph_def().SerializeToString())
