"""The search space: what a file may contain, and the error for a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgreg.errors import UsageError
from imgreg.recipes import load_recipe, recipe_with, setting_of
from imgreg.recipes.search_space import Choices, Range, Space, contains, load_space


def values_of(recipe: str, space: Space) -> dict[str, object]:
    return {key: setting_of(load_recipe(recipe), key) for key in space}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[head.dropuot]\nlow = 0\nhigh = 0.5", "unknown setting 'head.dropuot'. Did you mean 'head.dropout'?"),
        ("[learning_rate]\nlow = 1e-4\nhigh = 1", "unknown setting 'learning_rate'. Did you mean 'optimizer.learning"),
        ("[head.dropout]\nlow = 0\nhigh = 1", "head.dropout = 1: expected less than 1"),
        ("[head.dropout]\nlow = 0\nhihg = 0.5", "head.dropout: unknown key 'hihg'. Did you mean 'high'?"),
        ("[head.dropout]\nlow = 0.6\nhigh = 0.5", "low = 0.6 is not below high = 0.5"),
        ("[head.dropout]\nlow = 0.6", "head.dropout: expected low and high, or choices"),
        ('[head.l2]\nlow = 0\nhigh = 0.5\nscale = "log"', "a logarithmic scale starts above 0"),
        ('[head.l2]\nlow = 0\nhigh = 0.5\nscale = "lgo"', "scale = 'lgo': expected linear or log"),
        (
            "[head]\ndropout = 0.5",
            r"head.dropout = 0.5: expected low and high, or choices, in a table \[head.dropout\]",
        ),
        ("[prediction.mirror]\nlow = 0\nhigh = 1", "prediction.mirror takes no range: give choices"),
        ('[head.pool]\nchoices = ["avg", "maxx"]', "head.pool = 'maxx': expected 'flatten', 'avg'"),
        ('[head.pool]\nchoices = ["avg"]', "with two values or more"),
        ("", "no setting to vary"),
        ("[x", "not valid TOML"),
    ],
)
def test_a_wrong_space_is_refused_by_file_and_setting(text: str, told: str, tmp_path: Path) -> None:
    """The message names the file, the setting, what was found, and the nearest key where one is misspelt."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"mine\.toml: .*{told.replace('?', '[?]')}"):
        load_space(path)


def test_ranges_and_choices_are_read_as_the_settings_take_them(tmp_path: Path) -> None:
    """A whole number stays one, a list of units becomes what a recipe holds."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[training.batch_size]\nlow = 16\nhigh = 64\nscale = "log"\n[head.units]\nchoices = [[64], [256, 64]]\n'
    )
    space = load_space(path)
    assert space == {
        "training.batch_size": Range(16, 64, log=True, whole=True),
        "head.units": Choices(((64,), (256, 64))),
    }
    assert not contains(space, values_of("regularized", space))  # 256 units are no choice


def test_the_default_space_holds_the_default_recipe() -> None:
    """So the first trial teaches the sampler something."""
    assert contains(load_space(), values_of("regularized", load_space()))
    assert not contains(load_space(), values_of("plain", load_space()))  # no L2: below the range


def test_values_take_settings_without_effect_with_them() -> None:
    """A trial without normalization or augmentation is a recipe, not an error about what hangs on them."""
    recipe = recipe_with(load_recipe("regularized"), {"head.normalization": "none", "augmentation.backend": "none"})
    assert recipe.n_views == 0
    assert "batch_norm_momentum" not in recipe.head.rendered()
    assert recipe.head.l2 == 0.05
