"""BatchNormalization scored by the statistics of the train photos themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from imgreg.analysis.verdict import judge
from imgreg.analysis.verdict_rules import UNDERFITTING
from imgreg.config import Head, Recipe
from imgreg.heads.batch_norm import uses_moving_statistics
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import probabilities
from imgreg.heads.plan import plan_head
from imgreg.heads.training_curves import FittedHead, Fold, SplitFeatures
from imgreg.heads.views import Labelled


def recipe(statistics: str, **head: Any) -> Recipe:
    table = {"units": (8, 6), "normalization": "before_activation", "batch_norm_statistics": statistics} | head
    training = {"epochs": 3, "batch_size": 16}
    return Recipe.model_validate({"name": "test", "head": table, "training": training})


def fitted(train: Labelled, val: Labelled, statistics: str, **head: Any) -> FittedHead:
    return fit_head(recipe(statistics, **head), SplitFeatures(train, val, 2), seed=0)


@pytest.mark.parametrize("place", ["before_activation", "after_activation", "after_dropout"])
def test_the_statistics_are_those_of_the_train_photos(train_set: Labelled, val_set: Labelled, place: str) -> None:
    """Mean and variance of what enters each layer, clean photos, dropout off, the layers before it settled already."""
    found = fitted(train_set, val_set, "precise", normalization=place, dropout=0.4)
    weights = found.heads[0]
    plan = plan_head(recipe("precise", normalization=place, dropout=0.4).head, n_classes=2)
    layers = [i for i, layer in enumerate(plan) if layer.kind == "batch_normalization"]
    assert len(layers) == 2
    for i in layers:
        values = probabilities(train_set.all(0), plan=plan[:i], weights=weights).astype(np.float64)
        np.testing.assert_allclose(weights[f"{plan[i].name}/moving_mean"], values.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(weights[f"{plan[i].name}/moving_variance"], values.var(axis=0), rtol=1e-4, atol=1e-6)


def test_training_itself_is_the_same(train_set: Labelled, val_set: Labelled) -> None:
    """The optimizer sees each batch's own statistics: the objective of every epoch is the same to the bit."""
    precise, moving = (fitted(train_set, val_set, statistics).history for statistics in ("precise", "moving"))
    assert [row.objective for row in precise.epochs] == [row.objective for row in moving.epochs]
    assert precise.val_probabilities.tobytes() != moving.val_probabilities.tobytes()


def test_moving_averages_lag_where_there_are_few_steps(train_set: Labelled, val_set: Labelled) -> None:
    """Three epochs of four steps at momentum 0.99: Keras' averages are still near the 0 and 1 that they began with.

    By default they average over an epoch, and are nearer.
    """
    precise = fitted(train_set, val_set, "precise", units=(8,)).heads[0]
    keras, auto = (fitted(train_set, val_set, "moving", units=(8,), **it) for it in ({"batch_norm_momentum": 0.99}, {}))
    (mean,) = [name for name in precise if name.endswith("moving_mean")]
    largest = np.abs(precise[mean]).max()
    assert np.abs(keras.heads[0][mean]).max() < 0.2 * largest
    errors = [float(np.linalg.norm(one.heads[0][mean] - precise[mean])) for one in (auto, keras)]
    assert errors[0] < 0.7 * errors[1]


def test_a_small_last_batch_counts_by_its_photos(train_set: Labelled, val_set: Labelled) -> None:
    """While the weights do not change, averages over batches of 16, 16, 16 and 2 photos come near those of all 50."""
    asked = {
        "name": "test",
        "head": {"units": (8,), "normalization": "before_activation"},
        "optimizer": {"learning_rate": 1e-9},
        "training": {"epochs": 8, "batch_size": 16},
    }
    moving = fit_head(Recipe.model_validate(asked), SplitFeatures(train_set, val_set, 2), seed=0).heads[0]
    plan = plan_head(Recipe.model_validate(asked).head, n_classes=2)
    (i,) = [i for i, layer in enumerate(plan) if layer.kind == "batch_normalization"]
    values = probabilities(train_set.all(0), plan=plan[:i], weights=moving)
    error = moving[f"{plan[i].name}/moving_mean"] - values.mean(axis=0)
    assert np.abs(error).max() < 0.2 * values.std(axis=0).min()


def test_a_run_whose_statistics_lag_is_not_judged_by_its_curves() -> None:
    """A head that learns its train photos while Keras' averages hardly move is not called underfitting."""
    draw = np.random.default_rng(0)
    labels = np.arange(96) % 2
    features = (5 + draw.normal(size=(96, 2, 2, 6)) + labels[:, None, None, None]).astype(np.float16)
    sets = [
        Labelled(lambda _, rows, part=part: features[part][rows], labels[part])
        for part in np.split(np.arange(96), [64])
    ]
    table = {
        "name": "test",
        "head": {"units": (32, 32), "activation": "sigmoid", "normalization": "before_activation"},
        "optimizer": {"learning_rate": 1e-2},
        "training": {"epochs": 20, "batch_size": 32},
    }
    found = {}
    for momentum in (0.99, "auto"):
        asked = Recipe.model_validate(table | {"head": table["head"] | {"batch_norm_momentum": momentum}})
        history = fit_head(asked, SplitFeatures(sets[0], sets[1], 2), seed=0).history
        found[momentum] = judge(
            history, val_labels=sets[1].labels, moving_statistics=uses_moving_statistics(asked.head)
        )
    assert "lag behind the weights" in found[0.99].sentence
    assert found[0.99].label != UNDERFITTING
    assert "precise" in found[0.99].next_step
    assert "lag behind" not in found["auto"].sentence
    assert found["auto"].evidence["statistics_lag"] < 0.05


def test_each_fold_has_its_own(train_set: Labelled, val_set: Labelled) -> None:
    """A head of a cross-validation has the statistics of the photos that it was trained on, not of all."""
    rows = np.arange(len(train_set.labels))
    folds = [Fold(rows[rows % 2 != k], rows[rows % 2 == k]) for k in range(2)]
    found = fit_head(recipe("precise", units=(8,)), SplitFeatures(train_set, train_set, 2, folds), seed=0)
    plan = plan_head(recipe("precise", units=(8,)).head, n_classes=2)
    (i,) = [i for i, layer in enumerate(plan) if layer.kind == "batch_normalization"]
    for fold, weights in zip(folds, found.heads, strict=True):
        values = probabilities(train_set.all(0)[fold.train], plan=plan[:i], weights=weights)
        np.testing.assert_allclose(weights[f"{plan[i].name}/moving_mean"], values.mean(axis=0), atol=1e-5)


def test_a_momentum_beside_precise_statistics_is_refused() -> None:
    """It would have no effect."""
    with pytest.raises(ValidationError, match="batch_norm_momentum would have no effect with batch_norm_statistics"):
        Head.model_validate(
            {"normalization": "after_dropout", "batch_norm_statistics": "precise", "batch_norm_momentum": 0.9}
        )
