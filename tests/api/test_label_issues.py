"""labels: photos whose label the others contradict come first, and no photo is touched."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Finished, imgreg, naming, paint_set
from imgreg.data.index import Photo, PhotoIndex
from imgreg.data.split import Split

SMALL = ("--weights", "starter", "--image-size", "64", "--epochs", "12", "--set", "head.units=[8]")
FOLDS = ("--repeats", "1", "--folds", "3", "--workers", "1")
FLIPPED = {"cold/c03.jpg", "warm/w05.jpg"}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """Painted photos of which two bear the other class's label, by a manifest."""
    root = tmp_path_factory.mktemp("labels")
    data = paint_set(root / "data", n_each=14, seed=800)
    with (data / "all.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label"))
        for path in sorted(data.glob("*/*.jpg")):
            name = path.relative_to(data).as_posix()
            other = {"cold": "warm", "warm": "cold"}[path.parent.name]
            rows.writerow((name, other if name in FLIPPED else path.parent.name))
    done = imgreg(
        *("label-issues", data / "all.csv", *SMALL, *FOLDS, "--set", "optimizer.learning_rate=0.01"),
        *("--models", root / "models", "--name", "check", "--json"),
    )
    assert done.code == 0, done.err
    return root, done


def test_the_flipped_come_first(checked: tuple[Path, Finished]) -> None:
    """Both flipped photos come first in label_issues.csv, as contradicted, and all photos are in it."""
    root, done = checked
    with (root / "models" / "check" / "label_issues.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 28
    assert [int(row["rank"]) for row in rows] == list(range(1, 29))
    assert {row["path"] for row in rows[:2]} == FLIPPED
    assert {row["word"] for row in rows[:2]} == {"contradicted"}
    own = [float(row["own"]) for row in rows]
    assert own == sorted(own)
    assert [Path(photo["path"]).name for photo in done.json["photos"]] == [Path(row["path"]).name for row in rows]
    assert naming(root / "models", root) == []  # what is shared names no folder
    assert done.json["n_contradicted"] == sum(row["word"] == "contradicted" for row in rows)


def test_the_sheet_shows_the_first(checked: tuple[Path, Finished]) -> None:
    """sheet.png is a picture of several rows of photos."""
    with Image.open(checked[0] / "models" / "check" / "sheet.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 900
        assert np.asarray(sheet.convert("L")).std() > 10


def test_the_report_shows_photos_to_review_and_holds_the_whole_dataset(checked: tuple[Path, Finished]) -> None:
    """report.html has a card with a photo for each doubtful label, the flipped first, and lists all photos."""
    text = (checked[0] / "models" / "check" / "report.html").read_text(encoding="utf-8")
    raw = json.loads(re.search(r'id="raw">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    first = [raw["manifest"][card["photo"]] for card in raw["cards"][:2]]
    assert {path for path, *_ in first} == FLIPPED
    assert {(label, card["other"]) for (_, label, _), card in zip(first, raw["cards"], strict=False)} == {
        ("warm", "cold"),
        ("cold", "warm"),
    }
    assert len(raw["manifest"]) == 28
    assert text.count('src="data:image/jpeg') == len(raw["cards"])


def test_each_photo_is_judged_by_heads_that_never_saw_it(
    checked: tuple[Path, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo's figures come from the trials that tested it, and its history from those that trained on it."""
    from types import SimpleNamespace

    from imgreg.api.label_issues import label_table
    from imgreg.data.resample import Repeat

    photos = tuple(Photo(f"{i}.jpg", "ab"[i % 2], str(i)) for i in range(4))
    index = PhotoIndex(Path(), photos, (), ("a", "b"))

    def repeat(train: list[int], val: list[int], test: list[int]) -> Repeat:
        train_, val_, test_ = (tuple(photos[i] for i in rows) for rows in (train, val, test))
        return Repeat(1, 1, Split(train_, val_, test_, given=False, leaks=0))

    repeats = [repeat([0], [1], [2, 3]), repeat([2, 3], [1], [0]), repeat([0], [2], [1, 3])]
    trials = [
        SimpleNamespace(test_probabilities=((0.1, 0.9), (0.3, 0.7)), train_own_last=(0.6,), train_forgotten=(2,)),
        SimpleNamespace(test_probabilities=((0.8, 0.2),), train_own_last=(0.95, 0.4), train_forgotten=(0, 1)),
        SimpleNamespace(test_probabilities=((0.5, 0.5), (0.1, 0.9)), train_own_last=(0.8,), train_forgotten=(0,)),
    ]
    rows = {row.photo: row for row in label_table(index, repeats, trials).rows}  # type: ignore[arg-type]
    assert rows[2].own == pytest.approx(0.1)
    assert rows[3].own == pytest.approx(0.8)  # tested twice: 0.7 and 0.9
    assert (rows[0].own_when_trained, rows[0].forgotten) == (pytest.approx(0.7), 1.0)  # trained on twice
    assert rows[1].own_when_trained is None
    assert rows[3].history == "never learned"


def test_terminal_and_refusals(checked: tuple[Path, Finished], tmp_path: Path) -> None:
    """Trials in the cache are used again; the text names the sheet; a folder inside the photos is refused."""
    root, _ = checked
    again = imgreg(
        *("label-issues", root / "data" / "all.csv", *SMALL, *FOLDS, "--set", "optimizer.learning_rate=0.01"),
        *("--models", tmp_path, "--name", "again"),
    )
    assert again.code == 0, again.err
    assert "Contradicted labels: 2 of 28" in again.out
    assert f"Contact sheet: {tmp_path / 'again' / 'sheet.png'}" in again.out
    first, second = (folder / "label_issues.csv" for folder in (root / "models" / "check", tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    inside = imgreg("label-issues", root / "data" / "all.csv", *SMALL, *FOLDS, "--models", root / "data" / "cold")
    assert inside.code == 2
    assert "inside the photo folder" in inside.err
