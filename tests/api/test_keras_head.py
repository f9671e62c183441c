"""Workspace.train(head=..., callbacks=...): a head from Keras is a run like any other."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import imgreg
from conftest import paint_set
from imgreg.api.verify import recorded_settings
from imgreg.errors import UsageError
from imgreg.paths import cache_folder
from imgreg.runs.folder import read_run
from imgreg.training.checkpoints import CHECKPOINTS

SMALL = {"weights": "starter", "image_size": 32, "epochs": 4}


def head(shape: tuple[int, int, int], n_classes: int) -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(shape),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> imgreg.Workspace:
    root = tmp_path_factory.mktemp("keras-head")
    paint_set(root / "photos", n_each=8)
    return imgreg.Workspace(root / "models", progress=False)


@pytest.fixture(scope="module")
def run(ws: imgreg.Workspace) -> tuple[imgreg.TrainedRun, list[Any]]:
    """Of two folds, stopped by a callback after epoch 2; with what the callback was told."""
    import keras

    told: list[Any] = []

    def on_epoch_end(epoch: int, logs: Any) -> None:
        told.append(logs)
        callback.model.stop_training = epoch == 1

    callback = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
    photos = Path(ws.models).parent / "photos"
    options = SMALL | {"recipe": "plain", "folds": 2, "sanity_baselines": ()}
    return ws.train(photos, head=head, callbacks=[callback], **options), told


def test_the_run_holds_what_the_callback_saw(run: tuple[imgreg.TrainedRun, list[Any]]) -> None:
    """Figures over both folds; the warning says who stopped it; no checkpoint stays behind."""
    one, told = run
    rows = list(one.history)
    assert len(rows) == len(told) == 2
    assert [logs["val_loss"] for logs in told] == [row["val_loss"] for row in rows]
    assert [logs["loss"] for logs in told] == [row["train_loss"] for row in rows]
    assert "A Keras callback (LambdaCallback) stopped training after epoch 2 of 4." in one.summary.warnings
    assert json.loads((one.folder / "environment.json").read_text())["callbacks"] == ["LambdaCallback"]
    assert not list((cache_folder() / CHECKPOINTS).glob("*"))


def test_the_run_is_one_like_any_other(run: tuple[imgreg.TrainedRun, list[Any]], ws: imgreg.Workspace) -> None:
    """config.toml holds the layers, the report names them, predict answers."""
    one, _ = run
    recipe = tomllib.loads((one.folder / "config.toml").read_text())["recipe"]
    assert [layer["kind"] for layer in recipe["head"]["layers"]] == ["dropout", "dense", "activation"]
    assert "dropout 0.2, Dense 8, relu" in (one.folder / "report.html").read_text(encoding="utf-8")
    photo = next((Path(ws.models).parent / "photos" / "warm").iterdir())
    assert one.predict(photo).label in one.classes
    assert [row["name"] for row in one.layers][:3] == ["pool", "dropout_0", "hidden_1"]
    layers = recorded_settings(read_run(one.folder)).recipe.head.layers  # of which verify makes the same head
    assert layers is not None
    assert [layer.rendered() for layer in layers] == recipe["head"]["layers"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": head, "dropout": 0.5}, "head.dropout would have no effect"),
        ({"callbacks": [1]}, "is not a keras.callbacks.Callback"),
        ({"callbacks": [], "head": 3}, "expected a keras.Model"),
    ],
)
def test_what_has_no_effect_is_refused(ws: imgreg.Workspace, options: dict[str, Any], said: str) -> None:
    """As any setting without one."""
    with pytest.raises(UsageError, match=said):
        ws.train(Path(ws.models).parent / "photos", **options, **SMALL)
