"""Recipes in words."""

from __future__ import annotations

import pytest
import tomli_w

from imgreg.config import Settings
from imgreg.recipes import load_recipe, recipe_names
from imgreg.reports.words import recipe_in_words


def words(name: str, **overrides: object) -> str:
    recipe = load_recipe(name, overrides={key.replace("__", "."): value for key, value in overrides.items()})
    return " ".join(recipe_in_words(tomli_w.dumps(Settings(recipe=recipe).rendered())))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_words(name: str) -> None:
    """Base, regularizers and training are described for each bundled recipe."""
    told = words(name)
    assert told.startswith("Frozen VGG16")
    assert "with learning rate" in told
    bare = name.removeprefix("tutorial-") in ("plain", "low_lr", "tiny", "small", "medium", "large")
    assert ("No regularization." in told) == bare
    assert ("one sigmoid unit" in told) == name.startswith("tutorial-")


def test_what_regularizes_is_named_with_its_strength() -> None:
    """The blog's four means together, and no means that the recipe has not."""
    told = words("blog", head__l2=0.002, head__dropout=0.4)
    for means in ("L2 penalty 0.002", "dropout 0.4", "BatchNormalization", "augmentation"):
        assert means in told
    assert "L1" not in told
    assert "rotated by up to 40°" in told
    assert "label smoothing 0.1" in words("plain", training__label_smoothing=0.1)
    assert "mirror image" not in told
    assert "averaged over the photo and its mirror image" in words("plain", prediction__mirror=True)
    assert "learning rates 1e-06 and 0.0001, falling to 0" in words(
        "plain", finetune__block="block5", finetune__learning_rate=1e-6
    )
    assert "dropout 0.5, 0.2" in words("plain", head__units=[8, 4], head__dropout=[0.5, 0.2])


def test_settings_that_cannot_be_read_have_no_words() -> None:
    """A config.toml of another time is no reason to have no report."""
    assert recipe_in_words("not toml [") == ()
    assert recipe_in_words("[recipe.head]\npool = 'pyramid'") == ()
