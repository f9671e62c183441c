"""Recipes: TOML files in, checked Recipe values out. Knows nothing of photos or Keras."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from imgreg.config import Augmentation, Finetune, Head, Optimizer, Prediction, Recipe, Training
from imgreg.errors import UsageError
from imgreg.paths import shared_path

FOLDER = Path(__file__).parent
_TABLES = (
    ("head", Head),
    ("optimizer", Optimizer),
    ("training", Training),
    ("augmentation", Augmentation),
    ("prediction", Prediction),
    ("finetune", Finetune),
)


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with imgreg.

    >>> len(recipe_names()), "plain" in recipe_names(), "regularized" in recipe_names()
    (27, True, True)
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_recipe(name: str, *, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe and apply overrides.

    name        of a bundled recipe, or a path that ends in .toml
    overrides   dotted key -> value, e.g. {"head.dropout": 0.5}
    raises      UsageError naming the key, what was found and what is allowed

    >>> load_recipe("plain", overrides={"head.units": [16, 16]}).head.units
    (16, 16)
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if path.parent == FOLDER and name not in recipe_names():
        raise UsageError(
            f"unknown recipe {name!r}. {_nearest(name)}`imgreg recipes` lists them; or pass a file, e.g. mine.toml."
        )
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the recipe ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the recipe is not valid TOML: {error}.") from error
    return recipe_of({"name": path.stem} | tables, overrides=overrides or {})


def recipe_of(given: Mapping[str, Any], *, overrides: Mapping[str, Any]) -> Recipe:
    """Apply overrides (dotted key -> value) to a recipe's tables, and check the result. Raises UsageError."""
    tables: dict[str, Any] = deepcopy(dict(given))
    name = tables["name"]
    for key, value in overrides.items():
        *parents, leaf = _known_key(key)
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"recipe {name}: {parents[-1]} = {table!r} is not a table. Expected [{parents[-1]}].")
        table[leaf] = value
    _drop_what_overrides_made_idle(tables, overrides)
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        raise UsageError(f"recipe {name}: {validation_text(error, Recipe)}") from error


def recipe_with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values (dotted key -> value), less the settings that these leave without effect.

    Raises UsageError where the values do not go together.

    >>> recipe_with(load_recipe("regularized"), {"head.normalization": "none", "head.units": []}).head.l2
    0.0
    """
    tables: dict[str, Any] = recipe.rendered()
    for key, value in values.items():
        table, leaf = _known_key(key)
        tables[table] = tables[table] | {leaf: value}
    for name, model in _TABLES:
        idle = model.model_construct(**tables[name]).idle()
        tables[name] = {key: value for key, value in tables[name].items() if key not in idle}
    return recipe_of(tables, overrides={})


def setting_of(recipe: Recipe, key: str) -> Any:
    """The value of a setting by its dotted key; its default where it has no effect."""
    table, leaf = key.split(".")
    return getattr(getattr(recipe, table), leaf)


def setting_model(key: str) -> tuple[type[BaseModel], str]:
    """The table that a setting's dotted key belongs to, and its name there. Raises UsageError, naming the nearest key.

    >>> setting_model("head.dropout")[1]
    'dropout'
    """
    parents = _known_key(key)
    if len(parents) != 2:
        raise UsageError(f"{key}: expected a setting of a table, e.g. head.dropout.")
    return next(model for name, model in _TABLES if name == parents[0]), parents[1]


def overrides_of(recipe: Recipe) -> tuple[str, ...]:
    """What differs from the bundled recipe of the same name, as `--set` takes it; nothing for a recipe of one's own.

    Paths are named as a shared file names them.

    >>> overrides_of(load_recipe("l2", overrides={"head.l2": 0.1, "head.units": [64, 64]}))
    ('head.units=[64, 64]', 'head.l2=0.1')
    >>> overrides_of(load_recipe("l2"))
    ()
    """
    if recipe.name not in recipe_names():
        return ()
    bundled = load_recipe(recipe.name)
    return tuple(
        f"{name}.{key}={typed(shared_path(value) if key == 'pipeline' else value)}"
        for name, _ in _TABLES
        for key, value in getattr(recipe, name).rendered().items()
        if value != getattr(getattr(bundled, name), key)
    )


def typed(value: Any) -> str:
    """A value as a user would type it.

    >>> typed((0.5, 0.25)), typed(True), typed("avg"), typed(1e-5)
    ('[0.5, 0.25]', 'true', 'avg', '1e-05')
    """
    if isinstance(value, tuple):
        return f"[{', '.join(map(typed, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def parse_override(text: str) -> tuple[str, Any]:
    """Split KEY=VALUE; the value is TOML where it can be, else a string.

    >>> parse_override("head.units=[64, 64]"), parse_override("head.pool=avg")
    (('head.units', [64, 64]), ('head.pool', 'avg'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: expected KEY=VALUE, e.g. head.dropout=0.5.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def validation_text(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line each what pydantic found: the key, the value, what was expected."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if part not in ("one", "list", "word"))  # tags of unions
        if item["type"] == "extra_forbidden":
            lines.append(_unknown_key(key, model))
        elif item["type"] == "value_error":
            lines.append(f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"]))
        else:
            lines.append(f"{key} = {item['input']!r}: expected {_expected(item['type'], item.get('ctx', {}))}")
    return "; ".join(lines)


_EXPECTED = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "string_too_short": "a name",
    "finite_number": "a finite number",
}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "tuple": "a list"}


def _expected(kind: str, bounds: Mapping[str, Any]) -> str:
    """What pydantic would have accepted, by the kind of its error."""
    return _EXPECTED.get(kind, _KINDS.get(kind.partition("_")[0], "a table")).format(**bounds)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, recipe_names(), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _drop_what_overrides_made_idle(tables: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Remove a file's settings that an override leaves without effect; one that the user gave stays, and is refused."""
    for name, model in _TABLES:
        given = {key.partition(".")[2] for key in overrides if key.startswith(f"{name}.")}
        if given and isinstance(tables.get(name), dict):
            idle = model.model_construct(**tables[name]).idle()
            tables[name] = {key: value for key, value in tables[name].items() if key in given or key not in idle}


def _leaf_keys(model: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            keys += _leaf_keys(nested, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return tuple(keys)


def _known_key(key: str) -> list[str]:
    if key not in _leaf_keys(Recipe):
        raise UsageError(_unknown_key(key, Recipe))
    return key.split(".")


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    known = _leaf_keys(model)
    near = [k for k in known if k.endswith("." + key)] or difflib.get_close_matches(key, known, n=1)
    return f"unknown setting {key!r}. " + (f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}.")
