"""lr-find: the command, its files, and the notebook's result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from conftest import imgreg, naming, paint_set

SMALL = ("--weights", "starter", "--image-size", "64", "--recipe", "low_lr", "--set", "head.units=[8]")


def test_the_range_is_written_drawn_and_printed(tmp_path: Path) -> None:
    """JSON on stdout and in the folder agree, the same command gives the same curve, and no file names a folder."""
    data = paint_set(tmp_path / "data", n_each=16, seed=710)
    command = ("lr-find", data, *SMALL, "--sweeps", "2", "--models", tmp_path / "models")
    done = imgreg(*command, "--name", "first", "--json")
    assert done.code == 0, done.err
    folder = tmp_path / "models" / "first"
    written = json.loads((folder / "lr_find.json").read_text())
    assert written["losses"] == done.json["losses"]
    assert len(done.json["sweeps"]) == 2
    assert done.json["rates"][0] == pytest.approx(1e-7)
    assert {path.name for path in folder.iterdir()} == {"lr_find.json", "curve.png", "curve.svg"}
    with Image.open(folder / "curve.png") as figure:
        assert figure.width > 1000
    assert naming(folder, tmp_path, data.parent) == []

    again = imgreg(*command, "--name", "again")
    assert again.code == 0, again.err
    assert json.loads((folder.parent / "again" / "lr_find.json").read_text())["sweeps"] == written["sweeps"]
    assert done.json["answer"][0].split(";")[0][:40] in again.out
