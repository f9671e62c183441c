"""recipes: bundled files hold what the blog says, and a wrong key is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from imgreg.config import Augmentation, Recipe, Settings
from imgreg.errors import UsageError
from imgreg.heads.optimizer import epoch_rates
from imgreg.recipes import load_recipe, overrides_of, parse_override, recipe_names


def test_plain_is_the_blogs_first_model() -> None:
    """Flatten, Dense 256 relu, softmax; Adam 1e-3; nothing against overfitting."""
    recipe = load_recipe("plain")
    head = recipe.head
    assert (head.pool, head.units, head.activation) == ("flatten", (256,), "relu")
    assert (head.l1, head.l2, head.dropout, head.normalization) == (0, 0, 0, "none")
    assert recipe.optimizer.learning_rate == 1e-3
    assert recipe.n_views == 0


def test_blog_is_the_blogs_last_model() -> None:
    """Dense 256 relu with L2 0.001, Dropout 0.3, BatchNormalization after it; a lower rate; Keras' augmentation."""
    recipe = load_recipe("blog")
    head = recipe.head
    assert (head.pool, head.units, head.activation) == ("flatten", (256,), "relu")
    assert (head.l2, head.dropout, head.normalization) == (0.001, 0.3, "after_dropout")
    assert recipe.optimizer.learning_rate < 1e-3
    augmentation = recipe.augmentation
    assert (augmentation.backend, augmentation.rotation_range, augmentation.fill_mode) == (
        "keras",
        40,
        "nearest",
    )
    assert {
        augmentation.width_shift_range,
        augmentation.height_shift_range,
        augmentation.shear_range,
        augmentation.zoom_range,
    } == {0.2}


def test_weight_penalties_have_their_sources_numbers() -> None:
    """The blog on model size takes Keras' default factor, 0.01, for l1, for l1_l2 and for a factor of one's own; the
    tutorial takes 0.001 for l2."""
    penalties = {name: load_recipe(name).head for name in ("l1", "l2", "l1_l2", "l2_custom")}
    assert {name: (head.l1, head.l2) for name, head in penalties.items()} == {
        "l1": (0.01, 0),
        "l2": (0, 0.001),
        "l1_l2": (0.01, 0.01),
        "l2_custom": (0, 0.01),
    }


@pytest.mark.parametrize(
    ("name", "units", "l2", "dropout"),
    [
        ("tiny", (16,), 0, 0),
        ("small", (16, 16), 0, 0),
        ("medium", (64, 64, 64), 0, 0),
        ("large", (512, 512, 512, 512), 0, 0),
        ("l2", (512, 512, 512, 512), 0.001, 0),
        ("dropout", (512, 512, 512, 512), 0, 0.5),
        ("combined", (512, 512, 512, 512), 0.0001, 0.5),
    ],
)
def test_the_tutorials_recipes_are_the_tutorials(name: str, units: tuple[int, ...], l2: float, dropout: float) -> None:
    """Layers, factors, the single sigmoid unit, batch size, early stopping and a rate that has halved after 1,000
    epochs' steps."""
    recipe = load_recipe(f"tutorial-{name}")
    head, training = recipe.head, recipe.training
    assert (head.units, head.activation, head.output) == (units, "elu", "sigmoid")
    assert (head.l1, head.l2, head.dropout, head.normalization) == (0, l2, dropout, "none")
    assert (training.epochs, training.batch_size, training.patience_epochs) == (10_000, 500, 200)
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("adam", 1e-3)
    assert epoch_rates(recipe.schedule, epoch=1, n_steps=20, val_losses=[])[0] == pytest.approx(1e-3)
    assert epoch_rates(recipe.schedule, epoch=1001, n_steps=20, val_losses=[])[0] == pytest.approx(5e-4)


def test_combined_recipes_have_their_sources_numbers() -> None:
    """The tutorial's sizes, and its best combination; the lecture notes' Dense(64) with three bounds at once."""
    units = {name: load_recipe(name).head.units for name in ("tiny", "small", "medium", "large")}
    assert units == {"tiny": (16,), "small": (16, 16), "medium": (64, 64, 64), "large": (512,) * 4}
    combined, activity = load_recipe("combined").head, load_recipe("activity").head
    assert (combined.l2, combined.dropout) == (1e-4, 0.5)
    assert (activity.units, activity.activity_l1, activity.l2, activity.max_norm) == ((64,), 0.01, 0.01, 2)


@pytest.mark.parametrize("name", recipe_names())
def test_headers_say_source_and_expectation(name: str) -> None:
    """Every bundled recipe says where it comes from and what to expect."""
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.source) > 20
    assert len(recipe.expect) > 20


@pytest.mark.parametrize("name", recipe_names())
def test_a_rendered_recipe_reads_back(name: str, tmp_path: Path) -> None:
    """`imgreg recipes NAME > mine.toml` gives the same recipe."""
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(load_recipe(name).rendered()))
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe(name)


@given(
    st.floats(0, 0.99),
    st.lists(st.integers(1, 512), min_size=1, max_size=3),
    st.sampled_from(["keras", "albumentations"]),
)
def test_settings_survive_toml(dropout: float, units: list[int], backend: str) -> None:
    """Whatever the settings, config.toml gives them back."""
    import tomllib

    recipe = Recipe(name="x", head={"dropout": dropout, "units": units}, augmentation={"backend": backend})
    settings = Settings(recipe=recipe)
    assert Settings.model_validate(tomllib.loads(tomli_w.dumps(settings.rendered()))) == settings


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"head.dropuot": 0.5}, "unknown setting 'head.dropuot'. Did you mean 'head.dropout'?"),
        ({"head.dropout": 1}, "head.dropout = 1: expected less than 1"),
        ({"head.units": [0]}, "head.units.0 = 0: expected 1 or more"),
        ({"head.pool": "mean"}, "head.pool = 'mean': expected 'flatten', 'avg', 'max' or 'flatten+max'"),
        ({"optimizer.learning_rate": "fast"}, "optimizer.learning_rate = 'fast'"),
        ({"augmentation.views": 4}, "views would have no effect without augmentation"),
        ({"head.dropout": [0.1, 1]}, "head.dropout.1 = 1: expected less than 1"),
        ({"head.dropout": [0.1, 0.2]}, "dropout has 2 rates for 1 hidden layers"),
        (
            {"head.normalization": "after_dropout", "head.normalization_kind": "instance"},
            "normalization_kind = instance has no meaning for a vector",
        ),
        ({"head.normalization_kind": "layer"}, "normalization_kind would have no effect without normalization"),
        ({"head.groups": 4, "head.normalization": "after_dropout"}, "groups would have no effect"),
        (
            {"head.normalization": "after_dropout", "head.normalization_kind": "group", "head.groups": 7},
            "groups = 7 does not divide 256 units",
        ),
        ({"head.map_normalization": "instance", "head.pool": "avg"}, "leaves nothing for pool = avg"),
        ({"optimizer.weight_decay": 0.1}, "weight_decay would have no effect with adam"),
        ({"optimizer.name": "sgd", "optimizer.beta_1": 0.8}, "beta_1 would have no effect with sgd"),
        ({"optimizer.alpha": 0.1}, "alpha would have no effect with schedule = constant"),
        ({"training.min_delta": 0.1}, "min_delta would have no effect without early stopping"),
        ({"optimizer.momentum": 0.1}, "momentum would have no effect with adam"),
        ({"optimizer.decay_epochs": 5}, "decay_epochs would have no effect with a constant learning rate"),
        ({"optimizer.schedule": "cosine", "optimizer.decay_rate": 0.5}, "decay_rate would have no effect"),
        ({"optimizer.schedule": "exponential", "optimizer.decay_rate": 1.5}, "does not lower the rate"),
        ({"augmentation.strength": 2}, "strength would have no effect without augmentation"),
        ({"augmentation.backend": "keras", "augmentation.strength": 6}, "raises rotation_range to 240"),
        ({"head.units": [], "head.activity_l1": 0.5}, "activity_l1 would have no effect without hidden layers"),
        ({"head.units": [], "head.dropout": 0.5}, "dropout would have no effect without hidden layers"),
    ],
)
def test_a_wrong_setting_is_named(overrides: dict[str, object], message: str) -> None:
    """The message has the key, the value and what was expected."""
    with pytest.raises(UsageError, match="(?s).*" + re.escape(message)):
        load_recipe("plain", overrides=overrides)


def test_an_unknown_key_in_a_file_is_named(tmp_path: Path) -> None:
    """A misspelt table in a recipe file is not passed over."""
    (tmp_path / "mine.toml").write_text("[haed]\ndropout = 0.5\n")
    with pytest.raises(UsageError, match="unknown setting 'haed'"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_an_unknown_recipe_lists_the_known() -> None:
    """A misspelt name is answered with those there are."""
    with pytest.raises(UsageError, match="unknown recipe 'plian'. Did you mean 'plain'"):
        load_recipe("plian")


def test_switching_augmentation_off_takes_its_ranges_along() -> None:
    """--augment none on a recipe with ranges is no contradiction."""
    assert load_recipe("regularized", overrides={"augmentation.backend": "none"}).augmentation == Augmentation()


def test_fewer_epochs_than_a_files_patience_take_the_patience_along(tmp_path: Path) -> None:
    """--epochs 5 on a recipe with patience 10 is no contradiction; a patience given beside it is."""
    (tmp_path / "mine.toml").write_text("[training]\nepochs = 100\npatience_epochs = 10\n")
    mine = str(tmp_path / "mine.toml")
    assert load_recipe(mine, overrides={"training.epochs": 5}).training.patience_epochs == 0
    with pytest.raises(UsageError, match="it must be smaller"):
        load_recipe(mine, overrides={"training.epochs": 5, "training.patience_epochs": 10})


@pytest.mark.parametrize("name", recipe_names())
def test_what_was_changed_in_a_recipe_is_found(name: str, tmp_path: Path) -> None:
    """Untouched: nothing. With overrides: just these, in a form that --set takes again; none for a recipe of one's own,
    unless it borrows a bundled one's name."""
    assert overrides_of(load_recipe(name)) == ()
    changes = {"head.units": [32, 16], "head.dropout": [0.45, 0.25], "head.normalization": "after_dropout"}
    changes |= {"head.activation": "gelu", "training.epochs": 17, "optimizer.learning_rate": 3e-5}
    recipe = load_recipe(name, overrides=changes)
    found = overrides_of(recipe)
    made_idle = {"training.patience_epochs"} if load_recipe(name).training.patience_epochs >= 17 else set()
    assert {one.partition("=")[0] for one in found} <= changes.keys() | made_idle
    assert load_recipe(name, overrides=dict(map(parse_override, found))) == recipe
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(recipe.rendered() | {"name": "mine"}))
    assert overrides_of(load_recipe(str(tmp_path / "mine.toml"))) == ()


def test_a_pipelines_folder_is_not_told() -> None:
    """An override is shown in shared files, which name no folder."""
    changes = {"augmentation.backend": "albumentations", "augmentation.pipeline": "/srv/secret/mine.json"}
    assert overrides_of(load_recipe("plain", overrides=changes)) == (
        "augmentation.backend=albumentations",
        "augmentation.pipeline=mine.json",
    )


@pytest.mark.parametrize("text", ["head.dropout", "=0.5", ""])
def test_set_needs_key_and_value(text: str) -> None:
    """--set without = or key says what it expects."""
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        parse_override(text)
