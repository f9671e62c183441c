"""A sigmoid output on three classes is refused before any feature is computed."""

from __future__ import annotations

from pathlib import Path

from conftest import imgreg, paint


def test_three_classes_stop_before_features(tmp_path: Path) -> None:
    """Exit code 2, what was found and what to set; nothing is left under models/."""
    for number in range(9):
        paint(tmp_path / "data" / "abc"[number % 3] / f"{number}.jpg", warm=number % 2 == 0, seed=number)
    done = imgreg(
        *("train", tmp_path / "data", "--recipe", "tutorial-tiny", "--weights", "starter", "--image-size", "64"),
        *("--folds", "0", "--val-fraction", "0.34", "--models", tmp_path / "models"),
    )
    assert done.code == 2
    assert "head.output = sigmoid is for two classes, found 3" in done.err
    assert "computing features" not in done.err
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".locks"]
