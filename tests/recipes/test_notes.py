"""Notes on a recipe before it is trained."""

from __future__ import annotations

import pytest

from imgreg.recipes import load_recipe, recipe_names
from imgreg.recipes.notes import recipe_notes


def test_max_norm_beside_l2_is_told() -> None:
    """The note has both values and how to try each alone."""
    (note,) = recipe_notes(load_recipe("max_norm", overrides={"head.l2": 0.003}))
    assert note.startswith("max_norm = 2 and l2 = 0.003 both limit the size of the hidden weights")
    assert "head.max_norm=0" in note
    assert "head.l2=0" in note


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - {"activity"}))
def test_no_other_bundled_recipe_has_a_note(name: str) -> None:
    """Of the bundled recipes only activity sets both, as its source does."""
    assert recipe_notes(load_recipe(name)) == ()
    assert len(recipe_notes(load_recipe("activity"))) == 1
