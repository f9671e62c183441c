"""study: the same splits for every recipe, trials in the cache, and the same table after a kill."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Finished, imgreg, naming, paint_set
from imgreg.api.study import study as study_of
from imgreg.recipes.topics import plan_study
from imgreg.session import Session

SMALL = ("--weights", "starter", "--image-size", "64", "--epochs", "2", "--set", "head.units=[8]", "--repeats", "2")
SMALL = (*SMALL, "--workers", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("study") / "data", n_each=12, seed=500)


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """A cache of its own that shares the exported base: trials of other tests are not found."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in own_cache.iterdir():
        if path.name != "trials":
            (cache / path.name).symlink_to(path)
    monkeypatch.setenv("IMGREG_CACHE", str(cache))
    return cache / "trials"


def study(data: Path, models: Path, *more: object) -> Finished:
    return imgreg("study", data, *SMALL, "--models", models, "--json", *more)


def figures(document: dict[str, Any]) -> Any:
    return document["table"], document["answer"]


def test_a_study_of_schedules_shows_which_rates_a_range_test_suggests(data: Path, tmp_path: Path, trials: Path) -> None:
    """Beside the rates tried, in the answer, the page and study.json, from which the report is rebuilt."""
    plan = plan_study(
        ["schedule"], {"weights": "starter", "image_size": 64, "epochs": 1, "overrides": {"head.units": [8]}}
    )
    assert plan.tests_rates
    assert not plan_study(["dropout"], {}).tests_rates
    settings = tuple(one for one in plan.settings if one.recipe.name in ("plain", "rate 1e-4", "sgd"))
    session = Session(models=tmp_path, workers=1)
    done = study_of(data, replace(plan, settings=settings, groups={}), repeats=2, session=session)
    rates = json.loads((done.folder / "study.json").read_text())["learning_rates"]
    assert rates["tried"] == {"plain": 1e-3, "rate 1e-4": 1e-4}
    assert rates["curve"]["rates"][0] == pytest.approx(1e-7)
    assert done.answer[-1].startswith("A range test of plain suggests")
    page, figure = ((done.folder / name).read_bytes() for name in ("report.html", "learning_rates.png"))
    assert b"Range test of plain" in page
    (done.folder / "learning_rates.png").unlink()
    assert imgreg("report", done.folder).code == 0
    assert [(done.folder / name).read_bytes() for name in ("report.html", "learning_rates.png")] == [page, figure]


def test_a_study_is_paired_ranked_and_kept(data: Path, tmp_path: Path, trials: Path) -> None:
    """Every recipe is scored on the same photos; the folder has the same figures; the second command trains nothing."""
    first = study(data, tmp_path / "models", "--topic", "dropout", "--name", "first")
    assert first.code == 0, first.err
    rows = first.json["table"]["rows"]
    names = {"plain", "dropout 0.1", "dropout 0.3", "dropout 0.5", "dropout 0.7", "dropout searched"}
    assert {row["recipe"] for row in rows} == names
    assert [row["test_loss"] for row in rows] == sorted(row["test_loss"] for row in rows)
    assert (first.json["n_trained"], first.json["n_kept"]) == (10, 0)
    assert [one["name"] for one in first.json["sanity_baselines"]] == ["majority", "colour-histogram", "file-metadata"]
    flattened, means = first.json["baselines"]
    assert (flattened["name"], means["name"]) == ("logistic-regression-flattened", "logistic-regression-means")
    assert {one["name"] for one in means["effects"]} == names

    folder = tmp_path / "models" / "first"
    kept = json.loads((folder / "trials.json").read_text())
    assert len({json.dumps([trial["test_labels"] for trial in row]) for row in kept.values()}) == 1
    for row in rows:
        losses = [trial["test_loss"] for trial in kept[row["recipe"]]]
        assert row["test_loss"] == pytest.approx(np.mean(losses))
        if row["effect"]:
            control = [trial["test_loss"] for trial in kept["plain"]]
            assert row["effect"]["mean"] == pytest.approx(np.mean(np.subtract(losses, control)))
        against = next(one for one in means["effects"] if one["name"] == row["recipe"])
        assert against["mean"] == pytest.approx(row["test_loss"] - means["test_loss"])
    with (folder / "table.csv").open() as lines:
        assert [row["recipe"] for row in csv.DictReader(lines)] == [row["recipe"] for row in rows]
    assert tomllib.loads((folder / "settings.toml").read_text())["dropout 0.5"]["recipe"]["head"]["dropout"] == 0.5
    assert first.json["answer"][0] in (folder / "report.html").read_text().replace("&#39;", "'")

    written = {path: path.stat().st_mtime_ns for path in trials.iterdir()}
    text = imgreg("study", data, *SMALL, "--models", tmp_path / "models", "--topic", "dropout", "--name", "text").out
    assert {path: path.stat().st_mtime_ns for path in trials.iterdir()} == written  # nothing is trained again
    assert any(row["effect"] and row["effect"]["word"] == "not enough data" for row in rows)
    assert re.search(r"^Next: imgreg study .* --repeats 4$", text, re.MULTILINE)
    assert {"forest.png", "curves.png", "study.json"} <= {path.name for path in folder.iterdir()}
    assert naming(folder, tmp_path, data.parent) == []  # what is shared names no folder

    damaged = sorted(trials.iterdir())[0]
    text = bytearray(damaged.read_bytes())
    text[len(text) // 2] ^= 1
    damaged.write_bytes(text)
    shown = imgreg("cache", "show", "--json").json["studies"]
    assert (shown["n_trainings"], shown["n_bytes"]) == (10, sum(path.stat().st_size for path in trials.iterdir()))
    checked = imgreg("cache", "verify", "--json")
    assert (checked.code, checked.json["damaged_trials"]) == (4, [str(damaged)])
    mended = study(data, tmp_path / "models", "--topic", "dropout")
    assert (mended.json["n_trained"], mended.json["n_kept"]) == (1, 9)
    assert figures(mended.json) == figures(first.json)


def test_a_killed_study_goes_on(data: Path, tmp_path: Path, trials: Path) -> None:
    """SIGKILL after some trials: the same command trains the others, and the table is that of a study left alone."""
    arguments = ["compare", data, "--recipes", "plain,dropout", *SMALL, "--json"]
    arguments += ["--models", tmp_path / "models"]
    with subprocess.Popen(
        [sys.executable, "-m", "imgreg", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until = time.monotonic() + 120
        while not (trials.is_dir() and len(list(trials.glob("*.json"))) >= 2) and time.monotonic() < until:
            time.sleep(0.02)
        process.kill()
        said = process.communicate()[1].decode()
    assert all(line.startswith("imgreg: ") for line in said.splitlines()), said  # nothing of TensorFlow's
    n_had = len(had := list(trials.glob("*.json")))
    assert 2 <= n_had < 4
    resumed = imgreg(*arguments)
    assert resumed.code == 0, resumed.err
    assert (resumed.json["n_trained"], resumed.json["n_kept"]) == (4 - n_had, n_had)
    for path in had:
        path.unlink()
    alone = imgreg(*arguments)  # what the killed process had trained, now in one go
    assert alone.json["n_trained"] == n_had
    assert figures(resumed.json) == figures(alone.json)


def test_compare_repeats_shares_cells_with_study(data: Path, tmp_path: Path, trials: Path) -> None:
    """compare --repeats --folds pairs the recipes asked for, and a wider comparison trains only what is new."""
    folded = ("--weights", "starter", "--image-size", "64", "--epochs", "2", "--set", "head.units=[8]")
    folded = (*folded, "--repeats", "1", "--folds", "2", "--workers", "1")
    first = imgreg(*("compare", data, "--recipes", "plain,dropout", "--models", tmp_path / "models", "--json"), *folded)
    assert first.code == 0, first.err
    assert {row["recipe"] for row in first.json["table"]["rows"]} == {"plain", "dropout"}
    assert first.json["table"]["n_repeats"] == 2
    assert first.json["table"]["n_test"] == 12
    wider = imgreg("compare", data, "--recipes", "plain,dropout,l2", "--models", tmp_path / "models", *folded, "--json")
    assert (wider.json["n_trained"], wider.json["n_kept"]) == (2, 4)


def test_a_recipe_that_diverges_is_left_out(data: Path, tmp_path: Path, trials: Path) -> None:
    """Another recipe's infinite loss is reported and does not affect the others; the control's ends the study with exit
    code 7."""
    wild = tmp_path / "wild.toml"
    wild.write_text('[head]\nunits = [8]\nl2 = 10\n[optimizer]\nname = "sgd"\nlearning_rate = 10\n')
    base = ("compare", data, *SMALL, "--epochs", "20", "--json")
    done = imgreg(*base, "--recipes", f"plain,{wild},l2", "--models", tmp_path / "models")
    names = {row["recipe"] for row in done.json["table"]["rows"]}
    assert names == {"plain", "l2"}
    assert any("wild, repeat" in note and "left out" in note for note in done.json["notes"])
    control = imgreg(*base, "--recipes", f"{wild},plain", "--models", tmp_path / "models")
    assert control.code == 7


def test_a_given_split_is_replaced_and_a_note_says_so(data: Path, tmp_path: Path, trials: Path) -> None:
    """A copy on both sides of the given split does no harm: copies stay together in each new split, and there is no
    warning."""
    given = tmp_path / "given"
    for label in ("cold", "warm"):
        for number, photo in enumerate(sorted((data / label).iterdir())):
            for side in ("train", "val") if number == 0 else (("train", "val")[number % 2],):
                (given / side / label).mkdir(parents=True, exist_ok=True)
                (given / side / label / photo.name).write_bytes(photo.read_bytes())
    base = ("compare", given, "--recipes", "plain,dropout", *SMALL, "--epochs", "1", "--models", tmp_path / "models")
    done = imgreg(*base, "--sanity-baselines", "majority,shuffled-labels", "--json")
    assert done.code == 0, done.err
    majority, shuffled = done.json["sanity_baselines"]
    assert majority["name"] == "majority"
    assert 0.3 < majority["accuracy"] < 0.7
    assert shuffled["note"].startswith("plain fits ")
    assert done.json["n_trained"] == 4  # the recipes' own
    assert done.json["notes"] == [note for note in done.json["notes"] if "inflate" not in note]
    assert any("is not used" in note for note in done.json["notes"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--topic", "dropuot"], 2, "unknown topic 'dropuot'. Known: ladder, capacity"),
        (["--topic", "dropout", "--dropout", "0.2"], 2, "head.dropout cannot be set"),
        (
            ["--topic", "normalization", "--stored", "max", "--set", "head.pool=max"],
            2,
            "stored = max does not keep the feature map",
        ),
        (["--topic", "dropout", "--repeats", "1"], 2, "gives no confidence interval"),
        (["--topic", "dropout", "--folds", "50"], 3, "50 folds need at least 50"),
    ],
)
def test_what_cannot_be_studied_is_said(arguments: list[str], code: int, says: str, data: Path, tmp_path: Path) -> None:
    """A wrong topic, a setting that the topic varies, one repeat, too many folds."""
    done = imgreg("study", data, "--weights", "starter", "--image-size", "64", "--models", tmp_path, *arguments)
    assert done.code == code
    assert says in done.err
