"""A Keras model as the settings of a head, and of an optimizer and a loss if the model is compiled.

In: a Sequential, or a functional model that is a chain. Out: tables of a recipe, so that the head is trained, stored
and used as any other. What imgreg cannot train or answer with is refused by name, never dropped in silence. The
model's weights are not taken: each fold's head starts from initial weights of its own. Imports Keras when called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from imgreg.config import ActivationName, InitializerName
from imgreg.errors import UsageError

RECIPE_NAME = "keras"  # of a recipe whose head is a Keras model
_POOLS = {"Flatten": "flatten", "GlobalAveragePooling2D": "avg", "GlobalMaxPooling2D": "max"}
_TAKEN = {  # class of keras.layers: the arguments that a recipe can express
    **dict.fromkeys(_POOLS, ()),
    "Dense": ("units", "activation", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "Activation": ("activation",),
    "Dropout": ("rate", "seed"),  # seeds come from the training's own
    "BatchNormalization": ("momentum", "epsilon"),
    "LayerNormalization": ("epsilon",),
}
_OPTIMIZERS = {  # class of keras.optimizers: the arguments that a recipe can express
    "Adam": ("beta_1", "beta_2", "epsilon"),
    "AdamW": ("beta_1", "beta_2", "epsilon", "weight_decay"),
    "RMSprop": ("momentum",),
    "SGD": ("momentum",),
    "Ftrl": (),
}
_LOSSES = {  # loss: the output that it goes with
    "sparse_categorical_crossentropy": "softmax",
    "categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
}
_BATCH_METHODS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def tables_of_model(model: Any, *, feature_shape: tuple[int, int, int], pool: str) -> dict[str, dict[str, Any]]:
    """Read a head off a Keras model.

    Parameters
    ----------
    model : keras.Model
        Features to probabilities: (h, w, c), or what is left of it after `pool`, to one softmax output for each class
        or, for two classes, one sigmoid output. An output without activation is completed where the compiled loss
        takes logits.
    feature_shape : (h, w, c)
        Of one photo's features.
    pool : str
        For a model that does not begin with a pooling layer: how the feature map becomes a vector.

    Returns
    -------
    dict
        The table head of a recipe; optimizer and training too if the model is compiled.

    Raises
    ------
    UsageError
        For a layer, argument, optimizer or loss that a recipe cannot express, or another input shape.
    """
    layers = _chain(model)
    for layer in layers:
        _refuse_layer(layer)
    loss, tables = None, {}
    if getattr(model, "compiled", False):
        loss, smoothing = _loss(model.loss)
        tables = {"optimizer": _optimizer(model.optimizer), "training": {"label_smoothing": smoothing}}
    own_pool = _POOLS.get(type(layers[0]).__name__) if layers else None
    _refuse_shape(model, feature_shape=feature_shape, pool=pool, is_pooled=own_pool is None)
    given = list(_with_activations(layers if own_pool is None else layers[1:], loss=loss))
    tables["head"] = {"pool": own_pool or pool, "layers": given}
    return tables


def refuse_callbacks(callbacks: Sequence[Any]) -> None:
    """Raise UsageError for what is no Keras callback, and for one that does nothing here.

    An epoch is one compiled graph whose learning rates come from the recipe: nothing is called between batches, and a
    rate that a callback sets would be ignored.
    """
    import keras

    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise UsageError(f"callbacks: found {name}, expected a keras.callbacks.Callback.")
        if isinstance(callback, keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler):
            raise UsageError(
                f"callbacks: {name} sets the optimizer's learning rate, which imgreg takes from the recipe. Set "
                "optimizer.schedule instead, for example overrides={'optimizer.schedule': 'reduce_on_plateau'}."
            )
        ours = [m for m in _BATCH_METHODS if not getattr(type(callback), m).__module__.startswith("keras.")]
        if ours:
            raise UsageError(
                f"callbacks: {name}.{ours[0]} would never be called, because imgreg compiles each epoch as a whole. "
                "Use on_epoch_begin or on_epoch_end."
            )


def _chain(model: Any) -> list[Any]:
    """The layers in order, without the input layer."""
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(f"head: found {type(model).__name__}, expected a keras.Model or a function that returns one.")
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if type(model) is keras.Sequential:
        return layers
    try:
        ends = [*model.inputs, *(layer.output for layer in layers)]
        chained = type(model).__name__ == "Functional" and len(model.inputs) == len(model.outputs) == 1
        chained = chained and all(layer.input is before for layer, before in zip(layers, ends, strict=False))
        chained = chained and model.outputs[0] is ends[-1]
    except (AttributeError, ValueError):  # a layer that is used twice has no single input
        chained = False
    if not chained:
        raise UsageError(
            f"head: {model.name} is not a chain of layers. Use keras.Sequential, or a functional model in which each "
            "layer's output goes into the next layer only."
        )
    return layers


def _refuse_layer(layer: Any) -> None:
    kind = type(layer).__name__
    if kind not in _TAKEN or not type(layer).__module__.startswith("keras."):
        raise UsageError(
            f"head: layer {layer.name} is a {kind}, which imgreg cannot use. Supported: {', '.join(sorted(_TAKEN))}."
        )
    config = layer.get_config()
    needed = {name: config[name] for name in ("units", "activation", "rate") if name in config}
    usual = type(layer)(**needed).get_config()
    taken = {*_TAKEN[kind], "name", "dtype", "activity_regularizer"}
    odd = sorted(name for name in config if name not in taken and config[name] != usual.get(name))
    if layer.activity_regularizer is not None and kind not in ("Dense", "Activation"):
        odd.append("activity_regularizer")
    if odd:
        raise UsageError(f"head: layer {layer.name} ({kind}) sets {', '.join(odd)}, which imgreg cannot use: omit it.")


def _refuse_shape(model: Any, *, feature_shape: tuple[int, int, int], pool: str, is_pooled: bool) -> None:
    try:
        found = tuple(model.input_shape[1:])
    except (AttributeError, ValueError):  # a Sequential without an Input takes any
        return
    height, width, channels = feature_shape
    n_pooled = {"avg": channels, "max": channels, "flatten": height * width * channels}
    n_pooled["flatten+max"] = n_pooled["flatten"] + channels
    expected = (n_pooled[pool],) if is_pooled else feature_shape
    if len(found) != len(expected) or any(a not in (b, None) for a, b in zip(found, expected, strict=True)):
        after = f" after pool = {pool}" if is_pooled else ""
        raise UsageError(
            f"head: the model takes inputs of shape {found}, but the features{after} have shape {expected}. A model "
            "for the feature map begins with Flatten, GlobalAveragePooling2D or GlobalMaxPooling2D."
        )


def _with_activations(layers: Sequence[Any], *, loss: tuple[str, bool] | None) -> Iterable[dict[str, Any]]:
    """The layers as tables; a Dense layer without an activation before the next gets the one it means: linear."""
    open_since = None  # the last Dense layer, if no activation followed
    activity: dict[str, float] = {}
    for layer in layers:
        kind = type(layer).__name__
        if kind in _POOLS:
            raise UsageError(f"head: layer {layer.name} ({kind}) must be the first.")
        if kind == "Dense":
            if open_since is not None:
                yield {"kind": "activation", "function": "linear"} | activity
            open_since, activity = layer, {}
            yield _dense(layer)
        elif kind == "Dropout":
            yield {"kind": "dropout", "rate": float(layer.rate)}
        elif kind == "BatchNormalization":
            yield {
                "kind": "batch_normalization",
                "epsilon": float(layer.epsilon),
                "momentum": float(layer.momentum),
            }
        elif kind == "LayerNormalization":
            yield {"kind": "layer_normalization", "epsilon": float(layer.epsilon)}
        function = _function(layer) if kind in ("Dense", "Activation") else "linear"
        penalty = _penalties(layer, layer.activity_regularizer, "activity_l1", "activity_l2")
        if kind == "Activation" or function != "linear":
            if open_since is None:
                raise UsageError(f"head: layer {layer.name}: expected a Dense layer before each activation.")
            open_since = None
            yield {"kind": "activation", "function": function} | penalty
        else:
            activity |= penalty
    last = layers[-1] if layers else None
    output = _function(last) if type(last).__name__ in ("Dense", "Activation") else "linear"
    if loss is not None:
        name, from_logits = loss
        if output != ("linear" if from_logits else _LOSSES[name]):
            raise UsageError(
                f"head: the loss {name}" + (" with from_logits=True" if from_logits else "") + " does not fit the "
                f"output activation {output}. Softmax goes with (sparse_)categorical_crossentropy, sigmoid with "
                "binary_crossentropy, and no activation with from_logits=True."
            )
        if from_logits:
            yield {"kind": "activation", "function": _LOSSES[name]} | activity
    elif output not in ("softmax", "sigmoid"):
        raise UsageError(
            f"head: the output activation is {output}. Expected softmax over the classes, or sigmoid with one unit for "
            "two classes."
        )


def _dense(layer: Any) -> dict[str, Any]:
    import keras

    constraint, max_norm = layer.kernel_constraint, {}
    if constraint is not None:
        if type(constraint) is not keras.constraints.MaxNorm or constraint.axis != 0:
            raise UsageError(
                f"head: layer {layer.name} has the constraint {type(constraint).__name__}. Supported: MaxNorm over "
                "axis 0."
            )
        max_norm = {"max_norm": float(constraint.max_value)}
    drawn = layer.kernel_initializer
    usual = {type(keras.initializers.get(name)): name for name in get_args(InitializerName)}
    if type(drawn) not in usual:
        raise UsageError(
            f"head: layer {layer.name} has the initializer {type(drawn).__name__}. Supported: "
            f"{', '.join(usual.values())}."
        )
    named = {"kind": "dense", "units": layer.units, "initializer": usual[type(drawn)]}
    return named | max_norm | _penalties(layer, layer.kernel_regularizer, "l1", "l2")


def _penalties(layer: Any, regularizer: Any, *names: str) -> dict[str, float]:
    import keras

    if regularizer is None:
        return {}
    if type(regularizer) not in (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2):
        raise UsageError(
            f"head: layer {layer.name} has the regularizer {type(regularizer).__name__}. Supported: L1, L2, L1L2."
        )
    factors = [float(f"{float(getattr(regularizer, name, 0.0)):.7g}") for name in ("l1", "l2")]
    return {name: factor for name, factor in zip(names, factors, strict=True) if factor}


def _function(layer: Any) -> str:
    import keras

    name = keras.activations.serialize(layer.activation)
    if name not in (*get_args(ActivationName), "softmax"):
        raise UsageError(
            f"head: layer {layer.name} has the activation {getattr(layer.activation, '__name__', name)}. Supported: "
            f"{', '.join(get_args(ActivationName))}, and softmax at the output."
        )
    return str(name)


def _optimizer(optimizer: Any) -> dict[str, Any]:
    name = type(optimizer).__name__
    if name not in _OPTIMIZERS:
        raise UsageError(f"head: the optimizer {name} is not supported. Supported: {', '.join(_OPTIMIZERS)}.")
    config, usual = optimizer.get_config(), type(optimizer)().get_config()
    taken = {*_OPTIMIZERS[name], "learning_rate", "name"}
    if odd := sorted(key for key in config if key not in taken and config[key] != usual[key]):
        raise UsageError(f"head: the optimizer {name} sets {', '.join(odd)}, which imgreg cannot use: omit it.")
    if isinstance(config["learning_rate"], dict):
        raise UsageError(
            "head: the optimizer's learning rate is a schedule over steps. Compile with a number, and set "
            "optimizer.schedule, for example overrides={'optimizer.schedule': 'cosine'}."
        )
    rate = float(f"{config['learning_rate']:.7g}")  # seven digits are float32's
    return {"name": name.lower(), "learning_rate": rate} | {key: config[key] for key in _OPTIMIZERS[name]}


def _loss(loss: Any) -> tuple[tuple[str, bool], float]:
    """(name, whether it takes logits), label smoothing"""
    import keras

    config: dict[str, Any] = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    name = config.get("name", getattr(loss, "__name__", loss))
    usual = type(loss)().get_config() if name in _LOSSES and config else {}
    odd = sorted(k for k in config if k not in ("from_logits", "label_smoothing") and config[k] != usual.get(k))
    if name not in _LOSSES or odd:
        what = f"sets {', '.join(odd)}" if odd else "is not supported"
        raise UsageError(f"head: the loss {name} {what}. Supported: {', '.join(_LOSSES)}, with their usual arguments.")
    return (str(name), bool(config.get("from_logits", False))), float(config.get("label_smoothing", 0.0))
