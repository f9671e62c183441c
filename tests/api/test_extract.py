"""extract: what it computes, a training does not compute again."""

from __future__ import annotations

from pathlib import Path

from conftest import imgreg, paint_set

SMALL = ("--weights", "starter", "--image-size", "32", "--views", "2")


def test_a_training_reads_what_was_extracted(tmp_path: Path) -> None:
    """The clean photo, its mirror image and the views of each; a second extraction computes nothing."""
    data = paint_set(tmp_path / "data", n_each=8, seed=720)
    first = imgreg("extract", data, *SMALL, "--json")
    assert first.code == 0, first.err
    assert (first.json["n_photos"], first.json["n_computed"], first.json["n_read"]) == (16, 64, 0)
    assert "16 photos: 0 features computed" in imgreg("extract", data, *SMALL).out
    done = imgreg("train", data, *SMALL, "--epochs", "2", "--folds", "0", "--models", tmp_path / "models", "--json")
    assert done.json["features"]["n_computed"] == 0, done.err


def test_options_of_the_head_are_refused(tmp_path: Path) -> None:
    """They would change nothing."""
    done = imgreg("extract", tmp_path, "--dropout", "0.5")
    assert done.code == 2
    assert "No such option '--dropout'" in done.err
