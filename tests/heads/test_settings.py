"""Every setting of a recipe reaches the training: each is held against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgreg.config import Head, Recipe
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import cross_entropies, probabilities
from imgreg.heads.plan import plan_head
from imgreg.heads.scaling import fit_scaling
from imgreg.heads.training_curves import FittedHead, SplitFeatures
from imgreg.heads.views import Labelled


def fitted(train: Labelled, val: Labelled, *, epochs: int = 1, batch_size: int = 50, **tables: Any) -> FittedHead:
    training = {"epochs": epochs, "batch_size": batch_size} | tables.pop("training", {})
    recipe = Recipe.model_validate({"name": "test", "training": training} | tables)
    return fit_head(recipe, SplitFeatures(train, val, 2), seed=0)


def initial(head: dict[str, Any], features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the head before any step: its first kernel, its hidden outputs, its probabilities."""
    settings = Head.model_validate(head)
    weights = weights_by_name(build_head(settings, feature_shape=(2, 2, 6), n_classes=2, seed=0))
    plan = plan_head(settings, n_classes=2)
    until = 1 + next(i for i, layer in enumerate(plan) if layer.name == "activation_1")
    hidden = probabilities(features, plan=plan[:until], weights=weights)
    return weights["hidden_1/kernel"], hidden, probabilities(features, plan=plan, weights=weights)


@pytest.mark.parametrize(
    ("tables", "extra"),
    [
        ({}, lambda kernel, hidden: 0),
        ({"head": {"l1": 0.01, "l2": 0.1}}, lambda k, h: 0.01 * np.abs(k).sum() + 0.1 * np.square(k).sum()),
        ({"head": {"activity_l1": 0.02}}, lambda k, h: 0.02 * np.abs(h).sum() / len(h)),
        ({"head": {"activity_l2": 0.03}}, lambda k, h: 0.03 * np.square(h).sum() / len(h)),
        (
            {"head": {"activity_l1": 0.02, "l1": 0.01, "activation": "tanh"}},
            lambda k, h: 0.02 * np.abs(h).sum() / len(h) + 0.01 * np.abs(k).sum(),
        ),
    ],
)
def test_the_objective_has_each_penalty(
    tables: dict[str, Any], extra: Any, train_set: Labelled, val_set: Labelled
) -> None:
    """With one step an epoch the objective is the initial head's cross-entropy and its penalties, no more."""
    head = {"units": (8,)} | tables.get("head", {})
    kernel, hidden, p = initial(head, train_set.all(0))
    expected = cross_entropies(p, train_set.labels).mean() + extra(kernel, hidden)
    found = fitted(train_set, val_set, head=head).history.epochs[0].objective
    assert found == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_spreads_the_labels(train_set: Labelled, val_set: Labelled) -> None:
    """The objective is the cross-entropy to 0.9 and 0.1; the honest losses stay plain."""
    _, _, p = initial({"units": (8,)}, train_set.all(0))
    own = cross_entropies(p, train_set.labels).mean()
    other = cross_entropies(p, 1 - train_set.labels).mean()
    result = fitted(train_set, val_set, head={"units": (8,)}, training={"label_smoothing": 0.2})
    assert result.history.epochs[0].objective == pytest.approx(0.9 * own + 0.1 * other, rel=1e-5)
    shown = cross_entropies(result.history.val_probabilities[0], val_set.labels).mean()
    assert result.history.epochs[0].val_loss == pytest.approx(shown, rel=1e-6)


def test_activity_penalty_quiets_the_hidden_units(train_set: Labelled, val_set: Labelled) -> None:
    """Its gradient is taken: with the penalty the hidden outputs end smaller."""
    means = []
    for penalty in (0.0, 1.0):
        head = {"units": (8,)} | ({"activity_l1": penalty} if penalty else {})
        result = fitted(train_set, train_set, head=head, epochs=30, batch_size=10)
        plan = plan_head(Head.model_validate(head), n_classes=2)
        until = 1 + next(i for i, layer in enumerate(plan) if layer.name == "activation_1")
        means.append(probabilities(train_set.all(0), plan=plan[:until], weights=result.heads[0]).mean())
    assert means[1] < 0.5 * means[0]


def test_max_norm_bounds_hidden_units(train_set: Labelled, val_set: Labelled) -> None:
    """Each hidden unit's incoming weights keep the norm; without the limit some exceed it."""
    for limit, exceeds in ((0.5, False), (0.0, True)):
        head = {"units": (8, 4)} | ({"max_norm": limit} if limit else {})
        weights = fitted(train_set, val_set, head=head, epochs=10, optimizer={"learning_rate": 0.01}).heads[0]
        norms = [np.linalg.norm(weights[f"hidden_{n}/kernel"], axis=0).max() for n in (1, 2)]
        assert (max(norms) > 0.5001) == exceeds


def test_dropout_may_differ_by_layer(train_set: Labelled, val_set: Labelled) -> None:
    """A list of rates gives each hidden layer its own; a rate of 0 gives it none."""
    plan = plan_head(Head(units=(8, 4), dropout=(0.0, 0.4)), n_classes=2)
    assert [(layer.name, layer.rate) for layer in plan if layer.kind == "dropout"] == [("dropout_2", 0.4)]
    alike, each = (
        fitted(train_set, val_set, head={"units": (8, 4), "dropout": rate}, epochs=3) for rate in (0.4, (0.4, 0.4))
    )
    assert alike.heads[0]["hidden_1/kernel"].tobytes() == each.heads[0]["hidden_1/kernel"].tobytes()


def test_equal_initial_weights_stay_equal(train_set: Labelled, val_set: Labelled) -> None:
    """Zeros show why not: every hidden unit learns the same, so many are as good as one."""
    head = {"units": (8,), "activation": "sigmoid", "initializer": "zeros"}
    kernel = fitted(train_set, val_set, head=head, epochs=5, batch_size=10).heads[0]["hidden_1/kernel"]
    np.testing.assert_array_equal(kernel, np.repeat(kernel[:, :1], 8, axis=1))


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        ("glorot_uniform", 2 / (600 + 400)),
        ("glorot_normal", 2 / (600 + 400)),
        ("he_uniform", 2 / 600),
        ("he_normal", 2 / 600),
        ("lecun_normal", 1 / 600),
        ("zeros", 0),
    ],
)
def test_initial_kernels_have_their_variance(initializer: str, variance: float) -> None:
    """Glorot 2/(in+out), He 2/in, LeCun 1/in."""
    head = Head.model_validate({"units": (400,), "initializer": initializer})
    kernel = weights_by_name(build_head(head, feature_shape=(1, 1, 600), n_classes=2, seed=0))["hidden_1/kernel"]
    assert kernel.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("pool", ["flatten", "max"])
@pytest.mark.parametrize("kind", ["standardize", "min_max"])
def test_scaling_is_fitted_as_scikit_learn_does(kind: Any, pool: str, train_set: Labelled) -> None:
    """Train photos alone decide; a feature that never varies is shifted only."""
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    def features(view: int, rows: np.ndarray) -> np.ndarray:
        return np.where(np.arange(6) == 3, np.float16(5), train_set.features(view, rows))  # one channel never varies

    photos = Labelled(features, train_set.labels)
    head = Head.model_validate({"pool": pool, "scaling": kind})
    plan = plan_head(head, n_classes=2)
    model = build_head(head, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    fit_scaling(model, kind, plan=plan, train=photos)
    weights = weights_by_name(model)
    pooled = probabilities(photos.all(0), plan=plan[:1], weights=weights).astype(np.float64)
    scaled = probabilities(photos.all(0), plan=plan[:2], weights=weights)
    scaler = StandardScaler() if kind == "standardize" else MinMaxScaler()
    np.testing.assert_allclose(scaled, scaler.fit_transform(pooled), atol=2e-5)
    np.testing.assert_allclose(
        model.predict(photos.all(0).astype(np.float32), verbose=0),
        probabilities(photos.all(0), plan=plan, weights=weights),
        atol=2e-6,
    )


def test_scaling_stays_as_it_was_fitted(train_set: Labelled, val_set: Labelled) -> None:
    """Training moves neither shift nor spread, and the kept head answers with them."""
    head = {"units": (8,), "scaling": "standardize"}
    result = fitted(train_set, val_set, head=head, epochs=3)
    pooled = train_set.all(0).reshape(50, -1).astype(np.float64)
    np.testing.assert_allclose(result.heads[0]["scaling/moving_mean"], pooled.mean(axis=0), atol=1e-6)
    plan = plan_head(Head.model_validate(head), n_classes=2)
    kept = probabilities(val_set.all(0), plan=plan, weights=result.heads[0])
    np.testing.assert_allclose(kept, result.history.val_probabilities[result.history.best.epoch - 1], atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_training_goes_at_the_scheduled_rate(name: str, train_set: Labelled, val_set: Labelled) -> None:
    """A cosine that ends with the first epoch: the head moves in it, and never again; the history says the rates."""
    optimizer = {"name": name, "learning_rate": 0.01, "schedule": "cosine", "decay_epochs": 1}
    if name == "adamw":
        optimizer["weight_decay"] = 0.1
    history = fitted(train_set, val_set, head={"units": (8,)}, optimizer=optimizer, epochs=3, batch_size=10).history
    first, second, third = history.val_probabilities
    start = initial({"units": (8,)}, val_set.all(0))[2]
    assert np.abs(first - start).max() > 1e-3
    np.testing.assert_array_equal(second, third)
    assert [row.learning_rate for row in history.epochs] == [0.01, 0.0, 0.0]


def test_weight_decay_shrinks_what_adam_keeps(train_set: Labelled, val_set: Labelled) -> None:
    """AdamW with a strong decay ends with smaller kernels than Adam."""
    norms = [
        np.linalg.norm(
            fitted(train_set, val_set, head={"units": (8,)}, optimizer=optimizer, epochs=20).heads[0]["hidden_1/kernel"]
        )
        for optimizer in (
            {"name": "adam", "learning_rate": 0.01},
            {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.9},
        )
    ]
    assert norms[1] < norms[0]
