"""preprocessing = rescale, from training to predict, explain and the Keras model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import imgreg, paint_set
from imgreg.api.classifier import load_classifier
from imgreg.api.keras_model import to_keras
from imgreg.api.predict import predict
from imgreg.config import Settings
from imgreg.data import decode as decoding
from imgreg.data.index import index_photos
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import BaseIdentity, FeatureSource
from imgreg.features.weights import resolve_weights
from imgreg.heads.explain import explain
from imgreg.heads.network import network_of
from imgreg.heads.store import load_head
from imgreg.recipes import load_recipe
from imgreg.training.checkpoints import training_key


def test_a_run_is_rescaled_everywhere(tmp_path: Path) -> None:
    """Recorded, and used by predict, explain and the Keras model: all of them give the probabilities of training."""
    data = paint_set(tmp_path / "data", n_each=10)
    done = imgreg(
        *("train", data, "--recipe", "plain", "--set", "head.units=[8]", "--epochs", "4", "--folds", "0", "--json"),
        *("--weights", "starter", "--image-size", "64", "--precision", "float32", "--preprocessing", "rescale"),
        *("--sanity-baselines", "none", "--models", tmp_path, "--name", "run"),
    )
    assert done.code == 0, done.err
    assert done.json["preprocessing"] == "rescale"
    assert any("expect a higher loss" in line for line in done.json["warnings"])
    assert "expect a higher loss" in done.err
    assert [one["kind"] for one in done.json["verdict"]["suspicions"] if one["kind"] == "leakage"] == []
    assert not (tmp_path / "run" / "duplicates.csv").exists()
    assert json.loads((tmp_path / "run" / "model.json").read_text())["preprocessing"] == "rescale 1/255"
    run, saved = tmp_path / "run", load_head(tmp_path / "run")
    kept = np.load(run / "val_probabilities.npy")[done.json["kept_epoch"] - 1]
    rows = [row.split(",") for row in (run / "split.csv").read_text().splitlines()[1:]]
    paths = [data / path for path, _, split, _ in rows if split == "val"]
    classifier = load_classifier([run])
    answers = list(predict(paths, classifier=classifier))
    scaled = np.log(np.maximum(kept, 1e-30)) / saved.temperature
    expected = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([list(one.probabilities.values()) for one in answers], expected, atol=1e-5)
    photos = [decoding.decode_file(path, size_px=64) for path in paths]
    np.testing.assert_allclose(np.asarray(to_keras(run)(np.stack(photos))), expected, atol=1e-4)
    maps = explain(photos[:1], None, network=network_of(saved, resolve_weights("starter")), n_random=0)
    np.testing.assert_allclose(next(maps).probabilities, kept[0], atol=1e-3)


def test_keys_name_the_preprocessing(tmp_path: Path) -> None:
    """Features and trainings of either preprocessing are kept apart."""
    photo = index_photos(paint_set(tmp_path / "data", n_each=1), max_bad=0).photos[0]
    identities = [BaseIdentity("0" * 64, 64, "openvino", "float32", "map", kind) for kind in ("vgg16", "rescale")]
    with FeatureCache(tmp_path / "cache", say=pytest.fail) as cache:
        keys = {FeatureSource(cache, base=one).key(photo, 0) for one in identities}
    assert len(keys) == 2
    settings = Settings(recipe=load_recipe("plain"))
    named = {
        training_key(settings, head_seed=0, photos="0", classes=("a", "b"), identity=identity)
        for identity in identities
    }
    assert len(named) == 2
