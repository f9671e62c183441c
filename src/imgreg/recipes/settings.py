"""The settings of a training from a recipe and options, alike for the command line and Python.

In: a recipe and options by name. Out: checked Settings. Knows nothing of click, photos or Keras.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from imgreg import config
from imgreg.config.base import Config
from imgreg.errors import UsageError
from imgreg.recipes import load_recipe, parse_override, recipe_of, validation_text

# Option -> the model that describes it, and its key in a recipe or in Settings.
RECIPE_OPTIONS: dict[str, tuple[type[Config], str]] = {
    "epochs": (config.Training, "training.epochs"),
    "batch_size": (config.Training, "training.batch_size"),
    "patience": (config.Training, "training.patience_epochs"),
    "learning_rate": (config.Optimizer, "optimizer.learning_rate"),
    "dropout": (config.Head, "head.dropout"),
    "l2": (config.Head, "head.l2"),
    "views": (config.Augmentation, "augmentation.views"),
    "finetune": (config.Finetune, "finetune.block"),
}
SETTINGS_OPTIONS: dict[str, tuple[type[Config], str]] = {
    "val_fraction": (config.Photos, "photos.val_fraction"),
    "split_seed": (config.Photos, "photos.split_seed"),
    "max_bad": (config.Photos, "photos.max_bad"),
    "allow_leakage": (config.Photos, "photos.allow_leakage"),
    "weights": (config.Base, "base.weights"),
    "image_size": (config.Base, "base.image_size"),
    "engine": (config.Base, "base.engine"),
    "precision": (config.Base, "base.precision"),
    "preprocessing": (config.Base, "base.preprocessing"),
    "stored": (config.Base, "base.stored"),
    "seed": (config.Settings, "seed"),
}
FOLDS: tuple[type[Config], str] = (config.Photos, "photos.folds")  # of train and compare only
OTHER_OPTIONS = ("augment", "overrides", "folds")


def build_settings(
    recipe: str | config.Recipe, options: Mapping[str, Any], *, ranges_where_augmented: bool = False
) -> config.Settings:
    """Apply options to a recipe.

    Parameters
    ----------
    recipe : str or Recipe
        A bundled recipe's name, a path that ends in .toml, or a recipe.
    options : mapping
        Values by the names in RECIPE_OPTIONS, SETTINGS_OPTIONS and OTHER_OPTIONS; None where one is not given.
        `overrides` maps dotted keys of the recipe to values, or lists KEY=VALUE.
    ranges_where_augmented : bool
        Leave the ranges and views of augmentation out for a recipe that does not augment, such as compare's plain.

    Raises
    ------
    UsageError
        For an option or key that does not exist, a value out of range, or one that has no effect.
    """
    _refuse_unknown(options)
    overrides = recipe_overrides(options)
    if ranges_where_augmented:
        ranges = {key for key in overrides if key.startswith("augmentation.")} - {"augmentation.backend"}
        if _recipe(recipe, {k: v for k, v in overrides.items() if k not in ranges}).n_views == 0:
            overrides = {key: value for key, value in overrides.items() if key not in ranges}
    tables: dict[str, Any] = {"recipe": _recipe(recipe, overrides)}
    for name, (_, key) in (SETTINGS_OPTIONS | {"folds": FOLDS}).items():
        if (value := options.get(name)) is not None:
            table, _, leaf = key.rpartition(".")
            (tables.setdefault(table, {}) if table else tables)[leaf] = value
    try:
        return config.Settings.model_validate(tables)
    except ValidationError as error:
        raise UsageError(validation_text(error, config.Settings)) from error


def tuning_from(options: Mapping[str, Any]) -> tuple[config.Tuning, dict[str, Any]]:
    """What the options say of a search, and the other options. Raises UsageError for a value out of range.

    >>> tuning_from({"trials": 20, "folds": None, "epochs": 5})[0].trials
    20
    """
    own = {name: value for name in config.Tuning.model_fields if (value := options.get(name)) is not None}
    others = {name: value for name, value in options.items() if name not in config.Tuning.model_fields}
    try:
        return config.Tuning.model_validate(own), others
    except ValidationError as error:
        raise UsageError(validation_text(error, config.Tuning)) from error


def options_of(settings: config.Settings) -> tuple[str, ...]:
    """The options beside the recipe, as the command line takes them.

    >>> options_of(build_settings("plain", {"weights": "starter", "allow_leakage": True, "seed": 3, "epochs": 5}))
    ('--allow-leakage', '--weights', 'starter', '--seed', '3')
    """
    typed: list[str] = []
    for name, (_, key) in SETTINGS_OPTIONS.items():
        table, _, leaf = key.rpartition(".")
        owner = getattr(settings, table) if table else settings
        if leaf in owner.model_fields_set:
            value = getattr(owner, leaf)
            typed += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return tuple(typed)


def recipe_overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say of the recipe: dotted key -> value. Raises UsageError for a key that is given twice."""
    overrides: dict[str, Any] = {
        key: value for name, (_, key) in RECIPE_OPTIONS.items() if (value := options.get(name)) is not None
    }
    if (augment := options.get("augment")) is not None:
        is_backend = augment in ("none", "keras", "albumentations")
        overrides["augmentation.backend"] = augment if is_backend else "albumentations"
        if not is_backend:
            overrides["augmentation.pipeline"] = str(augment)
    given = options.get("overrides") or ()
    for key, value in given.items() if isinstance(given, Mapping) else map(parse_override, given):
        if key in overrides:
            raise UsageError(f"{key} is given twice: with --set and with its own option. Omit one.")
        overrides[key] = value
    return overrides


def with_recipe(settings: config.Settings, recipe: config.Recipe) -> config.Settings:
    """The same settings for another recipe. Raises UsageError where they do not go together."""
    try:
        return config.Settings(seed=settings.seed, photos=settings.photos, base=settings.base, recipe=recipe)
    except ValidationError as error:
        raise UsageError(validation_text(error, config.Settings)) from error


def _recipe(recipe: str | config.Recipe, overrides: Mapping[str, Any]) -> config.Recipe:
    if not isinstance(recipe, config.Recipe):
        return load_recipe(recipe, overrides=overrides)
    return recipe_of(recipe.rendered(), overrides=overrides)


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = (*RECIPE_OPTIONS, *SETTINGS_OPTIONS, *OTHER_OPTIONS)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Expected one of {', '.join(known)}."
            raise UsageError(f"unknown option {name!r}. {hint}")
