"""The key of a kept training: what changes it, and what does not."""

from __future__ import annotations

import pytest

from imgreg.config import Recipe
from imgreg.training.checkpoints import _recipe_document

LATER = {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 0.01, "alpha": 0.1}


@pytest.mark.parametrize(("name", "value"), LATER.items())
def test_a_later_setting_is_in_the_key_where_it_is_not_the_default(name: str, value: float) -> None:
    """At its default it leaves the keys of trainings that are kept as they were; anything else is another training."""
    schedule = {"schedule": "cosine"}
    plain = _recipe_document(Recipe(name="x", optimizer=schedule))
    changed = _recipe_document(Recipe(name="x", optimizer=schedule | {name: value}))
    assert not LATER.keys() & plain["optimizer"].keys()
    assert changed["optimizer"][name] == value
    assert "learning_rate" in plain["optimizer"]


def test_min_delta_is_in_the_key_where_it_is_not_0() -> None:
    """Likewise for early stopping."""
    patient = {"patience_epochs": 3}
    assert "min_delta" not in _recipe_document(Recipe(name="x", training=patient))["training"]
    assert _recipe_document(Recipe(name="x", training=patient | {"min_delta": 0.1}))["training"]["min_delta"] == 0.1
