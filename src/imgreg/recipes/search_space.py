"""What a search varies: settings of a recipe, each with a range or a list of choices, from a TOML file.

In: a file. Out: a checked space. Knows nothing of photos, Keras or how the space is searched.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model

from imgreg.config import Recipe
from imgreg.errors import UsageError
from imgreg.recipes import setting_model, typed, validation_text

DEFAULT_SPACE = Path(__file__).parent / "spaces" / "default.toml"
DIGITS = 3  # significant ones of a value from a range, as a recipe is read by people
_KEYS = ("low", "high", "scale", "choices")
_SCALES = ("linear", "log")
_CHEAP = ("augmentation.backend", "augmentation.views")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; `log` spreads them evenly over the orders of magnitude."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def nearest(self, value: float) -> float:
        """A value as a recipe has it: whole, or of few digits, and inside the range.

        >>> Range(0.0001, 0.01).nearest(0.00123456), Range(1, 9, whole=True).nearest(3)
        (0.00123, 3)
        """
        return int(value) if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """A few values, in no order."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Each value as it is typed.

        >>> Choices(((64,), (256, 64))).labels
        ('[64]', '[256, 64]')
        """
        return tuple(map(typed, self.values))


Space = Mapping[str, Range | Choices]  # by the setting's dotted key


def load_space(path: Path = DEFAULT_SPACE) -> Space:
    """Read a search space.

    Raises
    ------
    UsageError
        Naming the file and the setting, what was found and what was expected.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the search space ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the search space is not valid TOML: {error}.") from error
    try:
        space = {key: _dimension(key, given) for key, given in _settings(tables)}
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if not space:
        raise UsageError(f"{path}: no setting to vary. Expected at least one, e.g. [head.dropout] with low and high.")
    return space


def contains(space: Space, values: Mapping[str, Any]) -> bool:
    """Whether every value lies in the space.

    Parameters
    ----------
    values : mapping
        A value of each of the space's settings.
    """
    return all(
        typed(value) in one.labels
        if isinstance(one, Choices)
        else isinstance(value, int | float) and one.low <= value <= one.high
        for key, one in space.items()
        for value in (values[key],)
    )


def slow_settings(space: Space) -> tuple[str, ...]:
    """Those for each value of which VGG16 has to work again.

    >>> slow_settings({"augmentation.backend": Choices(("none", "keras")), "augmentation.strength": Range(0.5, 2)})
    ('augmentation.strength',)
    """
    return tuple(key for key in space if key.startswith(("augmentation.", "finetune.")) and key not in _CHEAP)


def _settings(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's dotted key with what the file says of it."""
    for name, given in tables.items():
        key = f"{prefix}{name}"
        if isinstance(given, dict) and given and not set(given) & set(_KEYS) and not prefix:
            yield from _settings(given, f"{key}.")
        else:
            yield key, given


def _dimension(key: str, given: Any) -> Range | Choices:
    model, leaf = setting_model(key)
    if not isinstance(given, dict):
        raise UsageError(f"{key} = {typed(given)}: expected low and high, or choices, in a table [{key}].")
    for name in given:
        if name not in _KEYS:
            near = difflib.get_close_matches(name, _KEYS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Expected {', '.join(_KEYS)}."
            raise UsageError(f"{key}: unknown key {name!r}. {hint}")
    if "choices" in given:
        if len(given) > 1 or not isinstance(given["choices"], list) or len(given["choices"]) < 2:
            raise UsageError(f"{key}: expected choices = [...] alone, with two values or more.")
        return Choices(tuple(_checked(key, value) for value in given["choices"]))
    if not {"low", "high"} <= set(given):
        raise UsageError(f"{key}: expected low and high, or choices.")
    low, high = (_checked(key, given[side]) for side in ("low", "high"))
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (low, high)):
        raise UsageError(f"{key} takes no range: give choices.")
    scale = given.get("scale", "linear")
    if scale not in _SCALES:
        raise UsageError(f"{key}: scale = {scale!r}: expected {' or '.join(_SCALES)}.")
    if low >= high:
        raise UsageError(f"{key}: low = {low:g} is not below high = {high:g}.")
    if scale == "log" and low <= 0:
        raise UsageError(f"{key}: low = {low:g}: a logarithmic scale starts above 0.")
    return Range(low, high, log=scale == "log", whole=model.model_fields[leaf].annotation is int)


def _checked(key: str, value: Any) -> Any:
    """The value as the setting takes it. raises UsageError"""
    model, leaf = setting_model(key)
    field = model.model_fields[leaf]
    setting: Any = create_model("Setting", **{leaf: (field.annotation, field)})  # type: ignore[call-overload]
    try:
        return getattr(setting.model_validate({leaf: value}), leaf)
    except ValidationError as error:
        raise UsageError(f"{key.partition('.')[0]}.{validation_text(error, Recipe)}") from error
