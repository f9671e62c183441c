"""extract: what it computes, a training does not compute again."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import imgreg, paint_set
from imgreg.training import dataset

SMALL = ("--weights", "starter", "--image-size", "32", "--views", "2")


def test_a_training_reads_what_was_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean photo, its mirror image and the views of each, in portions of the files, with the figures of all; a
    second extraction computes nothing."""
    data = paint_set(tmp_path / "data", n_each=8, seed=720)
    for name in ("cold/a.jpg", "warm/z.jpg"):
        (data / name).write_bytes(b"no photo")
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "PORTION_FILES", 5)  # of 18
        patch.setattr(dataset, "SKIPPED_SHOWN", 1)
        first = imgreg("extract", data, *SMALL, "--max-bad", "0.2", "--json")
    assert first.code == 0, first.err
    found = [first.json[name] for name in ("n_photos", "n_skipped", "n_computed", "n_read")]
    assert found == [16, 2, 64, 0]
    assert first.err.count("skipped") == 1, first.err
    assert "2 of 18 files could not be read" in first.err
    for name in ("cold/a.jpg", "warm/z.jpg"):
        (data / name).unlink()
    assert "16 photos: 0 features computed" in imgreg("extract", data, *SMALL).out
    done = imgreg("train", data, *SMALL, "--epochs", "2", "--folds", "0", "--models", tmp_path / "models", "--json")
    assert done.json["features"]["n_computed"] == 0, done.err


def test_options_of_the_head_are_refused(tmp_path: Path) -> None:
    """They would change nothing."""
    done = imgreg("extract", tmp_path, "--dropout", "0.5")
    assert done.code == 2
    assert "No such option '--dropout'" in done.err
