"""A run as one Keras model: the answers of base, heads, mirror image and temperature, for any head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Head
from imgreg.features.engines import EngineSettings, KerasEngine
from imgreg.features.stored import Stored, stored_shape, to_stored
from imgreg.features.tta import mirrored
from imgreg.features.weights import resolve_weights
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.calibration import apply_temperature
from imgreg.heads.ensemble import mean_probabilities
from imgreg.heads.keras_model import photos_to_probabilities
from imgreg.heads.network import Network
from imgreg.heads.plan import plan_head

SIZE = 64
BASE = "starter"
FULL = Head(pool="flatten+max", units=(8,), l2=0.02, dropout=0.7, normalization="before_activation")


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def features(photos: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of the photos, and of their mirror images."""
    engine = KerasEngine(resolve_weights(BASE), EngineSettings("keras", "float32", 64))
    return list(engine.embed(photos)), list(engine.embed([mirrored(photo) for photo in photos]))


@pytest.mark.parametrize(
    ("head", "stored", "n_heads", "mirror", "temperature"),
    [
        (FULL, "map", 2, True, 1.7),
        (Head(units=(8, 4), output="sigmoid", activation="tanh"), "map", 1, False, 1.0),
        (Head(pool="avg", units=(), scaling="standardize"), "avg", 1, False, 0.6),
        (Head(pool="max", units=(8,), normalization="after_dropout", normalization_kind="layer"), "max", 1, True, 1.0),
    ],
    ids=["folds", "sigmoid", "average", "maximum"],
)
def test_it_answers_as_predict(photos, features, head, stored: Stored, n_heads, mirror, temperature) -> None:
    """Probabilities equal those of NumPy's forward pass on stored features, from uint8 and from float photos."""
    plan = plan_head(head, n_classes=2)
    heads = []
    for seed in range(n_heads):
        draw = np.random.default_rng(seed)
        built = build_head(head, feature_shape=stored_shape(SIZE, stored), n_classes=2, seed=seed)
        moved = {  # from the values that no trained head has
            name: array if name.endswith("kernel") else (array + draw.uniform(0, 0.3, array.shape)).astype(np.float32)
            for name, array in weights_by_name(built).items()
        }
        heads.append(moved)
    views = [np.stack([to_stored(one, stored) for one in view]) for view in (features if mirror else features[:1])]
    expected = apply_temperature(mean_probabilities(views, plan=plan, heads=heads), temperature)
    assert np.ptp(expected[:, 0]) > 1e-3  # otherwise any model would do
    model = photos_to_probabilities(
        Network(resolve_weights(BASE), plan, heads),
        head=head,
        size_px=SIZE,
        stored=stored,
        mirror=mirror,
        temperature=temperature,
    )
    np.testing.assert_allclose(np.asarray(model(photos)), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(model(photos.astype(np.float32))), expected, atol=1e-5)


def test_it_can_be_trained_further_and_loaded_again(photos, tmp_path: Path) -> None:
    """The base is frozen, the heads have their penalties; the file needs no code of imgreg, even for flatten+max."""
    import keras

    built = build_head(FULL, feature_shape=stored_shape(SIZE, "map"), n_classes=2, seed=0)
    model = photos_to_probabilities(
        Network(resolve_weights(BASE), plan_head(FULL, n_classes=2), [weights_by_name(built)] * 2),
        head=FULL,
        size_px=SIZE,
        mirror=True,
        temperature=2.0,
    )
    assert len(model.trainable_variables) == 2 * 6  # two Dense layers and BatchNormalization's gamma and beta
    assert float(model.get_layer("head_2").get_layer("hidden_1").kernel_regularizer.l2) == pytest.approx(0.02)
    model.save(tmp_path / "run.keras")
    again = keras.saving.load_model(tmp_path / "run.keras")
    np.testing.assert_allclose(np.asarray(again(photos)), np.asarray(model(photos)), atol=1e-6)
