"""A training whose head is a Keras model gives a run like any other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import imgreg
from imgreg.api.keras_model import to_keras
from imgreg.data.decode import decode_file
from imgreg.errors import UsageError
from imgreg.lazy_imports import load_keras

load_keras()
import keras  # noqa: E402  # without its start-up notices

SMALL = {"recipe": "plain", "weights": "starter", "image_size": 32, "epochs": 3, "folds": 0}


def head(feature_shape: tuple[int, int, int]) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(feature_shape),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.Dense(1, "sigmoid"),
        ]
    )


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.stop_training = epoch == 1


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory: pytest.TempPathFactory) -> imgreg.TrainedRun:
    ws = imgreg.Workspace(tmp_path_factory.mktemp("keras") / "models", progress=False)
    return ws.train(trained.data, name="keras", head=head, callbacks=[Stop()], **SMALL)


def test_the_run_says_what_was_trained(run: imgreg.TrainedRun) -> None:
    """The run records the layers, the callbacks and that one of them stopped it; its recipe in words is that of the
    layers."""
    recipe = tomllib.loads((run.folder / "config.toml").read_text())["recipe"]
    kinds = [layer["kind"] for layer in recipe["head"]["layers"]]
    assert kinds == ["dropout", "dense", "activation", "dense", "activation"]
    assert recipe["name"] == "keras"
    assert recipe["source"].endswith("the rest of recipe plain. Callbacks: Stop.")
    assert (run.summary.epochs_run, run.summary.stopped_early) == (2, None)
    page = (run.folder / "report.html").read_text()
    assert "averaged over all positions; then Dropout 0.2, Dense 8 (L2 0.01), relu, Dense 1, sigmoid." in page
    assert "Regularization: weight penalties, dropout." in page


def test_predict_answers_as_the_keras_model(run: imgreg.TrainedRun, trained) -> None:
    """The trained weights in the user's own model give what the run's head gives, and predict answers by that head."""
    whole = to_keras(run.folder)
    trained_head = whole.get_layer("head")
    mine = head((1, 1, 512))
    mine.set_weights(trained_head.get_weights())
    features = np.random.default_rng(0).gamma(0.3, 2, (5, 1, 1, 512)).astype(np.float32)
    np.testing.assert_allclose(mine(features), trained_head(features)[:, 1:], atol=1e-6)
    photo = sorted(trained.data.glob("cold/*.jpg"))[1]
    pixels = decode_file(photo, size_px=32)[None].astype(np.float32)
    expected = float(whole.predict(pixels, verbose=0)[0, 1])
    assert run.predict(photo).probabilities["warm"] == pytest.approx(expected, abs=0.02)  # predict may use bfloat16


def test_the_documented_example_trains(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/python.md's head and callback, unchanged but for a few epochs on small photos, give a run."""
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "head = keras" in code)
    assert "epochs=50" in example
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(trained.data)
    ws = imgreg.Workspace("models", progress=False)
    small = "epochs=2, weights='starter', image_size=32, folds=0, name='documented'"
    exec(example.replace("epochs=50", small), {"ws": ws})
    summary = imgreg.load_run("models/documented").summary
    assert (summary.recipe, summary.epochs_run) == ("keras", 2)
    page = (tmp_path / "models" / "documented" / "report.html").read_text(encoding="utf-8")
    assert "Dropout 0.2, Dense 64 (L2 0.001), relu, Dense 1, sigmoid." in page
    assert "Callbacks: EarlyStopping." in page


def test_options_that_do_not_go_together_are_refused(trained, tmp_path) -> None:
    """A dropout rate beside layers, and resuming with callbacks."""
    ws = imgreg.Workspace(tmp_path / "models", progress=False)
    with pytest.raises(UsageError, match="dropout would have no effect beside layers"):
        ws.train(trained.data, head=head, **SMALL, dropout=0.5)
    with pytest.raises(UsageError, match="with callbacks cannot be resumed"):
        ws.train(trained.data, callbacks=[Stop()], resume=True, **SMALL)
