"""from_keras.py: a Keras model trains as the recipe of the same layers does; what cannot be trained is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from imgreg.config import Recipe
from imgreg.errors import UsageError
from imgreg.heads.epoch_scores import HeadData
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import probabilities
from imgreg.heads.from_keras import recipe_with_keras_head, refuse_callbacks
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.plan import plan_head
from imgreg.heads.silencing import silenced_scores
from imgreg.heads.training_loop import NO_HOOKS, FittedHead, Hooks
from imgreg.heads.views import Labelled

SHAPE = (2, 2, 6)


def recipe(**head: Any) -> Recipe:
    return Recipe.model_validate({"name": "test", "training": {"epochs": 4, "batch_size": 16}, "head": head})


def translated(head: Any, base: Recipe | None = None) -> Recipe:
    return recipe_with_keras_head(base or recipe(), head, feature_shape=SHAPE, n_classes=2)


def fitted(train: Labelled, val: Labelled, one: Recipe, hooks: Hooks = NO_HOOKS) -> FittedHead:
    return fit_head(one, HeadData(train, val, n_classes=2), seed=0, hooks=hooks)


def regularized() -> keras.Model:
    return keras.Sequential(
        [
            layers.Flatten(),
            layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(0.05)),
            layers.Dropout(0.4),
            layers.BatchNormalization(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def unusual() -> keras.Model:
    """Normalization and Dropout before any Dense layer, a Dense layer without activation, a sigmoid output."""
    start = x = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization(momentum=0.5)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(8, kernel_constraint=keras.constraints.MaxNorm(3))(x)
    x = layers.LayerNormalization()(x)
    x = layers.Dense(4, activation="gelu", activity_regularizer=keras.regularizers.L1(0.01))(x)
    return keras.Model(start, layers.Dense(1, activation="sigmoid")(x), name="mine")


def test_a_sequential_gives_the_bits_of_the_recipe_of_its_layers(train_set: Labelled, val_set: Labelled) -> None:
    """L2, Dropout and BatchNormalization: weights and probabilities of each epoch."""
    of_recipe = recipe(units=(8,), l2=0.05, dropout=0.4, normalization="after_dropout", batch_norm_momentum=0.99)
    one, other = (fitted(train_set, val_set, it) for it in (of_recipe, translated(regularized())))
    assert plan_head(of_recipe.head, n_classes=2) == plan_head(translated(regularized()).head, n_classes=2)
    assert one.heads[0].keys() == other.heads[0].keys()
    assert all(array.tobytes() == other.heads[0][name].tobytes() for name, array in one.heads[0].items())
    assert one.history.val_probabilities.tobytes() == other.history.val_probabilities.tobytes()


@pytest.mark.parametrize("build", [regularized, unusual])
def test_the_keras_model_with_the_trained_weights_gives_imgregs_answers(
    build: Callable[[], keras.Model], train_set: Labelled, val_set: Labelled
) -> None:
    """To 1e-6, by its own predict; the layers are watched and silenced as those of any head."""
    own, ours = build(), translated(build())
    result = fitted(train_set, val_set, ours, Hooks(monitor=LayerMonitor()))
    features = val_set.all(0).astype(np.float32)
    own.build((None, *SHAPE))
    own.set_weights(list(result.heads[0].values()))
    expected = own.predict(features, verbose=0)
    plan = plan_head(ours.head, n_classes=2)
    answers = probabilities(features, plan=plan, weights=result.heads[0])
    np.testing.assert_allclose(answers[:, -expected.shape[1] :], expected, atol=1e-6)
    dense = [layer.name for layer in plan if layer.kind == "dense"]
    assert [row.layer for row in result.history.layers if row.epoch == 1] == dense
    rows = [np.arange(len(val_set.labels))]
    silenced = silenced_scores(val_set, rows=rows, plan=plan, heads=result.heads, views=[0])
    assert silenced[0].losses[0] == pytest.approx(result.history.best.val_loss, abs=1e-6)


def test_the_rest_of_the_recipe_stays() -> None:
    """Pool where the model begins with a vector, epochs and optimizer; the name is the model's own."""
    base = recipe(pool="max")
    found = translated(lambda shape, n: keras.Sequential([keras.Input(shape[-1:]), layers.Dense(n, "softmax")]), base)
    assert (found.head.pool, found.training, found.optimizer) == ("max", base.training, base.optimizer)
    assert (found.name, translated(unusual()).name) == ("keras-head", "mine")


def test_a_compiled_models_optimizer_and_loss_are_used() -> None:
    """AdamW's decay and rate, and the label smoothing of the loss."""
    model = regularized()
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(keras.optimizers.AdamW(1e-4, weight_decay=0.01), loss=smoothed)
    found = translated(model)
    assert (found.optimizer.name, found.optimizer.learning_rate, found.optimizer.weight_decay) == ("adamw", 1e-4, 0.01)
    assert found.training.label_smoothing == 0.1


def sequential(*middle: Any, output: Any = None) -> keras.Model:
    return keras.Sequential([layers.Flatten(), *middle, output or layers.Dense(2, activation="softmax")])


def compiled(**settings: Any) -> keras.Model:
    model = sequential()
    model.compile(**settings)
    return model


def branched() -> keras.Model:
    start = layers.Flatten()(begin := keras.Input(SHAPE))
    both = layers.Dense(2, activation="softmax")(layers.Dropout(0.1)(start))
    return keras.Model(begin, [both, layers.Dense(2)(start)])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: sequential(layers.PReLU(name="odd")), "layer odd is a PReLU.*Use: InputLayer, Flatten"),
        (lambda: sequential(layers.Flatten()), "pooling must come first"),
        (lambda: sequential(layers.Dense(4, use_bias=False)), "use_bias = False"),
        (lambda: sequential(layers.Dense(4, activation="selu")), "activation 'selu'"),
        (lambda: sequential(layers.Dense(4, kernel_initializer="he_normal")), "several kernel initializers"),
        (lambda: sequential(layers.Dense(4, kernel_regularizer="orthogonal_regularizer")), "OrthogonalRegularizer"),
        (lambda: sequential(output=layers.Dense(2)), r"expected Dense\(2\) with softmax"),
        (lambda: sequential(output=layers.Dense(3, activation="softmax")), "3 units with softmax"),
        (lambda: sequential(output=layers.Dense(2, "softmax", kernel_regularizer="l2")), "last layer is not supported"),
        (branched, "is a branch|one input and one output"),
        (lambda: keras.Sequential([keras.Input((9,)), layers.Dense(2, activation="softmax")]), r"shape \(9,\)"),
        (lambda: compiled(optimizer="nadam", loss="categorical_crossentropy"), "Nadam"),
        (lambda: compiled(optimizer=keras.optimizers.Adam(amsgrad=True), loss="categorical_crossentropy"), "amsgrad"),
        (lambda: compiled(optimizer="adam", loss="mse"), "mean_squared_error"),
        (lambda: "a head", "expected a keras.Model"),
    ],
)
def test_what_cannot_be_trained_is_named(build: Callable[[], Any], said: str) -> None:
    """A layer, setting, output, input, optimizer or loss that imgreg would train otherwise is refused."""
    with pytest.raises(UsageError, match=said):
        translated(build())


class Recorder(keras.callbacks.Callback):
    """Notes what it is told, and may stop."""

    def __init__(self, *, stop_after: int = 99) -> None:
        super().__init__()
        self.stop_after, self.told = stop_after, list[Any]()

    def on_train_begin(self, logs: Any = None) -> None:
        self.told.append("begin")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.told.append(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.told.append(dict(logs))
        self.model.stop_training = epoch + 1 == self.stop_after

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append("end")


def test_callbacks_get_the_historys_figures_and_can_stop(train_set: Labelled, val_set: Labelled) -> None:
    """The clean train loss, not the objective with penalty and dropout; stopping changes nothing before."""
    one = recipe(units=(8,), l2=0.05, dropout=0.4)
    recorder = Recorder(stop_after=2)
    stopped = fitted(train_set, val_set, one, Hooks(callbacks=[recorder]))
    rows = fitted(train_set, val_set, one).history.epochs[:2]
    figures = [
        {"loss": r.train_loss, "accuracy": r.train_accuracy, "val_loss": r.val_loss, "val_accuracy": r.val_accuracy}
        for r in rows
    ]
    assert recorder.told == ["begin", 0, figures[0], 1, figures[1], "end"]
    assert [row.val_loss for row in stopped.history.epochs] == [row.val_loss for row in rows]


def test_early_stopping_counts_as_the_patience_of_the_recipe(train_set: Labelled, val_set: Labelled) -> None:
    """keras.callbacks.EarlyStopping ends it at the same epoch; the weights that it restores change nothing."""
    base: dict[str, Any] = {"name": "test", "optimizer": {"learning_rate": 0.05}}
    training = {"epochs": 30, "batch_size": 16}
    waiting = Recipe.model_validate(base | {"training": training | {"patience_epochs": 2}})
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
    by_patience = fitted(train_set, val_set, waiting)
    one = Recipe.model_validate(base | {"training": training})
    by_callback = fitted(train_set, val_set, one, Hooks(callbacks=[stopping]))
    assert len(by_callback.history.epochs) == len(by_patience.history.epochs) < 30
    for name, array in by_patience.heads[0].items():
        np.testing.assert_array_equal(array, by_callback.heads[0][name])


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau cannot change the learning rate"),
        (print, "is not a keras.callbacks.Callback"),
    ],
)
def test_callbacks_without_effect_are_refused(callback: Any, said: str) -> None:
    """The recipe's schedule gives each step's rate."""
    with pytest.raises(UsageError, match=said):
        refuse_callbacks([callback], recipe())
