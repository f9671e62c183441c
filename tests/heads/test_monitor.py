"""monitor.py: what is recorded of a head's layers is what they are, and training does not notice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from imgreg.heads.epochs import Hooks
from imgreg.heads.fit import fit_head
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.training_curves import SplitFeatures
from imgreg.heads.views import Labelled
from imgreg.runs.folder import values_to_csv
from imgreg.runs.layers import LayerRow, LayerValues, layers_of_csv

DEEP = Recipe(
    name="deep",
    head={"units": (8, 6), "activation": "relu", "dropout": 0.4, "normalization": "after_dropout", "activity_l1": 0.1},
    training={"epochs": 4, "batch_size": 16},
)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_gradient_norms_are_those_of_keras(output: str, train_set: Labelled) -> None:
    """By the products among photos, equal to the norm of the whole gradient in inference mode; outputs as NumPy's."""
    import keras
    import tensorflow as tf

    head = DEEP.head.model_copy(update={"output": output})
    model = build_head(head, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    for _ in range(3):
        model(train_set.all(0).astype(np.float32), training=True)  # moves the moving statistics
    seen: dict[str, LayerValues] = {}
    monitor = LayerMonitor(on_values=lambda _, values: seen.update(values))
    before = weights_by_name(model)
    monitor.record(model, train=train_set, rows=np.arange(12), epoch=1)
    features, labels = train_set.features(0, np.arange(12)).astype(np.float32), train_set.labels[:12]
    with tf.GradientTape() as tape:
        predicted = model(features, training=False)
        wanted = labels[:, None].astype(np.float32) if output == "sigmoid" else keras.ops.one_hot(labels, 2)
        loss_of = keras.losses.binary_crossentropy if output == "sigmoid" else keras.losses.categorical_crossentropy
        loss = tf.reduce_mean(loss_of(wanted, predicted))
    kernels = [model.get_layer(name).kernel.value for name in ("hidden_1", "hidden_2", "classes")]
    expected = [float(tf.norm(gradient)) for gradient in tape.gradient(loss, kernels)]
    assert [row.layer for row in monitor.rows] == ["hidden_1", "hidden_2", "classes"]
    assert [row.gradient_norm for row in monitor.rows] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(seen["classes"].outputs, np.asarray(predicted).ravel(), atol=1e-6)
    assert monitor.rows[0].zero_outputs == pytest.approx((seen["hidden_1"].outputs == 0).mean())
    assert 0.1 < monitor.rows[0].zero_outputs < 0.9
    assert monitor.rows[0].weight_p95 == pytest.approx(np.percentile(before["hidden_1/kernel"], 95))
    after = weights_by_name(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_zeros_are_counted(train_set: Labelled) -> None:
    """Weights that are exactly zero, a quarter of them here."""
    model = build_head(DEEP.head, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    kernel = model.get_layer("hidden_1").kernel.numpy().copy()
    kernel[:6] = 0
    model.get_layer("hidden_1").kernel.assign(kernel)
    monitor = LayerMonitor()
    monitor.record(model, train=train_set, rows=np.arange(12), epoch=1)
    assert monitor.rows[0].zero_weights == 6 / 24


def test_what_is_not_finite_is_left_out(train_set: Labelled) -> None:
    """Weights of 1e30 are finite, their outputs are not: the file takes no such row."""
    model = build_head(DEEP.head, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    monitor = LayerMonitor()
    monitor.record(model, train=train_set, rows=np.arange(12), epoch=1)
    for name in ("hidden_1", "hidden_2"):
        layer = model.get_layer(name)
        layer.kernel.assign(layer.kernel * 1e30)
    monitor.record(model, train=train_set, rows=np.arange(12), epoch=2)
    assert {row.epoch for row in monitor.rows} == {1}


def test_training_does_not_notice(train_set: Labelled, val_set: Labelled, tmp_path: Path) -> None:
    """With a monitor and without, and from a checkpoint: the same bits, and all of its rows."""

    def keep(take):
        one = take()
        write_checkpoint(tmp_path / str(len(one.history.epochs)), one)

    def train(*, monitor: LayerMonitor | None, resume_from: Checkpoint | None = None):
        hooks = Hooks(monitor=monitor, resume_from=resume_from, keep=keep)
        return fit_head(DEEP, SplitFeatures(train_set, val_set, 2), seed=3, hooks=hooks)

    without, watched = train(monitor=None), train(monitor=LayerMonitor())
    resumed = train(monitor=LayerMonitor(), resume_from=read_checkpoint(tmp_path / "2"))
    for other in (watched, resumed):
        assert all(np.array_equal(a, other.heads[0][name]) for name, a in without.heads[0].items())
        assert [replace(row, seconds=0) for row in other.history.epochs] == [
            replace(row, seconds=0) for row in without.history.epochs
        ]
    assert without.history.layers == ()
    assert [row.epoch for row in watched.history.layers] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert resumed.history.layers == watched.history.layers


def test_rows_survive_the_file() -> None:
    """layers.csv gives back every digit."""
    row = LayerRow(epoch=3, layer="hidden_1", **dict.fromkeys(list(LayerRow.__dataclass_fields__)[2:], 1 / 3))
    later = replace(row, epoch=4)
    text = values_to_csv(LayerRow, [row, later])
    assert layers_of_csv(text.splitlines()) == (row, later)
    for damaged in (
        values_to_csv(LayerRow, [row, row]),
        values_to_csv(LayerRow, [later, row]),
        values_to_csv(LayerRow, [row, replace(later, layer="classes")]),
        text.replace("0.3333333333333333", "nan", 1),
    ):
        with pytest.raises(ValueError, match=r"layers\.csv"):
            layers_of_csv(damaged.splitlines())
