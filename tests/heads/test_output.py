"""The sigmoid output: one unit, binary cross-entropy, and probabilities of both classes for everyone else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from imgreg.config import Head, Recipe
from imgreg.errors import ArtefactError, UsageError
from imgreg.features.backbone import feature_shape
from imgreg.features.weights import resolve_weights
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.explain import explain
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import probabilities
from imgreg.heads.network import Network
from imgreg.heads.optimizer import build_optimizer
from imgreg.heads.plan import plan_head
from imgreg.heads.steps import compiled_epoch
from imgreg.heads.store import ModelCard, load_head, save_head
from imgreg.heads.training_curves import SplitFeatures
from imgreg.heads.views import Labelled

SIGMOID = Head(units=(8,), activation="tanh", output="sigmoid")
PLAN = plan_head(SIGMOID, n_classes=2)


def test_training_takes_binary_cross_entropy(train_set: Labelled) -> None:
    """The objective of the first step is Keras' binary cross-entropy of the model as it was, smoothed or not."""
    import keras

    features, labels = train_set.all(0), train_set.labels.astype(np.int32)
    for smoothing in (0.0, 0.2):
        model = build_head(SIGMOID, feature_shape=(2, 2, 6), n_classes=2, seed=0)
        predicted = model(features.astype(np.float32))
        assert predicted.shape == (50, 1)
        expected = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)(labels[:, None], predicted)
        step = compiled_epoch(
            model,
            build_optimizer(Recipe(name="x").optimizer, variables=model.trainable_variables),
            label_smoothing=smoothing,
        )
        found = step(features, labels, np.arange(50, dtype=np.int32), 50, np.array([1e-3], np.float32))
        assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_it_learns_and_answers_for_both_classes(train_set: Labelled, val_set: Labelled) -> None:
    """Better than chance after some epochs; rows sum to 1; NumPy answers as Keras did in the history."""
    recipe = Recipe(name="x", head=SIGMOID, optimizer={"learning_rate": 0.01}, training={"epochs": 12})
    result = fit_head(recipe, SplitFeatures(train_set, val_set, 2), seed=0)
    kept = result.history.val_probabilities[result.history.best.epoch - 1]
    assert kept.shape == (30, 2)
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=1e-6)
    assert result.history.best.val_accuracy > 0.6
    np.testing.assert_allclose(probabilities(val_set.all(0), plan=PLAN, weights=result.heads[0]), kept, atol=1e-6)
    assert result.heads[0]["classes/kernel"].shape == (8, 1)


def test_it_is_the_softmax_of_a_logit_and_zero(train_set: Labelled) -> None:
    """A softmax head whose first class has the logit 0 gives the same probabilities."""
    model = build_head(SIGMOID, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    weights = weights_by_name(model)
    wide = dict(weights)
    for name in ("classes/kernel", "classes/bias"):
        wide[name] = np.concatenate([np.zeros_like(weights[name]), weights[name]], axis=-1)
    as_softmax = plan_head(SIGMOID.model_copy(update={"output": "softmax"}), n_classes=2)
    one = probabilities(train_set.all(0), plan=PLAN, weights=weights)
    two = probabilities(train_set.all(0), plan=as_softmax, weights=wide)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_three_classes_are_refused() -> None:
    """With the number found and what to set."""
    with pytest.raises(UsageError, match=r"for two classes, found 3.*head.output=softmax"):
        plan_head(SIGMOID, n_classes=3)


def card(**changes: object) -> ModelCard:
    given = ModelCard(
        classes=("a", "b"),
        weights="starter",
        weights_sha256="0" * 64,
        image_size=32,
        decode_policy=1,
        engine="openvino",
        precision="float32",
        feature_shape=(1, 1, 512),
        plan=PLAN,
    )
    return msgspec.structs.replace(given, **changes)


def arrays(n_outputs: int = 1) -> dict[str, np.ndarray]:
    shapes = {"hidden_1/kernel": (512, 8), "hidden_1/bias": (8,)}
    shapes |= {"classes/kernel": (8, n_outputs), "classes/bias": (n_outputs,)}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def test_it_is_stored_and_read_back(tmp_path: Path) -> None:
    """With the single unit's arrays."""
    save_head(tmp_path, card=card(), heads=[arrays()])
    assert load_head(tmp_path).heads[0]["classes/kernel"].shape == (8, 1)


def test_a_sigmoid_card_that_cannot_answer_is_refused(tmp_path: Path) -> None:
    """Three classes, two units, or an output under another name: none is a head that imgreg writes."""
    two_units = tuple(msgspec.structs.replace(one, units=2) if one.name == "classes" else one for one in PLAN)
    renamed = (*PLAN[:-1], msgspec.structs.replace(PLAN[-1], name="else"))
    for changes in ({"classes": ("a", "b", "c")}, {"plan": two_units}, {"plan": renamed}):
        save_head(tmp_path, card=card(**changes), heads=[arrays()])
        with pytest.raises(ArtefactError, match="inconsistent"):
            load_head(tmp_path)


def test_grad_cam_explains_both_classes() -> None:
    """The same probabilities as predict's; what speaks for one class does not speak for the other."""
    head, size = SIGMOID.model_copy(update={"pool": "avg"}), 64
    plan = plan_head(head, n_classes=2)
    model = build_head(head, feature_shape=feature_shape(size), n_classes=2, seed=4)
    photo = np.random.default_rng(3).integers(0, 256, (size, size, 3)).astype(np.uint8)
    base, weights = resolve_weights("starter"), weights_by_name(model)
    first, second = explain([photo, photo], [0, 1], network=Network(base, plan, [weights]), n_random=0)
    assert first.probabilities.shape == (2,)
    assert first.probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert not ((first.map > 0) & (second.map > 0)).any()
    from imgreg.features.engines import EngineSettings, KerasEngine

    features = next(iter(KerasEngine(base, EngineSettings("keras", "float32", size)).embed([photo])))[None]
    np.testing.assert_allclose(first.probabilities, probabilities(features, plan=plan, weights=weights)[0], atol=1e-5)
