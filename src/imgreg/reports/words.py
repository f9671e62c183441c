"""A recipe in words, for people who do not read TOML.

In: a run's config.toml. Out: sentences. Must not know: what came of it.
"""

from __future__ import annotations

import tomllib
from typing import Any

_POOLS = {
    "flatten": "flattened",
    "avg": "averaged over all positions",
    "max": "max-pooled over all positions",
    "flatten+max": "flattened and concatenated with their maxima over all positions",
}
_PLACES = {
    "before_activation": "before the activation",
    "after_activation": "after the activation",
    "after_dropout": "after dropout",
}
_KINDS = {
    "batch": "BatchNormalization",
    "layer": "LayerNormalization",
    "group": "group normalization",
    "instance": "instance normalization",
}
_RANGES = {
    "rotation_range": "rotated by up to {:g}°",
    "width_shift_range": "shifted horizontally by up to {:.0%}",
    "height_shift_range": "shifted vertically by up to {:.0%}",
    "shear_range": "sheared by up to {:g}°",
    "zoom_range": "zoomed by up to {:.0%}",
}


def recipe_in_words(config_toml: str) -> tuple[str, ...]:
    """What was built, what regularized it, how it was trained; nothing for settings that cannot be read.

    >>> recipe_in_words("[recipe.head]\\nunits = [256]\\nl2 = 0.001\\ndropout = 0.3")[1]
    'Regularization: L2 penalty 0.001, dropout 0.3.'
    """
    try:
        recipe = tomllib.loads(config_toml)["recipe"]
        head, optimizer = recipe.get("head", {}), recipe.get("optimizer", {})
        training, augmentation = recipe.get("training", {}), recipe.get("augmentation", {})
        return (
            _architecture(head),
            _regularizers(head, optimizer, training, augmentation),
            *_training(optimizer, training),
            *_augmentation(augmentation),
            *_prediction(recipe.get("prediction", {})),
            *_finetune(recipe.get("finetune", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return ()


def _architecture(head: dict[str, Any]) -> str:
    pool = _POOLS[head.get("pool", "flatten")]
    layers = head.get("layers", [])
    if layers:
        return f"Frozen VGG16, features {pool}; then {', '.join(map(_layer, layers))}."
    units = [str(n) for n in head.get("units", ())]
    hidden = (
        f"Dense layers of {', '.join(units)} units ({head.get('activation', 'relu')})" if units else "no hidden layer"
    )
    scaled = f", scaled ({head['scaling']})" if head.get("scaling", "none") != "none" else ""
    output = "one sigmoid unit" if head.get("output") == "sigmoid" else "a softmax over the classes"
    return f"Frozen VGG16, features {pool}{scaled}; then {hidden}; then {output}."


def _layer(layer: dict[str, Any]) -> str:
    if layer["kind"] == "dense":
        penalties = [f"{name.upper()} {layer[name]:g}" for name in ("l1", "l2") if layer.get(name)]
        return f"Dense {layer['units']}" + (f" ({', '.join(penalties)})" if penalties else "")
    if layer["kind"] == "dropout":
        return f"Dropout {layer['rate']:g}"
    return str(layer.get("function") or _KINDS[layer["kind"].partition("_")[0]])


def _regularizers(
    head: dict[str, Any], optimizer: dict[str, Any], training: dict[str, Any], augmentation: dict[str, Any]
) -> str:
    found = [f"{name} penalty {head[key]:g}" for key, name in (("l1", "L1"), ("l2", "L2")) if head.get(key)]
    found += [
        f"activity {name} penalty {head[key]:g}"
        for key, name in (("activity_l1", "L1"), ("activity_l2", "L2"))
        if head.get(key)
    ]
    kinds = {layer["kind"] for layer in head.get("layers", [])}
    penalized = [layer for layer in head.get("layers", []) if any(map(layer.get, ("l1", "l2", "max_norm")))]
    found += ["weight penalties"] if penalized else []
    found += ["dropout"] if "dropout" in kinds else []
    found += [name for kind, name in _KINDS.items() if f"{kind}_normalization" in kinds]
    rates = head.get("dropout", 0)
    if isinstance(rates, list) or rates:
        found.append("dropout " + (", ".join(f"{r:g}" for r in rates) if isinstance(rates, list) else f"{rates:g}"))
    if head.get("max_norm"):
        found.append(f"max-norm {head['max_norm']:g}")
    place = head.get("normalization", "none")
    if place != "none":
        found.append(f"{_KINDS[head.get('normalization_kind', 'batch')]} {_PLACES[place]}")
    if head.get("map_normalization", "none") != "none":
        found.append("instance normalization of the feature map")
    if training.get("label_smoothing"):
        found.append(f"label smoothing {training['label_smoothing']:g}")
    if optimizer.get("name") == "adamw":
        found.append(f"weight decay {optimizer.get('weight_decay', 0):g}")
    if augmentation.get("backend", "none") != "none":
        found.append("augmentation")
    return f"Regularization: {', '.join(found)}." if found else "No regularization."


def _training(optimizer: dict[str, Any], training: dict[str, Any]) -> list[str]:
    if not optimizer or not training:
        return []
    name = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD", "ftrl": "Ftrl"}[optimizer["name"]]
    schedule = optimizer.get("schedule", "constant").replace("_", " ")
    text = (
        f"{name} with learning rate {optimizer['learning_rate']:g} ({schedule}), batch size "
        f"{training['batch_size']}, up to {training['epochs']} epochs"
    )
    patience, least = training.get("patience_epochs"), training.get("min_delta")
    better = f"a validation loss lower by {least:g}" if least else "a lower validation loss"
    return [text + (f", early stopping after {patience} without {better}." if patience else ".")]


def _augmentation(augmentation: dict[str, Any]) -> list[str]:
    if augmentation.get("backend", "none") == "none":
        return []
    if augmentation.get("pipeline"):
        return [f"Augmentation: the pipeline {augmentation['pipeline']}."]
    strength = augmentation.get("strength", 1)
    moves = [form.format(strength * augmentation[key]) for key, form in _RANGES.items() if augmentation.get(key)] + (
        ["mirrored"] if augmentation.get("horizontal_flip") else []
    )
    return [f"Augmentation by {augmentation['backend']}: {', '.join(moves) or 'none'}."]


def _prediction(prediction: dict[str, Any]) -> list[str]:
    if not prediction.get("mirror"):
        return []
    return ["Probabilities are averaged over the photo and its mirror image."]


def _finetune(finetune: dict[str, Any]) -> list[str]:
    if finetune.get("block", "none") == "none":
        return []
    blocks = "block5" if finetune["block"] == "block5" else "block4 and block5"
    falling = ", falling to 0 by a cosine" if finetune["schedule"] == "cosine" else ""
    return [
        f"Then {blocks} of VGG16 and the head are fine-tuned by Adam, for up to {finetune['epochs']} epochs, with "
        f"learning rates {finetune['learning_rate']:g} and {finetune['head_learning_rate']:g}{falling}."
    ]
