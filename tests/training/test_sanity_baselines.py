"""Controls beside a run: what colours alone reach, and what a head can memorize."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Finished, imgreg, paint_set

SMALL = ("--weights", "starter", "--image-size", "64", "--recipe", "plain", "--folds", "0")
SMALL = (*SMALL, "--set", "head.units=[8]")
ALL = "majority,colour-histogram,file-metadata,shuffled-labels"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A run on photos that differ in nothing but colour, with every control."""
    root = tmp_path_factory.mktemp("sanity_baselines")
    data = paint_set(root / "data", n_each=20, seed=300)
    done = imgreg(
        *("train", data, *SMALL, "--val-fraction", "0.4", "--sanity-baselines", ALL),
        *("--epochs", "15", "--learning-rate", "0.01"),
        *("--models", root / "models", "--name", "run", "--json"),
    )
    assert done.code == 0, done.err
    return root, done


def test_a_task_that_colours_solve_is_reported(told: tuple[Path, Finished]) -> None:
    """The warning is on stderr; the suspicion is in the JSON and in the report, which says first not to trust this."""
    root, done = told
    sanity_baselines = {one["name"]: one for one in done.json["sanity_baselines"]}
    assert list(sanity_baselines) == ALL.split(",")
    assert sanity_baselines["colour-histogram"]["accuracy"] > 0.9
    assert sanity_baselines["colour-histogram"]["low"] < sanity_baselines["colour-histogram"]["accuracy"]
    assert 0.3 < sanity_baselines["majority"]["accuracy"] < 0.7
    assert "colours alone tell the classes apart" in done.err
    (suspicion,) = [one for one in done.json["verdict"]["suspicions"] if one["kind"] == "shortcut"]
    assert sanity_baselines["colour-histogram"]["accuracy_difference"]["low"] <= 0
    assert sanity_baselines["shuffled-labels"]["accuracy_difference"] is None
    report = (root / "models" / "run" / "report.html").read_text(encoding="utf-8")
    assert "colour-histogram" in report
    assert report.index("Don&#39;t trust this yet:") < report.index("The curves alone:")
    assert suspicion["sentence"].partition("colours alone")[2] in report


def test_shuffled_labels_say_how_much_is_memory(told: tuple[Path, Finished]) -> None:
    """The head fits its own labels better than shuffled ones, and the share of the latter is reported."""
    _, done = told
    shuffled = done.json["sanity_baselines"][-1]
    share = int(shuffled["note"].split("fits ")[1].split("%")[0]) / 100
    assert share < done.json["last"]["train_accuracy"]
    assert shuffled["loss"] > done.json["last"]["val_loss"]


def test_controls_are_a_choice(told: tuple[Path, Finished], tmp_path: Path) -> None:
    """One brings the largest class, which it is measured against (none: tests/api/test_train.py); a name that is none
    of them, and any on finished runs, is refused."""
    root, _ = told
    data, run = root / "data", root / "models" / "run"
    alone = imgreg(
        "train", data, *SMALL, "--epochs", "2", "--sanity-baselines", "colour-histogram", "--models", tmp_path, "--json"
    )
    assert [one["name"] for one in alone.json["sanity_baselines"]] == ["majority", "colour-histogram"]
    odd = imgreg("train", data, *SMALL, "--epochs", "2", "--sanity-baselines", "colours", "--models", tmp_path)
    assert odd.code == 2
    assert "found 'colours', expected a comma-separated list of majority, colour-histogram" in odd.err
    finished = imgreg("compare", run, run, "--sanity-baselines", "none", "--models", tmp_path)
    assert finished.code == 2
    assert "--sanity-baselines: no effect on finished runs" in finished.err
