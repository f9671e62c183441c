"""learning-curve: nested subsets, one fitted curve, and what the folder holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from conftest import imgreg, naming, paint_set

SMALL = ("--weights", "starter", "--image-size", "32", "--epochs", "2", "--recipe", "low_lr", "--set", "head.units=[8]")
SMALL = (*SMALL, "--workers", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("learning-curve") / "data", n_each=24, seed=700)


def test_sizes_halve_and_the_folder_agrees(data: Path, tmp_path: Path) -> None:
    """30, 15 and 8 of 48 photos train; the table, figure and JSON agree; the same command again trains nothing."""
    arguments = ("learning-curve", data, *SMALL, "--repeats", "2", "--more", "50", "--models", tmp_path, "--json")
    done = imgreg(*arguments, "--name", "first")
    assert done.code == 0, done.err
    found = done.json["test_error"]
    assert found["sizes"] == [8, 15, 30]
    assert found["n_test"] == 10
    assert all(0 <= low <= high <= 1 for low, high in zip(found["lows"], found["highs"], strict=True))
    assert found["more"]["n_train"] == 80
    assert (done.json["n_trained"], done.json["n_kept"]) == (6, 0)
    assert "and 50 more would change it by about" in done.json["answer"][0]

    folder = tmp_path / "first"
    assert {path.name for path in folder.iterdir()} == {
        *("learning_curve.json", "table.csv", "curve.png", "curve.svg", "report.html")
    }
    with (folder / "table.csv").open() as lines:
        rows = list(csv.reader(lines))
    assert [row[0] for row in rows[1:]] == ["8", "15", "30"]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx([1 - mean for mean in found["means"]], abs=1e-4)
    assert json.loads((folder / "learning_curve.json").read_text())["test_error"] == found
    with Image.open(folder / "curve.png") as figure:
        assert figure.width > 1200
    assert done.json["answer"][0].split(" (")[0] in (folder / "report.html").read_text(encoding="utf-8")
    assert naming(folder, tmp_path, data.parent) == []  # what is shared names no folder

    again = imgreg(*arguments, "--name", "again")
    assert (again.json["n_trained"], again.json["n_kept"]) == (0, 6)
    assert again.json["test_error"] == found


def test_too_few_photos_and_too_far_a_look(data: Path, tmp_path: Path) -> None:
    """A class with too few photos for three sizes, and a look beyond a hundred times today's, are refused."""
    few = paint_set(tmp_path / "few", n_each=8, seed=1)
    small = imgreg("learning-curve", few, *SMALL, "--models", tmp_path / "models")
    assert small.code == 3
    assert "a learning curve of three sizes needs 16" in small.err
    far = imgreg("learning-curve", data, *SMALL, "--more", "1000000", "--models", tmp_path / "models")
    assert far.code == 2
    assert "cannot extrapolate that far from" in far.err
