"""from_keras.py: a Keras model trains as the recipe that says the same, and what cannot be said is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.errors import UsageError
from imgreg.heads.epochs import Hooks
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import probabilities
from imgreg.heads.from_keras import refuse_callbacks, tables_of_model
from imgreg.heads.plan import plan_head
from imgreg.heads.training_curves import FittedHead, SplitFeatures
from imgreg.heads.views import Labelled
from imgreg.lazy_imports import load_keras
from imgreg.recipes import recipe_of

load_keras()
import keras  # noqa: E402  # without its start-up notices
from keras import layers  # noqa: E402

SHAPE = (2, 2, 6)
TRAINING = {"training": {"epochs": 4, "batch_size": 16}}


def recipe(model: Any, **tables: Any) -> Recipe:
    found = tables_of_model(model, feature_shape=SHAPE, pool="flatten")
    found["training"] = TRAINING["training"] | found.get("training", {}) | tables
    return recipe_of({"name": "keras"} | found, overrides={})


def trained(one: Recipe, train: Labelled, val: Labelled, **hooks: Any) -> FittedHead:
    return fit_head(one, SplitFeatures(train, val, 2), seed=3, hooks=Hooks(**hooks))


def plain() -> Any:
    return keras.Sequential([layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(2, "softmax")])


def heavy() -> Any:
    """Functional, with what `heavy_tables` says."""
    start = keras.Input(SHAPE)
    x = layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.05), kernel_initializer="he_normal")(
        layers.GlobalMaxPooling2D()(start)
    )
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(0.4)(layers.Activation("tanh")(x))
    model = keras.Model(start, layers.Dense(1, "sigmoid", kernel_initializer="he_normal")(x))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), keras.losses.BinaryCrossentropy(label_smoothing=0.1))
    return model


HEAVY = {
    "head": {
        "pool": "max",
        "units": (8,),
        "initializer": "he_normal",
        "l2": 0.05,
        "normalization": "before_activation",
        "batch_norm_momentum": 0.9,
        "activation": "tanh",
        "dropout": 0.4,
        "output": "sigmoid",
    },
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "training": TRAINING["training"] | {"label_smoothing": 0.1},
}


@pytest.mark.parametrize(("model", "tables"), [(plain, {"head": {"units": (8,)}}), (heavy, HEAVY)])
def test_a_model_trains_as_the_recipe_that_says_the_same(
    model: Callable[[], Any], tables: dict[str, Any], train_set: Labelled, val_set: Labelled
) -> None:
    """Same plan, same weights, to the bit."""
    same, ours = Recipe.model_validate({"name": "same"} | TRAINING | tables), recipe(model())
    assert plan_head(ours.head, n_classes=2) == plan_head(same.head, n_classes=2)
    one, other = trained(ours, train_set, val_set).heads[0], trained(same, train_set, val_set).heads[0]
    assert {name: a.tobytes() for name, a in one.items()} == {name: a.tobytes() for name, a in other.items()}


def test_the_trained_head_answers_as_the_model_with_its_weights(train_set: Labelled, val_set: Labelled) -> None:
    """Layers that no recipe table describes: dropout and normalization of the pooled features, two activations, logits
    that the compiled loss takes. The recipe survives being written and read."""
    model = keras.Sequential(
        [
            layers.GlobalAveragePooling2D(),
            layers.LayerNormalization(),
            layers.Dropout(0.2),
            layers.Dense(8, "elu"),
            layers.Dense(5),
            layers.BatchNormalization(epsilon=0.01),
            layers.Dense(1),
        ]
    )
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    ours = recipe(model)
    assert recipe_of(ours.rendered(), overrides={}) == ours
    plan = plan_head(ours.head, n_classes=2)
    assert [layer.function for layer in plan if layer.kind == "activation"] == ["elu", "linear", "sigmoid"]
    done = trained(ours, train_set, val_set)
    features = val_set.all(0).astype(np.float32)
    model(features)
    places = {"dense": 0, "layer_normalization": 0, "batch_normalization": 0}
    for layer in model.layers:
        found = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        if found in places:
            name = [one.name for one in plan if one.kind == found][places[found]]
            places[found] += 1
            for variable in layer.variables:
                variable.assign(done.heads[0][f"{name}/{variable.name}"])
    second = keras.ops.convert_to_numpy(keras.ops.sigmoid(model(features, training=False)))
    answers = probabilities(features, plan=plan, weights=done.heads[0])
    np.testing.assert_allclose(answers[:, 1:], second, atol=1e-6)
    kept = done.history.val_probabilities[done.history.best.epoch - 1]
    np.testing.assert_allclose(answers, kept, atol=1e-6)


class Watching(keras.callbacks.Callback):
    """Records its logs; stops after the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.told.append(("begin", self.params["epochs"], [layer.name for layer in self.model.layers][-1]))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.told.append(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.told.append(logs)
        self.model.stop_training = epoch == 1

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append("end")


def test_a_callback_sees_the_history_and_can_stop(train_set: Labelled, val_set: Labelled) -> None:
    """The logs are the honest figures, epochs are counted from 0 as in Keras, and the epochs are those without it."""
    watching = Watching()
    done = trained(recipe(plain()), train_set, val_set, callbacks=[watching])
    logs = [
        {"accuracy": e.train_accuracy, "loss": e.train_loss, "val_accuracy": e.val_accuracy, "val_loss": e.val_loss}
        for e in done.history.epochs
    ]
    assert watching.told == [("begin", 4, "probabilities"), 0, logs[0], 1, logs[1], "end"]
    alone = trained(recipe(plain(), epochs=2), train_set, val_set)
    assert alone.history.val_probabilities.tobytes() == done.history.val_probabilities.tobytes()


def test_early_stopping_stops_where_keras_would(train_set: Labelled, val_set: Labelled) -> None:
    """No epoch lowers the loss by 10 nats, so that patience ends after the second; restored weights do no harm."""
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10.0, restore_best_weights=True)
    done = trained(recipe(plain()), train_set, val_set, callbacks=[stopping])
    assert len(done.history.epochs) == 2
    assert stopping.best == done.history.epochs[0].val_loss


def compiled(optimizer: Any, loss: Any = "sparse_categorical_crossentropy") -> Any:
    model = plain()
    model.compile(optimizer, loss)
    return model


def sequential(*given: Any) -> Any:
    return keras.Sequential([*given, layers.Dense(2, "softmax")])


def branched() -> Any:
    start = keras.Input(SHAPE)
    flat = layers.Flatten()(start)
    return keras.Model(start, layers.Dense(2, "softmax")(layers.Concatenate()([flat, layers.Dense(3)(flat)])))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (lambda: sequential(layers.Conv2D(4, 1, name="mixing")), "layer mixing is a Conv2D.*Supported: .*Dense"),
        (lambda: sequential(layers.Dense(4, name="bare", use_bias=False)), r"layer bare \(Dense\) sets use_bias"),
        (lambda: sequential(layers.Dense(4, "swish")), "activation silu. Supported: relu"),
        (lambda: sequential(layers.Dense(4, kernel_initializer="ones")), "initializer Ones. Supported: glorot_uniform"),
        (lambda: sequential(layers.Dense(4, kernel_constraint="non_neg")), "constraint NonNeg. Supported: MaxNorm"),
        (lambda: sequential(layers.Activation("relu")), "expected a Dense layer before each activation"),
        (lambda: sequential(layers.Dense(4), layers.Flatten()), r"\(Flatten\) must be the first"),
        (
            lambda: keras.Sequential([layers.Flatten(), layers.Dense(2)]),
            "output activation is linear. Expected softmax",
        ),
        (
            lambda: keras.Sequential([keras.Input((7, 7, 512)), *plain().layers]),
            r"shape \(7, 7, 512\), but .*\(2, 2, 6\)",
        ),
        (lambda: keras.Sequential([keras.Input((9,)), layers.Dense(2, "softmax")]), r"after pool = flatten .*\(24,\)"),
        (branched, "not a chain of layers"),
        (lambda: layers.Dense(2), "found Dense, expected a keras.Model"),
        (lambda: compiled("nadam"), "optimizer Nadam is not supported"),
        (lambda: compiled(keras.optimizers.Adam(clipnorm=1.0)), "optimizer Adam sets clipnorm"),
        (
            lambda: compiled(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9))),
            "a schedule over steps",
        ),
        (lambda: compiled("adam", "mse"), "loss mse is not supported"),
        (
            lambda: compiled("adam", "binary_crossentropy"),
            "binary_crossentropy does not fit the output",
        ),
    ],
)
def test_what_a_recipe_cannot_say_is_refused(model: Callable[[], Any], match: str) -> None:
    """By the name of the layer, argument, optimizer or loss, with what is supported."""
    with pytest.raises(UsageError, match=match):
        recipe(model())


class Batchwise(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        raise AssertionError("there are no batches")


def test_callbacks_that_would_do_nothing_are_refused() -> None:
    """Rates come from the recipe, and an epoch is one graph; Keras' own callbacks may have batch methods."""
    refuse_callbacks([keras.callbacks.ModelCheckpoint("x.keras"), keras.callbacks.CSVLogger("x.csv")])
    for callback, match in [
        (keras.callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau sets the optimizer's learning rate"),
        (Batchwise(), "Batchwise.on_train_batch_end would never be called"),
        (print, "found builtin_function_or_method, expected a keras.callbacks.Callback"),
    ]:
        with pytest.raises(UsageError, match=match):
            refuse_callbacks([callback])


def test_outputs_must_fit_the_classes(train_set: Labelled, val_set: Labelled) -> None:
    """Three softmax outputs for two classes are no head for these photos."""
    three = keras.Sequential([layers.Flatten(), layers.Dense(3, "softmax")])
    with pytest.raises(UsageError, match="3 softmax outputs, but the photos have 2 classes"):
        trained(recipe(three), train_set, val_set)
