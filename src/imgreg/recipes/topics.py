"""What a study tries: recipes by topic, each one means away from plain, the control; the ladder adds them up.

Knows nothing of photos or Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from imgreg.config import Recipe, Settings
from imgreg.errors import UsageError
from imgreg.recipes import load_recipe
from imgreg.recipes.settings import build_settings, recipe_overrides, with_recipe

CONTROL = "plain"
_BACKEND = "augmentation.backend"
_AUGMENT: dict[str, Any] = {"augmentation.backend": "keras"}
_LOW_RATE: dict[str, Any] = {"optimizer.learning_rate": 1e-5}


@dataclass(frozen=True)
class Derived:
    """A row of the table that needs no training: made of other recipes' heads, repeat by repeat.

    vote     the heads' mean and majority
    search   of the candidates the one with the lowest validation loss
    """

    name: str
    how: Literal["vote", "search"]
    of: tuple[str, ...]


@dataclass(frozen=True)
class Topics:
    """Recipes to try beside the control, what follows from them, and which belong together (the control first)."""

    recipes: tuple[Recipe, ...]
    derived: tuple[Derived, ...]
    groups: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class StudyPlan:
    """What a study compares.

    Attributes
    ----------
    settings : tuple of Settings
        One a recipe, the control first; they differ in nothing else.
    derived : tuple of Derived
        Rows made of other recipes' heads.
    groups : dict of str to tuple of str
        Heading to the recipes that are drawn in one panel, the control first; empty for all in one.
    tests_rates : bool
        Whether a range test of the control's learning rate belongs to the study.
    """

    settings: tuple[Settings, ...]
    derived: tuple[Derived, ...] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tests_rates: bool = False


def plan_study(topics: Sequence[str], options: Mapping[str, Any]) -> StudyPlan:
    """Compare the recipes of some topics with plain.

    Parameters
    ----------
    options : mapping
        As in `build_settings`.

    Raises
    ------
    UsageError
        For an unknown topic or option, or an override of what a topic itself varies.
    """
    control = build_settings(CONTROL, options, ranges_where_augmented=True)
    chosen = load_topics(topics, overrides=recipe_overrides(options))
    settings = (control, *(with_recipe(control, recipe) for recipe in chosen.recipes))
    return StudyPlan(settings, chosen.derived, chosen.groups, tests_rates="schedule" in chosen.groups)


def topic_names() -> tuple[str, ...]:
    """
    >>> topic_names()[:3]
    ('ladder', 'capacity', 'weights')
    """
    return (*_TOPICS, "all")


def load_topics(names: Sequence[str], *, overrides: Mapping[str, Any] | None = None) -> Topics:
    """The recipes of some topics, without the control.

    overrides   dotted key -> value, for every recipe; augmentation's for those that augment
    raises      UsageError for an unknown topic, or for an override of what the topic itself varies

    >>> [recipe.name for recipe in load_topics(["dropout"]).recipes]
    ['dropout 0.1', 'dropout 0.3', 'dropout 0.5', 'dropout 0.7']
    """
    for name in names:
        if name not in topic_names():
            raise UsageError(f"unknown topic {name!r}. Known: {', '.join(topic_names())}.")
    if not names:
        raise UsageError(f"--topic is empty. Known: {', '.join(topic_names())}.")
    chosen = [topic for topic in _TOPICS if topic in names or "all" in names]
    recipes: dict[str, Recipe] = {}
    for topic in chosen:
        for label, base, changes in _TOPICS[topic]:
            varied = sorted(changes.keys() & (overrides or {}).keys())
            if varied:
                raise UsageError(f"{varied[0]} cannot be set: recipe {label!r} of topic {topic} varies it. Omit it.")
            recipes[label] = _recipe_of(label, base, changes, overrides or {})
    derived = tuple(d for topic in chosen for d in _DERIVED.get(topic, ()))
    groups = {topic: (CONTROL, *(label for label, _, _ in _TOPICS[topic])) for topic in chosen}
    return Topics(tuple(recipes.values()), derived, groups)


def _recipe_of(label: str, base: str, changes: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    augments = load_recipe(base, overrides=changes).n_views > 0
    own = {k: v for k, v in overrides.items() if augments or not k.startswith("augmentation.") or k == _BACKEND}
    return load_recipe(base, overrides={**changes, **own}).model_copy(update={"name": label})


def _factors(label: str, key: str, values: Sequence[float]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(f"{label} {value:g}", CONTROL, {key: value}) for value in values]


_TOPICS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    # the blog's order of advice, one means added at a time
    "ladder": [
        ("1 lower rate", CONTROL, _LOW_RATE),
        ("2 + dropout", CONTROL, _LOW_RATE | {"head.dropout": 0.3}),
        ("3 + augmentation", CONTROL, _LOW_RATE | {"head.dropout": 0.3} | _AUGMENT),
        ("4 + L2, batch norm", "blog", {}),
        ("regularized", "regularized", {}),
    ],
    # the sizes of TensorFlow's tutorial, trained as plain is, beside plain's 256 units
    "capacity": [(name, name, {}) for name in ("tiny", "small", "medium", "large")],
    "weights": [
        *_factors("l1", "head.l1", (1e-5, 1e-4, 1e-3)),
        *_factors("l2", "head.l2", (1e-4, 1e-3, 1e-2, 1e-1)),
        ("l1_l2", "l1_l2", {}),
        ("max_norm", "max_norm", {}),
        ("activity", "activity", {}),
        ("adamw", CONTROL, {"optimizer.name": "adamw", "optimizer.weight_decay": 0.1}),
        ("combined", "combined", {}),
    ],
    "dropout": _factors("dropout", "head.dropout", (0.1, 0.3, 0.5, 0.7)),
    "normalization": [
        ("batch norm first", CONTROL, {"head.normalization": "before_activation"}),
        ("batch norm after", CONTROL, {"head.normalization": "after_activation"}),
        ("layer norm", "layer_norm", {}),
        ("group norm", "group_norm", {}),
        ("instance norm", CONTROL, {"head.map_normalization": "instance"}),
        ("standardize", CONTROL, {"head.scaling": "standardize"}),
        ("min-max", CONTROL, {"head.scaling": "min_max"}),
    ],
    "initializer": [(name, CONTROL, {"head.initializer": name}) for name in ("he_normal", "lecun_normal", "zeros")],
    "activation": [
        (name, CONTROL, {"head.activation": name}) for name in ("leaky_relu", "elu", "gelu", "tanh", "sigmoid")
    ],
    "schedule": [
        ("rate 1e-4", CONTROL, {"optimizer.learning_rate": 1e-4}),
        ("inverse time", CONTROL, {"optimizer.schedule": "inverse_time", "optimizer.decay_epochs": 10}),
        ("exponential", CONTROL, {"optimizer.schedule": "exponential", "optimizer.decay_epochs": 10}),
        ("cosine", CONTROL, {"optimizer.schedule": "cosine"}),
        ("restarts", CONTROL, {"optimizer.schedule": "cosine_restarts", "optimizer.decay_epochs": 15}),
        ("plateau", CONTROL, {"optimizer.schedule": "reduce_on_plateau", "optimizer.decay_epochs": 5}),
        ("warm-up", CONTROL, {"optimizer.warmup_epochs": 5}),
        ("rmsprop", CONTROL, {"optimizer.name": "rmsprop"}),
        ("sgd", CONTROL, {"optimizer.name": "sgd", "optimizer.momentum": 0.9}),
        ("label smoothing", CONTROL, {"training.label_smoothing": 0.1}),
    ],
    "augmentation": [
        ("augment 0.5", CONTROL, _AUGMENT | {"augmentation.strength": 0.5}),
        ("augment 1", CONTROL, _AUGMENT),
        ("albumentations", CONTROL, {"augmentation.backend": "albumentations"}),
    ],
}

_DERIVED: dict[str, tuple[Derived, ...]] = {
    "ladder": (
        Derived("5 vote", "vote", (CONTROL, *(label for label, *_ in _TOPICS["ladder"] if label != "regularized"))),
    ),
    "weights": (
        Derived("l1 searched", "search", tuple(label for label, _, _ in _TOPICS["weights"] if label[:3] == "l1 ")),
        Derived("l2 searched", "search", tuple(label for label, _, _ in _TOPICS["weights"] if label[:3] == "l2 ")),
    ),
    "dropout": (Derived("dropout searched", "search", tuple(label for label, _, _ in _TOPICS["dropout"])),),
}
