"""optimizer.py: the optimizers and schedules that Keras has, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imgreg.config import Optimizer, Recipe
from imgreg.heads.build import build_head
from imgreg.heads.optimizer import build_optimizer, epoch_rates, plateau_factor


def rates(n_epochs: int = 30, n_steps: int = 4, **settings: Any) -> np.ndarray:
    optimizer = Recipe(name="x", optimizer={"learning_rate": 0.1} | settings).schedule
    return np.concatenate(
        [epoch_rates(optimizer, epoch=e, n_steps=n_steps, val_losses=[]) for e in range(1, n_epochs + 1)]
    )


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({}, lambda s: 0.1 + 0 * s),
        ({"schedule": "inverse_time", "decay_epochs": 5, "decay_rate": 2.0}, lambda s: 0.1 / (1 + 2 * s / 20)),
        ({"schedule": "exponential", "decay_epochs": 5, "decay_rate": 0.9}, lambda s: 0.1 * 0.9 ** (s / 20)),
        (
            {"schedule": "cosine", "decay_epochs": 5},
            lambda s: 0.05 * (1 + np.cos(np.pi * np.minimum(s / 20, 1))),
        ),
        (
            {"schedule": "cosine", "decay_epochs": 5, "alpha": 0.2},
            lambda s: 0.1 * (0.2 + 0.8 * 0.5 * (1 + np.cos(np.pi * np.minimum(s / 20, 1)))),
        ),
        (
            {"schedule": "cosine_restarts", "decay_epochs": 5},  # cycles of 20, 40 and 80 steps
            lambda s: (
                0.05 * (1 + np.cos(np.pi * np.where(s < 20, s / 20, np.where(s < 60, (s - 20) / 40, (s - 60) / 80))))
            ),
        ),
    ],
)
def test_schedules_follow_their_formulas(settings: dict[str, Any], formula: Any) -> None:
    """Each schedule is the published formula of the step, across epochs, with or without a warm-up before it."""
    steps = np.arange(120)
    np.testing.assert_allclose(rates(**settings), formula(steps), atol=2e-7)
    warm = rates(**settings, warmup_epochs=2)
    np.testing.assert_allclose(warm[:8], 0.1 * np.arange(1, 9) / 8, rtol=1e-6)
    np.testing.assert_allclose(warm[8:], formula(steps)[: 120 - 8], atol=2e-7)


def test_plateau_counts_as_keras() -> None:
    """The factor left after each epoch is what keras.callbacks.ReduceLROnPlateau leaves, on random losses."""
    import keras

    draw = np.random.default_rng(0)
    n_reduced = 0
    for patience in (1, 2, 3):
        losses = list(np.round(np.cumsum(draw.normal(0, 0.05, 60)) + 2, 3))
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        callback = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=patience, min_delta=1e-4)
        callback.set_model(model)
        callback.on_train_begin()
        for number, loss in enumerate(losses):
            callback.on_epoch_end(number, {"val_loss": loss})
            left = plateau_factor(losses[: number + 1], patience_epochs=patience, factor=0.5)
            assert left == pytest.approx(float(model.optimizer.learning_rate))
        n_reduced += left < 1
    assert n_reduced


def test_rates_fall_on_a_plateau() -> None:
    """epoch_rates multiplies the rate by the factor once the losses have stalled for decay_epochs."""
    optimizer = Optimizer(schedule="reduce_on_plateau", learning_rate=0.1, decay_epochs=2, decay_rate=0.5)
    before, after = (
        epoch_rates(optimizer, epoch=4, n_steps=3, val_losses=losses) for losses in ([0.9, 0.8, 0.7], [0.7, 0.8, 0.8])
    )
    assert before == pytest.approx([0.1] * 3)
    assert after == pytest.approx([0.05] * 3)


@pytest.mark.parametrize(
    ("settings", "kind", "figure"),
    [
        ({}, "Adam", None),
        ({"name": "adamw", "weight_decay": 0.5}, "AdamW", ("weight_decay", 0.5)),
        ({"name": "rmsprop", "momentum": 0.3}, "RMSprop", ("momentum", 0.3)),
        ({"name": "sgd", "momentum": 0.9}, "SGD", ("momentum", 0.9)),
        ({"name": "ftrl"}, "Ftrl", None),
        ({"beta_1": 0.8}, "Adam", ("beta_1", 0.8)),
        ({"beta_2": 0.99}, "Adam", ("beta_2", 0.99)),
        ({"name": "adamw", "epsilon": 0.01}, "AdamW", ("epsilon", 0.01)),
    ],
)
def test_optimizers_are_keras(settings: dict[str, Any], kind: str, figure: Any) -> None:
    """Each name gives Keras' optimizer of that name, with its own setting."""
    from imgreg.config import Head

    model = build_head(Head(units=(3,)), feature_shape=(1, 1, 4), n_classes=2, seed=0)
    optimizer = build_optimizer(Optimizer.model_validate(settings), variables=model.trainable_variables)
    assert type(optimizer).__name__ == kind
    if figure:
        assert getattr(optimizer, figure[0]) == figure[1]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd", "ftrl"])
def test_defaults_are_keras(name: str) -> None:
    """Left alone, an optimizer has Keras' own configuration, but for the decay of AdamW."""
    import keras

    from imgreg.config import Head

    kinds = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD", "ftrl": "Ftrl"}
    model = build_head(Head(units=(3,)), feature_shape=(1, 1, 4), n_classes=2, seed=0)
    ours = build_optimizer(Optimizer(name=name), variables=model.trainable_variables).get_config()
    theirs = getattr(keras.optimizers, kinds[name])(learning_rate=1e-3).get_config()
    own = ("name", "learning_rate")  # Keras numbers the names, and the rate is float32 in a built optimizer
    assert {k: v for k, v in ours.items() if k not in own} == {k: v for k, v in theirs.items() if k not in own}


def test_adamw_decays_kernels_only() -> None:
    """With no gradient at all a step shrinks kernels by rate x decay, and leaves biases, gamma and beta."""
    from imgreg.config import Head

    model = build_head(Head(units=(3,), normalization="after_activation"), feature_shape=(1, 1, 4), n_classes=2, seed=0)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = build_optimizer(
        Optimizer(name="adamw", learning_rate=0.1, weight_decay=0.5), variables=model.trainable_variables
    )
    optimizer.apply([np.zeros(v.shape, np.float32) for v in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        expected = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=variable.path)
