"""tune: the outer photos stay outside, the result can be trained, and the same command again trains nothing."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import imgreg.training.nested_search as nested_search
from conftest import Finished, imgreg, naming, paint_set
from imgreg import Workspace
from imgreg.config import Tuning
from imgreg.data.resample import Repeat
from imgreg.errors import UsageError
from imgreg.recipes import load_recipe
from imgreg.recipes.search_space import load_space
from imgreg.recipes.settings import build_settings
from imgreg.session import Session
from imgreg.training.resampling import ResampledDataset

SPACE = """
[training.label_smoothing]
low = 0.0
high = 0.3

[optimizer.learning_rate]
low = 1e-3
high = 1e-1
scale = "log"
"""
SMALL = (
    *("--weights", "starter", "--image-size", "32", "--recipe", "plain", "--epochs", "2", "--set", "head.pool=avg"),
    *(
        "--set",
        "head.units=[]",
        "--set",
        "optimizer.name=sgd",
        "--trials",
        "2",
        "--folds",
        "2",
        "--inner-folds",
        "2",
        "--val-fraction",
        "0.3",
        "--workers",
        "1",
    ),
)


@dataclass(frozen=True)
class Tuned:
    """A command, what it wrote, and the (recipes, split) of each of its trainings in order."""

    data: Path
    models: Path
    arguments: tuple[object, ...]
    first: Finished
    trained: list[tuple[list[str], Repeat]]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    root = tmp_path_factory.mktemp("tune")
    data = paint_set(root / "data", n_each=12, seed=900)
    space = root / "mine.toml"
    space.write_text(SPACE)
    arguments = ("tune", data, *SMALL, "--space", space, "--models", root / "models", "--json")
    trained: list[tuple[list[str], Repeat]] = []

    def watched(resampled: ResampledDataset, *, settings: Any, **others: Any) -> Any:
        trained.extend(([one.recipe.name for one in settings], repeat) for repeat in resampled.repeats)
        return run_trials(resampled, settings=settings, **others)

    with pytest.MonkeyPatch.context() as patch:
        run_trials = nested_search.run_trials
        patch.setattr(nested_search, "run_trials", watched)  # it trains as always
        first = imgreg(*arguments, "--name", "first")
    assert first.code == 0, first.err
    return Tuned(data, root / "models", arguments, first, trained)


def test_the_outer_photos_take_no_part_in_the_search_that_they_score(tuned: Tuned) -> None:
    """Each search splits its outer fold's train and validation photos alone; each photo is scored outside once."""
    outer = [repeat.split for _, repeat in tuned.trained[:2]]
    assert len({photo for split in outer for photo in split.test}) == sum(len(split.test) for split in outer) == 24
    searched = {
        frozenset((*repeat.split.train, *repeat.split.val, *repeat.split.test)) for _, repeat in tuned.trained[2:]
    }
    inside = {frozenset((*split.train, *split.val)) for split in outer}
    assert {photos for photos in searched if len(photos) < 24} == inside


def test_the_folder_holds_a_recipe_a_report_and_every_trial(tuned: Tuned) -> None:
    """best.toml is the recipe of the best trial; the run was trained with it; no file names this machine's folders."""
    folder, document = tuned.models / "first", tuned.first.json
    recipe = load_recipe(str(folder / "best.toml"))
    best = min((one for one in document["trials"] if one["status"] == "complete"), key=lambda one: one["loss"])
    assert recipe.training.label_smoothing == best["values"]["training.label_smoothing"]
    assert (recipe.head.units, recipe.head.pool) == ((), "avg")
    assert json.loads((tuned.models / "first-run" / "metrics.json").read_text())["recipe"] == recipe.name
    command = shlex.split(document["train_command"])
    assert command[:5] == ["imgreg", "train", str(tuned.data), "--recipe", str(folder / "best.toml")]
    assert "--image-size" in command
    with (folder / "trials.csv").open() as lines:
        assert [row["trial"] for row in csv.DictReader(lines)] == ["0", "1"]
    page = (folder / "report.html").read_text()
    assert document["answer"][0][:40] in page
    assert not naming(folder, tuned.models.parent)
    drawn = {path: path.read_bytes() for path in folder.iterdir() if path.suffix in (".html", ".png", ".svg")}
    for path in drawn:
        path.unlink()
    assert imgreg("report", "first", "--models", tuned.models).code == 0
    assert {path: path.read_bytes() for path in folder.iterdir() if path in drawn} == drawn


def test_the_nested_score_is_of_the_trials_outside(tuned: Tuned) -> None:
    """The mean over the outer folds, beside the default recipe's; the loss inside the search is separate."""
    document = tuned.first.json
    losses = [one["loss"] for one in document["outer_folds"]]
    assert document["nested"]["loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert all(one["inner_loss"] <= one["inner_default_loss"] for one in document["outer_folds"])
    assert document["n_kept"] == 2  # inner folds of all photos are the outer folds here: the default recipe is known
    assert "At most 16 trainings: 3 searches" in tuned.first.err


def test_the_same_search_again_trains_nothing_and_finds_the_same(tuned: Tuned) -> None:
    """Every trial is answered from the cache, as after an interrupt those that were finished."""
    options = {"weights": "starter", "image_size": 32, "epochs": 2, "val_fraction": 0.3}
    overrides = {"head.pool": "avg", "head.units": [], "optimizer.name": "sgd"}
    again = nested_search.search_nested(
        tuned.data,
        settings=build_settings("plain", options | {"overrides": overrides}),
        space=load_space(tuned.data.parent / "mine.toml"),
        tuning=Tuning(trials=2, folds=2, inner_folds=2),
        session=Session(),
    )
    first = tuned.first.json
    assert (again.n_trained, again.n_kept) == (0, first["n_trained"] + first["n_kept"])
    assert [one.model_dump(mode="json") for one in again.outer] == first["outer_folds"]
    assert [one.model_dump(mode="json") for one in again.last.trials] == first["trials"]


def test_a_search_is_scored_by_two_folds_at_least(tmp_path: Path) -> None:
    """As on the command line, from which the notebook's method has its bounds."""
    with pytest.raises(UsageError, match="folds = 1: expected 2 or more"):
        Workspace(tmp_path).tune(tmp_path, folds=1)
    assert imgreg("tune", tmp_path, "--folds", "1").code == 2


@pytest.mark.parametrize(("given", "told"), [("20", "expected a time"), ("0m", "expected a time"), ("m5", "a time")])
def test_a_time_has_a_unit(given: str, told: str, tmp_path: Path) -> None:
    """A bare number could be seconds or minutes."""
    refused = imgreg("tune", tmp_path, "--time", given)
    assert refused.code == 2
    assert told in refused.err
