"""Settings of a training whose head is a Keras model, or that calls Keras callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imgreg.config import Recipe, Settings
from imgreg.features.stored import stored_shape
from imgreg.features.weights import resolve_weights
from imgreg.heads.from_keras import RECIPE_NAME, refuse_callbacks, tables_of_model
from imgreg.lazy_imports import load_keras
from imgreg.recipes import recipe_of
from imgreg.recipes.settings import SETTINGS_OPTIONS, build_settings


def keras_settings(
    recipe: str | Recipe,
    options: Mapping[str, Any],
    *,
    head: Any,
    callbacks: Sequence[Any],
) -> Settings:
    """Put a Keras head in place of a recipe's, and apply the options. Parameters as in `Workspace.train`."""
    load_keras()
    refuse_callbacks(callbacks)
    of_base = {name: value for name, value in options.items() if name in SETTINGS_OPTIONS and name != "stored"}
    plain = build_settings(recipe, of_base)
    tables, sources = plain.recipe.rendered(), [plain.recipe.source]
    if head is not None:
        size_px = plain.base.image_size or resolve_weights(plain.base.weights).image_size
        shape = stored_shape(size_px, options.get("stored") or "map")
        model: Any = head if hasattr(head, "layers") else head(shape)
        found = tables_of_model(model, feature_shape=shape, pool=plain.recipe.head.pool)
        training = tables["training"] | found.get("training", {})
        tables |= found | {"name": RECIPE_NAME, "expect": "", "training": training}
        sources = [f"Keras model {model.name}; the rest of recipe {plain.recipe.name}."]
    if callbacks:
        sources.append(f"Callbacks: {', '.join(type(callback).__name__ for callback in callbacks)}.")
    tables["source"] = " ".join(filter(None, sources))
    return build_settings(recipe_of(tables, overrides={}), options)
