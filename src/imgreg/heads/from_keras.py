"""A head that was written in Keras, as a recipe: its layers, and its optimizer and loss if it is compiled.

In: a keras.Model that is a plain sequence of layers. Out: a recipe with the same layers, so that folds, resuming,
reports, verify and predict work on it as on any other. Only the architecture is taken: each training draws new initial
weights from its own seed. Must not know: photos, runs. Imports Keras when called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from imgreg.config import Activation, Head, Optimizer, Recipe
from imgreg.errors import UsageError
from imgreg.heads.optimizer import build_optimizer
from imgreg.heads.plan import plan_head
from imgreg.heads.summary import summarize_plan

DEFAULT_NAME = "keras-head"
SUPPORTED = (
    "InputLayer, Flatten, GlobalAveragePooling2D, GlobalMaxPooling2D, Dense, Activation, Dropout, "
    "BatchNormalization, LayerNormalization"
)
_POOLS = {"Flatten": "flatten", "GlobalAveragePooling2D": "avg", "GlobalMaxPooling2D": "max"}
_OPTIMIZERS = {"Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop", "SGD": "sgd", "Ftrl": "ftrl"}
_LOSSES = {
    "softmax": ("sparse_categorical_crossentropy", "categorical_crossentropy"),
    "sigmoid": ("binary_crossentropy",),
}
_PENALTIES = ("l1", "l2", "max_norm", "activity_l1", "activity_l2")
_FREE = {"name", "seed"}  # settings of a layer that training does not take over


@dataclass(frozen=True)
class _Part:
    """One Dense layer, activation, Dropout or normalization, as config.Head.layers holds it."""

    settings: Mapping[str, Any]
    initializer: str | None = None


def recipe_with_keras_head(
    recipe: Recipe,
    head: Any,
    *,
    feature_shape: tuple[int, int, int],
    n_classes: int,
) -> Recipe:
    """Put a Keras model in place of a recipe's head.

    Parameters
    ----------
    recipe : Recipe
        The rest of the training; its pool is used where the model begins with a vector. Its optimizer and label
        smoothing give way to those of a compiled model.
    head : keras.Model or callable
        A Sequential or functional chain of layers, from the feature map or the pooled features to `n_classes` softmax
        outputs or one sigmoid output; or a function (feature_shape, n_classes) -> keras.Model.
    feature_shape : (h, w, 512)
        Of one photo.

    Returns
    -------
    Recipe
        Called as the model, or "keras-head" where its name is one of Keras' own. The model's weights are not in it.

    Raises
    ------
    UsageError
        For a layer, setting, optimizer or loss that imgreg does not train, by name.
    """
    import keras

    model = head if isinstance(head, keras.Model) or not callable(head) else head(feature_shape, n_classes)
    layers = _chain(model)
    pool = _POOLS.get(type(layers[0]).__name__) if layers else None
    if pool is not None:
        _refuse_settings(layers[0], {})
    parts = [part for layer in layers[1 if pool else 0 :] for part in _translated(layer)]
    hidden, output = _without_output(parts, n_classes=n_classes)
    initializers = {part.initializer for part in parts if part.initializer}
    if len(initializers) > 1:
        raise UsageError(
            f"head: found several kernel initializers ({', '.join(sorted(initializers))}). Use the same one in "
            "each Dense layer."
        )
    tables: dict[str, Any] = recipe.rendered() | {
        "name": _name(model),
        "source": "A Keras model.",
        "head": {
            "pool": pool or recipe.head.pool,
            "output": output,
            "initializer": initializers.pop(),
            "layers": [part.settings for part in hidden],
        },
    }
    if model.compiled:
        smoothing = _label_smoothing(model.loss, output=output)
        tables["optimizer"] = _optimizer(model.optimizer).rendered()
        tables["training"] = recipe.training.rendered() | {"label_smoothing": smoothing}
    tables.pop("expect", None)
    try:
        translated = Recipe.model_validate(tables)
    except ValidationError as error:
        raise UsageError(f"head: {_in_words(error)}") from error
    _refuse_other_input(model, translated.head, has_pool=pool is not None, feature_shape=feature_shape)
    return translated


def _chain(model: Any) -> list[Any]:
    """The layers in order, without the input. raises UsageError where they are no plain sequence"""
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(f"head = {model!r}: expected a keras.Model, or a function that gives one.")
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        raise UsageError(
            f"head: {type(model).__name__} is a Keras model with a call of its own. Use keras.Sequential or "
            "keras.Model(inputs, outputs)."
        )
    layers = [layer for layer in model.layers if type(layer) is not keras.layers.InputLayer]
    if not isinstance(model, keras.Sequential):
        before = model.inputs[0]
        for layer in layers:
            if len(layer._inbound_nodes) != 1 or layer.input is not before:
                raise UsageError(f"head: layer {layer.name} is a branch or is used twice. Use a plain chain of layers.")
            before = layer.output
        if len(model.inputs) != 1 or len(model.outputs) != 1 or model.outputs[0] is not before:
            raise UsageError("head: expected one input and one output, at the ends of the chain of layers.")
    return layers


def _translated(layer: Any) -> list[_Part]:
    """A Keras layer as one or two parts. raises UsageError naming what is not supported"""
    kind = type(layer).__name__
    translate = _TRANSLATIONS.get(kind)
    if translate is None or not type(layer).__module__.startswith("keras."):
        where = " (pooling must come first)" if kind in _POOLS else ""
        raise UsageError(f"head: layer {layer.name} is a {kind}, which is not supported here{where}. Use: {SUPPORTED}.")
    return translate(layer)


def _dense(layer: Any) -> list[_Part]:
    import keras

    _refuse_settings(
        layer,
        {"units": 1},
        taken=("activation", "kernel_initializer", "kernel_regularizer", "activity_regularizer", "kernel_constraint"),
    )
    l1, l2 = _penalties(layer, "kernel_regularizer")
    settings = {"kind": "dense", "units": layer.units, "l1": l1, "l2": l2, "max_norm": _max_norm(layer)}
    initializer = keras.initializers.serialize(layer.kernel_initializer)
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in initializer["class_name"]).removeprefix("_")
    activation = _activation(layer)
    return [_Part(settings, initializer=name), *([] if activation is None else [activation])]


def _activation(layer: Any) -> _Part | None:
    """Of an Activation layer, or of a Dense one; None where that has none."""
    import keras

    function = keras.activations.serialize(layer.activation)
    if not isinstance(function, str) or function not in (*get_args(Activation), "softmax"):
        known = ", ".join((*get_args(Activation), "softmax"))
        raise UsageError(f"head: layer {layer.name} has the activation {function!r}. Supported: {known}.")
    l1, l2 = _penalties(layer, "activity_regularizer")
    if type(layer).__name__ == "Dense" and function == "linear" and not (l1 or l2):
        return None
    return _Part({"kind": "activation", "function": function, "activity_l1": l1, "activity_l2": l2})


def _activation_layer(layer: Any) -> list[_Part]:
    _refuse_settings(layer, {"activation": "linear"}, taken=("activity_regularizer",))
    part = _activation(layer)
    assert part is not None  # only a Dense layer has none
    return [part]


def _dropout(layer: Any) -> list[_Part]:
    _refuse_settings(layer, {"rate": 0.5})
    return [_Part({"kind": "dropout", "rate": layer.rate})]


def _batch_normalization(layer: Any) -> list[_Part]:
    _refuse_settings(layer, {}, taken=("epsilon", "momentum"))
    return [
        _Part({"kind": "batch_normalization", "epsilon": layer.epsilon, "batch_norm_momentum": layer.momentum}),
    ]


def _layer_normalization(layer: Any) -> list[_Part]:
    _refuse_settings(layer, {}, taken=("epsilon",))
    return [_Part({"kind": "layer_normalization", "epsilon": layer.epsilon})]


_TRANSLATIONS: dict[str, Callable[[Any], list[_Part]]] = {
    "Dense": _dense,
    "Activation": _activation_layer,
    "Dropout": _dropout,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
}


def _refuse_settings(layer: Any, required: Mapping[str, Any], *, taken: tuple[str, ...] = ()) -> None:
    """Refuse what differs from Keras' defaults and is neither required nor taken over."""
    usual = type(layer)(**required).get_config()
    for key, value in layer.get_config().items():
        if key == "axis" and value in ([1], [-1], 1):  # of a vector, as a built layer says it
            value = -1
        if key not in {*_FREE, *required, *taken} and value != usual.get(key):
            raise UsageError(f"head: layer {layer.name} has {key} = {value!r}. Supported: {usual.get(key)!r}.")


def _penalties(layer: Any, name: str) -> tuple[float, float]:
    """(L1, L2) of a layer's regularizer."""
    import keras

    regularizer = getattr(layer, name)
    if regularizer is None:
        return 0.0, 0.0
    if type(regularizer) not in (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2):
        raise UsageError(
            f"head: layer {layer.name} has {name} {type(regularizer).__name__}. Supported: L1, L2 and L1L2."
        )
    return _rounded(getattr(regularizer, "l1", 0.0)), _rounded(getattr(regularizer, "l2", 0.0))


def _rounded(value: Any) -> float:
    """Without the digits that float32 adds: 0.1, not 0.10000000149."""
    return float(f"{float(value):.7g}")


def _max_norm(layer: Any) -> float:
    import keras

    constraint = layer.kernel_constraint
    if constraint is None:
        return 0.0
    if type(constraint) is not keras.constraints.MaxNorm or constraint.axis != 0:
        raise UsageError(
            f"head: layer {layer.name} has kernel_constraint {type(constraint).__name__}. Supported: MaxNorm, axis 0."
        )
    return float(constraint.max_value)


def _without_output(parts: list[_Part], *, n_classes: int) -> tuple[list[_Part], str]:
    """The hidden parts, and the output's activation. raises UsageError for any other output"""
    wanted = f"Dense({n_classes}) with softmax" + (", or Dense(1) with sigmoid" if n_classes == 2 else "")
    dense, activation = (dict(part.settings) for part in parts[-2:]) if len(parts) > 1 else ({}, {})
    output = activation.get("function")
    if (dense.get("kind"), output) not in (("dense", "softmax"), ("dense", "sigmoid")):
        raise UsageError(f"head: expected {wanted} as the last layer.")
    if dense["units"] != (1 if output == "sigmoid" else n_classes) or (output == "sigmoid" and n_classes != 2):
        raise UsageError(
            f"head: the last layer has {dense['units']} units with {output}, but there are {n_classes} classes. "
            f"Expected {wanted}."
        )
    if any(settings.get(key) for settings in (dense, activation) for key in _PENALTIES):
        raise UsageError("head: a regularizer or constraint of the last layer is not supported. Use hidden layers.")
    return parts[:-2], str(output)


def _refuse_other_input(model: Any, head: Head, *, has_pool: bool, feature_shape: tuple[int, int, int]) -> None:
    """Refuse a model that was built for features of another shape."""
    if not model.built:
        return
    found = tuple(model.input_shape[1:])
    pooled = summarize_plan(plan_head(head, n_classes=2)[:1], feature_shape=feature_shape)[0].output_shape
    expected = feature_shape if has_pool else pooled
    if found != expected:
        features = f"features {feature_shape}" if has_pool else f"features {feature_shape}, pooled ({head.pool}),"
        raise UsageError(
            f"head: the model takes inputs of shape {found}, but these photos have {features} of shape {expected}. "
            "Give a function (feature_shape, n_classes) that builds the model, or set image_size."
        )


def _name(model: Any) -> str:
    automatic = model.name.partition("_")[0] in ("sequential", "functional")
    return DEFAULT_NAME if automatic else str(model.name)


def _in_words(error: ValidationError) -> str:
    return "; ".join(f"{item['loc'][-1]} = {item['input']!r}: {item['msg']}" for item in error.errors())


def _optimizer(optimizer: Any) -> Optimizer:
    """Its settings. raises UsageError for what imgreg does not train with"""
    import keras

    config, kind = optimizer.get_config(), type(optimizer).__name__
    name = _OPTIMIZERS.get(kind)
    if name is None:
        raise UsageError(f"head: compiled with {kind}. Supported optimizers: {', '.join(_OPTIMIZERS)}.")
    if not isinstance(config["learning_rate"], float):
        raise UsageError(
            "head: compiled with a learning rate schedule. Compile with a number, or leave the model uncompiled and "
            "set optimizer.schedule in the recipe."
        )
    taken = {
        "adam": ("beta_1", "beta_2", "epsilon"),
        "adamw": ("beta_1", "beta_2", "epsilon", "weight_decay"),
    }.get(name, () if name == "ftrl" else ("momentum",))
    settings = {key: config[key] for key in taken} | {"learning_rate": _rounded(config["learning_rate"])}
    try:
        translated = Optimizer.model_validate({"name": name, **settings})
    except ValidationError as error:
        raise UsageError(f"head: optimizer {kind}: {_in_words(error)}") from error
    ours = build_optimizer(translated, variables=[keras.Variable([0.0], name="kernel")]).get_config()
    for key, value in config.items():
        if key not in ("name", "learning_rate") and value != ours[key]:
            raise UsageError(f"head: optimizer {kind} has {key} = {value!r}. Supported: {ours[key]!r}.")
    return translated


def _label_smoothing(loss: Any, *, output: str) -> float:
    """Of a compiled model's loss. raises UsageError for any loss but the cross-entropy of its output"""
    import keras

    found = keras.losses.get(loss)
    config = found.get_config() if isinstance(found, keras.losses.Loss) else {}
    name = config.get("name") if config else getattr(found, "__name__", str(found))
    if name not in _LOSSES[output]:
        raise UsageError(f"head: compiled with the loss {name}. With {output}, use {' or '.join(_LOSSES[output])}.")
    if config:
        usual = type(found)().get_config()
        for key, value in config.items():
            if key not in ("name", "label_smoothing") and value != usual[key]:
                raise UsageError(f"head: the loss {name} has {key} = {value!r}. Supported: {usual[key]!r}.")
    return float(config.get("label_smoothing", 0.0))


def refuse_callbacks(callbacks: Sequence[Any], recipe: Recipe) -> None:
    """Raise UsageError for callbacks that would have no effect."""
    import keras

    for one in callbacks:
        if not isinstance(one, keras.callbacks.Callback):
            raise UsageError(f"callbacks: {one!r} is not a keras.callbacks.Callback.")
        if isinstance(one, keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler):
            raise UsageError(
                f"callbacks: {type(one).__name__} cannot change the learning rate here, which the recipe gives. Set "
                'overrides={"optimizer.schedule": "reduce_on_plateau"}, or another schedule.'
            )
    if callbacks and recipe.finetune.block != "none":
        raise UsageError("callbacks cannot be combined with finetune, which they would not stop.")
